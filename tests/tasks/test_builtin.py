"""The built-in sets hold what the papers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sklearn.datasets import load_digits

from throughtime import tasks
from throughtime.errors import DataError
from throughtime.tasks.builtin.chaos import integrate

SMALL = {
    "digits": "digits",
    "adding": "adding:T=12,N=60",
    "copy_memory": "copy_memory:T=12,N=60",
    "temporal_order": "temporal_order:T=20,N=200",
    "anbn": "anbn:N=60",
    "noisy_sine": "noisy_sine:T=12,N=60",
    "mackey_glass": "mackey_glass:window=20,horizon=5,N=300",
}


def test_every_set_is_here():
    assert [*SMALL, "ucr:NAME"] == tasks.names()


@pytest.mark.parametrize("name", SMALL.values())
def test_a_set_is_deterministic_and_complete(name):
    task, again = tasks.load(name), tasks.load(name)
    assert task.fingerprint == again.fingerprint
    assert task.said("en") and task.said("zh") and task.said("en") != task.said("zh")
    split = task.split(0)
    prepared = task.prepare(split)
    assert all(np.isfinite(v) for v in task.baselines(split).values())
    for block in (prepared.train, prepared.validation, prepared.test):
        assert block.x.isfinite().all() and block.y.isfinite().all()
    if name != "digits":
        source = task.reader["source"]
        assert tasks.load(source).fingerprint == task.fingerprint
        other = tasks.load(source.replace("seed=0", "seed=1"))
        assert other.fingerprint != task.fingerprint


def test_digits_are_read_pixel_by_pixel():
    task = tasks.load("digits")
    images = load_digits().images
    np.testing.assert_array_equal(task.x.reshape(-1, 8, 8) * 16, images)
    np.testing.assert_array_equal(task.y, load_digits().target)


def test_adding():
    task = tasks.load("adding", T=31, N=4000)
    value, mask = task.x[..., 0], task.x[..., 1]
    assert value.min() >= 0 and value.max() <= 1 and abs(value.mean() - 0.5) < 0.01
    np.testing.assert_array_equal(mask[:, :15].sum(1), 1)
    np.testing.assert_array_equal(mask[:, 15:].sum(1), 1)
    assert set(np.unique(mask)) == {0, 1}
    assert (mask.sum(0) > 0).all()
    np.testing.assert_allclose(task.y[:, 0], (value * mask).sum(1), rtol=1e-6)
    assert ((task.y - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.05)
    assert task.baselines(task.split(0))["mean"] == pytest.approx(1 / 3, rel=0.05)


def test_copy_memory():
    task = tasks.load("copy_memory", T=7, N=400)
    assert task.x.shape == task.y.shape == (400, 27)
    symbols = task.x[:, :10]
    assert set(np.unique(symbols)) == set(range(8))
    assert (task.x[:, 10:16] == 8).all() and (task.x[:, 16] == 9).all()
    assert (task.x[:, 17:] == 8).all()
    assert (task.y[:, :17] == 8).all()
    np.testing.assert_array_equal(task.y[:, 17:], symbols)
    memoryless = 10 * np.log2(8) / 27
    assert task.baselines(task.split(0))["by_position"] == pytest.approx(memoryless, rel=0.1)


def test_temporal_order():
    task = tasks.load("temporal_order", T=50, N=2000)
    assert (task.x.sum(-1) == 1).all()
    symbols = task.x.argmax(-1)
    rows, steps = np.nonzero(symbols < 2)
    np.testing.assert_array_equal(rows, np.repeat(np.arange(2000), 2))
    first, second = steps[::2], steps[1::2]
    assert (first.min(), first.max()) == (5, 10)
    assert (second.min(), second.max()) == (20, 25)
    held = symbols[symbols < 2].reshape(2000, 2)
    names = ["".join("AB"[s] for s in pair) for pair in held]
    assert [task.class_names[c] for c in task.y] == names


def test_anbn():
    task = tasks.load("anbn", N=50)
    split = task.split(0)
    sizes = {}
    for part in ("train", "validation", "test"):
        for n in getattr(split, part):
            length = int(task.lengths[n])
            string = "".join(task.class_names[c] for c in task.x[n, :length])
            after = "".join(task.class_names[c] for c in task.y[n, :length])
            k = string.count("a")
            assert string + "T" == "S" + "a" * k + "b" * k + "T" == "S" + after
            counted = "".join(np.array(list(after))[task.counts[n, :length]])
            assert counted == "b" * (k - 1) + "T"
            assert not task.counts[n, length:].any()
            sizes.setdefault(part, set()).add(k)
    assert sizes["train"] <= set(range(1, 11))
    assert (sizes["validation"], sizes["test"]) == (set(range(11, 16)), set(range(16, 31)))


def test_noisy_sine_is_a_sine_and_the_noise():
    clean = tasks.load("noisy_sine", T=60, N=200, noise=0)
    np.testing.assert_array_equal(clean.x[:, 1:], clean.y[:, :-1])
    # a sine obeys x(t+1) + x(t-1) = 2 cos(w) x(t) with one w a series
    now, around = clean.x[:, 1:-1, 0], clean.x[:, 2:, 0] + clean.x[:, :-2, 0]
    cosine = (now * around).sum(1) / (2 * (now * now).sum(1))
    np.testing.assert_allclose(around, 2 * cosine[:, None] * now, atol=1e-4)
    period = 2 * np.pi / np.arccos(cosine)
    assert 10 <= period.min() < 12 and 38 < period.max() <= 40
    noisy = tasks.load("noisy_sine", T=60, N=200, noise=0.3)
    assert (noisy.x - clean.x).std() == pytest.approx(0.3, rel=0.02)


def mackey_glass_by_steps(delays: int, tau: float, start: float) -> np.ndarray:
    """An independent solution: one delay after the other with a dense high-order solver."""
    past, solutions = (lambda t: start), []
    for k in range(delays):
        x0 = start if k == 0 else float(solutions[-1](k * tau))
        rate = lambda t, x, past=past: (  # noqa: E731
            0.2 * past(t - tau) / (1 + past(t - tau) ** 10) - 0.1 * x[0]
        )
        span = (k * tau, (k + 1) * tau)
        sol = solve_ivp(rate, span, [x0], rtol=1e-10, atol=1e-12, dense_output=True).sol
        solutions.append(lambda t, sol=sol: sol(t)[0])
        past = solutions[-1]
    times = np.arange(1, int(delays * tau) + 1)
    return np.array([solutions[min(int((t - 1e-9) // tau), delays - 1)](t) for t in times])


def test_mackey_glass_is_integrated_to_fourth_order():
    truth = mackey_glass_by_steps(8, 17.0, 1.2)
    errors = [np.abs(integrate(136, 17.0, 1.2, steps) - truth).max() for steps in (2, 4, 8)]
    assert errors[2] < 1e-7
    assert errors[0] / errors[1] > 12 and errors[1] / errors[2] > 12


def test_mackey_glass_task():
    task = tasks.load("mackey_glass", window=30, horizon=6, N=500)
    assert task.x.shape == (465, 30, 1) and task.y.shape == (465, 6)
    np.testing.assert_array_equal(task.x[6:, -6:, 0], task.y[:-6])
    assert 0.2 < task.x.min() < 0.5 and 1.2 < task.x.max() < 1.4


def test_parameters_by_name_or_keyword():
    one = tasks.load("adding:T=9,N=30,seed=3")
    assert one.fingerprint == tasks.load("adding", T=9, N=30, seed=3).fingerprint
    assert tasks.load("copy-memory:T=2,N=20").x.shape == (20, 22)
    task = tasks.load("adding", N=100, test_share=0.5, validation_share=0.1, name="sums")
    split = task.split(0)
    assert task.name == "sums"
    assert (len(split.train), len(split.validation), len(split.test)) == (40, 10, 50)


def test_a_file_comes_before_a_set_of_its_name(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").write_text("")
    with pytest.raises(tasks.load.__globals__["DataError"], match="digits"):
        tasks.load("digits")


@pytest.mark.parametrize(
    ("name", "shape", "classes", "train"),
    [
        ("ArrowHead", (211, 251, 1), 3, 36),
        ("BasicMotions", (80, 100, 6), 4, 40),
        ("ItalyPowerDemand", (1096, 24, 1), 2, 67),
        ("JapaneseVowels", (640, 29, 12), 9, 270),
        ("UnitTest", (42, 24, 1), 2, 20),
        ("Covid3Month", (201, 84, 1), 0, 140),
    ],
)
def test_ucr(name, shape, classes, train):
    aeon = pytest.importorskip("aeon.datasets", reason="the extra ucr (aeon) is not installed")
    task = tasks.load(f"ucr:{name}")
    assert task.x.shape == shape and len(task.class_names) == classes
    np.testing.assert_array_equal(task.split(4).test, np.arange(train, len(task)))
    read = aeon.load_regression if not classes else aeon.load_classification
    for part, rows in (("train", slice(0, train)), ("test", slice(train, None))):
        x, y = read(name, split=part)
        for n, series in enumerate(x):
            ours, length = task.x[rows][n], task.lengths[rows][n]
            np.testing.assert_allclose(ours[:length].T, series[:, :length], rtol=1e-6)
        if classes:
            assert [task.class_names[c].lower() for c in task.y[rows]] == y.tolist()
        else:
            np.testing.assert_allclose(task.y[rows][:, 0], y, rtol=1e-6)


def test_ucr_from_a_local_folder_needs_no_extra(tmp_path: Path):
    folder = tmp_path / "Toy"
    folder.mkdir()
    head = "@problemName Toy\n@classLabel true no yes\n@data\n"
    (folder / "Toy_TRAIN.ts").write_text(head + "1,2:no\n3,4:yes\n" * 8)
    (folder / "Toy_TEST.ts").write_text(head + "1,2:no\n3,4:yes\n" * 3)
    task = tasks.load("ucr:Toy", folder=tmp_path)
    assert (task.name, task.class_names, len(task.split(0).test)) == ("Toy", ("no", "yes"), 6)


def test_ucr_without_the_extra_says_how_to_get_it(monkeypatch, tmp_path):
    import importlib.util

    from throughtime.errors import MissingExtraError

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"throughtime\[ucr\]"):
        tasks.load("ucr:ArrowHead")


def test_ucr_from_a_folder_given_with_the_name(tmp_path: Path):
    text = "@problemName Toy\n@classLabel true a b\n@data\n" + "1,2:a\n3,4:b\n" * 9
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"Toy_{part}.ts").write_text(text)
    task = tasks.load(f"ucr:Toy:folder={tmp_path}")
    assert len(task) == 36 and task.given is not None


@pytest.mark.parametrize("name", ["arrowhead", "ArrowHed"])
def test_a_set_of_ucr_mistyped_names_the_nearest(name, monkeypatch, tmp_path):
    aeon = pytest.importorskip("aeon.datasets", reason="the extra ucr (aeon) is not installed")

    def refuse(*_, **__):
        raise ValueError("no such set")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(aeon, "load_classification", refuse)
    monkeypatch.setattr(aeon, "load_regression", refuse)
    with pytest.raises(DataError, match="Did you mean ArrowHead"):
        tasks.load(f"ucr:{name}")
