"""Recurrent networks with any activation, their gradients through time, and the evidence to choose."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {"Activation": "throughtime.activations", "activation": "throughtime.activations"}
_ROOMS = ("activations", "cells", "errors", "kernels", "nn")

__all__ = ["__version__", *_HOMES, *_ROOMS]

if TYPE_CHECKING:
    from throughtime import activations, cells, errors, kernels, nn
    from throughtime.activations import Activation, activation


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"throughtime.{name}")
    raise AttributeError(f"module 'throughtime' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
