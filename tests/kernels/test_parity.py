"""The kernels against the truth: outputs and every gradient, over cells, activations and modes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import DEFAULTS, GATES, PLACES, assert_same, call, learnt

from throughtime import cells
from throughtime.activations import Activation, activation, names

pytestmark = pytest.mark.usefixtures("nan_filled")


def placed(name: str, place: int, phi) -> tuple:
    places = list(DEFAULTS[name])
    places[place] = phi
    return tuple(places)


@pytest.mark.parametrize("phi", names())
@pytest.mark.parametrize("name", GATES)
def test_every_activation_in_the_place_of_the_candidate(name, phi):
    """Leaves away from kinks only by luck: float64 makes a hit next to impossible."""
    assert_same(call(name, 5, 3, 2, 19, placed(name, 0, phi)))


@pytest.mark.parametrize("phi", ["elu", "softsign", "hard_sigmoid", "gelu", "sin"])
@pytest.mark.parametrize(("name", "place"), [("gru", 1), ("lstm", 1), ("lstm", 2)])
def test_other_places(name, place, phi):
    assert_same(call(name, 4, 3, 2, 17, placed(name, place, phi)))


@pytest.mark.parametrize("phi", [p for p in names() if activation(p).parameters])
@pytest.mark.parametrize(("name", "place"), [(n, p) for n in GATES for p in range(PLACES[n])])
def test_learnt_parameters_in_every_place(name, place, phi):
    H = 18
    assert_same(call(name, 4, 3, 2, H, placed(name, place, learnt(activation(phi), H))))


def test_parameters_shared_and_one_a_unit_and_fixed_in_one_call():
    phi = Activation(
        "three", "a*tanh(b*x) + c*x", learnable={"a": "shared", "c": "unit"}, a=1.0, b=0.8, c=0.1
    )
    theta = {
        "a": torch.tensor([1.1], dtype=torch.float64, requires_grad=True),
        "c": torch.rand(5, dtype=torch.float64).requires_grad_(),
    }
    gate = learnt(activation("prelu"), 5)
    assert_same(call("gru", 3, 2, 4, 5, (phi.bind(theta), gate)))
    assert_same(call("elman", 3, 2, 4, 5, (phi.bind(theta),), leak=0.25))


MODES = {
    "plain": {},
    "reverse": {"reverse": True},
    "lengths": {"lengths": torch.tensor([4, 0, 7, 1, 7])},
    "lengths in reverse": {"lengths": torch.tensor([4, 0, 7, 1, 7]), "reverse": True},
    "lengths in int32": {"lengths": torch.tensor([7, 6, 5, 4, 3], dtype=torch.int32)},
    "lengths all 0": {"lengths": torch.zeros(5, dtype=torch.long)},
    "no bias": {"bias": False},
    "no bias in reverse": {"bias": False, "reverse": True},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GATES)
def test_modes(name, mode):
    assert_same(call(name, 7, 5, 3, 6, **MODES[mode]))


@pytest.mark.parametrize("leak", [0.3, 1.0])
@pytest.mark.parametrize("mode", MODES)
def test_leak(leak, mode):
    assert_same(call("elman", 7, 5, 3, 6, leak=leak, **MODES[mode]))


@given(
    name=st.sampled_from(sorted(GATES)),
    T=st.integers(0, 9),
    B=st.integers(0, 70),
    I=st.integers(1, 40),
    H=st.integers(1, 70),
    reverse=st.booleans(),
    short=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_sizes(name, T, B, I, H, reverse, short, seed):  # noqa: E741
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, T + 1, (B,), generator=draw) if short else None
    assert_same(call(name, T, B, I, H, lengths=lengths, reverse=reverse, seed=seed), 1e-9)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("size", [(3, 2, 5, 512), (3, 130, 260, 40), (200, 3, 4, 16)])
def test_sizes_beyond_the_nearest_cache(name, size):
    assert_same(call(name, *size), 1e-9)


@pytest.mark.parametrize("name", GATES)
def test_float32_is_as_near_to_float64_as_the_truth_in_float32(name):
    """Errors against float64, ours and those of plain PyTorch in float32."""
    wide = call(name, 60, 9, 8, 48)
    narrow = wide.to(torch.float32)
    truth = [*wide.run(cells), *wide.gradients(cells)]
    ours = [*narrow.run(), *narrow.gradients()]
    theirs = [*narrow.run(cells), *narrow.gradients(cells)]
    for t, a, b in zip(truth, ours, theirs, strict=True):
        assert (a - t).norm() <= 2 * (b - t).norm() + 1e-6 * t.norm()


@pytest.mark.parametrize("name", GATES)
def test_only_the_last_state_counts(name):
    given = call(name, 6, 4, 3, 5)
    outputs, truth = given.run(), given.run(cells)
    for which in range(len(outputs)):
        found = torch.autograd.grad(
            outputs[which].sum(), given.leaves, retain_graph=True, allow_unused=True
        )
        wanted = torch.autograd.grad(
            truth[which].sum(), given.leaves, retain_graph=True, allow_unused=True
        )
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", GATES)
def test_gradients_of_a_few_leaves_are_those_of_all(name):
    given = call(name, 6, 4, 3, 5)
    everything = given.gradients()
    for i, leaf in enumerate(given.leaves):
        for other in given.leaves:
            other.requires_grad_(other is leaf)
        torch.testing.assert_close(given.gradients()[0], everything[i], rtol=0, atol=0)
        for other in [t for t in given.tensors if t is not None]:
            other.requires_grad_()


@pytest.mark.parametrize("name", GATES)
def test_tensors_that_do_not_lie_in_one_piece(name):
    given = call(name, 6, 4, 3, 5)
    x, *states, w_ih, w_hh, b_ih, b_hh = (t.detach() for t in given.tensors)
    spread = torch.randn(4, 6, 7, dtype=torch.float64)
    spread[:, :, ::2][:, :, :3] = x.transpose(0, 1)
    loose = (
        spread[:, :, ::2][:, :, :3].transpose(0, 1),
        *(s.t().contiguous().t() for s in states),
        w_ih.t().contiguous().t(),
        torch.stack([w_hh, w_hh], -1)[..., 0],
        torch.stack([b_ih, b_ih], -1)[..., 1],
        b_hh.expand(2, -1)[1],
    )
    tensors = tuple(t.requires_grad_() for t in loose)
    assert not tensors[0].is_contiguous()
    moved = type(given)(name, tensors, given.places, {})
    assert_same(moved)


@pytest.mark.parametrize("shape", ["T", "B", "H", "TB", "TBH"])
def test_incoming_gradients_that_are_the_same_along_an_axis(shape):
    given = call("gru", 6, 4, 3, 5)
    sizes = {"T": 6, "B": 4, "H": 5}
    small = torch.randn([1 if axis in shape else n for axis, n in sizes.items()]).double()
    weights = [small.expand(6, 4, 5), torch.zeros(4, 5).double()]
    y, _ = given.run()
    found = torch.autograd.grad(y, given.leaves, weights[0])
    for ours, truth in zip(found, given.gradients(cells, weights), strict=True):
        torch.testing.assert_close(ours, truth, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", GATES)
def test_a_call_that_learns_nothing_keeps_nothing(name):
    given = call(name, 6, 4, 3, 5)
    with torch.no_grad():
        alone = given.run()
    for a, b in zip(alone, given.run(), strict=True):
        assert a.grad_fn is None
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", GATES)
def test_steps_one_at_a_time_are_the_sequence(name):
    given = call(name, 6, 3, 4, 21, dtype=torch.float32)
    tensors = [t.detach() for t in given.tensors]
    x, *states = tensors[: 3 if name == "lstm" else 2]
    weights = tensors[len(states) + 1 :]
    whole = type(given)(name, tuple(tensors), given.places, {}).run()[0]
    for t in range(6):
        step = type(given)(name, (x[t : t + 1], *states, *weights), given.places, {})
        y, *states = step.run()
        torch.testing.assert_close(y[0], whole[t], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", GATES)
def test_nan_stays_within_its_sequence(name):
    given = call(name, 5, 4, 3, 6)
    x = given.tensors[0].detach().clone()
    x[2, 1, 0] = torch.nan
    tensors = (x.requires_grad_(), *given.tensors[1:])
    y = type(given)(name, tensors, given.places, {}).run()[0]
    assert y[2:, 1].isnan().all()
    assert y[:2].isfinite().all()
    assert y[:, [0, 2, 3]].isfinite().all()


@pytest.mark.parametrize("name", GATES)
def test_nan_in_padding_reaches_nothing(name):
    lengths = torch.tensor([2, 5, 0, 3])
    given = call(name, 5, 4, 3, 6, lengths=lengths)
    x = given.tensors[0].detach().clone()
    for b, n in enumerate(lengths):
        x[n:, b] = torch.nan
    tensors = (x.requires_grad_(), *given.tensors[1:])
    padded = type(given)(name, tensors, given.places, given.options)
    for a, b in zip(padded.run(), given.run(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(padded.gradients(), given.gradients(), strict=True):
        assert torch.equal(a, b)
