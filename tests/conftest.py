from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_configure(config):
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder shared/data with the real data sets is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def english():
    """Messages in English whatever the machine's locale, unless a test says otherwise."""
    from throughtime.language import use_language

    use_language("en")
    yield
    use_language(None)


@pytest.fixture
def fresh_python() -> str:
    """The interpreter for tests that start a process of their own."""
    return sys.executable
