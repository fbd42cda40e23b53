"""An activation and its slope at many points, in one pass."""

from __future__ import annotations

import pytest
import torch

from throughtime.activations import activation, names
from throughtime.kernels.curve import slope, value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", names())
def test_a_curve_is_the_activation_and_its_derivative(name, dtype):
    """Also at 0, where the last vector is not full, and where there is nothing."""
    phi = activation(name)
    for shape in ((3, 5, 131), (2, 512), (1,), (0, 4)):
        a = torch.randn(shape, dtype=dtype) * 4
        a.flatten()[:3] = 0.0
        before = a.clone()
        torch.testing.assert_close(value(phi, a), phi(a))
        torch.testing.assert_close(slope(phi, a), phi.derivative(a))
        assert torch.equal(a, before)
    for a in (torch.randn(6, 4, dtype=dtype).T, torch.randn(40, dtype=dtype)[1:38]):
        torch.testing.assert_close(value(phi, a), phi(a))
        torch.testing.assert_close(slope(phi, a), phi.derivative(a))


@pytest.mark.parametrize("curve", [value, slope])
def test_no_curve(curve):
    a = torch.randn(4)
    assert curve(torch.sin, a) is None
    assert curve(activation("elu"), a.half()) is None
    assert curve(activation("elu").bind({"alpha": torch.ones(4)}), a) is None
