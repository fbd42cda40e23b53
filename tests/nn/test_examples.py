"""The examples of the documentation run and say what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["cells.elman", "cells.gru", "cells.lstm", "nn.init", "nn.layers", "nn.cells",
           "nn.convert"]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"throughtime.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
