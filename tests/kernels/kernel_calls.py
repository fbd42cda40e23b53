"""Calls of a cell with everything random, by the kernel and by the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from throughtime import cells, kernels
from throughtime.activations import Activation, BoundActivation, activation

GATES = {"elman": 1, "gru": 3, "lstm": 4}
PLACES = {"elman": 1, "gru": 2, "lstm": 3}
DEFAULTS = {"elman": ("tanh",), "gru": ("tanh", "sigmoid"), "lstm": ("tanh", "sigmoid", "tanh")}


@dataclass(frozen=True)
class Call:
    """A call; ``tensors`` are x, h0, (c0,) w_ih, w_hh, b_ih, b_hh, some of them None."""

    name: str
    tensors: tuple[Tensor | None, ...]
    places: tuple[Any, ...]
    options: dict[str, Any]

    def run(self, room=kernels) -> tuple[Tensor, ...]:
        return getattr(room, self.name)(*self.tensors, *self.places, **self.options)

    @property
    def leaves(self) -> list[Tensor]:
        theta = [t for p in self.places if isinstance(p, BoundActivation) for t in p.theta.values()]
        return [t for t in (*self.tensors, *theta) if t is not None and t.requires_grad]

    def gradients(self, room=kernels, weights: list[Tensor] | None = None) -> list[Tensor]:
        """Gradients of every leaf, of a random weighting of the outputs."""
        outputs = self.run(room)
        if weights is None:
            draw = torch.Generator().manual_seed(1)
            weights = [torch.randn(y.shape, generator=draw, dtype=y.dtype) for y in outputs]
        loss = sum((y * w).sum() for y, w in zip(outputs, weights, strict=True))
        found = torch.autograd.grad(loss, self.leaves, allow_unused=True, materialize_grads=True)
        return list(found)

    def to(self, dtype: torch.dtype) -> Call:
        def moved(t):
            return None if t is None else t.detach().to(dtype).requires_grad_(t.requires_grad)

        places = tuple(
            p.activation.bind({k: moved(t) for k, t in p.theta.items()})
            if isinstance(p, BoundActivation)
            else p
            for p in self.places
        )
        return replace(self, tensors=tuple(map(moved, self.tensors)), places=places)


def call(
    name: str,
    T: int,
    B: int,
    I: int,  # noqa: E741
    H: int,
    places: tuple[Any, ...] | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    bias: bool = True,
    seed: int = 0,
    **options: Any,
) -> Call:
    """A call with random tensors that all want a gradient."""
    draw = torch.Generator().manual_seed(seed)
    G = GATES[name]

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        t = torch.randn(shape, generator=draw, dtype=torch.float64) * scale
        return t.to(dtype).requires_grad_()

    states = [random(B, H) for _ in range(2 if name == "lstm" else 1)]
    biases = [random(G * H, scale=0.3) if bias else None for _ in range(2)]
    weights = random(G * H, I, scale=0.5), random(G * H, H, scale=0.7 / H**0.5)
    phis = tuple(p if callable(p) else activation(p) for p in (places or DEFAULTS[name]))
    return Call(name, (random(T, B, I), *states, *weights, *biases), phis, options)


def learnt(phi: Activation, H: int, seed: int = 2) -> BoundActivation:
    """The activation with every parameter a tensor, one value a unit for every other one."""
    draw = torch.Generator().manual_seed(seed)
    theta = {}
    for i, p in enumerate(phi.parameters.values()):
        shape = (H,) if i % 2 == 0 else ()
        near = 1 + 0.1 * torch.rand(shape, generator=draw, dtype=torch.float64)
        theta[p.name] = (p.default * near + 0.01).requires_grad_()
    return phi.bind(theta)


def assert_same(call: Call, atol: float = 1e-10) -> None:
    """Outputs and gradients of the kernel are those of the truth."""
    assert kernels.backend(call.name, call.tensors, call.places).name == "cpu"
    for ours, truth in zip(call.run(), call.run(cells), strict=True):
        torch.testing.assert_close(ours, truth, rtol=atol, atol=atol)
    for ours, truth in zip(call.gradients(), call.gradients(cells), strict=True):
        scale = max(1.0, truth.abs().max().item()) if truth.numel() else 1.0
        torch.testing.assert_close(ours, truth, rtol=0, atol=atol * scale)
