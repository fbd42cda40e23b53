"""The command ``throughtime bench layers``: its rows, its gate, its refusals. Nothing is timed."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import torch

from throughtime import kernels
from throughtime.bench import command, contenders, layers
from throughtime.bench.layers import TABLES, Settings
from throughtime.bench.shapes import Shape
from throughtime.errors import BenchError
from throughtime.kernels import engine

TINY = ("3x7x5",)


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Threads and environment are set back; a terminal is wide; the slow compiler stays out."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NPROC", "1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(contenders, "can_compile", lambda: False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def bench(**options) -> None:
    command.layers(**{"shapes": TINY, "threads": 1, "seconds": 1e-9, **options})


def rows(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_every_table_of_every_cell_is_printed(capsys):
    bench()
    said = capsys.readouterr().out
    for cell in ("Elman", "GRU", "LSTM"):
        assert f"{cell}, tanh: forward and back" in said
        assert f"{cell}: other activations" in said
        for words in ("outputs alone", "one step of a stream", "peak memory"):
            assert f"{cell}, tanh: {words}" in said
    assert "Elman, relu: forward and back" in said
    assert len([r for r in rows(said) if r.startswith("3×7×5")]) == 4 + 3 * 3
    assert len([r for r in rows(said) if r.startswith("1×1×128")]) == 3
    assert "wrong" not in said
    assert "torch.nn" in said and "Python loop" in said and "minutes" in said
    verdicts = [r for r in rows(said) if r.endswith(("met", "missed"))]
    assert len(verdicts) == 2 + 1 + 1 + 3 + 3 + 3 + contenders.installed("jax")


def test_the_same_in_chinese(capsys):
    bench(lang="zh", tables=("training",), cells=("gru",))
    said = capsys.readouterr().out
    assert "GRU，tanh：前向加反向" in said and "Python 循环" in said and "几何平均" in said
    assert not re.search(r"[a-z]{4,} [a-z]{4,}", said.replace("torch nn", ""))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("cell", layers.CELLS)
def test_one_table_of_one_cell(cell, table, tmp_path):
    file = tmp_path / "figures.json"
    bench(cells=(cell,), tables=(table,), json_=file)
    found = json.loads(file.read_text("utf-8"))
    assert found["conditions"]["threads"] == 1 and found["conditions"]["dtype"] == "float32"
    kinds = {f["table"] for f in found["figures"]}
    assert kinds == ({"training", "products"} if table == "training" else {table})
    for f in found["figures"]:
        assert f["cell"] == cell and f["right"] and f["ratio"] > 0
        assert 0 <= f["distance"] < 2e-4
        less = table in ("activations", "memory")
        wanted = f["ours"] / f["theirs"] if less else f["theirs"] / f["ours"]
        assert f["ratio"] == pytest.approx(wanted)


def wrong_outputs(monkeypatch):
    right = kernels.elman

    def elman(*arguments, **options):
        y, h_n = right(*arguments, **options)
        return y * 1.001, h_n

    monkeypatch.setattr(kernels, "elman", elman)


def wrong_gradients(monkeypatch):
    right = engine.CPU.backward

    def backward(*arguments, **options):
        found = right(*arguments, **options)
        found["dw_hh"][0] += 0.01 * found["dw_hh"].abs().max()
        return found

    monkeypatch.setattr(engine, "CPU", dataclasses.replace(engine.CPU, backward=backward))


def no_numbers(monkeypatch):
    right = kernels.elman

    def elman(*arguments, **options):
        y, h_n = right(*arguments, **options)
        return y / torch.where(torch.arange(y.shape[-1]) == 1, 0.0, 1.0), h_n

    monkeypatch.setattr(kernels, "elman", elman)


@pytest.mark.parametrize("break_it", [wrong_outputs, wrong_gradients, no_numbers])
def test_a_wrong_kernel_gets_no_figure(break_it, monkeypatch, capsys, tmp_path):
    break_it(monkeypatch)
    file = tmp_path / "figures.json"
    bench(cells=("elman",), tables=("training", "activations"), json_=file)
    figures = json.loads(file.read_text("utf-8"))["figures"]
    assert figures and all(f["ratio"] is None and not f["right"] for f in figures)
    said = capsys.readouterr().out
    for row in rows(said):
        if row.startswith("3×7×5"):
            assert "wrong: off by" in row and "×" not in row.removeprefix("3×7×5")
    assert not [r for r in rows(said) if r.endswith(" met")]


def test_a_wrong_peer_gets_no_figure_and_the_others_keep_theirs(monkeypatch):
    right = contenders.Loop.forward
    monkeypatch.setattr(contenders.Loop, "forward", lambda self, x: (right(self, x)[0] * 1.01,))
    settings = Settings(shapes=(Shape(3, 7, 5),), seconds=1e-9)
    found = layers.training(settings, "gru", layers.activation("tanh"), Shape(3, 7, 5))
    ratios = {f.peer: f.ratio for f in found}
    assert ratios["Python loop"] is None
    assert ratios["torch.nn"] and ratios["torch.mm"]


def test_the_compiled_loop_is_checked_like_the_others(monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    (figure,) = layers.compiled(Settings(seconds=1e-9))
    assert figure.peer == "torch.compile" and figure.right


def test_what_there_is_is_shown_after_an_interruption(monkeypatch, capsys, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(layers, "memory", stop)
    file = tmp_path / "figures.json"
    with pytest.raises(KeyboardInterrupt):
        bench(cells=("gru",), tables=("inference", "memory"), json_=file)
    assert "GRU, tanh: outputs alone" in capsys.readouterr().out
    assert {f["table"] for f in json.loads(file.read_text("utf-8"))["figures"]} == {"inference"}


def test_peers_that_are_not_installed_are_named(monkeypatch, capsys):
    monkeypatch.setattr(contenders, "installed", lambda package: False)
    bench(cells=("elman",), tables=("training", "inference"))
    said = capsys.readouterr().out
    assert "jax, onnxruntime" in said and "throughtime[bench]" in said
    assert "JAX scan" not in said and "ONNX Runtime" not in said
    assert "C++ compiler" in said


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shapes": ("32x128",)}, "32x128"),
        ({"shapes": ("0x1x1",)}, "0x1x1"),
        ({"shapes": ("ax1x1",)}, "ax1x1"),
        ({"shapes": ("-1x1x1",)}, "-1x1x1"),
        ({"cells": ("rnn",)}, "elman, gru, lstm"),
        ({"tables": ("speed",)}, "training, activations"),
        ({"dtype": "float16"}, "float32"),
        ({"device": "tpu"}, "cpu, cuda"),
        ({"threads": 0}, "--threads 0"),
        ({"seconds": 0.0}, "--seconds 0"),
        ({"seconds": float("nan")}, "--seconds nan"),
    ],
)
def test_bad_arguments_are_named(options, words, lang, capsys):
    with pytest.raises(BenchError) as error:
        bench(lang=lang, **options)
    assert words in error.value.text(lang)
    assert "ms" not in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_cuda_device():
    with pytest.raises(BenchError, match="--device cuda"):
        bench(device="cuda")


def test_files_that_cannot_be_written_are_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "jobs", lambda settings: pytest.fail("it ran"))
    for options in (
        {"json_": tmp_path / "none" / "a.json"},
        {"json_": tmp_path},
        {"plot": tmp_path / "none" / "a.svg"},
        {"plot": tmp_path / "a.gif"},
    ):
        with pytest.raises(BenchError):
            bench(**options)
    assert not list(tmp_path.iterdir())
