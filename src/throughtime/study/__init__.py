"""The chooser: plan, run, ledger, judge."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_HOMES = {
    "Choice": "chooser",
    "choose": "chooser",
    "reopen": "chooser",
    "Ledger": "ledger",
    "Plan": "plan",
    "Space": "plan",
}

__all__ = ["Choice", "Ledger", "Plan", "Space", "choose", "reopen"]

if TYPE_CHECKING:
    from throughtime.study.chooser import Choice, choose, reopen
    from throughtime.study.ledger import Ledger
    from throughtime.study.plan import Plan, Space


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
