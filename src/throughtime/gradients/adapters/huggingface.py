"""The monitor as a callback of the Trainer of Hugging Face."""

from __future__ import annotations

from typing import Any

from throughtime.errors import MissingExtraError
from throughtime.gradients.monitor import Monitor
from throughtime.language import say

try:
    from transformers import TrainerCallback  # pyright: ignore
except ImportError as missing:
    raise MissingExtraError(
        "language.extra_missing",
        feature=say("gradients.huggingface"),
        package="transformers",
        extra="huggingface",
    ) from missing


class GradientMonitor(TrainerCallback):
    """Gradients through time of a recurrent model trained by the Trainer.

    Args:
        options: of :class:`throughtime.gradients.Monitor`, such as ``every`` and ``loggers``.

    Attributes:
        monitor: the monitor once training has begun.

    Example:
        >>> Trainer(model, arguments, callbacks=[GradientMonitor(every=16)])
    """

    def __init__(self, **options: Any):
        self.options = options
        self.monitor: Monitor | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to look."""
        optimizer = kwargs.get("optimizer")
        # accelerate wraps the optimiser; the hook belongs on the one inside
        optimizer = getattr(optimizer, "optimizer", optimizer)
        self.monitor = Monitor(kwargs["model"], optimizer, **self.options)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take everything out again."""
        if self.monitor is not None:
            self.monitor.close()
