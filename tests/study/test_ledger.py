from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from throughtime.errors import LedgerError
from throughtime.study.ledger import Ledger
from throughtime.study.records import Record


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


def test_a_record_comes_back_as_it_went_in(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).enter("plan", record())
    assert Ledger(path).records("plan") == [record()]
    assert Ledger(path).records("another plan") == []


def test_what_is_not_finite_comes_back_not_finite(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter("plan", record(diverged=True, validation_score=None, train_curve=(1.0, math.inf)))
    (found,) = ledger.records("plan")
    assert found.diverged and math.isnan(found.train_curve[1])


def test_the_first_record_of_a_key_stays(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.enter("plan", record(validation_score=0.5))
    assert not ledger.enter("plan", record(validation_score=0.9))
    assert ledger.records("plan")[0].validation_score == 0.5


def test_missing_keeps_the_order_asked_for(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for key in ("5", "700"):
        ledger.enter("plan", record(key))
    keys = [str(n) for n in range(1200)]
    assert ledger.missing(keys) == [k for k in keys if k not in ("5", "700")]


def test_a_run_is_claimed_once_and_never_again_when_done(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.claim("k", lease=60)
    assert not ledger.claim("k", lease=60)
    ledger.release("k")
    assert ledger.claim("k", lease=60)
    ledger.enter("plan", record())
    assert not ledger.claim("k", lease=60)


def test_a_lease_that_ended_is_free(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.claim("k", lease=0.05)
    time.sleep(0.1)
    assert ledger.claim("k", lease=60)


def test_a_living_process_keeps_its_claim_and_a_killed_one_loses_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    process, took = claim_in_another_process(path, "k")
    try:
        assert took == "True"
        assert not Ledger(path).claim("k", lease=60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert Ledger(path).claim("k", lease=60)


def test_many_processes_share_the_runs_without_doing_one_twice(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    code = textwrap.dedent(f"""
        from throughtime.study.ledger import Ledger
        ledger = Ledger({str(path)!r})
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


def test_events_are_told_in_order(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
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


def test_many_may_open_a_new_ledger_at_once(tmp_path):
    failures = []
    for attempt in range(10):
        start = threading.Barrier(8)

        def open_together(path, start=start):
            start.wait()
            try:
                Ledger(path).note("plan", "opened")
            except LedgerError as failure:
                failures.append(failure)

        path = tmp_path / f"{attempt}.sqlite"
        threads = [threading.Thread(target=open_together, args=(path,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(Ledger(path).events("plan")) == 8
