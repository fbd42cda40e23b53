"""Dead and saturated units of a trained network, from one pass over a block."""

from __future__ import annotations

import torch
from torch import Tensor

from throughtime import cells
from throughtime.activations import Activation, BoundActivation
from throughtime.fleet.model import SequenceModel
from throughtime.nn import GRU, LSTM
from throughtime.tasks import Block

FLAT = 0.01  # a slope under this share of the steepest one passes next to no gradient
MOSTLY = 0.95
MOST_SEQUENCES = 256


@torch.no_grad()
def stability(model: SequenceModel, block: Block) -> dict[str, float]:
    """Shares of the first layer's units (forwards) whose activation passes no gradient.

    ``dead_units``: the slope is exactly 0 at every step of every sequence, so nothing that the
    unit could do reaches the loss. ``saturated_units``: not dead, but in 95 % of the steps the
    slope lies under 1 % of the activation's steepest (of 1 where its slope has no bound, as that of
    a squared ReLU). At most 256 sequences are looked at. Nothing, ``{}``, of an empty block.
    """
    some = block.rows(slice(MOST_SEQUENCES))
    slopes = _slopes(model, some)
    valid = torch.arange(slopes.shape[0])[:, None] < some.lengths
    seen = slopes[valid]
    if not len(seen):
        return {}
    dead = (seen == 0).all(0)
    flat = (seen < FLAT * _steepest(_candidate(model))).float().mean(0) >= MOSTLY
    return {
        "dead_units": dead.float().mean().item(),
        "saturated_units": (flat & ~dead).float().mean().item(),
    }


def _candidate(model: SequenceModel) -> Activation | BoundActivation:
    place = "nonlinearity" if model.spec.cell == "rnn" else "activation"
    return model.recurrent._phi(place, "l0")


def _slopes(model: SequenceModel, block: Block) -> Tensor:
    """|φ'(a_t)| of the candidate's pre-activations, (T, B, H), from the page-long cells."""
    layer, phi = model.recurrent, _candidate(model)
    seen: list[Tensor] = []

    def watched(a: Tensor) -> Tensor:
        seen.append(a)
        return phi(a)

    x = block.x if model.embedding is None else model.embedding(block.x)
    x = x.transpose(0, 1)
    h0 = x.new_zeros(x.shape[1], layer.hidden_size)
    w_ih, w_hh, b_ih, b_hh = layer._weights_of("l0")
    if isinstance(layer, LSTM):
        gate, out = layer._phi("gate_activation", "l0"), layer._phi("output_activation", "l0")
        cells.lstm(x, h0, h0, w_ih, w_hh, b_ih, b_hh, watched, gate, out, lengths=block.lengths)
    elif isinstance(layer, GRU):
        gate = layer._phi("gate_activation", "l0")
        cells.gru(x, h0, w_ih, w_hh, b_ih, b_hh, watched, gate, lengths=block.lengths)
    else:
        cells.elman(x, h0, w_ih, w_hh, b_ih, b_hh, watched, leak=layer.leak, lengths=block.lengths)
    return phi.derivative(torch.stack(seen)).abs()


def _steepest(phi: Activation | BoundActivation) -> Tensor:
    """The steepest slope, of each unit where they differ; 1 where slopes grow without end."""
    near = torch.linspace(-20, 20, 4001)[:, None]
    far = torch.tensor([-1e4, -1e2, 1e2, 1e4])[:, None]
    steepest, beyond = (phi.derivative(a).abs().amax(0) for a in (near, far))
    return steepest.where(beyond <= 2 * steepest, 1.0)
