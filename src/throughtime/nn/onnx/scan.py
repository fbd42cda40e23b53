"""A layer by a Scan over the steps, with the operators of its formulas: any layer there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy
from onnx import TensorProto, ValueInfoProto, helper
from torch import Tensor

from throughtime.activations import Activation, BoundActivation
from throughtime.activations.emit.onnx import Graph, Value, emit, op, ops, where
from throughtime.nn.layers import Stack
from throughtime.nn.onnx.clock import Clock
from throughtime.nn.onnx.network import array
from throughtime.nn.recurrent import Elman


def by_scan(
    layer: Stack, suffix: str, x: Value, clock: Clock, starts: Sequence[Value]
) -> tuple[Value, Sequence[Value]]:
    """One direction: x (T, B, I) to y (T, B, P) and the last states, (B, ·) each."""
    widths = layer._state_widths
    starts = starts or [clock.zeros(width) for width in widths]
    u, step = _STEPS[layer._kernel](x, _weights(layer, suffix, x.graph))
    scanned = [u] if clock.alive is None else [u, clock.alive]

    body = Graph(x.graph.real, outer=x.graph)
    old = [Value(body.name("state"), body) for _ in widths]
    now = [Value(body.name("step"), body) for _ in scanned]
    new = step(now[0], *old)
    y = new[0]
    if clock.alive is not None:
        y = where(now[1], y, 0.0)
        new = [where(now[1], n, o) for n, o in zip(new, old, strict=True)]
    given = [*map(_real, old, widths), _real(now[0], layer._gates * layer.hidden_size)]
    given += [_info(alive, TensorProto.BOOL, 1) for alive in now[1:]]
    results = [op("Identity", v) for v in (*new, y)]
    loop = helper.make_graph(
        body.nodes, f"step_{suffix}", given, list(map(_real, results, [*widths, widths[0]]))
    )

    backwards = int(suffix.endswith("_reverse"))
    *ends, y = ops(
        "Scan",
        len(widths) + 1,
        *starts,
        *scanned,
        body=loop,
        num_scan_inputs=len(scanned),
        scan_input_directions=[backwards] * len(scanned),
        scan_output_directions=[backwards],
    )
    return y, ends


def _real(value: Value, width: int) -> ValueInfoProto:
    return _info(value, helper.np_dtype_to_tensor_dtype(value.graph.real), width)


def _info(value: Value, kind: int, width: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(value.name, kind, ["B", width])


@dataclass(frozen=True)
class Weights:
    """What a recurrence is made of, in one direction; weights lie as they are multiplied."""

    ih: Value
    hh: Value
    b_ih: Value | None
    b_hh: Value | None
    hr: Value | None
    leak: float
    phi: dict[str, Callable[[Value], Value]]


def _weights(layer: Stack, suffix: str, graph: Graph) -> Weights:
    def stored(name: str, weight: Tensor | None) -> Value | None:
        return None if weight is None else graph.tensor(f"{name}_{suffix}", array(weight))

    def turned(name: str, weight: Tensor) -> Value:
        return op("Transpose", stored(name, weight), perm=[1, 0])

    w_ih, w_hh, b_ih, b_hh = layer._weights_of(suffix)
    w_hr = getattr(layer, f"weight_hr_{suffix}", None)
    return Weights(
        turned("weight_ih", w_ih),
        turned("weight_hh", w_hh),
        stored("bias_ih", b_ih),
        stored("bias_hh", b_hh),
        None if w_hr is None else turned("weight_hr", w_hr),
        layer.leak if isinstance(layer, Elman) else 1.0,
        {
            place: _pointwise(layer._phi(place, suffix), place, suffix, graph)
            for place in layer._places
        },
    )


def _pointwise(
    phi: Activation | BoundActivation, place: str, suffix: str, graph: Graph
) -> Callable[[Value], Value]:
    activation, learnt = (phi, {}) if isinstance(phi, Activation) else (phi.activation, phi.theta)
    function = emit(
        activation.expression, [sympy.Symbol(p, real=True) for p in activation.parameters]
    )
    theta = [
        graph.tensor(f"{place}_{p.name}_{suffix}", array(learnt[p.name]))
        if p.name in learnt
        else graph.constant(p.default)
        for p in activation.parameters.values()
    ]
    return lambda u: function(u, *theta)


def _elman(x: Value, w: Weights) -> tuple[Value, Step]:
    def step(u: Value, h: Value) -> Sequence[Value]:
        n = w.phi["nonlinearity"](u + h @ w.hh)
        return [n if w.leak == 1 else (1 - w.leak) * h + w.leak * n]

    return _plus(x @ w.ih, w.b_ih, w.b_hh), step


def _gru(x: Value, w: Weights) -> tuple[Value, Step]:
    phi, gate = w.phi["activation"], w.phi["gate_activation"]

    def step(u: Value, h: Value) -> Sequence[Value]:
        u_r, u_z, u_n = _split(u, 3)
        v_r, v_z, v_n = _split(_plus(h @ w.hh, w.b_hh), 3)
        r = gate(u_r + v_r)
        z = gate(u_z + v_z)
        n = phi(u_n + r * v_n)
        return [(1 - z) * n + z * h]

    return _plus(x @ w.ih, w.b_ih), step


def _lstm(x: Value, w: Weights) -> tuple[Value, Step]:
    phi, gate, phi_output = (
        w.phi[place] for place in ("activation", "gate_activation", "output_activation")
    )

    def step(u: Value, h: Value, c: Value) -> Sequence[Value]:
        i, f, g, o = _split(u + h @ w.hh, 4)
        c = gate(f) * c + gate(i) * phi(g)
        h = gate(o) * phi_output(c)
        return [h if w.hr is None else h @ w.hr, c]

    return _plus(x @ w.ih, w.b_ih, w.b_hh), step


Step = Callable[..., Sequence[Value]]
_STEPS: dict[str, Callable[[Value, Weights], tuple[Value, Step]]] = {
    "elman": _elman,
    "gru": _gru,
    "lstm": _lstm,
}


def _split(u: Value, count: int) -> tuple[Value, ...]:
    return ops("Split", count, u, axis=-1, num_outputs=count)


def _plus(u: Value, *biases: Value | None) -> Value:
    given = [b for b in biases if b is not None]
    return u + sum(given[1:], given[0]) if given else u
