"""Where a recurrence starts: the recurrent matrix by name, and the bias of the gate that forgets.

``recurrent_init`` of a layer is a name (``"orthogonal"``), a name with the value of its first
option (``"scaled_identity:0.5"``), a pair (``("gaussian", {"gain": 1.5})``), or a function that
fills one matrix in place as those of ``torch.nn.init`` do. Gated cells are started gate by gate.
Everything that an initialiser does not touch is drawn as ``torch.nn`` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from inspect import Parameter, signature

import torch
from torch import Tensor, nn

from throughtime.activations import Activation
from throughtime.errors import LayerError
from throughtime.nn.checks import number

Start = str | tuple[str, Mapping[str, object]] | Callable[[Tensor], object]
ForgetStart = float | str | tuple[str, Mapping[str, object]]


@dataclass(frozen=True)
class Block:
    """The weights of one gate: recurrent (H, P), input (H, I), and the activation they feed.

    ``phi`` is None for the gates of GRU and LSTM: the state does not pass through them.
    """

    hh: Tensor
    ih: Tensor
    phi: Activation | None


def uniform(block: Block, bound: float | None = None) -> None:
    """``torch.nn``'s own start, uniform in ±1/√H, or in ±``bound``."""
    if bound is not None:
        nn.init.uniform_(block.hh, -_positive("uniform", "bound", bound), bound)


def orthogonal(block: Block, gain: float = 1.0) -> None:
    """A random orthogonal matrix times ``gain`` (Saxe et al. 2014, arXiv:1312.6120)."""
    gain = _positive("orthogonal", "gain", gain)
    if block.hh.dtype in (torch.float16, torch.bfloat16):  # no QR of half precision
        block.hh.copy_(nn.init.orthogonal_(block.hh.float(), gain=gain))
    else:
        nn.init.orthogonal_(block.hh, gain=gain)


def identity(block: Block) -> None:
    """The identity, for ReLU with long memory (Le, Jaitly, Hinton 2015, arXiv:1504.00941)."""
    _fill_square("identity", block, _eye(block))


def scaled_identity(block: Block, scale: float = 0.01) -> None:
    """``scale`` times the identity; 0.01 is what Le, Jaitly and Hinton took for short memory."""
    size = _positive("scaled_identity", "scale", scale)
    _fill_square("scaled_identity", block, size * _eye(block))


def np_rnn(block: Block) -> None:
    """Normalised positive definite, for ReLU (Talathi, Vartak 2015, arXiv:1511.03771).

    W_hh = (R Rᵀ/H + I) / its largest eigenvalue with R ~ N(0, 1), so that one eigenvalue is 1 and
    the rest lie below; W_ih ~ N(0, α²/H) with α = √2 exp(1.2 / (max(H, 6) - 2.4)).
    """
    H = len(block.hh)
    R = torch.randn(H, H, dtype=torch.float64)
    A = R @ R.T / H + _eye(block)
    _fill_square("np_rnn", block, A / torch.linalg.eigvalsh(A)[-1])
    alpha = math.sqrt(2) * math.exp(1.2 / (max(H, 6) - 2.4))
    nn.init.normal_(block.ih, std=alpha / math.sqrt(H))


def gaussian(block: Block, gain: float = 1.0) -> None:
    """Independent N(0, gain²/H) (Sompolinsky, Crisanti, Sommers 1988)."""
    std = _positive("gaussian", "gain", gain) / math.sqrt(block.hh.shape[1])
    nn.init.normal_(block.hh, std=std)


def critical(block: Block, matrix: str = "orthogonal") -> None:
    """A matrix at the gain with E[φ'(z)²] gain² = 1, z ~ N(0, 1): gradients keep their size.

    ``matrix`` is ``"orthogonal"`` or ``"gaussian"``. The gain is that of the activation the block
    feeds; gates, through which the state does not pass, have gain 1 (Schoenholz et al. 2017,
    arXiv:1611.01232).
    """
    if matrix not in ("orthogonal", "gaussian"):
        known = "orthogonal, gaussian"
        raise LayerError("nn.init_choice", name="critical", value=matrix, known=known)
    gain = 1.0 if block.phi is None else block.phi.facts.critical_gain
    if block.phi is not None and not math.isfinite(gain):
        raise LayerError("nn.no_critical_gain", name=block.phi.name)
    {"orthogonal": orthogonal, "gaussian": gaussian}[matrix](block, gain=gain)


_STARTS = {
    f.__name__: f
    for f in (uniform, orthogonal, identity, scaled_identity, np_rnn, gaussian, critical)
}


def names() -> list[str]:
    """The names that ``recurrent_init`` knows."""
    return list(_STARTS)


@torch.no_grad()
def start(how: Start | None, w_hh: Tensor, w_ih: Tensor, phis: list[Activation | None]) -> None:
    """Fill the recurrent weights (G·H, P) gate by gate; None leaves ``torch.nn``'s draw.

    Args:
        how: see the module.
        w_hh: recurrent weights, (G·H, P).
        w_ih: input weights, (G·H, I), which only ``"np_rnn"`` touches.
        phis: the activation each gate feeds, None for those the state does not pass through.

    Raises:
        LayerError: no such name or option, or a matrix of a shape it cannot have.

    Example:
        >>> w = torch.empty(4, 4)
        >>> start("scaled_identity:0.5", w, torch.empty(4, 2), [None])
        >>> w.diagonal()
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    if how is None:
        return
    fill = _custom(how) if callable(how) else _named("recurrent_init", how, _STARTS)
    G = len(phis)
    for hh, ih, phi in zip(w_hh.chunk(G), w_ih.chunk(G), phis, strict=True):
        fill(Block(hh, ih, phi))


@dataclass(frozen=True)
class GateBias:
    """The biases of one cell: of the gate that keeps the state, and of the one that lets in.

    Each is a pair (bias beside the input, bias beside the state); their sum is what counts.
    ``let_in`` is None where one gate does both, as in the GRU.
    """

    keep: tuple[Tensor, Tensor]
    let_in: tuple[Tensor, Tensor] | None


def chrono(bias: GateBias, steps: float) -> None:
    """Memory spans spread up to ``steps`` time steps (Tallec, Ollivier 2018, arXiv:1804.11188).

    The bias of the gate that keeps the state is ln U(1, steps - 1), that of the LSTM's input gate
    its negative.
    """
    if not 2 < number(steps) < math.inf:
        raise LayerError("nn.chrono_steps", value=steps)
    spans = torch.empty_like(bias.keep[0]).uniform_(1, steps - 1).log_()
    _set_bias(bias.keep, spans)
    if bias.let_in is not None:
        _set_bias(bias.let_in, -spans)


@torch.no_grad()
def forget(how: ForgetStart | None, bias: GateBias) -> None:
    """Set the bias of the gate that keeps the state: a number, or ``"chrono:STEPS"``.

    Args:
        how: a number (Jozefowicz et al. 2015 advise 1 for the LSTM), ``"chrono:100"`` or
            ``("chrono", {"steps": 100})``; None leaves ``torch.nn``'s draw.
        bias: the biases to set.

    Raises:
        LayerError: neither a finite number nor a form of chrono.
    """
    if how is None:
        return
    if isinstance(how, (str, tuple)):
        _named("forget_bias", how, {"chrono": chrono})(bias)
    elif not math.isfinite(number(how)):
        raise LayerError("nn.forget_bias", value=how)
    else:
        _set_bias(bias.keep, torch.full_like(bias.keep[0], how))


def _named(argument: str, how: object, known: Mapping[str, Callable]) -> Callable[[object], None]:
    name, options = _name_and_options(argument, how, known)
    if name not in known:
        near = ", ".join(get_close_matches(name, known, n=3, cutoff=0.5) or known)
        raise LayerError("nn.init_unknown", argument=argument, name=name, near=near)
    accepted = list(signature(known[name]).parameters.values())[1:]
    for option in options:
        if option not in [p.name for p in accepted]:
            takes = ", ".join(p.name for p in accepted) or "-"
            raise LayerError("nn.init_option", name=name, option=option, known=takes)
    for p in accepted:
        if p.default is Parameter.empty and p.name not in options:
            raise LayerError("nn.init_missing", argument=argument, name=name, option=p.name)
    return partial(known[name], **options)


def _name_and_options(
    argument: str, how: object, known: Mapping[str, Callable]
) -> tuple[str, Mapping[str, object]]:
    if isinstance(how, str):
        name, colon, text = how.partition(":")
        if not colon or name not in known:
            return name, {}
        accepted = list(signature(known[name]).parameters)[1:]
        return name, {accepted[0] if accepted else text: _value(text)}
    if isinstance(how, (tuple, list)) and len(how) == 2:
        name, options = how
        if isinstance(name, str) and isinstance(options, Mapping):
            return name, options
    raise LayerError("nn.init_form", argument=argument, value=how)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _custom(fill: Callable[[Tensor], object]) -> Callable[[Block], None]:
    def run(block: Block) -> None:
        made = fill(block.hh)
        if isinstance(made, Tensor) and made is not block.hh:
            if made.shape != block.hh.shape:
                given, wanted = tuple(made.shape), tuple(block.hh.shape)
                raise LayerError("nn.init_shape", given=given, wanted=wanted)
            block.hh.copy_(made)

    return run


def _positive(name: str, option: str, value: object) -> float:
    if not 0 < number(value) < math.inf:
        raise LayerError("nn.init_value", name=name, option=option, value=value)
    return number(value)


def _eye(block: Block) -> Tensor:
    return torch.eye(len(block.hh), dtype=torch.float64)


def _fill_square(name: str, block: Block, matrix: Tensor) -> None:
    if block.hh.shape != matrix.shape:
        raise LayerError("nn.init_square", name=name, shape=tuple(block.hh.shape))
    block.hh.copy_(matrix)


def _set_bias(pair: tuple[Tensor, Tensor], value: Tensor) -> None:
    pair[0].copy_(value)
    pair[1].zero_()
