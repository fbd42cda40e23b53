"""11. Gates: how long each unit keeps its memory, and which gates are stuck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from throughtime.errors import TraceError
from throughtime.gradients import passes
from throughtime.gradients.measure.series import Array, log, valid_steps
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class Gates:
    """Time scales and saturation of the gates; (H,) each.

    Attributes:
        time_scale: τ_i = -1/ln f̄_i of the keeping gate (f, or z in the GRU), in steps.
        keep: f̄_i, its mean over steps and sequences.
        closed: by gate, share of steps with a value below 0.1.
        open: by gate, share of steps above 0.9.
        length: median length of the sequences, to hold τ against.
    """

    time_scale: Array
    keep: Array
    closed: dict[str, Array]
    open: dict[str, Array]
    length: float


def gates(record: Record) -> Gates:
    """Time scales of a GRU or an LSTM and the shares of steps at which gates are shut or open.

    τ means something where the gradient really decays exponentially, along the carry path.

    Raises:
        TraceError: an Elman layer has no gates.

    Source:
        C. Tallec and Y. Ollivier (ICLR 2018) for τ; A. Karpathy, J. Johnson, L. Fei-Fei (2015) for
        the bounds 0.1 and 0.9.
    """
    r = record.recurrence
    if r.kind == "elman":
        raise TraceError("gradients.no_gates", layer=record.key)
    names = ("r", "z") if r.kind == "gru" else ("i", "f", "o")
    orbit, lengths = record.run.orbit, valid_steps(record)
    seen = {name: passes.opened(passes.steps(orbit.value(name)), lengths) for name in names}
    shares = {name: sums / max(lengths.sum(), 1) for name, sums in seen.items()}
    keep = shares["z" if r.kind == "gru" else "f"][0]
    with np.errstate(divide="ignore", invalid="ignore"):
        time_scale = np.where(keep >= 1, np.inf, np.where(keep > 0, -1 / log(keep), 0.0))
    return Gates(
        time_scale=time_scale,
        keep=keep,
        closed={name: share[1] for name, share in shares.items()},
        open={name: share[2] for name, share in shares.items()},
        length=float(np.median(lengths)),
    )
