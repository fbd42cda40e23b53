"""From the activations of a call to its cell, and to a key that fits into a graph or a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from throughtime.activations import Activation, BoundActivation
from throughtime.kernels.cpu.pointwise import Cell

Pointwise = Callable[[Tensor], Tensor]
Activations = tuple[Activation, ...]
Names = tuple[tuple[str, ...], ...]

# with the activations, so that their identities stay theirs
_by_identity: dict[tuple, tuple[Activations, Cell]] = {}
_by_key: dict[str, Cell] = {}


def activations_of(places: Sequence[Pointwise]) -> tuple[Activations, Names] | None:
    """The activations of a call and the parameters bound to tensors in each place.

    None where a place holds any other callable.
    """
    activations, bound = [], []
    for phi in places:
        if isinstance(phi, BoundActivation):
            activations.append(phi.activation)
            bound.append(tuple(phi.theta))
        elif isinstance(phi, Activation):
            activations.append(phi)
            bound.append(())
        else:
            return None
    return tuple(activations), tuple(bound)


def cell(name: str, activations: Activations, learnt: Names, leak: float) -> Cell:
    """The cell of these activations, the same object each time."""
    identity = (name, tuple(map(id, activations)), learnt, leak)
    known = _by_identity.get(identity)
    if known is None:
        if len(_by_identity) > 1000:
            _by_identity.clear()
        text = key(name, activations, learnt, leak)
        mine = Cell(name, activations, learnt, leak, text)
        known = activations, _by_key.setdefault(text, mine)
        _by_identity[identity] = known
    return known[1]


def key(name: str, activations: Activations, learnt: Names, leak: float) -> str:
    """The cell as text, from which another process makes the same one."""
    return json.dumps([name, [phi.to_config() for phi in activations], learnt, leak])


def constant_key(name: str, learnt: Names, leak: str, *activations: Activation) -> str:
    """:func:`key` for a graph that is being traced; the leak, else traced too, as hexadecimals."""
    return key(name, activations, learnt, float.fromhex(leak))


# what torch.compiler.assume_constant_result does, without importing the compiler
constant_key._dynamo_marked_constant = True  # pyright: ignore


def cell_of(text: str) -> Cell:
    """The cell of a key."""
    known = _by_key.get(text)
    if known is None:
        name, configs, learnt, leak = json.loads(text)
        with _disable_current_modes():  # the text may be met while only shapes are computed
            activations = tuple(map(Activation.from_config, configs))
        known = _by_key[text] = Cell(name, activations, tuple(map(tuple, learnt)), leak, text)
    return known
