"""7. The law of one step: what the Jacobian of a single step does to a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients.measure.series import Array, by_time, mean, numpy, squared_norms
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
        non_normality: ‖J Jᵀ - Jᵀ J‖_F / (√2 ‖J Jᵀ‖_F) of J_t, mean over those that are not 0: 0 for
            a normal J, about 0.71 for a large Gaussian one, 1 where J² = 0; a delay line of S units
            is a rotation but for its ends, and has 1/√(S - 1).
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
    exact: bool = True,
    peak: bool = True,
) -> OneStep:
    """χ_t, singular values, spectral radius and non-normality of the one-step Jacobian.

    For Elman χ_t = (1/H) Σ_i φ'(a_i)² ‖W_hh,i‖² needs no Jacobian. The rest builds J_t, the whole
    (h, c) for the LSTM, at ``count`` steps spread over the run for the first ``sequences``
    sequences that reach them; it costs an SVD each, and where the spectral radius is to be exact an
    eigendecomposition several times as dear.

    Args:
        record: one layer and direction.
        count: steps.
        sequences: of each step.
        exact: take the spectral radii from eigenvalues; otherwise from the growth of powers, which
            tells them within about 0.1 % (:func:`radii`).
        peak: find ``weight_peak``, which may take 100 products of W_hh with itself.

    Source:
        M. Chen, J. Pennington, S. Schoenholz (ICML 2018) for χ; L. Elsner, M. Paardekooper (1987)
        for measures of non-normality from the commutator; G. Kerg et al. (NeurIPS 2019) for what
        non-normality does in RNNs.
    """
    r, orbit = record.recurrence, record.run.orbit
    longest = int(record.lengths.max())
    spread = np.linspace(0, longest - 1, count) if count > 1 else [longest // 2]
    steps = sorted({int(t) for t in np.round(spread)})
    jacobians = []
    for t in steps:
        alive = record.alive[t].nonzero().squeeze(-1)[:sequences]
        jacobians.append(orbit.at(t, alive).linearise().jacobian(0))
    j = torch.cat(jacobians)
    gain = squared_norms(j.flatten(1)) / r.state_size
    j = j[gain.isfinite()]
    weight = r.w_hh if r.kind == "elman" else None
    found = numpy(radii(j if weight is None else torch.cat([j, weight.unsqueeze(0)]), exact))
    return OneStep(
        chi=_chi(record) if r.kind == "elman" and r.leak == 1 else None,
        steps=tuple(steps),
        gain=np.array([numpy(of).mean() for of in gain.split([len(one) for one in jacobians])]),
        singular_values=numpy(torch.linalg.svdvals(j)),
        spectral_radius=_mean(found[: len(j)]),
        non_normality=_mean(numpy(non_normality(j))),
        weight_radius=None if weight is None else float(found[-1]),
        weight_peak=_peak(weight) if weight is not None and peak else None,
    )


def radii(matrices: Tensor, exact: bool = True, doublings: int = 11) -> Tensor:
    """The spectral radius of each of some (N, S, S) matrices, (N,); NaN where one is not finite.

    Args:
        matrices: A.
        exact: take the eigenvalues. Otherwise ln ρ is how much ln ‖Aᵏ‖_F grows with k over the last
            doubling of it, which is several times as fast. Within about 0.1 %; further off where
            eigenvalues are as ill-conditioned as those of a Jordan block.
        doublings: of k, from 1 on.

    Source:
        I. Gelfand (1941).
    """
    if exact:
        finite = matrices.isfinite().all((1, 2))
        found = matrices.new_full((len(matrices),), torch.nan)
        found[finite] = torch.linalg.eigvals(matrices[finite]).abs().amax(-1)
        return found
    size = matrices.abs().amax((1, 2), keepdim=True)
    power, sizes = _over(matrices, size), [size]
    other = torch.empty_like(power)
    for _ in range(doublings):
        power, other = torch.bmm(power, power, out=other), power
        size = torch.linalg.vector_norm(power, dim=(1, 2), keepdim=True)
        power = _over(power, size, out=power)
        sizes.append(size)
    weights = 0.5 ** torch.arange(doublings + 1, device=matrices.device)
    weights[-1] *= 2  # as if all doublings to come brought what the last did
    return (torch.log(torch.cat(sizes, 2).squeeze(1)) * weights).sum(1).exp()


def non_normality(matrices: Tensor) -> Tensor:
    """‖A Aᵀ - Aᵀ A‖_F / (√2 ‖A Aᵀ‖_F) of (N, S, S) matrices, (N,), in [0, 1]; NaN for 0.

    It equals √(1 - ‖A²‖_F² / ‖A Aᵀ‖_F²), but keeps its precision near normal matrices.
    """
    a = _over(matrices, matrices.abs().amax((1, 2), keepdim=True))
    left = a @ a.mT
    commutator = torch.baddbmm(left, a.mT, a, alpha=-1)
    return torch.linalg.matrix_norm(commutator) / (2**0.5 * torch.linalg.matrix_norm(left))


def _over(matrices: Tensor, size: Tensor, out: Tensor | None = None) -> Tensor:
    """The quotient, 0 for 0."""
    return torch.div(matrices, size.clamp_min(torch.finfo(size.dtype).tiny), out=out)


def _mean(values: Array) -> float:
    """Of those that are numbers; NaN where there are none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _chi(record: Record) -> Array:
    rows = record.recurrence.w_hh.square().sum(1)
    squares = record.run.orbit.slope_of("h").square()
    return mean(by_time(record, squares @ rows / record.recurrence.hidden_size))


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
