"""A trace as files that other programs read: JSON with everything, CSV with what has a step."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from throughtime.errors import TraceError
from throughtime.files import whole

FORMAT = 1
_SERIES = {
    "gradient": ("signal", "total"),
    "gradient_low": ("signal", "total_low"),
    "gradient_high": ("signal", "total_high"),
    "gradient_zero": ("signal", "total_zero"),
    "injected": ("signal", "injected"),
    "injected_zero": ("signal", "injected_zero"),
    "sequences": ("signal", "sequences"),
    "gain": ("split", "total"),
    "gain_activation": ("split", "slope"),
    "gain_weights": ("split", "weights"),
    "budget": ("budget", "share"),
    "state": ("state",),
    "signal_to_noise": ("signal_to_noise",),
    "underflow": ("underflow", "by_time"),
}


def to_json(content: Mapping[str, Any]) -> str:
    """Strict JSON, one object."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)


def to_csv(records: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a layer and time step; empty where there is no number.

    Columns: ``layer``, ``step``, those of ``_SERIES``, then ``path_…`` for every path of a gate
    that any layer has.
    """
    paths = sorted({name for m in records.values() for name in m["split"]["paths"]})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "step", *_SERIES, *(f"path_{name}" for name in paths)])
    for key, m in records.items():
        writer.writerows(_rows(key, m, paths))
    return text.getvalue()


def _rows(key: str, m: Mapping[str, Any], paths: list[str]) -> Iterator[list[Any]]:
    columns = [at(m, *where) for where in _SERIES.values()]
    columns += [m["split"]["paths"].get(name, [None] * m["steps"]) for name in paths]
    for t in range(m["steps"]):
        yield [key, t, *(column[t] for column in columns)]


def at(m: Mapping[str, Any], *where: str) -> Any:
    """What stands in an object of objects under these names."""
    for name in where:
        m = m[name]
    return m


def in_folder(path: str | os.PathLike[str]) -> Path:
    """The path of a file whose folder is there.

    Raises:
        TraceError: it is not.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise TraceError("traces.no_folder", path=str(path), folder=str(path.parent))
    return path


def write(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file beside its place, then move it there, so that it is whole or not there.

    Raises:
        TraceError: the folder is not there.
    """
    path = in_folder(path)
    with whole(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
