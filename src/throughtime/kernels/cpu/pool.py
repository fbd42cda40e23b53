"""Threads that help with the tiles of one call; the caller always works too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class _Share:
    """One helper's part in a call: whoever claims it first, helper or caller, decides it."""

    def __init__(self, work: Callable[[int], None], worker: int):
        self._work, self.worker = work, worker
        self._claim, self._finished = threading.Lock(), threading.Lock()
        self._finished.acquire()
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._work(self.worker)
        except BaseException as error:
            self._error = error
        finally:
            self._finished.release()

    def settled(self) -> bool:
        """Whether a helper did it: then waits for its end; else takes it back from the queue."""
        if self._claim.acquire(blocking=False):
            return False
        with self._finished:
            if self._error is not None:
                raise self._error
        return True


class _Pool:
    def __init__(self):
        self._queue: SimpleQueue[_Share] = SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()

    def submit(self, shares: list[_Share]) -> None:
        with self._lock:
            for _ in range(self._threads, len(shares)):
                threading.Thread(target=self._help, name="throughtime", daemon=True).start()
                self._threads += 1
        for share in shares:
            self._queue.put(share)

    def _help(self) -> None:
        while True:
            self._queue.get().run()


_pool = _Pool()


def _after_fork() -> None:
    """A child has none of its parent's threads."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def together(work: Callable[[int], None], workers: int) -> list[int]:
    """Call ``work(0)`` here and ``work(1)``, … in helping threads; ``work`` takes what is left.

    A helper that comes too late does nothing, so no call waits for the helpers of another.

    Args:
        work: called with the number of a worker; returns when nothing is left to do.
        workers: how many at most, this thread included.

    Returns:
        The workers that took part.
    """
    if workers == 1:
        work(0)
        return [0]
    shares = [_Share(work, i) for i in range(1, workers)]
    _pool.submit(shares)
    try:
        work(0)
    finally:
        took_part = [0, *(share.worker for share in shares if share.settled())]
    return took_part
