"""The report of a study: one page that opens from disk, and the table on the terminal."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_HOMES = {
    "render": "page",
    "write": "page",
    "advice": "terminal",
    "answer": "terminal",
    "ranked_table": "terminal",
}
_MODULES = ("charts", "page", "terminal")

__all__ = ["advice", "answer", "charts", "page", "ranked_table", "render", "terminal", "write"]

if TYPE_CHECKING:
    from throughtime.report import charts, page, terminal
    from throughtime.report.page import render, write
    from throughtime.report.terminal import advice, answer, ranked_table


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
