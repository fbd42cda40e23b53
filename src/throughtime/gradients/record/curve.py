"""φ and φ' at many points, by the kernels' machine code where it has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from throughtime.gradients.record.pointwise import Pointwise


def value(phi: Pointwise, a: Tensor) -> Tensor:
    """φ(a)."""
    from throughtime.kernels import curve

    found = curve.value(written(phi.value), a)
    return phi.value(a) if found is None else found


def slope(phi: Pointwise, a: Tensor) -> Tensor:
    """φ'(a)."""
    from throughtime.kernels import curve

    found = curve.slope(written(phi.value), a)
    return phi.slope(a) if found is None else found


def both(phi: Pointwise, a: Tensor) -> tuple[Tensor, Tensor]:
    """φ(a) and φ'(a)."""
    known = value(phi, a)
    return known, slope(phi, a) if phi.slope_of is None else phi.slope_of(known)


def written(phi: Any) -> Any:
    """The activation of the catalogue that a function of PyTorch is; any other as it is."""
    from throughtime.activations import activation

    names = {torch.tanh: "tanh", torch.relu: "relu", torch.sigmoid: "sigmoid"}
    return activation(names[phi]) if phi in names else phi
