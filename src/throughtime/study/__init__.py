"""The chooser: plan, run, ledger, judge."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_HOMES = {
    "Choice": "choose",
    "choose": "choose",
    "reopen": "choose",
    "Ledger": "ledger",
    "Plan": "plan",
    "Space": "plan",
}

__all__ = ["Choice", "Ledger", "Plan", "Space", "choose", "reopen"]

if TYPE_CHECKING:
    from throughtime.study.choose import Choice, choose, reopen
    from throughtime.study.ledger import Ledger
    from throughtime.study.plan import Plan, Space


def __getattr__(name: str):
    if name in _HOMES:
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        # `choose` is also the module's name, which the import has just bound here
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
