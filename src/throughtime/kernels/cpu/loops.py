"""The time loops of the three cells, forwards and back, over tiles of rows of the batch.

A tile runs through all time steps by itself: nothing is shared between tiles but weights, so any
number of threads gives the same outputs. Rows of a tile are sorted by length, longest first: at
each step those still alive are the first ones, and nothing is computed on padding.

Where there are few rows and many units, several threads share one tile instead: each is a side
that has its own units, and all wait for each other where one reads what another wrote. Each sum is
formed in the same order, so again the outputs are the same.
"""

from __future__ import annotations

from llvmlite import ir

from throughtime.activations.emit.lanes import I64, Int
from throughtime.kernels.cpu.backward import write_backward_loops
from throughtime.kernels.cpu.blocks import write_blocks
from throughtime.kernels.cpu.forward import write_forward_loops
from throughtime.kernels.cpu.frame import Frame
from throughtime.kernels.cpu.machine import Assembly
from throughtime.kernels.cpu.pointwise import SHAPES
from throughtime.kernels.cpu.tiles import write_tiles


def write_loops(assembly: Assembly) -> None:
    """For every cell forward, backward, step, and what threads run of them."""
    write_blocks(assembly)
    write_tiles(assembly)
    for name, shape in SHAPES.items():
        write_forward_loops(assembly, name, shape)
        write_backward_loops(assembly, name, shape)
        for way in ("forward", "backward"):
            _write_team(assembly, f"{way}_{name}")
            _write_sides(assembly, way, name)


def _write_team(assembly: Assembly, name: str) -> None:
    """team_NAME(frame): NAME for the next worker that nobody is yet, if there is one."""
    with assembly.function(f"team_{name}", "f", public=True) as (code, start):
        frame = Frame(code, start, assembly.real)
        worker = frame.take_worker()
        with code.when(worker.is_("<", frame["workers"])):
            assembly.call(code, name, start, worker)


def _write_sides(assembly: Assembly, way: str, name: str) -> None:
    """sides_WAY_NAME(frame): one side of the only tile; as many as the team has threads."""
    with assembly.function(f"sides_{way}_{name}", "f", public=True) as (code, start):
        frame = Frame(code, start, assembly.real)
        size = code.builder.call(frame.function("team_size", ir.IntType(32)), [])
        sides = Int(code, code.builder.zext(size, I64))
        side = frame.take_worker()
        assembly.call(code, f"prepare_{way}_{name}", start, side, sides)
        if way == "backward":
            with code.when(side.is_("==", 0)):
                assembly.call(code, f"clear_sums_{name}", start, 0)
        worker = (0,) if way == "backward" else ()
        arguments = *worker, 0, frame["B"], frame.numbers("scratch")
        assembly.call(code, f"{way}_tile_{name}", start, side, sides, *arguments)
