"""What predictors without a network score: the bar every network has to clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from throughtime.errors import DataError

if TYPE_CHECKING:
    from throughtime.tasks.task import Split, Task

_WINDOWS_FOR_SEASON = 500
_CLEAR_SEASON = 0.3


def baselines(task: Task, split: Split) -> dict[str, float]:
    """Scores on the test block by name; see :meth:`Task.baselines`."""
    match task.problem:
        case "classification":
            majority = np.bincount(task.y[split.train]).argmax()
            return {"majority": float((task.y[split.test] == majority).mean())}
        case "next_token":
            return _frequencies(task, split)
        case "regression":
            return _constants(task, split)
        case "next_step":
            return {"last_value": _last_step(task, split), **_constants(task, split)}
        case "forecast":
            return {**_forecasts(task, split), **_constants(task, split)}


def _counted(task: Task, rows: np.ndarray) -> np.ndarray:
    """Numeric targets of the rows, (values, targets), in float64."""
    y = task.y[rows] if task.counts is None else task.y[rows][task.counts[rows]]
    return y.astype(np.float64).reshape(-1, len(task.target_names))


def _constants(task: Task, split: Split) -> dict[str, float]:
    train, test = _counted(task, split.train), _counted(task, split.test)
    guesses = {"mean": train.mean(0), "median": np.median(train, axis=0)}
    return {name: float(np.abs(test - guess).mean()) for name, guess in guesses.items()}


def _frequencies(task: Task, split: Split) -> dict[str, float]:
    """Bits per token of the training part's symbol frequencies (one added to every count).

    Where all sequences are whole and equally long also of the frequencies at each position: the
    best that can be done without looking at the inputs.
    """
    assert task.counts is not None
    symbols, steps = len(task.class_names), task.x.shape[1]
    step = np.arange(steps)
    seen = np.ones((steps, symbols))
    rows = np.broadcast_to(step, (len(split.train), steps))
    counted = task.counts[split.train]
    np.add.at(seen, (rows[counted], task.y[split.train][counted]), 1)
    pooled = seen.sum(0) - steps + 1
    tables = {"unigram": np.broadcast_to(pooled, seen.shape)}
    if task.spans is None and (task.lengths == steps).all():
        tables["by_position"] = seen
    counted = task.counts[split.test]
    rows = np.broadcast_to(step, counted.shape)
    index = rows[counted], task.y[split.test][counted]
    return {
        name: float(-np.log2(table / table.sum(1, keepdims=True))[index].mean())
        for name, table in tables.items()
    }


def _last_step(task: Task, split: Split) -> float:
    assert task.counts is not None
    now = task.x[split.test][..., list(task.target_columns)]
    error = np.abs(now - task.y[split.test])[task.counts[split.test]]
    return float(error.mean(dtype=np.float64))


def _forecasts(task: Task, split: Split) -> dict[str, float]:
    past = task.x[split.test][..., list(task.target_columns)].astype(np.float64)
    truth = task.y[split.test].reshape(len(split.test), task.horizon, -1)
    scores = {"last_value": float(np.abs(past[:, -1:] - truth).mean())}
    season = task.season or infer_season(task, split.train)
    if season:
        if season > past.shape[1]:
            raise DataError("tasks.season_too_long", season=season, window=past.shape[1])
        ahead = np.arange(task.horizon) % season - season
        scores["seasonal_naive"] = float(np.abs(past[:, ahead] - truth).mean())
    return scores


def infer_season(task: Task, rows: np.ndarray) -> int | None:
    """The lag in steps at which the windows of ``rows`` resemble themselves most, if clearly.

    From the local maxima, at least 0.3, of the autocorrelation of the first target along windows
    and what follows them, at lags up to the window: the highest about the first of those within a
    tenth of the highest of all, since multiples of a season look like it.
    """
    chosen = rows[:: max(1, len(rows) // _WINDOWS_FOR_SEASON)]
    past = task.x[chosen][..., task.target_columns[0]]
    ahead = task.y[chosen].reshape(len(chosen), task.horizon, -1)[..., 0]
    series = np.concatenate((past, ahead), axis=1).astype(np.float64)
    series -= series.mean()
    lags = range(1, min(past.shape[1] + 2, series.shape[1]))
    r = np.array([_correlation(series[:, :-k], series[:, k:]) for k in lags])
    peaks = np.flatnonzero((r[1:-1] > r[:-2]) & (r[1:-1] >= r[2:])) + 1
    peaks = peaks[r[peaks] >= _CLEAR_SEASON]
    if not peaks.size:
        return None
    high = peaks[r[peaks] >= 0.9 * r[peaks].max()]
    once = high[high < 1.5 * high[0]]
    return int(once[r[once].argmax()]) + 1


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale else 0.0
