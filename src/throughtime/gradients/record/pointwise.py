"""An activation as the diagnosis needs it: its value, its slope and the steepest slope it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pointwise:
    """φ, φ' and sup|φ'| of one place in a recurrence.

    Attributes:
        name: how it is called in findings.
        value: φ, tensor to tensor.
        slope: φ', tensor to tensor, without a graph.
        steepest: sup|φ'|; what "on" and "saturated" are measured against.
        slope_of: φ' from φ, where that is all it takes.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    steepest: float
    slope_of: Callable[[Tensor], Tensor] | None = None


def pointwise(phi: object) -> Pointwise:
    """``phi`` as a :class:`Pointwise`: a name of torch.nn, an ``Activation`` or any callable.

    The slope of a plain callable comes from autograd, its steepest slope from a fine grid on
    [-30, 30].

    Example:
        >>> pointwise("tanh").slope(torch.zeros(1))
        tensor([1.])
    """
    if isinstance(phi, Pointwise):
        return phi
    if isinstance(phi, str) and phi in _TORCH:
        return _TORCH[phi]
    if isinstance(phi, str):
        from throughtime.activations import activation

        phi = activation(phi)
    if not callable(phi):
        from throughtime.errors import TraceError

        raise TraceError("gradients.not_an_activation", given=repr(phi))
    if (known := _TORCH.get(_name(phi))) is not None and _is_of_catalogue(phi):
        return known
    if getattr(phi, "theta", None):
        return _of_callable(phi)  # pyright: ignore[reportArgumentType]
    return _of_fixed(phi)  # pyright: ignore[reportArgumentType]


def _is_of_catalogue(phi: object) -> bool:
    from throughtime.activations import activation

    return phi is activation(_name(phi))


@lru_cache(maxsize=256)
def _of_fixed(phi: Callable[..., Tensor]) -> Pointwise:
    return _of_callable(phi)


def _of_callable(phi: Callable[..., Tensor]) -> Pointwise:
    bound: Any = getattr(phi, "activation", phi)
    learnt = getattr(phi, "theta", {})
    theta = {k: v.detach().clone() for k, v in learnt.items()}
    derivative = getattr(bound, "derivative", None)

    def value(a: Tensor) -> Tensor:
        return bound(a, **theta)

    def slope(a: Tensor) -> Tensor:
        if derivative is None:
            return _slope_by_autograd(value, a)
        with torch.no_grad():
            return derivative(a, **theta)

    function = bound.bind(theta) if theta else bound
    return Pointwise(_name(bound), function, slope, _steepest(slope, theta))


def _name(phi: object) -> str:
    for attribute in ("name", "__name__"):
        if isinstance(name := getattr(phi, attribute, None), str):
            return name
    return type(phi).__name__.lower()


def _slope_by_autograd(phi: Callable[[Tensor], Tensor], a: Tensor) -> Tensor:
    with torch.enable_grad():
        point = a.detach().requires_grad_()
        return torch.autograd.grad(phi(point).sum(), point)[0]


def _steepest(slope: Callable[[Tensor], Tensor], theta: dict) -> float:
    units = max((v.numel() for v in theta.values() if isinstance(v, Tensor)), default=1)
    like = next((v for v in theta.values() if isinstance(v, Tensor)), torch.zeros(1))
    grid = torch.linspace(-30, 30, 6001, dtype=like.dtype, device=like.device)
    slopes = slope(grid.unsqueeze(-1).expand(-1, units)).abs()
    return slopes[slopes.isfinite()].max().item()


_ONE = torch.ones(())
_TORCH = {
    "tanh": Pointwise(
        "tanh",
        torch.tanh,
        lambda a: 1 - torch.tanh(a) ** 2,
        1.0,
        lambda y: torch.addcmul(_ONE.to(y), y, y, value=-1),
    ),
    "relu": Pointwise("relu", torch.relu, lambda a: (a > 0).to(a.dtype), 1.0),
    "sigmoid": Pointwise(
        "sigmoid",
        torch.sigmoid,
        lambda a: torch.sigmoid(a) * torch.sigmoid(-a),
        0.25,
        lambda y: torch.addcmul(y, y, y, value=-1),
    ),
}
