"""One recurrent layer in ONNX: its own operators where they hold, else a Scan over the steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from throughtime.activations.emit.onnx import Value, joined, op
from throughtime.nn.layers import Stack
from throughtime.nn.onnx.clock import AXIS, Clock
from throughtime.nn.onnx.operator import by_operator, names
from throughtime.nn.onnx.scan import by_scan


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
    functions = names(layer, x.graph)
    if functions is not None:
        return by_operator(layer, index, functions, x, clock, starts)
    runs = [
        by_scan(layer, suffix, x, clock, [op("Gather", s, np.array(d), axis=0) for s in starts])
        for d, suffix in enumerate(layer._suffixes_of(index))
    ]
    ys, ends = zip(*runs, strict=True)
    stacked = [[op("Unsqueeze", s, AXIS[0]) for s in both] for both in zip(*ends, strict=True)]
    return joined(ys, -1), [joined(both, 0) for both in stacked]
