"""The monitor as a callback of Lightning."""

from __future__ import annotations

from typing import Any

from throughtime.errors import MissingExtraError
from throughtime.gradients.loggers import Metrics
from throughtime.gradients.monitor import Monitor
from throughtime.language import say

try:
    from lightning.pytorch import Callback
except ImportError as missing:
    raise MissingExtraError(
        "language.extra_missing",
        feature=say("gradients.lightning"),
        package="lightning",
        extra="lightning",
    ) from missing


class GradientMonitor(Callback):
    """Gradients through time in every logger of the trainer.

    Args:
        options: of :class:`throughtime.gradients.Monitor`, such as ``every`` and ``sequences``.

    Attributes:
        monitor: the monitor once training has begun; its ``findings`` stay readable after it.

    Example:
        >>> Trainer(callbacks=[GradientMonitor(every=16)])
    """

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options
        self.monitor: Monitor | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to look."""
        loggers = [*self.options.get("loggers", ()), *map(Metrics, trainer.loggers)]
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        options = {"scaler": scaler, **self.options, "loggers": loggers}
        self.monitor = Monitor(pl_module, trainer.optimizers, **options)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Take everything out again."""
        if self.monitor is not None:
            self.monitor.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take everything out again."""
        self.on_train_end(trainer, pl_module)
