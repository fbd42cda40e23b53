"""The cost of one time step as H, B and T grow."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import altair as alt
import torch

from throughtime.activations import activation
from throughtime.bench import contenders
from throughtime.bench.figures import Figure
from throughtime.bench.layers import Checked, Job, Settings
from throughtime.bench.shapes import Shape
from throughtime.bench.tables import NAMES
from throughtime.files import whole
from throughtime.language import say

MIDDLE = Shape(32, 128, 128)
SWEEPS = {
    "H": [Shape(32, 128, H) for H in (16, 32, 64, 128, 256, 512)],
    "B": [Shape(B, 128, 128) for B in (1, 4, 16, 32, 64, 128)],
    "T": [Shape(32, T, 128) for T in (8, 32, 128, 512)],
}


def jobs(settings: Settings) -> list[Job]:
    """A training step of every cell at every shape of the sweeps."""
    shapes = dict.fromkeys(shape for sweep in SWEEPS.values() for shape in sweep)
    return [
        Job(f"{cell} {shape}", 2.5 * settings.seconds, partial(_point, settings, cell, shape))
        for cell in settings.cells
        for shape in shapes
    ]


def _point(settings: Settings, cell: str, shape: Shape) -> list[Figure]:
    problem = settings.problem(cell, activation("tanh"), shape)
    ours, theirs = (
        contenders.Training(problem, layer) for layer in (problem.layer(), problem.layer(torch.nn))
    )
    return Checked("training", problem, ours, {"torch.nn": theirs}).figures(settings)


def draw(figures: list[Figure], file: Path) -> None:
    """Draw it: a panel for each cell and size that grows, both axes logarithmic.

    Args:
        figures: those of :func:`jobs`; what did not pass its check is left out.
        file: ``.svg``, ``.png`` or ``.html``; written beside and moved into place.
    """
    rows = [
        alt.hconcat(*(_panel(figures, cell, size) for size in SWEEPS))
        for cell in dict.fromkeys(f.cell for f in figures)
    ]
    with whole(file) as beside:
        alt.vconcat(*rows).save(str(beside))


def _panel(figures: list[Figure], cell: str, size: str) -> Any:
    ours, title = say("bench.this"), say("bench.microseconds")
    data = [
        {size: getattr(f.shape, size), "who": who, "cost": cost / f.shape.T * 1e6}
        for f in figures
        if f.cell == cell and f.right and f.shape in SWEEPS[size]
        for who, cost in ((ours, f.ours), (f.peer, f.theirs))
    ]
    fixed = [f"{k} = {getattr(MIDDLE, k)}" for k in "BTH" if k != size]
    scale = alt.Scale(type="log")
    values = sorted({getattr(s, size) for s in SWEEPS[size]})
    return (
        alt.Chart(alt.Data(values=data), title=f"{NAMES[cell]}, {', '.join(fixed)}")
        .mark_line(point=True)
        .encode(
            alt.X(f"{size}:Q", scale=scale, axis=alt.Axis(values=values, grid=False)),
            alt.Y("cost:Q", scale=scale, title=title),
            alt.Color("who:N", title=None, sort=[ours, "torch.nn"]),
        )
        .properties(width=200, height=150)
    )
