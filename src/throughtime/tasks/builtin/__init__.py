"""Sets that need no file: ``digits``, problems of the literature, and ``ucr:NAME``."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

from throughtime.errors import DataError
from throughtime.tasks.builtin.digits import digits
from throughtime.tasks.builtin.synthetic import adding
from throughtime.tasks.task import Task

_SETS: dict[str, Callable[..., Task]] = {f.__name__: f for f in (digits, adding)}


def names() -> list[str]:
    """The built-in sets, for ``load``."""
    return [*_SETS, "ucr:NAME"]


def is_builtin(source: object) -> bool:
    """Whether ``source`` names a built-in set and no file."""
    if not isinstance(source, str) or os.path.exists(source):
        return False
    return source.partition(":")[0].replace("-", "_") in {*_SETS, "ucr"}


def builtin(source: str, parameters: dict[str, Any]) -> Task:
    """The built-in set ``name`` or ``name:T=200,N=2000``, keyword parameters added.

    Raises:
        DataError: a parameter is not known or has no usable value.
    """
    name, _, rest = source.partition(":")
    build = _SETS[name.replace("-", "_")]
    known = {k: v for k, v in get_type_hints(build).items() if k != "return"}
    given = dict(parameters)
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        given[key.strip()] = value.strip()
    arguments = {}
    for key, value in given.items():
        if key not in known:
            raise DataError(
                "tasks.unknown_parameter", name=name, parameter=key, known=", ".join(known) or "–"
            )
        arguments[key] = _number(name, key, value, known[key])
    return build(**arguments)


def _number(name: str, key: str, value: Any, kind: Any) -> int | float:
    """A parameter as the number its function wants."""
    kind = next(k for k in (get_args(kind) or (kind,)) if k is not types.NoneType)
    try:
        number = kind(value)
        if isinstance(value, bool) or number != float(value):
            raise ValueError(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError("tasks.bad_parameter", name=name, parameter=key, value=value) from None
    return number


__all__ = ["builtin", "is_builtin", "names"]
