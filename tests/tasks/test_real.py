"""The real files: read whole, divided without leaking, and their naive scores as known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from throughtime import tasks


def test_japanese_vowels(shared_data: Path):
    task = tasks.load(shared_data / "JapaneseVowels_TRAIN.ts")
    assert task.x.shape == (640, 29, 12) and len(task.class_names) == 9
    assert (task.lengths.min(), task.lengths.max()) == (7, 29)
    split = task.split(0)
    np.testing.assert_array_equal(split.test, np.arange(270, 640))
    assert np.bincount(task.y[np.r_[split.train, split.validation]]).tolist() == [30] * 9
    assert np.bincount(task.y[split.train]).tolist() == [24] * 9
    assert np.bincount(task.y[split.test]).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert task.x[0, 0, 0] == np.float32(1.860936)


def test_mnist1d(shared_data: Path):
    task = tasks.load(shared_data / "mnist1d.npz")
    arrays = np.load(shared_data / "mnist1d.npz")
    split = task.split(0)
    np.testing.assert_array_equal(task.x[split.test, :, 0], arrays["x_test"])
    np.testing.assert_array_equal(task.y[split.test], arrays["y_test"])
    assert [len(split.train), len(split.validation)] == [3200, 800]


def test_etth1(shared_data: Path):
    task = tasks.load(shared_data / "ETTh1.csv", target="OT", horizon=24, window=96)
    frame = pl.read_csv(shared_data / "ETTh1.csv")
    assert task.feature_names == tuple(frame.columns[1:]) and task.x.shape == (17301, 96, 7)
    values = frame.drop("date").to_numpy().astype(np.float32)
    np.testing.assert_array_equal(task.x[1000], values[1000:1096])
    np.testing.assert_array_equal(task.y[1000], values[1096:1120, -1])
    split = task.split(0)
    train = task.prepare(split).preprocessing
    seen = values[: split.train[-1] + 96]
    np.testing.assert_allclose(train.x_centre, seen.mean(0), atol=0.2)
    assert task.baselines(split)["last_value"] == pytest.approx(1.4421, abs=1e-3)


def test_monthly_sunspots(shared_data: Path):
    task = tasks.load(shared_data / "monthly-sunspots.csv", target="Sunspots", horizon=12)
    frame = pl.read_csv(shared_data / "monthly-sunspots.csv")
    assert task.problem == "forecast" and len(task) == 2820 - 96 - 12 + 1
    np.testing.assert_array_equal(
        task.x[0, :, 0], frame["Sunspots"][:96].to_numpy().astype(np.float32)
    )


def test_tiny_shakespeare(shared_data: Path):
    task = tasks.load(shared_data / "tinyshakespeare.txt")
    assert len(task.class_names) == 65 and task.x.shape == (8714, 128)
    split = task.split(0)
    prepared = task.prepare(split)
    assert prepared.input_size == prepared.output_size == 65
    assert task.baselines(split) == {"unigram": pytest.approx(4.83, abs=0.01)}
