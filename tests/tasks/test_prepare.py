"""Scales come from the training part alone; losses and scores see nothing of padding."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from task_tables import time_frame

from throughtime import tasks
from throughtime.tasks import Block, Preprocessing, Task


def ragged(seed: int = 0, n: int = 40, t: int = 9, i: int = 3, **fields) -> Task:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, t + 1, n)
    lengths[0] = t
    x = rng.normal(3, 5, (n, t, i)).astype(np.float32)
    x[np.arange(t) >= lengths[:, None]] = 0
    y = rng.normal(-7, 2, (n, 2)).astype(np.float32)
    names = {"feature_names": tuple("abc"), "target_names": ("u", "v")}
    return Task("ragged", "regression", x, lengths, y, **{**names, **fields})


SCALERS = {
    "standard": StandardScaler(),
    "minmax": MinMaxScaler(),
    "robust": RobustScaler(),
    "none": None,
}


@pytest.mark.parametrize("scaling", SCALERS)
def test_features_are_scaled_as_scikit_learn_does_on_the_training_steps(scaling):
    task = ragged()
    split = task.split(0)
    prepared = task.prepare(split, scaling)
    steps = np.concatenate([task.x[n, : task.lengths[n]] for n in split.train])
    if SCALERS[scaling] is not None:
        SCALERS[scaling].fit(steps.astype(np.float64))
    for block, rows in (
        ("train", split.train),
        ("validation", split.validation),
        ("test", split.test),
    ):
        got = getattr(prepared, block)
        for k, n in enumerate(rows):
            length = int(task.lengths[n])
            raw = task.x[n, :length].astype(np.float64)
            want = raw if SCALERS[scaling] is None else SCALERS[scaling].transform(raw)
            np.testing.assert_allclose(got.x[k, :length], want, atol=1e-5)
            assert (got.x[k, length:] == 0).all()
        np.testing.assert_array_equal(got.lengths, task.lengths[rows])


def test_nothing_outside_the_training_part_moves_the_scales():
    task = ragged()
    split = task.split(0)
    before = task.prepare(split).preprocessing
    for rows in (split.validation, split.test):
        task.x[rows] += 1e3
        task.y[rows] *= -50
    assert task.prepare(split).preprocessing == before


def test_indicators_and_constants_are_not_blown_up():
    task = ragged()
    task.x[..., 0] = task.x[..., 0] > 3
    task.x[..., 1] = 7.25
    p = task.prepare(task.split(0)).preprocessing
    assert (p.x_centre[0], p.x_scale[0]) == (0, 1)
    assert p.x_scale[1] == 1


def test_values_come_back_in_their_own_units():
    task = ragged()
    split = task.split(0)
    prepared = task.prepare(split)
    back = prepared.preprocessing.values(prepared.test.y)
    torch.testing.assert_close(back, torch.from_numpy(task.y[split.test]), atol=1e-4, rtol=1e-5)
    assert prepared.train.y.mean(0).abs().max() < 1e-5
    assert (prepared.train.y.std(0, correction=0) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("scaling", tasks.SCALINGS)
def test_forecasts_learnt_as_changes_or_values_are_scored_alike(relative, scaling):
    task = tasks.load(time_frame(), target="sales,heat", horizon=3, window=7, relative=relative)
    split = task.split(0)
    prepared = task.prepare(split, scaling)
    p, block = prepared.preprocessing, prepared.test
    truth = torch.from_numpy(task.y[split.test])
    torch.testing.assert_close(p.values(block.y, block), truth, atol=1e-4, rtol=1e-5)
    outputs = torch.randn(2, *block.y.shape)
    values = p.values(outputs, block)
    want = [mean_absolute_error(truth, v) for v in values]
    np.testing.assert_allclose(p.scores(outputs, block), want, rtol=1e-4)
    still = ((0 - np.array(p.y_centre)) / p.y_scale) if relative else None
    if still is not None:
        zero = torch.tensor(still, dtype=torch.float32).expand_as(block.y)
        assert p.score(zero, block) == pytest.approx(task.baselines(split)["last_value"], rel=1e-4)


def test_regression_loss_and_score():
    task = ragged()
    split = task.split(0)
    prepared = task.prepare(split)
    p, block = prepared.preprocessing, prepared.test
    outputs = torch.randn(len(block), 2)
    want = mean_absolute_error(task.y[split.test], p.values(outputs))
    assert p.score(outputs, block) == pytest.approx(want, rel=1e-5)
    assert p.loss(outputs, block).item() == pytest.approx(
        torch.nn.functional.mse_loss(outputs, block.y).item(), rel=1e-5
    )


def test_classification_loss_and_score():
    task = tasks.load("digits")
    prepared = task.prepare(task.split(0))
    p, block = prepared.preprocessing, prepared.test
    outputs = torch.randn(len(block), 10, dtype=torch.float64)
    assert p.score(outputs, block) == pytest.approx(accuracy_score(block.y, outputs.argmax(-1)))
    want = log_loss(block.y.numpy(), outputs.softmax(-1).numpy(), labels=range(10))
    assert p.loss(outputs, block).item() == pytest.approx(want)


def test_bits_per_token_of_known_probabilities():
    task = tasks.load("copy_memory", T=5, N=40)
    prepared = task.prepare(task.split(0))
    p, block = prepared.preprocessing, prepared.test
    uniform = torch.zeros(len(block), 25, 10)
    assert p.score(uniform, block) == pytest.approx(math.log2(10), rel=1e-6)
    assert p.loss(uniform, block).item() == pytest.approx(math.log(10), rel=1e-6)
    sure = torch.nn.functional.one_hot(block.y, 10) * 100.0
    assert p.score(sure, block) == pytest.approx(0, abs=1e-6)


PER_STEP = ("anbn", "noisy_sine:N=30,T=6", "copy_memory:T=3,N=30")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(PER_STEP))
def test_steps_that_do_not_count_change_nothing(seed, name):
    task = tasks.load(name)
    prepared = task.prepare(task.split(0))
    p, block = prepared.preprocessing, prepared.test
    generator = torch.Generator().manual_seed(seed)
    counts = block.counts & (torch.rand(block.counts.shape, generator=generator) < 0.7)
    counts[0, block.counts[0].nonzero()[0]] = True
    block = Block(block.x, block.lengths, block.y, counts)
    outputs = torch.randn(*counts.shape, p.output_size, generator=generator)
    spoilt = outputs.clone()
    spoilt[~counts] = torch.tensor([1e30, math.nan, -math.inf]).repeat(9)[: p.output_size]
    assert p.score(spoilt, block) == p.score(outputs, block)
    assert p.loss(spoilt, block) == p.loss(outputs, block)
    each = [p.score(outputs[n : n + 1], block.rows(slice(n, n + 1))) for n in range(len(block))]
    counted = counts.sum(1)
    want = sum(e * k for e, k in zip(each, counted.tolist(), strict=True) if k) / counted.sum()
    assert p.score(outputs, block) == pytest.approx(float(want), rel=1e-5)


def test_padding_in_the_task_changes_nothing():
    task = ragged()
    spoilt = ragged()
    spoilt.x[np.arange(9) >= spoilt.lengths[:, None]] = 1e9
    a, b = task.prepare(task.split(0)), spoilt.prepare(spoilt.split(0))
    assert a.preprocessing == b.preprocessing
    assert torch.equal(a.test.x, b.test.x)


@pytest.mark.parametrize("name", ["digits", "adding:T=6,N=40", *PER_STEP])
def test_a_fleet_is_scored_at_once(name):
    task = tasks.load(name)
    prepared = task.prepare(task.split(0))
    p, block = prepared.preprocessing, prepared.validation
    shape = (*block.x.shape[:2], p.output_size) if p.per_step else (len(block), p.output_size)
    outputs = torch.randn(3, *shape)
    np.testing.assert_allclose(p.scores(outputs, block), [p.score(o, block) for o in outputs])
    losses = torch.stack([p.loss(o, block) for o in outputs])
    torch.testing.assert_close(p.losses(outputs, block), losses)
    torch.testing.assert_close(p.loss(outputs, block), losses.sum())


@pytest.mark.parametrize("name", ["digits", "adding:T=6,N=40", *PER_STEP])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_output_that_is_not_finite_is_no_score(name, bad):
    task = tasks.load(name)
    prepared = task.prepare(task.split(0))
    p, block = prepared.preprocessing, prepared.test
    shape = (*block.x.shape[:2], p.output_size) if p.per_step else (len(block), p.output_size)
    outputs = torch.zeros(2, *shape)
    where = (0, int(block.counts[0].nonzero()[0]), 0) if p.per_step else (0, 0)
    outputs[1][where] = bad
    scores = p.scores(outputs, block)
    assert scores[0].isfinite() and scores[1].isnan()


@pytest.mark.parametrize("name", ["digits", "adding:T=6,N=40", "mackey_glass:N=900", *PER_STEP])
@pytest.mark.parametrize("scaling", tasks.SCALINGS)
def test_preprocessing_survives_json(name, scaling):
    task = tasks.load(name)
    p = task.prepare(task.split(0), scaling).preprocessing
    assert Preprocessing.from_config(json.loads(json.dumps(p.to_config()))) == p
    json.dumps(task.reader)


def test_loss_has_gradients_and_rows_make_batches():
    task = tasks.load("noisy_sine:N=30,T=6")
    prepared = task.prepare(task.split(0))
    batch = prepared.train.rows(torch.tensor([2, 0, 5]))
    outputs = torch.zeros(3, 6, 1, requires_grad=True)
    prepared.preprocessing.loss(outputs, batch).backward()
    torch.testing.assert_close(outputs.grad, -2 * batch.y / 18)
    assert len(batch) == 3 and torch.equal(batch.x[1], prepared.train.x[0])


def test_sizes():
    tokens = tasks.load("copy_memory", T=3, N=30)
    prepared = tokens.prepare(tokens.split(0))
    assert (prepared.input_size, prepared.output_size, prepared.vocabulary_size) == (10, 10, 10)
    assert prepared.per_step and prepared.problem == "next_token"
    task = ragged()
    prepared = task.prepare(task.split(0))
    assert (prepared.input_size, prepared.output_size, prepared.vocabulary_size) == (3, 2, 0)


def test_metrics():
    assert tasks.load("digits").metric.name == "accuracy"
    metric = ragged().metric
    assert (metric.name, metric.higher_is_better, metric.unit) == ("mae", False, "u, v")
    assert metric.smallest_difference == pytest.approx(0.02 * 1.6, rel=0.3)
    assert tasks.load("anbn").metric.name == "bits_per_token"


def test_fingerprint_is_of_the_data_alone():
    one, two = tasks.load("adding", N=50), tasks.load("adding", N=50, name="other")
    assert one.fingerprint == two.fingerprint != tasks.load("adding", N=50, seed=1).fingerprint
