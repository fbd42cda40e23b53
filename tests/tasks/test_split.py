"""No split leaks: parts are disjoint, the test is fixed, groups whole, time in order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_tables import long_frame, time_frame

from throughtime import tasks
from throughtime.errors import DataError
from throughtime.tasks.task import TEST, TRAIN, VALIDATION, Split, Task


def classified(y: np.ndarray, **fields) -> Task:
    n = len(y)
    names = tuple(str(c) for c in range(int(y.max()) + 1))
    x = np.zeros((n, 1, 1), np.float32)
    return Task("t", "classification", x, np.ones(n, np.int64), y, class_names=names, **fields)


def valued(n: int, **fields) -> Task:
    x = np.zeros((n, 1, 1), np.float32)
    y = np.arange(n, dtype=np.float32)[:, None]
    return Task("t", "regression", x, np.ones(n, np.int64), y, target_names=("y",), **fields)


def check(task: Task, split: Split) -> None:
    rows = np.concatenate((split.train, split.validation, split.test))
    assert len(np.unique(rows)) == len(rows)
    assert all(len(part) for part in (split.train, split.validation, split.test))
    for part in (split.train, split.validation, split.test):
        assert (np.diff(part) > 0).all()


shares = st.floats(0.05, 0.4)


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.integers(3, 40), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    test=shares,
    validation=shares,
)
def test_every_class_is_in_every_part_in_its_share(members, seed, test, validation):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(members)), members))
    task = classified(y, test_share=test, validation_share=validation)
    if len(y) < 10:
        with pytest.raises(DataError):
            task.split(seed)
        return
    split = task.split(seed)
    check(task, split)
    assert len(split.train) + len(split.validation) + len(split.test) == len(y)
    for part in (split.train, split.validation, split.test):
        assert set(y[part]) == set(range(len(members)))
    for c, n in enumerate(members):
        assert abs((y[split.test] == c).sum() - test * n) <= 1
    np.testing.assert_array_equal(split.test, task.split(seed + 1).test)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(10, 300), seed=st.integers(0, 10**6), test=shares, validation=shares)
def test_values_are_divided_at_random_by_seed(n, seed, test, validation):
    task = valued(n, test_share=test, validation_share=validation)
    split, other = task.split(seed), task.split(seed + 1)
    check(task, split)
    assert len(split.train) + len(split.validation) + len(split.test) == n
    assert abs(len(split.test) - test * n) <= 1
    assert abs(len(split.validation) - validation * n) <= 1
    np.testing.assert_array_equal(split.test, other.test)
    np.testing.assert_array_equal(split.train, task.split(seed).train)
    if n > 40 and len(split.validation) > 5:
        assert not np.array_equal(split.validation, other.validation)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=6, max_size=20), seed=st.integers(0, 10**6))
def test_groups_stay_whole(sizes, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    if len(groups) < 12:
        return
    task = valued(len(groups), groups=groups)
    split = task.split(seed)
    check(task, split)
    parts = [set(groups[part]) for part in (split.train, split.validation, split.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    np.testing.assert_array_equal(split.test, task.split(seed + 1).test)


def test_grouped_classes_are_all_in_training():
    frame = long_frame(series=36)
    task = tasks.load(
        frame, series="id", time="time", target="label", group="person", features="u,v"
    )
    for seed in range(5):
        split = task.split(seed)
        check(task, split)
        assert set(task.y[split.train]) == {0, 1}
        people = [
            {int(n) // 3 for n in part} for part in (split.train, split.validation, split.test)
        ]
        assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(60, 200),
    window=st.integers(1, 12),
    horizon=st.integers(1, 6),
    stride=st.integers(1, 4),
    test=st.floats(0.2, 0.35),
    validation=st.floats(0.2, 0.35),
)
def test_no_target_is_shared_by_two_parts_of_a_forecast(
    rows, window, horizon, stride, test, validation
):
    frame = pl.DataFrame({"time": np.arange(rows), "v": np.arange(rows) * 1.0})
    task = tasks.load(
        frame,
        target="v",
        horizon=horizon,
        window=window,
        stride=stride,
        test_share=test,
        validation_share=validation,
    )
    split = task.split(0)
    check(task, split)
    targets = [set(task.y[part].ravel()) for part in (split.train, split.validation, split.test)]
    assert max(targets[0]) < min(targets[1]) and max(targets[1]) < min(targets[2])
    np.testing.assert_array_equal(task.y[:, 0], task.x[:, -1, 0] + 1)
    np.testing.assert_array_equal(np.diff(task.y, axis=1), 1)
    assert len(split.test) == pytest.approx(test * len(task), abs=2)
    np.testing.assert_array_equal(split.train, task.split(7).train)


def test_a_panel_is_divided_by_the_calendar():
    """A late series must not teach what an early one is tested on."""
    rows = 80
    frames = [
        pl.DataFrame({"id": name, "time": start + np.arange(rows), "v": np.arange(rows) * 1.0 + k})
        for k, (name, start) in enumerate((("a", 0), ("b", 40), ("c", 0)))
    ]
    frame = pl.concat(frames)
    task = tasks.load(frame, series="id", time="time", target="v", horizon=4, window=6)
    split = task.split(0)
    check(task, split)
    assert task.spans is not None
    first, last = task.spans.T
    assert last[split.train].max() < first[split.validation].min()
    assert last[split.validation].max() < first[split.test].min()


def test_next_tokens_are_divided_in_the_order_of_the_text(tmp_path):
    text = "".join(chr(200 + k) for k in range(2000))
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    task = tasks.load(tmp_path / "a.txt", window=10)
    split = task.split(3)
    assert task.y[split.train].max() < task.y[split.validation].min()
    assert task.y[split.validation].max() < task.y[split.test].min()
    np.testing.assert_array_equal(task.x[:, 1:], task.y[:, :-1])


@pytest.mark.parametrize(
    "given_parts", [(TRAIN, VALIDATION, TEST), (TRAIN, TEST), (TRAIN, VALIDATION)]
)
def test_given_parts_are_respected(given_parts):
    given = np.random.default_rng(0).choice(given_parts, 100)
    task = classified(np.arange(100) % 3, given=given)
    split = task.split(5)
    check(task, split)
    assert len(split.train) + len(split.validation) + len(split.test) == 100
    assert (given[split.train] == TRAIN).all()
    if TEST in given_parts:
        np.testing.assert_array_equal(split.test, np.flatnonzero(given == TEST))
        np.testing.assert_array_equal(split.test, task.split(6).test)
    if VALIDATION in given_parts:
        np.testing.assert_array_equal(split.validation, np.flatnonzero(given == VALIDATION))


def test_a_split_column_divides_windows_and_drops_those_across_its_borders():
    frame = time_frame(120).with_columns(
        part=pl.Series(["train"] * 60 + ["val"] * 30 + ["test"] * 30)
    )
    task = tasks.load(frame, target="sales", horizon=5, window=10, split_column="part")
    split = task.split(0)
    assert task.given is not None
    # 60 rows of training: targets 10..59 hold 46 stretches of 5, and so on
    assert [(task.given == p).sum() for p in (TRAIN, VALIDATION, TEST)] == [46, 26, 26]
    assert [len(p) for p in (split.train, split.validation, split.test)] == [46, 26, 26]


def test_a_second_frame_is_the_test_set():
    frame, test = time_frame(120), time_frame(60, seed=1)
    task = tasks.load(frame, target="sales", horizon=5, window=10, test=test)
    split = task.split(0)
    check(task, split)
    np.testing.assert_array_equal(split.test, np.arange(106, 106 + 46))
    frame, test = long_frame(24), long_frame(12, 9, seed=3)
    task = tasks.load(
        frame.drop("amount", "person"),
        series="id",
        time="time",
        target="label",
        test=test.drop("amount", "person"),
    )
    assert task.x.shape == (36, 9, 2)
    np.testing.assert_array_equal(task.split(1).test, np.arange(24, 36))
    np.testing.assert_array_equal(np.unique(task.lengths), [6, 9])


def test_too_few_of_a_class_where_the_test_is_given():
    given = np.array([TRAIN] * 10 + [TEST] * 10)
    y = np.r_[np.arange(9) % 2, 2, np.arange(10) % 2]
    with pytest.raises(DataError, match="'2' has 1 member"):
        classified(y, given=given).split(0)
