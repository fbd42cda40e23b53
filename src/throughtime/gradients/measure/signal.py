"""1. The backward signal: what comes back through time beside what the loss injects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from throughtime.gradients.measure.series import Array, by_lag, by_time, spread
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class Signal:
    """Size of the gradient at every step, over sequences; NaN where every sequence is over.

    Attributes:
        align: ``"time"``: index is the time step; ``"lag"``: index k is k steps before the end of
            each sequence's own run.
        total: rms_n ‖g_t‖, (T,).
        total_low, total_high: 10 % and 90 % quantile of ‖g_t‖ over sequences.
        total_zero: share of sequences whose g_t is exactly 0.
        injected: rms_n ‖e_t‖, what a hook on the layer's output would have shown.
        injected_zero: share of sequences whose e_t is exactly 0.
        sequences: how many sequences still run, (T,).
    """

    align: Literal["time", "lag"]
    total: Array
    total_low: Array
    total_high: Array
    total_zero: Array
    injected: Array
    injected_zero: Array
    sequences: Array


def signal(record: Record, align: Literal["time", "lag"] = "time") -> Signal:
    """The gradient that arrives at every time step, and how much of it is injected right there.

    G(t) = sqrt(mean_n ‖g_t‖²), E(t) = sqrt(mean_n ‖e_t‖²). A mean square hides sequences through
    which nothing comes back, so their share stands beside it.

    Args:
        record: one layer and direction.
        align: by time, or by distance from the end of each sequence.

    Source:
        Y. Bengio, P. Simard, P. Frasconi, IEEE Trans. Neural Networks 5 (1994): ∂L/∂h_t as a sum
        over paths; a hook on a fused layer's output holds only its first summand.

    Example:
        >>> signal(found.records["l0"]).total.shape
        (20,)
    """
    arrange = by_time if align == "time" else by_lag
    total, injected = (
        spread(arrange(record, size)) for size in (record.run.total_size, record.run.injected_size)
    )
    return Signal(
        align,
        total=total[0],
        total_low=total[1],
        total_high=total[2],
        total_zero=total[3],
        injected=injected[0],
        injected_zero=injected[3],
        sequences=total[4].astype(int),
    )
