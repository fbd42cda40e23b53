"""Which column of a table is what, and which form and problem follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.describe import listed
from throughtime.tasks.options import Options
from throughtime.tasks.read.columns import (
    is_number_type,
    looks_like_time,
    parsed,
    texts,
    times_or_none,
)
from throughtime.tasks.read.sources import Table
from throughtime.tasks.task import Note

Form = Literal["wide", "long", "over_time"]

OVER_TIME = ("forecast", "next_step", "next_token")
_SINGLE = ("series", "time", "group", "split_column")
_ROW_NUMBERS = frozenset(
    ("", "id", "index", "row", "unnamed: 0", "row_id", "series_id", "sample_id", "编号", "序号")
)


@dataclass(frozen=True)
class Roles:
    """What each column of a table is.

    Attributes:
        form: ``wide``, one row a series; ``long``, one row a step of labelled series;
            ``over_time``, one row a step, targets are later values.
        targets, features, series, time, group, split_column: column names.
        left_out: columns that were seen and are not used.
    """

    form: Form
    targets: tuple[str, ...]
    features: tuple[str, ...]
    series: str | None
    time: str | None
    group: str | None
    split_column: str | None
    left_out: tuple[str, ...]

    def reader(self, options: Options) -> dict[str, Any]:
        """As it stands in a saved model."""
        roles = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"kind": "table", **roles, "missing": options.missing}

    def constant_per_series(self) -> tuple[str, ...]:
        """Columns with one value a series."""
        return (*self.targets, *(c for c in (self.group, self.split_column) if c is not None))

    def require(self, table: Table) -> None:
        """Another table must have the columns too."""
        single = (self.series, self.time, self.group)
        used = (*self.targets, *self.features, *(c for c in single if c is not None))
        table.require(tuple(dict.fromkeys(used)), "test")


def understand(table: Table, options: Options) -> tuple[Roles, list[Note]]:
    """The roles of the columns: as named, the rest are features.

    Raises:
        DataError: a name is no column or is used twice; the target is not named and not obvious.
    """
    targets, named = options.names("target"), options.names("features")
    single = {option: _one(options, option) for option in _SINGLE}
    _check_names(table, targets, named, single)
    taken = {*targets, *named, *single.values()}
    rest = [c for c in table.frame.columns if c not in taken]
    found = single["time"]
    if found is None:
        ordered = single["series"] is None
        found = next(
            (c for c in rest if looks_like_time(table, c) and _increases(table, c, ordered)), None
        )
    form = _form(table, targets, single["series"], found, options)
    notes: list[Note] = []
    if form == "wide":
        found = single["time"]
    elif found is not None and single["time"] is None:
        rest.remove(found)
        notes.append(("tasks.note_time", {"column": found}))
    left_out = rest
    if not named:
        left_out = [c for c in rest if is_row_number(table, c)]
        named = tuple(c for c in rest if c not in left_out)
        if left_out:
            notes.append(("tasks.note_left_out", {"columns": listed(left_out)}))
    if not targets:
        targets = _only_target(table, form, named)
        notes.append(("tasks.note_target", {"column": targets[0]}))
    if form == "over_time":
        named = tuple(c for c in table.frame.columns if c in {*named, *targets})
    if not named:
        raise DataError("tasks.no_features", source=table.name)
    columns = {**single, "time": found}
    return Roles(form, targets, named, **columns, left_out=tuple(left_out)), notes


def _one(options: Options, option: str) -> str | None:
    names = options.names(option)
    if len(names) > 1:
        raise DataError("tasks.one_column", option=option, columns=listed(names))
    return names[0] if names else None


def _check_names(
    table: Table, targets: tuple[str, ...], named: tuple[str, ...], single: dict[str, str | None]
) -> None:
    table.require(targets, "target")
    table.require(named, "features")
    used: dict[str, str] = dict.fromkeys(targets, "target")
    for option, column in single.items():
        if column is None:
            continue
        table.require((column,), option)
        if column in used and option != "group":
            raise DataError("tasks.column_twice", column=column, first=used[column], second=option)
        used.setdefault(column, option)
    for column in named:
        if used.get(column, "target") != "target":
            raise DataError(
                "tasks.column_twice", column=column, first=used[column], second="features"
            )


def _form(
    table: Table, targets: tuple[str, ...], series: str | None, time: str | None, options: Options
) -> Form:
    if options.problem in OVER_TIME or options.horizon is not None:
        return "over_time"
    if series is None:
        timed = time is not None and options.problem is None and _all_numbers(table, targets)
        return "over_time" if timed else "wide"
    ids = texts(table, series)
    if options.time is None and ids.n_unique() == len(ids):
        return "wide"
    if options.problem is None and targets and _all_numbers(table, targets):
        read = [texts(table, t).alias(f"target {t}") for t in targets]
        distinct = pl.DataFrame([ids.alias("id"), *read]).group_by("id").n_unique().drop("id")
        if max(distinct.max().row(0)) > 1:
            return "over_time"
    return "long"


def _all_numbers(table: Table, columns: Iterable[str]) -> bool:
    """Whether most cells of every column are numbers: odd ones are for a later message."""
    for column in columns:
        kind = table.frame[column].dtype
        if kind == pl.Boolean or not (is_number_type(kind) or kind == pl.String):
            return False
        if kind == pl.String:
            values, missing = parsed(table.frame[column])
            if 2 * values.is_not_null().sum() <= (~missing).sum():
                return False
    return True


def _increases(table: Table, column: str, ordered: bool) -> bool:
    """Numbers named like a time are one only if they go up where the table is one series."""
    found = times_or_none(table.frame[column])
    if found is None or found.dated or not ordered:
        return True
    return bool((np.diff(found.values) > 0).all())


def is_row_number(table: Table, column: str) -> bool:
    """A column called ``id``, ``index`` or the like, of distinct whole numbers."""
    if column.strip().lower() not in _ROW_NUMBERS:
        return False
    read = texts(table, column)
    whole = read.str.contains(r"^-?\d+$").fill_null(False).all()
    return bool(whole) and read.n_unique() == len(read)


def _only_target(table: Table, form: Form, features: tuple[str, ...]) -> tuple[str, ...]:
    numeric = [c for c in features if _all_numbers(table, (c,))]
    if form != "over_time" or len(numeric) != 1:
        raise DataError("tasks.no_target", source=table.name, columns=listed(table.frame.columns))
    return (numeric[0],)
