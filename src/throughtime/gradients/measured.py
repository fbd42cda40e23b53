"""All measures of a trace as plain numbers, of which its page, files and summary are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from throughtime.gradients.advise.reference import few
from throughtime.gradients.measure import (
    OneStep,
    Spectrum,
    Transport,
    budget,
    census,
    counterfactual,
    gates,
    health,
    lag_map,
    lyapunov,
    one_step,
    signal,
    signal_to_noise,
    split,
    transport,
    underflow,
    usage,
)
from throughtime.gradients.measure.census import CLASSES, place_of
from throughtime.gradients.measure.series import by_time, mean, numpy, squared_norms
from throughtime.gradients.plain import plain
from throughtime.gradients.record.record import Record
from throughtime.gradients.summary import thin

OTHERS = ("tanh", "relu", "leaky_relu", "elu")
COSTLY = ("lag_map", "lyapunov", "one_step")
_CHEAP_STATE = 256
_ROWS, _COLUMNS = 64, 240
_EXPONENTS, _SEQUENCES = 64, 8


def measured(
    records: Mapping[str, Record],
    *,
    costly: bool = False,
    compare: Sequence[object] | None = None,
) -> dict[str, dict[str, Any]]:
    """Every measure of every record, as JSON holds it.

    Args:
        records: of a trace or a monitor.
        costly: take the lag map (8 more passes back), the Lyapunov spectrum (a QR at every step,
            for at most 64 exponents over the first 8 sequences) and, beyond 256 state variables,
            the singular values of single steps too. What is left out is null, and named in
            ``left_out``.
        compare: activations to forecast the flow with; by default tanh, ReLU, leaky ReLU and ELU
            but for the one in use. Each costs a pass forward and back.

    Returns:
        By key of the record, an object with an entry a measure, named as the function in
        :mod:`throughtime.gradients.measure`, whose fields it holds. Beside them stand the shape of
        the layer, ``state`` (rms of h by time), ``barcode`` (share of sequences in which a unit is
        on, by time) and ``left_out``.
    """
    return {key: _of(record, costly, compare) for key, record in records.items()}


def _of(record: Record, costly: bool, compare: Sequence[object] | None) -> dict[str, Any]:
    r, (T, B) = record.recurrence, record.alive.shape
    single = costly or r.state_size <= _CHEAP_STATE
    done = {"lag_map": costly, "lyapunov": costly, "one_step": single}
    units = census(record)
    return plain(
        {
            "kind": r.kind,
            "activation": r.phi.name,
            "units": r.hidden_size,
            "inputs": r.w_ih.shape[1],
            "layer": record.layer,
            "reverse": record.reverse,
            "linked": record.linked,
            "steps": T,
            "sequences": B,
            "lengths": np.quantile(numpy(record.lengths), [0, 0.5, 1]),
            "left_out": [name for name in COSTLY if not done[name]],
            "signal": signal(record),
            "split": split(record),
            "budget": budget(record),
            "lag_map": lag_map(record) if costly else None,
            "transport": _transport(transport(record)),
            "lyapunov": _lyapunov(record) if costly else None,
            "one_step": _one_step(one_step(record, count=4, sequences=2)) if single else None,
            "census": units,
            "shares": units.shares,
            "barcode": _barcode(record, units.label),
            "usage": {place: usage(record, place) for place in _places(record)},
            "health": health(record),
            "state": _state(record),
            "gates": None if r.kind == "elman" else gates(record),
            "signal_to_noise": signal_to_noise(record),
            "underflow": underflow(record),
            "counterfactual": _others(record, compare),
        }
    )


def _transport(found: Transport) -> dict[str, Any]:
    held = plain(replace(found, per_sequence=np.zeros((0, 0))))
    del held["per_sequence"]
    return held


def _one_step(found: OneStep) -> dict[str, Any]:
    """Singular values by rank: median and the smallest and largest over the steps looked at."""
    values = found.singular_values
    some = values if len(values) else np.full((1, values.shape[-1]), np.nan)
    ranked = {"median": np.median(some, 0), "low": some.min(0), "high": some.max(0)}
    return plain(replace(found, singular_values=np.zeros(0))) | {"singular_values": ranked}


def _lyapunov(record: Record) -> Spectrum:
    """The leading exponents over the first sequences: a whole spectrum grows with the cube of H."""
    sample = few(record, _SEQUENCES)
    transient = min(len(sample.alive) // 10, int(sample.lengths.max()) - 1)
    return lyapunov(sample, min(record.recurrence.state_size, _EXPONENTS), transient)


def _places(record: Record) -> tuple[str, ...]:
    r = record.recurrence
    return (*r.gates, "c") if r.kind == "lstm" else r.gates


def _state(record: Record) -> np.ndarray:
    states = record.run.states
    return np.sqrt(mean(by_time(record, squared_norms(states) / states.shape[-1])))


def _barcode(record: Record, label: Sequence[str], epsilon: float = 1e-3) -> dict[str, Any]:
    """Share of sequences in which a unit is on, units by class, at most 64 by 240."""
    _, slope, steepest, _ = place_of(record, record.recurrence.main_place)
    order = sorted(range(len(label)), key=lambda unit: (CLASSES.index(label[unit]), unit))
    rows = np.linspace(0, len(order) - 1, min(len(order), _ROWS)).round().astype(int)
    units = [order[row] for row in rows]
    on = (slope[..., units].abs() > epsilon * steepest).double()
    shares = np.stack([mean(by_time(record, on[..., i])) for i in range(len(units))])
    parts = np.array_split(np.arange(shares.shape[1]), min(shares.shape[1], _COLUMNS))
    cells = np.stack([mean(shares[:, part]) for part in parts], 1)
    every = (slope.abs() > epsilon * steepest).double().mean(-1)
    return {
        "units": units,
        "classes": [label[u] for u in units],
        "on": cells.round(3),
        "share": mean(by_time(record, every)),
    }


def looks(history: Iterable[Any]) -> list[dict[str, Any]]:
    """What a monitor saw at each look, as JSON; curves of at most 240 points.

    Args:
        history: :attr:`throughtime.gradients.Monitor.history`.

    Returns:
        Per look ``step``, ``updates``, ``clips`` and ``layers``: by key of the record the curves
        ``time``, ``total``, ``injected``, ``slope``, ``weights``, ``gain`` and ``share``.
    """
    return [
        plain(
            {
                "step": sight.step,
                "updates": sight.updates,
                "clips": sight.clips,
                "layers": {key: _look(layer) for key, layer in sight.layers.items()},
            }
        )
        for sight in history
    ]


def _look(layer: Any) -> dict[str, Any]:
    share = layer.budget.share
    parts = np.array_split(share, min(len(share), _COLUMNS))
    time, total = thin(layer.signal.total, _COLUMNS)
    gain = {"slope": layer.split.slope, "weights": layer.split.weights, "gain": layer.split.total}
    sums = [np.array_split(v, len(parts)) for v in gain.values()]
    return {
        "time": time,
        "total": total,
        "injected": thin(layer.signal.injected, _COLUMNS)[1],
        **{n: np.array([mean(p) for p in v]) for n, v in zip(gain, sums, strict=True)},
        "share": np.array([p.sum() for p in parts]),
    }


def _others(record: Record, compare: Sequence[object] | None) -> dict[str, Any]:
    others = [n for n in OTHERS if n != record.recurrence.phi.name] if compare is None else compare
    found = {}
    for phi in others:
        other = counterfactual(record, phi)
        reach = transport(other, probes=4, resamples=0)
        found[other.recurrence.phi.name] = {
            "total": signal(other).total,
            "rho": reach.rho,
            "horizon": reach.horizon.value,
            "shares": census(other).shares,
        }
    return found
