"""Which way a call goes, and that it says so."""

from __future__ import annotations

import logging

import pytest
import torch
from kernel_calls import GATES, Call, call

import throughtime as tt
from throughtime import cells, kernels
from throughtime.activations import activation
from throughtime.language import use_language


def backend(given: Call) -> kernels.Backend:
    options = {k: v for k, v in given.options.items() if k != "reverse"}
    return kernels.backend(given.name, given.tensors, given.places, **options)


REASONS = {
    "a function": (lambda c: (c.tensors, (torch.tanh, *c.places[1:]), {}), "plain function"),
    "half": (lambda c: (c.to(torch.bfloat16).tensors, c.places, {}), "torch.bfloat16"),
    "mixed": (lambda c: ((c.tensors[0].float(), *c.tensors[1:]), c.places, {}), "different types"),
    "device": (
        lambda c: (tuple(t.to("meta") for t in c.tensors), c.places, {}),
        "tensors are on meta",
    ),
    "shapes": (lambda c: ((c.tensors[0][..., :2], *c.tensors[1:]), c.places, {}), "shapes"),
    "lengths": (lambda c: (c.tensors, c.places, {"lengths": torch.ones(7).long()}), "shapes"),
}


@pytest.mark.parametrize("why", REASONS)
@pytest.mark.parametrize("name", GATES)
def test_what_goes_to_the_reference_has_a_reason(name, why):
    change, text = REASONS[why]
    tensors, places, options = change(call(name, 3, 2, 4, 5))
    found = kernels.backend(name, tensors, places, **options)
    assert found.name == "reference"
    assert text in found.reason
    use_language("zh")
    other = kernels.backend(name, tensors, places, **options)
    assert other.reason != found.reason


def test_a_projection_goes_to_the_reference():
    given = call("lstm", 3, 2, 4, 5)
    projection = torch.rand(2, 5)
    found = kernels.backend("lstm", given.tensors, given.places, w_hr=projection)
    assert "proj_size" in found.reason
    assert tt.nn.LSTM(3, 5, proj_size=2)(torch.randn(4, 1, 3))[0].shape == (4, 1, 2)


def test_transforms_go_to_the_reference():
    given = call("elman", 3, 2, 4, 5)
    seen = []

    def loss(x):
        changed = Call("elman", (x, *(t.detach() for t in given.tensors[1:])), given.places, {})
        seen.append(backend(changed).reason)
        return changed.run()[0].sum()

    torch.func.grad(loss)(given.tensors[0].detach())
    assert "torch.func" in seen[0]


def test_the_log_says_it_once(caplog):
    def odd(x):
        return x / 2

    given = call("elman", 3, 2, 4, 5, (odd,))
    with caplog.at_level(logging.INFO, "throughtime.kernels"):
        for _ in range(3):
            given.run()
    assert [r.getMessage() for r in caplog.records] == [
        "elman runs through the reference in plain PyTorch: odd is a plain function. Make it an "
        "Activation from its formula to have it compiled."
    ]


@pytest.mark.parametrize("name", GATES)
def test_the_reference_computes_what_the_kernel_cannot(name):
    given = call(
        name,
        3,
        2,
        4,
        5,
        (torch.tanh, torch.sigmoid, torch.tanh)[: len(call(name, 1, 1, 1, 1).places)],
    )
    for a, b in zip(given.run(), call(name, 3, 2, 4, 5).run(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", GATES)
def test_bad_shapes_raise_what_pytorch_raises(name):
    given = call(name, 3, 2, 4, 5)
    for i, other in ((0, torch.rand(3, 2, 7)), (1, torch.rand(3, 5)), (-3, torch.rand(9, 9))):
        tensors = list(given.tensors)
        tensors[i] = other.double()
        wrong = Call(name, tuple(tensors), given.places, {})
        with pytest.raises(RuntimeError):
            wrong.run()


@pytest.mark.parametrize("name", GATES)
def test_lengths_beyond_the_input_mean_all_of_it(name):
    lengths = torch.tensor([9, -2, 3])
    for reverse in (False, True):
        given = call(name, 5, 3, 2, 4, lengths=lengths, reverse=reverse)
        for a, b in zip(given.run(), given.run(cells), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_what_does_not_fit_into_memory_is_an_error():
    huge = torch.empty(1, dtype=torch.float32)
    h = torch.zeros(1, dtype=torch.float32)
    n = 2**23
    arguments = (
        huge.expand(n, 2**14, 4), h.expand(2**14, 2**10), huge.expand(2**10, 4),
        huge.expand(2**10, 2**10), None, None,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match=r"memory|alloc"):
        kernels.elman(*arguments, activation("tanh"))


@pytest.mark.parametrize("name", GATES)
def test_autocast_computes_in_float32(name):
    given = call(name, 4, 3, 2, 5).to(torch.float32)
    half = given.to(torch.bfloat16)
    mixed = Call(name, (half.tensors[0], *given.tensors[1:]), given.places, {})
    with torch.autocast("cpu", torch.bfloat16):
        assert backend(mixed).name == "cpu"
        outputs = mixed.run()
    assert all(y.dtype == torch.float32 for y in outputs)
    torch.testing.assert_close(outputs[0], given.run()[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("phi", ["leaky_relu", "elu", "gelu", "prelu", "softsign"])
@pytest.mark.parametrize("name", GATES)
def test_the_activation_changes_the_output(name, phi):
    """The classic sin: an argument without effect."""
    tanh = call(name, 4, 3, 2, 5)
    for place in range(len(tanh.places)):
        places = list(tanh.places)
        places[place] = activation(phi)
        other = Call(name, tanh.tensors, tuple(places), {})
        assert backend(other).name == "cpu"
        assert not torch.allclose(tanh.run()[0], other.run()[0], atol=1e-3)
