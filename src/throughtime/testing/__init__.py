"""The contracts of this package, to be run on parts of one's own.

What these functions ask of a person's activation is what the package's own tests ask of every
entry of the catalogue.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from throughtime.activations import Activation, activation
from throughtime.language import say

__all__ = ["check_activation"]

_WIDE = torch.cat(
    [
        torch.linspace(-1e4, 1e4, 4001),
        torch.linspace(-40, 40, 4001),
        *(s * torch.logspace(-30, 4, 500) for s in (-1.0, 1.0)),
    ]
)
_NARROW = torch.linspace(-12.03, 12.07, 1201, dtype=torch.float64)
_LARGEST = torch.finfo(torch.float32).max


def check_activation(phi: str | Activation) -> None:
    """Check that an activation does everywhere what layers, kernels and reports rely on.

    At the defaults and at other values of its parameters: value, slope, gradient and the gradient
    of the slope are never NaN in float32 on [-10⁴, 10⁴], and infinite only where the function
    itself leaves the numbers of float32; float32 agrees with float64; the slope is autograd's and
    that of small differences; so is every parameter's; NumPy agrees with PyTorch; NaN stays NaN;
    shape and type are kept; no parameter is without effect; a saved copy is the same function;
    range and Lipschitz constant of its facts hold on a dense grid.

    Takes about half a second. Use it in a test of your own.

    Args:
        phi: an activation, or a name of the catalogue.

    Raises:
        AssertionError: what is wrong, and where.

    Example:
        >>> from throughtime import Activation
        >>> check_activation(Activation("mine", "x*sigmoid(beta*x)", beta=1.0))
    """
    phi = activation(phi)
    for theta in _settings(phi):
        _finite(phi, theta)
        _precise(phi, theta)
        _slope(phi, theta)
        _arrays(phi, theta)
        _parameters(phi, theta)
    _nan_stays(phi)
    _shapes(phi)
    _saved(phi)
    _facts(phi)


def _settings(phi: Activation) -> Iterator[dict[str, float]]:
    """The defaults, then each parameter at smaller and larger values within its bounds."""
    yield {}
    for p in phi.parameters.values():
        for value in (p.default / 2, 2 * p.default, p.default + 0.3, p.default - 0.3):
            if p.low <= value <= p.high and value != p.default:
                yield {p.name: value}


def _finite(phi: Activation, theta: Mapping[str, float]) -> None:
    exact, exact_slope = (f(_WIDE.double(), **theta) for f in (phi, phi.derivative))
    found = {
        "value": (phi(_WIDE, **theta), exact),
        "slope": (phi.derivative(_WIDE, **theta), exact_slope),
        "gradient": (_gradient(lambda a: phi(a, **theta), _WIDE), exact_slope),
        "bend": (_gradient(lambda a: phi.derivative(a, **theta), _WIDE), None),
    }
    for what, (value, true) in found.items():
        vast = torch.zeros_like(value, dtype=torch.bool)
        if true is not None:
            vast = ~(true.abs() <= _LARGEST / 4) & ~true.isnan()
        good = value.isfinite() | (vast & ~value.isnan())
        if what == "bend":
            good = ~value.isnan()
        _all(good, phi, "check_finite", theta, _WIDE, value, what=say(f"activations.{what}"))


def _precise(phi: Activation, theta: Mapping[str, float]) -> None:
    """Within rounding of the input and of a few operations, away from kinks."""
    a = _WIDE.double()
    at_kink = torch.zeros_like(a, dtype=torch.bool)
    facts = phi.with_parameters(**theta).facts
    for kink in facts.kinks:
        at_kink |= (a - kink).abs() <= 1e-6 * (1 + abs(kink))
    steepest = facts.steepest if math.isfinite(facts.steepest) else 1.0
    slope = phi.derivative(a, **theta)
    bend = _gradient(lambda a: phi.derivative(a, **theta), a)
    cases = {"value": (phi, slope), "slope": (phi.derivative, bend)}
    for what, (function, steepness) in cases.items():
        found, true = function(_WIDE, **theta).double(), function(a, **theta)
        from_input = (a * steepness).abs().nan_to_num(nan=0.0)  # 0 · inf at 0 rounds nothing
        room = 1e-5 * (max(1.0, steepest) + true.abs() + from_input)
        good = ((found - true).abs() <= room) | ~true.isfinite() | (true.abs() > _LARGEST / 4)
        good |= at_kink & (what == "slope")
        name = say(f"activations.{what}")
        _all(good, phi, "check_precise", theta, a, found, what=name, expected=true)


def _slope(phi: Activation, theta: Mapping[str, float]) -> None:
    found = phi.derivative(_NARROW, **theta)
    by_autograd = _gradient(lambda a: phi(a, **theta), _NARROW)
    room = 1e-10 * (1 + by_autograd.abs())
    good = (found - by_autograd).abs() <= room
    _all(good, phi, "check_autograd", theta, _NARROW, found, expected=by_autograd)
    h = 1e-5
    differences = (phi(_NARROW + h, **theta) - phi(_NARROW - h, **theta)) / (2 * h)
    bend = (phi.derivative(_NARROW + h, **theta) - phi.derivative(_NARROW - h, **theta)).abs()
    good = (found - differences).abs() <= 1e-6 * (1 + found.abs()) + bend
    _all(
        good | ~_smooth_at(phi, theta, h),
        phi,
        "check_differences",
        theta,
        _NARROW,
        found,
        expected=differences,
    )


def _smooth_at(phi: Activation, theta: Mapping[str, float], h: float) -> Tensor:
    kinks = phi.with_parameters(**theta).facts.kinks
    away = torch.ones_like(_NARROW, dtype=torch.bool)
    for kink in kinks:
        away &= (_NARROW - kink).abs() > 2 * h
    return away


def _arrays(phi: Activation, theta: Mapping[str, float]) -> None:
    for function in (phi, phi.derivative):
        found = torch.from_numpy(function(_NARROW.numpy(), **theta).copy())
        true = function(_NARROW, **theta)
        good = (found - true).abs() <= 1e-11 * (1 + true.abs())
        _all(good, phi, "check_arrays", theta, _NARROW, found, expected=true)


def _parameters(phi: Activation, theta: Mapping[str, float]) -> None:
    for p in phi.parameters.values():
        value = theta.get(p.name, p.default)
        by_units = torch.full_like(_NARROW, value).requires_grad_()
        output = phi(_NARROW, **{**theta, p.name: by_units})
        true = torch.zeros_like(_NARROW)
        if output.requires_grad:
            (true,) = torch.autograd.grad(output.sum(), by_units)
        found = phi.parameter_derivative(p.name)(_NARROW, **theta)
        good = (found - true).abs() <= 1e-9 * (1 + true.abs())
        _all(good, phi, "check_parameter", theta, _NARROW, found, parameter=p.name, expected=true)
        if not theta:
            with_effect = any(
                not torch.equal(phi(_WIDE, **other), phi(_WIDE))
                for other in _settings(phi)
                if p.name in other
            )
            _require(with_effect, phi, "check_no_effect", parameter=p.name)


def _nan_stays(phi: Activation) -> None:
    """A run that diverges must not look healthy behind a branch that NaN does not take."""
    if phi.facts.steepest == 0:
        return
    for dtype in (torch.float32, torch.float64):
        found = phi(torch.full((3,), math.nan, dtype=dtype))
        _require(bool(found.isnan().all()), phi, "check_nan", found=found[0].item())


def _shapes(phi: Activation) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for shape in ((), (0,), (3, 0, 2), (2, 5)):
            a = torch.zeros(shape, dtype=dtype)
            for function in (phi, phi.derivative):
                y = function(a)
                same = y.shape == a.shape and y.dtype == dtype
                given, found = f"{tuple(a.shape)} {a.dtype}", f"{tuple(y.shape)} {y.dtype}"
                _require(same, phi, "check_shape", given=given, found=found)


def _saved(phi: Activation) -> None:
    for copy in (Activation.from_config(phi.to_config()), pickle.loads(pickle.dumps(phi))):
        same = copy == phi and torch.equal(copy(_NARROW), phi(_NARROW))
        _require(same, phi, "check_saved")


def _facts(phi: Activation) -> None:
    facts = phi.facts
    values = phi(_NARROW.numpy())
    size = np.abs(values).max(initial=1.0)
    good = (values >= facts.range.low - 1e-12 * size) & (values <= facts.range.high + 1e-12 * size)
    found = torch.from_numpy(values.copy())
    _all(torch.from_numpy(good), phi, "check_range", {}, _NARROW, found, expected=str(facts.range))
    steps = np.abs(np.diff(values)) / np.diff(_NARROW.numpy())
    good = torch.from_numpy(steps <= facts.lipschitz * (1 + 1e-9) + 1e-9)
    found = torch.from_numpy(steps.copy())
    _all(good, phi, "check_lipschitz", {}, _NARROW[1:], found, expected=f"{facts.lipschitz:g}")


def _gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    y = function(at)
    return torch.autograd.grad(y.sum(), at)[0] if y.requires_grad else torch.zeros_like(at)


def _all(
    good: Tensor,
    phi: Activation,
    key: str,
    theta: Mapping[str, float],
    at: Tensor,
    found: Tensor,
    expected: Tensor | str = "",
    **fields: object,
) -> None:
    """Every lane must be good; the message shows the first that is not."""
    if good.all():
        return
    i = int((~good).nonzero()[0])
    fields |= {
        "x": f"{at[i].item():.9g}",
        "found": f"{found[i].item():.9g}",
        "expected": f"{expected[i].item():.9g}" if isinstance(expected, Tensor) else expected,
        "theta": "".join(f", {k} = {v:g}" for k, v in theta.items()),
    }
    _require(False, phi, key, **fields)


def _require(holds: bool, phi: Activation, key: str, **fields: Any) -> None:
    if not holds:
        about = {"name": phi.name, "formula": phi.formula, **fields}
        raise AssertionError(say(f"activations.{key}", **about))
