"""Memory for large arrays without a stop at every page.

The system stops a program at its first touch of each page of 4 KB: for a layer with few units that
takes longer than its arithmetic. So memory that was given back is kept at hand, and large arrays
get large pages.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache

import torch
from torch import Tensor

# up to this size the C library can be brought to keep what was freed
KEPT = 31 << 20
# bytes from which on an array holds a large page or more, wherever it begins
LARGE = 4 << 20


@cache
def _keep_at_hand() -> None:
    """Let the C library keep what is freed, up to 64 MB, instead of giving it back each time.

    It adapts by itself: once an array of a size was freed, those up to that size are kept. This
    one, which nobody touches, spares a program to learn it.
    """
    torch.empty(KEPT, dtype=torch.uint8)


@cache
def _advise():
    """The system's ``madvise``, if it knows large pages."""
    if not sys.platform.startswith("linux") or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


def empty(like: Tensor, *shape: int) -> Tensor:
    """An array without values, as ``like.new_empty``; a refusal by the system changes nothing."""
    _keep_at_hand()
    array = like.new_empty(shape)
    if array.nbytes >= LARGE and (advise := _advise()) is not None:
        start = array.data_ptr()
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        advise(first, start + array.nbytes - first, mmap.MADV_HUGEPAGE)
    return array
