"""Which steps of a batch are valid, in ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from throughtime.activations.emit.onnx import Value, op, where

AXIS = {axis: np.array([axis]) for axis in (-1, 0, 1)}
ONE = np.array([1])


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
        same = _zero_unless(ONE - op("Min", sizes, ONE), "input_needs_a_step_and_a_sequence")
        if lengths is not None:
            outside = op("Abs", lengths - op("Clip", lengths, np.array(0), _steps(x)))
            wrong = op("Min", op("ReduceMax", outside), ONE)
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
        t = op("Unsqueeze", t, AXIS[-1])
        return op("Unsqueeze", t < self.lengths, AXIS[-1])

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
