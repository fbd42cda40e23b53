"""Figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table

from throughtime.bench.figures import LESS, Figure, Goal, mean_and_worst, met
from throughtime.language import say

NAMES = {"elman": "Elman", "gru": "GRU", "lstm": "LSTM"}


def tables(figures: list[Figure]) -> list[Table]:
    """A table for each cell and kind of measurement, in the order they were made.

    Shapes are rows; peers, or activations where those are compared, are columns.
    """
    found: dict[tuple[str, str, str], list[Figure]] = {}
    for f in figures:
        kind = "training" if f.table == "products" else f.table
        phi = "" if kind == "activations" else f.phi
        found.setdefault((kind, f.cell, phi), []).append(f)
    return [_table(*key, rows) for key, rows in found.items()]


def _table(kind: str, cell: str, phi: str, figures: list[Figure]) -> Table:
    title = say(f"bench.{kind}", cell=NAMES[cell], phi=phi)
    table = _titled(title)
    columns = list(dict.fromkeys(map(_column, figures)))
    table.add_column("B×T×H", no_wrap=True)
    table.add_column(say("bench.ours_bytes" if kind == "memory" else "bench.ours"), justify="right")
    for column in columns:
        table.add_column(_head(column), justify="right")
    for shape in dict.fromkeys(f.shape for f in figures):
        here = {_column(f): f for f in figures if f.shape == shape}
        ours = next(iter(here.values()))
        cost = _cost(kind, ours.theirs if kind == "activations" else ours.ours)
        table.add_row(str(shape), cost, *(_ratio(here.get(c)) for c in columns))
    return table


def _titled(title: str) -> Table:
    """A table at least as wide as its title."""
    return Table(
        title=title,
        title_justify="left",
        min_width=cell_len(title),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )


def _column(figure: Figure) -> str:
    return figure.phi if figure.table == "activations" else figure.peer


def _head(column: str) -> str:
    known = {"Python loop": "bench.loop", "torch.mm": "bench.product"}
    return say(known[column]) if column in known else column


def _cost(kind: str, cost: float) -> str:
    return f"{cost / 2**20:.1f}" if kind == "memory" else f"{cost * 1e3:.3g}"


def _ratio(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.ratio is None:
        return say("bench.wrong", distance=f"{figure.distance:.0e}")
    return _number(figure.table, figure.ratio)


def _number(table: str, ratio: float) -> str:
    if table == "products":
        return f"{ratio:.0%}"
    return f"{ratio:.2f}×" if table in LESS or ratio < 10 else f"{ratio:.1f}×"


def verdicts(goals: Iterable[Goal], figures: list[Figure]) -> Table:
    """What was wanted beside what was found."""
    table = _titled(say("bench.wanted"))
    heads = ("row", "mean", "mean_wanted", "worst", "worst_wanted", "verdict")
    for i, head in enumerate(heads):
        table.add_column(say(f"bench.{head}"), justify="right" if 0 < i < 5 else "left")
    for goal in goals:
        of = goal.of(figures)
        if of:
            table.add_row(*_verdict(goal, of))
    return table


def _verdict(goal: Goal, figures: list[Figure]) -> list[str]:
    found = mean_and_worst(figures) or (None, None)
    cells = [_name(goal)]
    for value, wanted in zip(found, (goal.mean, goal.worst), strict=True):
        sign = "≤" if goal.table in LESS else "≥"
        cells.append("–" if value is None else _number(goal.table, value))
        cells.append("" if wanted is None else f"{sign} {_number(goal.table, wanted)}")
    return [*cells, say("bench.met" if met(goal, figures) else "bench.missed")]


def _name(goal: Goal) -> str:
    sizes = [f"{k} ≥ {v}" for k, v in (("B", goal.B), ("T", goal.T), ("H", goal.H)) if v > 1]
    name = NAMES[goal.cell]
    peer = _head(goal.peer) if goal.peer else ""
    return say("activations.comma").join(
        [say(f"bench.goal_{goal.table}", cell=name, phi=goal.phi, peer=peer).strip(), *sizes]
    )
