"""One step of a cell without gradients: the short way gives what the long way does."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import throughtime as tt
from throughtime.errors import LayerError
from throughtime.kernels.cpu.step import ROOM, Steps

KINDS = ("RNN", "GRU", "LSTM")


def cell_of(kind: str, I: int = 5, H: int = 19, **options):  # noqa: E741
    return getattr(tt.nn, f"{kind}Cell")(I, H, **options)


def arguments(cell, *batch: int):
    dtype = cell.weight_hh.dtype
    x, h, c = (
        torch.randn(*batch, n, dtype=dtype) for n in (cell.input_size, *[cell.hidden_size] * 2)
    )
    return x, (h, c) if isinstance(cell, tt.nn.LSTMCell) else h


def short(cell, x, state):
    """What the cell gives on its short way, which it goes from the third step of a kind on."""
    with torch.no_grad():
        cell(x, state), cell(x, state)
        found = cell(x, state)
    assert cell._steps._known[1] is not None
    return found


def assert_short_is_long(cell, x, state):
    torch.testing.assert_close(short(cell, x, state), cell(x, state))


@pytest.mark.parametrize("batch", [(), (1,), (4,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_step_of_pytorch_s(kind, bias, dtype, batch, nan_filled):
    ours = cell_of(kind, bias=bias, dtype=dtype)
    theirs = getattr(torch.nn, f"{kind}Cell")(5, 19, bias=bias, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    x, state = arguments(ours, *batch)
    torch.testing.assert_close(short(ours, x, state), theirs(x, state))


@pytest.mark.parametrize("name", tt.activations.names())
def test_every_activation(name):
    for kind, place in (("RNN", "nonlinearity"), ("GRU", "activation"), ("LSTM", "activation")):
        cell = cell_of(kind, **{place: name})
        x, state = arguments(cell, 3)
        learns = len(list(cell.parameters())) > 4
        with torch.no_grad():
            for _ in range(3):
                found = cell(x, state)
        torch.testing.assert_close(found, cell(x, state))
        assert (cell._steps._known[1] is None) == learns


def test_the_leak_may_be_changed():
    cell = cell_of("RNN", leak=0.5)
    x, h = arguments(cell, 2)
    before = short(cell, x, h)
    cell.leak = 0.25
    assert_short_is_long(cell, x, h)
    assert not torch.equal(before, short(cell, x, h))


def changed_in_place(cell):
    cell.weight_hh.mul_(-0.5)
    cell.bias_ih.add_(1)


def replaced(cell):
    cell.weight_ih.data = torch.randn_like(cell.weight_ih)


def turned(cell):
    cell.weight_hh.data = cell.weight_hh.data.t()


def widened(cell):
    cell.double()


@pytest.mark.parametrize("change", [changed_in_place, replaced, turned, widened])
def test_weights_may_be_changed(change):
    cell = cell_of("RNN")
    x, h = arguments(cell, 2)
    short(cell, x, h)
    with torch.no_grad():
        change(cell)
        x, h = x.to(cell.weight_hh.dtype), h.to(cell.weight_hh.dtype)
        found = [cell(x, h) for _ in range(3)]
    wanted = cell(x, h)
    for y in found:
        torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_parametrised_weight_goes_the_long_way(kind):
    cell = cell_of(kind)
    torch.nn.utils.parametrizations.weight_norm(cell, "weight_hh")
    x, state = arguments(cell, 2)
    with torch.no_grad():
        found = [cell(x, state) for _ in range(3)]
    torch.testing.assert_close(found[-1], cell(x, state))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_saved_cells_remember_nothing(kind):
    cell = cell_of(kind)
    x, state = arguments(cell, 2)
    wanted = short(cell, x, state)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert isinstance(other._steps, Steps) and other._steps._known[1] is None
        torch.testing.assert_close(short(other, x, state), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_otherwise_in_memory(kind):
    cell = cell_of(kind)
    x, state = arguments(cell, 4)
    wanted = short(cell, x, state)
    spread = torch.stack([x, x], -1)[..., 0]
    states = state if isinstance(state, tuple) else (state,)
    turned = tuple(s.t().contiguous().t() for s in states)
    with torch.no_grad():
        found = cell(spread, turned if len(turned) > 1 else turned[0])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_are_refused_after_good_ones(kind):
    cell = cell_of(kind)
    x, state = arguments(cell, 2)
    short(cell, x, state)
    bad = torch.randn(2, 4), torch.randn(2, 2, 5), x.double(), torch.randn(3, 5), "x", None
    with torch.no_grad():
        for wrong in bad:
            for _ in range(3):
                with pytest.raises(LayerError):
                    cell(wrong, state)
        states = state if isinstance(state, tuple) else (state,)
        for wrong in (torch.randn(2, 18), torch.randn(1, 19), states[0].double()):
            with pytest.raises(LayerError):
                cell(x, (wrong, *states[1:]) if len(states) > 1 else wrong)


def test_gradients_transforms_and_watchers_go_the_long_way():
    cell = cell_of("RNN")
    x, h = arguments(cell, 2)
    wanted = short(cell, x, h)
    y = cell(x, h)
    assert y.requires_grad
    with torch.no_grad():
        mapped = torch.func.vmap(lambda x, h: cell(x, h))(x.unsqueeze(1), h.unsqueeze(1))
        torch.testing.assert_close(mapped.squeeze(1), wanted)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
            assert cell(dual, h).shape == wanted.shape
        with FlopCounterMode(display=False):
            torch.testing.assert_close(cell(x, h), wanted)


def test_a_nan_goes_where_it_must_and_no_further():
    cell = cell_of("LSTM")
    x, (h, c) = arguments(cell, 3)
    wanted = short(cell, x, (h, c))
    h[1, 4] = torch.nan
    found = short(cell, x, (h, c))
    for y, true in zip(found, wanted, strict=True):
        assert y[1].isnan().all() and torch.equal(y[[0, 2]], true[[0, 2]])


def test_a_large_step_goes_the_long_way():
    large = cell_of("GRU", H=256)
    x, state = arguments(large, ROOM // 1024)
    with torch.no_grad():
        found = [large(x, state) for _ in range(3)]
    assert large._steps._known[1] is None
    torch.testing.assert_close(found[-1], large(x, state))


def test_many_threads_at_once():
    cell = cell_of("LSTM", H=40)
    given = [arguments(cell, B) for B in (1, 2, 3, 4)]
    wanted = [short(cell, *a) for a in given]
    wrong = []

    def repeat(which):
        with torch.no_grad():
            for _ in range(300):
                found = cell(*given[which])
                if not all(map(torch.equal, found, wanted[which])):
                    wrong.append(which)

    threads = [threading.Thread(target=repeat, args=(i % 4,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_stream_is_the_layer(nan_filled):
    layer, cell = tt.nn.GRU(5, 19, activation="elu"), cell_of("GRU", activation="elu")
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x, h = torch.randn(50, 2, 5), torch.zeros(2, 19)
    with torch.inference_mode():
        for t in range(50):
            h = cell(x[t], h)
        torch.testing.assert_close(h, layer(x)[1][0])
