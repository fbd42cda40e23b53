"""Threads that share the tiles of one call; the caller always works too.

They are PyTorch's own where it runs on OpenMP: its threads stay awake for a while after each
operation, and others beside them would have to share the cores with them.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from throughtime.kernels.cpu.frame import PLACE


@dataclass(frozen=True)
class Work:
    """What a team does.

    Attributes:
        share: called with the number of a worker; does this worker's part.
        next: machine code that takes the number of the next worker, if there is any, and does
            its part; its one argument.
        left: how many workers are left for ``next``.
    """

    share: Callable[[int], None]
    next: tuple[int, int]
    left: Callable[[], int]


def together(work: Work, workers: int) -> None:
    """Do the parts of all ``workers``, this thread's help included."""
    if workers == 1:
        work.share(0)
    elif can_wait():
        while left := work.left():  # a team may be smaller than asked for
            openmp().GOMP_parallel(*work.next, left, 0)
    else:
        in_python(work.share, workers)


def side_by_side(function: int, frame: array, sides: int) -> None:
    """Call machine code that takes a frame in as many threads at once as OpenMP gives.

    Args:
        function: its address; it asks for the size of the team and for its place in it.
        frame: its argument.
        sides: threads at most.
    """
    library = openmp()
    assert library is not None
    frame[PLACE["team_size"]], frame[PLACE["give_way"]] = _addresses(library)
    library.GOMP_parallel(function, frame.buffer_info()[0], sides, 0)


def can_wait() -> bool:
    """Whether threads that wait for each other are sure to run at once."""
    return not _forked and openmp() is not None


def threads() -> int:
    """How many may share a call made now: this one alone where it is one of a team already."""
    library = openmp()
    return 1 if library is not None and library.omp_in_parallel() else torch.get_num_threads()


@cache
def _addresses(library: Any) -> tuple[int, int]:
    found = library.omp_get_num_threads, ctypes.CDLL(None).sched_yield
    size, give_way = (ctypes.cast(f, ctypes.c_void_p).value for f in found)
    assert size is not None and give_way is not None
    return size, give_way


@cache
def openmp() -> Any:
    """The OpenMP library that PyTorch runs on, if that can be told."""
    if not sys.platform.startswith("linux") or "OpenMP" not in torch.__config__.parallel_info():
        return None
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
        loaded = {line.split(maxsplit=5)[-1] for line in maps if "omp" in line}
        ours = sorted(
            f for f in loaded if Path(f).name.startswith(("libgomp", "libiomp", "libomp"))
        )
        home = str(Path(torch.__file__).parent)
        (file,) = [f for f in ours if f.startswith(home)] or ours
        library = ctypes.CDLL(file)
        function = library.GOMP_parallel
    except (OSError, ValueError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    function.restype = None
    return library


class _Share:
    """One worker's part in a call: whoever claims it first, helper or caller, does it."""

    def __init__(self, work: Callable[[int], None], worker: int):
        self._work, self._worker = work, worker
        self._claim, self._finished = threading.Lock(), threading.Lock()
        self._finished.acquire()
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._work(self._worker)
        except BaseException as error:
            self._error = error
        finally:
            self._finished.release()

    def settle(self) -> None:
        """Do it, or wait for the helper who does."""
        self.run()
        with self._finished:
            if self._error is not None:
                raise self._error


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


_pool, _forked = _Pool(), False


def _after_fork() -> None:
    """A child has none of its parent's threads, and OpenMP does not know that."""
    global _pool, _forked
    _pool, _forked = _Pool(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def in_python(work: Callable[[int], None], workers: int) -> None:
    """Call ``work(0)`` here and ``work(1)``, … in helping threads, or here where none is free.

    Args:
        work: called with the number of a worker.
        workers: how many.
    """
    shares = [_Share(work, i) for i in range(1, workers)]
    _pool.submit(shares)
    try:
        work(0)
    finally:
        for share in shares:
            share.settle()
