"""RNNCell, GRUCell and LSTMCell: one step at a time, as in ``torch.nn``, with any activation."""

from __future__ import annotations

import torch
from torch import Tensor

from throughtime.activations import Activation
from throughtime.errors import LayerError
from throughtime.kernels import registry
from throughtime.kernels.cpu.pointwise import Cell
from throughtime.kernels.cpu.step import Steps
from throughtime.nn import checks
from throughtime.nn.init import ForgetStart, Start
from throughtime.nn.recurrent import Elman, GatedUnit, LongShortTerm, Recurrent

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Step(Recurrent):
    """One step of a recurrence, for loops of one's own."""

    leak = 1.0

    def _build(self, device, dtype) -> None:
        self._steps = Steps()
        self._register({"": self.input_size}, device, dtype)
        if not self.bias:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)

    def _cell(self) -> Cell | None:
        """What the kernel knows the cell by; None where it learns parameters."""
        phis = tuple(self._phi(place, "") for place in self._places)
        found = registry.activations_of(phis)
        if found is None or any(found[1]):
            return None
        return registry.cell(self._kernel, *found, self.leak)

    def _run(self, input: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
        if states is not None:
            weights = tuple(map(self._parameters.get, _WEIGHTS))
            at_once = self._steps(input, states, weights, self.leak, self._cell)
            if at_once is not None:
                return at_once
        x = checks.tensor(input)
        if x.dim() not in (1, 2):
            raise LayerError("nn.cell_rank", shape=tuple(x.shape))
        checks.features(x, self.input_size, getattr(self, self._weights[0]))
        shapes = tuple((*x.shape[:-1], width) for width in self._state_widths)
        if states is None:
            states = tuple(x.new_zeros(shape) for shape in shapes)
        checks.states_fit(states, shapes, x)
        if x.dim() == 1:
            x, states = x.unsqueeze(0), tuple(s.unsqueeze(0) for s in states)
        _, *last = self._direction(x.unsqueeze(0), states, "", None)
        return tuple(s.squeeze(0) for s in last) if input.dim() == 1 else tuple(last)


class RNNCell(Step, Elman):
    """One step of :class:`throughtime.nn.RNN`, as ``torch.nn.RNNCell``.

    Use it where the next input depends on the state; for whole sequences the layer is faster.

    Args:
        input_size: features, I.
        hidden_size: units, H.
        bias: whether there are b_ih and b_hh.
        nonlinearity: a name of ``throughtime.activations()`` or an ``Activation``; what it learns
            becomes parameters such as ``nonlinearity_beta``.
        device: where the weights live.
        dtype: type of the weights.
        leak: step in (0, 1] of the leaky (continuous-time) recurrence; 1 is Elman's network.
        recurrent_init: start of W_hh by name, see :mod:`throughtime.nn.init`; None is as
            ``torch.nn`` draws it.
        unknown: refused by name.

    Shapes:
        input: (B, I) or (I,); hx and h': (B, H) or (H,).

    Raises:
        LayerError: an argument or an input does not fit.

    Example:
        >>> import torch
        >>> RNNCell(3, 4, nonlinearity="elu")(torch.randn(2, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str | Activation = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        leak: float = 1.0,
        recurrent_init: Start | None = None,
        **unknown: object,
    ):
        checks.no_others(RNNCell, unknown)
        super().__init__(
            input_size,
            hidden_size,
            bias,
            nonlinearity=nonlinearity,
            leak=leak,
            recurrent_init=recurrent_init,
        )
        self._build(device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state; see the class for shapes."""
        states = (hx,) if type(hx) is Tensor else checks.state_tensors(hx, 1)
        return self._run(input, states)[0]


class GRUCell(Step, GatedUnit):
    """One step of :class:`throughtime.nn.GRU`, as ``torch.nn.GRUCell``.

    Args:
        input_size: features, I.
        hidden_size: units, H.
        bias: whether there are b_ih and b_hh.
        device: where the weights live.
        dtype: type of the weights.
        activation: of the candidate n.
        gate_activation: of the gates r and z.
        recurrent_init: start of W_hh by name, gate by gate, see :mod:`throughtime.nn.init`.
        forget_bias: bias of z, the gate that keeps the state: a number or ``"chrono:STEPS"``.
        unknown: refused by name.

    Shapes and errors as in :class:`RNNCell`.

    Example:
        >>> import torch
        >>> GRUCell(3, 4, activation="elu")(torch.randn(2, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: str | Activation = "tanh",
        gate_activation: str | Activation = "sigmoid",
        recurrent_init: Start | None = None,
        forget_bias: ForgetStart | None = None,
        **unknown: object,
    ):
        checks.no_others(GRUCell, unknown)
        super().__init__(
            input_size,
            hidden_size,
            bias,
            activation=activation,
            gate_activation=gate_activation,
            recurrent_init=recurrent_init,
            forget_bias=forget_bias,
        )
        self._build(device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state; see the class for shapes."""
        states = (hx,) if type(hx) is Tensor else checks.state_tensors(hx, 1)
        return self._run(input, states)[0]


class LSTMCell(Step, LongShortTerm):
    """One step of :class:`throughtime.nn.LSTM`, as ``torch.nn.LSTMCell``.

    Args:
        input_size: features, I.
        hidden_size: units, H.
        bias: whether there are b_ih and b_hh.
        device: where the weights live.
        dtype: type of the weights.
        activation: of the candidate g.
        gate_activation: of the gates i, f and o.
        output_activation: of the cell state on its way out; ``activation`` if None, as in Keras.
        recurrent_init: start of W_hh by name, gate by gate, see :mod:`throughtime.nn.init`.
        forget_bias: bias of f: a number or ``"chrono:STEPS"``, which sets that of i as well.
        unknown: refused by name.

    Shapes and errors as in :class:`RNNCell`, with a pair hx = (h, c), and (h', c') likewise.

    Example:
        >>> import torch
        >>> h, c = LSTMCell(3, 4, gate_activation="hard_sigmoid")(torch.randn(2, 3))
        >>> h.shape, c.shape
        (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
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
        checks.no_others(LSTMCell, unknown)
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
        self._build(device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next (h, c); see the class for shapes."""
        h, c = self._run(input, checks.state_tensors(hx, 2))
        return h, c
