"""``Monitor``: gradients through time while a network trains, every so many steps."""

from __future__ import annotations

import os
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.errors import ThroughtimeWarning, TraceError
from throughtime.gradients import export
from throughtime.gradients.advise import Finding, Training, advise
from throughtime.gradients.loggers import Logger
from throughtime.gradients.measure import (
    Budget,
    Census,
    Signal,
    Split,
    Underflow,
    budget,
    census,
    signal,
    signal_to_noise,
    split,
    underflow,
    update_ratio,
)
from throughtime.gradients.measure.beside import side_by_side
from throughtime.gradients.measured import looks, measured
from throughtime.gradients.record.capture import Call, Capture, Chain
from throughtime.gradients.record.layers import layer_count, recurrent_modules
from throughtime.gradients.record.record import Record
from throughtime.gradients.tracing import records_of, unwrapped
from throughtime.kernels.tap import TOLD


@dataclass(frozen=True)
class Layer:
    """What was measured of one layer and direction at one step of training."""

    signal: Signal
    split: Split
    budget: Budget
    census: Census
    noise: np.ndarray
    underflow: Underflow

    @classmethod
    def of(cls, record: Record) -> Layer:
        """Measures 1, 2, 3, 8 and of 12 what one record tells."""
        measures = {
            "budget": budget,
            "split": split,
            "census": census,
            "signal": signal,
            "underflow": underflow,
            "noise": signal_to_noise,
        }
        calls = {name: partial(measure, record) for name, measure in measures.items()}
        return cls(**side_by_side(record.lengths.device, calls))

    def scalars(self) -> dict[str, float]:
        """The figures that loggers are given."""
        arriving = self.signal.total[np.isfinite(self.signal.total)]
        ends = (arriving[0], arriving[-1]) if len(arriving) else (np.nan, np.nan)
        shares = self.census.shares
        return {
            "gradient_first_step": float(ends[0]),
            "gradient_last_step": float(ends[1]),
            "log_gain_activation": _mean(self.split.slope),
            "log_gain_weights": _mean(self.split.weights),
            "budget_last_steps": float(self.budget.last_steps),
            "share_never_on": shares.get("never_on", 0.0),
            "share_latched": shares.get("latched", 0.0),
            "share_always_on": shares.get("always_on", 0.0),
            "share_flat": float(1 - self.census.on.mean()),
            "signal_to_noise": _mean(self.noise),
            "share_underflow": self.underflow.zero + self.underflow.subnormal,
        }


@dataclass(frozen=True)
class Sight:
    """One look at a training step.

    Attributes:
        step: of the optimiser, counted from 0.
        layers: by key of the record.
        updates: log10 of rms(update)/rms(weight) by name of the recurrent weights.
        clips: ‖gradient used‖/‖gradient found‖ by name; NaN where ``.grad`` was gone already.
    """

    step: int
    layers: Mapping[str, Layer]
    updates: Mapping[str, float]
    clips: Mapping[str, float]

    def scalars(self) -> dict[str, float]:
        """All figures by name, ``layer/figure``."""
        found = {
            f"{key}/{name}": value
            for key, layer in self.layers.items()
            for name, value in layer.scalars().items()
        }
        found |= {f"{name}/log10_update": value for name, value in self.updates.items()}
        return found | {f"{name}/clip_factor": value for name, value in self.clips.items()}


class Monitor(AbstractContextManager):
    """Look at the gradients through time at every ``every``-th step of a training run.

    The run itself is untouched: weights come out the same, bit for bit. Between the steps looked
    at nothing is installed in the model. A monitor never stops a run: what it cannot record it
    tells in a warning and then leaves alone.

    Args:
        model: what is trained.
        optimizer: one optimiser or several; then nothing has to be called. Without it call
            :meth:`step` after each ``optimizer.step()``, before the gradients are set to zero.
        every: steps from one look to the next.
        sequences: how many sequences of a batch are looked at; None for all.
        loggers: where figures go, see :mod:`throughtime.gradients.loggers`.
        keep: how many looks ``history`` holds.
        scaler: the ``GradScaler`` of mixed precision, whose factor is divided out.

    Example:
        >>> monitor = Monitor(net, optimiser, every=16)
        >>> for batch in loader:
        ...     loss = loss_fn(net, batch)
        ...     optimiser.zero_grad()
        ...     loss.backward()
        ...     optimiser.step()
        >>> monitor.findings(lag=20)
        ()
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any = None,
        *,
        every: int = 16,
        sequences: int | None = 6,
        loggers: Iterable[Logger] | Logger = (),
        keep: int = 256,
        scaler: Any = None,
    ):
        if every < 1:
            raise TraceError("gradients.every", every=every)
        if sequences is not None and sequences < 1:
            raise TraceError("gradients.sequences", sequences=sequences)
        model = unwrapped(model)
        self.every, self.sequences = every, sequences
        self.history: deque[Sight] = deque(maxlen=keep)
        self.records: dict[str, Record] = {}
        self.seconds = 0.0
        self._modules = list(recurrent_modules(model))
        if not self._modules:
            kinds = sorted({type(m).__name__ for m in model.modules()})
            raise TraceError("gradients.no_recurrent_layer", modules=", ".join(kinds))
        self._weights = dict(_recurrent_weights(self._modules))
        self._loggers: list[Logger] = list(loggers) if isinstance(loggers, Iterable) else [loggers]
        self._scaler = scaler
        self._model = type(model).__name__
        self._step, self._began = 0, time.perf_counter()
        self._capture: Capture | None = None
        self._handles: list[Any] = []
        self._found: dict[str, float] = {}
        self._before: dict[str, Tensor] = {}
        self._optimizers = [
            o.register_step_post_hook(lambda *_: self.step()) for o in _several(optimizer)[-1:]
        ]
        self._look()

    def step(self) -> None:
        """Tell that the optimiser has made a step; it does so itself if it was given."""
        if self._capture is None and (self._step + 1) % self.every:  # nothing to do
            self._step += 1
            return
        with self._timed():
            if self._capture is not None:
                try:
                    self._take(self._capture)
                except TraceError as cannot:
                    warnings.warn(str(cannot), ThroughtimeWarning, stacklevel=2)
                    self._modules = []
                finally:
                    self._release()
            self._step += 1
            self._look()

    def findings(self, lag: int | None = None) -> tuple[Finding, ...]:
        """What is wrong, from the last look and the updates so far; see :func:`advise`."""
        trained = [name for name, weight in self._weights.items() if weight.requires_grad]
        training = Training(
            {name: [sight.updates[name] for sight in self.history] for name in trained},
            {name: [sight.clips[name] for sight in self.history] for name in trained},
        )
        return advise(self.records, lag=lag, training=training)

    @property
    def overhead(self) -> float:
        """Time spent in the monitor over the time spent outside it since it began."""
        outside = time.perf_counter() - self._began - self.seconds
        return self.seconds / max(outside, 1e-9)

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        lag: int | None = None,
        costly: bool = False,
        compare: Sequence[str] | None = None,
        title: str | None = None,
        language: str | None = None,
    ) -> Path:
        """Write the page of the last look, with a slider over all that ``history`` holds.

        Args:
            path: of the file; written beside and moved into place.
            lag: how many steps back the task needs the network to look.
            costly: take the lag map and the Lyapunov spectrum too; the page says what is left out.
            compare: activations to forecast the flow with; ``()`` for none.
            title: what the page calls the model; its class by default.
            language: ``"en"`` or ``"zh"`` to open in; by default the reader's browser decides.

        Raises:
            TraceError: nothing was looked at yet, or the folder is not there.

        Example:
            >>> monitor.to_html("training.html")  # doctest: +SKIP
            PosixPath('training.html')
        """
        from throughtime.report.gradients.page import View, render

        if not self.records:
            raise TraceError("traces.monitor_empty")
        view = View(
            title=title if title is not None else self._model,
            records=measured(self.records, costly=costly, compare=compare),
            findings=self.findings(lag),
            lag=lag,
            history=looks(self.history),
            overhead=self.overhead,
        )
        return export.write(path, render(view, language=language))

    def close(self) -> None:
        """Take everything out of model and optimiser, and close the loggers."""
        self._release()
        for handle in self._optimizers:
            handle.remove()
        self._optimizers = []
        self._modules = []
        for logger in self._loggers:
            logger.close()
        self._loggers = []

    def __exit__(self, *exception) -> None:
        self.close()

    def _look(self) -> None:
        """Watch the coming step, if it is due."""
        if not self._modules or self._step % self.every:
            return
        self._capture = Capture(self._modules, limit=4, sequences=self.sequences)
        self._capture.__enter__()
        for name, weight in self._weights.items():
            self._before[name] = weight.detach().clone()
            self._handles.append(
                weight.register_post_accumulate_grad_hook(
                    lambda p, name=name: self._found.__setitem__(name, _norm(p.grad))
                )
            )

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.__exit__(None, None, None)
            self._capture = None
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._found.clear()
        self._before.clear()

    def _take(self, capture: Capture) -> None:
        capture.calls = _last_with_gradient(capture.calls)
        capture.chains = _last_with_gradient(capture.chains)
        if not capture.calls and not capture.chains:
            names = ", ".join(name or type(m).__name__ for name, m in self._modules)
            raise TraceError("gradients.monitor_saw_nothing", layers=names)
        scale = 1.0 if self._scaler is None else float(self._scaler.get_scale())
        for seen in (*capture.calls, *capture.chains):
            _divide(seen, scale)
        self.records = records_of(capture)
        layers = {key: Layer.of(record) for key, record in self.records.items()}
        updates = {name: update_ratio(self._before[name], w) for name, w in self._weights.items()}
        clips = {name: self._clip(name, w, scale) for name, w in self._weights.items()}
        sight = Sight(self._step, layers, updates, clips)
        self.history.append(sight)
        for logger in self._loggers:
            logger.write(self._step, sight.scalars())

    def _clip(self, name: str, weight: Tensor, scale: float) -> float:
        found = self._found.get(name, 0.0) / scale
        return _norm(weight.grad) / found if weight.grad is not None and found > 0 else np.nan

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


def _last_with_gradient(seen: list[Any]) -> list[Any]:
    """The last call of each module through which a gradient came back."""
    return list({one.name: one for one in seen if one.cotangents.found}.values())


def _divide(seen: Call | Chain, scale: float) -> None:
    if scale == 1:
        return
    found = seen.cotangents.found
    seen.cotangents.found = {name: g.float() / scale for name, g in found.items()}
    for told in seen.tapped.values() if isinstance(seen, Call) else ():
        told.update({name: told[name] / scale for name in TOLD & told.keys()})


def _recurrent_weights(
    modules: Iterable[tuple[str, nn.Module]],
) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in modules:
        wanted = [f"weight_hh_l{layer}" for layer in range(layer_count(module))] + ["weight_hh"]
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and key.removesuffix("_reverse") in wanted:
                yield ".".join(p for p in (name, key) if p), parameter


def _several(optimizer: Any) -> list[Any]:
    if optimizer is None:
        return []
    return list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]


def _norm(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
