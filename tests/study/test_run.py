"""Studies that are killed, interrupted, shared and repeated, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from throughtime.study.carry import Carrier
from throughtime.study.ledger import Ledger
from throughtime.study.plan import Plan
from throughtime.tasks import load

SOURCE = "adding:T=6,N=240"
ARGUMENTS = (
    "--arm", "tanh", "--arm", "relu", "--points", "4", "--epochs", "3", "--patience", "3",
    "--evaluation-seeds", "6", "--hidden-size", "8",
)  # fmt: skip
RUNS = 2 * (4 + 6)


def start(folder: Path, *more: str, workers: int = 2) -> subprocess.Popen:
    code = "from throughtime.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "choose", SOURCE, "--out", str(folder), *ARGUMENTS,
         "--workers", str(workers), "--lang", "en", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "200"}


def finished(folder: Path) -> list:
    if not (folder / "plan.toml").exists() or not (folder / "ledger.sqlite").exists():
        return []
    return Ledger(folder / "ledger.sqlite").records(Plan.load(folder / "plan.toml").hash)


def wait_for(folder: Path, runs: int, process: subprocess.Popen) -> None:
    began = time.monotonic()
    while len(finished(folder)) < runs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < 120
        time.sleep(0.05)


def without_times(records) -> list:
    return [
        {k: v for k, v in vars(r).items() if k != "seconds_per_step"}
        for r in sorted(records, key=lambda r: r.key)
    ]


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records of the same study, carried out one by one in this process."""
    plan = Plan(
        data={"source": SOURCE}, arms=("tanh", "relu"), points=4, epochs=3, patience=3,
        evaluation_seeds=6, hidden_size=8,
    )  # fmt: skip
    from throughtime.study.run import run

    ledger = Ledger(tmp_path_factory.mktemp("alone") / "ledger.sqlite")
    return plan, run(plan, load(SOURCE), ledger, workers=1)


def test_killed_outright_it_goes_on_and_ends_as_if_nothing_had_happened(tmp_path, undisturbed):
    plan, alone = undisturbed
    folder = tmp_path / "out"
    process = start(folder)
    wait_for(folder, 3, process)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = finished(folder)
    assert 3 <= len(before) < RUNS and not (folder / "choice.json").exists()
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlive the process that started them"
        time.sleep(0.2)
    again = start(folder)
    said, complaint = again.communicate(timeout=240)
    assert again.returncode == 0, complaint
    assert f"{len(before)} of {RUNS} runs stand in the ledger already" in said
    after = finished(folder)
    assert len(after) == RUNS
    kept = {r.key: r for r in after}
    assert all(kept[r.key] == r for r in before)
    assert without_times(after) == without_times(alone)
    assert Plan.load(folder / "plan.toml") == plan
    assert {f.name for f in folder.iterdir()} >= {
        "choice.json", "report.html", "ledger.sqlite", "plan.toml", "model",
    }  # fmt: skip
    assert not list(folder.rglob("*.partial"))


def test_interrupted_by_hand_it_says_how_to_go_on(tmp_path):
    folder = tmp_path / "out"
    process = start(folder)
    wait_for(folder, 2, process)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in complaint and "Traceback" not in complaint
    plan = Plan.load(folder / "plan.toml")
    ledger = Ledger(folder / "ledger.sqlite")
    missing = ledger.missing(run.key for run in plan.specifications("tune"))
    assert all(ledger.claim(key, lease=60) for key in missing)


def test_two_processes_on_one_ledger_share_the_runs(tmp_path, undisturbed):
    _, alone = undisturbed
    log, folder = tmp_path / "log", tmp_path / "out"
    code = textwrap.dedent(f"""
        import os, sys
        from throughtime.study.carry import Carrier
        done = Carrier.record
        def record(self, run):
            with open({str(log)!r}, "a") as log:
                log.write(f"{{os.getpid()}} {{run.key}}\\n")
            return done(self, run)
        Carrier.record = record
        sys.argv[1:] = {["choose", SOURCE, "--out", str(folder), *ARGUMENTS, "--workers", "1"]!r}
        from throughtime.cli import main
        main()
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        for _ in range(2)
    ]
    for process in processes:
        _, complaint = process.communicate(timeout=240)
        assert process.returncode == 0, complaint.decode()
    carried = [line.split() for line in log.read_text().splitlines()]
    assert Counter(key for _, key in carried) == Counter(r.key for r in alone)
    assert without_times(finished(folder)) == without_times(alone)


def test_the_tuning_phase_never_opens_the_test_block(undisturbed):
    plan, _ = undisturbed
    task = load(SOURCE)
    carrier = Carrier(plan, task)
    run = next(plan.specifications("tune"))
    honest = carrier.record(run)
    rows = task.split(run.seed).test
    task.x[rows], task.y[rows] = 1e6, -1e6
    spoilt = Carrier(plan, task).record(run)
    assert without_times([honest]) == without_times([spoilt])
    assert honest.test_score is None


def test_arms_are_paired_and_only_the_activation_differs(undisturbed):
    plan, records = undisturbed
    assert plan.runs == len(records) == RUNS
    for phase in ("tune", "evaluate"):
        seeds = {
            arm: sorted(r.seed for r in records if r.arm == arm and r.phase == phase)
            for arm in plan.arms
        }
        assert seeds["tanh"] == seeds["relu"]
    tuned = {
        arm: [r.values for r in records if r.arm == arm and r.phase == "tune"] for arm in plan.arms
    }
    as_text = {arm: sorted(map(str, values)) for arm, values in tuned.items()}
    assert as_text["tanh"] == as_text["relu"]
    for seed in {r.seed for r in records if r.phase == "evaluate"}:
        scores = {r.arm: r.test_score for r in records if r.phase == "evaluate" and r.seed == seed}
        assert scores["tanh"] != scores["relu"]


def test_a_script_without_a_guarded_main_part_is_run_once(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(
        textwrap.dedent("""
            import throughtime as tt
            print("begun")
            choice = tt.choose("digits", arms=("tanh", "relu"), points=1, evaluation_seeds=2,
                               epochs=1, hidden_size=4, workers=2, out="out")
            print("ended", len(choice.result.records))
        """)
    )
    found = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=240,
    )  # fmt: skip
    assert found.stdout.split("\n")[:2] == ["begun", "ended 6"], found.stderr


def test_a_worker_that_is_killed_is_named_and_nothing_is_lost(tmp_path, undisturbed):
    _, alone = undisturbed
    folder = tmp_path / "out"
    process = start(folder)
    wait_for(folder, 2, process)
    for pid in children(process.pid):
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "One of the 2 processes of the study ended" in complaint
    assert "Traceback" not in complaint
    again = start(folder)
    _, complaint = again.communicate(timeout=240)
    assert again.returncode == 0, complaint
    assert without_times(finished(folder)) == without_times(alone)
