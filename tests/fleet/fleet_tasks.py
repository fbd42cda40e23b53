"""Small tasks whose answers are known, and networks for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import throughtime as tt
from throughtime.fleet import ModelSpec, Recipe, train
from throughtime.fleet.train import Outcome
from throughtime.tasks import Block, Prepared, Task


def signs(N: int = 60, T: int = 6, seed: int = 0) -> Task:
    """Is the sum of the first of two features positive? Series of 1 to T steps."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, T + 1, N)
    lengths[:3] = T
    x = rng.normal(size=(N, T, 2)).astype(np.float32)
    x[np.arange(T) >= lengths[:, None]] = 0
    return Task(
        name="signs",
        problem="classification",
        x=x,
        lengths=lengths,
        y=(x[:, :, 0].sum(1) > 0).astype(np.int64),
        feature_names=("a", "b"),
        target_names=("sign",),
        class_names=("down", "up"),
        reader={"kind": "arrays", "missing": "error"},
    )


def sums(N: int = 60, T: int = 6, seed: int = 0) -> Task:
    """The sum of each of two features, times 10 and 1000."""
    task = signs(N, T, seed)
    y = (task.x.sum(1) * (10, 1000)).astype(np.float32)
    named: Any = {"target_names": ("tens", "thousands"), "class_names": ()}
    return replace(task, name="sums", problem="regression", y=y, **named)


def prepared(task: Task, seed: int = 0, scaling: Any = "standard") -> Prepared:
    return task.prepare(task.split(seed), scaling)


def spec_for(data: Prepared, **changes: Any) -> ModelSpec:
    phi = tt.activation(changes.pop("phi", "tanh")).to_config()
    wanted = {
        "cell": "rnn",
        "activation": phi,
        "input_size": min(data.vocabulary_size, 8) or data.input_size,
        "output_size": data.output_size,
        "hidden_size": 8,
        "per_step": data.per_step,
        "vocabulary": data.vocabulary_size,
    }
    return ModelSpec(**{**wanted, **changes})


def trained(data: Prepared, recipe: Recipe | None = None, seed: int = 0, **spec: Any) -> Outcome:
    higher = data.problem == "classification"
    recipe = recipe or Recipe(rate=1e-2, clip=1.0, batch_size=16, epochs=4)
    return train(data, spec_for(data, **spec), recipe, seed, higher_is_better=higher)


def same_weights(one: Outcome, other: Outcome) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def padded_with(block: Block, value: float) -> Block:
    """The block with ``value`` in every place beyond the lengths, of x and of per-step y."""
    beyond = torch.arange(block.x.shape[1]) >= block.lengths[:, None]

    def fill(values: torch.Tensor) -> torch.Tensor:
        filled = values.clone()
        filled[beyond] = value if values.is_floating_point() else 0
        return filled

    return replace(
        block,
        x=fill(block.x),
        y=block.y if block.counts is None else fill(block.y),
    )
