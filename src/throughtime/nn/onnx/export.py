"""From a network to an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, helper
from torch import nn

from throughtime import __version__
from throughtime.activations.emit.onnx import Graph, Value, joined, op
from throughtime.errors import ModelError
from throughtime.files import whole
from throughtime.nn.onnx import runtime
from throughtime.nn.onnx.clock import Clock
from throughtime.nn.onnx.network import Network, Port, Ports, array, network, real_type
from throughtime.nn.onnx.recurrence import add_layer

OPSET, IR = 22, 10


def to_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    lengths: bool = True,
    states: bool = False,
    check: bool | None = None,
) -> Path:
    """Write a network as an ONNX file, with batch size and number of steps left open.

    Use it to run a network where there is no PyTorch. Layers whose activations ONNX names become
    its RNN, GRU and LSTM operators; every other activation, and leak, projection, learnt
    parameters and float64, become a Scan with the formula's own operators. The file has opset 22:
    ONNX Runtime from 1.21 on runs it. Dropout is left out, as in ``eval()``.

    Args:
        model: an RNN, GRU or LSTM of ``throughtime.nn``, or a ``throughtime.fleet.SequenceModel``,
            as ``throughtime.fleet.SavedModel.load(folder).model`` is one. Scaling is no part of a
            SequenceModel: its ``x`` is scaled as the training data were, and so is what it gives.
        path: the file; written beside and moved into place.
        lengths: whether the file has the input ``lengths``, the valid steps of each sequence.
            False where all sequences of a batch are equally long.
        states: whether a layer's file has the inputs ``h_0`` and, for an LSTM, ``c_0``, so that a
            stream can be continued; a SequenceModel has none.
        check: run the file in ONNX Runtime at two lengths and two batch sizes and compare it with
            the model. None does so where ONNX Runtime is installed.

    Inputs and outputs:
        A layer: ``input`` (T, B, I), or (B, T, I) with ``batch_first``; ``lengths`` (B,) int64;
        ``h_0`` (L·D, B, P) and ``c_0`` (L·D, B, H) to ``output``, ``h_n`` and ``c_n``, as in its
        ``forward``. A SequenceModel: ``x`` (B, T, I), or tokens (B, T) int64, and ``lengths`` to
        ``y`` (B, K), or (B, T, K) per step. A batch has at least one sequence of one step; a length
        may be 0.
        The file's metadata hold the version, the activations with their formulas, and the names
        and shapes of inputs and outputs, as JSON.

    Returns:
        The path of the file.

    Raises:
        ModelError: the model cannot be exported, or the file does not compute what it does.
        MissingExtraError: ``check=True`` without ONNX Runtime.

    Example:
        >>> import tempfile, throughtime as tt
        >>> layer = tt.nn.GRU(3, 8, activation="gelu", batch_first=True)
        >>> to_onnx(layer, tempfile.mkdtemp() + "/gru.onnx").name
        'gru.onnx'
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ModelError("onnx.path", path=path)
    parts = network(model)
    if states and parts.readout is not None:
        raise ModelError("onnx.no_states", model=type(model).__name__)
    ports = _ports(parts, real_type(model), lengths, states)
    proto = _proto(parts, ports)
    onnx.checker.check_model(proto, full_check=True)
    if check or (check is None and runtime.is_installed()):
        runtime.compare(model, proto.SerializeToString(), ports)
    with whole(path) as beside:
        onnx.save(proto, beside)
    return path


def _ports(parts: Network, real: np.dtype, lengths: bool, states: bool) -> Ports:
    """The inputs and outputs of the file, named as in ``forward``."""
    layers, whole = parts.layers, np.dtype("int64")
    axes = ("B", "T") if layers.batch_first else ("T", "B")
    count, P, H = len(layers._suffixes), *layers._state_widths[:1], layers.hidden_size
    of_state = [("h", P), ("c", H)][: len(layers._state_widths)]

    if parts.embedding is not None:
        inputs = [Port("x", whole, axes, parts.embedding.num_embeddings)]
    else:
        inputs = [Port("x" if parts.readout else "input", real, (*axes, layers.input_size))]
    if lengths:
        inputs.append(Port("lengths", whole, ("B",)))
    if states:
        inputs += [Port(f"{s}_0", real, (count, "B", width)) for s, width in of_state]

    if parts.readout is not None:
        K = parts.readout.out_features
        outputs = [Port("y", real, (*axes, K) if parts.per_step else ("B", K))]
    else:
        outputs = [Port("output", real, (*axes, P * layers._directions))]
        outputs += [Port(f"{s}_n", real, (count, "B", width)) for s, width in of_state]
    return Ports(real, tuple(inputs), tuple(outputs))


def _proto(parts: Network, ports: Ports) -> ModelProto:
    graph = Graph(ports.real)
    given = {port.name: Value(port.name, graph) for port in ports.inputs}
    results = _results(parts, graph, given)
    for port, value in zip(ports.outputs, results, strict=True):
        graph.nodes.append(helper.make_node("Identity", [value.name], [port.name]))
    nodes = _needed(graph.nodes, {port.name for port in ports.outputs})
    used = set().union(*map(_reads, nodes))
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            type(parts.layers).__name__,
            list(map(_info, ports.inputs)),
            list(map(_info, ports.outputs)),
            [tensor for name, tensor in graph.tensors.items() if name in used],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="throughtime",
        producer_version=__version__,
    )
    helper.set_model_props(proto, _about(parts, ports))
    return proto


def _results(parts: Network, graph: Graph, given: dict[str, Value]) -> list[Value]:
    """The outputs: one run of ``forward``, written down."""
    layers, x = parts.layers, next(iter(given.values()))
    if parts.embedding is not None:
        x = op("Gather", graph.tensor("embedding", array(parts.embedding.weight)), x, axis=0)
    if layers.batch_first:
        x = op("Transpose", x, perm=[1, 0, 2])
    clock = Clock.of(x, layers.input_size, given.get("lengths"))
    starts = [given[name] for name in ("h_0", "c_0") if name in given]
    y, D, ends = clock.within(clock.x), layers._directions, []
    for index in range(layers.num_layers):
        place = [np.array([bound]) for bound in (index * D, index * D + D, 0)]
        y, last = add_layer(layers, index, y, clock, [op("Slice", s, *place) for s in starts])
        ends.append(last)

    if parts.readout is None:
        outputs = [op("Transpose", y, perm=[1, 0, 2]) if layers.batch_first else y]
        return outputs + [joined(each, 0) for each in zip(*ends, strict=True)]
    top = op("Transpose", y if parts.per_step else ends[-1][0], perm=[1, 0, 2])
    if not parts.per_step:
        top = op("Reshape", top, np.array([0, parts.readout.in_features]))
    weight = graph.tensor("readout_weight", array(parts.readout.weight))
    y = top @ op("Transpose", weight, perm=[1, 0])
    if parts.readout.bias is not None:
        y = y + graph.tensor("readout_bias", array(parts.readout.bias))
    return [y]


def _needed(nodes: Sequence[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """The nodes from which what is wanted comes."""
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted = wanted | _reads(node)
    return kept[::-1]


def _reads(node: NodeProto) -> set[str]:
    """The tensors that a node needs, in the bodies of loops as well."""
    inside = [inner for a in node.attribute if a.HasField("g") for inner in a.g.node]
    return {*node.input}.union(*map(_reads, inside))


def _info(port: Port) -> ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(port.kind)
    return helper.make_tensor_value_info(port.name, kind, port.shape)


def _about(parts: Network, ports: Ports) -> dict[str, str]:
    about = {
        "throughtime": __version__,
        "activations": {key: phi.to_config() for key, phi in parts.layers._places.items()},
        "inputs": {port.name: port.shape for port in ports.inputs},
        "outputs": {port.name: port.shape for port in ports.outputs},
    }
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in about.items()
    }
