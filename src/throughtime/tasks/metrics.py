"""Which metric a problem is scored by, and what difference in it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from throughtime.tasks.task import Metric

if TYPE_CHECKING:
    from throughtime.tasks.task import Task


def metric_of(task: Task) -> Metric:
    """The metric of a task; the scale of numeric targets is taken from rows outside the test."""
    if task.problem == "classification":
        return Metric("accuracy", True, 0.01, "")
    if task.problem == "next_token":
        return Metric("bits_per_token", False, 0.02, "bit")
    seen = np.setdiff1d(np.arange(len(task)), task.split(0).test)
    y = task.y[seen] if task.counts is None else task.y[seen][task.counts[seen]]
    y = y.astype(np.float64).reshape(-1, len(task.target_names))
    spread = np.abs(y - np.median(y, axis=0)).mean()
    return Metric("mae", False, float(f"{0.02 * spread:.2g}"), ", ".join(task.target_names))
