"""Layers on a GPU: what a person calls, against the reference and against ``torch.nn``."""

from __future__ import annotations

import pytest
import torch

import throughtime as tt
from throughtime import cells, kernels

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")

KINDS = ("RNN", "GRU", "LSTM")
SIZES = [(50, 7, 5, 33), (20, 40, 16, 128), (40, 3, 8, 300), (33, 64, 4, 512)]


def pair(kind: str, I: int, H: int, **options):  # noqa: E741
    """A layer of ours and PyTorch's with the same weights."""
    theirs = getattr(torch.nn, kind)(I, H, **options).cuda()
    ours = getattr(tt.nn, kind)(I, H, **options).cuda()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def gradients(layer, x, lengths=None):
    y, _ = layer(x) if lengths is None else layer(x, lengths=lengths)
    return [y, *torch.autograd.grad(y.square().mean(), [x, *layer.parameters()])]


@pytest.mark.parametrize("T,B,I,H", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_those_of_pytorch(kind, T, B, I, H):  # noqa: E741
    torch.manual_seed(0)
    ours, theirs = pair(kind, I, H, num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I, device="cuda", requires_grad=True)
    for _ in range(2):  # the second time from kept graphs
        for a, b in zip(gradients(ours, x), gradients(theirs, x), strict=True):
            scale = b.abs().max().item()
            torch.testing.assert_close(a, b, rtol=0, atol=2e-5 * max(scale, 1e-3))


@pytest.mark.parametrize("T,B,I,H", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_other_activations_are_those_of_the_reference(kind, T, B, I, H, monkeypatch):  # noqa: E741
    torch.manual_seed(0)
    own = tt.Activation("own", "x/(1 + abs(x)) + 0.1*sin(k*x)", k=0.7, learnable=("k",))
    name = "nonlinearity" if kind == "RNN" else "activation"
    layer = getattr(tt.nn, kind)(I, H, **{name: own}).cuda().double()
    x = torch.randn(T, B, I, device="cuda", dtype=torch.float64, requires_grad=True)
    lengths = torch.randint(0, T + 1, (B,), device="cuda")
    found = gradients(layer, x, lengths)
    for cell in ("elman", "gru", "lstm"):
        monkeypatch.setattr(kernels, cell, getattr(cells, cell))
    for a, b in zip(found, gradients(layer, x, lengths), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_autocast_computes_in_its_format(kind, dtype):
    torch.manual_seed(0)
    ours, theirs = pair(kind, 16, 64)
    x = torch.randn(30, 8, 16, device="cuda")
    with torch.autocast("cuda", dtype):
        y, _ = ours(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), theirs(x)[0], rtol=0.05, atol=0.05)
    y.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in ours.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_in_a_graph_of_a_person(kind):
    torch.manual_seed(0)
    layer = getattr(tt.nn, kind)(8, 300).cuda()
    x = torch.randn(40, 4, 8, device="cuda")
    with torch.no_grad():
        truth = layer(x)[0]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)[0]
        y.zero_()
        graph.replay()
    torch.testing.assert_close(y, truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_model(kind):
    torch.manual_seed(0)
    layer = getattr(tt.nn, kind)(8, 32).cuda()
    x = torch.randn(12, 4, 8, device="cuda")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], layer(x)[0], rtol=0, atol=1e-6)


def test_streams_do_not_disturb_each_other():
    torch.manual_seed(0)
    layer = tt.nn.LSTM(8, 300).cuda()
    inputs = [torch.randn(70, 4, 8, device="cuda") for _ in range(4)]
    with torch.no_grad():
        truths = [layer(x)[0] for x in inputs]
        streams = [torch.cuda.Stream() for _ in inputs]
        found = []
        for x, stream in zip(inputs, streams, strict=True):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                found.append(layer(x)[0])
        torch.cuda.synchronize()
    for a, b in zip(found, truths, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
