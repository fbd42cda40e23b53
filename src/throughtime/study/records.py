"""The record of one run: a pure function of its specification, as it stands in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal["tune", "evaluate"]


@dataclass(frozen=True)
class Record:
    """One trained network.

    Attributes:
        key: hash of the specification (plan, arm, point, seed, phase).
        arm: name of the arm, ``activation`` or ``cell-activation``.
        activation: name of the activation in the recurrent layer.
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        phase: ``"tune"`` runs see the validation block only, ``"evaluate"`` runs the test block.
        point: number of the tuning point in the shared design.
        values: the tuned quantities of that point, by name.
        seed: start of weights, batch order and split; paired over arms.
        diverged: the loss or a score was not finite, or ran away.
        validation_score: best validation score over epochs (``None`` if diverged).
        test_score: score on the test block at the epoch of the best validation score; only in
            ``evaluate`` runs (``None`` if diverged).
        validation_curve: validation score after each epoch.
        train_curve: mean training loss of each epoch.
        steps_per_epoch: optimiser steps an epoch.
        seconds_per_step: median wall time of one training step.
        stability: shares cheaply known at the end, such as ``dead_units``, ``saturated_units``.
        flow: gradients through time in an ``evaluate`` run, by layer and direction, see
            :func:`throughtime.study.flow.flow`; empty in ledgers that are older than it.
    """

    key: str
    arm: str
    activation: str
    cell: str
    phase: Phase
    point: int
    values: dict[str, float | str]
    seed: int
    diverged: bool
    validation_score: float | None
    test_score: float | None
    validation_curve: tuple[float, ...]
    train_curve: tuple[float, ...]
    steps_per_epoch: int
    seconds_per_step: float
    stability: dict[str, float] = field(default_factory=dict)
    flow: dict[str, Any] = field(default_factory=dict)
