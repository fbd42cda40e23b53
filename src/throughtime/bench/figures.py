"""What is measured: one figure each, and what a set of them is wanted to show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from throughtime.bench.shapes import Shape

# tables in which less is better: our cost over theirs
LESS = ("activations", "memory")


@dataclass(frozen=True)
class Figure:
    """Our cost beside another's.

    Attributes:
        table: ``"training"``, ``"activations"``, ``"products"``, ``"inference"``, ``"step"`` or
            ``"memory"``.
        cell: ``"elman"``, ``"gru"`` or ``"lstm"``.
        phi: name of the activation.
        shape: the sizes.
        peer: who it is compared with.
        ours: seconds, or bytes of memory.
        theirs: the same of the peer; for ``products``, what the products alone would take at the
            rate of this machine's matrix product.
        distance: from the truth, the larger one of both.
        right: whether both passed the check; a figure that did not has no ratio.
    """

    table: str
    cell: str
    phi: str
    shape: Shape
    peer: str
    ours: float
    theirs: float
    distance: float
    right: bool

    @property
    def ratio(self) -> float | None:
        """How many times faster; in tables where less is better, how many times the cost."""
        if not self.right:
            return None
        return self.ours / self.theirs if self.table in LESS else self.theirs / self.ours


@dataclass(frozen=True)
class Goal:
    """What a row of figures is wanted to show.

    Attributes:
        table, cell, phi, peer: of the figures; an empty ``phi`` or ``peer`` takes all.
        mean: wanted of the geometric mean.
        worst: wanted of the worst shape.
        B, T, H: the least sizes that count.
    """

    table: str
    cell: str
    phi: str = ""
    peer: str = ""
    mean: float | None = None
    worst: float | None = None
    B: int = 1
    T: int = 1
    H: int = 1

    def of(self, figures: Iterable[Figure]) -> list[Figure]:
        """The figures it speaks of."""
        return [
            f
            for f in figures
            if (f.table, f.cell) == (self.table, self.cell)
            and self.phi in ("", f.phi)
            and self.peer in ("", f.peer)
            and f.shape.B >= self.B
            and f.shape.T >= self.T
            and f.shape.H >= self.H
        ]


def mean_and_worst(figures: list[Figure]) -> tuple[float, float] | None:
    """Geometric mean and worst of the ratios; None where any has none."""
    ratios = [f.ratio for f in figures]
    known = [r for r in ratios if r is not None]
    if not known or len(known) < len(ratios):
        return None
    worst = max(known) if figures[0].table in LESS else min(known)
    return math.exp(sum(map(math.log, known)) / len(known)), worst


def met(goal: Goal, figures: list[Figure]) -> bool | None:
    """Whether the figures show what is wanted; None where there are none."""
    if not figures:
        return None
    found = mean_and_worst(figures)
    if found is None:
        return False
    pairs = zip(found, (goal.mean, goal.worst), strict=True)
    less = goal.table in LESS
    return all(w is None or (f <= w if less else f >= w) for f, w in pairs)


CPU_GOALS = (
    Goal("training", "elman", "tanh", "torch.nn", 4.0, 1.3),
    Goal("training", "elman", "relu", "torch.nn", 4.0, 1.3),
    Goal("training", "elman", "tanh", "JAX scan", 2.5, 1.5),
    Goal("training", "gru", "tanh", "torch.nn", 3.0, 1.3),
    Goal("training", "lstm", "tanh", "torch.nn", 1.5, 1.0),
    Goal("activations", "elman", worst=1.3),
    Goal("activations", "gru", worst=1.3),
    Goal("activations", "lstm", worst=1.3),
    Goal("products", "elman", "tanh", mean=0.70, B=32, H=128),
    Goal("products", "gru", "tanh", mean=0.55, B=32, H=128),
    Goal("products", "lstm", "tanh", mean=0.55, B=32, H=128),
    Goal("step", "elman", "tanh", "torch.nn", 2.0),
    Goal("step", "gru", "tanh", "torch.nn", 2.0),
    Goal("step", "lstm", "tanh", "torch.nn", 2.0),
    Goal("memory", "elman", "tanh", worst=1.0),
    Goal("memory", "gru", "tanh", worst=1.0),
    Goal("memory", "lstm", "tanh", worst=1.0),
)
CUDA_GOALS = (
    *(
        Goal("training", cell, phi, "torch.nn", worst=worst, H=H)
        for cell, phi in (("elman", "tanh"), ("elman", "relu"), ("gru", "tanh"), ("lstm", "tanh"))
        for worst, H in ((1 / 1.2, 1), (1.0, 384))
    ),
    *(Goal("activations", cell, worst=1.1) for cell in ("elman", "gru", "lstm")),
    *(
        Goal("training", cell, "tanh", "Python loop", worst=20.0, T=512)
        for cell in ("elman", "gru", "lstm")
    ),
)
