# ruff: noqa: E501 - a table of cases reads best with one case a line
"""New data is read as the training data were, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from task_tables import long_frame, time_frame, wide_csv

from throughtime import tasks
from throughtime.errors import DataError
from throughtime.tasks import Preprocessing, format_predictions, read_new


def saved(task: tasks.Task) -> tuple[dict[str, Any], Preprocessing]:
    """Reader and preprocessing as they come back from a saved model."""
    p = task.prepare(task.split(0)).preprocessing
    reader, config = json.loads(json.dumps([task.reader, p.to_config()]))
    return reader, Preprocessing.from_config(config)


def whole(task: tasks.Task, p: Preprocessing) -> torch.Tensor:
    return p.block(task, np.arange(len(task))).x


WIDE = pl.read_csv(wide_csv().encode())
LONG: dict[str, Any] = {"series": "id", "time": "time", "target": "label", "group": "person"}


def test_wide(tmp_path: Path):
    task = tasks.load(WIDE.with_row_index("id"), target="label")
    reader, p = saved(task)
    path = tmp_path / "new.csv"
    WIDE.drop("label").select("t4", "t0", "t2", "t1", "t3").head(4).write_csv(
        path, float_precision=17
    )
    new = read_new(path, reader, p)
    assert torch.equal(new.x, whole(task, p)[:4]) and new.y.numel() == 0
    table = format_predictions(torch.tensor([[0.0, 1.0]] * 4), new, p)
    assert table.columns == ["row", "label", "p(a)", "p(b)"]
    assert table["row"].to_list() == [2, 3, 4, 5] and set(table["label"]) == {"b"}
    assert table["p(b)"][0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_long():
    frame = long_frame().drop("amount")
    task = tasks.load(frame, **LONG)
    reader, p = saved(task)
    new = read_new(
        frame.drop("label", "person").sample(fraction=1, shuffle=True, seed=1), reader, p
    )
    order = [new.labels.index(name) for name in task.labels or ()]
    assert torch.equal(new.x[order], whole(task, p))
    table = format_predictions(torch.randn(24, 2), new, p)
    assert table.columns == ["id", "label", "p(high)", "p(low)"] and table.height == 24


def test_regression():
    task = tasks.load(
        long_frame().drop("label"), series="id", target="amount", features="u,v", time="time"
    )
    reader, p = saved(task)
    new = read_new(long_frame(), reader | {"left_out": ["label", "person"]}, p)
    table = format_predictions(torch.from_numpy((task.y - p.y_centre) / p.y_scale), new, p)
    np.testing.assert_allclose(table["amount"], task.y[:, 0], atol=1e-5)


def test_forecast_continues_every_series_with_its_times(tmp_path: Path):
    frame = time_frame(100)
    path = tmp_path / "a.csv"
    frame.write_csv(path)
    task = tasks.load(path, target="sales,heat", horizon=3, window=8)
    reader, p = saved(task)
    frame.reverse().write_csv(path)
    new = read_new(path, reader, p)
    assert new.x.shape == (1, 8, 2)
    values = frame.tail(8).select("heat", "sales").to_numpy()
    np.testing.assert_allclose(new.x[0], (values - p.x_centre) / p.x_scale, atol=1e-5)
    table = format_predictions(torch.zeros(1, 6), new, p)
    assert table.columns == ["ahead", "date", "sales", "heat"]
    assert table["date"].to_list() == ["2020-04-10", "2020-04-11", "2020-04-12"]
    np.testing.assert_allclose(table["sales"], p.y_centre[0] + values[-1, 1], atol=1e-5)
    np.testing.assert_allclose(table["heat"], p.y_centre[1] + values[-1, 0], atol=1e-5)


def test_forecast_of_months_and_of_several_series():
    month = pl.datetime_range(pl.datetime(2015, 1, 1), pl.datetime(2022, 12, 1), "1mo", eager=True)
    one = pl.DataFrame({"when": month, "v": np.random.default_rng(0).normal(size=len(month))})
    frame = pl.concat(
        [one.with_columns(shop=pl.lit("a")), one.head(90).with_columns(shop=pl.lit("b"))]
    )
    task = tasks.load(frame, series="shop", target="v", horizon=2, window=6)
    reader, p = saved(task)
    new = read_new(frame, reader, p)
    table = format_predictions(torch.zeros(2, 2), new, p)
    assert table.columns == ["shop", "ahead", "when", "v"]
    assert [f"{d:%Y-%m}" for d in table["when"]] == ["2023-01", "2023-02", "2022-07", "2022-08"]


def test_forecast_of_irregular_times_has_no_dates():
    frame = time_frame(100).filter(pl.int_range(pl.len()) != 95)
    task = tasks.load(frame, target="sales", horizon=2, window=5)
    new = read_new(frame, *saved(task))
    assert format_predictions(torch.zeros(1, 2), new, saved(task)[1]).columns == ["ahead", "sales"]


def test_forecast_after_a_gap_needs_a_whole_window():
    frame = time_frame(100)
    task = tasks.load(frame, target="sales", horizon=2, window=5, missing="drop")
    for row, fits in ((94, True), (95, False)):
        spoilt = frame.with_columns(
            heat=pl.when(pl.int_range(pl.len()) == row).then(None).otherwise("heat")
        )
        if fits:
            assert read_new(spoilt, *saved(task)).x.shape == (1, 5, 2)
        else:
            with pytest.raises(DataError, match=r"4 complete step.*window of 5"):
                read_new(spoilt, *saved(task))


def test_next_step():
    frame = long_frame(24, 6)
    task = tasks.load(
        frame, series="id", time="time", target="v", features="u", problem="next_step"
    )
    reader, p = saved(task)
    new = read_new(frame.filter((pl.col("id") != "s1") | (pl.col("time") < 2)).head(14), reader, p)
    assert new.lengths.tolist() == [6, 2, 6]
    table = format_predictions(torch.zeros(3, 6, 1), new, p)
    assert table.columns == ["id", "after", "time", "next v"] and table.height == 14
    assert table["time"].to_list() == [*range(6), 0, 1, *range(6)]


def test_text(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("to be or not to be " * 40)
    task = tasks.load(path, window=16)
    reader, p = saved(task)
    path.write_text("to be")
    new = read_new(path, reader, p)
    outputs = torch.zeros(1, 5, p.output_size)
    outputs[..., p.class_names.index("b")] = 50
    table = format_predictions(outputs, new, p)
    assert table["symbol"].to_list() == list("to be") and set(table["next"]) == {"b"}
    path.write_text("to be, X")
    with pytest.raises(DataError, match=r"never seen: , X"):
        read_new(path, reader, p)


def test_next_token_of_a_column():
    frame = pl.DataFrame(
        {"id": np.repeat(np.arange(30), 5), "note": ["C", "E", "G", "E", "C"] * 30}
    )
    task = tasks.load(frame, series="id", target="note", problem="next_token")
    new = read_new(frame.head(10), *saved(task))
    assert new.x.tolist() == [[0, 1, 2, 1, 0]] * 2 and new.label_name == "id"


def test_a_built_in_set_takes_arrays_files_and_wide_tables(tmp_path: Path):
    task = tasks.load("digits")
    reader, p = saved(task)
    images = task.x[:3, :, 0]
    pl.DataFrame(images, schema=[f"pixel{k}" for k in range(64)]).with_row_index("id").write_csv(
        tmp_path / "a.csv", float_precision=9
    )
    np.savez(tmp_path / "a.npz", x=images)
    rows = "\n".join(",".join(map(str, row)) + ":0" for row in images)
    (tmp_path / "a.ts").write_text(f"@classLabel true 0 1\n@data\n{rows}\n")
    for source in (
        images,
        torch.from_numpy(images),
        tmp_path / "a.csv",
        tmp_path / "a.npz",
        tmp_path / "a.ts",
    ):
        torch.testing.assert_close(read_new(source, reader, p).x, whole(task, p)[:3])


def test_a_built_in_forecast_takes_a_table():
    task = tasks.load("mackey_glass", window=20, horizon=5, N=300)
    new = read_new(pl.DataFrame({"x": np.linspace(0.5, 1, 30)}), *saved(task))
    assert new.x.shape == (1, 20, 1)


def test_ts(tmp_path: Path):
    path = tmp_path / "Toy.ts"
    path.write_text("@classLabel true a b\n@data\n" + "1,2:3,4:a\n1,2,3:4,5,6:b\n" * 8)
    task = tasks.load(path)
    new = read_new(path, *saved(task))
    assert torch.equal(new.x, whole(task, saved(task)[1])) and new.lengths.tolist()[:2] == [2, 3]


SHORT = time_frame(100)
REFUSED: dict[str, tuple[Any, dict[str, Any], Any, list[str]]] = {
    "missing column": (WIDE, {"target": "label"}, WIDE.drop("t2"), ["t2", "t0, t1, t3"]),
    "extra column": (WIDE, {"target": "label"}, WIDE.with_columns(t5=1.0), ["t5"]),
    "text": (WIDE, {"target": "label"}, WIDE.with_columns(t2=pl.lit("x")), ["'t2'", "'x'"]),
    "nan": (WIDE, {"target": "label"}, WIDE.with_columns(t2=float("nan")), ["t2", "row 0"]),
    "no rows": (WIDE, {"target": "label"}, WIDE.head(0), ["no rows"]),
    "long without ids": (long_frame().drop("amount"), LONG, long_frame().drop("amount", "id"), ["id"]),
    "long without time": (long_frame().drop("amount"), LONG, long_frame().drop("amount", "time"), ["time"]),
    "other length": (long_frame().drop("amount"), LONG, long_frame(steps=7).drop("amount"), ["s0", "7 steps", "6"]),
    "forecast without the target's past": (SHORT, {"target": "sales", "horizon": 2, "window": 9}, SHORT.drop("sales"), ["sales"]),
    "forecast too short": (SHORT, {"target": "sales", "horizon": 2, "window": 9}, SHORT.head(8), ["8 complete", "9"]),
    "array of other length": ((np.random.rand(30, 6), np.arange(30) % 2), {}, np.ones((2, 5)), ["5 steps", "6"]),
    "array of other width": ((np.random.rand(30, 6, 2), np.arange(30) % 2), {}, np.ones((2, 6, 3)), ["3 feature", "2"]),
    "table for two features": ((np.random.rand(30, 6, 2), np.arange(30) % 2), {}, WIDE, ["2 features"]),
    "arrays for a table": (WIDE, {"target": "label"}, np.ones((3, 5)), ["ndarray"]),
    "file of another kind": (WIDE, {"target": "label"}, __file__, ["test_new.py", ".csv"]),
    "missing file": (WIDE, {"target": "label"}, "nowhere.csv", ["nowhere.csv"]),
    "no text": ("copy_memory:T=2,N=20", {}, np.ones((3, 5)), [".txt"]),
    "other arrays": ((np.random.rand(30, 6), np.arange(30) % 2), {}, {"z": 1}, ["z"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    source, options, fresh, words = REFUSED[case]
    task = tasks.load(source, **options)
    with pytest.raises(DataError) as caught:
        read_new(fresh, *saved(task))
    for word in words:
        assert word in caught.value.text("en"), caught.value.text("en")
    assert "{" not in caught.value.text("zh")
