"""Every kernel that a plan may choose, compiled for an H100; that needs no H100."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton, which the GPU kernels are written in, is missing"
)

SCRIPT = """
import json, subprocess, sys, tempfile
from pathlib import Path
import torch, triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from throughtime.activations import activation
from throughtime.kernels.cpu.pointwise import Cell, SHAPES
from throughtime.kernels.cuda import persistent, plan, steps

name, way, H, format = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if "tf32" in sys.argv:
    torch.set_float32_matmul_precision("high")
dtype = getattr(torch, format)
letters = {"float32": "fp32", "float64": "fp64", "bfloat16": "bf16"}[format]
wide = "fp64" if format == "float64" else "fp32"
places = {"elman": ("elu",), "gru": ("gelu", "sigmoid"), "lstm": ("tanh", "sigmoid", "softsign")}
phis = tuple(map(activation, places[name]))
cell = Cell(name, phis, tuple(() for _ in phis))
chosen = plan.plan(name, 32, H, dtype)
room = persistent if chosen.persistent else steps
kernel = getattr(room, way.upper())[name]
given = dict(
    plan.values(cell) if way == "forward" else plan.slopes(cell),
    **plan.arithmetic(dtype), **plan.products(dtype), ROWS=chosen.rows, UNITS=chosen.units,
    REVERSE=True, RAGGED=True, SAVE=True, BLOCKS=SHAPES[name].saved,
)
types, constants = {}, {}
wides = ("dtheta", "past", "g_c") if room is steps and way == "backward" else ("dtheta",)
wides = (*wides, "h", "c") if room is steps and way == "forward" else wides
for i, argument in enumerate(kernel.arg_names):
    if argument in given:
        types[argument], constants[i,] = "constexpr", given[argument]
    elif argument in ("T", "B", "H", "P", "i"):
        types[argument] = "i32"
    elif argument in ("lengths", "t0"):
        types[argument] = "*i32"
    else:
        types[argument] = "*" + (wide if argument in wides else letters)
code = triton.compile(
    ASTSource(kernel, types, constants), target=GPUTarget("cuda", 90, 32),
    options={"num_warps": chosen.warps, "enable_fp_fusion": True},
)
dump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
    file.write(code.asm["cubin"])
    file.flush()
    use = subprocess.run([dump, "-res-usage", file.name], capture_output=True, text=True).stdout
tf32 = ".tf32" in code.asm["ptx"]
print(json.dumps({"shared": code.metadata.shared, "use": use, "tf32": tf32}))
"""

# the largest that stay on the chip, by format, and one that does not
LARGEST = {
    "elman": {"float32": 128, "float64": 64, "bfloat16": 256},
    "gru": {"float32": 64, "float64": 32, "bfloat16": 128},
    "lstm": {"float32": 64, "float64": 32, "bfloat16": 128},
}
SHARED_OF_AN_H100 = 227 * 1024


def compiled(*arguments: str) -> dict:
    """What a cell, way, H and format (and ``"tf32"``) compile to."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def spilled(found: dict) -> int:
    """Bytes of a thread's registers in local memory."""
    stack = re.search(r"STACK:(\d+)", found["use"])
    assert stack is not None
    return int(stack[1])


@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("name,dtype", [(n, d) for n, of in LARGEST.items() for d in of])
def test_the_largest_cell_of_one_kernel_fits_on_the_chip(name, dtype, way):
    found = compiled(name, way, str(LARGEST[name][dtype]), dtype)
    assert found["shared"] <= SHARED_OF_AN_H100
    assert not found["tf32"]
    if dtype != "bfloat16":  # its largest cells keep a few words of a thread in local memory
        assert spilled(found) == 0


@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("name", LARGEST)
def test_the_kernel_of_a_step(name, way):
    found = compiled(name, way, "1000", "float32")
    assert spilled(found) == 0
    assert found["shared"] <= SHARED_OF_AN_H100


@pytest.mark.parametrize(
    "name,way", [("elman", "forward"), ("gru", "backward"), ("lstm", "forward")]
)
def test_float32_is_multiplied_as_tf32_where_pytorch_is_told_to(name, way):
    """By ``torch.set_float32_matmul_precision("high")``."""
    found = compiled(name, way, str(LARGEST[name]["float32"]), "float32", "tf32")
    assert found["tf32"]
    assert found["shared"] <= SHARED_OF_AN_H100
