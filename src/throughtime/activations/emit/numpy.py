"""From an expression to a function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy
import torch

from throughtime.activations.emit.program import Step, program
from throughtime.activations.emit.python import ARITHMETIC, function
from throughtime.activations.primitives import FUNCTIONS, Expr

_ARRAYS = {
    **{f: f"np.{f}({{}})" for f in (*FUNCTIONS, "sqrt")},
    **ARITHMETIC,
    "Abs": "np.abs({})",
    "asinh": "np.arcsinh({})",
    "atan": "np.arctan({})",
    "erf": "_erf({})",
    "rsqrt": "1 / np.sqrt({})",
    "sigmoid": "_sigmoid({})",
    "softplus": "np.logaddexp({}, 0)",
    "where": "np.where({}, {}, {})",
}


def emit(expression: Expr, parameters: Sequence[sympy.Symbol]) -> Callable[..., Any]:
    """A function ``f(x, *parameters)`` of arrays or numbers; the result has the type of ``x``.

    Whole numbers are taken as float64.

    Example:
        >>> from throughtime.activations.primitives import x
        >>> emit(x**2, [])(np.array([1.0, 3.0])).tolist()
        [1.0, 9.0]
    """
    scope = {"np": np, "_erf": _erf, "_sigmoid": _sigmoid}
    inner = function(program([expression], parameters), _template, scope)

    def outer(x: Any, *theta: Any) -> Any:
        x = np.asarray(x)
        x = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)
        shape = np.broadcast_shapes(x.shape, *(np.shape(t) for t in theta))
        with np.errstate(all="ignore"):
            return np.broadcast_to(inner(x, *theta), shape).astype(x.dtype)[()]

    return outer


def _template(step: Step) -> str:
    return _ARRAYS[step.operation]


def _erf(u: Any) -> np.ndarray:
    return torch.erf(torch.as_tensor(np.asarray(u, order="C"))).numpy()


def _sigmoid(u: Any) -> np.ndarray:
    small = np.exp(-np.abs(u))
    return np.where(u >= 0, 1, small) / (1 + small)
