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
from throughtime.cells.clock import Pointwise

GATE = activation("sigmoid")
LAYERS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}
# a pre-activation nearer to a kink than this may lie beyond it in float32
NEAR = 2e-6
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
        """The gradient that arrives at the outputs, (T, B, H).

        It is zero for a sequence with a pre-activation so near a kink of the activation that
        rounding decides which slope is used: its gradient has no one true value.
        """
        return self._draw(self.shape.H, 2) * self._decided.to(self.device, self.dtype)[:, None]

    @cached_property
    def truth(self) -> Answers:
        """Outputs and gradients of the weights, by the reference in float64 on the CPU."""
        wanted = {n: w.requires_grad_() for n, w in self._exact.items()}
        y = self.reference(self.x.double().cpu(), list(wanted.values()))
        found = torch.autograd.grad(y, list(wanted.values()), self.dy.double().cpu())
        return {"y": y.detach(), **dict(zip(wanted, found, strict=True))}

    @property
    def _exact(self) -> Answers:
        return {n: p.detach().double().cpu() for n, p in self.layer().named_parameters()}

    @cached_property
    def _decided(self) -> Tensor:
        """Which sequences keep clear of the kinks, (B,)."""
        decided = torch.ones(self.shape.B, dtype=torch.bool)
        kinks = self.phi.facts.kinks

        def phi(a: Tensor) -> Tensor:
            for kink in kinks:
                decided.logical_and_(((a - kink).abs() > NEAR).all(-1))
            return self.phi(a)

        if kinks:
            self.reference(self.x.double().cpu(), list(self._exact.values()), phi)
        return decided

    def reference(self, x: Tensor, weights: list[Tensor], phi: Pointwise | None = None) -> Tensor:
        """Outputs of the reference in plain PyTorch; ``phi`` in place of the activation."""
        phi = phi or self.phi
        places = {"elman": (phi,), "gru": (phi, GATE), "lstm": (phi, GATE, phi)}[self.cell]
        zeros = x.new_zeros(self.shape.B, self.shape.H)
        states = (zeros, zeros) if self.cell == "lstm" else (zeros,)
        return getattr(cells, self.cell)(x, *states, *weights, *places)[0]

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
