"""What PyTorch may do with the operators: check, compile, export, differentiate in other ways."""

from __future__ import annotations

import io

import pytest
import torch
from kernel_calls import GATES, Call, call, learnt
from torch._subclasses.fake_tensor import FakeTensorMode

import throughtime as tt
from throughtime import cells
from throughtime.activations import activation
from throughtime.kernels import registry

LAYERS = {
    "rnn": lambda: tt.nn.RNN(3, 5, 2, nonlinearity="gelu", leak=0.7),
    "gru": lambda: tt.nn.GRU(3, 5, bidirectional=True, activation="swish"),
    "lstm": lambda: tt.nn.LSTM(3, 5, batch_first=True, activation="softsign"),
}
DOZEN = ("tanh", "relu", "elu", "gelu", "silu", "softplus", "softsign", "hard_sigmoid", "mish",
         "arctan", "sin", "isrlu")  # fmt: skip


@pytest.mark.parametrize("name", GATES)
def test_the_operators_keep_their_word(name):
    """opcheck: schema, shapes without data, graphs.

    The sizes are whole vectors, for what is kept has no value in padding.
    """
    H, lengths = 16, torch.tensor([3, 1])
    phi = learnt(activation("elu"), H)
    given = call(name, 3, 2, 4, H)
    found = registry.activations_of((phi, *given.places[1:]))
    assert found is not None
    key = registry.cell(name, *found, 1.0).key
    x, *states, w_ih, w_hh, b_ih, b_hh = (t.detach() for t in given.tensors)
    h0, c0 = (*states, None)[:2]
    theta = torch.rand(registry.cell_of(key).rows, H, dtype=x.dtype)
    forward, backward = (
        torch.ops.throughtime.recurrence.default,
        torch.ops.throughtime.recurrence_backward.default,
    )
    for of, save in ((None, True), (lengths, False)):
        arguments = (x, h0, c0, w_ih, w_hh, b_ih, b_hh, theta, of, key, True, save)
        torch.library.opcheck(forward, arguments)
    for of, wanted in ((None, [True] * 4), (lengths, [False, True, False, True])):
        y, _, _, saved = forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, theta, of, key, True, True)
        gradients = torch.randn_like(y), None, None if c0 is None else torch.randn_like(c0)
        torch.library.opcheck(
            backward,
            (*gradients, x, h0, c0, w_ih, w_hh, theta, y, saved, of, key, True, wanted),
        )


@pytest.mark.parametrize("phi", DOZEN)
@pytest.mark.parametrize("name", GATES)
def test_finite_differences(name, phi):
    given = call(name, 3, 2, 2, 3, (phi, *call(name, 1, 1, 1, 1).places[1:]))

    def outputs(*tensors):
        return Call(name, tensors, given.places, {}).run()

    assert torch.autograd.gradcheck(outputs, given.tensors, fast_mode=True)


@pytest.mark.parametrize("name", GATES)
def test_finite_differences_of_learnt_parameters(name):
    phi = learnt(activation("swish"), 3)
    given = call(name, 3, 2, 2, 3, (phi, *call(name, 1, 1, 1, 1).places[1:]))

    def outputs(beta):
        bound = phi.activation.bind({"beta": beta})
        return Call(name, given.tensors, (bound, *given.places[1:]), {}).run()

    assert torch.autograd.gradcheck(outputs, (phi.theta["beta"],), fast_mode=True)


@pytest.mark.parametrize("name", GATES)
def test_the_derivative_of_the_derivative(name):
    given = call(name, 3, 2, 2, 3, lengths=torch.tensor([3, 2]))
    phi = learnt(activation("elu"), 3)
    for places in (given.places, (phi, *given.places[1:])):

        def penalty(room, places=places):
            here = Call(name, given.tensors, places, given.options)
            leaves = here.leaves
            first = torch.autograd.grad(here.run(room)[0].square().sum(), leaves, create_graph=True)
            return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

        from throughtime import kernels

        for a, b in zip(penalty(kernels), penalty(cells), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", GATES)
def test_many_cotangents_at_once(name):
    given = call(name, 3, 2, 2, 3)
    y = given.run()[0]
    directions = torch.randn(4, *y.shape, dtype=y.dtype)
    x = given.tensors[0]
    together = torch.autograd.grad(y, x, directions, retain_graph=True, is_grads_batched=True)[0]
    for found, direction in zip(together, directions, strict=True):
        alone = torch.autograd.grad(y, x, direction, retain_graph=True)[0]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", GATES)
def test_forward_mode(name):
    given = call(name, 3, 2, 2, 3)
    tensors = [t.detach() for t in given.tensors]

    def run(room, x):
        return Call(name, (x, *tensors[1:]), given.places, {}).run(room)[0]

    from throughtime import kernels

    tangent = torch.randn_like(tensors[0])
    found, wanted = (
        torch.func.jvp(lambda x, room=room: run(room, x), (tensors[0],), (tangent,))[1]
        for room in (kernels, cells)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(tensors[0], tangent)
        found = torch.autograd.forward_ad.unpack_dual(run(kernels, dual)).tangent
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("kind", LAYERS)
def test_training_compiles_as_one_graph_for_any_length_and_batch(kind, backend):
    torch._dynamo.reset()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    if backend == "inductor" and kind != "gru":
        pytest.skip("one layer through the slow code generator is enough")
    layer = LAYERS[kind]()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    step = torch.compile(
        lambda x: layer(x)[0].square().mean(), fullgraph=True, dynamic=True, backend=backend
    )
    for T, B in ((4, 6), (7, 5), (9, 2)):
        x = torch.randn(T, B, 3)
        layer.zero_grad()
        loss = step(x)
        loss.backward()
        found = [p.grad.clone() for p in layer.parameters()]
        layer.zero_grad()
        layer(x)[0].square().mean().backward()
        for a, p in zip(found, layer.parameters(), strict=True):
            torch.testing.assert_close(a, p.grad)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1


@pytest.mark.parametrize("kind", LAYERS)
def test_export_for_any_length_and_batch(kind):
    layer = LAYERS[kind]().eval()
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    with torch.no_grad():
        program = torch.export.export(layer, (torch.randn(4, 3, 3),), dynamic_shapes=(free,))
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        for shape in ((4, 3), (7, 2)):
            x = torch.randn(*shape, 3)
            torch.testing.assert_close(loaded(x)[0], layer(x)[0])
    assert "throughtime.recurrence" in program.graph_module.code


def test_an_exported_program_runs_where_its_activation_was_never_made():
    own = tt.Activation("own", "x/(1 + abs(k*x)**1.5)", k=0.7)
    layer = tt.nn.RNN(2, 3, nonlinearity=own).eval()
    x = torch.randn(4, 2, 2)
    with torch.no_grad():
        program = torch.export.export(layer, (x,))
        wanted = layer(x)[0]
        registry._by_key.clear()
        registry._by_identity.clear()
        torch.testing.assert_close(program.module()(x)[0], wanted)


@pytest.mark.parametrize("kind", LAYERS)
def test_shapes_without_data(kind):
    with FakeTensorMode():
        layer = LAYERS[kind]()
        y = layer(torch.randn(4, 3, 3))[0]
        y.sum().backward()
    directions = 2 if kind == "gru" else 1
    assert y.shape == (4, 3, 5 * directions)


def test_modes_that_watch_operators_see_them():
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    layer = tt.nn.RNN(3, 5)
    with Watch():
        layer(torch.randn(4, 3, 3))[0].sum().backward()
    assert "throughtime.recurrence.default" in seen
    assert "throughtime.recurrence_backward.default" in seen


def test_checkpointing_runs_forward_again():
    given = call("gru", 4, 3, 2, 5)
    y = torch.utils.checkpoint.checkpoint(
        lambda *t: Call("gru", t, given.places, {}).run()[0], *given.tensors, use_reentrant=False
    )
    found = torch.autograd.grad(y.sum(), given.leaves)
    for a, b in zip(found, torch.autograd.grad(given.run()[0].sum(), given.leaves), strict=True):
        assert torch.equal(a, b)


def test_a_graph_can_be_kept_and_run_back_twice():
    given = call("lstm", 4, 3, 2, 5)
    y = given.run()[0]
    first = torch.autograd.grad(y.sum(), given.leaves, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(y.sum(), given.leaves), strict=True):
        assert torch.equal(a, b)


def test_an_output_changed_in_place_is_refused_on_the_way_back():
    y = call("elman", 4, 3, 2, 5).run()[0]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
