"""NumPy arrays, tensors and ``.npz`` files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.describe import listed
from throughtime.tasks.options import Options
from throughtime.tasks.read.missing import Padded, padded
from throughtime.tasks.read.sequences import Sequences, labelled
from throughtime.tasks.read.sources import Table
from throughtime.tasks.task import TEST, TRAIN, VALIDATION, Task

_PARTS = {
    TRAIN: ("", "train", "training"),
    VALIDATION: ("validation", "valid", "val"),
    TEST: ("test", "testing"),
}
_EFFECTIVE = ("target", "lengths", "problem", "missing", "test_share", "validation_share", "name")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name.

    Raises:
        DataError: it is no such file, or holds pickled objects.
    """
    other = {"file": path.name, "suffix": ".npz"}
    if not is_zipfile(path):
        raise DataError("tasks.other_kind", **other, reason="no zip archive")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (BadZipFile, EOFError, OSError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError("tasks.other_kind", **other, reason=reason) from None
    except ValueError:
        raise DataError("tasks.pickled_arrays", file=path.name) from None


def from_arrays(arrays: Mapping[str, Any], source: str, options: Options) -> Task:
    """A task from arrays ``x``, ``y`` and ``lengths``, or the same with ``_train`` and ``_test``.

    x is (N, T) or (N, T, I) or a list of (T,) or (T, I) arrays; y is (N,) classes or values, or
    (N, K) values; lengths is (N,).
    """
    options.only("arrays", *_EFFECTIVE)
    blocks = _blocks(arrays, source)
    if TEST in blocks:
        options.refuse("test", "test_share")
    read = {part: _sequences(found, source, part, options) for part, found in blocks.items()}
    train = read[TRAIN]
    targets = tuple(train.keys.frame.columns)
    if len(read) == 1:
        return labelled(train, None, targets, options)
    joined = _concatenated(read, source)
    return labelled(joined, None, targets, options)


def _blocks(arrays: Mapping[str, Any], source: str) -> dict[int, dict[str, Any]]:
    """Arrays by part and letter."""
    names = {name.lower(): name for name in arrays}
    blocks: dict[int, dict[str, Any]] = {}
    used = set()
    for part, suffixes in _PARTS.items():
        for suffix in suffixes:
            found = {
                letter: names[key]
                for letter in ("x", "y", "lengths")
                if (key := f"{letter}_{suffix}" if suffix else letter) in names
            }
            if not found:
                continue
            if part in blocks or not {"x", "y"} <= found.keys():
                raise DataError("tasks.array_names", source=source, names=listed(arrays))
            blocks[part] = {letter: arrays[name] for letter, name in found.items()}
            used |= set(found.values())
    extra = [name for name in arrays if name not in used]
    if TRAIN not in blocks or extra:
        raise DataError("tasks.array_names", source=source, names=listed(arrays))
    return blocks


def _sequences(found: dict[str, Any], source: str, part: int, options: Options) -> Sequences:
    x, lengths = series_array(found["x"], found.get("lengths"), source)
    y = array(found["y"], "y", source)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError("tasks.y_shape", source=source, y=y.shape, series=len(x))
    columns = y[:, None] if y.ndim == 1 else y
    names = ["y"] if y.ndim == 1 else [f"y{k}" for k in range(columns.shape[1])]
    try:
        frame = pl.DataFrame(
            [pl.Series(n, c.tolist(), strict=True) for n, c in zip(names, columns.T, strict=True)]
        )
    except TypeError:
        raise DataError("tasks.mixed_classes", source=source) from None
    features = tuple(f"x{i}" for i in range(x.shape[2]))

    def locate(n: int, t: int, i: int) -> dict[str, Any]:
        return {"source": source, "column": f"x[{n}, {t}, {i}]", "row": n}

    x, lengths, notes = Padded(x, lengths, locate).settled(options.missing)
    return Sequences(
        x=x,
        lengths=lengths,
        keys=Table(frame, source, np.arange(len(x))),
        feature_names=features,
        reader={"kind": "arrays", "missing": options.missing},
        notes=tuple(notes),
        parts=np.full(len(x), part),
    )


def _concatenated(read: dict[int, Sequences], source: str) -> Sequences:
    """All parts as one, each sequence marked with its part."""
    parts = list(read.values())
    shapes = {(s.x.shape[2], tuple(s.keys.frame.columns)) for s in parts}
    if len(shapes) > 1:
        raise DataError("tasks.parts_differ", source=source)
    steps = max(s.x.shape[1] for s in parts)
    x = [np.pad(s.x, ((0, 0), (0, steps - s.x.shape[1]), (0, 0))) for s in parts]
    frame = pl.concat([s.keys.frame for s in parts], how="vertical_relaxed")
    return Sequences(
        x=np.concatenate(x),
        lengths=np.concatenate([s.lengths for s in parts]),
        keys=Table(frame, source, np.concatenate([s.keys.rows for s in parts])),
        feature_names=parts[0].feature_names,
        reader=parts[0].reader,
        notes=tuple(note for s in parts for note in s.notes),
        parts=np.concatenate([np.asarray(s.parts) for s in parts]),
    )


def array(values: Any, name: str, source: str) -> np.ndarray:
    """An array, tensor or list as an array.

    Raises:
        DataError: it cannot be one.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        read = np.asarray(values)
    except ValueError:
        raise DataError("tasks.bad_array", source=source, name=name) from None
    if read.dtype == object and name == "x":
        raise DataError("tasks.bad_array", source=source, name=name)
    return read


def series_array(values: Any, lengths: Any, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Values as (N, T, I) float64 and lengths as (N,).

    Raises:
        DataError: shapes, types or lengths do not fit.
    """
    if isinstance(values, (list, tuple)) and len({_steps(v) for v in values}) > 1:
        return _ragged(values, lengths, source)
    x = array(values, "x", source)
    if x.dtype.kind not in "biuf":
        raise DataError("tasks.bad_array", source=source, name="x")
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise DataError("tasks.x_shape", source=source, shape=x.shape)
    x = x.astype(np.float64)
    x = x[..., None] if x.ndim == 2 else x
    if lengths is None:
        return x, np.full(len(x), x.shape[1])
    read = array(lengths, "lengths", source)
    whole = read.dtype.kind in "iu"
    if not whole or read.shape != (len(x),) or read.min() < 1 or read.max() > x.shape[1]:
        raise DataError("tasks.bad_lengths", source=source, series=len(x), steps=x.shape[1])
    return x, read.astype(np.int64)


def _steps(values: Any) -> int:
    return len(values) if hasattr(values, "__len__") else -1


def _ragged(values: Any, lengths: Any, source: str) -> tuple[np.ndarray, np.ndarray]:
    if lengths is not None:
        raise DataError("tasks.without_effect_list", option="lengths")
    series = [array(v, "x", source) for v in values]
    series = [s[:, None] if s.ndim == 1 else s for s in series]
    for n, s in enumerate(series):
        if (
            s.ndim != 2
            or 0 in s.shape
            or s.dtype.kind not in "biuf"
            or s.shape[1] != series[0].shape[1]
        ):
            raise DataError("tasks.bad_series", source=source, index=n, shape=s.shape)
    return padded(series)
