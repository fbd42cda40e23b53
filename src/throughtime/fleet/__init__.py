"""Training: a network for sequences with any activation in its recurrent layer."""

from throughtime.fleet.model import ModelSpec, SequenceModel
from throughtime.fleet.train import Outcome, Recipe, train

__all__ = ["ModelSpec", "Outcome", "Recipe", "SequenceModel", "train"]
