"""Problems of the literature on learning over long times, by their published definitions."""

from __future__ import annotations

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.task import Task


def adding(T: int = 100, N: int = 2000, seed: int = 0) -> Task:
    """The adding problem of Hochreiter and Schmidhuber (1997) in the form of Le et al. (2015).

    Two inputs a step: a value from U[0, 1] and a mask that is 1 at one random step of the first
    half and one of the second, else 0. The target is the sum of the two marked values; always
    answering 1 has a mean squared error of 1/6 and a mean absolute error of 1/3.

    Args:
        T: steps of a series, at least 2.
        N: number of series.
        seed: of the random numbers.
    """
    _at_least("adding", T=(T, 2), N=(N, 1))
    rng = np.random.default_rng(seed)
    value, mask = rng.random((N, T)), np.zeros((N, T))
    rows = np.arange(N)
    first, second = rng.integers(0, T // 2, N), rng.integers(T // 2, T, N)
    mask[rows, first] = mask[rows, second] = 1
    x = np.stack((value, mask), axis=-1).astype(np.float32)
    return Task(
        name=f"adding, T={T}",
        problem="regression",
        x=x,
        lengths=np.full(N, T),
        y=(value[rows, first] + value[rows, second]).astype(np.float32)[:, None],
        feature_names=("value", "mask"),
        target_names=("sum",),
        reader={"kind": "builtin", "source": f"adding:T={T},N={N},seed={seed}"},
    )


def _at_least(name: str, **bounds: tuple[int, int]) -> None:
    for parameter, (value, least) in bounds.items():
        if value < least:
            raise DataError("tasks.bad_parameter", name=name, parameter=parameter, value=value)
