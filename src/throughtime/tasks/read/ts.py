"""The ``.ts`` format of the UCR and UEA archives.

Reference: Middlehurst et al., aeon: a Python toolkit for learning from time series, JMLR 25 (2024),
and the format's description on timeseriesclassification.com.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.options import Options
from throughtime.tasks.read.missing import Padded, padded
from throughtime.tasks.read.sequences import Sequences, labelled
from throughtime.tasks.read.sources import Table, read_text
from throughtime.tasks.task import Task

_COMMENTS = ("#", "%")


@dataclass(frozen=True, eq=False)
class Archive:
    """One ``.ts`` file.

    Attributes:
        name: of the problem.
        x: (N, T, I) zero padded, NaN where a value is missing.
        lengths: (N,) steps.
        targets: one text a series; ``None`` if the file has none.
        lines: (N,) line of the file of each series.
        class_names: declared classes; empty if the target is a number or absent.
    """

    name: str
    x: np.ndarray
    lengths: np.ndarray
    targets: tuple[str, ...] | None
    lines: np.ndarray
    class_names: tuple[str, ...]

    @property
    def target(self) -> str:
        """What to call the target."""
        return "class" if self.class_names else "value"


def from_ts(path: Path, test: Path | None, options: Options) -> Task:
    """The task of a ``.ts`` file; ``NAME_TEST.ts`` beside ``NAME_TRAIN.ts`` is its test set."""
    options.only("ts", "problem", "missing", "test", "test_share", "validation_share", "name")
    if test is None and path.stem.upper().endswith("_TRAIN"):
        beside = path.with_name(path.name[: -len("TRAIN.ts")] + "TEST.ts")
        test = beside if beside.exists() else None
    if test is not None:
        options.refuse("test", "test_share")
    archives = [(parse(p), p.name) for p in (path, test) if p is not None]
    train, *given = [_sequences(archive, file, options) for archive, file in archives]
    task = labelled(train, given[0] if given else None, (archives[0][0].target,), options)
    return task if options.name else replace(task, name=archives[0][0].name)


def _sequences(archive: Archive, file: str, options: Options) -> Sequences:
    if archive.targets is None:
        raise DataError("tasks.ts_no_target", source=file)
    channels = tuple(f"channel {i + 1}" for i in range(archive.x.shape[2]))

    def locate(n: int, t: int, i: int) -> dict[str, Any]:
        return {"source": file, "column": channels[i], "row": int(archive.lines[n])}

    x, lengths, notes = Padded(archive.x, archive.lengths, locate).settled(options.missing)
    return Sequences(
        x=x,
        lengths=lengths,
        keys=Table(pl.DataFrame({archive.target: archive.targets}), file, archive.lines),
        feature_names=channels,
        reader={"kind": "ts", "missing": options.missing},
        notes=tuple(notes),
        class_names=archive.class_names or None,
        problem="classification" if archive.class_names else "regression",
    )


def parse(path: Path) -> Archive:
    """Read a ``.ts`` file.

    Raises:
        DataError: a line does not follow the format.
    """
    header: dict[str, list[str]] = {}
    lines = enumerate(read_text(path).splitlines(), 1)
    for number, line in lines:
        words = line.split()
        if not words or line.lstrip().startswith(_COMMENTS):
            continue
        if words[0].lower() == "@data":
            break
        if not words[0].startswith("@"):
            raise DataError("tasks.ts_bad_header", source=path.name, row=number, text=line[:60])
        header[words[0].lower()[1:]] = words[1:]
    else:
        raise DataError("tasks.ts_no_data", source=path.name)
    if _says(header, "timestamps"):
        raise DataError("tasks.ts_timestamps", source=path.name)
    by_class = _says(header, "classlabel")
    has_target = by_class or _says(header, "targetlabel")
    series, targets, numbers = [], [], []
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith(_COMMENTS):
            continue
        *channels, last = line.strip().split(":")
        if has_target:
            targets.append(last.strip())
        else:
            channels.append(last)
        series.append(_series(path.name, number, channels))
        numbers.append(number)
        if series[-1].shape[1] != series[0].shape[1]:
            raise DataError(
                "tasks.ts_channels",
                source=path.name,
                row=number,
                channels=series[-1].shape[1],
                expected=series[0].shape[1],
            )
    if not series:
        raise DataError("tasks.no_rows", source=path.name)
    x, lengths = padded(series)
    return Archive(
        name=" ".join(header.get("problemname", [path.stem])),
        x=x,
        lengths=lengths,
        targets=tuple(targets) if has_target else None,
        lines=np.array(numbers),
        class_names=tuple(header["classlabel"][1:]) if by_class else (),
    )


def _says(header: dict[str, list[str]], key: str) -> bool:
    return [word.lower() for word in header.get(key, [])[:1]] == ["true"]


def _series(source: str, line: int, channels: list[str]) -> np.ndarray:
    """(T, I) values of one line."""
    if not channels:
        raise DataError("tasks.ts_no_values", source=source, row=line)
    columns = [
        np.array([_value(source, line, cell) for cell in channel.split(",")])
        for channel in channels
    ]
    lengths = {len(c) for c in columns}
    if len(lengths) > 1:
        raise DataError(
            "tasks.ts_uneven", source=source, row=line, lengths=", ".join(map(str, sorted(lengths)))
        )
    return np.stack(columns, axis=1)


def _value(source: str, line: int, cell: str) -> float:
    try:
        return np.nan if cell.strip() == "?" else float(cell)
    except ValueError:
        raise DataError("tasks.ts_bad_value", source=source, row=line, text=cell[:40]) from None
