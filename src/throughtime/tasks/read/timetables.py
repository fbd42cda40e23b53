"""Long series to windows: forecasts, next step and next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.describe import listed
from throughtime.tasks.options import Options
from throughtime.tasks.preprocessing import Problem
from throughtime.tasks.read.columns import texts
from throughtime.tasks.read.long import Long, refuse_change
from throughtime.tasks.read.sequences import constant_features, part_codes, single
from throughtime.tasks.task import Note, Task
from throughtime.tasks.windows import (
    Cut,
    Rows,
    Shape,
    cut_series,
    cut_windows,
    join,
    segments_of,
)

_USUAL_WINDOW = 96


def forecast(
    sources: Sequence[Long], targets: tuple[str, ...], options: Options, reader: dict[str, Any]
) -> Task:
    """The next ``horizon`` values of the targets from windows of all features.

    Raises:
        DataError: the series are too short; values are missing; targets are constant.
    """
    horizon = options.horizon or 1
    rows, notes = _numeric_rows(sources, targets, options)
    window = options.window or default_window(rows[0], horizon)
    shape = Shape(window, window, window + horizon - 1)
    cut = join([cut_windows(r, shape, options.stride or 1, options.max_windows) for r in rows])
    if options.horizon is None:
        notes.append(("tasks.note_horizon_default", {}))
    relative = options.relative is None or bool(options.relative)
    if options.relative is None:
        notes.append(("tasks.note_relative", {}))
    return Task(
        **_fields("forecast", sources[0], targets, cut, options),
        y=cut.y.reshape(len(cut.y), -1),
        reader={**reader, "window": window, "horizon": horizon},
        notes=(*notes, *_window_notes(cut)),
        horizon=horizon,
        relative=relative,
        season=options.season,
    )


def next_step(
    sources: Sequence[Long], targets: tuple[str, ...], options: Options, reader: dict[str, Any]
) -> Task:
    """The targets' next values at every step, of whole series or of windows of one long series.

    Raises:
        DataError: the series are too short; values are missing; targets are constant.
    """
    rows, notes = _numeric_rows(sources, targets, options)
    cut, window = _cut_steps(sources, rows, options)
    return Task(
        **_fields("next_step", sources[0], targets, cut, options),
        y=cut.y,
        per_step=True,
        counts=np.arange(cut.x.shape[1]) < cut.lengths[:, None],
        reader={**reader, "window": window},
        notes=(*notes, *_window_notes(cut)),
    )


def next_token(
    sources: Sequence[Long], target: str, options: Options, reader: dict[str, Any]
) -> Task:
    """The next symbol of a column of symbols at every step."""
    read = []
    for source in sources:
        column = texts(source.table, target)
        if column.null_count():
            row = source.table.row(column.is_null().arg_true()[0])
            raise DataError("tasks.missing_value", source=source.table.name, column=target, row=row)
        read.append(column)
    symbols = tuple(sorted(pl.concat(read).unique()))
    rows = []
    for source, column in zip(sources, read, strict=True):
        codes = column.replace_strict(symbols, range(len(symbols)), return_dtype=pl.Int64)
        rows.append(_rows(source, codes.to_numpy()[:, None], [0], None, options))
    cut, window = _cut_steps(sources, rows, options)
    notes = (*sources[0].notes, *_window_notes(cut))
    name = options.name or sources[0].table.name
    return tokens(name, cut, symbols, target, {**reader, "window": window}, notes, options)


def tokens(
    name: str,
    cut: Cut,
    symbols: tuple[str, ...],
    target: str,
    reader: dict[str, Any],
    notes: tuple[Note, ...],
    options: Options,
) -> Task:
    """A task of the next symbol from symbol numbers already cut.

    Raises:
        DataError: there is only one symbol.
    """
    if len(symbols) < 2:
        raise DataError("tasks.single_symbol", source=name, symbol=listed(symbols))
    return Task(
        name=name,
        problem="next_token",
        x=cut.x[..., 0],
        lengths=cut.lengths,
        y=cut.y[..., 0],
        per_step=True,
        counts=np.arange(cut.x.shape[1]) < cut.lengths[:, None],
        target_names=(target,),
        class_names=symbols,
        reader=reader,
        notes=notes,
        given=cut.parts,
        spans=cut.spans,
        **options.shares(0.1, 0.1),
    )


def default_window(rows: Rows, horizon: int) -> int:
    """96 steps or twice the horizon, at most a quarter of the longest stretch without gaps."""
    longest = int(np.diff(rows.segments).max(initial=0))
    return max(1, min(max(_USUAL_WINDOW, 2 * horizon), longest // 4))


def _numeric_rows(
    sources: Sequence[Long], targets: tuple[str, ...], options: Options
) -> tuple[list[Rows], list[Note]]:
    """Rows whose every value is finite, or marked as a gap."""
    notes: list[Note] = []
    rows = []
    for source in sources:
        columns = [source.features.index(t) for t in targets]
        values, bad, said = _settled(source, options)
        rows.append(_rows(source, values, columns, bad, options))
        notes += [*source.notes, *said]
    first = rows[0].values[None]
    for target, column in zip(targets, rows[0].targets.T, strict=True):
        if np.ptp(column) == 0:
            raise DataError(
                "tasks.constant_target",
                source=sources[0].table.name,
                column=target,
                value=float(column[0]),
            )
    notes += constant_features(first, np.array([first.shape[1]]), sources[0].features)
    return rows, notes


def _rows(
    source: Long, values: np.ndarray, columns: list[int], bad: np.ndarray | None, options: Options
) -> Rows:
    bad = np.zeros(len(values), bool) if bad is None else bad
    parts = None
    if options.split_column is not None:
        parts = part_codes(source.table, options.split_column)
    segments = segments_of(source.starts, bad)
    return Rows(source.table.name, values, values[:, columns], segments, source.ranks(), parts)


def _settled(source: Long, options: Options) -> tuple[np.ndarray, np.ndarray, list[Note]]:
    """Values as float32, the rows that no window may hold, and what there is to say."""
    values, wrong = source.values, ~np.isfinite(source.values)
    bad = np.logical_or.reduce(wrong, axis=1)
    notes: list[Note] = []
    if bad.any() and options.missing == "drop":
        values = np.where(bad[:, None], 0.0, values)
        notes = [("tasks.note_gaps", {"rows": int(bad.sum())})]
    elif bad.any():
        values, bad = _interpolated(source, options), np.zeros_like(bad)
        notes = [("tasks.note_interpolated", {"values": int(wrong.sum())})]
    return single(values, source.table.name), bad, notes


def _interpolated(source: Long, options: Options) -> np.ndarray:
    pieces = [source.part(n).settled(options.missing)[0][0] for n in range(len(source.lengths))]
    return np.concatenate(pieces)


def _cut_steps(
    sources: Sequence[Long], rows: list[Rows], options: Options
) -> tuple[Cut, int | None]:
    """Whole series where there are several and no window was asked for, else windows."""
    window = options.window
    if window is None and sources[0].ids is None:
        window = default_window(rows[0], 1)
    if window is not None:
        shape, stride = Shape(window, 1, window), options.stride or window
        return join([cut_windows(r, shape, stride, options.max_windows) for r in rows]), window
    options.refuse("whole_series", "stride", "max_windows")
    if options.split_column is not None:
        refuse_change(sources[0], options.split_column)
    return join([cut_series(r) for r in rows]), None


def _fields(
    problem: Problem, source: Long, targets: tuple[str, ...], cut: Cut, options: Options
) -> dict[str, Any]:
    return {
        "name": options.name or source.table.name,
        "problem": problem,
        "x": cut.x,
        "lengths": cut.lengths,
        "feature_names": source.features,
        "target_names": targets,
        "target_columns": tuple(source.features.index(t) for t in targets),
        "given": cut.parts,
        "spans": cut.spans,
        **options.shares(),
    }


def _window_notes(cut: Cut) -> list[Note]:
    if not cut.thinned:
        return []
    return [("tasks.note_thinned", {"stride": cut.stride})]
