"""Recurrent networks with any activation, their gradients, and the evidence to choose."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "Activation": "throughtime.activations",
    "Plan": "throughtime.study",
    "SequenceClassifier": "throughtime.fleet",
    "SequenceRegressor": "throughtime.fleet",
    "activation": "throughtime.activations",
    "choose": "throughtime.study",
}
_ROOMS = (
    "activations",
    "cells",
    "errors",
    "fleet",
    "gradients",
    "kernels",
    "nn",
    "report",
    "study",
    "tasks",
    "testing",
)

__all__ = [
    "Activation",
    "Plan",
    "SequenceClassifier",
    "SequenceRegressor",
    "__version__",
    "activation",
    "activations",
    "cells",
    "choose",
    "errors",
    "fleet",
    "gradients",
    "kernels",
    "nn",
    "report",
    "study",
    "tasks",
    "testing",
]

if TYPE_CHECKING:
    from throughtime import (
        activations,
        cells,
        errors,
        fleet,
        gradients,
        kernels,
        nn,
        report,
        study,
        tasks,
        testing,
    )
    from throughtime.activations import Activation, activation
    from throughtime.fleet import SequenceClassifier, SequenceRegressor
    from throughtime.study import Plan, choose


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"throughtime.{name}")
    raise AttributeError(f"module 'throughtime' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
