"""7. The law of one step: what the Jacobian of a single step does to a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients.measure.series import Array, by_time, mean, numpy
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class OneStep:
    """Gain of single steps, at ``steps`` in run order and over the sequences looked at.

    Attributes:
        chi: χ_t = ‖J_t‖_F²/H by time for Elman without leak, (T,); None for other cells.
        steps: the steps whose J_t was built, (K,).
        gain: ‖J_t‖_F²/S at those steps, mean over sequences, (K,); 1 keeps a gradient's size.
        singular_values: of J_t, (K·B, S), largest first.
        spectral_radius: of J_t, mean.
        non_normality: Henrici's departure from normality over ‖J‖_F, mean; 0 normal, near 1 far.
        weight_radius: spectral radius of W_hh, Elman only.
        weight_peak: max_k ‖W_hhᵏ‖₂, k to 100, Elman only, if asked for: growth that the radius does
            not show.
    """

    chi: Array | None
    steps: tuple[int, ...]
    gain: Array
    singular_values: Array
    spectral_radius: float
    non_normality: float
    weight_radius: float | None
    weight_peak: float | None


def one_step(
    record: Record,
    count: int = 4,
    sequences: int = 2,
    spectra: int | None = None,
    peak: bool = True,
) -> OneStep:
    """χ_t, singular values, spectral radius and non-normality of the one-step Jacobian.

    For Elman χ_t = (1/H) Σ_i φ'(a_i)² ‖W_hh,i‖² needs no Jacobian. The rest builds J_t, the whole
    (h, c) for the LSTM, at ``count`` steps spread over the run for the first ``sequences``
    sequences that reach them; it costs an SVD each, and an eigendecomposition several times as
    dear for the spectral radius and the non-normality.

    Args:
        record: one layer and direction.
        count: steps.
        sequences: of each step.
        spectra: of how many J_t eigenvalues are taken, evenly spread from the middle one; all by
            default. With 0 the spectral radius is that of the growth of powers, within about
            0.1 %, and the non-normality is NaN.
        peak: find ``weight_peak``, which may take 100 products of W_hh with itself.

    Source:
        M. Chen, J. Pennington, S. Schoenholz (ICML 2018) for χ; P. Henrici (1962);
        G. Kerg et al. (NeurIPS 2019) for what non-normality does in RNNs.
    """
    r, orbit = record.recurrence, record.run.orbit
    longest = int(record.lengths.max())
    spread = np.linspace(0, longest - 1, count) if count > 1 else [longest // 2]
    steps = sorted({int(t) for t in np.round(spread)})
    jacobians, gain = [], []
    for t in steps:
        alive = record.alive[t].nonzero().squeeze(-1)[:sequences]
        here = orbit.at(t, alive).linearise().jacobian(0)
        squares = here.square().sum((1, 2), dtype=torch.float64)
        gain.append(float(squares.mean() / r.state_size))
        jacobians.append(here)
    j = torch.cat(jacobians)
    j = j[j.isfinite().all((1, 2))]
    some = j if spectra is None else j[_spread(len(j), spectra)]
    eigenvalues = torch.linalg.eigvals(some)
    if len(some):
        radius = float(eigenvalues.abs().amax(-1).mean())
    else:
        radius = float(np.mean([_radius(one) for one in j])) if len(j) else float("nan")
    weight = r.w_hh if r.kind == "elman" else None
    return OneStep(
        chi=_chi(record) if r.kind == "elman" and r.leak == 1 else None,
        steps=tuple(steps),
        gain=np.array(gain),
        singular_values=numpy(torch.linalg.svdvals(j)),
        spectral_radius=radius,
        non_normality=_henrici(some.double(), eigenvalues.to(torch.complex128)),
        weight_radius=None if weight is None else _radius(weight),
        weight_peak=_peak(weight) if weight is not None and peak else None,
    )


def _spread(length: int, count: int) -> list[int]:
    """The middles of ``count`` equal parts."""
    count = min(length, count)
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def _radius(matrix: Tensor, doublings: int = 10) -> float:
    """The spectral radius, from how much ‖Aᵏ‖_F grows over the last of some doublings of k.

    Within about 0.1 %, and several times as fast as all eigenvalues. Source: I. Gelfand (1941).
    """
    size = torch.linalg.matrix_norm(matrix)
    logarithms = []  # ln ‖Aᵏ‖ / k
    for doubling in range(1 + doublings):
        if not 0 < float(size) < np.inf:
            return 0.0 if float(size) == 0 else float("nan")
        earlier = logarithms[-1] if logarithms else 0.0
        logarithms.append(earlier + float(torch.log(size)) / 2**doubling)
        matrix = matrix / size
        matrix = matrix @ matrix
        size = torch.linalg.matrix_norm(matrix)
    return float(np.exp(2 * logarithms[-1] - logarithms[-2]))


def _chi(record: Record) -> Array:
    rows = record.recurrence.w_hh.square().sum(1)
    squares = record.run.orbit.slope_of("h").square()
    return mean(by_time(record, squares @ rows / record.recurrence.hidden_size))


def _henrici(j: Tensor, eigenvalues: Tensor) -> float:
    whole = j.square().sum((1, 2))
    departure = (whole - eigenvalues.abs().square().sum(-1)).clamp_min(0) / whole
    kept = departure[whole > 0].sqrt()
    return float(kept.mean()) if len(kept) else float("nan")


def _peak(weight: Tensor, powers: int = 100) -> float:
    """The largest ‖Wᵏ‖₂ within 0.1 %; only powers that can hold it are looked at.

    From ‖Wʲ‖₂ ≤ 1 on, ‖Wᵏ‖₂ ≤ ‖Wⁱ‖₂ for some i < j; and a power bounded below the peak is not it.
    """
    peak, power, scale, found = _norm(weight), weight, 1.0, []
    if not 1 + 1e-5 < peak < np.inf:
        return peak
    while scale > 1 or not found:
        size = float(torch.linalg.matrix_norm(power))
        if not 0 < size < np.inf or len(found) == powers:
            break
        scale, power = scale * size, power / size  # Wᵏ = scale · power, ‖power‖_F = 1
        found.append((scale, power))
        power = power @ weight
    end = len(found)
    for k in sorted(range(1, end), key=lambda k: -found[k][0]):
        scale, power = found[k]
        if k < end and scale > peak:
            norm = scale * _norm(power, peak / scale)
            peak = max(peak, norm)
            end = k if norm <= 1 + 1e-5 else end
    return peak


def _norm(matrix: Tensor, enough: float = 0.0, squarings: int = 8) -> float:
    """‖A‖₂ within 0.1 %, or a bound above it as soon as that is not above ``enough``.

    (Σ_i σ_i^p)^(1/p) falls towards the largest σ as p doubles.
    """
    size = torch.linalg.matrix_norm(matrix)
    if not 0 < float(size) < np.inf:
        return float(size) if float(size) == 0 else np.inf
    bound, fall = float(torch.log(size)), 0.0
    for squaring in range(1, 1 + squarings):
        matrix = matrix / size
        matrix = matrix.mT @ matrix
        size = torch.linalg.matrix_norm(matrix)
        fall = float(torch.log(size)) / 2**squaring
        bound += fall
        if np.exp(bound) <= enough:
            return float(np.exp(bound))
    return float(np.exp(bound + fall))  # the falls still to come add up to about the last
