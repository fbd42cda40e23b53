"""What the kernels do one way at a time."""

from __future__ import annotations

import pytest
import torch

from throughtime.activations import activation, names
from throughtime.kernels.adjoint import slope


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", names())
def test_a_slope_in_one_pass_is_the_derivative(name, dtype):
    """Also at 0, and where the last row of the tile is not full, or all are."""
    phi = activation(name)
    for shape in ((3, 5, 131), (2, 512), (0, 4)):
        a = torch.randn(shape, dtype=dtype) * 4
        a.flatten()[:3] = 0.0
        before = a.clone()
        torch.testing.assert_close(slope(phi, a), phi.derivative(a))
        assert torch.equal(a, before)
    a = torch.randn(6, 4, dtype=dtype)
    torch.testing.assert_close(slope(phi, a.T), phi.derivative(a.T))


def test_no_slope_in_one_pass():
    a = torch.randn(4)
    assert slope(torch.sin, a) is None
    assert slope(activation("elu"), a.half()) is None
    assert slope(activation("elu").bind({"alpha": torch.ones(4)}), a) is None
