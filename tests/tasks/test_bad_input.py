# ruff: noqa: E501 - a table of cases reads best with one case a line
"""Everything a person can hand in that cannot be used: one clear error each, in their own names."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from task_tables import long_frame, time_frame, wide_csv

from throughtime import tasks
from throughtime.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256))


def lines(text: str, row: int, new: str | None) -> str:
    """The text with a row (counted as in a spreadsheet) replaced or removed."""
    rows = text.splitlines()
    rows[row - 1 : row] = [] if new is None else [new]
    return "\n".join(rows) + "\n"


def cell(text: str, row: int, column: int, value: str) -> str:
    cells = text.splitlines()[row - 1].split(",")
    cells[column] = value
    return lines(text, row, ",".join(cells))


def long(**changes: Any) -> str:
    return long_frame().drop("person", "amount").with_columns(**changes).write_csv()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones((20, 4)))
    return file.getvalue()


def over_time(frame: pl.DataFrame) -> str:
    return frame.write_csv()


W, T = wide_csv(), time_frame()
LONG = {"series": "id", "time": "time", "target": "label"}
AHEAD = {"target": "sales", "horizon": 3, "window": 7}

# name of the file, content, options, words the message must hold
FILES: dict[str, tuple[str, str | bytes, dict[str, Any], list[str]]] = {
    "empty": ("a.csv", "", {"target": "label"}, ["a.csv", "empty"]),
    "blank": ("a.csv", "\n\n  \n", {"target": "label"}, ["a.csv", "empty"]),
    "header only": ("a.csv", W.splitlines()[0] + "\n", {"target": "label"}, ["a.csv", "no rows"]),
    "png": ("a.csv", PNG, {"target": "label"}, ["a.csv", "not a text file", ".csv"]),
    "utf-16 without mark": ("a.csv", W.encode("utf-16-le"), {"target": "label"}, ["a.csv", "not a text"]),
    "gzip of something else": ("a.csv.gz", W, {"target": "label"}, ["a.csv.gz", ".gz", "ending"]),
    "gzip cut short": ("a.csv.gz", gzip.compress(W.encode())[:-9], {"target": "label"}, ["a.csv.gz", ".gz"]),
    "gzip of a parquet name": ("a.parquet.gz", W, {"target": "label"}, ["a.parquet.gz", ".csv.gz"]),
    "numbers for header": ("a.csv", "0,0.0\n1,0.5\n2,0.1\n" * 9, {"horizon": 2}, ["a.csv", "0, 0.0"]),
    "latin-1": ("a.csv", "naïve,b\n1,2\n".encode("latin-1"), {}, ["a.csv", "UTF-8"]),
    "png as parquet": ("a.parquet", PNG, {"target": "label"}, ["a.parquet", ".parquet"]),
    "csv as feather": ("a.feather", W, {"target": "label"}, ["a.feather", ".feather"]),
    "csv as arrow": ("a.arrow", W, {"target": "label"}, ["a.arrow", ".arrow"]),
    "png as npz": ("a.npz", PNG, {}, ["a.npz", ".npz", "ending"]),
    "letters as npz": ("a.npz", b"xx", {}, ["a.npz", ".npz", "ending"]),
    "npy as npz": ("a.npz", npy(), {}, ["a.npz", ".npz", "ending"]),
    "csv as ts": ("a.ts", W, {}, ["a.ts", "line 1", "@data"]),
    "unknown suffix": ("a.xlsx", b"PK\x03\x04", {}, ["a.xlsx", ".csv", ".parquet"]),
    "no suffix": ("data", W, {}, ["data", ".csv"]),
    "no header": ("a.csv", lines(W, 1, None).replace(",a", ",1").replace(",b", ",0"), {"target": "y"}, ["a.csv", "header"]),
    "duplicate columns": ("a.csv", W.replace("t1", "t0", 1), {"target": "label"}, ["a.csv", "t0"]),
    "ragged long row": ("a.csv", lines(W, 9, "1,2,3,4,5,a,7,8"), {"target": "label"}, ["a.csv", "row 9", "8 cells", "6 columns"]),
    "ragged short row": ("a.csv", lines(W, 9, "1,2,3"), {"target": "label"}, ["a.csv", "row 9", "t3", "missing"]),
    "no target named": ("a.csv", W, {}, ["a.csv", "target", "t0", "label"]),
    "target mistyped": ("a.csv", W, {"target": "lable"}, ["a.csv", "'lable'", "'label'", "mean"]),
    "target unknown": ("a.csv", W, {"target": "zzz"}, ["a.csv", "'zzz'", "t0", "label"]),
    "series unknown": ("a.csv", long(), {**LONG, "series": "ids"}, ["'ids'", "series", "'id'"]),
    "time unknown": ("a.csv", long(), {**LONG, "time": "when"}, ["'when'", "time"]),
    "feature unknown": ("a.csv", W, {"target": "label", "features": ["t0", "t9x"]}, ["'t9x'", "features"]),
    "group unknown": ("a.csv", W, {"target": "label", "group": "who"}, ["'who'", "group"]),
    "split unknown": ("a.csv", W, {"target": "label", "split_column": "part"}, ["'part'", "split_column"]),
    "column twice": ("a.csv", long(), {**LONG, "time": "id"}, ["'id'", "series", "time"]),
    "target is a feature": ("a.csv", W, {"target": "label", "features": "t0,label"}, ["'label'", "answer"]),
    "text in numbers": ("a.csv", cell(W, 7, 2, "1.2x"), {"target": "label"}, ["a.csv", "'t2'", "row 7", "'1.2x'"]),
    "comma of two meanings": ("a.csv", cell(W, 7, 2, '"1,234"'), {"target": "label"}, ["a.csv", "'t2'", "row 7", "'1,234'", "decimal comma"]),
    "two notations": ("a.csv", cell(W, 7, 2, '"1,5"'), {"target": "label"}, ["a.csv", "'t2'", "row 7", "'1,5'"]),
    "words as feature": ("a.csv", lines(re.sub(r"(?m)^", "red,", W), 1, "colour,t0,t1,t2,t3,t4,label"), {"target": "label"}, ["'colour'", "'red'", "features"]),
    "dates as feature": ("a.csv", lines(re.sub(r"(?m)^", "2020-01-01,", W), 1, "born,t0,t1,t2,t3,t4,label"), {"target": "label"}, ["'born'", "2020-01-01", "time"]),
    "missing cell": ("a.csv", cell(W, 5, 3, ""), {"target": "label"}, ["a.csv", "t3", "row 5", "missing=drop"]),
    "nan": ("a.csv", cell(W, 5, 3, "NaN"), {"target": "label"}, ["t3", "row 5", "missing"]),
    "inf": ("a.csv", cell(W, 5, 3, "inf"), {"target": "label"}, ["t3", "row 5", "infinite"]),
    "huge": ("a.csv", cell(W, 5, 3, "1e300"), {"target": "label"}, ["a.csv", "1e+300", "single precision"]),
    "missing label": ("a.csv", cell(W, 6, 5, ""), {"target": "label"}, ["'label'", "row 6", "missing"]),
    "empty column": ("a.csv", "u,label\n" + ",a\n,b\n" * 9, {"target": "label", "missing": "drop"}, ["a.csv", "nothing is left"]),
    "row to interpolate is empty": ("a.csv", lines(W, 4, ",,,,,a"), {"target": "label", "missing": "interpolate"}, ["row 4", "interpolate"]),
    "single class": ("a.csv", W.replace(",b\n", ",a\n"), {"target": "label"}, ["'label'", "'a'", "two classes"]),
    "class of one": ("a.csv", W + "1,2,3,4,5,rare\n", {"target": "label"}, ["'rare'", "1 member"]),
    "class of two": ("a.csv", W + "1,2,3,4,5,rare\n" * 2, {"target": "label"}, ["'rare'", "2 member"]),
    "class in one group": ("a.csv", lines(re.sub(r"(?m)^.*,(\w+)$", r"\g<0>,g\1", W), 1, "t0,t1,t2,t3,t4,label,person"), {"target": "label", "group": "person"}, ["2 groups"]),
    "constant target": ("a.csv", re.sub(r",[ab]\n", ",3.5\n", W), {"target": "label"}, ["'label'", "3.5"]),
    "constant features": ("a.csv", re.sub(r"(?m)^[-\d].*,", "1,1,1,1,1,", W), {"target": "label"}, ["constant", "value"]),
    "too few series": ("a.csv", "\n".join(W.splitlines()[:5]), {"target": "label"}, ["only 4 series"]),
    "too few values": ("a.csv", "\n".join(re.sub(r"[ab]$", f"{n}.5", r) if n else r for n, r in enumerate(W.splitlines()[:6])), {"target": "label"}, ["only 5 series"]),
    "numbers as classes": ("a.csv", "\n".join(re.sub(r"[ab]$", f"{n}.5", r) if n else r for n, r in enumerate(W.splitlines())), {"target": "label", "problem": "classification"}, ["1 member", "problem=regression"]),
    "words as values": ("a.csv", W, {"target": "label", "problem": "regression"}, ["'label'", "'a'"]),
    "several class columns": ("a.csv", W, {"target": "label,t0", "problem": "classification"}, ["label, t0", "one"]),
    "duplicate times": ("a.csv", long(time=pl.Series([0, 0, 2, 3, 4, 5] * 24)), LONG, ["'time'", "row 3", "'s0'", "twice"]),
    "missing id": ("a.csv", long(id=pl.Series([None, *["s1"] * 143])), LONG, ["'id'", "row 2"]),
    "missing time": ("a.csv", long(time=pl.Series([None, *range(143)])), LONG, ["'time'", "row 2"]),
    "mixed times": ("a.csv", long(time=pl.Series(["2020-01-01", "noon", *["2020-01-02"] * 142])), LONG, ["'time'", "row 3", "'noon'"]),
    "label changes": ("a.csv", cell(long(), 4, 4, "high"), LONG, ["'label'", "row 4", "'s0'"]),
    "group changes": ("a.csv", long_frame().drop("amount").with_columns(person=pl.int_range(pl.len())).write_csv(), {**LONG, "group": "person"}, ["'person'", "row 3", "'s0'"]),
    "long without target": ("a.csv", long(), {"series": "id"}, ["target", "label"]),
    "bad part": ("a.csv", long_frame().drop("amount").rename({"person": "part"}).write_csv(), {**LONG, "split_column": "part"}, ["'part'", "'p0'", "train"]),
    "no training part": ("a.csv", long_frame().drop("amount", "person").with_columns(part=pl.lit("test")).write_csv(), {**LONG, "split_column": "part"}, ["training"]),
    "series too short": ("a.csv", over_time(T.head(9)), AHEAD, ["a.csv", "9 steps", "10"]),
    "too few windows": ("a.csv", over_time(T.head(12)), AHEAD, ["3 windows"]),
    "duplicate dates": ("a.csv", over_time(pl.concat([T, T.tail(1)])), AHEAD, ["'date'", "row 202", "2020-07-18", "series"]),
    "date mistyped": ("a.csv", cell(over_time(T), 9, 0, "2020-13-08"), {**AHEAD, "time": "date"}, ["'date'", "row 9", "'2020-13-08'"]),
    "nan over time": ("a.csv", cell(over_time(T), 9, 1, ""), AHEAD, ["heat", "row 9", "missing"]),
    "inf over time": ("a.csv", cell(over_time(T), 9, 2, "-inf"), AHEAD, ["sales", "row 9", "infinite"]),
    "text over time": ("a.csv", cell(over_time(T), 9, 2, "closed"), AHEAD, ["'sales'", "row 9", "'closed'"]),
    "constant over time": ("a.csv", over_time(T.with_columns(sales=pl.lit(4.0))), AHEAD, ["'sales'", "4"]),
    "words over time": ("a.csv", over_time(T.with_columns(shop=pl.lit("north"))), AHEAD, ["'shop'", "'north'"]),
    "season too long": ("a.csv", over_time(T), {**AHEAD, "season": 30}, ["30", "7"]),
    "horizon 0": ("a.csv", over_time(T), {**AHEAD, "horizon": 0}, ["horizon=0", "at least 1"]),
    "horizon -3": ("a.csv", over_time(T), {**AHEAD, "horizon": -3}, ["horizon=-3"]),
    "horizon 1.5": ("a.csv", over_time(T), {**AHEAD, "horizon": 1.5}, ["horizon=1.5", "whole number"]),
    "window 0": ("a.csv", over_time(T), {**AHEAD, "window": 0}, ["window=0"]),
    "stride 0": ("a.csv", over_time(T), {**AHEAD, "stride": 0}, ["stride=0"]),
    "relative maybe": ("a.csv", over_time(T), {**AHEAD, "relative": "maybe"}, ["relative='maybe'"]),
    "relative classes": ("a.csv", W, {"target": "label", "relative": True}, ["relative", "no effect"]),
    "max_windows True": ("a.csv", over_time(T), {**AHEAD, "max_windows": True}, ["max_windows=True"]),
    "forecast needs a target": ("a.csv", over_time(T), {"horizon": 3}, ["target", "heat", "sales"]),
    "share 1.2": ("a.csv", W, {"target": "label", "test_share": 1.2}, ["test_share=1.2"]),
    "shares of 1": ("a.csv", W, {"target": "label", "test_share": 0.6, "validation_share": 0.4}, ["0.6", "0.4"]),
    "unknown problem": ("a.csv", W, {"target": "label", "problem": "clustering"}, ["problem='clustering'", "forecast"]),
    "unknown missing": ("a.csv", W, {"target": "label", "missing": "zero"}, ["missing='zero'", "drop"]),
    "unknown option": ("a.csv", W, {"target": "label", "epochs": 3}, ["epochs"]),
    "lengths of a table": ("a.csv", W, {"target": "label", "lengths": [1]}, ["lengths", "no effect"]),
    "horizon of classes": ("a.csv", W, {"target": "label", "horizon": 3, "problem": "classification"}, ["horizon", "classification"]),
    "window of classes": ("a.csv", W, {"target": "label", "window": 3}, ["window", "no effect"]),
    "time of a wide table": ("a.csv", W, {"target": "label", "time": "t0"}, ["time", "no effect"]),
    "group of a forecast": ("a.csv", over_time(T), {**AHEAD, "group": "heat"}, ["group", "no effect"]),
    "target of a text": ("a.txt", "to be or not to be" * 90, {"target": "x"}, ["target", "no effect"]),
    "classes of a text": ("a.txt", "to be or not to be" * 90, {"problem": "classification"}, ["a.txt", "classification"]),
    "short text": ("a.txt", "to be or not to be", {}, ["a.txt", "18 steps", "129"]),
    "text of one letter": ("a.txt", "a" * 9999, {}, ["a.txt", "single symbol"]),
    "empty text": ("a.txt", "", {}, ["a.txt", "empty"]),
    "target of ts": ("a.ts", "@data\n", {"target": "x"}, ["target", "no effect"]),
    "ts without data": ("a.ts", "@problemName x\n", {}, ["a.ts", "@data"]),
    "ts without series": ("a.ts", "@classLabel true a b\n@data\n", {}, ["a.ts", "no rows"]),
    "ts without classes": ("a.ts", "@classLabel false\n@data\n1,2\n", {}, ["a.ts", "@classLabel"]),
    "ts bad value": ("a.ts", "@classLabel true a b\n@data\n1,2:a\n1,x:b\n", {}, ["line 4", "'x'"]),
    "ts channels": ("a.ts", "@classLabel true a b\n@data\n1,2:1,2:a\n1,2:b\n", {}, ["line 4", "1 channels", "2"]),
    "ts uneven": ("a.ts", "@classLabel true a b\n@data\n1,2:1,2,3:a\n", {}, ["line 3", "2, 3"]),
    "ts stamps": ("a.ts", "@timeStamps true\n@classLabel true a b\n@data\n(0,1):a\n", {}, ["time stamps"]),
    "ts missing": ("a.ts", "@classLabel true a b\n@data\n" + "1,2:a\n?,2:b\n" * 9, {}, ["channel 1", "row 4"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_one_clear_error(case: str, tmp_path: Path):
    file, content, options, words = FILES[case]
    path = tmp_path / file
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        task = tasks.load(str(path), **options)
        task.baselines(task.split(0))
    message = caught.value.text("en")
    for word in words:
        assert word in message, message
    assert re.search(r"[\u4e00-\u9fff]", caught.value.text("zh"))
    assert "{" not in message and "{" not in caught.value.text("zh")
    assert sorted(p.name for p in tmp_path.iterdir()) == [file]


def y(n: int = 20) -> np.ndarray:
    return np.arange(n) % 2


def x(n: int = 20, t: int = 4, i: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, t, i))


def with_nan() -> np.ndarray:
    bad = x()
    bad[3, 2, 0] = np.nan
    return bad


OBJECTS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "missing file": ("nowhere.csv", {}, ["nowhere.csv", "no file"]),
    "unknown set": ("nowhere", {}, ["nowhere", "digits"]),
    "mistyped set": ("digit", {}, ["digit", "Did you mean digits"]),
    "mistyped parameter": ("adding:length=3", {}, ["adding", "'length'", "T"]),
    "bad parameter": ("adding:T=ten", {}, ["adding", "T=ten"]),
    "fraction": ("adding", {"T": 10.5}, ["T=10.5"]),
    "small": ("adding", {"T": 1}, ["T=1", "at least 2"]),
    "parameter of digits": ("digits", {"T": 3}, ["digits", "'T'"]),
    "target of digits": ("digits", {"target": "x"}, ["target", "no effect"]),
    "shares of anbn": ("anbn", {"test_share": 0.5}, ["test_share", "comes divided"]),
    "tau": ("mackey_glass", {"tau": 17.05}, ["tau=17.05"]),
    "window larger than series": ("mackey_glass", {"N": 50}, ["50 steps", "184"]),
    "nonsense": (3.5, {}, ["float"]),
    "none": (None, {}, ["NoneType"]),
    "no y": (x(), {}, ["target=y"]),
    "y too short": ((x(), y(19)), {}, ["(19,)", "20"]),
    "y per step": ((x(), np.zeros((20, 4, 1))), {}, ["(20, 4, 1)"]),
    "x 4-dimensional": ((x()[None], y(1)), {}, ["(1, 20, 4, 1)"]),
    "x 1-dimensional": ((np.arange(20.0), y()), {}, ["(20,)"]),
    "x empty": ((np.zeros((0, 4)), y(0)), {}, ["(0, 4)"]),
    "x text": ((np.full((20, 4), "a"), y()), {}, ["x", "numbers"]),
    "x nested": (([[1, 2], [3, [4]]] * 10, y()), {}, ["x", "numbers"]),
    "x nan": ((with_nan(), y()), {}, ["x[3, 2, 0]", "missing"]),
    "lengths too long": (x(), {"target": y(), "lengths": np.full(20, 5)}, ["between 1 and 4"]),
    "lengths 0": (x(), {"target": y(), "lengths": np.zeros(20, int)}, ["between 1 and 4"]),
    "lengths of a list": ([np.ones(3), np.ones(4)] * 10, {"target": y(), "lengths": y()}, ["lengths"]),
    "empty series": ([np.ones(3), np.ones(0)] * 10, {"target": y()}, ["series 1", "(0, 1)"]),
    "series of other width": ([np.ones((3, 2)), np.ones((4, 1))] * 10, {"target": y()}, ["series 1"]),
    "series option": (x(), {"target": y(), "series": "id"}, ["series", "no effect"]),
    "one class": ((x(), np.zeros(20, int)), {}, ["single class", "'0'"]),
    "y nan": ((x(), np.where(y(), np.nan, 1.5)), {}, ["y", "row 1", "missing"]),
    "y inf": ((x(), np.where(y(), np.inf, 1.5)), {}, ["y", "row 1", "infinite"]),
    "array names": ({"a": x(), "b": y()}, {}, ["a, b", "x and y"]),
    "extra array": ({"x": x(), "y": y(), "z": y()}, {}, ["x, y, z"]),
    "train without y": ({"x_train": x(), "y_test": y()}, {}, ["x_train, y_test"]),
    "class only in test": ({"x_train": x(), "y_train": y(), "x_test": x(), "y_test": y() + 1}, {}, ["'2'", "training"]),
    "test of other width": ({"x_train": x(), "y_train": y(), "x_test": x(i=2), "y_test": y()}, {}, ["differ"]),
    "forecast of 3 axes": (x(), {"horizon": 2}, ["(20, 4, 1)"]),
    "pandas duplicate": (pd.DataFrame(np.ones((20, 2)), columns=["a", "a"]), {"target": "a"}, ["DataFrame", "a"]),
    "pandas empty": (pd.DataFrame({"a": []}), {"target": "a"}, ["DataFrame", "no rows"]),
    "polars lists": (pl.DataFrame({"a": [[1, 2]] * 20, "y": [0, 1] * 10}), {"target": "y"}, ["'a'", "List"]),
    "pandas nan": (pd.DataFrame({"a": [1.0, np.nan] * 10, "b": 2.0, "y": [0, 1] * 10}), {"target": "y"}, ["a", "row 1"]),
    "target not a name": (pl.DataFrame({"a": [1.0] * 20}), {"target": 3}, ["target"]),
    "unknown scaling": ("digits", {"scaling": "log"}, ["scaling"]),
    "ucr name": ("ucr:../etc", {}, ["'../etc'"]),
    "ucr folder": ("ucr:ArrowHead", {"folder": "/nowhere"}, ["/nowhere/ArrowHead"]),
    "ucr folder of a name": ("ucr:ArrowHead:folder=/nowhere", {}, ["/nowhere/ArrowHead"]),
    "ucr text": ("ucr:ArrowHead:T=3", {}, ["'T'", "ucr:ArrowHead", "folder"]),
    "ucr parameter": ("ucr:ArrowHead", {"T": 3}, ["'T'", "folder"]),
}  # fmt: skip


@pytest.mark.parametrize("case", OBJECTS)
def test_a_bad_object_is_one_clear_error(case: str):
    source, options, words = OBJECTS[case]
    with pytest.raises(DataError) as caught:
        tasks.load(source, **options)
    message = caught.value.text("en")
    for word in words:
        assert word in message, message
    assert re.search(r"[\u4e00-\u9fff]", caught.value.text("zh"))


def test_a_folder_and_a_near_file_name(tmp_path: Path):
    (tmp_path / "sales.csv").write_text(wide_csv())
    with pytest.raises(DataError, match="folder"):
        tasks.load(tmp_path)
    with pytest.raises(DataError, match=r"Did you mean sales\.csv"):
        tasks.load(tmp_path / "sale.csv", target="label")


def test_pickled_arrays_are_never_unpickled(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([print], dtype=object), y=y(1))
    with pytest.raises(DataError, match="Python objects"):
        tasks.load(path)


def test_scaling_is_checked():
    task = tasks.load("adding", T=5, N=30)
    with pytest.raises(DataError, match="'log'"):
        task.prepare(task.split(0), scaling="log")  # type: ignore[arg-type]
