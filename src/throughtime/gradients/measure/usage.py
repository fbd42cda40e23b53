"""9. The activation in use: where on φ the pre-activations really lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from throughtime.gradients import passes
from throughtime.gradients.measure.census import check_place
from throughtime.gradients.measure.series import Array, numpy, steps_of
from throughtime.gradients.record import curve
from throughtime.gradients.record.record import Record

# numbers of which quantiles are taken
_SOME = 5_000


@dataclass(frozen=True)
class Usage:
    """How one activation is used by a layer, over all valid steps and units.

    Attributes:
        place: which activation.
        name: its name.
        edges: bins of the pre-activation, (N+1,), from the 0.1 % to the 99.9 % quantile.
        density: of the pre-activation in each bin, (N,).
        value: φ at the bins' centres, (N,).
        slope: φ' there.
        zones: share of steps and units where the slope is ``flat_low``, ``flat_high`` (at most
            epsilon of the steepest, by side), ``weak`` (up to a quarter), ``middle`` or ``steep``
            (above 0.9).
        linearity: corr(a_i, φ(a_i))² of each unit, (H,); near 1 the unit acts linearly.
        rms_slope: sqrt(mean φ'²); what the activation does to a gradient on average.
    """

    place: str
    name: str
    edges: Array
    density: Array
    value: Array
    slope: Array
    zones: dict[str, float]
    linearity: Array
    rms_slope: float


def usage(
    record: Record,
    place: str | None = None,
    bins: int = 60,
    epsilon: float = 1e-3,
    points: int | None = None,
) -> Usage:
    """The density of pre-activations over φ and φ', the share per zone and how linear it acts.

    Args:
        record: one layer and direction.
        place: ``h``, a gate's name, or ``c``; by default the state's or candidate's activation.
        bins: of the density.
        epsilon: what counts as a slope of nothing, relative to the steepest.
        points: how many numbers are looked at, about: all units at steps evenly spread; all steps
            by default.

    Source:
        X. Glorot and Y. Bengio (AISTATS 2010) watch the same histograms; linearity is the squared
        correlation of input and output.
    """
    r, orbit = record.recurrence, record.run.orbit
    place = check_place(record, r.main_place if place is None else place)
    phi, a = r.activation_of(place), orbit.argument(place)
    seen = steps_of(record, a, points).contiguous()
    value, slope = curve.both(phi, seen)
    rows, slopes = passes.rows(seen), passes.rows(slope)
    edges = _edges(rows, bins)
    centres = torch.from_numpy((edges[1:] + edges[:-1]) / 2).to(a).unsqueeze(-1)
    if getattr(phi.value, "theta", None):  # it may differ from unit to unit
        centres = centres.expand(-1, a.shape[-1])
    values, steepness = (numpy(curved).mean(-1) for curved in curve.both(phi, centres))
    return Usage(
        place,
        phi.name,
        edges=edges,
        density=_density(rows, edges),
        value=values,
        slope=steepness,
        zones=_zones(rows, slopes, epsilon, phi.steepest),
        linearity=passes.correlation(rows, passes.rows(value)),
        rms_slope=math.sqrt((passes.norms(slopes) ** 2).mean() / slopes.shape[1]),
    )


def _edges(points: Array, bins: int) -> Array:
    """Bins from quantile to quantile, of a sample where there are many points."""
    some = points.ravel()[:: max(1, points.size // _SOME)]
    some = np.sort(some[np.isfinite(some)]).astype(float)
    if not len(some):
        return np.linspace(-1.0, 1.0, bins + 1)
    low, high = np.interp([0.001, 0.999], np.linspace(0, 1, len(some)), some)
    return np.linspace(low, high, bins + 1) + (0 if high > low else np.linspace(-1, 1, bins + 1))


def _density(points: Array, edges: Array) -> Array:
    low, high, bins = float(edges[0]), float(edges[-1]), len(edges) - 1
    counts = passes.histogram(points, low, high, bins)[:, 1:-1].sum(0)
    with np.errstate(invalid="ignore"):
        return counts / (counts.sum() * (high - low) / bins)


def _zones(points: Array, slope: Array, epsilon: float, steepest: float) -> dict[str, float]:
    counts = passes.zones(points, slope, epsilon * steepest, steepest) / max(points.size, 1)
    flat_low, flat, weak, steep, unknown = map(float, counts)
    return {
        "flat_low": flat_low,
        "flat_high": flat - flat_low,
        "weak": weak - flat,
        "middle": 1 - weak - steep - unknown,
        "steep": steep,
    }
