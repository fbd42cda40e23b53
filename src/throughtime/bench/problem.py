"""One training step, its truth in float64, and how far a contender is from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from throughtime import cells, nn
from throughtime.activations import Activation, activation
from throughtime.bench.shapes import Shape

LAYERS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}
# distance allowed, relative to the largest number of each tensor
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 6e-2, torch.float16: 1e-2}

Answers = dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """A layer's training step: weights and data, drawn from one seed.

    Attributes:
        cell: ``"elman"``, ``"gru"`` or ``"lstm"``.
        phi: activation of the state; gates are sigmoid.
        shape: its sizes.
        device: where it runs.
        dtype: in which format.
    """

    cell: str
    phi: Activation
    shape: Shape
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def layer(self, room: Any = nn, step: bool = False) -> Any:
        """The layer (or its cell for one step) of ``throughtime.nn`` or ``torch.nn``.

        The same weights in both; ``torch.nn`` knows no activation but tanh and, in its RNN, relu.
        """
        options: dict[str, object] = {"device": self.device, "dtype": self.dtype}
        if self.cell == "elman":
            options["nonlinearity"] = self.phi if room is nn else self.phi.name
        elif room is nn:
            options["activation"] = self.phi
        torch.manual_seed(0)
        kind = LAYERS[self.cell] + ("Cell" if step else "")
        return getattr(room, kind)(self.shape.I, self.shape.H, **options)

    def _draw(self, width: int, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        numbers = torch.randn(self.shape.T, self.shape.B, width, generator=draw)
        return numbers.to(self.device, self.dtype)

    @cached_property
    def x(self) -> Tensor:
        """Input (T, B, I): data, of which no gradient is asked."""
        return self._draw(self.shape.I, 1)

    @cached_property
    def dy(self) -> Tensor:
        """The gradient that arrives at the outputs, (T, B, H)."""
        return self._draw(self.shape.H, 2)

    @cached_property
    def truth(self) -> Answers:
        """Outputs and gradients of the weights, by the reference in float64 on the CPU."""
        weights = {n: p.detach().double().cpu() for n, p in self.layer().named_parameters()}
        wanted = {n: p.requires_grad_() for n, p in weights.items()}
        y = self.reference(self.x.double().cpu(), list(wanted.values()))
        y.backward(self.dy.double().cpu())
        return {"y": y.detach()} | {n: p.grad for n, p in wanted.items() if p.grad is not None}

    def reference(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        """Outputs of the reference in plain PyTorch."""
        zeros = x.new_zeros(self.shape.B, self.shape.H)
        states = (zeros, zeros) if self.cell == "lstm" else (zeros,)
        return getattr(cells, self.cell)(x, *states, *weights, *self._places)[0]

    @cached_property
    def _places(self) -> tuple[Activation, ...]:
        gate = activation("sigmoid")
        return {
            "elman": (self.phi,),
            "gru": (self.phi, gate),
            "lstm": (self.phi, gate, self.phi),
        }[self.cell]

    def distance(self, answers: Answers) -> float:
        """The largest relative distance from the truth; NaN or infinite where one is not finite."""
        return max(
            ((mine.double().cpu() - self.truth[name]).abs().max() / _size(self.truth[name])).item()
            if mine.isfinite().all()
            else float("inf")
            for name, mine in answers.items()
        )

    def passes(self, distance: float) -> bool:
        """Whether a contender so far from the truth computes the same thing."""
        return distance <= TOLERANCE[self.dtype]


def _size(truth: Tensor) -> Tensor:
    return truth.abs().max().clamp_min(1e-12)
