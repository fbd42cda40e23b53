"""RNN, GRU and LSTM: the contract of ``torch.nn``, any activation, and lengths on padded input."""

from __future__ import annotations

import warnings
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from throughtime.activations import Activation
from throughtime.errors import LayerError, ThroughtimeWarning
from throughtime.language import say
from throughtime.nn import checks
from throughtime.nn.checks import Lengths
from throughtime.nn.init import ForgetStart, Start
from throughtime.nn.recurrent import Elman, GatedUnit, LongShortTerm, Recurrent


class Stack(Recurrent):
    """Layers above each other, each in one or two directions, run over whole sequences."""

    def _build(
        self, num_layers, batch_first, dropout, bidirectional, device, dtype, proj_size=0
    ) -> None:
        self.num_layers = checks.whole("num_layers", num_layers, 1)
        self.batch_first = checks.switch("batch_first", batch_first)
        self.dropout = checks.probability(dropout)
        self.bidirectional = checks.switch("bidirectional", bidirectional)
        self.proj_size = checks.whole("proj_size", proj_size, 0)
        if self.proj_size >= self.hidden_size:
            sizes = {"proj_size": proj_size, "hidden_size": self.hidden_size}
            raise LayerError("nn.projection", **sizes)
        if self.dropout and self.num_layers == 1:
            text = say("nn.dropout_without_layers", value=dropout)
            warnings.warn(text, ThroughtimeWarning, stacklevel=3)
        above = self._state_widths[0] * self._directions
        sizes = {
            suffix: above if layer else self.input_size
            for layer in range(self.num_layers)
            for suffix in self._suffixes_of(layer)
        }
        self._register(sizes, device, dtype)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes_of(self, layer: int) -> tuple[str, ...]:
        return (f"l{layer}", f"l{layer}_reverse")[: self._directions]

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of each layer and direction, in ``torch.nn``'s order."""
        return [
            [getattr(self, name) for name in self._weights if name.endswith(f"_{suffix}")]
            for suffix in self._suffixes
        ]

    def flatten_parameters(self) -> None:
        """There is nothing to flatten; here so that code written for ``torch.nn`` runs."""

    def _run(
        self,
        input: Tensor | PackedSequence,
        states: tuple[Tensor, ...] | None,
        lengths: Lengths | int | None,
    ):
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise LayerError("nn.packed_and_lengths")
            return self._packed(input, states)
        x = checks.tensor(input)
        if x.dim() not in (2, 3):
            raise LayerError("nn.rank", shape=tuple(x.shape))
        for name, state in zip(("h_0", "c_0"), states or (), strict=False):
            if state.dim() != x.dim():
                shape, wanted = tuple(state.shape), x.dim()
                raise LayerError("nn.state_rank", name=name, shape=shape, wanted=wanted)
        if x.dim() == 2:
            states = states and tuple(s.unsqueeze(1) for s in states)
            y, last = self._padded(x.unsqueeze(1), states, lengths)
            return y.squeeze(1), tuple(s.squeeze(1) for s in last)
        y, last = self._padded(x.transpose(0, 1) if self.batch_first else x, states, lengths)
        return (y.transpose(0, 1) if self.batch_first else y), last

    def _padded(self, x: Tensor, states: tuple[Tensor, ...] | None, lengths: Lengths | int | None):
        T, B = x.shape[:2]
        valid = None if lengths is None else checks.valid_steps(lengths, T, B, x.device)
        return self._layers(x, states, valid)

    def _packed(self, packed: PackedSequence, states: tuple[Tensor, ...] | None):
        if packed.data.dim() != 2:
            raise LayerError("nn.packed_rank", shape=tuple(packed.data.shape))
        x, lengths = pad_packed_sequence(packed)
        y, last = self._layers(x, states, lengths.to(x.device))
        order = packed.sorted_indices
        if order is not None:
            y, lengths = y.index_select(1, order), lengths[order.cpu()]
        return packed._replace(data=pack_padded_sequence(y, lengths).data), last

    def _layers(
        self, x: Tensor, states: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers and directions: x (T, B, I) to y (T, B, D·P) and last states (L·D, B, H)."""
        checks.features(x, self.input_size, getattr(self, self._weights[0]))
        B, widths = x.shape[1], self._state_widths
        if states is None:
            starts = repeat(tuple(x.new_zeros(B, width) for width in widths))
        else:
            checks.states_fit(states, tuple((len(self._suffixes), B, w) for w in widths), x)
            starts = zip(*states, strict=True)
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            ys = []
            for suffix in self._suffixes_of(layer):
                y, *end = self._direction(x, next(starts), suffix, lengths)
                ys.append(y)
                last.append(tuple(end))
            x = torch.cat(ys, dim=-1) if len(ys) > 1 else ys[0]
        if len(last) == 1:
            return x, tuple(end.unsqueeze(0) for end in last[0])
        return x, tuple(torch.stack(ends) for ends in zip(*last, strict=True))


class RNN(Stack, Elman):
    """Elman's network as ``torch.nn.RNN``, with any activation and, if wanted, a leak.

    h_t = (1 - leak) h_{t-1} + leak φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    Use it in the place of ``torch.nn.RNN``: constructor order, parameter names, ``state_dict`` and
    the weights that a seed draws are the same.

    Args:
        input_size: features a step, I.
        hidden_size: units, H.
        num_layers: layers above each other, L.
        nonlinearity: a name of ``throughtime.activations()`` or an ``Activation``. What it learns
            becomes parameters such as ``nonlinearity_beta_l0``, held within their bounds.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: probability with which units are dropped between layers, in training only.
        bidirectional: run each layer in both directions.
        device: where the weights live.
        dtype: type of the weights.
        leak: step in (0, 1] of the leaky (continuous-time) recurrence; 1 is Elman's network.
        recurrent_init: start of W_hh by name, see :mod:`throughtime.nn.init`; None is as
            ``torch.nn`` draws it.
        unknown: refused by name.

    Shapes:
        input: (T, B, I), (B, T, I) with ``batch_first``, (T, I) unbatched, or a PackedSequence.
        hx: (L·D, B, H), or (L·D, H) unbatched; zeros by default.
        lengths: valid steps of each padded sequence, (B,) whole numbers from 0 to T, beyond which
            the output is 0 and the state is frozen: what packing gives, and length 0 as well.
        output: (T, B, D·H) as the input; h_n: as hx.

    Raises:
        LayerError: an argument or an input does not fit.

    Example:
        >>> import torch
        >>> layer = RNN(3, 4, nonlinearity="elu", batch_first=True)
        >>> y, h_n = layer(torch.randn(2, 5, 3), lengths=[5, 2])
        >>> y.shape, h_n.shape
        (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str | Activation = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        leak: float = 1.0,
        recurrent_init: Start | None = None,
        **unknown: object,
    ):
        checks.no_others(RNN, unknown)
        super().__init__(
            input_size,
            hidden_size,
            bias,
            nonlinearity=nonlinearity,
            leak=leak,
            recurrent_init=recurrent_init,
        )
        self._build(num_layers, batch_first, dropout, bidirectional, device, dtype)

    def forward(self, input, hx: Tensor | None = None, lengths: Lengths | int | None = None):
        """Outputs and h_n; see the class for shapes."""
        y, (h_n,) = self._run(input, checks.state_tensors(hx, 1), lengths)
        return y, h_n


class GRU(Stack, GatedUnit):
    """The gated recurrent unit as ``torch.nn.GRU``, with any candidate and gate activation.

    r = σ(·), z = σ(·), n = φ(W_in x + b_in + r (W_hn h + b_hn)), h = (1 - z) n + z h

    Use it in the place of ``torch.nn.GRU``: constructor order, parameter names, ``state_dict`` and
    the weights that a seed draws are the same.

    Args:
        input_size: features a step, I.
        hidden_size: units, H.
        num_layers: layers above each other, L.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: probability with which units are dropped between layers, in training only.
        bidirectional: run each layer in both directions.
        device: where the weights live.
        dtype: type of the weights.
        activation: φ, of the candidate n; a name of ``throughtime.activations()`` or an
            ``Activation``. What it learns becomes parameters such as ``activation_beta_l0``.
        gate_activation: σ, of the gates r and z.
        recurrent_init: start of W_hh by name, gate by gate, see :mod:`throughtime.nn.init`.
        forget_bias: bias of z, the gate that keeps the state: a number or ``"chrono:STEPS"``.
        unknown: refused by name.

    Shapes and errors as in :class:`RNN`.

    Example:
        >>> import torch
        >>> GRU(3, 4, activation="elu")(torch.randn(5, 2, 3))[0].shape
        torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: str | Activation = "tanh",
        gate_activation: str | Activation = "sigmoid",
        recurrent_init: Start | None = None,
        forget_bias: ForgetStart | None = None,
        **unknown: object,
    ):
        checks.no_others(GRU, unknown)
        super().__init__(
            input_size,
            hidden_size,
            bias,
            activation=activation,
            gate_activation=gate_activation,
            recurrent_init=recurrent_init,
            forget_bias=forget_bias,
        )
        self._build(num_layers, batch_first, dropout, bidirectional, device, dtype)

    def forward(self, input, hx: Tensor | None = None, lengths: Lengths | int | None = None):
        """Outputs and h_n; shapes as in :class:`RNN`."""
        y, (h_n,) = self._run(input, checks.state_tensors(hx, 1), lengths)
        return y, h_n


class LSTM(Stack, LongShortTerm):
    """Long short-term memory as ``torch.nn.LSTM``, with any activation in its three places.

    i, f, o = σ(·), g = φ(·), c = f c + i g, h = o ψ(c), and h = W_hr h with ``proj_size``

    Use it in the place of ``torch.nn.LSTM``: constructor order, parameter names, ``state_dict`` and
    the weights that a seed draws are the same.

    Args:
        input_size: features a step, I.
        hidden_size: units, H.
        num_layers: layers above each other, L.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: probability with which units are dropped between layers, in training only.
        bidirectional: run each layer in both directions.
        proj_size: width P of the projected output, below ``hidden_size``; 0 for none.
        device: where the weights live.
        dtype: type of the weights.
        activation: φ, of the candidate g; a name of ``throughtime.activations()`` or an
            ``Activation``. What it learns becomes parameters such as ``activation_beta_l0``.
        gate_activation: σ, of the gates i, f and o.
        output_activation: ψ, of the cell state on its way out; ``activation`` if None, as in Keras.
        recurrent_init: start of W_hh by name, gate by gate, see :mod:`throughtime.nn.init`.
        forget_bias: bias of f: a number or ``"chrono:STEPS"``, which sets that of i as well.
        unknown: refused by name.

    Shapes and errors as in :class:`RNN`, with a pair hx = (h_0, c_0) of (L·D, B, P) and
    (L·D, B, H), and (h_n, c_n) likewise.

    Example:
        >>> import torch
        >>> layer = LSTM(3, 4, activation="softsign", gate_activation="hard_sigmoid")
        >>> layer(torch.randn(5, 2, 3))[1][1].shape
        torch.Size([1, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: str | Activation = "tanh",
        gate_activation: str | Activation = "sigmoid",
        output_activation: str | Activation | None = None,
        recurrent_init: Start | None = None,
        forget_bias: ForgetStart | None = None,
        **unknown: object,
    ):
        checks.no_others(LSTM, unknown)
        super().__init__(
            input_size,
            hidden_size,
            bias,
            activation=activation,
            gate_activation=gate_activation,
            output_activation=output_activation,
            recurrent_init=recurrent_init,
            forget_bias=forget_bias,
        )
        self._build(num_layers, batch_first, dropout, bidirectional, device, dtype, proj_size)

    def forward(
        self,
        input,
        hx: tuple[Tensor, Tensor] | None = None,
        lengths: Lengths | int | None = None,
    ):
        """Outputs and (h_n, c_n); shapes as in :class:`RNN`."""
        return self._run(input, checks.state_tensors(hx, 2), lengths)
