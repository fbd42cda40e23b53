"""Double backward, torch.func and torch.compile through the layers."""

from __future__ import annotations

import copy

import pytest
import torch

import throughtime as tt

LAYERS = {
    "rnn": lambda **o: tt.nn.RNN(2, 3, 2, nonlinearity="gelu", leak=0.7, **o),
    "gru": lambda **o: tt.nn.GRU(2, 3, bidirectional=True, activation="swish", **o),
    "lstm": lambda **o: tt.nn.LSTM(2, 3, proj_size=2, activation="softsign", **o),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_gradients(kind):
    layer = LAYERS[kind](dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, lengths=[3, 1])[0], (x,))


@pytest.mark.parametrize("kind", LAYERS)
def test_jacobians_per_sequence_are_those_of_the_batch(kind):
    layer = LAYERS[kind](dtype=torch.float64)
    x = torch.randn(4, 3, 2, dtype=torch.float64)

    def alone(sequence):
        return layer(sequence)[0]

    found = torch.func.vmap(torch.func.jacrev(alone), in_dims=1)(x)
    whole = torch.autograd.functional.jacobian(lambda x: layer(x)[0], x)
    for b in range(3):
        torch.testing.assert_close(found[b], whole[:, b, :, :, b], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
def test_an_ensemble_of_weights_in_one_call(kind):
    layers = [LAYERS[kind](dtype=torch.float64) for _ in range(3)]
    weights, _ = torch.func.stack_module_state(layers)
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    together = torch.func.vmap(
        lambda w: torch.func.functional_call(layers[0], w, (x,))[0], in_dims=0
    )(weights)
    for y, layer in zip(together, layers, strict=True):
        torch.testing.assert_close(y, layer(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_compiles_as_one_graph(kind):
    layer = copy.deepcopy(LAYERS[kind]())
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, lengths = torch.randn(3, 2, 2), torch.tensor([3, 1])
    torch.testing.assert_close(compiled(x, lengths=lengths)[0], layer(x, lengths=lengths)[0])
    with pytest.raises(RuntimeError, match="lengths must be from 0 to 3"):
        compiled(x, lengths=torch.tensor([3, 4]))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_a_trace_holds_the_recurrence(kind):
    layer, x = LAYERS[kind](), torch.randn(4, 3, 2)
    traced, other = torch.jit.trace(layer, x, check_trace=False), torch.randn(4, 5, 2)
    torch.testing.assert_close(traced(x)[0], layer(x)[0])
    torch.testing.assert_close(traced(x + 1)[0], layer(x + 1)[0])
    with torch.no_grad():
        traced = torch.jit.trace(layer, x, check_trace=False)
        torch.testing.assert_close(traced(other)[0], layer(other)[0])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_the_single(kind, dtype):
    layer = LAYERS[kind]()
    x = torch.randn(4, 3, 2)
    wanted = layer(x)[0]
    half = copy.deepcopy(layer).to(dtype)
    y = half(x.to(dtype))[0]
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), wanted, rtol=0, atol=0.05)
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in half.parameters())


@pytest.mark.parametrize("kind", LAYERS)
def test_the_layout_of_memory_changes_nothing(kind):
    layer = LAYERS[kind]()
    turned = torch.randn(2, 3, 5).permute(2, 1, 0)
    thinned = torch.randn(10, 3, 4)[::2, :, ::2]
    repeated = torch.randn(5, 1, 2).expand(5, 4, 2)
    for x in (turned, thinned, repeated):
        assert torch.equal(layer(x)[0], layer(x.contiguous())[0])


@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_not_a_number_stays_with_its_sequence(kind):
    layer, x = LAYERS[kind](), torch.randn(5, 3, 2)
    x[2, 1] = float("nan")
    y = layer(x)[0]
    assert y[2:, 1].isnan().any(-1).all() and y[:, [0, 2]].isfinite().all()


class Rows(torch.utils.data.Dataset):
    """Sequences encoded by a layer in the worker."""

    def __init__(self, layer):
        self.layer = layer

    def __len__(self):
        return 4

    def __getitem__(self, index):
        with torch.no_grad():
            return self.layer(torch.full((3, 2), float(index)))[0]


def test_layers_run_in_the_workers_of_a_loader():
    rows = Rows(tt.nn.GRU(2, 3, activation="elu"))
    here = torch.stack([rows[i] for i in range(4)])
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=2)
    torch.testing.assert_close(torch.cat(list(loader)), here)
