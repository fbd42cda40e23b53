"""Measures of which none needs another, side by side."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import torch

from throughtime.gradients.record.undisturbed import full_precision
from throughtime.kernels.cpu import pool

_SHARE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def side_by_side(device: torch.device, measures: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each of some calls returns, by name; on a CPU they share PyTorch's threads.

    A second thread hardly speeds up an operation as small as those of a measure, but can take the
    next measure. It must be one of PyTorch's own: these stay awake for a while after each
    operation, and others would have to share the cores with them.

    Args:
        device: on which they work.
        measures: in the order in which to begin them: the longest first.
    """
    threads = torch.get_num_threads()
    library = pool.openmp() if device.type == "cpu" and pool.can_wait() else None
    found, failed, waiting = dict.fromkeys(measures), [], iter(measures.items())

    def share(_: int) -> None:
        try:  # what a thread is set to is its own: all are to work in the same way
            with torch.no_grad(), full_precision(device):
                for name, measure in waiting:
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
