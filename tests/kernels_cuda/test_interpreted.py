"""The cases of this folder in a process of their own, in which Triton may be told to interpret.

On a machine with a GPU the same cases run on it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

CASES = Path(__file__).parent / "cases"

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton, which the GPU kernels are written in, is missing"
)


@pytest.mark.parametrize("file", sorted(f.name for f in CASES.glob("test_*.py")))
def test_every_case_passes(file):
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--no-header", CASES / file]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
