"""Tables to tasks, long or wide."""

from __future__ import annotations

from dataclasses import replace

from throughtime.errors import DataError
from throughtime.tasks.describe import listed
from throughtime.tasks.options import Options
from throughtime.tasks.preprocessing import Problem
from throughtime.tasks.read.columns import texts
from throughtime.tasks.read.long import read_long, refuse_change
from throughtime.tasks.read.roles import Roles, understand
from throughtime.tasks.read.sequences import Sequences, labelled
from throughtime.tasks.read.sources import Table
from throughtime.tasks.read.timetables import forecast, next_step, next_token
from throughtime.tasks.read.wide import wide
from throughtime.tasks.task import Task

_WINDOWED = ("horizon", "window", "stride", "max_windows", "season", "relative")


def from_table(table: Table, test: Table | None, options: Options) -> Task:
    """The task a table holds.

    Args:
        table: the columns.
        test: a given test set with the same columns, or ``None``.
        options: what the person said.
    """
    options.refuse("table", "lengths")
    if test is not None:
        options.refuse("test", "split_column", "test_share")
    roles, notes = understand(table, options)
    if test is not None:
        roles.require(test)
    tables = [table] if test is None else [table, test]
    make = _over_time if roles.form == "over_time" else _labelled
    task = make(tables, roles, options)
    return replace(task, notes=(*task.notes, *notes))


def _labelled(tables: list[Table], roles: Roles, options: Options) -> Task:
    options.refuse("labelled", *_WINDOWED)
    for column in roles.features:
        if column in roles.targets:
            raise DataError("tasks.target_among_features", column=column)
    if roles.form == "wide":
        options.refuse("wide", "time")
    read = [_sequences(t, roles, options) for t in tables]
    return labelled(read[0], read[1] if len(read) > 1 else None, roles.targets, options)


def _sequences(table: Table, roles: Roles, options: Options) -> Sequences:
    """The series of a table."""
    keys, labels, said = table, None, ()
    if roles.form == "wide":
        read, features = wide(table, roles.features), ("value",)
        if roles.series is not None:
            labels = tuple(texts(table, roles.series).fill_null(""))
    else:
        long = read_long(table, roles.series, roles.time, roles.features)
        for column in roles.constant_per_series():
            refuse_change(long, column)
        read, features, labels, said = long.padded(), roles.features, long.ids, long.notes
        keys = long.table.take(long.starts[:-1])
    x, lengths, notes = read.settled(options.missing)
    return Sequences(
        x=x,
        lengths=lengths,
        keys=keys,
        feature_names=features,
        labels=labels,
        reader=roles.reader(options),
        notes=(*said, *notes),
    )


def _over_time(tables: list[Table], roles: Roles, options: Options) -> Task:
    options.refuse("over_time", "group")
    problem: Problem = options.problem or "forecast"
    reader = {**roles.reader(options), "problem": problem}
    if problem == "next_token":
        return _next_token(tables, roles, reader, options)
    read = [read_long(t, roles.series, roles.time, roles.features) for t in tables]
    if problem == "next_step":
        options.refuse("next_step", "season", "relative")
        return next_step(read, roles.targets, options, reader)
    task = forecast(read, roles.targets, options, reader)
    if options.problem is None and options.horizon is None:
        task = replace(task, notes=(*task.notes, ("tasks.note_inferred", {})))
    return task


def _next_token(tables: list[Table], roles: Roles, reader: dict, options: Options) -> Task:
    options.refuse("tokens", "features", "season", "relative", "missing")
    target, *others = roles.targets
    if others:
        raise DataError("tasks.one_class_column", columns=listed(roles.targets))
    read = [read_long(t, roles.series, roles.time, ()) for t in tables]
    task = next_token(read, target, options, {**reader, "features": []})
    unused = [c for c in roles.features if c != target]
    if unused:
        task = replace(
            task, notes=(*task.notes, ("tasks.note_left_out", {"columns": listed(unused)}))
        )
    return task
