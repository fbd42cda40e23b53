"""The monitor as a callback of skorch."""

from __future__ import annotations

from typing import Any

from throughtime.errors import MissingExtraError
from throughtime.gradients.monitor import Monitor
from throughtime.language import say

try:
    from skorch.callbacks import Callback
except ImportError as missing:
    raise MissingExtraError(
        "language.extra_missing", feature=say("gradients.skorch"), package="skorch", extra="skorch"
    ) from missing


class GradientMonitor(Callback):
    """Gradients through time in the history of the net.

    The latest figures of every epoch stand in ``net.history`` under ``gradients/...``.

    Args:
        every: steps from one look to the next.
        sequences: how many sequences of a batch are looked at.
        loggers: where figures go besides.

    Attributes:
        monitor_: the monitor once training has begun.

    Example:
        >>> NeuralNetClassifier(module, callbacks=[GradientMonitor(every=16)])
    """

    def __init__(self, every: int = 16, sequences: int | None = 6, loggers: Any = ()):
        self.every, self.sequences, self.loggers = every, sequences, loggers

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Begin to look."""
        self.monitor_ = Monitor(
            net.module_,
            net.optimizer_,
            every=self.every,
            sequences=self.sequences,
            loggers=self.loggers,
        )

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Write the latest figures into the history."""
        if self.monitor_.history:
            for name, value in self.monitor_.history[-1].scalars().items():
                net.history.record(f"gradients/{name}", value)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Take everything out again."""
        self.monitor_.close()
