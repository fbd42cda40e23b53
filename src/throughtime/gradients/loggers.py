"""Where a monitor's figures go: a logger is anything with ``write`` and ``close``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from throughtime.errors import MissingExtraError, TraceError
from throughtime.gradients.export import in_folder
from throughtime.language import say


class Logger(Protocol):
    """Two methods are enough."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the figures of one step of training."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class JsonLines:
    """One line of JSON a look: ``{"step": 16, "rnn.l0/gradient_first_step": 0.01, ...}``.

    Figures that are not finite are written as null.

    Args:
        path: the file, written anew.

    Raises:
        TraceError: the folder is not there.

    Example:
        >>> Monitor(net, optimiser, loggers=JsonLines("gradients.jsonl"))
    """

    def __init__(self, path: str | Path):
        self._file = in_folder(path).open("w", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line, at once on the disk."""
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Scalars for TensorBoard.

    Args:
        target: a folder, or a ``SummaryWriter`` of one's own, which is then left open.

    Raises:
        MissingExtraError: the package tensorboard is not installed.
    """

    def __init__(self, target: str | Path | Any):
        self._own = isinstance(target, (str, Path))
        self._writer: Any = _summary_writer(str(target)) if self._own else target

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one scalar a figure."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush; close the writer if it was made here."""
        self._writer.flush()
        if self._own:
            self._writer.close()


class Metrics:
    """For everything that takes a dictionary of figures and a step.

    Args:
        run: with ``log(values, step=...)``, as a run or the module of W&B, or with
            ``log_metrics(values, step=...)``, as the module of MLflow and the loggers of
            Lightning. It is left open.

    Raises:
        TraceError: it has neither.
    """

    def __init__(self, run: Any):
        names = [name for name in ("log_metrics", "log") if callable(getattr(run, name, None))]
        if not names:
            raise TraceError("gradients.no_logger", given=type(run).__name__)
        self._log = getattr(run, names[0])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Hand over the figures that are finite."""
        self._log({name: v for name, v in values.items() if math.isfinite(v)}, step=step)

    def close(self) -> None:
        """Nothing to close: the run belongs to the caller."""


def _summary_writer(folder: str) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as missing:
        feature = say("gradients.tensorboard")
        raise MissingExtraError(
            "language.extra_missing", feature=feature, package="tensorboard", extra="tensorboard"
        ) from missing
    return SummaryWriter(folder)
