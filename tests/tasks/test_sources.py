"""Archives, arrays and plain text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from throughtime import tasks
from throughtime.errors import DataError
from throughtime.tasks.baselines import infer_season
from throughtime.tasks.read.text import encode


def arrays(n: int = 30, t: int = 6, i: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(n, t, i)), np.arange(n) % 3


def test_arrays_in_every_guise(tmp_path: Path):
    x, y = arrays()
    truth = tasks.load((x, y))
    assert truth.problem == "classification" and truth.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(truth.x, x.astype(np.float32))
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez_compressed(tmp_path / "b.npz", X=x.astype(np.float32), Y=y[:, None])
    for source, options in (
        ({"x": x, "y": y}, {}),
        (x, {"target": y}),
        (torch.from_numpy(x), {"target": torch.from_numpy(y)}),
        (list(x), {"target": list(y)}),
        ((x.tolist(), y.tolist()), {}),
        (x, {"target": y, "lengths": np.full(30, 6)}),
        (tmp_path / "a.npz", {}),
        (tmp_path / "b.npz", {}),
    ):
        assert tasks.load(source, **options).fingerprint == truth.fingerprint


def test_lengths_and_lists_are_the_same_sequences():
    x, y = arrays()
    lengths = np.arange(30) % 6 + 1
    padded = tasks.load(x, target=y, lengths=lengths)
    listed = tasks.load([s[:n] for s, n in zip(x, lengths, strict=True)], target=y)
    assert padded.fingerprint == listed.fingerprint
    assert (padded.x[0, 1:] == 0).all()


def test_what_lies_beyond_the_lengths_need_not_be_finite():
    x, y = arrays()
    x[0, 3:] = np.nan
    lengths = np.full(30, 6)
    lengths[0] = 3
    assert (tasks.load(x, target=y, lengths=lengths).x[0, 3:] == 0).all()


def test_targets_of_arrays():
    x, _ = arrays()
    values = np.random.default_rng(1).normal(size=(30, 2))
    task = tasks.load((x, values))
    assert task.problem == "regression" and task.target_names == ("y0", "y1")
    np.testing.assert_array_equal(task.y, values.astype(np.float32))
    words = tasks.load((x, np.array(["b", "a"] * 15)))
    assert words.class_names == ("a", "b") and words.y[0] == 1


def test_given_parts_of_arrays(tmp_path: Path):
    x, y = arrays(60)
    path = tmp_path / "a.npz"
    np.savez(
        path,
        x_train=x[:30],
        y_train=y[:30],
        x_val=x[30:40],
        y_val=y[30:40],
        x_test=x[40:, :4],
        y_test=y[40:],
    )
    task = tasks.load(path)
    split = task.split(3)
    np.testing.assert_array_equal(split.train, np.arange(30))
    np.testing.assert_array_equal(split.validation, np.arange(30, 40))
    np.testing.assert_array_equal(split.test, np.arange(40, 60))
    assert set(task.lengths[40:]) == {4} and set(task.lengths[:40]) == {6}


def test_a_forecast_from_an_array():
    values = np.sin(np.arange(300))
    task = tasks.load(values, target="x0", horizon=4, window=10)
    np.testing.assert_array_equal(task.y[7], values[17:21].astype(np.float32))
    task = tasks.load(np.stack((values, values**2), 1), target="x1", horizon=1, window=10)
    assert task.x.shape == (290, 10, 2)


TS = """# a comment
%# another
@problemName Toy Set
@timeStamps false
@classLabel true up down

@data
1,2,?:4,5,6:up
1,2:4,5:down
"""


def test_ts_of_unequal_length_with_missing_values(tmp_path: Path):
    path = tmp_path / "Toy_TRAIN.ts"
    path.write_text(TS + "3,4,5:6,7,8:up\n2,1:1,0:down\n" * 6)
    task = tasks.load(path, missing="drop")
    assert task.name == "Toy Set" and task.class_names == ("up", "down")
    assert task.lengths.tolist()[:3] == [2, 2, 3]
    np.testing.assert_array_equal(task.x[2, :, 1], [6, 7, 8])
    assert task.given is None
    with pytest.raises(DataError, match=r"channel 1, row 8"):
        tasks.load(path)


def test_the_ts_test_set_beside_is_taken_and_another_can_be_named(tmp_path: Path):
    text = TS.replace("?", "3") + "3,4,5:6,7,8:up\n2,1:1,0:down\n" * 6
    for name in ("Toy_TRAIN.ts", "Toy_TEST.ts", "Other.ts"):
        (tmp_path / name).write_text(text if name != "Other.ts" else text + "9,9:9,9:up\n")
    assert len(tasks.load(tmp_path / "Toy_TRAIN.ts")) == 28
    task = tasks.load(tmp_path / "Toy_TRAIN.ts", test=tmp_path / "Other.ts")
    assert len(task.split(0).test) == 15
    with pytest.raises(DataError, match="test_share"):
        tasks.load(tmp_path / "Toy_TRAIN.ts", test_share=0.3)
    with pytest.raises(DataError, match=r"no file.*nowhere"):
        tasks.load(tmp_path / "Toy_TRAIN.ts", test=tmp_path / "nowhere.ts")
    with pytest.raises(DataError, match=r"\.ts"):
        tasks.load(tmp_path / "Toy_TRAIN.ts", test=np.ones(3))


def test_text(tmp_path: Path):
    text = "去年今日此门中\n" * 40 + "😀"
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    task = tasks.load(path, window=16)
    assert task.problem == "next_token" and task.per_step
    read = "".join(task.class_names[c] for c in task.x.ravel())
    assert text.startswith(read) and len(read) == 16 * (len(text) - 1) // 16 // 16 * 16
    assert "".join(task.class_names[c] for c in task.y.ravel()) == text[1 : len(read) + 1]
    dense = tasks.load(path, window=16, stride=4)
    np.testing.assert_array_equal(dense.x[1, :12], task.x[0, 4:])
    split = dense.split(0)
    assert dense.spans is not None
    assert dense.spans[split.train, 1].max() < dense.spans[split.validation, 0].min()


def test_a_second_text_is_the_test_set(tmp_path: Path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("to be or not to be " * 40 + name)
    task = tasks.load(tmp_path / "a.txt", window=16, test=tmp_path / "b.txt")
    split = task.split(0)
    assert "".join(task.class_names[c] for c in task.y[split.test[-1]][-2:]) in "b.txt to be or not"
    assert {".", "t", "x", "a", "b"} <= set(task.class_names)


def test_every_character_keeps_its_number():
    symbols = tuple(sorted("héllo 世界😀"))
    assert "".join(symbols[c] for c in encode("世界 héo😀l", symbols)) == "世界 héo😀l"


@pytest.mark.parametrize("season", [5, 12, 24, 50])
def test_a_season_is_found(season):
    rng = np.random.default_rng(season)
    t = np.arange(1200)
    values = np.sin(2 * np.pi * t / season) + 0.3 * rng.normal(size=t.size) + t / 3000
    task = tasks.load(values, target="x0", horizon=4, window=60)
    assert infer_season(task, task.split(0).train) == season


def test_noise_has_no_season():
    values = np.random.default_rng(0).normal(size=1000).cumsum()
    task = tasks.load(values, target="x0", horizon=4, window=60)
    assert "seasonal_naive" not in task.baselines(task.split(0))
