"""Measures of which none needs another, side by side."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any

import torch

from throughtime.kernels.cpu import pool

_SHARE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def side_by_side(device: torch.device, measures: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each of some calls returns, by name; on a CPU they share PyTorch's threads.

    A second thread hardly speeds up an operation as small as those of a measure, but can take the
    next measure. It must be one of PyTorch's own: these stay awake for a while after each
    operation, and others would have to share the cores with them.

    Args:
        device: on which they work.
        measures: those of long operations first, those of many short ones last. Every other thread
            begins at the end, since short operations wait for each other's turn in Python.
    """
    threads = torch.get_num_threads()
    library = pool.openmp() if device.type == "cpu" and pool.can_wait() else None
    found, failed, waiting = dict.fromkeys(measures), [], deque(measures.items())
    ends = cycle([waiting.popleft, waiting.pop])

    def share(_: int) -> None:
        take = next(ends)
        try:  # what a thread is set to is its own: all are to work in the same way
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                while True:
                    try:
                        name, measure = take()
                    except IndexError:  # all are taken
                        return
                    found[name] = measure()
        except BaseException as error:
            failed.append(error)

    if library is None or threads == 1:
        share(0)
    else:
        function = _SHARE(share)
        library.GOMP_parallel(ctypes.cast(function, ctypes.c_void_p), None, threads, 0)
    for error in failed:
        raise error
    return found
