"""One recurrent layer in ONNX: its own operators where they hold, else a Scan over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from onnx import TensorProto, ValueInfoProto, helper
from torch import Tensor

from throughtime.activations import Activation, BoundActivation
from throughtime.activations.emit.onnx import Graph, Named, Value, emit, named, op, ops, where
from throughtime.nn.layers import Stack
from throughtime.nn.recurrent import Elman

_AXIS = {axis: np.array([axis]) for axis in (-1, 0, 1)}
_ONE = np.array([1])


@dataclass(frozen=True)
class Clock:
    """Which steps are valid.

    Attributes:
        x: input of the layers, (T, B, I).
        lengths: valid steps of each sequence, (B,) int64; None means T for all.
    """

    x: Value
    lengths: Value | None

    @classmethod
    def of(cls, x: Value, width: int, lengths: Value | None) -> Clock:
        """The clock of sequences that are sound; where they are not, the run stops.

        ONNX Runtime's loops end the whole process where there is no step or no sequence.
        """
        sizes = op("Shape", x, start=0, end=2)
        same = _zero_unless(_ONE - op("Min", sizes, _ONE), "input_needs_a_step_and_a_sequence")
        if lengths is not None:
            outside = op("Abs", lengths - op("Clip", lengths, np.array(0), _steps(x)))
            wrong = op("Min", op("ReduceMax", outside), _ONE)
            lengths = lengths + _zero_unless(wrong, "lengths_go_from_0_to_T")
        # 0 in a shape keeps the size that is there
        return cls(op("Reshape", x, op("Concat", same, np.array([width]), axis=0)), lengths)

    @cached_property
    def batch(self) -> Value:
        """(B), as a shape."""
        return op("Shape", self.x, start=1, end=2)

    @cached_property
    def alive(self) -> Value | None:
        """Where a sequence is not over, (T, B, 1); None means everywhere."""
        if self.lengths is None:
            return None
        t = op("Range", np.array(0), _steps(self.x), np.array(1))
        t = op("Unsqueeze", t, _AXIS[-1])
        return op("Unsqueeze", t < self.lengths, _AXIS[-1])

    def within(self, y: Value) -> Value:
        """``y`` (T, B, ·) with zeros beyond each length."""
        return y if self.alive is None else where(self.alive, y, 0.0)

    def zeros(self, width: int) -> Value:
        """(B, width) of zeros."""
        return op("Expand", 0.0, op("Concat", self.batch, np.array([width]), axis=0))


def _zero_unless(wrong: Value, name: str) -> Value:
    """0 where ``wrong`` is 0; where it is 1, an index out of bounds in a node of that name."""
    return op("Gather", np.array([0]), wrong, name=name)


def _steps(x: Value) -> Value:
    return op("Squeeze", op("Shape", x, start=0, end=1))


@dataclass(frozen=True)
class Operator:
    """ONNX's operator for a recurrence.

    Attributes:
        name: as ONNX has it.
        gates: the order of its gates, as places in ``torch.nn``'s.
        places: whose activations it takes, in its order.
    """

    name: str
    gates: tuple[int, ...]
    places: tuple[str, ...]


_OPERATORS = {
    "elman": Operator("RNN", (0,), ("nonlinearity",)),
    "gru": Operator("GRU", (1, 0, 2), ("gate_activation", "activation")),
    "lstm": Operator("LSTM", (0, 3, 1, 2), ("gate_activation", "activation", "output_activation")),
}


def add_layer(
    layer: Stack, index: int, x: Value, clock: Clock, starts: Sequence[Value]
) -> tuple[Value, list[Value]]:
    """One layer in all its directions.

    Args:
        layer: where the weights are.
        index: which of its layers.
        x: input, (T, B, I), zero beyond each length.
        clock: the valid steps.
        starts: initial states, (D, B, ·) each; none means zeros.

    Returns:
        y, (T, B, D·P), and the last states, (D, B, ·) each.
    """
    functions = _named(layer, x.graph)
    if functions is not None:
        return _by_operator(layer, index, functions, x, clock, starts)
    runs = [
        _by_scan(layer, suffix, x, clock, [op("Gather", s, np.array(d), axis=0) for s in starts])
        for d, suffix in enumerate(layer._suffixes_of(index))
    ]
    ys, ends = zip(*runs, strict=True)
    stacked = [[op("Unsqueeze", s, _AXIS[0]) for s in both] for both in zip(*ends, strict=True)]
    return joined(ys, -1), [joined(both, 0) for both in stacked]


def joined(parts: Sequence[Value], axis: int) -> Value:
    """The parts behind each other."""
    return op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]


def _named(layer: Stack, graph: Graph) -> list[Named] | None:
    """The activations by ONNX's names, if its operator computes this layer.

    It knows neither a leak nor a projection nor what is learnt; ONNX Runtime has it in float32.
    """
    if (
        graph.real != np.float32
        or layer.proj_size
        or (isinstance(layer, Elman) and layer.leak != 1)
    ):
        return None
    found = []
    for place in _OPERATORS[layer._kernel].places:
        phi = layer._places[place]
        function = None if phi.learnable else named(phi)
        if function is None:
            return None
        found.append(function)
    return found


def _by_operator(
    layer: Stack,
    index: int,
    functions: list[Named],
    x: Value,
    clock: Clock,
    starts: Sequence[Value],
) -> tuple[Value, list[Value]]:
    operator, suffixes = _OPERATORS[layer._kernel], layer._suffixes_of(index)
    D = len(suffixes)

    def ordered(weight: Tensor) -> np.ndarray:
        gates = np.split(array(weight), len(operator.gates))
        return np.concatenate([gates[gate] for gate in operator.gates])

    w_ih, w_hh, *biases = (
        [ordered(w) for w in each if w is not None]
        for each in zip(*map(layer._weights_of, suffixes), strict=True)
    )
    W = x.graph.tensor(f"W_l{index}", np.stack(w_ih))
    R = x.graph.tensor(f"R_l{index}", np.stack(w_hh))
    B = None
    if layer.bias:
        B = x.graph.tensor(f"B_l{index}", np.concatenate(biases, axis=-1))
    alpha = [f.alpha for f in functions if f.alpha is not None] * D
    beta = [f.beta for f in functions if f.beta is not None] * D
    attributes = {
        "hidden_size": layer.hidden_size,
        "direction": "bidirectional" if D == 2 else "forward",
        "activations": [f.name for f in functions] * D,
        **({"activation_alpha": alpha} if alpha else {}),
        **({"activation_beta": beta} if beta else {}),
        **({"linear_before_reset": 1} if operator.name == "GRU" else {}),
    }
    count = 1 + len(layer._state_widths)
    y, *last = ops(operator.name, count, x, W, R, B, _served(clock), *starts, **attributes)
    y, last = _with_nan(x, y, last, starts, D)
    y = op("Transpose", y, perm=[0, 2, 1, 3])
    y = op("Reshape", y, np.array([0, 0, D * layer.hidden_size]))
    return clock.within(y), _of_the_living(clock, last, starts)


def _served(clock: Clock) -> Value | None:
    """Lengths of at least 1: at 0 older versions of ONNX Runtime read outside of the output."""
    if clock.lengths is None:
        return None
    return op("Cast", op("Max", clock.lengths, _ONE), to=TensorProto.INT32)


def _of_the_living(clock: Clock, last: list[Value], starts: Sequence[Value]) -> list[Value]:
    """The last states, and the initial ones of sequences of length 0."""
    if clock.lengths is None:
        return last
    empty = op("Unsqueeze", op("Equal", clock.lengths, np.array([0])), _AXIS[-1])
    return [where(empty, s, end) for s, end in zip(starts or [0.0] * len(last), last, strict=True)]


def _with_nan(
    x: Value, y: Value, last: list[Value], starts: Sequence[Value], D: int
) -> tuple[Value, list[Value]]:
    """NaN from the first NaN on, as it should be: ONNX Runtime's operators make numbers of it.

    ``y`` is (T, D, B, H), the states (D, B, H).
    """

    def found(v: Value) -> Value:
        nan = where(op("IsNaN", v), np.array(np.nan, x.graph.real), 0.0)
        return op("ReduceSum", nan, _AXIS[-1], keepdims=1)

    step = op("Unsqueeze", found(x), _AXIS[1])
    so_far = [op("CumSum", step, np.array(0), reverse=d) for d in range(D)]
    y, ever = y + joined(so_far, 1), op("ReduceSum", step, _AXIS[0], keepdims=0)
    for start in map(found, starts):
        y, ever = y + start, ever + start
    return y, [end + ever for end in last]


def _by_scan(
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


def array(tensor: Tensor) -> np.ndarray:
    """The numbers of a parameter."""
    return tensor.detach().cpu().numpy()
