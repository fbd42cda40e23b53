"""``trace``: one backward pass of a model, watched."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from throughtime.errors import TraceError
from throughtime.gradients import export
from throughtime.gradients.advise import Finding, advise
from throughtime.gradients.advise.reference import SAMPLE
from throughtime.gradients.measured import measured, measures
from throughtime.gradients.plain import plain
from throughtime.gradients.record.capture import Capture, data_of
from throughtime.gradients.record.layers import cell_kind, fused_kind, recurrent_modules
from throughtime.gradients.record.record import Record
from throughtime.gradients.record.replay import record_of_chain, records_of_call
from throughtime.gradients.record.undisturbed import undisturbed

if TYPE_CHECKING:
    from rich.console import Group

Route = Literal["auto", "adjoint", "probe"]


@dataclass(frozen=True)
class _Rebuilt:
    """∇W_hh of one layer and direction of a module, and the records from which it follows too."""

    module: str
    gradient: Tensor
    records: list[Record]

    def distance(self) -> Tensor:
        """Between the two, relative, both times one random vector.

        Source:
            R. Freivalds, Probabilistic machines can use less running time (1977): a product of
            matrices that is wrong does not pass.
        """
        draw = torch.Generator().manual_seed(0)
        v = torch.randn(self.gradient.shape[1], generator=draw).to(self.gradient)
        ours = sum(r.weight_gradient_along(v.to(r.run.x)) for r in self.records)
        theirs = self.gradient @ v
        return (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-300)


@dataclass(frozen=True)
class Trace:
    """What flowed back through every recurrent layer of a model in one backward pass.

    Attributes:
        records: one :class:`Record` a layer and direction, bottom first.
        loss: the value of the loss.
        model: name of the model's class.
        step_seconds: what the model's own pass forward and back took, watched.
        seconds: what the whole trace took; the rest went into the records.
    """

    records: Mapping[str, Record]
    loss: float
    model: str = ""
    step_seconds: float = float("nan")
    seconds: float = float("nan")
    _rebuilt: tuple[_Rebuilt, ...] = field(default=(), repr=False, compare=False)
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Trace({self.model}, loss={self.loss:.4g}, records={list(self.records.values())})"

    @cached_property
    def check(self) -> Mapping[str, float]:
        """How exact the records are: the distance of ∇W_hh from them to autograd's own, a module.

        The largest relative one of all its layers and directions, both times a random vector.
        """
        check: dict[str, float] = {}
        for one in self._rebuilt:
            distance = one.distance()
            known = distance.new_tensor(check.get(one.module, 0.0))
            check[one.module] = torch.maximum(distance, known).item()
        return check

    def findings(self, lag: int | None = None) -> tuple[Finding, ...]:
        """What is wrong, causes before consequences, ``()`` for nothing; see :func:`advise`.

        Args:
            lag: how many steps back the task needs the network to look.

        Example:
            >>> trace(net, batch, loss_fn).findings(lag=20)
            ()
        """
        return self._once(("findings", lag), lambda: advise(self.records, lag=lag))

    def measures(
        self,
        *,
        costly: bool = False,
        compare: Sequence[str] | None = None,
        sequences: int | None = SAMPLE,
    ) -> dict[str, dict[str, Any]]:
        """All measures of all records; see :func:`throughtime.gradients.measured.measures`.

        Most are taken of the first 8 sequences, the records themselves hold all; ``sequences=None``
        takes all.

        Example:
            >>> trace(net, batch, loss_fn).measures()["l0"]["budget"].share.shape
            (20,)
        """
        return measures(self.records, costly=costly, compare=compare, sequences=sequences)

    def measured(
        self,
        *,
        costly: bool = False,
        compare: Sequence[str] | None = None,
        sequences: int | None = SAMPLE,
    ) -> dict[str, dict[str, Any]]:
        """:meth:`measures` as JSON holds them: :func:`throughtime.gradients.measured.measured`."""
        chosen = None if compare is None else tuple(compare)
        return self._once(
            ("measured", costly, chosen, sequences),
            lambda: measured(self.records, costly=costly, compare=chosen, sequences=sequences),
        )

    def summary(self, language: str | None = None, *, lag: int | None = None) -> Group:
        """Findings and the flow of every layer with sparklines, to be printed by rich.

        Example:
            >>> import rich
            >>> rich.print(trace(net, batch, loss_fn).summary())  # doctest: +SKIP
        """
        from throughtime.report.gradients.terminal import summary

        return summary(self.measured(), self.findings(lag), language)

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
        """Write one page that opens offline: findings first, then what flowed, step by step.

        Args:
            path: of the file; written beside and moved into place.
            lag: how many steps back the task needs the network to look.
            costly: take the lag map and the Lyapunov spectrum too; the page says what is left out.
            compare: activations to forecast the flow with; ``()`` for none.
            title: what the page calls the model; its class by default.
            language: ``"en"`` or ``"zh"`` to open in; by default the reader's browser decides.

        Returns:
            The path.

        Raises:
            TraceError: the folder is not there.

        Example:
            >>> trace(net, batch, loss_fn).to_html("gradients.html", lag=20)  # doctest: +SKIP
            PosixPath('gradients.html')
        """
        from throughtime.report.gradients.page import View, render

        began = time.perf_counter()
        numbers, findings = self.measured(costly=costly, compare=compare), self.findings(lag)
        view = View(
            title=title if title is not None else self.model,
            records=numbers,
            findings=findings,
            lag=lag,
            loss=self.loss,
            check=self.check,
            seconds=self.seconds,
            step_seconds=self.step_seconds,
            measuring_seconds=time.perf_counter() - began,
        )
        return export.write(path, render(view, language=language))

    def to_json(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        lag: int | None = None,
        costly: bool = False,
        compare: Sequence[str] | None = None,
    ) -> str:
        """Everything measured and found, as strict JSON; written to ``path`` if there is one.

        What is no number is null, what is infinite the string ``"Infinity"``.

        Raises:
            TraceError: the folder is not there.
        """
        text = export.to_json(
            {
                "format": export.FORMAT,
                "model": self.model,
                **plain({name: getattr(self, name) for name in _FIGURES}),
                "findings": [plain(found.to_dict()) for found in self.findings(lag)],
                "records": self.measured(costly=costly, compare=compare),
            }
        )
        if path is not None:
            export.write(path, text)
        return text

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """What has a value at each time step, one row a layer and step; written to ``path``.

        Raises:
            TraceError: the folder is not there.
        """
        text = export.to_csv(self.measured())
        if path is not None:
            export.write(path, text)
        return text

    def save_chart(
        self,
        path: str | os.PathLike[str],
        chart: str = "signal",
        layer: str | None = None,
        *,
        language: str | None = None,
        costly: bool = False,
    ) -> Path:
        """Save one drawing of the page as ``.svg`` or ``.png``.

        Args:
            path: of the file; its ending says which kind.
            chart: a name of ``throughtime.report.gradients.panels.PANELS``, such as ``"signal"``,
                ``"split"``, ``"budget"``, ``"transport"``, ``"census"``.
            layer: key of the record; the first by default.
            language: ``"en"`` or ``"zh"``; the current language by default.
            costly: needed for ``"lag_map"`` and ``"lyapunov"``.

        Raises:
            TraceError: another kind of file, no such chart, layer or folder, or nothing to draw.

        Example:
            >>> trace(net, batch, loss_fn).save_chart("signal.svg")  # doctest: +SKIP
            PosixPath('signal.svg')
        """
        from throughtime.report.gradients.pictures import save

        return save(self.measured(costly=costly), path, chart, layer, language)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


_FIGURES = ("loss", "check", "step_seconds", "seconds")


def trace(
    model: nn.Module,
    batch: Any,
    loss_fn: Callable[[Any, Any], Tensor],
    *,
    route: Route = "auto",
) -> Trace:
    """See the gradient at every time step inside every recurrent layer of ``model``.

    Works for ``torch.nn.RNN``, ``GRU``, ``LSTM``, their cells called in a loop, and the layers of
    ``throughtime.nn``, anywhere in a model, all layers and directions, padded or packed. The
    model runs forward and back once as it is, in the mode it is in; what no kernel of ours told on
    the way is worked out from the states when it is asked for. Weights, ``.grad``, buffers, modes
    and random generators are left as they were. Costs 1.1 to 1.3 training steps.

    Args:
        model: any module with a recurrent layer inside.
        batch: what ``loss_fn`` takes; nothing is assumed of it.
        loss_fn: ``loss_fn(model, batch)`` gives the scalar loss.
        route: where δ_t comes from. ``"adjoint"``: the chain rule of each cell written down, step
            by step. ``"probe"``: autograd through the fused kernel by inputs of zeros; slower, a
            cross-check. ``"auto"``: from the backward pass of our own kernels, which hold it
            anyway; for the layers of ``torch.nn`` such a pass is made where our kernels know the
            activations; else ``"adjoint"``.

    Raises:
        TraceError: no recurrent layer, none that ran, or no gradient that reached one.

    Example:
        >>> net = nn.LSTM(3, 8)
        >>> found = trace(net, torch.randn(20, 4, 3), lambda m, x: m(x)[0][-1].square().mean())
        >>> found.records["l0"].total.shape
        torch.Size([20, 4, 8])
    """
    model = unwrapped(model)
    modules = list(recurrent_modules(model))
    if not modules:
        kinds = sorted({type(m).__name__ for m in model.modules()})
        raise TraceError("gradients.no_recurrent_layer", modules=", ".join(kinds))
    began = time.perf_counter()
    with undisturbed(model), ExitStack() as stack:
        if any(_must_avoid_cudnn(m) for _, m in modules):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        capture = stack.enter_context(Capture(modules, probing=True))
        started = time.perf_counter()
        loss = loss_fn(model, batch)
        gradients = _backward(model, loss, capture, modules)
        step_seconds = time.perf_counter() - started
    records = records_of(capture, route)
    _check_finite_input(records)
    return Trace(
        MappingProxyType(records),
        float(loss.detach()),
        model=type(model).__name__,
        step_seconds=step_seconds,
        seconds=time.perf_counter() - began,
        _rebuilt=tuple(_rebuilt(modules, records, gradients)),
    )


def records_of(capture: Capture, route: Route = "auto") -> dict[str, Record]:
    """The records of everything a capture saw, keyed by module, layer and direction."""
    seen: Counter[str] = Counter()
    records: dict[str, Record] = {}

    def key(name: str) -> tuple[str, str]:
        seen[name] += 1
        return name, f"#{seen[name]}" if seen[name] > 1 else ""

    for call in capture.calls:
        name, again = key(call.name)
        for k, record in records_of_call(call, name, route).items():
            records[k + again] = _renamed(record, k + again)
    for chain in capture.chains:
        name, again = key(chain.name)
        k = (name or "cell") + again
        records[k] = record_of_chain(chain, k)
    return records


def _renamed(record: Record, key: str) -> Record:
    return record if record.key == key else replace(record, key=key)


def unwrapped(model: Any) -> nn.Module:
    """The module that runs on this device; one spread over several is refused."""
    if not isinstance(model, nn.Module):
        raise TraceError("gradients.not_a_module", given=type(model).__name__)
    if any(p.is_inference() for p in model.parameters()):
        raise TraceError("gradients.inference", given=type(model).__name__)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.module
    for name, module in model.named_modules():
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise TraceError("gradients.data_parallel", name=name or type(model).__name__)
    return model


def _must_avoid_cudnn(module: nn.Module) -> bool:
    """CuDNN cannot go back in eval mode, and keeps its dropout masks to itself."""
    weight = next(module.parameters())
    dropped = bool(getattr(module, "dropout", 0)) and int(getattr(module, "num_layers", 1)) > 1  # pyright: ignore
    return weight.is_cuda and (not module.training or dropped)


def _backward(
    model: nn.Module, loss: Any, capture: Capture, modules: list[tuple[str, nn.Module]]
) -> dict[int, Tensor]:
    """Gradients of the parameters by id; on the way the hooks collect what reaches the layers."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise TraceError("gradients.loss_not_scalar", given=given)
    names = ", ".join(name or type(m).__name__ for name, m in modules)
    if not capture.calls and not capture.chains:
        raise TraceError("gradients.not_run", layers=names)
    if any(seen.cotangents.found for seen in (*capture.calls, *capture.chains)):
        raise TraceError("gradients.went_back", layers=names)
    for call in capture.calls:
        if data_of(call.input).numel() == 0:
            shape = tuple(data_of(call.input).shape)
            raise TraceError("gradients.empty", layer=call.name or names, shape=shape)
    parameters = [p for p in model.parameters() if p.requires_grad]
    targets = parameters + capture.leaves
    if not loss.requires_grad or not targets:
        raise TraceError("gradients.no_graph", layers=names)
    found = torch.autograd.grad(loss.squeeze(), targets, allow_unused=True)
    reached = [c.cotangents.found for c in (*capture.calls, *capture.chains)]
    if not any(reached):
        raise TraceError("gradients.independent", layers=names)
    pairs = zip(parameters, found, strict=False)
    return {id(p): g.detach() for p, g in pairs if g is not None}


def _check_finite_input(records: Mapping[str, Record]) -> None:
    for record in records.values():
        if record.layer or math.isfinite(record.run.x.sum()):
            continue
        bad = (~record.run.x.isfinite()).flatten(1).any(-1).nonzero()
        if len(bad):
            raise TraceError("gradients.input_not_finite", layer=record.key, step=int(bad[0]))


def _rebuilt(
    modules: list[tuple[str, nn.Module]],
    records: Mapping[str, Record],
    gradients: Mapping[int, Tensor],
) -> Iterator[_Rebuilt]:
    for name, module in modules:
        for suffix, own in _own_records(name, module, records).items():
            weight = module._parameters.get(f"weight_hh{suffix}")
            if id(weight) in gradients:
                yield _Rebuilt(name, gradients[id(weight)], own)


def _own_records(
    name: str, module: nn.Module, records: Mapping[str, Record]
) -> dict[str, list[Record]]:
    """The records of one module by the suffix of its weights, one a call."""
    own: dict[str, list[Record]] = {}
    for key, record in records.items():
        stem = key.partition("#")[0]
        if cell_kind(module) and stem == (name or "cell"):
            own.setdefault("", []).append(record)
        elif fused_kind(module):
            suffix = f"l{record.layer}" + "_reverse" * record.reverse
            if stem == ".".join(p for p in (name, suffix) if p):
                own.setdefault(f"_{suffix}", []).append(record)
    return own
