"""``throughtime bench gradients``: no figure without its check; bad input told; nothing timed."""

from __future__ import annotations

import json

import pytest

from throughtime.bench import gradients as bench
from throughtime.bench.shapes import Shape
from throughtime.errors import BenchError


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "SHAPE", Shape(3, 5, 4))


@pytest.mark.parametrize("library", bench.LIBRARIES)
@pytest.mark.parametrize("cell", bench.LAYERS)
def test_every_network_passes_its_check(library, cell):
    cost = bench.measure(library, cell, 1e-3)
    assert cost.right and cost.distance < 1e-12
    assert min(cost.step, cost.monitor, cost.trace, cost.full) > 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_command(language, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    file = tmp_path / "a.json"
    bench.gradients(threads=1, cells=("elman",), seconds=1e-3, json_=file, lang=language)
    told = capsys.readouterr().out
    assert "throughtime.nn.RNN" in told and "torch.nn.RNN" in told and "×" in told
    assert [row["cell"] for row in json.loads(file.read_text())] == ["elman", "elman"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_network_that_fails_its_check_has_no_figure(capsys):
    from rich.console import Console

    for changed in ({"distance": 1e-3, "same": True}, {"distance": 0.0, "same": False}):
        cost = bench.Cost("elman", "torch.nn", 1.0, 1.0, 1.0, 1.0, **changed)
        assert not cost.right
        Console(width=220).print(bench._table([cost]))
        assert "×" not in capsys.readouterr().out.splitlines()[-2]


BAD = {
    "threads": ({"threads": 0}, "--threads"),
    "seconds": ({"seconds": 0.0}, "--seconds"),
    "cell": ({"cells": ("mlp",)}, "mlp"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    options, message = BAD[case]
    with pytest.raises(BenchError, match=message):
        bench.gradients(lang="en", **options)
