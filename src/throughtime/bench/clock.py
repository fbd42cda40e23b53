"""Times of contenders that take turns, so that what slows the machine slows them all."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

Step = Callable[[], object]

LEAST, MOST = 3, 200
# a turn lasts at least so long, in seconds: a shorter call is repeated until it does
TURN = 10e-3


def medians(
    steps: Sequence[Step], seconds: float, wait: Step = lambda: None, least: int = LEAST
) -> list[float]:
    """The median time of each step, A B C A B C …, after one call of each to warm up.

    Args:
        steps: what is timed.
        seconds: to spend on each, about.
        wait: called before the clock is read; waits for a device that works in the background.
        least: turns of each at least.

    Returns:
        Seconds a call, in the order of ``steps``.

    Example:
        >>> fast, slow = medians([lambda: None, lambda: time.sleep(0.002)], 0.02)
        >>> fast < slow
        True
    """
    repeats = [_repeats(step, wait) for step in steps]
    times: list[list[float]] = [[] for _ in steps]
    end = time.perf_counter() + seconds * len(steps)
    while len(times[0]) < least or (time.perf_counter() < end and len(times[0]) < MOST):
        for step, count, mine in zip(steps, repeats, times, strict=True):
            mine.append(_time(step, count, wait))
    return [statistics.median(mine) for mine in times]


def _repeats(step: Step, wait: Step) -> int:
    return max(1, math.ceil(TURN / max(_time(step, 1, wait), 1e-7)))


def _time(step: Step, count: int, wait: Step) -> float:
    """Seconds a call, after one that finds caches and threads as another contender left them."""
    step()
    wait()
    start = time.perf_counter()
    for _ in range(count):
        step()
    wait()
    return (time.perf_counter() - start) / count
