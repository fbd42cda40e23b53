"""How large a study a person's time affords, from a short timing run."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import torch

from throughtime.errors import PlanError
from throughtime.fleet.model import SequenceModel
from throughtime.fleet.train import predict
from throughtime.study.carry import Carrier, single_threaded
from throughtime.study.plan import Plan, Run
from throughtime.tasks import Task

STEPS = 3
STARTING = 12.0  # seconds until the workers compute, and for judge, model and report at the end
CROWDED = 1.3  # a step among busy neighbours takes this many times its time alone
MOST_EPOCHS = 100
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}

# from the most to the least one would like: points, evaluation seeds, fewest epochs
_SIZES = ((16, 10, 40), (8, 10, 15), (8, 10, 8), (4, 10, 5), (4, 8, 3), (2, 6, 2), (1, 6, 1))


@dataclass(frozen=True)
class Cost:
    """What one epoch of every arm takes, measured.

    Attributes:
        seconds_per_epoch: of training and validation, summed over the arms.
        workers: processes that share the work.
    """

    seconds_per_epoch: float
    workers: int

    def seconds(self, plan: Plan) -> float:
        """Expected wall time of a plan, were no run to stop early."""
        epochs = plan.epochs * (plan.runs / plan.arm_count + 1)
        crowd = CROWDED if self.workers > 1 else 1.0
        return STARTING + crowd * self.seconds_per_epoch * epochs / self.workers


def seconds_of(budget: str | float) -> float:
    """``"3m"``, ``"90s"``, ``"1.5h"`` or a number of seconds.

    Raises:
        PlanError: it is no such thing.

    Example:
        >>> seconds_of("3m"), seconds_of("1h"), seconds_of(20)
        (180.0, 3600.0, 20.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(budget))
    if not found or float(found[1]) <= 0:
        raise PlanError("study.budget", budget=budget)
    return float(found[1]) * _UNITS[found[2]]


def measure(plan: Plan, task: Task, workers: int) -> Cost:
    """Time a few steps of every arm; nothing that is learnt here is kept."""
    carrier = Carrier(plan.model_copy(update={"points": 1}), task)
    with single_threaded():
        total = sum(
            _seconds_per_epoch(
                carrier, Run("", plan.name(arm, cell), arm, cell, "tune", 0, 0), plan
            )
            for cell in plan.cells
            for arm in plan.arms
        )
    return Cost(total, workers)


def _seconds_per_epoch(carrier: Carrier, run: Run, plan: Plan) -> float:
    prepared = carrier._prepared(0, plan.space.scaling[0])
    model = SequenceModel(carrier.spec(run, prepared))
    optimiser = torch.optim.Adam(model.parameters())
    batch = prepared.train.rows(slice(plan.batch_size))
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        optimiser.zero_grad()
        prepared.preprocessing.loss(model(batch.x, batch.lengths), batch).backward()
        optimiser.step()
        times.append(time.perf_counter() - began)
    some = prepared.validation.rows(slice(512))
    began = time.perf_counter()
    predict(model, some)
    validating = (time.perf_counter() - began) * len(prepared.validation) / max(len(some), 1)
    steps = -(-len(prepared.train) // plan.batch_size)
    return min(times) * steps + validating


def sized(plan: Plan, cost: Cost, seconds: float) -> Plan:
    """The plan with as many points, seeds and epochs as ``seconds`` of wall time afford.

    Raises:
        PlanError: not even the smallest study fits; the message says what would.
    """
    for points, seeds, fewest in _SIZES:
        smaller = plan.model_copy(
            update={"points": points, "evaluation_seeds": seeds, "tuning_seeds": 1, "epochs": 1}
        )
        one = cost.seconds(smaller) - STARTING
        epochs = min(MOST_EPOCHS, int((seconds - STARTING) / one)) if seconds > STARTING else 0
        if epochs >= fewest:
            patience = max(3, epochs // 3)
            return smaller.model_copy(update={"epochs": epochs, "patience": patience})
    needed = cost.seconds(plan.model_copy(update=_smallest()))
    raise PlanError("study.budget_too_small", given=f"{seconds:.0f}", needed=f"{needed:.0f}")


def _smallest() -> dict[str, int]:
    points, seeds, epochs = _SIZES[-1]
    return {"points": points, "evaluation_seeds": seeds, "tuning_seeds": 1, "epochs": epochs}
