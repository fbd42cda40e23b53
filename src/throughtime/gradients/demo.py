"""The initial-gradient table: does tanh, or does ReLU, let gradients vanish? It depends.

Answers the textbook claim with the project's own diagnosis, at initialisation, before any training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.gradients.measure import transport
from throughtime.gradients.tracing import trace

ACTIVATIONS = ("tanh", "relu", "leaky_relu", "elu")
STARTS = ("default", "orthogonal", "identity", "np")
INPUTS = ("uniform", "normal")
STEPS = (100, 400)
NETWORKS = 8
CELLS = len(ACTIVATIONS) * len(STARTS) * len(INPUTS) * len(STEPS)


@dataclass(frozen=True)
class InitialGradient:
    """One cell of the table: log10 ‖∂h_T/∂h_0‖_F / √H before training.

    Attributes:
        activation: name.
        start: how W_hh is drawn.
        inputs: ``"uniform"``: values in [0, 1], as in the adding problem; ``"normal"``: N(0, 1),
            an ordinary standardised series.
        steps: T.
        value: log10 of the root mean square over sequences for the identity start, mean of log10
            for the others; mean over networks.
        spread: its standard deviation from network to network.
        networks: how many.
        zero: share of sequences whose gradient is exactly 0.
    """

    activation: str
    start: str
    inputs: str
    steps: int
    value: float
    spread: float
    networks: int
    zero: float


def initial_gradients(
    activations: Sequence[str] = ACTIVATIONS,
    starts: Sequence[str] = STARTS,
    inputs: Sequence[str] = INPUTS,
    steps: Sequence[int] = STEPS,
    hidden_size: int = 100,
    networks: int = NETWORKS,
    seed: int = 0,
) -> Iterator[InitialGradient]:
    """The table of activation x start of W_hh x sign of the input x length.

    Input: a value and a mask with two ones; zero biases; W_ih uniform in ±1/√H. ``networks``
    networks each, with 3 sequences; with 25 for the identity, where each sequence lets everything
    or nothing through. Cells come one by one; all 64 take about four minutes.

    Source:
        Q. Le, N. Jaitly, G. Hinton, arXiv:1504.00941 (identity); S. Talathi and A. Vartak,
        arXiv:1511.03771 (np).

    Example:
        >>> cell, = initial_gradients(["tanh"], ["identity"], ["uniform"], [100])
        >>> cell.value  # about -0.84
    """
    for start, kind, T, activation in product(starts, inputs, steps, activations):
        yield _cell(activation, start, kind, T, hidden_size, networks, seed)


def table(rows: Sequence[InitialGradient]) -> Iterator[str]:
    """The table as aligned lines of text."""
    from throughtime.language import say

    names = list(dict.fromkeys(r.activation for r in rows))
    yield say("gradients.demo_title")
    head = [say(f"gradients.demo_{c}") for c in ("start", "input")]
    yield f"{head[0]:<16}{head[1]:<10}{'T':>5}" + "".join(f"{n:>18}" for n in names)
    cells = {(r.start, r.inputs, r.steps, r.activation): r for r in rows}
    for start, kind, T in dict.fromkeys((r.start, r.inputs, r.steps) for r in rows):
        found = "".join(f"{_text(cells.get((start, kind, T, n))):>18}" for n in names)
        yield f"{start:<16}{_INPUT_TEXT[kind]:<10}{T:>5}{found}"
    yield say("gradients.demo_note")


_INPUT_TEXT = {"uniform": "U[0,1]", "normal": "N(0,1)"}


def _text(cell: InitialGradient | None) -> str:
    if cell is None:
        return "–"
    zero = f" ({cell.zero:.0%} 0)" if cell.zero > 0.005 else ""
    return f"{cell.value:+.2f}{zero}"


def _cell(
    activation: str, start: str, kind: str, T: int, H: int, networks: int, seed: int
) -> InitialGradient:
    generator = torch.Generator().manual_seed(seed)
    identity = start.endswith("identity")
    rho = [
        _rho(activation, _START[start](H, generator), kind, T, 25 if identity else 3, generator)
        for _ in range(networks)
    ]
    zero = float(np.mean(np.concatenate(rho) == 0))
    average = _log_rms if identity else _mean_log
    values = [average(curve) for curve in rho if curve.any()]
    whole = _log_rms(np.concatenate(rho)) if identity else float(np.mean(values))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return InitialGradient(activation, start, kind, T, whole, spread, networks, zero)


def _log_rms(rho: np.ndarray) -> float:
    return float(0.5 * np.log10(np.mean(rho**2)))


def _mean_log(rho: np.ndarray) -> float:
    return float(np.mean(np.log10(rho[rho > 0])))


def _rho(
    activation: str, w_hh: Tensor, kind: str, T: int, B: int, generator: torch.Generator
) -> np.ndarray:
    """‖∂h_T/∂h_0‖_F/√H of each sequence."""
    from throughtime.nn import RNN

    H = len(w_hh)
    layer = RNN(2, H, nonlinearity=activation, bias=False, dtype=torch.float64)
    with torch.no_grad():
        w_ih = nn.init.uniform_(torch.empty(H, 2).double(), -(H**-0.5), H**-0.5, generator)
        layer.load_state_dict({"weight_ih_l0": w_ih, "weight_hh_l0": w_hh})
    x = _adding(kind, T, B, generator)
    record = trace(layer, x, lambda model, batch: model(batch)[0][-1].sum()).records["l0"]
    return transport(record, probes=None if B < 10 else 8, resamples=0).per_sequence[T]


def _adding(kind: str, T: int, B: int, generator: torch.Generator) -> Tensor:
    like = {"generator": generator, "dtype": torch.float64}
    value = torch.rand(T, B, **like) if kind == "uniform" else torch.randn(T, B, **like)
    mask = torch.zeros(T, B, dtype=torch.float64)
    halves = (0, T // 2), (T // 2, T)
    for low, high in halves:
        mask[torch.randint(low, high, (B,), generator=generator), torch.arange(B)] = 1
    return torch.stack([value, mask], -1)


def _default(H: int, generator: torch.Generator) -> Tensor:
    return nn.init.uniform_(torch.empty(H, H).double(), -(H**-0.5), H**-0.5, generator=generator)


def _orthogonal(H: int, generator: torch.Generator) -> Tensor:
    return nn.init.orthogonal_(torch.empty(H, H).double(), generator=generator)


def _np(H: int, generator: torch.Generator) -> Tensor:
    r = torch.randn(H, H, generator=generator, dtype=torch.float64)
    a = r @ r.T / H + torch.eye(H, dtype=torch.float64)
    return a / torch.linalg.eigvalsh(a)[-1]


_START: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "default": _default,
    "orthogonal": _orthogonal,
    "sqrt2 orthogonal": lambda H, generator: math.sqrt(2) * _orthogonal(H, generator),
    "identity": lambda H, generator: torch.eye(H, dtype=torch.float64),
    "1.02 identity": lambda H, generator: 1.02 * torch.eye(H, dtype=torch.float64),
    "np": _np,
}
