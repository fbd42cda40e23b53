"""8. The unit census: who is dead, latched, asleep, always on or saturated, over a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from throughtime.errors import TraceError
from throughtime.gradients.measure.series import Array, above, numpy
from throughtime.gradients.record.record import Record

CLASSES = (
    "never_on",
    "gradient_dead",
    "sleeping",
    "latched",
    "saturated_low",
    "saturated_high",
    "always_on",
    "sequence_dead",
    "ordinary",
)


@dataclass(frozen=True)
class Census:
    """Units of one activation, classified over all sequences and steps counted; (H,) each.

    A unit is *on* at a step where |φ'(a)| > epsilon · sup|φ'|.

    Attributes:
        place: which activation: ``h`` (Elman), a gate, or ``c`` (the LSTM's output activation).
        on: share of steps at which the unit is on.
        silent_sequences: share of sequences in which it is never on.
        latched_sequences: share, of the sequences in which it was on, in which it went off and
            stayed off to the end.
        saturated_low: share of steps off with a < 0.
        saturated_high: share of steps off with a > 0.
        gradient: Σ |δ|.
        label: the class of each unit, the first of ``CLASSES`` that fits.
        steps: steps counted a unit.
        sequences: sequences counted.
        epsilon: see above.
    """

    place: str
    on: Array
    silent_sequences: Array
    latched_sequences: Array
    saturated_low: Array
    saturated_high: Array
    gradient: Array
    label: tuple[str, ...]
    steps: int
    sequences: int
    epsilon: float

    @property
    def shares(self) -> dict[str, float]:
        """Share of the units in each class, the classes with none left out."""
        units = len(self.label)
        return {c: self.label.count(c) / units for c in CLASSES if c in self.label}


def census(
    records: Record | Iterable[Record], place: str | None = None, epsilon: float = 1e-3
) -> Census:
    """Count units over one record, or over the records of the same layer on many batches.

    never_on: off at every step. gradient_dead: on at times, yet Σ|δ| = 0: nothing downstream reads
    it. sleeping: on at less than 1 % of the steps. latched: in 95 % or more of the sequences in
    which it was on it went off once and stayed off to the end. saturated_low, saturated_high: off
    at 95 % or more of the steps, mostly on that side. always_on: on at every step; for ReLU the
    unit is then linear. sequence_dead: off throughout in some sequences. A leaky unit can never be
    dead: its small slope is above ``epsilon``.

    Args:
        records: one or several records of one layer.
        place: ``h``, a gate's name, or ``c``; by default the state's or candidate's activation.
        epsilon: what counts as a slope of nothing, relative to the steepest.

    Raises:
        TraceError: no record, or the layer has no such place.

    Source:
        L. Lu et al. (2020) for dead ReLU units, G. Sokar et al. (ICML 2023) for dormant ones; the
        recurrent classes are this project's.
    """
    given = [records] if isinstance(records, Record) else list(records)
    if not given:
        raise TraceError("gradients.no_records")
    place = given[0].recurrence.main_place if place is None else place
    return _classified(place, epsilon, [_counted(r, place, epsilon) for r in given])


@dataclass(frozen=True)
class _Count:
    on: Array
    was_on: Array
    latched: Array
    low: Array
    high: Array
    gradient: Array
    steps: int
    sequences: int


def place_of(record: Record, place: str) -> tuple[Tensor, Tensor, float, Tensor]:
    """Pre-activation, slope, sup|φ'| and δ of one activation of a record, in run order."""
    r, run = record.recurrence, record.run
    orbit, steepest = run.orbit, r.activation_of(check_place(record, place)).steepest
    delta = run.pulled.cell if place == "c" else record.gate_block(run.delta, place)
    assert delta is not None
    return orbit.argument(place), orbit.slope_of(place), steepest, delta


def check_place(record: Record, place: str) -> str:
    """The place, which the layer has.

    Raises:
        TraceError: it has not.
    """
    r = record.recurrence
    places = (*r.gates, "c") if r.kind == "lstm" else r.gates
    if place not in places:
        known = ", ".join(places)
        raise TraceError("gradients.no_such_place", place=place, layer=record.key, known=known)
    return place


def _counted(record: Record, place: str, epsilon: float) -> _Count:
    a, slope, steepest, delta = place_of(record, place)
    on = above(slope, epsilon * steepest)
    if record.full:
        ended = on[-1]
    else:
        on = torch.where(record.alive.unsqueeze(-1), on, 0.0)
        delta = torch.where(record.alive.unsqueeze(-1), delta, 0.0)
        last = (record.lengths - 1).clamp_min(0)[None, :, None]
        ended = on.gather(0, last.expand(1, *on.shape[1:]))[0]
    by_sequence, kept_on = on.sum(0), (on[1:] * on[:-1]).sum(0)
    latched = (by_sequence - kept_on == 1) & (ended == 0)  # it came on once, and went off
    count, was_on, latched = numpy(
        torch.stack([by_sequence, by_sequence.clamp_max(1), latched.to(on.dtype)])
    ).sum(1)
    steps, sequences = int(record.lengths.sum()), int((record.lengths > 0).sum())
    low, high = np.zeros_like(count), np.zeros_like(count)
    if (count < steps).any():
        off = torch.where(record.alive.unsqueeze(-1) & (on == 0), a, torch.nan)
        low, high = (numpy(side.to(a.dtype).sum(0)).sum(0) for side in (off < 0, off >= 0))
    gradient = numpy(delta.abs().sum((0, 1)))
    return _Count(count, was_on, latched, low, high, gradient, steps, sequences)


def _classified(place: str, epsilon: float, counts: list[_Count]) -> Census:
    def total(name: str) -> Any:
        return sum(getattr(c, name) for c in counts)

    steps, sequences, was_on = total("steps"), total("sequences"), total("was_on")
    on, low, high, gradient = total("on"), total("low"), total("high"), total("gradient")
    silent = (sequences - was_on) / max(sequences, 1)
    latched = total("latched") / np.maximum(was_on, 1)
    off = (steps - on) >= 0.95 * steps
    fits = {
        "never_on": on == 0,
        "gradient_dead": gradient == 0,
        "sleeping": on < 0.01 * steps,
        "latched": latched >= 0.95,
        "saturated_low": off & (low >= high),
        "saturated_high": off & (high > low),
        "always_on": on == steps,
        "sequence_dead": silent > 0,
        "ordinary": np.ones_like(on, dtype=bool),
    }
    first = np.argmax(np.stack([fits[c] for c in CLASSES]), 0)
    label = tuple(CLASSES[c] for c in first)
    return Census(
        place,
        on=on / steps,
        silent_sequences=silent,
        latched_sequences=latched,
        saturated_low=low / steps,
        saturated_high=high / steps,
        gradient=gradient,
        label=label,
        steps=steps,
        sequences=sequences,
        epsilon=epsilon,
    )
