"""7. The law of one step: what the Jacobian of a single step does to a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.measure.series import Array, by_time, log, mean, numpy
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class OneStep:
    """Gain of single steps, at ``steps`` in run order and over the sequences looked at.

    Two figures tell how far from normal J_t is; both are 0 where it is normal, and means over
    those J_t that are not 0. Henrici's holds ‖J‖_F against the eigenvalues, and sees any growth
    that these do not show: a delay line of S units has 1. The commutator's needs no eigenvalues,
    but a delay line, which is a rotation but for its ends, has only 1/√(S - 1); a large Gaussian
    matrix has 0.71 by both.

    Attributes:
        chi: χ_t = ‖J_t‖_F²/H by time for Elman without leak, (T,); None for other cells.
        steps: the steps whose J_t was built, (K,).
        gain: ‖J_t‖_F²/S at those steps, mean over sequences, (K,); 1 keeps a gradient's size.
        singular_values: of J_t, (K·B, S), largest first.
        spectral_radius: of J_t, mean.
        non_normality: Henrici's departure from normality √(1 - Σ|λ|²/‖J‖_F²) of J_t, at most 1
            (J nilpotent); NaN without eigenvalues.
        commutator: ‖J Jᵀ - Jᵀ J‖_F / (√2 ‖J Jᵀ‖_F) of J_t, at most 1 (J² = 0).
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
    commutator: float
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
    sequences that reach them; it costs an SVD each, and with ``exact`` an eigendecomposition
    several times as dear.

    Args:
        record: one layer and direction.
        count: steps.
        sequences: of each step.
        exact: take the eigenvalues. Otherwise the spectral radii are those of the growth of powers,
            mostly within 0.2 % (:func:`radii`), and ``non_normality`` is NaN.
        peak: find ``weight_peak``, which may take 100 products of W_hh with itself.

    Source:
        M. Chen, J. Pennington, S. Schoenholz (ICML 2018) for χ; P. Henrici (1962); L. Elsner,
        M. Paardekooper (1987) for the commutator as a measure; G. Kerg et al. (NeurIPS 2019) for
        what non-normality does in RNNs.
    """
    r, orbit, lengths = record.recurrence, record.run.orbit, record.lengths.tolist()
    longest = max(lengths)
    spread = np.linspace(0, longest - 1, count).tolist() if count > 1 else [longest // 2]
    steps = sorted({round(t) for t in spread})
    jacobians, squares = [], []
    for t in steps:
        alive = [b for b, length in enumerate(lengths) if length > t][:sequences]
        some = slice(sequences) if record.full else alive
        here = orbit.at(t, some).linearise().jacobian(0)
        jacobians.append(here)
        squares.append(passes.norms(passes.flat(here)) ** 2)
    j, whole = torch.cat(jacobians), np.concatenate(squares)
    finite = np.isfinite(whole)
    if not finite.all():
        j, whole = j[torch.from_numpy(finite)], whole[finite]
    weight = r.w_hh if r.kind == "elman" else None
    some = j if weight is None else torch.cat([j, weight.unsqueeze(0)])
    values = eigenvalues(some) if exact else None
    radius = radii(some) if values is None else np.abs(values).max(-1)
    return OneStep(
        chi=_chi(record) if r.kind == "elman" and r.leak == 1 else None,
        steps=tuple(steps),
        gain=np.array([one.mean() for one in squares]) / r.state_size,
        singular_values=singular_values(j),
        spectral_radius=_mean(radius[: len(j)]),
        non_normality=math.nan if values is None else _mean(henrici(whole, values[: len(j)])),
        commutator=_mean(commutator(j)),
        weight_radius=None if weight is None else float(radius[-1]),
        weight_peak=_peak(weight) if weight is not None and peak else None,
    )


def singular_values(matrices: Tensor) -> Array:
    """Those of each of some (N, S, S) matrices, (N, S), largest first.

    Of float32 as roots of the eigenvalues of A Aᵀ in double precision: faster than the SVD, and off
    by about 1e-8 of the largest at most, where the SVD is off by 5e-7 of it.
    """
    if matrices.dtype == torch.float64:
        return numpy(torch.linalg.svdvals(matrices))
    a = matrices.double()
    return np.sqrt(np.maximum(numpy(torch.linalg.eigvalsh(torch.bmm(a, a.mT))), 0))[:, ::-1]


def eigenvalues(matrices: Tensor) -> Array:
    """Those of each of some (N, S, S) matrices, (N, S); NaN where one is not finite."""
    finite = matrices.isfinite().all((1, 2))
    found = np.full(matrices.shape[:2], np.nan, complex)
    found[finite.numpy(force=True)] = torch.linalg.eigvals(matrices[finite]).numpy(force=True)
    return found


def radii(matrices: Tensor, doublings: int = 9) -> Array:
    """The spectral radius of each of some (N, S, S) matrices, (N,); NaN where one is not finite.

    ln ρ is how much ln ‖Aᵏ‖_F grows with k over the last doubling of it, which is several times as
    fast as the eigenvalues. Of 2768 float32 matrices with S = 128 (Gaussian, tanh slopes times
    Gaussian or orthogonal ones, J_t of the three cells) 99 % were within 0.2 % of the eigenvalues
    in float64, and all within 0.5 %; further off are those whose eigenvalues are as
    ill-conditioned as a Jordan block's.

    Args:
        matrices: A.
        doublings: of k, from 1 on.

    Source:
        I. Gelfand (1941).
    """
    power = matrices.clone(memory_format=torch.contiguous_format)
    sizes, other = [_normalise(power)], torch.empty_like(power)
    for _ in range(doublings):
        power, other = torch.bmm(power, power, out=other), power
        sizes.append(_normalise(power))
    weights = 0.5 ** np.arange(doublings + 1)
    weights[-1] *= 2  # as if all doublings to come brought what the last did
    found = np.stack(sizes)
    return np.where((found == 0).any(0), 0.0, np.exp(weights @ log(found)))


def _normalise(matrices: Tensor) -> Array:
    """Divide each of some matrices by its ‖·‖_F, in place, and return these."""
    if matrices.is_cpu:
        return passes.normalised(passes.flat(matrices))
    size = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    matrices.div_(size)
    return numpy(size)[:, 0, 0]


def henrici(squares: Array, values: Array) -> Array:
    """√(1 - Σ|λ|²/‖A‖_F²), (N,), from ‖A‖_F² (N,) and the eigenvalues (N, S); NaN for A = 0."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.maximum(1 - (np.abs(values) ** 2).sum(-1) / squares, 0))


def commutator(matrices: Tensor) -> Array:
    """‖A Aᵀ - Aᵀ A‖_F / (√2 ‖A Aᵀ‖_F) of (N, S, S) matrices, (N,), in [0, 1]; NaN for 0.

    It equals √(1 - ‖A²‖_F² / ‖A Aᵀ‖_F²), but keeps its precision near normal matrices.
    """
    a = matrices / matrices.abs().amax((1, 2), keepdim=True)
    products = torch.bmm(a, a.mT), torch.bmm(a.mT, a)
    whole, rest = passes.apart(*map(passes.flat, products))
    return passes.ratio(rest, 2**0.5 * whole)


def _mean(values: Array) -> float:
    """Of those that are numbers; NaN where there are none."""
    there = [value for value in values.tolist() if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan


def _chi(record: Record) -> Array:
    r, slope = record.recurrence, record.run.orbit.slope_of("h")
    weights = passes.norms(passes.rows(r.w_hh)) ** 2 / r.hidden_size
    found = passes.weighted_squares(passes.rows(slope), weights)
    return mean(by_time(record, found.reshape(slope.shape[:2])))


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
