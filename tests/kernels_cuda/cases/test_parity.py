"""The GPU kernels against the page-long truth: outputs, every gradient, both plans.

On a GPU they run there; without one, in Triton's interpreter on tensors of the CPU.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from kernel_calls import GATES, PLACES, Call, call, learnt

from throughtime import cells, kernels
from throughtime.activations import Activation, BoundActivation, activation
from throughtime.kernels import engine, tap
from throughtime.kernels.cuda import plan, stepwise

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
OWN = Activation("own", "x/(1 + abs(x)) + 0.3*sin(k*x)", k=0.7, learnable=("k",))


@pytest.fixture(autouse=True)
def the_gpu_s_kernels(monkeypatch):
    """Without a GPU, tensors of the CPU go to its kernels too."""
    if not ON_GPU:
        monkeypatch.setattr(engine, "CPU", replace(engine.CUDA, name="cuda"))


@pytest.fixture(params=["persistent", "stepwise"])
def either_plan(request, monkeypatch):
    """Each plan, whatever the shape; pieces are short, so that a call takes several."""
    choose = plan.plan

    def chosen(name, B, H, dtype):
        usual = choose(name, B, H, dtype)
        if request.param == "persistent":
            return replace(usual, rows=4)
        return replace(usual, persistent=False, rows=4, units=8)

    monkeypatch.setattr(plan, "plan", chosen)
    monkeypatch.setattr(stepwise, "PIECE", 2)
    stepwise._kept.clear()
    return request.param


def moved(given: Call) -> Call:
    """The call on the GPU, if there is one."""

    def to(t):
        if not isinstance(t, torch.Tensor):
            return t
        return t.detach().to(DEVICE).requires_grad_(t.requires_grad)

    places = tuple(
        p.activation.bind({k: to(t) for k, t in p.theta.items()})
        if isinstance(p, BoundActivation)
        else p
        for p in given.places
    )
    options = {k: to(v) for k, v in given.options.items()}
    return replace(given, tensors=tuple(map(to, given.tensors)), places=places, options=options)


def assert_same(given: Call, tolerance: float = 1e-10) -> None:
    """Outputs and gradients of the kernel are those of the truth in float64."""
    here = moved(given)
    options = {k: v for k, v in here.options.items() if k != "reverse"}
    assert kernels.backend(here.name, here.tensors, here.places, **options).name == "cuda"
    wide = moved(given.to(torch.float64))
    outputs, truths = here.run(), wide.run(cells)
    for ours, truth in zip(outputs, truths, strict=True):
        torch.testing.assert_close(ours.double(), truth, rtol=tolerance, atol=tolerance)
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(y.shape, generator=draw, dtype=torch.float64) for y in truths]
    narrow = [w.to(outputs[0]) for w in weights]
    truths = wide.gradients(cells, [w.double() for w in narrow])
    loss = sum((y * w).sum() for y, w in zip(outputs, narrow, strict=True))
    found = torch.autograd.grad(loss, here.leaves, materialize_grads=True, allow_unused=True)
    for ours, truth in zip(found, truths, strict=True):
        scale = max(1.0, truth.abs().max().item()) if truth.numel() else 1.0
        torch.testing.assert_close(ours.double(), truth, rtol=0, atol=tolerance * scale)


def ragged(T: int, B: int) -> torch.Tensor:
    """Lengths of a batch: all, none, and between."""
    return torch.tensor([T, 0, *(1 + (3 * b) % T for b in range(2, B))][:B])


OPTIONS = {
    "plain": {},
    "reverse": {"reverse": True},
    "lengths": {"lengths": ragged(5, 5)},
    "lengths, reverse": {"lengths": ragged(5, 5), "reverse": True},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("name", GATES)
def test_every_way_to_call(name, options, either_plan, nan_filled):
    given = call(name, 5, 5, 3, 9, **options)
    if "lengths" in options:
        padding = torch.arange(5).unsqueeze(-1) >= options["lengths"]
        with torch.no_grad():
            given.tensors[0][padding] = torch.nan
    assert_same(given)


@pytest.mark.parametrize("options", [{}, {"lengths": ragged(5, 5), "reverse": True}], ids=str)
def test_leak(options, either_plan, nan_filled):
    assert_same(call("elman", 5, 5, 3, 9, leak=0.3, **options))


@pytest.mark.parametrize("phi", ["prelu", "elu", "gelu", "own"])
@pytest.mark.parametrize("name", GATES)
def test_activations_in_every_place_with_learnt_parameters(name, phi, either_plan, nan_filled):
    H = 5
    phi = OWN if phi == "own" else activation(phi)
    places = tuple(learnt(phi, H, seed=k) if phi.parameters else phi for k in range(PLACES[name]))
    assert_same(call(name, 4, 3, 2, H, places, lengths=ragged(4, 3)))


@pytest.mark.parametrize("T,B,I,H", [(1, 1, 1, 1), (2, 7, 1, 3), (3, 2, 9, 17), (3, 5, 2, 2)])
@pytest.mark.parametrize("name", GATES)
def test_odd_sizes(name, T, B, I, H, either_plan, nan_filled):  # noqa: E741
    assert_same(call(name, T, B, I, H))


@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 2e-6), (torch.float16, 1e-2),
                                             (torch.bfloat16, 8e-2)], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", GATES)
def test_formats(name, dtype, tolerance, either_plan, nan_filled):
    given = call(name, 4, 3, 3, 7, dtype=dtype, lengths=ragged(4, 3), reverse=True)
    assert_same(given, tolerance)


@pytest.mark.parametrize("T,B", [(0, 3), (3, 0)])
@pytest.mark.parametrize("name", GATES)
def test_nothing_to_do(name, T, B, either_plan):
    assert_same(call(name, T, B, 2, 3))


@pytest.mark.parametrize("name", GATES)
def test_views_and_gradients_that_are_the_same_along_time(name, either_plan):
    given = moved(call(name, 4, 3, 2, 5))
    x, *rest = given.tensors
    other = Call(name, (x.transpose(0, 1).contiguous().transpose(0, 1), *rest), given.places, {})
    found, truth = (
        torch.autograd.grad(other.run(room)[0].mean(), other.leaves[1:])
        for room in (kernels, cells)
    )
    for a, b in zip(found, truth, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", GATES)
def test_only_what_is_wanted(name, either_plan, nan_filled):
    """Gradients of one argument at a time, of the last state only."""
    given = moved(call(name, 2, 3, 2, 5, lengths=ragged(2, 3)))
    for k, t in enumerate(given.tensors):
        alone = [None if u is None else u.detach() for u in given.tensors]
        alone[k] = t.detach().requires_grad_()
        one = Call(name, tuple(alone), given.places, given.options)
        a, b = (torch.autograd.grad(one.run(room)[1].sum(), alone[k]) for room in (kernels, cells))
        torch.testing.assert_close(a[0], b[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", GATES)
def test_without_gradients_it_is_the_same(name, either_plan, nan_filled):
    given = moved(call(name, 5, 5, 3, 9, lengths=ragged(5, 5)))
    with torch.no_grad():
        for ours, truth in zip(given.run(), given.run(cells), strict=True):
            torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", GATES)
def test_gradients_of_gradients_through_the_reference(name):
    given = moved(call(name, 2, 2, 2, 3))

    def twice(room):
        loss = given.run(room)[0].square().sum()
        (first,) = torch.autograd.grad(loss, given.tensors[0], create_graph=True)
        return torch.autograd.grad(first.square().sum(), given.leaves, materialize_grads=True)

    for a, b in zip(twice(kernels), twice(cells), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", GATES)
def test_a_tap_hears_the_gradient_at_each_preactivation(name, either_plan):
    """The sum over time of δ is the gradient of a bias."""
    given, heard = moved(call(name, 4, 3, 2, 5)), []
    with tap.recording(lambda number, found: heard.append(found)):
        y = given.run()[0]
    (by_bias,) = torch.autograd.grad(y.square().sum(), given.tensors[-2])
    (found,) = heard
    torch.testing.assert_close(found["delta"].sum((0, 1)), by_bias, rtol=1e-10, atol=1e-10)
    assert found["preactivation"].isfinite().all()


@pytest.mark.parametrize("name", GATES)
def test_the_activation_changes_the_output(name, either_plan):
    tanh = moved(call(name, 4, 3, 2, 5))
    for k in range(len(tanh.places)):
        places = list(tanh.places)
        places[k] = activation("elu")
        other = Call(name, tanh.tensors, tuple(places), {})
        assert not torch.allclose(tanh.run()[0], other.run()[0], atol=1e-3)


def test_pieces_that_are_kept_forget_the_call_before(either_plan):
    given = [moved(call("lstm", 5, 3, 2, 5, seed=seed)) for seed in (0, 1)]
    first = given[0].run()
    given[1].gradients()
    for a, b in zip(first, given[0].run(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_small_cells_stay_on_the_chip_and_large_ones_do_not():
    for name in GATES:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            kinds = [plan.plan(name, 32, H, dtype).persistent for H in (1, 16, 1024)]
            assert kinds == [True, True, False]
