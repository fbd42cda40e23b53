"""A recurrent network with a linear readout, for whole sequences or for every step."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from throughtime.activations import Activation
from throughtime.errors import ModelError
from throughtime.nn import GRU, LSTM, RNN

_LAYERS = {"rnn": (RNN, "nonlinearity"), "gru": (GRU, "activation"), "lstm": (LSTM, "activation")}
CELLS = tuple(_LAYERS)


@dataclass(frozen=True)
class ModelSpec:
    """What a network is, apart from its weights; JSON as it stands.

    Attributes:
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        activation: ``Activation.to_config()`` of the recurrent layer's activation.
        input_size: features a step; for tokens the width of their embedding.
        output_size: numbers the readout gives.
        hidden_size: units of the recurrent layer.
        num_layers: recurrent layers above each other.
        bidirectional: read the sequence both ways.
        recurrent_init: start of the recurrent matrix by name, see ``throughtime.nn.init``.
        per_step: read out at every step instead of after the last.
        vocabulary: number of tokens, 0 where the input is numbers.

    Raises:
        ModelError: no such cell.
    """

    cell: str
    activation: dict
    input_size: int
    output_size: int
    hidden_size: int = 32
    num_layers: int = 1
    bidirectional: bool = False
    recurrent_init: str = "orthogonal"
    per_step: bool = False
    vocabulary: int = 0

    def __post_init__(self):
        if self.cell not in CELLS:
            raise ModelError("fleet.unknown_cell", cell=self.cell, known=", ".join(CELLS))

    def to_config(self) -> dict:
        """The specification as JSON."""
        return asdict(self)


class SequenceModel(nn.Module):
    """The network of a :class:`ModelSpec`: (embedding), recurrent layers, linear readout.

    Example:
        >>> import torch, throughtime as tt
        >>> phi = tt.activation("elu").to_config()
        >>> model = SequenceModel(ModelSpec("rnn", phi, input_size=3, output_size=2))
        >>> model(torch.randn(5, 7, 3), torch.tensor([7, 3, 7, 1, 2])).shape
        torch.Size([5, 2])
    """

    def __init__(self, spec: ModelSpec):
        super().__init__()
        self.spec = spec
        layer, argument = _LAYERS[spec.cell]
        self.embedding = nn.Embedding(spec.vocabulary, spec.input_size) if spec.vocabulary else None
        self.recurrent = layer(
            spec.input_size,
            spec.hidden_size,
            spec.num_layers,
            batch_first=True,
            bidirectional=spec.bidirectional,
            recurrent_init=spec.recurrent_init,
            **{argument: Activation.from_config(spec.activation)},
        )
        self.readout = nn.Linear(spec.hidden_size * (1 + spec.bidirectional), spec.output_size)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Outputs (B, K), or (B, T, K) per step, of ``x`` (B, T, I) or tokens (B, T)."""
        if self.embedding is not None:
            x = self.embedding(x)
        y, last = self.recurrent(x, lengths=lengths)
        if self.spec.per_step:
            return self.readout(y)
        h_n = last[0] if isinstance(last, tuple) else last
        top = h_n[-2:] if self.spec.bidirectional else h_n[-1:]
        return self.readout(torch.cat(tuple(top), dim=-1))
