"""The panels over a training run: updates, clipping, and the gradient at both ends of a layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from throughtime.report.gradients.draw import Key, Plot, span
from throughtime.report.gradients.figures import Curve, curve, real

Looks = Sequence[Mapping[str, Any]]

_COLOURS = ("accent", "warn", "green", "purple", "ink", "muted")
_DASHES = ("solid", "dashed", "mixed", "dotted")


def figures(looks: Looks, language: str | None = None) -> dict[str, Plot]:
    """The drawings by name; none for fewer than two looks."""
    if len(looks) < 2:
        return {}
    made = {"updates": updates(looks, language), "clips": clips(looks, language)}
    for number, key in enumerate(looks[-1]["layers"]):
        made[f"ends_{number}"] = ends(looks, key, language)
    return {name: plot for name, plot in made.items() if plot is not None}


def updates(looks: Looks, language: str | None = None) -> Plot | None:
    """Log10 of the size of every update beside its weights."""
    held = {n: _named(looks, "updates", n) for n in looks[-1]["updates"]}
    return _lines(looks, held, language, "axis_update", log=False, usual=-3.0)


def clips(looks: Looks, language: str | None = None) -> Plot | None:
    """What clipping leaves of the gradient; None where it never took anything."""
    held = {n: _named(looks, "clips", n) for n in looks[-1]["clips"]}
    clipped = any((values < 1 - 1e-4).any() for values in held.values())
    return _lines(looks, held, language, "axis_clip", log=True, usual=1.0) if clipped else None


def ends(looks: Looks, key: str, language: str | None = None) -> Plot | None:
    """Rms‖g‖ at the first and at the last time step of a layer; 0 has no place on the scale."""
    pairs = np.array([list(_ends(look["layers"].get(key))) for look in looks])
    held = {"legend_first": pairs[:, 0], "legend_last": pairs[:, 1]}
    return _lines(looks, held, language, "axis_ends", log=True, entries=True)


def _ends(layer: Mapping[str, Any] | None) -> Iterator[float]:
    total = curve(layer["total"]) if layer is not None else np.zeros(0)
    known = total[np.isfinite(total)]
    yield from (known[0], known[-1]) if len(known) else (np.nan, np.nan)


def _named(looks: Looks, what: str, name: str) -> Curve:
    return np.array([real(look[what].get(name)) for look in looks])


def _lines(
    looks: Looks, held: Mapping[str, Curve], language: str | None, title: str, *, log: bool,
    usual: float | None = None, entries: bool = False,
) -> Plot | None:  # fmt: skip
    known = [np.where(np.isfinite(values), values, np.nan) for values in held.values()]
    if not any(np.isfinite(v).any() and (not log or (v > 0).any()) for v in known):
        return None
    at = np.array([look["step"] for look in looks], dtype=float)
    y = span(known, log=log, at_least=[] if usual is None else [usual])
    if not log:
        y = (y[0] - 0.2, y[1] + 0.2)
    plot = Plot(430, 230, (at[0], at[-1]), y, log_y=log, language=language, training=True)
    plot.axes("axis_training", title, x_count=5)
    if usual is not None:
        plot.level(usual, "faint", dash="dotted")
    keys = []
    for (name, values), (colour, dash) in zip(held.items(), _styles(), strict=False):
        plot.line(at, np.where(np.isfinite(values), values, np.nan), colour, dash=dash)
        label = name.removeprefix("rnn.").replace("weight_", "")[:18]
        keys.append(Key(colour, name if entries else "", name=label, dash=dash))
    plot.legend(keys, x=20)
    return plot


def _styles() -> Iterator[tuple[str, str]]:
    """A colour and a dash a line, no two alike before the 24th."""
    for number in itertools.count():
        shift = number // len(_COLOURS)
        yield _COLOURS[number % len(_COLOURS)], _DASHES[(number + shift) % len(_DASHES)]
