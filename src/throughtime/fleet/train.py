"""Training of one network, a pure function of data, recipe and seed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from statistics import median

import torch
from torch import Tensor

from throughtime.errors import ModelError
from throughtime.fleet.model import ModelSpec, SequenceModel
from throughtime.tasks import Block, Prepared

RAN_AWAY = 1e3  # a mean training loss so many times that of a constant answer has left for good


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        rate: Adam's learning rate.
        clip: norm to which the whole gradient is clipped; ``inf`` clips nothing.
        batch_size: sequences a step.
        epochs: at most so many passes over the training block.
        patience: stop after so many epochs without a better validation score.

    Raises:
        ModelError: a value that no training can have.
    """

    rate: float = 1e-3
    clip: float = math.inf
    batch_size: int = 64
    epochs: int = 30
    patience: int = 10

    def __post_init__(self):
        _above_zero("rate", self.rate, math.isfinite(_number(self.rate)))
        _above_zero("clip", self.clip)
        for name in ("batch_size", "epochs", "patience"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ModelError("fleet.whole_number", name=name, value=value)


@dataclass(frozen=True)
class Outcome:
    """A trained network (at its best validation score) and what was seen on the way.

    Attributes:
        model: the network.
        diverged: whether training left for good; the network is then that of the best epoch
            before, and of no use where there was none.
        validation_score: of the network, in the metric's own units; ``None`` where it diverged.
        best_epoch: the epoch (from 0) whose weights were kept; ``None`` where the first diverged.
        validation_curve, train_curve: score and mean loss of every epoch; NaN where not finite.
        steps_per_epoch: batches.
        seconds_per_step: the median.
    """

    model: SequenceModel
    diverged: bool
    validation_score: float | None
    best_epoch: int | None
    validation_curve: tuple[float, ...]
    train_curve: tuple[float, ...]
    steps_per_epoch: int
    seconds_per_step: float


def train(
    prepared: Prepared,
    spec: ModelSpec,
    recipe: Recipe,
    seed: int,
    *,
    higher_is_better: bool,
    on_epoch: Callable[[int], None] | None = None,
) -> Outcome:
    """Train one network; the same arguments give the same weights.

    The test block is not looked at. A run diverges when a loss, a gradient or a score is not
    finite, or when the mean loss of an epoch is a thousand times that of the first batch (and of
    the constant answer, whose loss is about 1); it stops there and nothing is raised.

    Args:
        prepared: the data.
        spec: the network.
        recipe: rate, stopping rule and so on.
        seed: of the weights' start and the order of the batches. The random state of the process
            is left as it was.
        higher_is_better: direction of the validation score.
        on_epoch: called with the number of each epoch that ended.

    Raises:
        ModelError: the network would see the answers, as it reads a per-step problem backwards.
    """
    if spec.per_step and spec.bidirectional:
        raise ModelError("fleet.sees_the_answer", problem=prepared.problem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(spec)
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.rate)
    order = torch.Generator().manual_seed(seed)
    block, sign = prepared.train, 1 if higher_is_better else -1
    n = len(block)
    scores: list[float] = []
    losses: list[float] = []
    seconds: list[float] = []
    best, best_epoch, best_weights, first, diverged = -math.inf, None, None, None, False
    for epoch in range(recipe.epochs):
        model.train()
        total = 0.0
        for rows in torch.randperm(n, generator=order).split(recipe.batch_size):
            began = time.perf_counter()
            batch = block.rows(rows)
            optimiser.zero_grad(set_to_none=True)
            loss = prepared.preprocessing.loss(model(batch.x, batch.lengths), batch)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            value = loss.item()
            first = value if first is None else first
            if not (math.isfinite(value) and math.isfinite(norm.item())):
                diverged = True
                break
            optimiser.step()
            seconds.append(time.perf_counter() - began)
            total += value * len(rows)
        losses.append(math.nan if diverged else total / n)
        score = math.nan if diverged else evaluate(model, prepared, prepared.validation)
        scores.append(score)
        if on_epoch:
            on_epoch(epoch)
        if not math.isfinite(score) or losses[-1] > RAN_AWAY * max(first or 0.0, 1.0):
            diverged = True
            break
        if sign * score > best:
            best, best_epoch = sign * score, epoch
            best_weights = copy.deepcopy(model.state_dict())
        elif best_epoch is not None and epoch - best_epoch >= recipe.patience:
            break
    if best_weights is not None:
        model.load_state_dict(best_weights)
    model.eval()
    return Outcome(
        model=model,
        diverged=diverged,
        validation_score=None if diverged else sign * best,
        best_epoch=best_epoch,
        validation_curve=tuple(scores),
        train_curve=tuple(losses),
        steps_per_epoch=math.ceil(n / recipe.batch_size),
        seconds_per_step=median(seconds) if seconds else math.nan,
    )


@torch.no_grad()
def predict(model: SequenceModel, block: Block, chunk: int = 512) -> Tensor:
    """Outputs for every sequence of a block."""
    model.eval()
    parts = [
        model(block.x[i : i + chunk], block.lengths[i : i + chunk])
        for i in range(0, len(block), chunk)
    ]
    return torch.cat(parts)


def evaluate(model: SequenceModel, prepared: Prepared, block: Block) -> float:
    """The score of the network on a block, in the metric's own units."""
    return prepared.preprocessing.score(predict(model, block), block)


def _above_zero(name: str, value: object, finite: bool = True) -> None:
    if not (finite and _number(value) > 0):
        raise ModelError("fleet.above_zero", name=name, value=value)


def _number(value: object) -> float:
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
