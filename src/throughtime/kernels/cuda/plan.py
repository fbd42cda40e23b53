"""How a call is run on the GPU: chosen from its shape."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from throughtime.activations.emit.triton import Functions, emit
from throughtime.kernels.cpu.pointwise import Cell

# units up to which the weights of all gates stay on the chip, by bytes of a number
_MOST_UNITS = {
    "elman": {2: 256, 4: 128, 8: 64},
    "gru": {2: 128, 4: 64, 8: 32},
    "lstm": {2: 128, 4: 64, 8: 32},
}
# rows of a tile on tensor cores; and without, where more would spill registers
_TENSOR_ROWS, _MOST_ROWS = 16, 2
# multiprocessors of an H100, counted where no GPU is at hand
_PROCESSORS = 132


@dataclass(frozen=True)
class Plan:
    """How a call is run.

    Attributes:
        persistent: one kernel for all steps, else a product and a kernel a step.
        rows, units: of the tile of a program.
        warps: of a program.
    """

    persistent: bool
    rows: int
    units: int
    warps: int


def plan(name: str, B: int, H: int, dtype: torch.dtype) -> Plan:
    """The plan for a cell of ``H`` units on ``B`` rows.

    As long as the weights of all gates fit into the shared memory and registers of one
    multiprocessor (:data:`_MOST_UNITS`, from what the compiler reports for an H100), the time
    loop is one kernel and costs no launches. Beyond, each step is a product by cuBLAS, which
    spreads the weights over the whole GPU, and one kernel for all the rest.

    Tensor cores multiply 16 rows at a time, so a tile has those; without them the fewer rows a
    tile has the sooner a step is done, and several tiles run on one multiprocessor.

    Example:
        >>> [plan("elman", 64, H, torch.float32).persistent for H in (100, 512)]
        [True, False]
    """
    units = max(16, triton.next_power_of_2(H))
    if units > _MOST_UNITS[name][dtype.itemsize]:
        return Plan(False, 4, min(units, 256), 4)
    warps = 8 if units > 32 else 4
    if dtype.itemsize == 2 or products(dtype)["PRECISION"] == "tf32":
        return Plan(True, _TENSOR_ROWS, units, warps)
    rows = triton.next_power_of_2(triton.cdiv(max(B, 1), _processors()))
    return Plan(True, min(rows, _MOST_ROWS), units, warps)


@cache
def _processors() -> int:
    if not torch.cuda.is_available():
        return _PROCESSORS
    return torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count


@cache
def functions(cell: Cell) -> dict[str, Functions]:
    """The functions of a cell's activations; places that a cell has not repeat the first."""
    found = [
        emit(phi, learnt, cell.first_row(k))
        for k, (phi, learnt) in enumerate(zip(cell.activations, cell.learnt, strict=True))
    ]
    found += found[:1] * (3 - len(found))
    return dict(zip(("PHI", "GATE", "OUT"), found, strict=True))


def values(cell: Cell) -> dict[str, Any]:
    """Constants of a forward kernel."""
    return {name: f.value for name, f in functions(cell).items()} | {"LEAK": float(cell.leak)}


def slopes(cell: Cell) -> dict[str, Any]:
    """Constants of a backward kernel."""
    both = {name: f.both for name, f in functions(cell).items()}
    learn = {f"{name}_LEARN": f.learn for name, f in functions(cell).items()}
    return both | learn | {"LEAK": float(cell.leak)}


def interpreted() -> bool:
    """Whether Triton interprets kernels instead of compiling them: then any tensor will do."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def arithmetic(dtype: torch.dtype) -> dict[str, Any]:
    """The format in which a kernel computes."""
    return {"ACC": tl.float64 if dtype == torch.float64 else tl.float32}


def products(dtype: torch.dtype) -> dict[str, Any]:
    """How a kernel multiplies: float32 as PyTorch is set to multiply it."""
    tf32 = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return {
        "PRECISION": "tf32" if tf32 else "ieee",
        "WIDEN": interpreted() and dtype == torch.bfloat16,
    }
