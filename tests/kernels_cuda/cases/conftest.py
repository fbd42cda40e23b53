"""Run by ../test_interpreted.py, or by hand with TRITON_INTERPRET=1 where there is no GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "kernels")]

if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def nan_filled():
    """Whatever PyTorch allocates without a value holds NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def pytest_configure(config):
    # the interpreter computes both branches with NumPy
    config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning")
