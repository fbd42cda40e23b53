"""``load``: any source of sequences to a task."""

from __future__ import annotations

from typing import Any

from throughtime.errors import DataError
from throughtime.tasks.builtin import builtin, is_builtin
from throughtime.tasks.task import Task


def load(source: Any, **parameters: Any) -> Task:
    """A task from a built-in set."""
    if is_builtin(source):
        return builtin(source, parameters)
    raise DataError("tasks.unknown_source", source=source)
