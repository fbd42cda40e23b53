"""Every text the room says is in the catalogue, and every entry of it is said."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import throughtime.tasks
from throughtime.language import entries
from throughtime.tasks import PROBLEMS

ROOM = Path(throughtime.tasks.__file__).parent
SOURCE = "\n".join(p.read_text(encoding="utf-8") for p in ROOM.rglob("*.py"))
MODULES = [m.name for m in pkgutil.walk_packages([str(ROOM)], "throughtime.tasks.")]
BASELINES = ("majority", "mean", "median", "last_value", "seasonal_naive", "unigram", "by_position")


def said() -> set[str]:
    keys = set(re.findall(r'"tasks\.(\w+)"', SOURCE))
    kinds = re.findall(r'\.(?:refuse|only)\(\s*"(\w+)"', SOURCE)
    keys |= {f"without_effect_{kind}" for kind in kinds}
    keys |= {f"baseline_{name}" for name in BASELINES} | {f"note_{p}" for p in PROBLEMS}
    return keys - {"baseline_"}


def test_the_catalogue_and_the_code_name_the_same_texts():
    assert said() == set(entries("tasks"))


@pytest.mark.parametrize("key", entries("tasks"))
def test_an_entry_has_both_languages_and_the_same_placeholders(key):
    entry = entries("tasks")[key]
    fields = [set(re.findall(r"{(\w+)", entry[language])) for language in ("en", "zh")]
    assert fields[0] == fields[1]
    assert re.search(r"[\u4e00-\u9fff]", entry["zh"])


@pytest.mark.parametrize("name", ["throughtime.tasks", *MODULES])
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
