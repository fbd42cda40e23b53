"""What layers and cells have in common: weights, activations with what they learn, and one run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from throughtime import cells, kernels
from throughtime.activations import Activation, BoundActivation, Parameter
from throughtime.errors import LayerError
from throughtime.nn import checks, init


class Recurrent(nn.Module):
    """A recurrence with its weights, one set a suffix (``l0``, ``l0_reverse``; ``""`` in a cell).

    A subclass says which recurrence it is: the kernel, its gates in order, its states.
    """

    _kernel: ClassVar[str]
    _gates: ClassVar[int]
    _candidate: ClassVar[int]
    _state_count: ClassVar[int] = 1
    _keep: ClassVar[int]
    _let_in: ClassVar[int | None] = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        places: Mapping[str, str | Activation],
        recurrent_init: init.Start | None,
        forget_bias: init.ForgetStart | None,
    ):
        super().__init__()
        self.input_size = checks.whole("input_size", input_size, 1)
        self.hidden_size = checks.whole("hidden_size", hidden_size, 1)
        self.bias = checks.switch("bias", bias)
        self.proj_size = 0
        self.recurrent_init, self.forget_bias = recurrent_init, forget_bias
        self._places = {argument: checks.place(argument, phi) for argument, phi in places.items()}
        if forget_bias is not None and not bias:
            raise LayerError("nn.forget_bias_without_bias", value=forget_bias)

    @property
    def _state_widths(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)[: self._state_count]

    def _register(self, input_sizes: Mapping[str, int], device, dtype) -> None:
        """Make the parameters, ``torch.nn``'s first and in its order, and draw them."""
        checks.weight_type(dtype)
        like = {"device": device, "dtype": dtype}
        H, G, P = self.hidden_size, self._gates * self.hidden_size, self._state_widths[0]
        for suffix, I in input_sizes.items():  # noqa: E741
            shapes = {"weight_ih": (G, I), "weight_hh": (G, P)}
            shapes |= {"bias_ih": (G,), "bias_hh": (G,)} if self.bias else {}
            shapes |= {"weight_hr": (P, H)} if self.proj_size else {}
            for name, shape in shapes.items():
                self.register_parameter(
                    _with(name, suffix), nn.Parameter(torch.empty(shape, **like))
                )
        self._suffixes, self._weights = tuple(input_sizes), tuple(self._parameters)
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self._names = {s: tuple(_with(kind, s) for kind in kinds) for s in self._suffixes}
        for name, theta in self._learnable().items():
            self.register_parameter(name, self._theta(theta, like))
        self.reset_parameters()

    def _theta(self, theta: Parameter, like: Mapping[str, Any]) -> nn.Parameter:
        shape = (self.hidden_size,) if theta.learnable == "unit" else ()
        return nn.Parameter(torch.full(shape, theta.default, **like))

    def _adopt(self, given: Mapping[str, nn.Parameter | None]) -> None:
        """Take over the parameters given; what else is learnt starts at its default."""
        weight = given[self._weights[0]]
        assert weight is not None
        like = {"device": weight.device, "dtype": weight.dtype}
        fresh = {name: self._theta(theta, like) for name, theta in self._learnable().items()}
        self._parameters.update(fresh | {k: v for k, v in given.items() if k in self._parameters})

    def _learnable(self) -> dict[str, Parameter]:
        """What the activations learn, by parameter name: one set a layer and direction."""
        return {
            _with(f"{argument}_{theta.name}", suffix): theta
            for suffix in self._suffixes
            for argument, phi in self._places.items()
            for theta in phi.parameters.values()
            if theta.learnable
        }

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights as ``torch.nn`` does, uniform in ±1/√H; then what was asked for."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name in self._weights:
            nn.init.uniform_(getattr(self, name), -bound, bound)
        phi = next(iter(self._places.values()))
        phis = [phi if gate == self._candidate else None for gate in range(self._gates)]
        for suffix in self._suffixes:
            w_ih, w_hh, *_ = self._weights_of(suffix)
            init.start(self.recurrent_init, w_hh, w_ih, phis)
            if self.forget_bias is not None:
                init.forget(self.forget_bias, self._gate_bias(suffix))
        for name, theta in self._learnable().items():
            getattr(self, name).fill_(theta.default)

    def _gate_bias(self, suffix: str) -> init.GateBias:
        b_ih, b_hh = (bias.chunk(self._gates) for bias in self._weights_of(suffix)[2:])
        let_in = None if self._let_in is None else (b_ih[self._let_in], b_hh[self._let_in])
        return init.GateBias((b_ih[self._keep], b_hh[self._keep]), let_in)

    def _weights_of(self, suffix: str) -> tuple[Any, ...]:
        own = self._parameters
        return tuple(
            own[name] if name in own else getattr(self, name, None) for name in self._names[suffix]
        )

    def _phi(self, place: str, suffix: str) -> Activation | BoundActivation:
        """The activation of one place with what it has learnt, held within its bounds."""
        phi = self._places[place]
        if not phi.learnable:
            return phi
        theta = {}
        for name in phi.learnable:
            value, of = getattr(self, _with(f"{place}_{name}", suffix)), phi.parameters[name]
            bounded = math.isfinite(of.low) or math.isfinite(of.high)
            theta[name] = value.clamp(of.low, of.high) if bounded else value
        return phi.bind(theta)

    def _options(self, suffix: str) -> dict[str, object]:
        """What the kernel takes beyond weights and activations."""
        return {}

    def _direction(
        self, x: Tensor, states: tuple[Tensor, ...], suffix: str, lengths: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Run one layer in one direction: x (T, B, I) to y (T, B, P) and the last states.

        A trace of ``torch.jit`` sees nothing of a kernel and would keep its empty buffers.
        """
        tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        room = cells if tracing else kernels
        return getattr(room, self._kernel)(
            x,
            *states,
            *self._weights_of(suffix),
            *(self._phi(place, suffix) for place in self._places),
            **self._options(suffix),
            lengths=lengths,
            reverse=suffix.endswith("_reverse"),
        )

    def _shown(self) -> dict[str, object]:
        """Arguments for ``extra_repr``: those that are not at their default."""
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
        }
        given = {k: getattr(self, k, v) for k, v in defaults.items()}
        shown: dict[str, object] = {k: v for k, v in given.items() if v != defaults[k]}
        shown |= {place: phi.name for place, phi in self._places.items()}
        starts = {"recurrent_init": self.recurrent_init, "forget_bias": self.forget_bias}
        return shown | {k: _text(v) for k, v in starts.items() if v is not None}

    def extra_repr(self) -> str:
        """The sizes, the arguments that differ from their defaults, and every activation."""
        parts = [f"{name}={value}" for name, value in self._shown().items()]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *parts])


class Elman(Recurrent):
    """The recurrence of RNN and RNNCell."""

    _kernel, _gates, _candidate = "elman", 1, 0

    def __init__(self, input_size, hidden_size, bias, *, nonlinearity, leak, recurrent_init):
        sizes = input_size, hidden_size, bias
        super().__init__(*sizes, {"nonlinearity": nonlinearity}, recurrent_init, None)
        self.leak = checks.step_size(leak)

    @property
    def nonlinearity(self) -> Activation:
        """The activation."""
        return self._places["nonlinearity"]

    def _options(self, suffix: str) -> dict[str, object]:
        return {"leak": self.leak}

    def _shown(self) -> dict[str, object]:
        return super()._shown() | ({"leak": self.leak} if self.leak != 1 else {})


class Gated(Recurrent):
    """What the recurrences with gates share."""

    _keep = 1
    _candidate = 2

    @property
    def activation(self) -> Activation:
        """The activation of the candidate."""
        return self._places["activation"]

    @property
    def gate_activation(self) -> Activation:
        """The activation of the gates."""
        return self._places["gate_activation"]


class GatedUnit(Gated):
    """The recurrence of GRU and GRUCell."""

    _kernel, _gates = "gru", 3

    def __init__(
        self,
        input_size,
        hidden_size,
        bias,
        *,
        activation,
        gate_activation,
        recurrent_init,
        forget_bias,
    ):
        sizes = input_size, hidden_size, bias
        places = {"activation": activation, "gate_activation": gate_activation}
        super().__init__(*sizes, places, recurrent_init, forget_bias)


class LongShortTerm(Gated):
    """The recurrence of LSTM and LSTMCell."""

    _kernel, _gates, _state_count, _let_in = "lstm", 4, 2, 0

    def __init__(
        self,
        input_size,
        hidden_size,
        bias,
        *,
        activation,
        gate_activation,
        output_activation,
        recurrent_init,
        forget_bias,
    ):
        sizes = input_size, hidden_size, bias
        places = {
            "activation": activation,
            "gate_activation": gate_activation,
            "output_activation": activation if output_activation is None else output_activation,
        }
        super().__init__(*sizes, places, recurrent_init, forget_bias)

    @property
    def output_activation(self) -> Activation:
        """The activation of the cell state on its way out."""
        return self._places["output_activation"]

    def _options(self, suffix: str) -> dict[str, object]:
        return {"w_hr": getattr(self, _with("weight_hr", suffix), None)}


def _with(name: str, suffix: str) -> str:
    return f"{name}_{suffix}" if suffix else name


def _text(start: object) -> str:
    return getattr(start, "__name__", None) or str(start)
