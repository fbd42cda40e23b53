"""Activation functions: one formula each, everything else derived from it.

``throughtime.activations`` is this package and, called, the list of the catalogue's names: the
public face has ``tt.activations()``, and a package's name in its parent is always the package.
"""

from __future__ import annotations

import sys
from types import ModuleType

from throughtime.activations.formula import Activation, BoundActivation, Parameter
from throughtime.activations.lookup import activation, names

__all__ = ["Activation", "BoundActivation", "Parameter", "activation", "names"]


class _Listing(ModuleType):
    def __call__(self) -> list[str]:
        """The names of the catalogue."""
        return names()


sys.modules[__name__].__class__ = _Listing
