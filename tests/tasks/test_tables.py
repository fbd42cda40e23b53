"""Tables read as a person means them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from task_tables import long_frame, time_frame, wide_csv

from throughtime import tasks
from throughtime.tasks import Task

LONG: dict[str, Any] = {"series": "id", "time": "time", "target": "label", "features": "u,v"}


def said(task: Task) -> str:
    return " ".join(task.said("en"))


def same(a: Task, b: Task) -> None:
    assert a.fingerprint == b.fingerprint
    assert (a.feature_names, a.target_names, a.class_names) == (
        b.feature_names,
        b.target_names,
        b.class_names,
    )


# --- forms ---------------------------------------------------------------------------------------


def test_wide():
    task = tasks.load(pl.read_csv(wide_csv().encode()), target="label")
    frame = pl.read_csv(wide_csv().encode())
    assert (task.problem, task.class_names, task.target_names) == (
        "classification",
        ("a", "b"),
        ("label",),
    )
    np.testing.assert_array_equal(task.x[..., 0], frame.drop("label").to_numpy().astype(np.float32))
    assert [task.class_names[c] for c in task.y] == frame["label"].to_list()
    assert "30 series of 5 steps" in said(task) and "inferred" in said(task)


def test_wide_with_the_target_in_the_middle_and_named_steps():
    frame = pl.read_csv(wide_csv().encode()).select("t1", "label", "t0", "t3", "t4")
    task = tasks.load(frame, target="label")
    np.testing.assert_array_equal(task.x[..., 0], frame.drop("label").to_numpy().astype(np.float32))
    task = tasks.load(frame, target="label", features=["t3", "t0"])
    np.testing.assert_array_equal(
        task.x[..., 0], frame.select("t3", "t0").to_numpy().astype(np.float32)
    )


def test_wide_with_ids_and_row_numbers():
    frame = pl.read_csv(wide_csv().encode())
    ids = pl.Series("id", [10**17 + k for k in range(30)])
    task = tasks.load(frame.with_columns(ids), target="label", series="id")
    assert task.x.shape == (30, 5, 1) and task.labels == tuple(str(v) for v in ids)
    task = tasks.load(frame.with_row_index("index"), target="label")
    assert task.x.shape == (30, 5, 1) and "Not used: index" in said(task)


def test_long_whatever_the_order_of_rows():
    frame = long_frame()
    task = tasks.load(frame, **LONG)
    assert task.x.shape == (24, 6, 2) and task.feature_names == ("u", "v")
    assert task.labels == tuple(f"s{k}" for k in range(24))
    np.testing.assert_array_equal(
        task.x.reshape(-1, 2), frame.select("u", "v").to_numpy().astype(np.float32)
    )
    first = frame.group_by("id", maintain_order=True).first()
    assert [task.class_names[c] for c in task.y] == first["label"].to_list()
    mixed = frame.sample(fraction=1, shuffle=True, seed=3)
    shuffled = tasks.load(mixed, **LONG)
    assert "sorted by time" in said(shuffled)
    order = [shuffled.labels.index(name) for name in task.labels or ()]
    np.testing.assert_array_equal(shuffled.x[order], task.x)
    np.testing.assert_array_equal(shuffled.y[order], task.y)


def test_long_of_unequal_lengths_and_time_found_by_itself():
    frame = long_frame().filter((pl.col("time") < 4) | (pl.col("id") != "s5"))
    task = tasks.load(frame, series="id", target="label", features="u,v")
    assert task.lengths[5] == 4 and (task.x[5, 4:] == 0).all() and set(task.lengths) == {4, 6}
    assert "column time is the time" in said(task)
    task = tasks.load(frame.drop("time"), series="id", target="label", features="u,v")
    assert "order of the rows" in said(task)


def test_long_regression_with_several_targets():
    frame = long_frame().with_columns(double=pl.col("amount") * 2)
    task = tasks.load(frame, series="id", time="time", target=["amount", "double"], features="u")
    assert task.problem == "regression" and task.y.shape == (24, 2)
    np.testing.assert_array_equal(task.y[:, 1], 2 * task.y[:, 0])
    same(task, tasks.load(frame, series="id", time="time", target="amount,double", features=("u",)))


def test_forecast_over_time():
    frame = time_frame()
    task = tasks.load(frame, target="sales", horizon=3, window=7)
    assert (task.problem, task.feature_names) == ("forecast", ("heat", "sales"))
    assert task.x.shape == (191, 7, 2) and task.y.shape == (191, 3)
    values = frame.select("heat", "sales").to_numpy().astype(np.float32)
    for n in (0, 5, 190):
        np.testing.assert_array_equal(task.x[n], values[n : n + 7])
        np.testing.assert_array_equal(task.y[n], values[n + 7 : n + 10, 1])
    assert task.target_columns == (1,) and "column date is the time" in said(task)
    scores = task.baselines(task.split(0))
    assert scores["seasonal_naive"] < 0.05 < scores["last_value"]


def test_forecast_baselines_by_hand():
    task = tasks.load(time_frame(), target="sales", horizon=10, window=9, season=7)
    split = task.split(0)
    sales = time_frame()["sales"].to_numpy().astype(np.float32)
    last, seasonal, middle = [], [], []
    train = task.y[split.train].astype(np.float64)
    for n in split.test:
        truth = sales[n + 9 : n + 19]
        last.append(np.abs(sales[n + 8] - truth))
        past = [sales[n + 9 + h - 7 * (1 + h // 7)] for h in range(10)]
        seasonal.append(np.abs(past - truth))
        middle.append(np.abs(np.median(train) - truth))
    scores = task.baselines(split)
    assert scores["last_value"] == pytest.approx(np.mean(last), rel=1e-5)
    assert scores["seasonal_naive"] == pytest.approx(np.mean(seasonal), rel=1e-5)
    assert scores["median"] == pytest.approx(np.mean(middle), rel=1e-5)


def test_forecast_of_several_targets_step_by_step():
    frame = time_frame()
    task = tasks.load(frame, target="sales,heat", horizon=2, window=4)
    values = frame.select("sales", "heat").to_numpy().astype(np.float32)
    assert task.target_names == ("sales", "heat") and task.feature_names == ("heat", "sales")
    np.testing.assert_array_equal(task.y[3], values[7:9].ravel())
    p = task.prepare(task.split(0)).preprocessing
    assert p.y_scale[:2] == p.y_scale[2:] and p.y_scale[0] != p.y_scale[1]


def test_forecast_is_inferred_from_a_time_and_a_number():
    task = tasks.load(time_frame(), target="sales")
    assert task.problem == "forecast" and task.horizon == 1
    assert "no horizon was given" in said(task) and "inferred" in said(task)
    task = tasks.load(time_frame().drop("heat"))
    assert task.target_names == ("sales",) and "only numeric column" in said(task)
    rows = tasks.load(time_frame().drop("date"), target="sales", horizon=2, window=5)
    assert rows.problem == "forecast"


def test_forecast_of_a_panel_crosses_no_series():
    a, b = time_frame(80), time_frame(60, seed=2)
    frame = pl.concat([a.with_columns(shop=pl.lit("a")), b.with_columns(shop=pl.lit("b"))])
    task = tasks.load(frame, series="shop", target="sales", horizon=3, window=7)
    assert len(task) == 71 + 51
    np.testing.assert_array_equal(
        task.x[71], b.select("heat", "sales").head(7).to_numpy().astype(np.float32)
    )
    again = tasks.load(frame, series="shop", target="sales", window=7)
    assert again.problem == "forecast"


def test_next_step_of_one_series_and_of_several():
    frame = time_frame(300)
    task = tasks.load(frame, target="sales", problem="next_step", window=20)
    sales = frame["sales"].to_numpy().astype(np.float32)
    assert task.x.shape == (14, 20, 2) and task.y.shape == (14, 20, 1) and task.per_step
    np.testing.assert_array_equal(task.y[1, :, 0], sales[21:41])
    np.testing.assert_array_equal(task.x[1, 1:, 1], task.y[1, :-1, 0])
    frame = long_frame().filter((pl.col("time") < 4) | (pl.col("id") != "s5"))
    task = tasks.load(
        frame, series="id", time="time", target="v", features="u", problem="next_step"
    )
    assert task.x.shape == (24, 5, 2) and task.y.shape == (24, 5, 1)
    assert task.lengths[5] == 3 and task.counts is not None
    np.testing.assert_array_equal(task.counts.sum(1), task.lengths)
    assert (task.x[5, 3:] == 0).all() and (task.y[5, 3:] == 0).all()
    assert set(task.baselines(task.split(0))) == {"last_value", "mean", "median"}


def test_next_token_of_a_column():
    frame = pl.DataFrame(
        {"id": np.repeat(np.arange(30), 5), "note": ["C", "E", "G", "E", "C"] * 30}
    )
    task = tasks.load(frame, series="id", target="note", problem="next_token")
    assert task.class_names == ("C", "E", "G") and task.x.shape == (30, 4)
    assert task.x[0].tolist() == [0, 1, 2, 1] and task.y[0].tolist() == [1, 2, 1, 0]


# --- inference -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "problem", "names"),
    [
        (["x", "y"], "classification", ("x", "y")),
        (["10", "9"], "classification", ("9", "10")),
        ([True, False], "classification", ("false", "true")),
        ([3, 1], "classification", ("1", "3")),
        ([3.0, 1.0], "classification", ("1", "3")),
        ([0.5, 1.0], "regression", ()),
        (list(range(30)), "regression", ()),
        ([10, 200, 3000] * 10, "classification", ("10", "200", "3000")),
    ],
)
def test_the_problem_follows_from_the_target(target, problem, names):
    target = (target * 30)[:30]
    frame = pl.read_csv(wide_csv().encode()).with_columns(label=pl.Series(target))
    task = tasks.load(frame, target="label")
    assert (task.problem, task.class_names) == (problem, names)
    if problem == "classification":
        assert [task.class_names[c] for c in task.y] == [
            str(v).lower()
            if isinstance(v, bool)
            else str(int(v))
            if isinstance(v, float)
            else str(v)
            for v in target
        ]
    text = tasks.load(frame.with_columns(pl.col("label").cast(pl.String)), target="label")
    assert text.problem == problem


def test_the_problem_can_be_set():
    frame = pl.read_csv(wide_csv().encode()).with_columns(label=pl.Series([1, 2, 3] * 10))
    task = tasks.load(frame, target="label", problem="regression")
    assert task.problem == "regression" and "inferred" not in said(task)


# --- kinds of files and frames --------------------------------------------------------------------


def test_every_kind_of_file_and_frame_is_the_same_task(tmp_path: Path):
    frame = long_frame()
    truth = tasks.load(frame, **LONG)
    frame.write_csv(tmp_path / "a.csv", float_precision=17)
    frame.write_csv(tmp_path / "b.csv", separator=";", include_bom=True, float_precision=17)
    frame.write_csv(tmp_path / "c.csv", separator="\t", float_precision=17, line_terminator="\r\n")
    frame.write_csv(tmp_path / "a.tsv", separator="\t", float_precision=17)
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "a.arrow")
    frame.write_ipc(tmp_path / "a.feather", compression="lz4")
    frame.write_ipc_stream(tmp_path / "b.arrow")
    frame.to_pandas().to_feather(tmp_path / "b.feather")
    frame.to_pandas().to_parquet(tmp_path / "b.parquet")
    for path in sorted(tmp_path.iterdir()):
        same(tasks.load(path, **LONG), truth)
        same(tasks.load(str(path), **LONG), truth)
    pandas = frame.to_pandas()
    for other in (pandas, frame.to_arrow(), frame.lazy(), pandas.astype({"id": "category"})):
        same(tasks.load(other, **LONG), truth)
    same(tasks.load(pandas.set_index("id"), **LONG), truth)
    assert isinstance(frame.to_arrow(), pa.Table)


def test_dates_as_an_index_of_pandas():
    frame = time_frame().to_pandas()
    frame["date"] = pd.to_datetime(frame["date"])
    truth = tasks.load(time_frame(), target="sales", horizon=2, window=5)
    same(tasks.load(frame.set_index("date"), target="sales", horizon=2, window=5), truth)
    unnamed = frame.set_index("date").rename_axis(None)
    same(tasks.load(unnamed, target="sales", horizon=2, window=5), truth)
    series = frame.set_index(pd.PeriodIndex(frame.pop("date"), freq="D"))
    same(tasks.load(series, target="sales", horizon=2, window=5), truth)


@pytest.mark.parametrize(
    "clock", ["", " %H:%M:%S", "T%H:%M:%S", " %H:%M", "T%H:%M:%SZ", " %H:%M:%S+02:00"]
)
@pytest.mark.parametrize(
    "day", ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d", "%d/%m/%Y", "%Y年%m月%d日"]
)
def test_dates_in_many_notations_are_sorted(day, clock, tmp_path: Path):
    frame = time_frame()
    dates = frame["date"].str.to_datetime("%Y-%m-%d").dt.strftime(day + clock)
    truth = tasks.load(frame, target="sales", horizon=2, window=5)
    path = tmp_path / "a.csv"
    frame.with_columns(date=dates).reverse().write_csv(path)
    task = tasks.load(path, target="sales", horizon=2, window=5, time="date")
    np.testing.assert_array_equal(task.x, truth.x)
    assert "sorted by date" in said(task) and "not of equal length" not in said(task)


def test_ambiguous_dates_are_not_guessed():
    days = pl.Series("date", ["01/02/2020", "02/03/2020", "03/04/2020"] * 20)
    frame = time_frame(60).with_columns(date=days)
    with pytest.raises(tasks.load.__globals__["DataError"], match=r"01/02/2020.*month first"):
        tasks.load(frame, target="sales", horizon=2, window=5, time="date")


def test_gaps_in_time_are_said():
    frame = time_frame().filter(pl.int_range(pl.len()) != 50)
    assert "not of equal length" in said(tasks.load(frame, target="sales", horizon=2, window=5))


# --- missing values -------------------------------------------------------------------------------


def test_dropped_steps_make_wide_rows_shorter():
    frame = pl.read_csv(wide_csv().encode()).with_columns(
        t1=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("t1"),
        t4=pl.when(pl.int_range(pl.len()) < 2).then(float("inf")).otherwise("t4"),
    )
    task = tasks.load(frame, target="label", missing="drop")
    assert task.lengths.tolist()[:5] == [4, 4, 5, 4, 5]
    row = frame.row(3)
    np.testing.assert_allclose(task.x[3, :4, 0], [row[0], row[2], row[3], row[4]], rtol=1e-6)
    assert task.x[3, 4, 0] == 0 and "3 step(s) with missing values" in said(task)


def test_interpolated_values_lie_on_the_line_between_neighbours():
    frame = pl.read_csv(wide_csv().encode()).with_columns(
        t0=pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise("t0"),
        t2=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("t2"),
    )
    task = tasks.load(frame, target="label", missing="interpolate")
    assert task.x[3, 2, 0] == pytest.approx((frame["t1"][3] + frame["t3"][3]) / 2, rel=1e-6)
    assert task.x[5, 0, 0] == pytest.approx(frame["t1"][5], rel=1e-6)
    assert "2 missing value(s) were interpolated" in said(task)


def test_series_without_a_target_can_be_dropped():
    frame = pl.read_csv(wide_csv().encode()).with_columns(
        label=pl.when(pl.int_range(pl.len()) < 2).then(None).otherwise("label")
    )
    task = tasks.load(frame, target="label", missing="drop")
    assert len(task) == 28 and "2 series without target" in said(task)


def test_windows_do_not_cross_dropped_rows():
    frame = time_frame(60).with_columns(
        heat=pl.when(pl.int_range(pl.len()) == 30).then(None).otherwise("heat")
    )
    task = tasks.load(frame, target="sales", horizon=2, window=5, missing="drop")
    assert len(task) == 24 + 23 and "no window crosses" in said(task)
    assert np.isfinite(task.x).all()
    whole = tasks.load(time_frame(60), target="sales", horizon=2, window=5)
    np.testing.assert_array_equal(task.x[23], whole.x[23])
    np.testing.assert_array_equal(task.x[24], whole.x[31])
    filled = tasks.load(frame, target="sales", horizon=2, window=5, missing="interpolate")
    assert len(filled) == len(whole)


# --- columns --------------------------------------------------------------------------------------


def test_constant_columns_are_said_and_harmless():
    frame = long_frame().with_columns(w=pl.lit(5.0))
    task = tasks.load(frame, **{**LONG, "features": "u,v,w"})
    assert "Constant, and so of no use: w" in said(task)
    assert (task.prepare(task.split(0)).train.x[..., 2] == 0).all()


def test_booleans_are_numbers():
    frame = long_frame().with_columns(w=pl.col("u") > 0.5)
    task = tasks.load(frame, **{**LONG, "features": "u,w"})
    assert set(np.unique(task.x[..., 1])) == {0, 1}
    text = frame.with_columns(pl.col("w").cast(pl.String))
    same(tasks.load(text, **{**LONG, "features": "u,w"}), task)


def test_large_integers_as_ids_stay_apart():
    n = long_frame().select(pl.col("id").str.slice(1).cast(pl.Int64) + 2**60)
    task = tasks.load(long_frame().with_columns(n), **LONG)
    assert task.labels is not None and task.labels[3] == str(2**60 + 3)


def test_names_of_columns_may_be_anything():
    frame = long_frame().rename({"u": "温度 {x}", "label": "类别"})
    task = tasks.load(frame, series="id", time="time", target="类别", features=["温度 {x}", "v"])
    assert task.feature_names == ("温度 {x}", "v") and task.said("zh")


# --- size -----------------------------------------------------------------------------------------


def test_windows_of_one_series_are_a_view():
    frame = pl.DataFrame(
        {"time": np.arange(50_000), "v": np.random.default_rng(0).normal(size=50_000)}
    )
    task = tasks.load(frame, target="v", horizon=1, window=500)
    assert task.x.base is not None and task.x.nbytes > 20 * 50_000 * 8


def test_windows_are_thinned_to_the_number_asked_for(monkeypatch):
    frame = time_frame(200)
    task = tasks.load(frame, target="sales", horizon=2, window=5, max_windows=40)
    assert 30 <= len(task) <= 40 and "stride was made larger" in said(task)
    task = tasks.load(frame, target="sales", horizon=2, window=5, stride=10)
    assert len(task) == 20 and "stride was made larger" not in said(task)
    np.testing.assert_array_equal(
        task.x[1], tasks.load(frame, target="sales", horizon=2, window=5).x[10]
    )
    monkeypatch.setattr("throughtime.tasks.windows.MOST_VALUES", 500)
    task = tasks.load(frame, target="sales", horizon=2, window=5)
    assert 40 <= len(task) <= 50 and "stride was made larger" in said(task)
