"""Watching recurrent layers while a model runs: what went in, what came out, what came back."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.gradients.record.layers import fused_kind, is_ours, layer_count, recurrences
from throughtime.gradients.record.recurrence import Recurrence
from throughtime.kernels.tap import TOLD, recording


@dataclass
class Cotangents:
    """The gradients of the tensors a call returned, filled in by the backward pass.

    Attributes:
        found: by name.
        lasting: whether the tensors autograd brings are safe from changes in place, as those of a
            pass made for looking alone that go on to a fused layer; others are copied.
    """

    lasting: bool = False
    found: dict[str, Tensor] = field(default_factory=dict)

    def watch(self, name: str, tensor: Tensor, part: tuple[slice, ...] = ()) -> None:
        """Collect the gradient of ``tensor``; what it is before any change made in place.

        Args:
            name: under which it will be found.
            tensor: whose gradient.
            part: which part of it is kept; all by default.
        """
        if tensor.requires_grad:
            tensor.register_hook(lambda g: self._add(name, g, part))

    def _add(self, name: str, gradient: Tensor | None, part: tuple[slice, ...]) -> None:
        if gradient is None:  # a hook may be called for an output that nothing was made of
            return
        gradient = gradient.detach()[part]
        known = self.found.get(name)
        if known is not None:
            gradient = known + gradient
        elif not self.lasting:
            gradient = gradient.clone()
        self.found[name] = gradient


@dataclass
class Call:
    """One call of a fused layer.

    Attributes:
        name: the module's name in the model.
        module: the layer.
        layers: its recurrences by layer and direction, with the weights of that moment.
        input: what it was called with, a tensor or a PackedSequence.
        states: (h_0,) or (h_0, c_0) as given; empty for zeros.
        lengths: the argument ``lengths`` of our own layers, or None.
        random: the generator's state before the call, where the layer drops units between layers.
        sequences: how many sequences of the batch are recorded, from the first; None for all.
        output: y, a tensor or a PackedSequence.
        versions: how often input and output had been changed in place when they were seen.
        last: (h_n,) or (h_n, c_n).
        cotangents: of ``y``, ``h`` and ``c``.
        tapped: states and δ_t of each layer and direction where one of our kernels ran, told by
            its own backward pass.
    """

    name: str
    module: nn.Module
    layers: list[list[Recurrence]]
    input: Tensor | PackedSequence
    states: tuple[Tensor, ...]
    lengths: Tensor | None
    random: Tensor | None
    sequences: int | None = None
    output: Any = None
    versions: tuple[int, int] = (0, 0)
    last: tuple[Tensor, ...] = ()
    cotangents: Cotangents = field(default_factory=Cotangents)
    tapped: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def hear(self, number: int, found: dict[str, Tensor]) -> None:
        """Take what a kernel's backward pass tells; gradients of several such passes add up."""
        if number in self.tapped:
            for name in TOLD & found.keys():
                found[name] = found[name] + self.tapped[number][name]
        self.tapped[number] = found


@dataclass
class Chain:
    """The successive calls of one cell, from a fresh state on.

    Attributes:
        name: the module's name in the model.
        module: the cell.
        recurrence: with the weights of the first call.
        totals: whether ``cotangents`` hold all that reaches a state, or what reaches it from
            outside the recurrence alone.
        cell_feeds_state: whether what reaches h_t reaches the tensor c_t too, as where a cell is
            made of single operations; a fused cell hides that path.
        inputs: x_t of each call, (B, I).
        previous: the states each call was given, (h,) or (h, c); empty for zeros.
        outputs: the states each call returned.
        links: whether a call was given exactly what the one before returned.
        cotangents: of ``h{t}`` and ``c{t}``.
        raw: the last states as the cell made them; ``seen`` as the caller holds them.
    """

    name: str
    module: nn.Module
    recurrence: Recurrence
    totals: bool
    cell_feeds_state: bool = False
    inputs: list[Tensor] = field(default_factory=list)
    previous: list[tuple[Tensor, ...]] = field(default_factory=list)
    outputs: list[tuple[Tensor, ...]] = field(default_factory=list)
    links: list[bool] = field(default_factory=list)
    cotangents: Cotangents = field(default_factory=Cotangents)
    raw: tuple[Tensor, ...] = field(default_factory=tuple)
    seen: tuple[Tensor, ...] = field(default_factory=tuple)


class Capture(AbstractContextManager):
    """Watch the recurrent layers of a model while the context is open.

    Values are never changed. The hooks go away with the context; the hooks on tensors die with
    the graph.

    Args:
        modules: names and layers, from :func:`recurrent_modules`.
        probing: the pass is made for looking alone. Then gradients flow also through layers whose
            weights are frozen, and the states of cells get a name for each use, which tells what
            is injected from what comes through time; the order in which gradients are added up
            changes with it, and so may their last bit.
        limit: how many calls of a module are watched, from the first; all by default.
        sequences: how many sequences of a batch are recorded, from the first, of layers that run
            all steps in one call; all by default.
    """

    def __init__(
        self,
        modules: Iterable[tuple[str, nn.Module]],
        probing: bool = False,
        limit: int | None = None,
        sequences: int | None = None,
    ):
        self.calls: list[Call] = []
        self.chains: list[Chain] = []
        self.leaves: list[Tensor] = []
        self._modules = list(modules)
        self._probing, self._limit, self._sequences = probing, limit, sequences
        self._count: Counter[int] = Counter()
        self._open: dict[int, Call] = {}
        self._taps: dict[int, ExitStack] = {}
        self._chain: dict[int, Chain] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Capture:
        for name, module in self._modules:
            self._watch(name, module)
        return self

    def __exit__(self, *exception) -> None:
        for handle in self._handles:
            handle.remove()
        for tap in self._taps.values():
            tap.close()
        self._handles.clear()
        self._taps.clear()
        self._open.clear()

    def _watch(self, name: str, module: nn.Module) -> None:
        before, after = (
            (self._before_call, self._after_call)
            if fused_kind(module)
            else (self._before_step, self._after_step)
        )

        def pre(m: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
            return before(name, m, args, kwargs)

        def post(m: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
            return after(m, output)

        self._handles.append(module.register_forward_pre_hook(pre, with_kwargs=True))
        self._handles.append(module.register_forward_hook(post, with_kwargs=True))

    def _before_call(self, name: str, module: nn.Module, args: tuple, kwargs: dict):
        bound = dict(zip(("input", "hx", "lengths"), args, strict=False)) | kwargs
        given = bound.get("input")
        if not isinstance(given, (Tensor, PackedSequence)):
            return None
        data = data_of(given)
        if not self._due(module):
            return None
        dropped = bool(module.dropout) and module.training and layer_count(module) > 1
        call = self._open[id(module)] = Call(
            name,
            module,
            recurrences(module),
            given,
            _states(bound.get("hx")),
            _lengths(bound.get("lengths"), data),
            _random_state(data) if dropped else None,
            self._sequences,
            cotangents=Cotangents(self._probing),
        )
        if is_ours(module):
            self._taps[id(module)] = _listening(call)
        if not self._must_probe(module, data):
            return None
        leaf = data.detach().requires_grad_()
        self.leaves.append(leaf)
        bound["input"] = given._replace(data=leaf) if isinstance(given, PackedSequence) else leaf
        return (), bound

    def _after_call(self, module: nn.Module, output: Any) -> None:
        call = self._open.pop(id(module), None)
        if call is None:
            return
        if id(module) in self._taps:
            self._taps.pop(id(module)).close()
        call.output, last = output
        call.last = _states(last)
        y = data_of(call.output)
        call.cotangents.watch("y", y, self._part(y, 0 if module.batch_first else 1))
        for name, tensor in zip("hc", call.last, strict=False):
            call.cotangents.watch(name, tensor, self._part(tensor, 1))
        call.versions = data_of(call.input)._version, y._version
        self.calls.append(call)

    def _before_step(self, name: str, module: nn.Module, args: tuple, kwargs: dict):
        bound = dict(zip(("input", "hx"), args, strict=False)) | kwargs
        x, given = bound["input"], _states(bound.get("hx"))
        chain = self._chain.get(id(module))
        follows = (
            chain is not None
            and len(given) == len(chain.seen)
            and all(g is s for g, s in zip(given, chain.seen, strict=True))
        )
        carried = any(s.grad_fn is not None for s in given)
        if chain is None or not (follows or carried):
            if not self._due(module):
                self._chain.pop(id(module), None)
                return None
            ((recurrence,),) = recurrences(module)
            chain = Chain(name, module, recurrence, totals=not self._probing)
            self._chain[id(module)] = chain
            self.chains.append(chain)
        if self._must_probe(module, x):
            bound["input"] = x.detach().requires_grad_()
            self.leaves.append(bound["input"])
        chain.inputs.append(x.detach())
        chain.previous.append(tuple(s.detach() for s in given))
        chain.links.append(follows)
        if not self._probing:
            return None
        if follows:
            bound["hx"] = _as_given(chain.raw)
        return (), bound

    def _after_step(self, module: nn.Module, output: Any) -> Any:
        chain = self._chain.get(id(module))
        if chain is None:
            return None
        t = len(chain.outputs)
        chain.raw = _states(output)
        chain.seen = tuple(s.view_as(s) for s in chain.raw) if self._probing else chain.raw
        if chain.totals and len(chain.raw) > 1 and not t:
            chain.cell_feeds_state = _comes_from(chain.raw[0].grad_fn, chain.raw[1].grad_fn)
        chain.outputs.append(tuple(s.detach() for s in chain.raw))
        for name, tensor in zip("hc", chain.seen, strict=False):
            chain.cotangents.watch(f"{name}{t}", tensor)
        return _as_given(chain.seen) if self._probing else None

    def _part(self, tensor: Tensor, axis: int) -> tuple[slice, ...]:
        """The sequences recorded; all of what is packed or has no axis for them."""
        return (slice(None),) * axis + (slice(self._sequences),) if tensor.dim() == 3 else ()

    def _must_probe(self, module: nn.Module, data: Tensor) -> bool:
        """Whether gradients flow back through a module only if its input asks for one."""
        asked = data.requires_grad or any(p.requires_grad for p in module.parameters())
        return self._probing and torch.is_grad_enabled() and not asked

    def _due(self, module: nn.Module) -> bool:
        """Whether this call is to be watched: a training one, within the limit."""
        if not self._probing and not (module.training and torch.is_grad_enabled()):
            return False
        self._count[id(module)] += 1
        return self._limit is None or self._count[id(module)] <= self._limit


def data_of(sequence: Tensor | PackedSequence) -> Tensor:
    """The tensor of a sequence, packed or not."""
    return sequence.data if isinstance(sequence, PackedSequence) else sequence


def _listening(call: Call) -> ExitStack:
    # the graph must not hold the call, which holds the output and with it the graph
    still = weakref.ref(call)

    def hear(number: int, found: dict[str, Tensor]) -> None:
        if (here := still()) is not None:
            here.hear(number, found)

    stack = ExitStack()
    stack.enter_context(recording(hear, call.sequences))
    return stack


def _comes_from(node: Any, source: Any, depth: int = 6) -> bool:
    """Whether ``source`` lies within a few operations below ``node`` in the graph."""
    if node is None or source is None or not depth:
        return False
    below = [child for child, _ in node.next_functions]
    return source in below or any(_comes_from(child, source, depth - 1) for child in below)


def _as_given(states: tuple[Tensor, ...]) -> Any:
    first, *others = states
    return states if others else first


def _states(hx: Any) -> tuple[Tensor, ...]:
    if hx is None:
        return ()
    return tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)


def _lengths(lengths: Any, data: Tensor) -> Tensor | None:
    return None if lengths is None else torch.as_tensor(lengths, device=data.device).long().view(-1)


def _random_state(data: Tensor) -> Tensor:
    if data.is_cuda:
        return torch.cuda.get_rng_state(data.device)
    return torch.get_rng_state()
