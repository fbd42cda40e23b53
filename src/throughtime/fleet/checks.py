"""What scikit-learn's callers hand over, X and y of any kind, as sequences, classes and values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning

from throughtime.errors import DataError
from throughtime.language import say
from throughtime.tasks.read.missing import padded
from throughtime.tasks.read.sequences import single


class NotNumbers(DataError, TypeError):
    """Something else stands where numbers are due."""


@dataclass(frozen=True, eq=False)
class Given:
    """X as sequences.

    Attributes:
        x: (N, T, I) float32, zero beyond each length.
        lengths: (N,) steps.
        table: whether X was two-dimensional, each column a step.
        names: of its columns, where it was a frame with text for names.
        with_lengths: whether the lengths were given beside it.
    """

    x: np.ndarray
    lengths: np.ndarray
    table: bool
    names: tuple[str, ...] | None
    with_lengths: bool

    @property
    def features(self) -> int:
        """What scikit-learn counts: columns of a table, else the features of a step."""
        return self.x.shape[1] if self.table else self.x.shape[2]


def sequences(X: Any, lengths: Any = None) -> Given:
    """X (N, T), (N, T, I) or a list of (T_n,) or (T_n, I) arrays.

    Raises:
        DataError: it is none of these, or has values that are not finite within the lengths.
    """
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise NotNumbers("fleet.x_sparse")
    names = _column_names(X)
    x, steps, table = _padded(X, lengths)
    bad = ~np.isfinite(x) & (np.arange(x.shape[1]) < steps[:, None])[..., None]
    if bad.any():
        row, step, feature = np.argwhere(bad)[0].tolist()
        where = {"row": row, "step": step, "feature": feature}
        raise DataError("fleet.x_not_finite", value=float(x[row, step, feature]), **where)
    x[np.arange(x.shape[1]) >= steps[:, None]] = 0
    return Given(single(x, "X"), steps, table, names, lengths is not None)


def _padded(X: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """(N, T, I) float64 of its own, (N,) lengths, and whether X was two-dimensional."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if isinstance(X, (list, tuple)) and all(hasattr(s, "__len__") for s in X):
        series = [_numbers("fleet.x_numbers", s) for s in X]
        if len({s.shape for s in series}) > 1:
            if lengths is not None:
                raise DataError("tasks.without_effect_list", option="lengths")
            return *padded(_same_features(series)), False
        X = np.stack(series) if series else np.zeros((0, 0))
    x = _numbers("fleet.x_numbers", X)
    if x.ndim < 2:
        raise DataError("fleet.x_one_axis", shape=x.shape)
    if x.ndim > 3:
        raise DataError("fleet.x_rank", shape=x.shape)
    if not len(x):
        raise DataError("fleet.x_no_series", shape=x.shape)
    if 0 in x.shape:
        raise DataError("fleet.x_no_features", shape=x.shape)
    table = x.ndim == 2
    x = np.array(x[..., None] if table else x)
    if lengths is None:
        return x, np.full(len(x), x.shape[1]), table
    steps = np.asarray(lengths)
    whole = steps.dtype.kind in "iu" and steps.shape == (len(x),)
    if not whole or steps.min() < 1 or steps.max() > x.shape[1]:
        raise DataError("tasks.bad_lengths", source="X", series=len(x), steps=x.shape[1])
    return x, steps.astype(np.int64), table


def _same_features(series: list[np.ndarray]) -> list[np.ndarray]:
    series = [s[:, None] if s.ndim == 1 else s for s in series]
    for row, s in enumerate(series):
        if s.ndim != 2 or 0 in s.shape or s.shape[1] != series[0].shape[-1]:
            raise DataError("fleet.x_series", row=row, shape=s.shape)
    return series


def _numbers(key: str, values: Any) -> np.ndarray:
    """``values`` as float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        read = np.asarray(values)
        if read.dtype.kind in "biufO":
            return read.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise NotNumbers(key, problem=error) from None
    if read.dtype.kind == "c":
        raise DataError("fleet.complex")
    raise NotNumbers(key, problem=str(read.dtype))


def _column_names(X: Any) -> tuple[str, ...] | None:
    names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def labels(y: Any, series: int, estimator: str) -> np.ndarray:
    """One label of any kind for each series; a column of them with a warning.

    Raises:
        DataError: y has another length or more columns.
    """
    read = _values_of(y, series, estimator, "(series,)")
    if read.ndim == 2 and read.shape[1] == 1:
        warnings.warn(say("fleet.y_column"), DataConversionWarning, stacklevel=4)
        read = read[:, 0]
    if read.ndim != 1:
        raise DataError("fleet.y_shape", shape=read.shape, wanted="(series,)")
    return read


def classes(y: Any, series: int, estimator: str) -> tuple[np.ndarray, np.ndarray]:
    """The labels there are, sorted, and the number among them of each series.

    Raises:
        DataError: y has another length, missing or fractional values, or a single class.
    """
    read = labels(y, series, estimator)
    if read.dtype.kind in "OMm":
        _refuse_at([_missing(v) for v in read])
    if read.dtype.kind == "f" or all(isinstance(v, Real) for v in read):
        numbers = read.astype(np.float64)
        _refuse_at(~np.isfinite(numbers))
        fractional = numbers % 1 != 0
        if fractional.any():
            raise DataError("fleet.y_values", value=read[fractional][0])
    try:
        if read.dtype.kind == "c":
            raise TypeError
        found, index = np.unique(read, return_inverse=True)
    except TypeError:
        kinds = ", ".join(sorted({type(v).__name__ for v in read}))
        raise DataError("fleet.y_mixed", kinds=kinds) from None
    if len(found) < 2:
        raise DataError("fleet.one_class", name=str(found[0]))
    return found, index.astype(np.int64)


def values(y: Any, series: int, estimator: str) -> np.ndarray:
    """Targets (N,) or (N, K) float32.

    Raises:
        DataError: y has another length, or values that are no finite numbers.
    """
    numbers = _numbers("fleet.y_numbers", _values_of(y, series, estimator, "(series, targets)"))
    if numbers.ndim > 2 or 0 in numbers.shape:
        wanted = "(series,), (series, targets)"
        raise DataError("fleet.y_shape", shape=numbers.shape, wanted=wanted)
    _refuse_at(~np.isfinite(numbers.reshape(series, -1)).all(1))
    return single(numbers, "y")


def _values_of(y: Any, series: int, estimator: str, wanted: str) -> np.ndarray:
    if y is None:
        raise DataError("fleet.y_missing", estimator=estimator)
    try:
        read = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    except ValueError:
        raise DataError("fleet.y_shape", shape="?", wanted=wanted) from None
    if not read.ndim:
        raise DataError("fleet.y_shape", shape=read.shape, wanted=wanted)
    if len(read) != series:
        raise DataError("fleet.y_length", series=series, labels=len(read))
    return read


def _missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas' NA refuses to say
        return True


def _refuse_at(bad: Any) -> None:
    if np.any(bad):
        raise DataError("fleet.y_not_finite", row=int(np.argmax(bad)))


def set_aside(series: int, index: np.ndarray | None, share: float, seed: int) -> np.ndarray:
    """Which series, as (N,) bool, are for validation: about ``share``, of every class alike.

    Args:
        series: how many there are.
        index: class of each, ``None`` for values. The last member of a class is never taken.
        share: between 0 and 1.
        seed: of the draw.

    Raises:
        DataError: none can be spared.
    """
    index = np.zeros(series, np.int64) if index is None else index
    members = np.bincount(index)
    exact = share * members
    take = np.floor(exact).astype(int)
    extra = max(1, round(share * series)) - take.sum()
    spare = np.flatnonzero(take < members - 1)
    take[spare[np.argsort((take - exact)[spare], kind="stable")[: max(0, extra)]]] += 1
    take = np.minimum(take, members - 1)
    if not take.sum():
        least = len(members) + 1
        raise DataError("fleet.too_few_series", series=series, share=share, least=least)
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(index == c))[:k] for c, k in enumerate(take)]
    aside = np.zeros(series, bool)
    aside[np.concatenate(chosen)] = True
    return aside
