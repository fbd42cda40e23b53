"""9. The activation in use: where on φ the pre-activations really lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from throughtime.gradients.measure.census import place_of
from throughtime.gradients.measure.series import Array, numpy
from throughtime.gradients.record.record import Record


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


def usage(record: Record, place: str | None = None, bins: int = 60, epsilon: float = 1e-3) -> Usage:
    """The density of pre-activations over φ and φ', the share per zone and how linear it acts.

    Args:
        record: one layer and direction.
        place: ``h``, a gate's name, or ``c``; by default the state's or candidate's activation.
        bins: of the density.
        epsilon: what counts as a slope of nothing, relative to the steepest.

    Source:
        X. Glorot and Y. Bengio (AISTATS 2010) watch the same histograms; linearity is the squared
        correlation of input and output.
    """
    r = record.recurrence
    place = r.main_place if place is None else place
    a, slope, steepest, _ = place_of(record, place)
    phi = r.phi_output if place == "c" else r.activation_of(place)
    assert phi is not None
    alive = record.alive
    points, slopes = numpy(a[alive]), numpy(slope[alive])
    edges = _edges(points, bins)
    centres = a.new_tensor((edges[1:] + edges[:-1]) / 2)
    units = a.shape[-1]
    grid = centres.unsqueeze(-1).expand(-1, units)
    return Usage(
        place,
        phi.name,
        edges=edges,
        density=np.histogram(points, edges, density=True)[0],
        value=numpy(phi.value(grid)).mean(-1),
        slope=numpy(phi.slope(grid)).mean(-1),
        zones=_zones(points, np.abs(slopes) / steepest, epsilon),
        linearity=_linearity(points, numpy(phi.value(a)[alive])),
        rms_slope=float(np.sqrt(np.mean(slopes**2))),
    )


def _edges(points: Array, bins: int) -> Array:
    finite = points[np.isfinite(points)]
    low, high = np.quantile(finite, [0.001, 0.999]) if len(finite) else (-1.0, 1.0)
    return (
        np.linspace(low, high, bins + 1) if high > low else np.linspace(low - 1, low + 1, bins + 1)
    )


def _zones(points: Array, relative: Array, epsilon: float) -> dict[str, float]:
    flat = relative <= epsilon
    return {
        "flat_low": float(np.mean(flat & (points < 0))),
        "flat_high": float(np.mean(flat & (points >= 0))),
        "weak": float(np.mean(~flat & (relative <= 0.25))),
        "middle": float(np.mean((relative > 0.25) & (relative <= 0.9))),
        "steep": float(np.mean(relative > 0.9)),
    }


def _linearity(points: Array, values: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x, y = points - points.mean(0), values - values.mean(0)
        below = (x**2).sum(0) * (y**2).sum(0)
        return np.where(below > 0, (x * y).sum(0) ** 2 / below, np.nan)
