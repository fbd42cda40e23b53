"""What the training part says about scale, and how outputs become losses, scores and values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from throughtime.errors import DataError

if TYPE_CHECKING:
    from throughtime.tasks.task import Block, Task

Problem = Literal["classification", "regression", "forecast", "next_step", "next_token"]
Scaling = Literal["standard", "minmax", "robust", "none"]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)


@dataclass(frozen=True)
class Preprocessing:
    """Scales of features and targets fitted on a training part; loss, score and their inverse.

    Attributes:
        problem: the kind of problem.
        per_step: whether there is an output at every step.
        scaling: of the features.
        feature_names, target_names, class_names: as in the task.
        x_centre, x_scale: (I,) features are (x - centre) / scale; empty for ``next_token``.
        y_centre, y_scale: (K,) likewise for numeric targets; empty for classes and tokens.
        horizon: steps ahead of a forecast, else 0.
        relative_to: of a forecast of changes, which features are its targets' past; else empty.
        steps: the length of every training sequence, 0 where they differ.
    """

    problem: Problem
    per_step: bool
    scaling: Scaling
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    class_names: tuple[str, ...]
    x_centre: tuple[float, ...]
    x_scale: tuple[float, ...]
    y_centre: tuple[float, ...]
    y_scale: tuple[float, ...]
    horizon: int
    relative_to: tuple[int, ...]
    steps: int

    @property
    def input_size(self) -> int:
        """I, or the number of symbols of ``next_token``."""
        return len(self.x_centre) or len(self.class_names)

    @property
    def output_size(self) -> int:
        """Classes, values or symbols the network puts out."""
        return len(self.y_centre) or len(self.class_names)

    def scale_x(self, x: np.ndarray, lengths: np.ndarray) -> Tensor:
        """(N, T, I) features scaled, zero beyond each length; tokens as they are."""
        if self.problem == "next_token":
            return torch.from_numpy(np.ascontiguousarray(x))
        centre, scale = (np.asarray(v, np.float32) for v in (self.x_centre, self.x_scale))
        scaled = x - centre
        scaled /= scale
        scaled[np.arange(x.shape[1]) >= lengths[:, None]] = 0
        return torch.from_numpy(scaled)

    def block(self, task: Task, rows: np.ndarray) -> Block:
        """The given rows of a task as scaled tensors."""
        from throughtime.tasks.task import Block

        lengths, y = task.lengths[rows], task.y[rows]
        if self.y_centre:
            centre, scale = (np.asarray(v, np.float32) for v in (self.y_centre, self.y_scale))
            y = (y - self._last(task.x[rows]) - centre) / scale
        counts = None if task.counts is None else torch.from_numpy(task.counts[rows])
        return Block(
            self.scale_x(task.x[rows], lengths),
            torch.from_numpy(lengths),
            torch.from_numpy(y),
            counts,
        )

    def _last(self, x: np.ndarray) -> np.ndarray:
        """Last value of each target for each output, (N, K), from unscaled windows; else zeros."""
        if not self.relative_to:
            return np.zeros((), np.float32)
        return np.tile(x[:, -1, list(self.relative_to)], self.horizon)

    def values(self, outputs: Tensor, block: Block | None = None) -> Tensor:
        """Outputs of a numeric problem in the targets' own units.

        Args:
            outputs: (..., K).
            block: the sequences they belong to; needed for a forecast of changes.
        """
        centre, scale = (outputs.new_tensor(v) for v in (self.y_centre, self.y_scale))
        values = outputs * scale + centre
        if not self.relative_to:
            return values
        if block is None:
            raise ValueError("a forecast of changes needs the block its outputs belong to")
        x_centre, x_scale = (np.asarray(v, np.float32) for v in (self.x_centre, self.x_scale))
        return values + torch.from_numpy(self._last(block.x.cpu().numpy() * x_scale + x_centre)).to(
            values
        )

    def losses(self, outputs: Tensor, batch: Block) -> Tensor:
        """The training loss, one for each leading index of ``outputs``.

        Cross entropy (nats) of classes and tokens, mean squared error of scaled values; per-step
        problems average over the steps that count.

        Args:
            outputs: (..., B, K) for one output a sequence, (..., B, T, K) per step; any leading
                axes, such as the models of a fleet.
            batch: the sequences the outputs belong to.

        Returns:
            Tensor of the leading axes' shape; a scalar where there are none.
        """
        if self.y_centre:
            each = (outputs - batch.y).square().mean(-1)
        else:
            each = _surprisal(outputs, batch.y)
        return _average(each, batch)

    def loss(self, outputs: Tensor, batch: Block) -> Tensor:
        """:meth:`losses` of one model as a scalar (of several, their sum: gradients stay apart)."""
        return self.losses(outputs, batch).sum()

    def scores(self, outputs: Tensor, block: Block) -> Tensor:
        """The metric, one for each leading index of ``outputs`` (shapes as in :meth:`losses`).

        NaN where an output that counts is not finite.
        """
        outputs = outputs.detach()
        if self.problem == "classification":
            each = (outputs.argmax(-1) == block.y).float()
        elif self.problem == "next_token":
            each = _surprisal(outputs, block.y) / math.log(2)
        else:
            scale = outputs.new_tensor(self.y_scale)
            each = ((outputs - block.y).abs() * scale).mean(-1)
        each = each.masked_fill(~outputs.isfinite().all(-1), math.nan)
        return _average(each.double(), block)

    def score(self, outputs: Tensor, block: Block) -> float:
        """Accuracy, mean absolute error in the target's own unit, or bits per token.

        Args:
            outputs: (N, K), or (N, T, K) per step, of every sequence of ``block``.
            block: the sequences the outputs belong to.
        """
        return float(self.scores(outputs, block))

    def to_config(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Preprocessing:
        """The inverse of :meth:`to_config`."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in config.items()
        }
        return cls(**values)


def _surprisal(outputs: Tensor, y: Tensor) -> Tensor:
    log_p = outputs.log_softmax(-1)
    index = y.expand(log_p.shape[:-1]).unsqueeze(-1)
    return -log_p.gather(-1, index).squeeze(-1)


def _average(each: Tensor, block: Block) -> Tensor:
    """Mean over sequences, or over the steps of them that count."""
    if block.counts is None:
        return each.mean(-1)
    counted = each.masked_fill(~block.counts, 0)
    return counted.sum((-2, -1)) / block.counts.sum()


def fit(task: Task, rows: np.ndarray, scaling: Scaling) -> Preprocessing:
    """Scales from the given rows alone."""
    if scaling not in SCALINGS:
        raise DataError("tasks.unknown_scaling", scaling=scaling, known=", ".join(SCALINGS))
    lengths = task.lengths[rows]
    x_centre = x_scale = y_centre = y_scale = ()
    if task.problem != "next_token":
        valid = np.arange(task.x.shape[1]) < lengths[:, None]
        x_centre, x_scale = _feature_scales(task.x[rows][valid], scaling)
    if task.problem in ("regression", "forecast", "next_step"):
        y = task.y[rows] if task.counts is None else task.y[rows][task.counts[rows]]
        if task.relative:
            y = y - np.tile(task.x[rows, -1][:, list(task.target_columns)], task.horizon)
        targets = y.astype(np.float64).reshape(-1, len(task.target_names))
        repeats = y.shape[-1] // len(task.target_names)
        y_centre = _numbers(np.tile(targets.mean(0), repeats))
        y_scale = _numbers(np.tile(_positive(targets.std(0)), repeats))
    return Preprocessing(
        problem=task.problem,
        per_step=task.per_step,
        scaling=scaling,
        feature_names=task.feature_names,
        target_names=task.target_names,
        class_names=task.class_names,
        x_centre=x_centre,
        x_scale=x_scale,
        y_centre=y_centre,
        y_scale=y_scale,
        horizon=task.horizon,
        relative_to=task.target_columns if task.relative else (),
        steps=int(lengths[0]) if (lengths == lengths[0]).all() else 0,
    )


def _feature_scales(
    steps: np.ndarray, scaling: Scaling
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Centre and scale of every feature from (steps, I) values."""
    features = steps.shape[1]
    centre, scale = np.zeros(features), np.ones(features)
    for i in range(features):
        v = steps[:, i].astype(np.float64)
        if scaling == "none" or np.isin(v, (0.0, 1.0)).all():
            continue
        if scaling == "standard":
            centre[i], scale[i] = v.mean(), v.std()
        elif scaling == "minmax":
            centre[i], scale[i] = v.min(), np.ptp(v)
        else:
            low, centre[i], high = np.quantile(v, (0.25, 0.5, 0.75))
            scale[i] = (high - low) or v.std()
    return _numbers(centre), _numbers(_positive(scale))


def _positive(scale: np.ndarray) -> np.ndarray:
    """Scales of constant columns become 1: rounding noise must not be blown up."""
    return np.where(scale > 1e-30, scale, 1.0)


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
