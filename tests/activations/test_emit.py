"""Every emitter says the same, and what PyTorch asks of a function of tensors is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
import torch

import throughtime as tt
from throughtime.activations.emit import latex, text
from throughtime.activations.emit import numpy as numpy_emitter
from throughtime.activations.emit import torch as torch_emitter
from throughtime.activations.emit.program import OPERATIONS, NotEmittable, program
from throughtime.activations.parse import parse
from throughtime.activations.primitives import FUNCTIONS, sigmoid, softplus, stabilised, where, x

A = torch.linspace(-30, 30, 2401, dtype=torch.float64)
FAR = torch.linspace(-1e4, 1e4, 4001)


def slope(function, at):
    at = at.clone().requires_grad_()
    return torch.autograd.grad(function(at).sum(), at, create_graph=True)[0]


def parts(phi):
    symbols = [sympy.Symbol(name, real=True) for name in phi.parameters]
    return symbols, dict(zip(symbols, [p.default for p in phi.parameters.values()], strict=True))


@pytest.mark.parametrize("name", tt.activations())
def test_whole_operations_of_pytorch_equal_the_composed_ones(name):
    phi = tt.activation(name)
    symbols, defaults = parts(phi)
    composed = torch_emitter.composed(phi.expression, symbols, defaults)
    theta = [p.default for p in phi.parameters.values()]
    torch.testing.assert_close(phi(A), composed(A, *theta), rtol=1e-13, atol=1e-13)
    found, true = slope(phi, A), slope(lambda a: composed(a, *theta), A)
    torch.testing.assert_close(found, true, rtol=1e-12, atol=1e-12)
    on_far = composed(FAR.clone().requires_grad_(), *theta)
    assert on_far.isfinite().all()


def test_the_common_ones_are_one_operation_of_pytorch():
    whole = "relu leaky_relu elu selu gelu gelu_tanh silu mish log_sigmoid hard_tanh relu6"
    for name in [*whole.split(), "clipped_relu", "hard_swish"]:
        y = tt.activation(name)(torch.zeros(3, requires_grad=True))
        (leaf, _), *_ = y.grad_fn.next_functions
        assert type(leaf).__name__ == "AccumulateGrad", name


def test_a_formula_of_ones_own_in_other_words_is_recognised():
    own = tt.Activation("mine", "where(0 < x, x, k*expm1(x))", k=1.5)
    y = own(torch.zeros(3, requires_grad=True))
    assert type(y.grad_fn).__name__ == "EluBackward0"
    torch.testing.assert_close(own(A), torch.nn.functional.elu(A, 1.5))


@pytest.mark.parametrize("name", tt.activations())
def test_learnt_parameters_are_tensors_of_one_or_of_one_a_unit(name):
    phi = tt.activation(name)
    if not phi.parameters:
        return
    a = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    for shape in [(), (1,), (5,)]:
        theta = {
            key: torch.full(shape, p.default, dtype=torch.float64, requires_grad=True)
            for key, p in phi.parameters.items()
        }
        y = phi(a, **theta)
        torch.testing.assert_close(y, phi(a), rtol=1e-13, atol=1e-14)
        gradients = torch.autograd.grad(y.sum(), list(theta.values()), allow_unused=True)
        assert all(g is None or g.shape == shape for g in gradients)
        found = phi.derivative(a, **theta)
        torch.testing.assert_close(found, phi.derivative(a), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", tt.activations())
def test_gradients_of_gradients(name):
    a = (torch.randn(6, dtype=torch.float64) + 0.0137).requires_grad_()
    phi = tt.activation(name)
    assert torch.autograd.gradcheck(phi, a) and torch.autograd.gradgradcheck(phi, a)
    assert torch.autograd.gradcheck(phi.derivative, a) or not phi.derivative(a).requires_grad


@pytest.mark.parametrize("name", ["tanh", "elu", "mish", "modrelu", "power_law", "snake"])
def test_it_compiles_as_one_graph_exports_and_transforms(name):
    phi = tt.activation(name)

    class Both(torch.nn.Module):
        def forward(self, a):
            return phi(a) + phi.derivative(a)

    compiled = torch.compile(Both(), fullgraph=True, backend="aot_eager", dynamic=True)
    exported = torch.export.export(
        Both(), (torch.randn(3, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    for B in (2, 5):
        a = torch.randn(B, 4)
        torch.testing.assert_close(compiled(a), Both()(a))
        torch.testing.assert_close(exported(a), Both()(a))
    slopes = torch.func.vmap(torch.func.grad(phi))(a.reshape(-1))
    torch.testing.assert_close(slopes, phi.derivative(a.reshape(-1)))
    _, pushed = torch.func.jvp(phi, (a,), (torch.ones_like(a),))
    torch.testing.assert_close(pushed, phi.derivative(a))
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "formula",
    [
        "where(x > 1, log(x), x - 1)",
        "where(x > 1, sqrt(x - 0.5), x)",
        "where(x > k, log(x - k + 1), x - k)",
        "where(x > 0, x, k*exp(x)*(1 + x))",
        "where(x < -2, -exp(-(x + 2)^2), where(x > 2, x^12, tanh(x)))",
        "where(abs(x) > 2, sqrt(x*x - 3), x/2)",
    ],
)
def test_the_branch_not_taken_leaks_no_nan_into_the_gradient(formula):
    """Textbook: 0 times an infinite slope on the side that torch.where did not choose."""
    phi = tt.Activation("mine", formula, k=0.3)
    a = FAR / 10 + 0.0137
    k = torch.tensor(0.3, requires_grad=True)
    assert slope(phi, a).isfinite().all()
    assert not slope(lambda u: phi.derivative(u) + 0 * u, a).isnan().any()
    (by_k,) = torch.autograd.grad((phi(a, k=k) + 0 * k).sum(), k)
    assert by_k.isfinite()


def test_what_occurs_twice_is_done_once():
    u = sympy.tanh(softplus(x))
    steps = program([u * x + u**2, u], []).steps
    assert [s.operation for s in steps].count("tanh") == 1
    assert [s.operation for s in steps].count("softplus") == 1


def test_an_emitter_is_one_table_over_all_operations():
    for phi in map(tt.activation, tt.activations()):
        symbols, defaults = parts(phi)
        slopes = [phi.expression.diff(s) for s in symbols]
        steps = program(
            [phi.expression, phi.derivative_expression, *slopes],
            symbols,
            guarded=True,
            defaults=defaults,
        )
        assert {s.operation for s in steps.steps} <= set(OPERATIONS)
        known = set(steps.inputs)
        for step in steps.steps:
            assert {a for a in step.arguments if isinstance(a, str)} <= known
            known.add(step.name)
    with pytest.raises(NotEmittable, match="gamma"):
        program([sympy.gamma(x)], [])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_primitive_in_numpy_and_torch_is_sympys_own(name):
    own = {"sigmoid": sigmoid, "softplus": softplus}
    head = own.get(name) or getattr(tt.activations.primitives, name, None) or getattr(sympy, name)
    at = [0.3, 1.7] if name in ("log", "log1p") else [-2.3, -0.4, 0.0, 0.3, 1.7]
    k = sympy.Symbol("k", real=True)
    expected = [float(head(sympy.Float(v, 30)).evalf(20)) for v in at]
    tensor, array = torch.tensor(at, dtype=torch.float64), np.array(at)
    of_x, of_k = head(x), head(k)
    assert numpy_emitter.emit(of_x, [])(array).tolist() == pytest.approx(expected, abs=1e-15)
    assert torch_emitter.emit(of_x, [], {})(tensor).tolist() == pytest.approx(expected, abs=1e-15)
    on_numbers = torch_emitter.emit(of_k, [k], {k: 0.3})
    for value, true in zip(at, expected, strict=True):
        zero = torch.zeros(2, dtype=torch.float64)
        assert on_numbers(zero, value).tolist() == pytest.approx([true] * 2, abs=1e-15)
        as_tensor = torch.tensor(value, dtype=torch.float64)
        assert on_numbers(zero, as_tensor).tolist() == pytest.approx([true] * 2, abs=1e-15)


@pytest.mark.parametrize("name", tt.activations())
def test_the_text_of_an_expression_is_read_back_as_the_same(name):
    phi = tt.activation(name)
    symbols = {"x": x} | {k: sympy.Symbol(k, real=True) for k in phi.parameters}
    for expression in (phi.expression, phi.derivative_expression):
        again = stabilised(parse(name, text.emit(expression), symbols))
        found, true = (
            numpy_emitter.emit(e.subs(parts(phi)[1]), [])(A.numpy()) for e in (again, expression)
        )
        np.testing.assert_allclose(found, true, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x*sigmoid(x)", r"x \sigma\left(x\right)"),
        ("sigmoid(x)^2", r"\sigma^{2}\left(x\right)"),
        ("softplus(x)", r"\operatorname{softplus}\left(x\right)"),
        ("expm1(x)", r"\left(e^{x} - 1\right)"),
        ("log1p(x*x)", r"\log\left(1 + x^{2}\right)"),
        ("tanh(x)/2", r"\frac{\tanh{\left(x \right)}}{2}"),
    ],
)
def test_latex(formula, expected):
    assert latex.emit(parse("mine", formula, {"x": x})) == expected


def test_slopes_keep_their_digits_in_both_tails():
    a = torch.tensor([-60.0, -30.0, 30.0, 60.0])
    expected = torch.exp(-a.abs())
    for name, at in [
        ("sigmoid", slice(None)),
        ("softplus", slice(2)),
        ("log_sigmoid", slice(2, 4)),
    ]:
        found = tt.activation(name).derivative(a)
        torch.testing.assert_close(found[at], expected[at], rtol=1e-5, atol=0)
    softsign = tt.activation("softsign").derivative(torch.tensor([1e4]))
    torch.testing.assert_close(softsign, torch.tensor([10001.0**-2]), rtol=1e-5, atol=0)


def test_branches_know_what_was_chosen_already_and_nan_stays():
    inner = where(x > 0, sympy.tanh(x), 0)
    assert where(x > 0, inner, 1) == where(x > 0, sympy.tanh(x), 1)
    for condition in (x > 0, x >= 0, sympy.And(x > -1, x < 1), sympy.Or(x > 1, x < -1)):
        function = torch_emitter.emit(where(condition, x, 0), [], {})
        assert function(torch.tensor([math.nan])).isnan().all()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_tensors_that_are_no_real_numbers_are_refused(dtype):
    with pytest.raises(tt.errors.ActivationError, match=str(dtype)):
        tt.activation("tanh")(torch.ones(2).to(dtype))
