"""The page-long truth of each recurrence, in plain PyTorch, with any activation in every place.

Every faster way to run a recurrence must agree with these functions in outputs and gradients.
"""

from throughtime.cells.elman import elman
from throughtime.cells.gru import gru
from throughtime.cells.lstm import lstm

__all__ = ["elman", "gru", "lstm"]
