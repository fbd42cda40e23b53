"""Problems of the literature on learning over long times, by their published definitions."""

from __future__ import annotations

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.task import TEST, TRAIN, VALIDATION, Task


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
    at_least("adding", T=(T, 2), N=(N, 10))
    rng = np.random.default_rng(seed)
    value, mask = rng.random((N, T)), np.zeros((N, T))
    rows = np.arange(N)
    first, second = rng.integers(0, T // 2, N), rng.integers(T // 2, T, N)
    mask[rows, first] = mask[rows, second] = 1
    return Task(
        name=f"adding, T={T}",
        problem="regression",
        x=np.stack((value, mask), axis=-1).astype(np.float32),
        lengths=np.full(N, T),
        y=(value[rows, first] + value[rows, second]).astype(np.float32)[:, None],
        feature_names=("value", "mask"),
        target_names=("sum",),
        reader=_reader(f"adding:T={T},N={N},seed={seed}"),
    )


def copy_memory(T: int = 100, N: int = 2000, seed: int = 0) -> Task:
    """The copying problem of Hochreiter and Schmidhuber (1997) as in Arjovsky et al. (2016).

    T + 20 steps over ten symbols: ten random ones of eight, T - 1 blanks, one delimiter, ten
    blanks. The target is T + 10 blanks, then the ten symbols. All steps count: without memory the
    best answer costs 30 / (T + 20) bits a step.

    Args:
        T: steps between the symbols and their recall, at least 1.
        N: number of series.
        seed: of the random numbers.
    """
    at_least("copy_memory", T=(T, 1), N=(N, 10))
    blank, delimiter, length = 8, 9, T + 20
    symbols = np.random.default_rng(seed).integers(0, 8, (N, 10))
    x, y = np.full((N, length), blank), np.full((N, length), blank)
    x[:, :10], x[:, T + 9], y[:, -10:] = symbols, delimiter, symbols
    return Task(
        name=f"copy memory, T={T}",
        problem="next_token",
        x=x,
        lengths=np.full(N, length),
        y=y,
        per_step=True,
        counts=np.ones((N, length), bool),
        target_names=("symbol",),
        class_names=(*"abcdefgh", "_", "|"),
        reader=_reader(f"copy_memory:T={T},N={N},seed={seed}"),
    )


def temporal_order(T: int = 100, N: int = 2000, seed: int = 0) -> Task:
    """The temporal order problem of Hochreiter and Schmidhuber (1997) as in Pascanu et al. (2013).

    Six symbols, one-hot: four distractors everywhere but at two steps, the first drawn from
    [T/10, 2T/10], the second from [4T/10, 5T/10], which hold A or B each. The class is what they
    held: AA, AB, BA or BB.

    Args:
        T: steps of a series, at least 10.
        N: number of series.
        seed: of the random numbers.
    """
    at_least("temporal_order", T=(T, 10), N=(N, 40))
    rng = np.random.default_rng(seed)
    rows = np.arange(N)
    symbols = rng.integers(2, 6, (N, T))
    first = rng.integers(T // 10, 2 * T // 10 + 1, N)
    second = rng.integers(4 * T // 10, 5 * T // 10 + 1, N)
    held = rng.integers(0, 2, (N, 2))
    symbols[rows, first], symbols[rows, second] = held.T
    return Task(
        name=f"temporal order, T={T}",
        problem="classification",
        x=np.eye(6, dtype=np.float32)[symbols],
        lengths=np.full(N, T),
        y=2 * held[:, 0] + held[:, 1],
        feature_names=tuple("ABcdef"),
        target_names=("order",),
        class_names=("AA", "AB", "BA", "BB"),
        reader=_reader(f"temporal_order:T={T},N={N},seed={seed}"),
    )


def anbn(
    train: int = 10, validation: int = 15, test: int = 30, N: int = 1000, seed: int = 0
) -> Task:
    """The language a^n b^n of Gers and Schmidhuber (2001): predict the next symbol.

    Strings S a^n b^n T. Training draws n from 1 to ``train``; every n above it up to
    ``validation``, then up to ``test``, is met once in those parts: the score is how well counting
    carries over to longer strings. Only steps whose next symbol is certain count, from the first b
    on, so that 0 bits can be reached.

    Args:
        train: largest n of the training part.
        validation: largest n of the validation part.
        test: largest n of the test part.
        N: training strings.
        seed: of the random numbers.
    """
    at_least("anbn", train=(train, 1), N=(N, 1))
    at_least("anbn", validation=(validation, train + 1), test=(test, validation + 1))
    n = np.concatenate(
        (
            np.random.default_rng(seed).integers(1, train + 1, N),
            np.arange(train + 1, validation + 1),
            np.arange(validation + 1, test + 1),
        )
    )[:, None]
    step = np.arange(2 * test + 2)
    start, a, b, end = 0, 1, 2, 3
    string = np.where(step <= n, a, np.where(step <= 2 * n, b, end))
    string[:, 0] = start
    lengths = 2 * n[:, 0] + 1
    valid = step[:-1] < lengths[:, None]
    return Task(
        name="a^n b^n",
        problem="next_token",
        x=np.where(valid, string[:, :-1], 0),
        lengths=lengths,
        y=np.where(valid, string[:, 1:], 0),
        per_step=True,
        counts=valid & (step[:-1] > n),
        target_names=("symbol",),
        class_names=("S", "a", "b", "T"),
        reader=_reader(f"anbn:train={train},validation={validation},test={test},N={N},seed={seed}"),
        given=np.where(n <= train, TRAIN, np.where(n <= validation, VALIDATION, TEST))[:, 0],
    )


def noisy_sine(T: int = 64, N: int = 500, noise: float = 0.1, seed: int = 0) -> Task:
    """Sines of random period (10 to 40 steps) and phase with Gaussian noise: the next value.

    The noise cannot be predicted: the mean absolute error stays above
    ``noise * sqrt(2 / pi)``.

    Args:
        T: steps of a series, at least 2.
        N: number of series.
        noise: standard deviation of the noise.
        seed: of the random numbers.
    """
    at_least("noisy_sine", T=(T, 2), N=(N, 10), noise=(noise, 0))
    rng = np.random.default_rng(seed)
    period, phase = rng.uniform(10, 40, (N, 1)), rng.uniform(0, 2 * np.pi, (N, 1))
    clean = np.sin(2 * np.pi * np.arange(T + 1) / period + phase)
    values = (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)[..., None]
    return Task(
        name=f"noisy sine, T={T}",
        problem="next_step",
        x=values[:, :-1],
        lengths=np.full(N, T),
        y=values[:, 1:],
        per_step=True,
        counts=np.ones((N, T), bool),
        feature_names=("value",),
        target_names=("value",),
        target_columns=(0,),
        reader=_reader(f"noisy_sine:T={T},N={N},noise={noise:g},seed={seed}"),
    )


def _reader(source: str) -> dict[str, str]:
    return {"kind": "builtin", "source": source}


def at_least(name: str, **bounds: tuple[float, float]) -> None:
    """Every parameter, given as (value, least), is large enough.

    Raises:
        DataError: one is not.
    """
    for parameter, (value, least) in bounds.items():
        if not (np.isfinite(value) and value >= least):
            raise DataError(
                "tasks.small_parameter", name=name, parameter=parameter, value=value, least=least
            )
