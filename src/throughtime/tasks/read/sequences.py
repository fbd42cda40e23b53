"""Whole sequences with something to be predicted from each: classification and regression."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.describe import listed
from throughtime.tasks.options import Options
from throughtime.tasks.preprocessing import Problem
from throughtime.tasks.read.columns import numbers, parsed, texts
from throughtime.tasks.read.sources import Table
from throughtime.tasks.task import TEST, TRAIN, VALIDATION, Note, Task

_PARTS = {
    **dict.fromkeys(("train", "training", "训练", "训练集"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev", "验证", "验证集"), VALIDATION),
    **dict.fromkeys(("test", "testing", "测试", "测试集"), TEST),
}
_FEW_CLASSES, _MANY_CLASSES, _MEMBERS_OF_MANY = 20, 100, 10


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of one source before classes are numbered.

    Attributes:
        x: (N, T, I) finite within each length, anything beyond.
        lengths: (N,) steps, at least 1 each.
        keys: one row a sequence: targets, group and part, as they stood in the source.
        feature_names: I names.
        labels: (N,) names of the sequences, or ``None``.
        reader: see :class:`Task`.
        class_names: declared by the source, or ``None``.
        problem: declared by the source, or ``None``.
        parts: (N,) given parts, or ``None``.
    """

    x: np.ndarray
    lengths: np.ndarray
    keys: Table
    feature_names: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    reader: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    class_names: tuple[str, ...] | None = None
    problem: Problem | None = None
    parts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> Sequences:
        """The given sequences."""
        return replace(
            self,
            x=self.x[rows],
            lengths=self.lengths[rows],
            keys=self.keys.take(rows),
            labels=None if self.labels is None else tuple(self.labels[i] for i in rows),
            parts=None if self.parts is None else self.parts[rows],
        )


def labelled(
    train: Sequences, test: Sequences | None, targets: tuple[str, ...], options: Options
) -> Task:
    """A classification or regression task.

    Raises:
        DataError: a target is missing, of another kind, constant or of a single class; features
            are constant; the given test set does not match.
    """
    sources = [train] if test is None else [train, test]
    cleaned, notes = zip(*(_with_targets(s, targets, options) for s in sources), strict=True)
    if test is not None and (len(cleaned[0].feature_names) != len(cleaned[1].feature_names)):
        raise DataError(
            "tasks.test_has_other_features",
            train=len(cleaned[0].feature_names),
            test=len(cleaned[1].feature_names),
        )
    x, lengths = _padded(cleaned)
    problem = options.problem or train.problem or _infer(cleaned[0].keys, targets)
    if problem == "classification":
        y, class_names = _classes(cleaned, targets)
    else:
        y, class_names = _values(cleaned, targets), ()
    given = _given(cleaned, options)
    if problem == "classification" and given is not None:
        _check_seen(y, given, class_names)
    said = [note for part in notes for note in part]
    if options.problem is None and train.problem is None:
        said.append(("tasks.note_inferred", {}))
    labels = [s.labels for s in cleaned]
    return Task(
        name=options.name or train.keys.name,
        problem=problem,
        x=x,
        lengths=lengths,
        y=y,
        feature_names=train.feature_names,
        target_names=targets,
        class_names=class_names,
        reader=train.reader,
        notes=(*said, *constant_features(x, lengths, train.feature_names)),
        groups=_groups(cleaned, options),
        given=given,
        labels=None if None in labels else tuple(name for part in labels for name in part or ()),
        **options.shares(),
    )


def _with_targets(
    sequences: Sequences, targets: tuple[str, ...], options: Options
) -> tuple[Sequences, list[Note]]:
    """The sequences that have every target and at least one step."""
    missing = np.zeros(len(sequences), bool)
    for target in targets:
        absent = texts(sequences.keys, target).is_null().to_numpy()
        if absent.any() and options.missing != "drop":
            raise DataError(
                "tasks.missing_target_value",
                source=sequences.keys.name,
                column=target,
                row=sequences.keys.row(absent.argmax()),
            )
        missing |= absent
    empty = sequences.lengths == 0
    kept = np.flatnonzero(~missing & ~empty)
    if not kept.size:
        raise DataError("tasks.nothing_left", source=sequences.keys.name)
    notes: list[Note] = list(sequences.notes)
    if kept.size < len(sequences):
        notes.append(("tasks.note_series_dropped", {"series": len(sequences) - kept.size}))
        sequences = sequences.take(kept)
    return sequences, notes


def _padded(sources: tuple[Sequences, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All sequences, (N, T, I) float32 and zero beyond their lengths."""
    lengths = np.concatenate([s.lengths for s in sources]).astype(np.int64)
    x = np.zeros((len(lengths), lengths.max(), sources[0].x.shape[2]), np.float32)
    start = 0
    for source in sources:
        block = single(source.x, source.keys.name)[:, : x.shape[1]]
        x[start : start + len(source), : block.shape[1]] = block
        start += len(source)
    x[np.arange(x.shape[1]) >= lengths[:, None]] = 0
    return x, lengths


def single(values: np.ndarray, source: str) -> np.ndarray:
    """Finite values as float32.

    Raises:
        DataError: one is too large for it.
    """
    with np.errstate(over="ignore"):
        read = values.astype(np.float32)
    large = np.isinf(read) & np.isfinite(values)
    if large.any():
        raise DataError("tasks.too_large", source=source, value=float(values[large][0]))
    return read


def _infer(keys: Table, targets: tuple[str, ...]) -> Problem:
    """Text and few whole numbers are classes, other numbers are values."""
    target, *others = targets
    if others:
        return "regression"
    if keys.frame[target].dtype == pl.Boolean:
        return "classification"
    values, _ = parsed(texts(keys, target))
    if values.null_count() or not values.is_finite().all() or (values % 1 != 0).any():
        return "regression" if not values.null_count() else "classification"
    distinct = values.unique()
    runs = distinct.len() == distinct.max() - distinct.min() + 1  # type: ignore[operator]
    members = len(values) / distinct.len()
    many = distinct.len() <= _MANY_CLASSES and runs and members >= _MEMBERS_OF_MANY
    few = distinct.len() <= _FEW_CLASSES and members >= 2
    return "classification" if few or many else "regression"


def _classes(
    sources: tuple[Sequences, ...], targets: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers and names; numbers in their order, other names by alphabet."""
    target, *others = targets
    if others:
        raise DataError("tasks.one_class_column", columns=listed(targets))
    read = pl.concat([texts(s.keys, target) for s in sources])
    found = read.unique().to_list()
    declared = sources[0].class_names
    if declared is not None and set(found) <= set(declared):
        names = [c for c in declared if c in set(found)]
    else:
        values = parsed(pl.Series(found))[0]
        numeric = not values.null_count()
        names = (
            [c for _, c in sorted(zip(values, found, strict=True))] if numeric else sorted(found)
        )
    if len(names) < 2:
        raise DataError(
            "tasks.single_class", source=sources[0].keys.name, column=target, name=names[0]
        )
    y = read.replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    return y.copy(), tuple(names)


def _values(sources: tuple[Sequences, ...], targets: tuple[str, ...]) -> np.ndarray:
    """Numeric targets (N, K) float32."""
    columns = []
    for target in targets:
        parts = []
        for source in sources:
            read = numbers(source.keys, target)
            wrong = ~np.isfinite(read)
            if wrong.any():
                raise DataError(
                    "tasks.infinite_value",
                    source=source.keys.name,
                    column=target,
                    row=source.keys.row(wrong.argmax()),
                )
            parts.append(read)
        column = np.concatenate(parts)
        if np.ptp(column) == 0:
            raise DataError(
                "tasks.constant_target",
                source=sources[0].keys.name,
                column=target,
                value=float(column[0]),
            )
        columns.append(column)
    return single(np.stack(columns, axis=-1), sources[0].keys.name)


def part_codes(keys: Table, column: str) -> np.ndarray:
    """A column that names the part of each row, as numbers.

    Raises:
        DataError: a cell names no part.
    """
    read = texts(keys, column)
    lower = read.str.strip_chars().str.to_lowercase()
    codes = lower.replace_strict(_PARTS, default=None, return_dtype=pl.Int64)
    if codes.null_count():
        row = int(codes.is_null().arg_true()[0])
        raise DataError(
            "tasks.bad_part",
            source=keys.name,
            column=column,
            row=keys.row(row),
            text=read[row] or "",
        )
    if not (codes == TRAIN).any():
        raise DataError("tasks.no_training_rows", source=keys.name, column=column)
    return codes.to_numpy()


def _given(sources: tuple[Sequences, ...], options: Options) -> np.ndarray | None:
    train = sources[0]
    if options.split_column is not None:
        return part_codes(train.keys, options.split_column)
    if len(sources) == 1:
        return train.parts
    return np.repeat([TRAIN, TEST], [len(train), len(sources[1])])


def _groups(sources: tuple[Sequences, ...], options: Options) -> np.ndarray | None:
    if options.group is None:
        return None
    read = []
    for source in sources:
        column = texts(source.keys, options.group)
        if column.null_count():
            row = source.keys.row(column.is_null().arg_true()[0])
            raise DataError(
                "tasks.missing_id", source=source.keys.name, column=options.group, row=row
            )
        read.append(column)
    return np.unique(pl.concat(read).to_numpy(), return_inverse=True)[1].astype(np.int64)


def _check_seen(y: np.ndarray, given: np.ndarray, class_names: tuple[str, ...]) -> None:
    unseen = np.setdiff1d(y, y[given == TRAIN])
    if unseen.size:
        raise DataError("tasks.class_not_in_training", name=class_names[unseen[0]])


def constant_features(
    x: np.ndarray, lengths: np.ndarray, names: tuple[str, ...]
) -> tuple[Note, ...]:
    """A note of features that never change.

    Raises:
        DataError: none does.
    """
    valid = (np.arange(x.shape[1]) < lengths[:, None])[..., None]
    low = np.where(valid, x, np.inf).min((0, 1))
    high = np.where(valid, x, -np.inf).max((0, 1))
    constant = [name for name, c in zip(names, low == high, strict=True) if c]
    if len(constant) == len(names):
        raise DataError("tasks.all_constant", columns=listed(constant))
    if not constant:
        return ()
    return (("tasks.note_constant", {"columns": listed(constant)}),)
