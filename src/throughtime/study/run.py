"""The runs of a study, spread over processes; what is in the ledger is never done again."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from throughtime.errors import PlanError
from throughtime.study.carry import Carrier, single_threaded
from throughtime.study.judge import select
from throughtime.study.ledger import Ledger
from throughtime.study.plan import Plan, Run
from throughtime.study.records import Phase, Record
from throughtime.tasks import Task

LEASE = 6 * 3600.0
_LOOK_AGAIN = 0.5  # seconds between looks at runs that another process has claimed

Watch = Callable[[Phase, int, int], None]


def run(
    plan: Plan,
    task: Task,
    ledger: Ledger,
    *,
    workers: int,
    watch: Watch | None = None,
) -> list[Record]:
    """Tune every arm, evaluate each at its best point, and give back all records.

    Interrupted at any moment, it loses at most the runs in flight; called again, it goes on.
    Several processes may work on one ledger.

    Args:
        plan: of the study.
        task: its data.
        ledger: where finished runs stand.
        workers: processes; 1 works in this one.
        watch: called with the phase, the runs done and the runs in all.
    """
    with _crew(plan, task, workers) as send:
        tune = list(plan.specifications("tune"))
        _finish(tune, plan, ledger, send, workers, watch)
        points = chosen_points(plan, task, ledger.records(plan.hash))
        if not any(event == "test_opened" for event, _ in ledger.events(plan.hash)):
            ledger.note(plan.hash, "test_opened", points=points)
        evaluate = list(plan.specifications("evaluate", points))
        _finish(evaluate, plan, ledger, send, workers, watch)
    return ledger.records(plan.hash)


def chosen_points(plan: Plan, task: Task, records: list[Record]) -> dict[str, int]:
    """Each arm's best tuning point by its validation scores."""
    tuned = [r for r in records if r.phase == "tune"]
    return select(tuned, higher_is_better=task.metric.higher_is_better)


def _finish(
    runs: list[Run],
    plan: Plan,
    ledger: Ledger,
    send: Callable[[Run], Future[Record]],
    workers: int,
    watch: Watch | None,
) -> None:
    by_key = {run.key: run for run in runs}
    flying: dict[Future[Record], str] = {}
    try:
        while True:
            missing = ledger.missing(by_key)
            if watch:
                watch(runs[0].phase, len(runs) - len(missing), len(runs))
            if not missing and not flying:
                return
            for key in missing:
                if len(flying) > workers:
                    break
                if key not in flying.values() and ledger.claim(key, lease=LEASE):
                    flying[send(by_key[key])] = key
            if not flying:
                time.sleep(_LOOK_AGAIN)
                continue
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                key = flying[future]
                ledger.enter(plan.hash, future.result())
                del flying[future]
    finally:
        for future, key in flying.items():
            future.cancel()
            ledger.release(key)


@contextmanager
def _crew(plan: Plan, task: Task, workers: int) -> Iterator[Callable[[Run], Future[Record]]]:
    """A function that sends a run to a worker; one thread of arithmetic a worker."""
    if workers == 1:
        carrier = Carrier(plan, task)
        with single_threaded():
            yield lambda run: _at_once(carrier, run)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(plan, task, os.getpid()),
    )

    def send(run: Run) -> Future[Record]:
        with _without_main():
            return pool.submit(_carry, run)

    try:
        yield send
        pool.shutdown()
    except BrokenProcessPool:
        pool.shutdown(wait=False, cancel_futures=True)
        raise PlanError("study.worker_lost", workers=workers) from None
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started meanwhile do not run the person's script again.

    They need nothing of it, and a script that does not guard its main part would start another
    study in each.
    """
    main = sys.modules["__main__"]
    kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    vars(main).pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(kept)


def _at_once(carrier: Carrier, run: Run) -> Future[Record]:
    future: Future[Record] = Future()
    future.set_result(carrier.record(run))
    return future


_carrier: Carrier | None = None


def _begin(plan: Plan, task: Task, parent: int) -> None:
    """Make a worker ready; it does not outlive the process that started it."""
    global _carrier
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    _carrier = Carrier(plan, task)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _carry(run: Run) -> Record:
    assert _carrier is not None
    return _carrier.record(run)
