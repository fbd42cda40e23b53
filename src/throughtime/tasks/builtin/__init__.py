"""Sets that need no file: ``digits``, problems of the literature, and ``ucr:NAME``."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args, get_type_hints

from throughtime.errors import DataError
from throughtime.tasks.builtin.chaos import mackey_glass
from throughtime.tasks.builtin.digits import digits
from throughtime.tasks.builtin.synthetic import (
    adding,
    anbn,
    copy_memory,
    noisy_sine,
    temporal_order,
)
from throughtime.tasks.builtin.ucr import ucr
from throughtime.tasks.options import Options
from throughtime.tasks.task import Task

_SETS: dict[str, Callable[..., Task]] = {
    f.__name__: f
    for f in (digits, adding, copy_memory, temporal_order, anbn, noisy_sine, mackey_glass)
}


def names() -> list[str]:
    """The built-in sets, for ``load``."""
    return [*_SETS, "ucr:NAME"]


def is_builtin(source: object) -> bool:
    """Whether ``source`` names a built-in set and no file."""
    if not isinstance(source, str) or os.path.exists(source):
        return False
    name, colon, _ = source.partition(":")
    return _plain(name) in _SETS or (name == "ucr" and bool(colon))


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def builtin(source: str, parameters: dict[str, Any], options: Options) -> Task:
    """The set ``name``, ``name:T=200,N=2000`` or ``ucr:NAME:folder=DIR``, keywords added.

    Raises:
        DataError: a parameter is not known or has no usable value.
    """
    name, _, rest = source.partition(":")
    if name == "ucr":
        member, _, text = rest.partition(":")
        key, _, value = text.partition("=")
        given = {key.strip(): value.strip(), **parameters} if text else parameters
        return ucr(member, options, **_only_folder(f"ucr:{member}", given))
    build = _SETS[_plain(name)]
    known = {k: v for k, v in get_type_hints(build).items() if k != "return"}
    given = dict(parameters)
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        given[key.strip()] = value.strip()
    taken = [option for option in options.given() if option in known]
    given |= {option: getattr(options, option) for option in taken}
    options.only("builtin", "test_share", "validation_share", "name", *taken)
    arguments = {}
    for key, value in given.items():
        if key not in known:
            raise DataError(
                "tasks.unknown_parameter", name=name, parameter=key, known=", ".join(known) or "–"
            )
        arguments[key] = _number(name, key, value, known[key])
    return _divided(build(**arguments), options)


def _divided(task: Task, options: Options) -> Task:
    """Shares and name as the person said."""
    if task.given is not None:
        options.refuse("given", "test_share", "validation_share")
    about = {"test_share", "validation_share", "name"}.intersection(options.given())
    said = {option: getattr(options, option) for option in about}
    return replace(task, **said)


def _only_folder(source: str, parameters: dict[str, Any]) -> dict[str, Any]:
    unknown = parameters.keys() - {"folder"}
    if unknown:
        raise DataError(
            "tasks.unknown_parameter", name=source, parameter=min(unknown), known="folder"
        )
    return parameters


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
