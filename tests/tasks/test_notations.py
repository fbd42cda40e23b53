"""The same table as spreadsheets, other countries and other tools write it is the same task."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from task_tables import long_frame, wide_csv

from throughtime import tasks
from throughtime.errors import DataError
from throughtime.tasks import Preprocessing, read_new

W = wide_csv()
LONG = long_frame().drop("person", "amount").write_csv()
NAMED: dict[str, Any] = {"series": "id", "time": "time", "target": "label"}


def european(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


WRITTEN: dict[str, tuple[str, Callable[[str], str | bytes]]] = {
    "byte order mark": ("a.csv", lambda t: t.encode("utf-8-sig")),
    "utf-16, as Excel's Unicode text": ("a.csv", lambda t: t.replace(",", "\t").encode("utf-16")),
    "Windows lines": ("a.csv", lambda t: t.replace("\n", "\r\n")),
    "old Mac lines": ("a.csv", lambda t: t.replace("\n", "\r")),
    "decimal commas": ("a.csv", european),
    "every cell quoted": (
        "a.csv",
        lambda t: "\n".join(",".join(f'"{c}"' for c in r.split(",")) for r in t.splitlines()),
    ),
    "compressed": ("a.csv.gz", lambda t: gzip.compress(t.encode())),
    "compressed tabs": ("a.TSV.GZ", lambda t: gzip.compress(t.replace(",", "\t").encode())),
    "blank lines at the ends": ("a.csv", lambda t: f"\n\n{t}\n\n  \n\t\n"),
    "empty rows of a spreadsheet": (
        "a.csv",
        lambda t: t + ("," * t.partition("\n")[0].count(",") + "\n") * 3,
    ),
    "empty columns of a spreadsheet": (
        "a.csv",
        lambda t: "\n".join(f"{r},," for r in t.splitlines()),
    ),
    "spaces around": ("a.csv", lambda t: t.replace(",", " , ")),
    "pipes": ("a.csv", lambda t: t.replace(",", "|")),
}


@pytest.mark.parametrize("text", [W, LONG], ids=["wide", "long"])
@pytest.mark.parametrize("case", WRITTEN)
def test_one_table_in_many_notations(case: str, text: str, tmp_path: Path):
    options = NAMED if text is LONG else {"target": "label"}
    (tmp_path / "plain.csv").write_text(text)
    plain = tasks.load(tmp_path / "plain.csv", **options)
    name, write = WRITTEN[case]
    content = write(text)
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = tasks.load(str(path), **options)
    assert found.feature_names == plain.feature_names and found.class_names == plain.class_names
    assert np.array_equal(found.x, plain.x) and np.array_equal(found.y, plain.y)
    prepared = plain.prepare(plain.split(0)).preprocessing
    reader = json.loads(json.dumps(found.reader))
    new = read_new(path, reader, Preprocessing.from_config(prepared.to_config()))
    assert np.array_equal(new.x, prepared.scale_x(plain.x, plain.lengths))


NUMBERS: dict[str, tuple[list[str], list[float]]] = {
    "decimal comma": (["1,5", "-0,25", "3", ",5"], [1.5, -0.25, 3, 0.5]),
    "three decimals and a nought": (["0,125", "1,250"], [0.125, 1.25]),
    "comma and exponent": (["1,5e-3", "2E2"], [0.0015, 200]),
    "points for thousands": (["1.234,5", "1.234", "12"], [1234.5, 1234, 12]),
    "commas for thousands": (["1,234.5", "1,234", "12", "0.5"], [1234.5, 1234, 12, 0.5]),
    "millions": (["1,234,567", "8"], [1234567, 8]),
    "spaces for thousands": (["1 234,5", "12"], [1234.5, 12]),
    "narrow spaces": (["1\u202f234", "12"], [1234, 12]),
    "Swiss": (["1'234.5", "12.25"], [1234.5, 12.25]),
    "with a gap": (["1,5", "NA", "2,5"], [1.5, np.nan, 2.5]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_are_read_where_there_is_one_way_to_read_them(case: str):
    cells, values = NUMBERS[case]
    many = len(cells) * 12
    frame = pl.DataFrame(
        {"u": cells * 12, "v": [0.5, 1.0] * (many // 2), "label": list("ab") * (many // 2)}
    )
    task = tasks.load(frame, target="label", features="u,v", missing="interpolate")
    expected = np.array(values * 12, np.float32)
    known = ~np.isnan(expected)
    assert np.array_equal(task.x[known, 0, 0], expected[known])


@pytest.mark.parametrize(
    "cells", [["1,234", "5"], ["1,234", "1.5"], ["1,5", "1.5"], ["1,2,3", "4"]]
)
def test_numbers_of_two_readings_are_refused(cells: list[str]):
    frame = pl.DataFrame({"u": cells * 12, "v": [0.5, 1.0] * 12, "label": list("ab") * 12})
    with pytest.raises(DataError, match=cells[0]):
        tasks.load(frame, target="label")


NOTATIONS = [
    "%m/%d/%y", "%d.%m.%y", "%d-%b-%y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y",
    "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M", "%Y-%m-%dT%H:%M:%SZ",
]  # fmt: skip


@pytest.mark.parametrize("notation", NOTATIONS)
def test_dates_are_read_and_continued_in_their_own_notation(notation: str, tmp_path: Path):
    step = timedelta(hours=7) if "%M" in notation else timedelta(days=1)
    dates = [datetime(2020, 1, 1) + i * step for i in range(103)]
    written = [d.strftime(notation) for d in dates]
    frame = pl.DataFrame({"date": written[:100], "v": np.sin(np.arange(100.0))})
    frame.write_csv(tmp_path / "a.csv")
    task = tasks.load(tmp_path / "a.csv", horizon=3, target="v", time="date")
    assert not [key for key, _ in task.notes if "irregular" in key or "sorted" in key]
    prepared = task.prepare(task.split(0)).preprocessing
    new = read_new(tmp_path / "a.csv", task.reader, prepared)
    assert new.times is not None and new.times[0].to_list() == written[100:]


def test_months_by_name_are_times():
    months = [f"{datetime(2000, m, 1):%b}-{y}" for y in range(2000, 2008) for m in range(1, 13)]
    frame = pl.DataFrame({"when": months, "v": np.sin(np.arange(96.0))})
    task = tasks.load(frame, horizon=2)
    assert ("tasks.note_time", {"column": "when"}) in task.notes


def test_a_window_is_chosen_that_fits_between_the_gaps():
    v = np.sin(np.arange(200.0) / 5)
    v[20::50] = np.nan
    frame = pl.DataFrame(
        {"date": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 7, 18), eager=True), "v": v}
    )
    task = tasks.load(frame, horizon=3, missing="drop")
    assert task.x.shape[1] == 49 // 4 and np.isfinite(task.x).all()


def test_frames_with_numbers_for_names_and_nullable_columns():
    rng = np.random.default_rng(0)
    values, labels = rng.integers(-5, 5, (30, 4)), list("ab") * 15
    frame = pd.DataFrame(values).assign(label=labels)
    task = tasks.load(frame, target="label")
    assert np.array_equal(task.x[..., 0], values)
    nullable = frame.convert_dtypes()
    nullable.loc[7, 2] = pd.NA
    with pytest.raises(DataError, match="column 2, row 7: the value is missing"):
        tasks.load(nullable, target="label")
    filled = tasks.load(nullable, target="label", missing="interpolate")
    assert filled.x[7, 2, 0] == (values[7, 1] + values[7, 3]) / 2


@pytest.mark.parametrize("name", [None, "sales"])
@pytest.mark.parametrize("kind", [pd.Series, pl.Series], ids=["pandas", "polars"])
def test_one_series_is_a_frame_of_one_column(kind: Any, name: str | None):
    v = np.sin(np.arange(200.0))
    series = kind(v, name=name) if kind is pd.Series else kind(name or "", v)
    task = tasks.load(series, horizon=3)
    assert task.target_names == (name or "value",) and task.problem == "forecast"


def test_lines_of_a_text_end_alike(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"to be or not\r\n" * 99)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"to be or not\n" * 99))
    a, b = (tasks.load(tmp_path / name) for name in ("a.txt", "b.txt.gz"))
    assert np.array_equal(a.x, b.x) and "\r" not in a.class_names
    reader, p = a.reader, a.prepare(a.split(0)).preprocessing
    new = [read_new(tmp_path / name, reader, p) for name in ("a.txt", "b.txt.gz")]
    assert np.array_equal(new[0].x, new[1].x)


def test_a_header_of_ts_may_be_in_capitals(tmp_path: Path):
    text = "@problemName Toy\n@classLabel TRUE a b\n@data\n" + "1,2,3:a\n3,2:b\n" * 15
    (tmp_path / "a.ts").write_text(text)
    (tmp_path / "b.ts.gz").write_bytes(gzip.compress(text.encode()))
    task, same = (tasks.load(tmp_path / name) for name in ("a.ts", "b.ts.gz"))
    assert task.class_names == ("a", "b") and set(task.lengths) == {2, 3}
    assert np.array_equal(task.x, same.x)


def test_a_text_that_names_no_file_is_one_clear_error():
    for text in ("to be or not to be " * 99, "line.\n" * 99, "\0"):
        with pytest.raises(DataError) as caught:
            tasks.load(text, problem="next_token")
        assert len(str(caught.value)) < 500
