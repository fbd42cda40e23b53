"""From a call that was watched to records: layer by layer from the top, each in run order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from throughtime.errors import TraceError
from throughtime.gradients.record.capture import Call, Chain, data_of
from throughtime.gradients.record.fused import probe, run
from throughtime.gradients.record.record import Record, Run, at_last_step
from throughtime.gradients.record.recurrence import Recurrence, orbit, run_order, sums, valid
from throughtime.gradients.record.undisturbed import full_precision


@dataclass(frozen=True)
class _Pass:
    """One direction of one layer as it ran: input and states in run order."""

    r: Recurrence
    reverse: bool
    x: Tensor
    h0: Tensor
    c0: Tensor | None
    states: Tensor
    told: Mapping[str, Tensor]


@torch.no_grad()
def records_of_call(call: Call, key: str, route: str = "auto") -> dict[str, Record]:
    """The records of one call of a fused layer, bottom layer first.

    Args:
        call: what was watched, after the backward pass.
        key: what the records' keys start with.
        route: ``"auto"``, ``"adjoint"`` or ``"probe"``, see :func:`throughtime.gradients.trace`.
    """
    with full_precision(data_of(call.input).device):
        return _Replay(call, key, route).records()


class _Replay:
    def __init__(self, call: Call, key: str, route: str):
        self.call, self.key, self.route = call, key, route
        self.kept = slice(call.sequences)
        layers = call.layers
        self.dtype = _working(layers[0][0].w_hh.dtype)
        self.layers = layers
        if layers[0][0].w_hh.dtype != self.dtype:
            self.layers = [[r.to(self.dtype) for r in directions] for directions in layers]
        self.packed = call.input if isinstance(call.input, PackedSequence) else None
        if data_of(call.input)._version != call.versions[0]:
            raise TraceError("gradients.input_changed", layer=call.name)
        self.unbatched = self.packed is None and data_of(call.input).dim() == 2
        x, lengths = self._padded(call.input)
        lengths = call.lengths if lengths is None else lengths
        self.T, self.whole_batch, _ = x.shape
        self.reported = None if lengths is None else lengths[self.kept]
        x = x[:, self.kept]
        self.B = x.shape[1]
        every = torch.full((self.B,), self.T, dtype=torch.int64, device=x.device)
        self.lengths = every if self.reported is None else self.reported
        self.full = self.reported is None or bool((self.reported == self.T).all())
        self.x = self._without_padding(x)
        told = call.tapped if len(call.tapped) == sum(map(len, layers)) else {}
        self.tapped = told if route == "auto" else {}
        if not self.tapped or call.sequences is not None:
            self.x = self.x.clone()  # is read again when the caller may have filled it anew
        self.narrow = any(told["state"].dtype != self.dtype for told in self.tapped.values())

    @cached_property
    def alive(self) -> Tensor:
        return valid(self.T, self.lengths).unsqueeze(-1)

    def _without_padding(self, sequence: Tensor) -> Tensor:
        return sequence if self.full else torch.where(self.alive, sequence, 0.0)

    def _padded(self, sequence: Tensor | PackedSequence) -> tuple[Tensor, Tensor | None]:
        if isinstance(sequence, PackedSequence):
            x, lengths = pad_packed_sequence(sequence._replace(data=sequence.data.to(self.dtype)))
            return x, lengths.to(x.device)
        x = sequence.detach().to(self.dtype)
        if self.unbatched:
            return x.unsqueeze(1), None
        return (x.transpose(0, 1) if self.call.module.batch_first else x), None

    def _like_output(self, data: Tensor | None, width: int) -> Tensor:
        """A tensor shaped as the call's output as (T, B, ·), zero on padding."""
        if data is None:
            return self.x.new_zeros(self.T, self.B, width)
        sequence = self.packed._replace(data=data) if self.packed is not None else data
        return self._without_padding(self._padded(sequence)[0][:, self.kept])

    def _state(self, tensor: Tensor | None, width: int) -> Tensor:
        """A (L·D, B, ·) tensor, zeros for None."""
        if tensor is None:
            rows = sum(len(directions) for directions in self.layers)
            return self.x.new_zeros(rows, self.B, width)
        tensor = tensor.unsqueeze(1) if self.unbatched else tensor
        return tensor.detach()[:, self.kept].to(self.dtype)

    def records(self) -> dict[str, Record]:
        passes, masks = self._forward()
        cotangents = self.call.cotangents.found
        r = self.layers[0][0]
        h_n = self._state(cotangents["h"], r.output_size) if "h" in cotangents else None
        c_n = self._state(cotangents["c"], r.hidden_size) if "c" in cotangents else None
        D = len(self.layers[0])
        outside: Tensor = self._like_output(cotangents.get("y"), D * r.output_size)
        found: list[Record] = []
        for layer in reversed(range(len(self.layers))):
            below = self.x.new_zeros(())
            for d, one in reversed(list(enumerate(passes[layer]))):
                row = layer * D + d
                injected = run_order(outside.chunk(D, -1)[d], self.lengths, one.reverse)
                if h_n is not None:
                    injected = at_last_step(injected, self.lengths, h_n[row])
                last_cell = None if c_n is None else c_n[row]
                record = self._record(layer, one, injected, last_cell)
                found.append(record)
                if layer:
                    below = below + record.delta @ one.r.w_ih
            mask = masks[layer]
            outside = below if mask is None else below * mask
        return {record.key: record for record in reversed(found)}

    def _record(self, layer: int, one: _Pass, injected: Tensor, last_cell: Tensor | None) -> Record:
        in_cell = None
        if last_cell is not None:
            H = one.r.hidden_size
            in_cell = at_last_step(self.x.new_zeros(self.T, self.B, H), self.lengths, last_cell)
        told, back = one.told, None
        if self.route == "probe":
            delta = probe(one.r, one.x, one.h0, one.c0, self.reported, injected, last_cell)
            told = {"delta": delta}
        start = one.h0, one.c0, one.states, injected, in_cell
        run = Run(one.r, self.lengths, one.x, *start, told, self.narrow)
        if self.route == "adjoint":
            back = run.linear.pull(injected, in_cell)
            run = Run(one.r, self.lengths, one.x, *start, inside=run.orbit, back=back)
        key = ".".join(p for p in (self.key, f"l{layer}") if p) + ("_reverse" * one.reverse)
        return Record(key, layer, one.reverse, one.r, self.lengths, run)

    def _told(self, layer: int, reverse: bool) -> dict[str, Tensor]:
        """What the kernel of this layer and direction told of its pass back, in run order."""
        if not self.tapped:
            return {}
        told = self.tapped[layer * len(self.layers[0]) + int(reverse)]
        return {name: self._in_run_order(tensor, reverse) for name, tensor in told.items()}

    def _in_run_order(self, told: Tensor, reverse: bool) -> Tensor:
        flat = self._without_padding(told.detach()[:, self.kept].to(self.dtype).flatten(2))
        return run_order(flat, self.lengths, reverse).contiguous().view(-1, self.B, *told.shape[2:])

    def _forward(self) -> tuple[list[list[_Pass]], list[Tensor | None]]:
        """Every direction of every layer, and the dropout mask on each layer's input."""
        r, D = self.layers[0][0], len(self.layers[0])
        h0 = self._state(next(iter(self.call.states), None), r.output_size)
        c0 = None
        if r.kind == "lstm":
            c0 = self._state(next(iter(self.call.states[1:]), None), r.hidden_size)
        masks = self._masks(D * r.output_size)
        x, passes = self.x, []
        for layer, directions in enumerate(self.layers):
            mask = masks[layer]
            x = x if mask is None else x * mask
            top = layer == len(self.layers) - 1
            row, ran = [], []
            for d, r in enumerate(directions):
                reverse, i = d == 1, layer * D + d
                start = h0[i], None if c0 is None else c0[i]
                x_run = run_order(x, self.lengths, reverse)
                told = self._told(layer, reverse)
                if told:
                    states = told.pop("state")
                elif top and self._output_intact() and self.call.random is None:
                    states = self._seen(d, D, reverse)
                else:
                    states = run(r, x_run, *start, self.reported)[0]
                ran.append(_Pass(r, reverse, x_run, *start, states, told))
                row.append(run_order(states, self.lengths, reverse))
            passes.append(ran)
            x = row[0] if len(row) == 1 else torch.cat(row, -1)
        self._check(x)
        return passes, masks

    def _output_intact(self) -> bool:
        output = data_of(self.call.output)
        return output._version == self.call.versions[1] and output.dtype == self.dtype

    def _seen(self, d: int, D: int, reverse: bool) -> Tensor:
        y = self._like_output(data_of(self.call.output).detach(), 0)
        return run_order(y.chunk(D, -1)[d], self.lengths, reverse)

    def _check(self, replayed: Tensor) -> None:
        """The replay must be the pass that trained, dropout and all."""
        if not self._output_intact() or self.call.random is None:
            return
        seen = self._like_output(data_of(self.call.output).detach(), 0)
        apart = (seen - replayed).abs().max() if seen.numel() else seen.new_zeros(())
        if apart > 1e-3 * (1 + seen.abs().max()):
            raise TraceError("gradients.cannot_replay", layer=self.call.name)

    def _masks(self, width: int) -> list[Tensor | None]:
        """What dropout multiplied each layer's input by; drawn again from the same random state."""
        masks: list[Tensor | None] = [None] * len(self.layers)
        if self.call.random is None:
            return masks
        device, p = self.x.device, float(self.call.module.dropout)  # pyright: ignore
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            if device.type == "cuda":
                torch.cuda.set_rng_state(self.call.random, device)
            else:
                torch.set_rng_state(self.call.random)
            for layer in range(1, len(self.layers)):
                masks[layer] = self._mask(width, p)
        return masks

    def _mask(self, width: int, p: float) -> Tensor:
        dtype = data_of(self.call.output).dtype
        if self.packed is not None and isinstance(self.call.module, nn.RNNBase):
            ones = self.x.new_ones(self.packed.data.shape[0], width, dtype=dtype)
            return self._like_output(torch.dropout(ones, p, True), 0)
        ones = self.x.new_ones(self.T, self.whole_batch, width, dtype=dtype)
        return torch.dropout(ones, p, True)[:, self.kept].to(self.dtype)


@torch.no_grad()
def record_of_chain(chain: Chain, key: str) -> Record:
    """The record of a cell that a person's own loop called step by step."""
    r = chain.recurrence.to(_working(chain.recurrence.w_hh.dtype))
    dtype = r.w_hh.dtype
    if len({x.shape for x in chain.inputs}) > 1:
        shapes = sorted({x.shape[0] for x in chain.inputs})
        raise TraceError("gradients.batch_changes", layer=chain.name, sizes=shapes)

    def together(tensors: list[Tensor]) -> Tensor:
        stacked = torch.stack([t.to(dtype) for t in tensors])
        return stacked.unsqueeze(1) if stacked.dim() == 2 else stacked

    def came_back(name: str, like: Tensor) -> Tensor:
        found = chain.cotangents.found
        zero = torch.zeros_like(like[0])
        return torch.stack(
            [found[k].to(dtype).view_as(zero) if (k := f"{name}{t}") in found else zero
             for t in range(len(like))]
        )  # fmt: skip

    x, states = together(chain.inputs), together([s[0] for s in chain.outputs])
    given = [p or tuple(torch.zeros_like(s) for s in out)
             for p, out in zip(chain.previous, chain.outputs, strict=True)]  # fmt: skip
    previous = together([p[0] for p in given])
    cells = together([p[1] for p in given]) if r.kind == "lstm" else None
    at_state = came_back("h", states)
    at_cell = None if cells is None else came_back("c", cells)
    narrow = any(out[0].dtype != dtype for out in chain.outputs)
    inside = orbit(r, sums(r, x, previous), states, previous, cells, narrow)
    linear = inside.linearise()
    if chain.cell_feeds_state and at_cell is not None:
        at_cell = linear.without_output(at_cell, at_state)
    if chain.totals:
        pulled, injected, in_cell = linear.from_total(at_state, at_cell, chain.links)
    else:
        pulled, injected, in_cell = linear.pull(at_state, at_cell, chain.links), at_state, at_cell
    c0 = None if cells is None else cells[0]
    T, B = x.shape[:2]
    lengths = torch.full((B,), T, dtype=torch.int64, device=x.device)
    run = Run(r, lengths, x, previous[0], c0, states, injected, in_cell, inside=inside, back=pulled)
    return Record(key, 0, False, r, lengths, run, linked=all(chain.links[1:]))


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
