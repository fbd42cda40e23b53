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
        weight_peak: max_k ‖W_hhᵏ‖₂, k to 100, Elman only: growth that the radius does not show.
    """

    chi: Array | None
    steps: tuple[int, ...]
    gain: Array
    singular_values: Array
    spectral_radius: float
    non_normality: float
    weight_radius: float | None
    weight_peak: float | None


def one_step(record: Record, count: int = 4, sequences: int = 2) -> OneStep:
    """χ_t, singular values, spectral radius and non-normality of the one-step Jacobian.

    For Elman χ_t = (1/H) Σ_i φ'(a_i)² ‖W_hh,i‖² needs no Jacobian. The rest builds J_t, the whole
    (h, c) for the LSTM, at ``count`` steps spread over the run for the first ``sequences``
    sequences that reach them; it costs an SVD and an eigendecomposition each.

    Source:
        M. Chen, J. Pennington, S. Schoenholz (ICML 2018) for χ; P. Henrici (1962);
        G. Kerg et al. (NeurIPS 2019) for what non-normality does in RNNs.
    """
    r, linear = record.recurrence, record.run.linear
    longest = int(record.lengths.max())
    steps = sorted({int(t) for t in np.linspace(0, longest - 1, count).round()})
    jacobians, gain = [], []
    for t in steps:
        alive = record.alive[t].nonzero().squeeze(-1)[:sequences]
        here = linear.at(t, alive).to(torch.float64).jacobian(0)
        gain.append(float(here.square().sum((1, 2)).mean() / r.state_size))
        jacobians.append(here)
    j = torch.cat(jacobians)
    finite = j.isfinite().all((1, 2))
    j = j[finite]
    eigenvalues = torch.linalg.eigvals(j)
    weight = r.w_hh.double() if r.kind == "elman" else None
    return OneStep(
        chi=_chi(record) if r.kind == "elman" and r.leak == 1 else None,
        steps=tuple(steps),
        gain=np.array(gain),
        singular_values=numpy(torch.linalg.svdvals(j)),
        spectral_radius=float(eigenvalues.abs().amax(-1).mean()) if len(j) else float("nan"),
        non_normality=_henrici(j, eigenvalues),
        weight_radius=None if weight is None else float(torch.linalg.eigvals(weight).abs().max()),
        weight_peak=None if weight is None else _peak(weight),
    )


def _chi(record: Record) -> Array:
    rows = record.recurrence.w_hh.double().square().sum(1)
    squares = record.run.orbit.slope.double().square()
    return mean(by_time(record, squares @ rows / record.recurrence.hidden_size))


def _henrici(j: Tensor, eigenvalues: Tensor) -> float:
    whole = j.square().sum((1, 2))
    departure = (whole - eigenvalues.abs().square().sum(-1)).clamp_min(0) / whole
    kept = departure[whole > 0].sqrt()
    return float(kept.mean()) if len(kept) else float("nan")


def _peak(weight: Tensor, powers: int = 100) -> float:
    """The largest ‖Wᵏ‖₂; a power that does not grow any vector ends the search.

    From ‖Wʲ‖ ≤ 1 on, ‖Wᵏ‖ ≤ ‖Wⁱ‖ for some i < j; and no power whose Frobenius norm is below the
    peak can pass it.
    """
    power, peak = weight, 0.0
    for _ in range(powers):
        if not power.isfinite().all():
            return np.inf
        if float(torch.linalg.matrix_norm(power)) > peak:
            size = float(torch.linalg.matrix_norm(power, 2))
            peak = max(peak, size)
            if size <= 1 + 1e-12:
                return peak
        power = power @ weight
    return peak
