"""From a name to its activation."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from throughtime.activations.formula import Activation
from throughtime.errors import ActivationError


def names() -> list[str]:
    """The names of the catalogue, in its order."""
    return list(_catalogue())


def activation(which: str | Activation, **parameters: float) -> Activation:
    """An activation by name, with other parameters if wanted; an Activation passes through.

    Raises:
        ActivationError: no such name (the nearest ones are told), or no such parameter.

    Example:
        >>> activation("leaky_relu", slope=0.2)
        Activation('leaky_relu', 'where(x > 0, x, slope*x)', slope=0.2)
    """
    if not isinstance(which, Activation):
        known = _catalogue()
        if which not in known:
            near = get_close_matches(str(which), known, n=3, cutoff=0.5)
            raise ActivationError(
                "activations.unknown_name", name=which, near=", ".join(near or known)
            )
        which = known[which]
    return which.with_parameters(**parameters) if parameters else which


@cache
def _catalogue() -> dict[str, Activation]:
    from throughtime.activations.catalogue import CATALOGUE

    return {phi.name: phi for phi in CATALOGUE}
