"""New sequences, read as the training data were, and a network's answers to them as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from throughtime.errors import DataError
from throughtime.tasks.describe import listed
from throughtime.tasks.preprocessing import Preprocessing
from throughtime.tasks.read.arrays import read_npz, series_array
from throughtime.tasks.read.columns import Times, texts
from throughtime.tasks.read.long import read_long
from throughtime.tasks.read.missing import Padded
from throughtime.tasks.read.roles import is_row_number
from throughtime.tasks.read.sequences import single
from throughtime.tasks.read.sources import (
    TABLES,
    Table,
    existing,
    frame_table,
    read_table,
    read_text,
    suffix_of,
)
from throughtime.tasks.read.ts import parse
from throughtime.tasks.read.wide import wide
from throughtime.tasks.task import Block

_USED_ONCE = ("series", "time", "group", "split_column")


@dataclass(frozen=True, eq=False)
class New(Block):
    """Sequences to predict from: a block without y, and how to name its rows.

    Attributes:
        labels: (N,) names of the sequences; their numbers where they have none.
        label_name: column that names them.
        time_name: time column, or ``None``.
        times: one list a sequence: times of the steps forecast, or of the steps seen (next step
            and token); ``None`` where they are not known.
    """

    labels: tuple[Any, ...] = ()
    label_name: str = "row"
    time_name: str | None = None
    times: tuple[pl.Series, ...] | None = None


def read_new(source: Any, reader: dict[str, Any], preprocessing: Preprocessing) -> New:
    """Read new sequences the way the training data were read.

    Args:
        source: of the same kind as the training data: a file, frame, mapping or arrays. A model of
            a built-in set, a ``.ts`` file or arrays also takes each other's kinds and, with one
            feature, a wide table whose numeric columns are the steps.
        reader: ``task.reader``.
        preprocessing: of the training part.

    Returns:
        A block, scaled, with an empty y. Of a time table the last window of every series.

    Raises:
        DataError: columns are missing, unknown or of another kind; the number of features or
            steps differs; a symbol was never seen; values are missing.

    Example:
        >>> from throughtime import tasks
        >>> task = tasks.load("digits")
        >>> prepared = task.prepare(task.split(0))
        >>> images = task.x[:3, :, 0]
        >>> new = tasks.read_new(images, task.reader, prepared.preprocessing)
        >>> new.x.shape
        torch.Size([3, 64, 1])
    """
    if preprocessing.problem == "next_token":
        return _tokens(source, reader, preprocessing)
    if reader["kind"] == "table":
        table = _checked(_table(source), reader)
        if reader["form"] == "over_time":
            return _over_time(table, reader, preprocessing)
        return _whole(*_table_series(table, reader), reader, preprocessing)
    if reader.get("window") or preprocessing.per_step:
        columns = list(preprocessing.feature_names)
        plain = {"features": columns, "series": None, "time": None, "missing": "error", **reader}
        return _over_time(_checked(_table(source), plain), plain, preprocessing)
    read = _plain_series(source, preprocessing.input_size)
    return _whole(read, tuple(range(len(read.x))), "row", reader, preprocessing)


def _table(source: Any) -> Table:
    if not isinstance(source, (str, Path)):
        return frame_table(source)
    return read_table(_with_table_suffix(existing(source)))


def _with_table_suffix(path: Path) -> Path:
    if suffix_of(path) not in TABLES:
        raise DataError("tasks.new_needs_table", file=path.name, known=", ".join(TABLES))
    return path


def _checked(table: Table, reader: dict[str, Any]) -> Table:
    """A table with every column of the training data that is needed and none that is unknown."""
    needed = list(reader["features"])
    if reader.get("form") != "wide":
        needed += [reader[k] for k in ("series", "time") if reader[k] is not None]
    present = table.frame.columns
    absent = [c for c in needed if c not in present]
    if absent:
        raise DataError(
            "tasks.new_missing_columns",
            source=table.name,
            missing=listed(absent),
            columns=listed(present),
        )
    known = {*needed, *reader.get("targets", ()), *reader.get("left_out", ())}
    known |= {reader.get(k) for k in _USED_ONCE}
    extra = [c for c in present if c not in known]
    if extra:
        raise DataError("tasks.new_extra_columns", source=table.name, extra=listed(extra))
    return table


def _table_series(table: Table, reader: dict[str, Any]) -> tuple[Padded, tuple[Any, ...], str]:
    """The sequences of a wide or long table, their names and the column of those."""
    features, series = tuple(reader["features"]), reader["series"]
    if reader["form"] == "wide":
        if series in table.frame.columns:
            return wide(table, features), tuple(texts(table, series)), series
        return wide(table, features), tuple(table.rows.tolist()), "row"
    long = read_long(table, series, reader["time"], features)
    return long.padded(), long.ids or (), series


def _plain_series(source: Any, features: int) -> Padded:
    """Sequences of arrays, ``.npz`` and ``.ts`` files, or a wide table of one feature."""
    name, found, lengths = "arrays", source, None
    if isinstance(source, (str, Path)):
        path = existing(source)
        name = path.name
        if suffix_of(path) == ".ts":
            archive = parse(path)
            found, lengths = archive.x, archive.lengths
        elif path.suffix.lower() == ".npz":
            found = read_npz(path)
        else:
            found = read_table(_with_table_suffix(path))
    elif hasattr(source, "columns"):
        found = frame_table(source)
    if isinstance(found, Table):
        if features != 1:
            raise DataError("tasks.new_not_wide", source=found.name, features=features)
        columns = [c for c in found.frame.columns if not is_row_number(found, c)]
        return wide(found, tuple(columns))
    if isinstance(found, Mapping):
        if not {"x"} <= found.keys() <= {"x", "y", "lengths"}:
            raise DataError("tasks.new_array_names", source=name, names=listed(found))
        found, lengths = found["x"], found.get("lengths")
    x, lengths = series_array(found, lengths, name)

    def locate(n: int, t: int, i: int) -> dict[str, Any]:
        return {"source": name, "column": f"x[{n}, {t}, {i}]", "row": n}

    return Padded(x, lengths, locate)


def _whole(
    read: Padded,
    labels: tuple[Any, ...],
    label_name: str,
    reader: dict[str, Any],
    preprocessing: Preprocessing,
) -> New:
    """Whole sequences as a block."""
    source, features = read.locate(0, 0, 0)["source"], read.x.shape[2]
    if features != preprocessing.input_size:
        raise DataError(
            "tasks.new_features",
            source=source,
            features=features,
            expected=preprocessing.input_size,
        )
    x, lengths, _ = read.settled(reader.get("missing", "error"))
    odd = np.flatnonzero(lengths != preprocessing.steps if preprocessing.steps else lengths < 1)
    if odd.size:
        steps = int(lengths[odd[0]])
        key = "tasks.new_steps" if steps else "tasks.new_empty_series"
        named = {"source": source, "series": labels[odd[0]]}
        raise DataError(key, **named, steps=steps, expected=preprocessing.steps)
    scaled = preprocessing.scale_x(single(x, source), lengths)
    empty = torch.zeros(len(x), 0)
    return New(scaled, torch.from_numpy(lengths), empty, None, labels, label_name)


def _over_time(table: Table, reader: dict[str, Any], preprocessing: Preprocessing) -> New:
    """The last window of every series (forecast), or all its steps (next step)."""
    long = read_long(table, reader["series"], reader["time"], tuple(reader["features"]))
    forecast = preprocessing.problem == "forecast"
    pieces, times = [], []
    for n, (first, end) in enumerate(pairwise(long.starts.tolist())):
        piece = _clean(long.part(n), reader)
        if forecast and len(piece) < reader["window"]:
            raise DataError(
                "tasks.new_too_short",
                source=table.name,
                series=long.ids[n] if long.ids else table.name,
                steps=len(piece),
                window=reader["window"],
            )
        if long.times is not None:
            seen = long.times.values[first:end]
            ahead = preprocessing.horizon
            times.append(_future(seen, long.times, ahead) if forecast else _shown(seen, long.times))
        pieces.append(piece[-reader["window"] :] if forecast else piece)
    lengths = np.array([len(p) for p in pieces])
    x = np.zeros((len(pieces), lengths.max(), len(long.features)))
    for n, piece in enumerate(pieces):
        x[n, : len(piece)] = piece
    known = times and all(t is not None for t in times)
    return New(
        x=preprocessing.scale_x(single(x, table.name), lengths),
        lengths=torch.from_numpy(lengths),
        y=torch.zeros(len(x), 0),
        labels=long.ids or tuple(range(len(x))),
        label_name=reader["series"] or "row",
        time_name=reader["time"] if known else None,
        times=tuple(t for t in times if t is not None) if known else None,
    )


def _clean(read: Padded, reader: dict[str, Any]) -> np.ndarray:
    """The finite steps of one series; those after the last gap, if gaps are left out."""
    steps = read.x[0]
    bad = np.flatnonzero(~np.isfinite(steps).all(1))
    if bad.size and reader["missing"] == "drop":
        return steps[bad[-1] + 1 :]
    return read.settled(reader["missing"])[0][0]


def _shown(stamps: np.ndarray, times: Times) -> pl.Series:
    """Times as they stood in the file."""
    if not times.dated:
        whole = (stamps % 1 == 0).all()
        return pl.Series(stamps.astype(np.int64) if whole else stamps)
    dates = pl.Series(stamps).cast(pl.Datetime("us"))
    return dates if times.pattern is None else dates.dt.strftime(times.pattern)


def _future(stamps: np.ndarray, times: Times, horizon: int) -> pl.Series | None:
    """The next times of a regular series: equal gaps, or whole months."""
    if len(stamps) < 2:
        return None
    gaps = np.diff(stamps)
    ahead = np.arange(1, horizon + 1)
    if np.allclose(gaps, gaps[-1], rtol=1e-6, atol=0):
        return _shown(stamps[-1] + ahead * gaps[-1], times)
    if not times.dated:
        return None
    dates = pl.Series(stamps).cast(pl.Datetime("us"))
    months = np.diff((dates.dt.year().cast(pl.Int64) * 12 + dates.dt.month()).to_numpy())
    if (months != months[-1]).any() or months[-1] < 1 or dates.dt.day().n_unique() > 1:
        return None
    last = pl.DataFrame({"t": [dates[-1]] * horizon, "by": [f"{k * months[-1]}mo" for k in ahead]})
    future = last.select(pl.col("t").dt.offset_by(pl.col("by"))).to_series()
    return _shown(future.cast(pl.Datetime("us")).to_physical().to_numpy(), times)


def _tokens(source: Any, reader: dict[str, Any], preprocessing: Preprocessing) -> New:
    """Symbols as numbers, one row a series or the whole text."""
    symbols = preprocessing.class_names
    labels: tuple[Any, ...] = (0,)
    if reader["kind"] == "table":
        table = _table(source)
        column = reader["targets"][0]
        checked = _checked(table, {**reader, "features": [column]})
        long = read_long(checked, reader["series"], reader["time"], ())
        read = texts(long.table, column)
        lines = [read[a:b].to_list() for a, b in pairwise(long.starts.tolist())]
        labels, name = long.ids or (0,), table.name
    else:
        path = existing(source) if isinstance(source, (str, Path)) else None
        if path is None or suffix_of(path) != ".txt":
            raise DataError("tasks.new_needs_text", source=source)
        lines, name = [list(read_text(path))], path.name
    unknown = sorted({str(s) for line in lines for s in line} - set(symbols))
    if unknown:
        raise DataError("tasks.new_symbols", source=name, symbols=" ".join(unknown[:20]))
    lengths = np.array([len(line) for line in lines])
    x = np.zeros((len(lines), lengths.max()), np.int64)
    for n, line in enumerate(lines):
        x[n, : len(line)] = [symbols.index(s) for s in line]
    return New(
        x=torch.from_numpy(x),
        lengths=torch.from_numpy(lengths),
        y=torch.zeros(len(x), 0),
        labels=labels,
        label_name=reader.get("series") or "row",
    )


def format_predictions(outputs: Tensor, new: New, preprocessing: Preprocessing) -> pl.DataFrame:
    """Outputs of a network as a table a person can read.

    Args:
        outputs: (N, K), or (N, T, K) per step, for the sequences of ``new``.
        new: from :func:`read_new`.
        preprocessing: of the training part.

    Returns:
        One row a sequence: its name, the predicted class and every class' probability, or the
        predicted values; for a forecast one row a step ahead, with its time where it is known;
        per step one row a step seen, with what comes after it.
    """
    outputs = outputs.detach().cpu()
    targets = preprocessing.target_names
    if preprocessing.per_step:
        return _steps_table(outputs, new, preprocessing)
    if preprocessing.problem == "classification":
        p = outputs.double().softmax(-1)
        chosen = [preprocessing.class_names[i] for i in p.argmax(-1).tolist()]
        shares = {f"p({c})": p[:, i].numpy() for i, c in enumerate(preprocessing.class_names)}
        return pl.DataFrame({new.label_name: new.labels, targets[0]: chosen, **shares})
    values = preprocessing.values(outputs.double(), new).numpy()
    if preprocessing.problem == "regression":
        columns = dict(zip(targets, values.T, strict=True))
        return pl.DataFrame({new.label_name: new.labels, **columns})
    horizon = preprocessing.horizon
    values = values.reshape(len(values) * horizon, -1)
    table: dict[str, Any] = {}
    if len(new.labels) > 1 or new.label_name != "row":
        table[new.label_name] = [name for name in new.labels for _ in range(horizon)]
    table["ahead"] = list(range(1, horizon + 1)) * len(new.labels)
    if new.times is not None and new.time_name is not None:
        table[new.time_name] = pl.concat(new.times)
    return pl.DataFrame({**table, **dict(zip(targets, values.T, strict=True))})


def _steps_table(outputs: Tensor, new: New, preprocessing: Preprocessing) -> pl.DataFrame:
    valid = torch.arange(new.x.shape[1]) < new.lengths[:, None]
    lengths = new.lengths.tolist()
    table: dict[str, Any] = {
        new.label_name: [n for n, k in zip(new.labels, lengths, strict=True) for _ in range(k)],
        "after": [t for k in lengths for t in range(1, k + 1)],
    }
    if new.times is not None and new.time_name is not None:
        table[new.time_name] = pl.concat(new.times)
    if preprocessing.problem == "next_step":
        values = preprocessing.values(outputs[valid].double()).numpy()
        columns = {
            f"next {t}": v for t, v in zip(preprocessing.target_names, values.T, strict=True)
        }
        return pl.DataFrame({**table, **columns})
    symbols = preprocessing.class_names
    p, chosen = outputs[valid].double().softmax(-1).max(-1)
    table["symbol"] = [symbols[i] for i in new.x[valid].tolist()]
    table["next"] = [symbols[i] for i in chosen.tolist()]
    return pl.DataFrame({**table, "p(next)": p.numpy()})
