"""One run, from its specification to its record: a pure function of plan, data and run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from throughtime.errors import PlanError
from throughtime.fleet.model import ModelSpec
from throughtime.fleet.stability import stability
from throughtime.fleet.train import Outcome, Recipe, evaluate, train
from throughtime.study.arms import activation_of
from throughtime.study.flow import flow
from throughtime.study.plan import Plan, Run
from throughtime.study.records import Record
from throughtime.tasks import Prepared, Scaling, Task

WIDEST_EMBEDDING = 32


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread of arithmetic: small networks gain nothing from more, and runs share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Carrier:
    """Carries out the runs of one plan on one task, in one process.

    Args:
        plan: of the study.
        task: its data.
    """

    def __init__(self, plan: Plan, task: Task):
        self.plan, self.task = plan, task
        self.design = plan.space.design(plan.points, plan.seed)
        self._prepared = lru_cache(maxsize=4)(self._prepare)

    def record(self, run: Run) -> Record:
        """Train the network of a run and write down what happened.

        A run of the tuning phase never touches the test block.
        """
        outcome, prepared = self.train(run)
        test = None
        if run.phase == "evaluate" and not outcome.diverged:
            test = evaluate(outcome.model, prepared, prepared.test)
        failed = outcome.diverged or (test is not None and not math.isfinite(test))
        return Record(
            key=run.key,
            arm=run.arm,
            activation=activation_of(run.formula).name,
            cell=run.cell,
            phase=run.phase,
            point=run.point,
            values=self.design[run.point],
            seed=run.seed,
            diverged=failed,
            validation_score=None if failed else outcome.validation_score,
            test_score=None if failed else test,
            validation_curve=outcome.validation_curve,
            train_curve=outcome.train_curve,
            steps_per_epoch=outcome.steps_per_epoch,
            seconds_per_step=outcome.seconds_per_step,
            stability={} if failed else stability(outcome.model, prepared.validation),
            flow={}
            if test is None or failed
            else flow(outcome.model, prepared.preprocessing, prepared.validation),
        )

    def train(self, run: Run, epochs: int | None = None) -> tuple[Outcome, Prepared]:
        """The trained network of a run, and the data it was trained on.

        ``epochs`` stops earlier than the plan: at the epoch of the best validation score the
        network is the one of the whole run.
        """
        values = self.design[run.point]
        prepared = self._prepared(run.seed, values["scaling"])
        recipe = Recipe(
            rate=float(values["rate"]),
            clip=float(values["clip"]),
            batch_size=self.plan.batch_size,
            epochs=epochs or self.plan.epochs,
            patience=self.plan.patience,
        )
        outcome = train(
            prepared,
            self.spec(run, prepared),
            recipe,
            run.seed,
            higher_is_better=self.task.metric.higher_is_better,
        )
        return outcome, prepared

    def spec(self, run: Run, prepared: Prepared) -> ModelSpec:
        """The network of a run."""
        plan, vocabulary = self.plan, prepared.vocabulary_size
        return ModelSpec(
            cell=run.cell,
            activation=activation_of(run.formula).to_config(),
            input_size=min(vocabulary, WIDEST_EMBEDDING) or prepared.input_size,
            output_size=prepared.output_size,
            hidden_size=plan.hidden_size,
            num_layers=plan.num_layers,
            bidirectional=plan.bidirectional,
            recurrent_init=str(self.design[run.point]["start"]),
            per_step=prepared.per_step,
            vocabulary=vocabulary,
        )

    def _prepare(self, seed: int, scaling: Scaling) -> Prepared:
        return self.task.prepare(self.task.split(seed), scaling)


def check(plan: Plan, task: Task) -> None:
    """Find out before anything is trained whether every arm can be built from every start.

    Raises:
        PlanError, ActivationError, LayerError: in the person's own names.
    """
    from throughtime.fleet.model import SequenceModel

    if plan.bidirectional and task.per_step:
        raise PlanError("study.bidirectional_per_step", problem=task.problem)
    for arm in plan.arms:
        config = activation_of(arm).to_config()
        for cell in plan.cells:
            for start in plan.space.start:
                SequenceModel(ModelSpec(cell, config, 1, 1, hidden_size=2, recurrent_init=start))
