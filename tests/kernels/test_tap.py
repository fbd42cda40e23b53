"""What a listener hears of the way back."""

from __future__ import annotations

import pytest
import torch
from kernel_calls import GATES, call, learnt

from throughtime import cells
from throughtime.activations import activation
from throughtime.kernels.tap import recording


def heard(given, rows=None) -> dict[str, torch.Tensor]:
    found = {}
    with recording(found.__setitem__, rows):
        given.run()
        outputs = given.run()
    torch.autograd.backward([y.square().sum() for y in outputs])
    assert list(found) == [1]
    return found[1]


@pytest.mark.parametrize("options", [{}, {"reverse": True, "lengths": torch.tensor([2, 4, 0])}])
@pytest.mark.parametrize("name", GATES)
def test_preactivations_and_their_gradients(name, options):
    """δ is what autograd finds at an ε added to every preactivation of the truth."""
    H, T, B = 5, 4, 3
    given = call(name, T, B, 2, H, bias=False, **options)
    phi = learnt(activation("elu"), H)
    given = type(given)(name, given.tensors, (phi, *given.places[1:]), options)
    found = heard(given)
    arguments, epsilon = [], []

    def watched(p):
        def apply(a):
            e = torch.zeros_like(a, requires_grad=True)
            arguments.append(a.detach())
            epsilon.append(e)
            return p(a + e)

        return apply

    gates = GATES[name]
    places = tuple(map(watched, given.places)) if name != "lstm" else (
        *map(watched, given.places[:2]), given.places[2])  # fmt: skip
    outputs = type(given)(name, given.tensors, places, options).run(cells)
    deltas = torch.autograd.grad(
        sum(y.square().sum() for y in outputs), epsilon, allow_unused=True, materialize_grads=True
    )
    order = {"elman": [0], "gru": [0, 1, 2], "lstm": [1, 0, 2, 3]}[name]
    steps = range(T)[::-1] if options.get("reverse") else range(T)
    lengths = options.get("lengths", torch.full((B,), T))
    for i, t in enumerate(steps):
        alive = t < lengths
        for gate in range(gates):
            which = gates * i + order[gate]
            columns = slice(gate * H, (gate + 1) * H)
            for mine, truth in (
                (found["delta"][t][:, columns], deltas[which]),
                (found["preactivation"][t][:, columns], arguments[which]),
            ):
                torch.testing.assert_close(mine[alive], truth[alive], rtol=0, atol=1e-11)
                assert not mine[~alive].any()
    torch.testing.assert_close(found["state"], outputs[0], rtol=0, atol=1e-12)
    if name == "lstm":
        assert found["cell"].shape == (T, B, H)


def test_nobody_hears_calls_made_elsewhere():
    found = {}
    with recording(found.__setitem__):
        pass
    call("elman", 3, 2, 2, 4).gradients()
    assert not found


def test_listeners_do_not_hear_each_other():
    inner, outer = {}, {}
    given = call("gru", 3, 2, 2, 4)
    with recording(outer.__setitem__):
        first = given.run()[0]
        with recording(inner.__setitem__):
            second = given.run()[0]
    (first.sum() + 2 * second.sum()).backward()
    assert list(inner) == list(outer) == [0]
    torch.testing.assert_close(inner[0]["delta"], 2 * outer[0]["delta"])


SHAPES = {"one tile": (4, 3, 2, 5), "two tiles": (3, 61, 4, 9), "two sides": (3, 4, 3, 260)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GATES)
def test_the_first_rows_alone(name, dtype, ragged, shape, nan_filled, threads):
    """They are those of the whole batch, and no gradient changes its bits."""
    threads(2)
    T, B, I, H = shape  # noqa: E741
    options = {"lengths": torch.arange(B) * 5 % (T + 1)} if ragged else {}
    given = call(name, T, B, I, H, dtype=dtype, reverse=B == 3, **options)
    whole, wanted = heard(given), given.gradients()
    parts = {"preactivation", "delta", "total", "state"} | (
        {"carried", "cell"} if name == "lstm" else set()
    )
    for rows in (1, B // 2 + 1, B, B + 2):
        some = heard(given, rows)
        for part in parts:
            assert torch.equal(some[part], whole[part][:, :rows])
        with recording(lambda number, found: None, rows):
            assert all(map(torch.equal, given.gradients(), wanted))


def test_rows_that_are_not_asked_for_are_not_written():
    found = heard(call("lstm", 4, 5, 2, 6), rows=2)
    for name in ("delta", "total", "carried"):
        assert found[name].untyped_storage().nbytes() == found[name].nbytes
