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
