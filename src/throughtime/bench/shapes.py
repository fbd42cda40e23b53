"""Sizes of a measurement."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

import re
from dataclasses import dataclass

from throughtime.errors import BenchError

GATES = {"elman": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True, order=True)
class Shape:
    """Batch, time, units, inputs."""

    B: int
    T: int
    H: int
    I: int = 16

    def __str__(self) -> str:
        return f"{self.B}×{self.T}×{self.H}"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """The shape of ``BxTxH``.

        Raises:
            BenchError: it is none.

        Example:
            >>> print(Shape.parse("8x256x64"))
            8×256×64
        """
        found = re.fullmatch(r"(\d+)[x×](\d+)[x×](\d+)", text.strip())
        if found is None or 0 in (sizes := tuple(map(int, found.groups()))):
            raise BenchError("bench.shape", value=text)
        return cls(*sizes)

    def operations(self, cell: str) -> float:
        """Additions and multiplications in the products of a training step.

        Forward W_ih x and W_hh h; back W_hhᵀ δ and the gradients of W_ih and W_hh.
        """
        return 2 * GATES[cell] * self.B * self.T * self.H * (3 * self.H + 2 * self.I)


CPU_GRID = (
    Shape(1, 512, 64),
    Shape(8, 256, 64),
    Shape(32, 512, 32),
    Shape(32, 512, 128),
    Shape(64, 784, 128),
    Shape(128, 256, 256),
    Shape(64, 256, 512),
    Shape(32, 128, 1024),
)
CUDA_GRID = (
    *CPU_GRID,
    Shape(64, 512, 384),
    Shape(64, 512, 768),
    Shape(16, 1024, 768),
)
