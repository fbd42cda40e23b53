"""Whatever stands in a file: a task or a DataError, never another exception."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from task_tables import long_frame, time_frame, wide_csv

from throughtime import tasks
from throughtime.errors import DataError

TS = "@problemName p\n@classLabel true a b\n@data\n" + "1,2,3:4,5,6:a\n2,1:5,7:b\n" * 8
SEEDS: dict[str, tuple[str, dict[str, Any]]] = {
    "wide.csv": (wide_csv(20, 3), {"target": "label"}),
    "long.csv": (long_frame(12, 4).write_csv(), {"target": "label", "series": "id"}),
    "time.csv": (time_frame(60).write_csv(), {"target": "sales", "horizon": 2, "window": 4}),
    "a.ts": (TS, {}),
    "a.txt": ("the quick brown fox " * 40, {"window": 8}),
}
PIECES = [
    ",",
    ";",
    "\n",
    '"',
    "\0",
    "NaN",
    "inf",
    "-",
    "",
    "1e400",
    "é",
    ":",
    "2020-02-30",
    "@data",
    "\r",
    "\t",
]


@pytest.mark.parametrize("file", SEEDS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_never_crashes(file: str, data: st.DataObject, tmp_path: Path):
    text, options = SEEDS[file]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + cut :]
    path = tmp_path / file
    path.write_text(text, encoding="utf-8")
    how = data.draw(st.sampled_from(["error", "drop", "interpolate"]))
    if file != "a.txt":
        options = {**options, "missing": how}
    with contextlib.suppress(DataError):
        task = tasks.load(path, **options)
        prepared = task.prepare(task.split(0))
        for block in (prepared.train, prepared.validation, prepared.test):
            assert len(block)
            assert bool(block.x.isfinite().all())
            assert bool(block.y.isfinite().all())
            assert int(block.lengths.min()) >= 1


@settings(max_examples=60, deadline=None)
@given(
    x=st.one_of(
        st.lists(st.lists(st.floats(width=32), max_size=3), max_size=12),
        st.lists(st.integers(), max_size=5),
        st.integers(0, 3).map(lambda k: np.ones((12,) * k)),
        st.none(),
        st.text(max_size=3),
    ),
    y=st.one_of(
        st.lists(st.integers(0, 2), max_size=12),
        st.lists(st.text(max_size=2), max_size=12),
        st.lists(st.one_of(st.none(), st.booleans(), st.floats()), max_size=12),
    ),
)
def test_odd_arrays_never_crash(x: Any, y: Any):
    with contextlib.suppress(DataError):
        tasks.load((x, y))
