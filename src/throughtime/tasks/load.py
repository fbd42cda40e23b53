"""``load``: any source of sequences to a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.builtin import builtin, is_builtin, names
from throughtime.tasks.describe import describe
from throughtime.tasks.options import Missing, Options
from throughtime.tasks.preprocessing import Problem
from throughtime.tasks.read.arrays import array, from_arrays, read_npz
from throughtime.tasks.read.sources import (
    TABLES,
    Table,
    existing,
    exists,
    frame_table,
    read_table,
    shortened,
    suffix_of,
)
from throughtime.tasks.read.tables import from_table
from throughtime.tasks.read.text import from_text
from throughtime.tasks.read.ts import from_ts
from throughtime.tasks.task import Task

SUFFIXES = (*TABLES, ".ts", ".npz", ".txt", ".csv.gz")


def load(
    source: Any,
    *,
    target: Any = None,
    series: str | None = None,
    time: str | None = None,
    features: Sequence[str] | str | None = None,
    problem: Problem | None = None,
    horizon: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    max_windows: int | None = None,
    season: int | None = None,
    relative: bool | None = None,
    group: str | None = None,
    split_column: str | None = None,
    lengths: Any = None,
    missing: Missing = "error",
    test: Any = None,
    test_share: float | None = None,
    validation_share: float | None = None,
    name: str | None = None,
    **parameters: Any,
) -> Task:
    """Read sequences and say what is to be predicted from them.

    Sources: a built-in set (``names()`` lists them); a CSV, TSV, Parquet, Arrow or Feather file,
    or a pandas, polars or arrow frame, wide (one row a series, the numeric columns in order are
    its steps), long (``series`` names the column of ids) or over time (one row a step, later
    values are predicted); a ``.ts`` file of the UCR/UEA archives; an ``.npz`` file or a mapping
    with ``x``, ``y`` and perhaps ``lengths``, or the same names with ``_train``, ``_validation``,
    ``_test``; arrays or a list of arrays with ``target`` the array of y; a ``.txt`` file, whose
    next character is predicted. Text files may be compressed (``.csv.gz``), with decimal points or
    commas.

    Args:
        source: as above.
        target: column to predict, several separated by commas or as a list; or the array y.
        series: column that names the series of a long table.
        time: column of times; found by itself where it is one of dates or is called ``time``,
            ``date``, ``month`` and the like. Rows are sorted by it.
        features: columns the network sees; all others by default. A forecast also sees the past
            of its targets.
        problem: ``classification``, ``regression``, ``forecast``, ``next_step`` or
            ``next_token``; inferred by default, and ``task.notes`` says what and why.
        horizon: steps ahead of a forecast, all predicted at once; 1 by default.
        window: steps the network sees before it predicts (forecast) or in one piece (next step,
            next token); by default at most 96, or 128 characters.
        stride: steps between windows; by default 1 for a forecast, else ``window``. It grows
            where the windows would fill more than 0.3 GB, with a note.
        max_windows: largest number of windows; the stride grows to keep to it.
        season: steps of a season, for the seasonal naive forecast; inferred by default.
        relative: whether a forecast is learnt as the change from the last value seen (default),
            which carries over to levels that the training part never reached (NLinear, Zeng et al.
            2023), or as the value itself. Scores are the same quantity either way.
        group: column of groups (persons, machines) that a split must not tear apart.
        split_column: column with ``train``, ``validation`` and ``test`` in its cells.
        lengths: (N,) steps of each sequence of a padded array.
        missing: ``"error"``; ``"drop"`` leaves out steps with a missing or infinite value, and
            series without a target (windows of a forecast do not cross such steps);
            ``"interpolate"`` draws a line between the neighbouring steps of the series.
        test: a second source of the same kind, the given test set. ``NAME_TEST.ts`` beside
            ``NAME_TRAIN.ts`` is taken by itself.
        test_share: of all rows; 0.2 by default, 0.1 for tokens.
        validation_share: likewise; of the training rows where the test set is given.
        name: of the data set, for people.
        parameters: of a built-in set, such as ``T=200``.

    Returns:
        The task: nothing is scaled or fitted yet.

    Raises:
        DataError: what was given cannot be used as it is; the message says where and what to do.

    Example:
        >>> from throughtime import tasks
        >>> task = tasks.load("adding", T=20, N=500)
        >>> task.problem, task.x.shape, task.metric.name
        ('regression', (500, 20, 2), 'mae')
    """
    options = Options(
        target=target,
        series=series,
        time=time,
        features=features,
        problem=problem,
        horizon=horizon,
        window=window,
        stride=stride,
        max_windows=max_windows,
        season=season,
        relative=relative,
        group=group,
        split_column=split_column,
        lengths=lengths,
        missing=missing,
        test=test,
        test_share=test_share,
        validation_share=validation_share,
        name=name,
    )
    task = _load(source, options, parameters)
    task.split(0)
    return replace(task, notes=(*describe(task), *task.notes))


def _load(source: Any, options: Options, parameters: dict[str, Any]) -> Task:
    if is_builtin(source):
        return builtin(source, parameters, options)
    if parameters:
        raise DataError("tasks.unknown_options", options=", ".join(parameters))
    if isinstance(source, (str, Path)):
        return _from_path(source, options)
    if isinstance(source, Mapping):
        options.refuse("mapping", "target", "lengths")
        return from_arrays(source, "arrays", options)
    if isinstance(source, (list, tuple, np.ndarray)) or hasattr(source, "detach"):
        return _from_values(source, options)
    test = None if options.test is None else frame_table(options.test)
    return from_table(frame_table(source), test, options)


def _from_path(source: str | Path, options: Options) -> Task:
    path = _existing(source)
    suffix = suffix_of(path)
    test = options.test
    if test is not None:
        if not isinstance(test, (str, Path)):
            raise DataError("tasks.test_other_kind", suffix=suffix)
        test = existing(test)
        if suffix_of(test) != suffix:
            raise DataError("tasks.test_other_kind", suffix=suffix)
    if suffix in TABLES:
        return from_table(read_table(path), None if test is None else read_table(test), options)
    if suffix == ".ts":
        return from_ts(path, test, options)
    if suffix == ".npz":
        options.refuse("npz", "target", "lengths")
        return from_arrays(read_npz(path), path.name, options)
    if suffix == ".txt":
        return from_text(path, test, options)
    raise DataError("tasks.unknown_suffix", file=path.name, known=", ".join(SUFFIXES))


def _existing(source: str | Path) -> Path:
    """The file, or an error that also thinks of built-in sets."""
    if isinstance(source, str) and not exists(Path(source)) and not Path(source).suffix:
        near = get_close_matches(source.partition(":")[0], names(), 1, cutoff=0.6)
        if near:
            raise DataError("tasks.unknown_source_near", source=source, near=near[0])
        known = ", ".join(names())
        raise DataError("tasks.unknown_source", source=shortened(source), known=known)
    return existing(source)


def _from_values(values: Any, options: Options) -> Task:
    """Arrays or a list of them, with y in ``target``; or series over time."""
    over_time = options.problem in ("forecast", "next_step") or options.horizon is not None
    if over_time:
        return from_table(_time_table(values, options), None, options)
    if isinstance(values, tuple) and len(values) == 2 and options.target is None:
        values, target = values
    else:
        target = options.target
    if target is None or isinstance(target, str):
        raise DataError("tasks.no_y")
    arrays = {"x": values, "y": target}
    if options.lengths is not None:
        arrays["lengths"] = options.lengths
    return from_arrays(arrays, "arrays", options)


def _time_table(values: Any, options: Options) -> Table:
    """(T,) or (T, I) values as columns ``x0``, ``x1`` and so on."""
    options.refuse("array_over_time", "series", "time", "lengths", "test")
    x = array(values, "x", "arrays")
    if x.ndim not in (1, 2) or x.dtype.kind not in "biuf" or 0 in x.shape:
        raise DataError("tasks.x_shape_over_time", shape=x.shape)
    columns = x[:, None] if x.ndim == 1 else x
    frame = pl.DataFrame({f"x{i}": c for i, c in enumerate(columns.T)})
    return Table(frame, "array", np.arange(len(x)))
