"""Watching recurrent layers while a model runs: what went in, what came out, what came back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.gradients.record.layers import cell_kind, fused_kind


@dataclass
class Cotangents:
    """The gradients of the tensors a call returned, filled in by the backward pass."""

    found: dict[str, Tensor] = field(default_factory=dict)

    def watch(self, name: str, tensor: Tensor) -> None:
        """Collect the gradient of ``tensor``; what it is before any change made in place."""
        if tensor.requires_grad:
            tensor.register_hook(lambda g: self._add(name, g))

    def _add(self, name: str, gradient: Tensor) -> None:
        gradient = gradient.detach()
        known = self.found.get(name)
        self.found[name] = gradient.clone() if known is None else known + gradient


@dataclass
class Call:
    """One call of a fused layer.

    Attributes:
        name: the module's name in the model.
        module: the layer.
        input: what it was called with, a tensor or a PackedSequence.
        states: (h_0,) or (h_0, c_0) as given, or None.
        lengths: the argument ``lengths`` of our own layers, or None.
        random: the generator's state before the call, where the layer drops units between layers.
        output: y, a tensor or a PackedSequence.
        last: (h_n,) or (h_n, c_n).
        cotangents: of ``y``, ``h`` and ``c``.
    """

    name: str
    module: nn.Module
    input: Tensor | PackedSequence
    states: tuple[Tensor, ...] | None
    lengths: Tensor | None
    random: Tensor | None
    output: Any = None
    last: tuple[Tensor, ...] = ()
    cotangents: Cotangents = field(default_factory=Cotangents)


@dataclass
class Chain:
    """The successive calls of one cell, from a fresh state on.

    Attributes:
        name: the module's name in the model.
        module: the cell.
        inputs: x_t of each call, (B, I).
        start: (h_0,) or (h_0, c_0), or None for zeros.
        outputs: the states each call returned.
        linked: False once the state was changed between two calls.
        cotangents: of ``h{t}`` and ``c{t}`` from outside the recurrence.
        raw: the last states as the cell made them; ``seen`` as the caller holds them.
    """

    name: str
    module: nn.Module
    start: tuple[Tensor, ...] | None
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[tuple[Tensor, ...]] = field(default_factory=list)
    linked: bool = True
    cotangents: Cotangents = field(default_factory=Cotangents)
    raw: tuple[Tensor, ...] = ()
    seen: tuple[Tensor, ...] = ()


class Capture(AbstractContextManager):
    """Watch the recurrent layers of a model while the context is open.

    Values are never changed. The hooks go away with the context; the hooks on tensors die with
    the graph.

    Args:
        modules: names and layers, from :func:`recurrent_modules`.
        differentiate: let gradients flow also through layers whose weights are frozen.
    """

    def __init__(self, modules: Iterable[tuple[str, nn.Module]], differentiate: bool = False):
        self.calls: list[Call] = []
        self.chains: list[Chain] = []
        self.leaves: list[Tensor] = []
        self._modules = list(modules)
        self._differentiate = differentiate
        self._open: dict[int, Call] = {}
        self._chain: dict[int, Chain] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Capture:
        for name, module in self._modules:
            self._watch(name, module)
        return self

    def __exit__(self, *exception) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._open.clear()

    def _watch(self, name: str, module: nn.Module) -> None:
        before, after = (
            (self._before_call, self._after_call)
            if fused_kind(module)
            else (self._before_step, self._after_step)
        )

        def pre(m, args, kwargs):
            return before(name, m, args, kwargs)

        def post(m, args, kwargs, output):
            return after(m, output)

        self._handles.append(module.register_forward_pre_hook(pre, with_kwargs=True))
        self._handles.append(module.register_forward_hook(post, with_kwargs=True))

    def _before_call(self, name: str, module: nn.Module, args: tuple, kwargs: dict):
        bound = dict(zip(("input", "hx", "lengths"), args, strict=False)) | kwargs
        given = bound.get("input")
        if not isinstance(given, (Tensor, PackedSequence)):
            return None
        data = given.data if isinstance(given, PackedSequence) else given
        dropped = bool(module.dropout) and module.training and int(module.num_layers) > 1
        self._open[id(module)] = Call(
            name,
            module,
            given,
            _states(bound.get("hx")),
            _lengths(bound.get("lengths"), data),
            _random_state(data) if dropped else None,
        )
        if not self._differentiate or not torch.is_grad_enabled() or data.requires_grad:
            return None
        leaf = data.detach().requires_grad_()
        self.leaves.append(leaf)
        bound["input"] = given._replace(data=leaf) if isinstance(given, PackedSequence) else leaf
        return (), bound

    def _after_call(self, module: nn.Module, output: Any) -> None:
        call = self._open.pop(id(module), None)
        if call is None:
            return
        call.output, last = output
        call.last = _states(last) or ()
        y = call.output.data if isinstance(call.output, PackedSequence) else call.output
        for name, tensor in zip(("y", "h", "c"), (y, *call.last), strict=False):
            call.cotangents.watch(name, tensor)
        self.calls.append(call)

    def _before_step(self, name: str, module: nn.Module, args: tuple, kwargs: dict):
        bound = dict(zip(("input", "hx"), args, strict=False)) | kwargs
        x, given = bound["input"], _states(bound.get("hx"))
        chain = self._chain.get(id(module))
        follows = given is not None and chain is not None and given[0] is chain.seen[0]
        carried = given is not None and any(s.grad_fn is not None for s in given)
        if chain is None or not (follows or carried):
            chain = Chain(name, module, given)
            self._chain[id(module)] = chain
            self.chains.append(chain)
        elif not follows:
            chain.linked = False
        if self._differentiate and torch.is_grad_enabled() and not x.requires_grad:
            bound["input"] = x.detach().requires_grad_()
            self.leaves.append(bound["input"])
        chain.inputs.append(x)
        if follows and all(g is s for g, s in zip(given or (), chain.seen, strict=True)):
            bound["hx"] = chain.raw if len(chain.raw) > 1 else chain.raw[0]
        return (), bound

    def _after_step(self, module: nn.Module, output: Any) -> Any:
        chain = self._chain[id(module)]
        t = len(chain.outputs)
        chain.raw = _states(output) or ()
        chain.seen = tuple(s.view_as(s) for s in chain.raw)
        chain.outputs.append(tuple(s.detach() for s in chain.raw))
        for name, tensor in zip("hc", chain.seen, strict=False):
            chain.cotangents.watch(f"{name}{t}", tensor)
        return chain.seen if len(chain.seen) > 1 else chain.seen[0]


def _states(hx: Any) -> tuple[Tensor, ...] | None:
    if hx is None:
        return None
    return tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)


def _lengths(lengths: Any, data: Tensor) -> Tensor | None:
    return None if lengths is None else torch.as_tensor(lengths, device=data.device).long()


def _random_state(data: Tensor) -> Tensor:
    if data.is_cuda:
        return torch.cuda.get_rng_state(data.device)
    return torch.get_rng_state()
