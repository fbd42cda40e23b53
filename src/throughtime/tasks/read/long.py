"""Long tables: one row a step, sorted into series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.read.columns import Times, numbers, texts, times
from throughtime.tasks.read.missing import Padded
from throughtime.tasks.read.sources import Table
from throughtime.tasks.task import Note


@dataclass(frozen=True, eq=False)
class Long:
    """Rows of a table in the order of series, then time.

    Attributes:
        table: the rows in that order, counted as in the source.
        values: (R, F) features, NaN where one is missing.
        features: F names.
        starts: (S + 1,) first row of every series, then R.
        ids: (S,) names of the series; ``None`` for a table that is one series.
        time: the time column, or ``None``.
        times: its values in the new order, or ``None``.
    """

    table: Table
    values: np.ndarray
    features: tuple[str, ...]
    starts: np.ndarray
    ids: tuple[str, ...] | None
    time: str | None
    times: Times | None
    notes: tuple[Note, ...]

    @property
    def lengths(self) -> np.ndarray:
        """(S,) rows of each series."""
        return np.diff(self.starts)

    @property
    def series(self) -> np.ndarray:
        """(R,) number of the series of each row."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def ranks(self) -> np.ndarray:
        """(R,) time of each row as ordered whole numbers: by the time column, else by position."""
        if self.times is None:
            return np.arange(len(self.values)) - np.repeat(self.starts[:-1], self.lengths)
        return np.unique(self.times.values, return_inverse=True)[1]

    def padded(self) -> Padded:
        """Every series as one sequence."""
        lengths = self.lengths
        x = np.zeros((len(lengths), lengths.max(), len(self.features)))
        x[self.series, np.arange(len(self.values)) - np.repeat(self.starts[:-1], lengths)] = (
            self.values
        )
        return Padded(x, lengths, lambda n, t, i: self.where(int(self.starts[n]) + t, i))

    def part(self, series: int) -> Padded:
        """One series alone."""
        first, end = self.starts[series : series + 2].tolist()
        x = self.values[None, first:end]
        return Padded(x, np.array([end - first]), lambda n, t, i: self.where(first + t, i))

    def where(self, row: int, feature: int) -> dict[str, Any]:
        """Source, column and row for a message."""
        return {
            "source": self.table.name,
            "column": self.features[feature],
            "row": self.table.row(row),
        }


def read_long(
    table: Table, series: str | None, time: str | None, features: tuple[str, ...]
) -> Long:
    """The rows sorted by series (in the order they first appear) and time.

    Raises:
        DataError: an id or a time is missing or odd; a time occurs twice in a series.
    """
    codes, ids = _series(table, series)
    order, read, notes = np.argsort(codes, kind="stable"), None, []
    if time is not None:
        read = times(table, time)
        in_file_order, order = order, np.lexsort((read.values, codes))
        if not (order == in_file_order).all():
            notes.append(("tasks.note_sorted", {"column": time}))
        _refuse_twins(table, time, read.values[order], codes[order], order, ids)
        read = Times(read.values[order], read.dated, read.pattern)
        notes += _irregular(read, codes[order], time)
    elif series is not None:
        notes.append(("tasks.note_file_order", {}))
    starts = np.searchsorted(codes[order], np.arange(len(ids or (0,)) + 1))
    values = [numbers(table, column) for column in features]
    ordered = table.take(order)
    matrix = np.stack(values, axis=1)[order] if values else np.zeros((len(order), 0))
    return Long(ordered, matrix, features, starts, ids, time, read, tuple(notes))


def _series(table: Table, series: str | None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    if series is None:
        return np.zeros(table.frame.height, np.int64), None
    read = texts(table, series)
    if read.null_count():
        row = table.row(read.is_null().arg_true()[0])
        raise DataError("tasks.missing_id", source=table.name, column=series, row=row)
    ids = read.unique(maintain_order=True)
    codes = read.replace_strict(ids, range(len(ids)), return_dtype=pl.Int64)
    return codes.to_numpy(), tuple(ids)


def _refuse_twins(
    table: Table,
    time: str,
    stamps: np.ndarray,
    codes: np.ndarray,
    order: np.ndarray,
    ids: tuple[str, ...] | None,
) -> None:
    twins = np.flatnonzero((stamps[1:] == stamps[:-1]) & (codes[1:] == codes[:-1]))
    if not twins.size:
        return
    row = order[twins[0] + 1]
    fields = {"source": table.name, "column": time, "row": table.row(row)}
    fields["text"] = str(table.frame[time][int(row)])
    if ids is None:
        raise DataError("tasks.duplicate_time", **fields)
    raise DataError("tasks.duplicate_time_in_series", series=ids[codes[twins[0]]], **fields)


def _irregular(read: Times, codes: np.ndarray, time: str) -> list[Note]:
    """A note where steps differ by more than months and leap years explain."""
    gaps = np.diff(read.values)[codes[1:] == codes[:-1]]
    if not gaps.size or gaps.max() <= 1.2 * gaps.min():
        return []
    return [("tasks.note_irregular", {"column": time})]


def first_change(long: Long, column: str) -> int | None:
    """The first row whose cell differs from its series' first, or ``None``."""
    read = texts(long.table, column)
    first = read.gather(np.repeat(long.starts[:-1], long.lengths))
    changed = read.ne_missing(first)
    return int(changed.arg_true()[0]) if changed.any() else None


def refuse_change(long: Long, column: str) -> None:
    """A column must not change within a series.

    Raises:
        DataError: it does.
    """
    changed = first_change(long, column)
    if changed is not None:
        raise DataError(
            "tasks.changes_within_series",
            source=long.table.name,
            column=column,
            row=long.table.row(changed),
            series=(long.ids or ("",))[long.series[changed]],
        )
