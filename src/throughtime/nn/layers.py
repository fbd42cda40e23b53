"""RNN, GRU and LSTM: the contract of ``torch.nn``, any activation, and lengths on padded input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from throughtime import kernels
from throughtime.activations import Activation, BoundActivation, activation
from throughtime.errors import LayerError


class _Recurrent(nn.Module):
    """What the three layers share: weights, directions, layers above each other, kinds of input."""

    gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        places: dict[str, str | Activation],
        device=None,
        dtype=None,
    ):
        super().__init__()
        for name, value, least in (
            ("input_size", input_size, 1),
            ("hidden_size", hidden_size, 1),
            ("num_layers", num_layers, 1),
            ("proj_size", proj_size, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise LayerError("nn.size", argument=name, value=value, least=least)
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise LayerError("nn.dropout", value=dropout)
        if dropout and num_layers == 1:
            raise LayerError("nn.dropout_without_layers", value=dropout)
        if proj_size >= hidden_size:
            raise LayerError("nn.projection", proj_size=proj_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._places = {place: activation(phi) for place, phi in places.items()}
        like = {"device": device, "dtype": dtype}
        G, out = self.gates * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            size = input_size if layer == 0 else out * self._directions
            for suffix in self._suffixes(layer):
                shapes = {"weight_ih": (G, size), "weight_hh": (G, out)}
                shapes |= {"bias_ih": (G,), "bias_hh": (G,)} if bias else {}
                shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
                for name, shape in shapes.items():
                    weight = nn.Parameter(torch.empty(shape, **like))
                    self.register_parameter(f"{name}_{suffix}", weight)
        self._weights = list(self._parameters)
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                for name, parameter in self._learnable():
                    shape = (hidden_size,) if parameter.learnable == "unit" else ()
                    theta = nn.Parameter(torch.full(shape, parameter.default, **like))
                    self.register_parameter(f"{name}_{suffix}", theta)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._directions]

    def _learnable(self):
        for place, phi in self._places.items():
            for parameter in phi.parameters.values():
                if parameter.learnable:
                    yield f"{place}_{parameter.name}", parameter

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights as ``torch.nn`` does, uniform in ±1/√H; set what is learnable back."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name in self._weights:
            nn.init.uniform_(getattr(self, name), -bound, bound)
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                for name, parameter in self._learnable():
                    getattr(self, f"{name}_{suffix}").fill_(parameter.default)

    def flatten_parameters(self) -> None:
        """There is nothing to flatten; here so that code written for ``torch.nn`` runs."""

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of each layer and direction, in ``torch.nn``'s order."""
        return [
            [getattr(self, n) for n in self._weights if n.rpartition(suffix)[2] == ""]
            for layer in range(self.num_layers)
            for suffix in (f"_{s}" for s in self._suffixes(layer))
        ]

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults, and every activation."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
        }
        parts += [
            f"{name}={getattr(self, name)}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        return ", ".join(parts + [f"{place}={phi.name}" for place, phi in self._places.items()])

    def _phi(self, place: str, suffix: str) -> Activation | BoundActivation:
        phi = self._places[place]
        if not phi.learnable:
            return phi
        return phi.bind({k: getattr(self, f"{place}_{k}_{suffix}") for k in phi.learnable})

    def _direction(
        self, x: Tensor, state: tuple[Tensor, ...], suffix: str, lengths: Tensor | None
    ) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _weights_of(self, suffix: str) -> tuple[Tensor | None, ...]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(getattr(self, f"{name}_{suffix}", None) for name in names)

    def _run(
        self,
        input: Tensor | PackedSequence,
        states: tuple[Tensor, ...] | None,
        lengths: Tensor | Sequence[int] | None,
    ):
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise LayerError("nn.packed_and_lengths")
            x, n = pad_packed_sequence(input)
            y, last = self._stack(x, states, n.to(x.device))
            order = input.sorted_indices
            if order is not None:
                y, n = y[:, order], n[order]
            data = pack_padded_sequence(y, n.cpu()).data
            indices = input.sorted_indices, input.unsorted_indices
            return PackedSequence(data, input.batch_sizes, *indices), last
        if input.dim() not in (2, 3):
            raise LayerError("nn.rank", shape=tuple(input.shape))
        if input.dim() == 2:
            if states is not None:
                for s in states:
                    if s.dim() != 2:
                        raise LayerError("nn.unbatched_state", shape=tuple(s.shape))
                states = tuple(s.unsqueeze(1) for s in states)
            y, last = self._stack(input.unsqueeze(1), states, self._checked(lengths, input, 1))
            return y.squeeze(1), tuple(s.squeeze(1) for s in last)
        x = input.transpose(0, 1) if self.batch_first else input
        y, last = self._stack(x, states, self._checked(lengths, x, x.shape[1]))
        return (y.transpose(0, 1) if self.batch_first else y), last

    @staticmethod
    def _checked(lengths, x: Tensor, B: int) -> Tensor | None:
        if lengths is None:
            return None
        lengths = torch.as_tensor(lengths, device=x.device)
        if lengths.shape != (B,) or lengths.dtype.is_floating_point or lengths.dtype.is_complex:
            raise LayerError(
                "nn.lengths", batch=B, shape=tuple(lengths.shape), dtype=str(lengths.dtype)
            )
        T = x.shape[0]
        if B and not 0 <= int(lengths.min()) <= int(lengths.max()) <= T:
            wrong = int(((lengths < 0) | (lengths > T)).nonzero()[0])
            raise LayerError("nn.length_range", row=wrong, length=int(lengths[wrong]), steps=T)
        return lengths.long()

    def _stack(
        self, x: Tensor, states: tuple[Tensor, ...] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        if x.shape[-1] != self.input_size:
            raise LayerError("nn.features", given=x.shape[-1], wanted=self.input_size)
        weight = getattr(self, self._weights[0])
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise LayerError("nn.dtype", given=str(x.dtype), wanted=str(weight.dtype))
        B, rows = x.shape[1], self.num_layers * self._directions
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: self._state_count]
        if states is None:
            states = tuple(x.new_zeros(rows, B, width) for width in widths)
        for state, width in zip(states, widths, strict=True):
            if state.shape != (rows, B, width):
                raise LayerError("nn.state", given=tuple(state.shape), wanted=(rows, B, width))
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            ys = []
            for suffix in self._suffixes(layer):
                row = tuple(state[len(last)] for state in states)
                y, *end = self._direction(x, row, suffix, lengths)
                ys.append(y)
                last.append(tuple(end))
            x = torch.cat(ys, dim=-1) if len(ys) > 1 else ys[0]
        return x, tuple(torch.stack(ends) for ends in zip(*last, strict=True))

    _state_count = 1


class RNN(_Recurrent):
    """Elman's network as ``torch.nn.RNN``, with any activation and, if wanted, a leak.

    h_t = (1 - leak) h_{t-1} + leak φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    Args:
        input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout,
            bidirectional, device, dtype: as in ``torch.nn.RNN``; ``nonlinearity`` is a name of the
            catalogue or an ``Activation``.
        leak: step in (0, 1] of the leaky (continuous-time) recurrence; 1 is Elman's network.

    Shapes:
        input (T, B, I), (B, T, I) with ``batch_first``, (T, I) unbatched, or packed; output and
        h_n as in ``torch.nn.RNN``. With ``lengths`` (B,), a padded sequence's output is 0 beyond
        its length and h_n is its state there.

    Raises:
        LayerError: an argument or an input does not fit.

    Example:
        >>> layer = RNN(3, 4, nonlinearity="elu", batch_first=True)
        >>> y, h_n = layer(torch.randn(2, 5, 3), lengths=[5, 2])
        >>> y.shape, h_n.shape
        (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    gates = 1

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
        device=None,
        dtype=None,
        *,
        leak: float = 1.0,
    ):
        if not 0 < leak <= 1:
            raise LayerError("nn.leak", value=leak)
        places = {"nonlinearity": nonlinearity}
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            places, device, dtype,
        )  # fmt: skip
        self.leak = float(leak)

    def forward(self, input, hx: Tensor | None = None, lengths=None):
        """Outputs and h_n; see the class for shapes."""
        y, (h_n,) = self._run(input, None if hx is None else (hx,), lengths)
        return y, h_n

    def _direction(self, x, state, suffix, lengths):
        return kernels.elman(
            x, *state, *self._weights_of(suffix), self._phi("nonlinearity", suffix),
            leak=self.leak, lengths=lengths, reverse=suffix.endswith("reverse"),
        )  # fmt: skip

    def extra_repr(self) -> str:
        """As the base, with the leak where there is one."""
        return super().extra_repr() + (f", leak={self.leak}" if self.leak != 1 else "")


class GRU(_Recurrent):
    """The gated recurrent unit as ``torch.nn.GRU``, with any candidate and gate activation.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype: as in ``torch.nn.GRU``.
        activation: of the candidate n.
        gate_activation: of the gates r and z.

    Shapes and errors as in :class:`RNN`.

    Example:
        >>> GRU(3, 4, activation="elu")(torch.randn(5, 2, 3))[0].shape
        torch.Size([5, 2, 4])
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype=None,
        *,
        activation: str | Activation = "tanh",
        gate_activation: str | Activation = "sigmoid",
    ):
        places = {"activation": activation, "gate_activation": gate_activation}
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            places, device, dtype,
        )  # fmt: skip

    def forward(self, input, hx: Tensor | None = None, lengths=None):
        """Outputs and h_n; shapes as in :class:`RNN`."""
        y, (h_n,) = self._run(input, None if hx is None else (hx,), lengths)
        return y, h_n

    def _direction(self, x, state, suffix, lengths):
        return kernels.gru(
            x, *state, *self._weights_of(suffix), self._phi("activation", suffix),
            self._phi("gate_activation", suffix),
            lengths=lengths, reverse=suffix.endswith("reverse"),
        )  # fmt: skip


class LSTM(_Recurrent):
    """Long short-term memory as ``torch.nn.LSTM``, with any activation in its three places.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
            device, dtype: as in ``torch.nn.LSTM``.
        activation: of the candidate g.
        gate_activation: of the gates i, f and o.
        output_activation: of the cell state on its way out; ``activation`` where None, as in Keras.

    Shapes and errors as in :class:`RNN`, with (h_0, c_0) and (h_n, c_n).

    Example:
        >>> layer = LSTM(3, 4, activation="softsign", gate_activation="hard_sigmoid")
        >>> layer(torch.randn(5, 2, 3))[1][1].shape
        torch.Size([1, 2, 4])
    """

    gates = 4
    _state_count = 2

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
        device=None,
        dtype=None,
        *,
        activation: str | Activation = "tanh",
        gate_activation: str | Activation = "sigmoid",
        output_activation: str | Activation | None = None,
    ):
        places = {
            "activation": activation,
            "gate_activation": gate_activation,
            "output_activation": activation if output_activation is None else output_activation,
        }
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, places, device, dtype,
        )  # fmt: skip

    def forward(self, input, hx: tuple[Tensor, Tensor] | None = None, lengths=None):
        """Outputs and (h_n, c_n); shapes as in :class:`RNN`."""
        if hx is not None and not (isinstance(hx, tuple) and len(hx) == 2):
            raise LayerError("nn.two_states")
        return self._run(input, hx, lengths)

    def _direction(self, x, state, suffix, lengths):
        return kernels.lstm(
            x, *state, *self._weights_of(suffix), self._phi("activation", suffix),
            self._phi("gate_activation", suffix), self._phi("output_activation", suffix),
            w_hr=getattr(self, f"weight_hr_{suffix}", None),
            lengths=lengths, reverse=suffix.endswith("reverse"),
        )  # fmt: skip
