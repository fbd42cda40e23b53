"""8. The unit census: who is dead, latched, asleep, always on or saturated, over a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from throughtime.errors import TraceError
from throughtime.gradients import passes
from throughtime.gradients.measure.series import Array, valid_steps
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


def place_of(record: Record, place: str) -> tuple[Tensor, Tensor, float]:
    """Pre-activation, slope and sup|φ'| of one activation of a record, in run order."""
    orbit, phi = record.run.orbit, record.recurrence.activation_of(check_place(record, place))
    return orbit.argument(place), orbit.slope_of(place), phi.steepest


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
    a, slope, steepest = place_of(record, place)
    bound, lengths, run = epsilon * steepest, valid_steps(record), record.run
    if place == "c":
        assert run.pulled.cell is not None
        delta, gate = passes.blocks(run.pulled.cell), 0
    else:
        gates = record.recurrence.gates
        delta, gate = passes.blocks(run.delta, len(gates)), gates.index(place)
    slopes = passes.steps(slope)
    on, was_on, latched, gradient = passes.on_and_off(slopes, bound, delta, gate, lengths)
    low = high = np.zeros_like(on)
    if (on < lengths.sum()).any():
        low, high = passes.off_by_side(slopes, bound, passes.steps(a), lengths)
    steps, sequences = int(lengths.sum()), int((lengths > 0).sum())
    return _Count(on, was_on, latched, low, high, gradient, steps, sequences)


def _classified(place: str, epsilon: float, counts: list[_Count]) -> Census:
    def total(name: str) -> Any:
        return sum(getattr(c, name) for c in counts)

    steps, sequences, was_on = total("steps"), total("sequences"), total("was_on")
    on, low, high, gradient = total("on"), total("low"), total("high"), total("gradient")
    latched = total("latched")
    first = passes.first_class(on, was_on, latched, low, high, gradient, steps, sequences)
    return Census(
        place,
        on=on / steps,
        silent_sequences=(sequences - was_on) / max(sequences, 1),
        latched_sequences=latched / np.maximum(was_on, 1),
        saturated_low=low / steps,
        saturated_high=high / steps,
        gradient=gradient,
        label=tuple(map(CLASSES.__getitem__, first.tolist())),
        steps=steps,
        sequences=sequences,
        epsilon=epsilon,
    )
