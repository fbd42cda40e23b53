"""Training: a network for sequences with any activation in its recurrent layer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from throughtime.fleet.model import ModelSpec, SequenceModel
from throughtime.fleet.train import Outcome, Recipe, train

_HOMES = {
    "SavedModel": "throughtime.fleet.saved",
    "SequenceClassifier": "throughtime.fleet.estimators",
    "SequenceRegressor": "throughtime.fleet.estimators",
}

__all__ = [
    "ModelSpec",
    "Outcome",
    "Recipe",
    "SavedModel",
    "SequenceClassifier",
    "SequenceModel",
    "SequenceRegressor",
    "train",
]

if TYPE_CHECKING:
    from throughtime.fleet.estimators import SequenceClassifier, SequenceRegressor
    from throughtime.fleet.saved import SavedModel


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'throughtime.fleet' has no attribute {name!r}")
