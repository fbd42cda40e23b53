"""From a name to its activation."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import NoReturn

from throughtime.activations.catalogue import CATALOGUE
from throughtime.activations.formula import Activation
from throughtime.errors import ActivationError


def names() -> list[str]:
    """The names of the catalogue, in its order.

    Example:
        >>> names()[:3]
        ['identity', 'tanh', 'relu']
    """
    return list(CATALOGUE)


def activation(which: str | Activation, /, **parameters: float) -> Activation:
    """An activation by name, with other parameters if wanted; an Activation passes through.

    Args:
        which: a name of the catalogue (``throughtime.activations()``), or an Activation.
        parameters: other defaults for its parameters.

    Raises:
        ActivationError: no such name (the nearest ones are told), or no such parameter.

    Example:
        >>> activation("leaky_relu", slope=0.2)
        Activation('leaky_relu', 'where(x > 0, x, slope*x)', slope=0.2)
    """
    if isinstance(which, str):
        which = _built(which) if which in CATALOGUE else _unknown(which)
    elif not isinstance(which, Activation):
        raise ActivationError("activations.not_a_name", kind=type(which).__name__)
    return which.with_parameters(**parameters) if parameters else which


@cache
def _built(name: str) -> Activation:
    return CATALOGUE[name]()


def _unknown(name: str) -> NoReturn:
    """By spelling, or by the same letters (``LeakyReLU``)."""
    letters = {_letters(known): known for known in CATALOGUE}
    same = [letters[_letters(name)]] if _letters(name) in letters else []
    near = same + [n for n in get_close_matches(name, CATALOGUE, n=3, cutoff=0.5) if n not in same]
    near = ", ".join(near or CATALOGUE)
    is_formula = any(c in name for c in "()*/+^=")
    key = "unknown_name_formula" if is_formula else "unknown_name"
    raise ActivationError(f"activations.{key}", name=name, near=near)


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
