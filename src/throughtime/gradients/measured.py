"""All measures of a trace, and as plain numbers, of which its page, files and summary are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.advise.reference import SAMPLE, ensemble
from throughtime.gradients.measure import (
    OneStep,
    Spectrum,
    Usage,
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
from throughtime.gradients.measure.beside import side_by_side
from throughtime.gradients.measure.census import CLASSES, place_of
from throughtime.gradients.measure.series import (
    by_time,
    mean,
    spread,
    steps_of,
    valid_steps,
)
from throughtime.gradients.measure.transport import reach
from throughtime.gradients.plain import plain
from throughtime.gradients.record.record import Record
from throughtime.gradients.record.recurrence import Recurrence
from throughtime.gradients.summary import thin

OTHERS = ("tanh", "relu", "leaky_relu", "elu")
COSTLY = ("lag_map", "lyapunov", "one_step")
_CHEAP_STATE = 256
_ROWS, _COLUMNS = 64, 240
_EXPONENTS, _SEQUENCES = 64, 8
_STARTS, _START_SEQUENCES = 4, 2
_TINY_STATE = 64
_POINTS, _STATES = 16_384, 65_536
_HISTORY = 16_384


def measures(
    records: Mapping[str, Record],
    *,
    costly: bool = False,
    compare: Sequence[object] | None = None,
    sequences: int | None = SAMPLE,
) -> dict[str, dict[str, Any]]:
    """Every measure of every record, as its function returns it.

    Args:
        records: of a trace or a monitor.
        costly: take the lag map (8 more passes back), the Lyapunov spectrum (a QR at every step,
            for at most 64 exponents over the first 8 sequences, and again for 4 networks of the
            same shape at a sound start over 2 of them) and, beyond 256 state variables, the
            singular values of single steps too. What is left out is None. ``one_step`` looks at 4
            steps of 2 sequences then, and otherwise at 2 of one, or beyond 64 state variables at
            one, with spectral radii from powers instead of eigenvalues and without
            ``non_normality`` and ``weight_peak``.
        compare: activations to forecast the flow with; by default tanh, ReLU, leaky ReLU and ELU
            but for the one in use. Each costs a pass forward and back.
        sequences: how many sequences of the batch, from the first, are looked at for all but
            ``signal`` and ``census``, which take all; None for all.

    Returns:
        By key of the record, an entry a measure, named as the function in
        :mod:`throughtime.gradients.measure`. ``usage`` holds one a place, ``counterfactual`` by
        activation the ``total`` of :class:`.Signal`, ``rho`` and the value of ``horizon`` of
        :class:`.Transport` and the ``shares`` of :class:`.Census`. Beside them stand ``state``
        (rms of h by time), and ``sample``: over how many sequences the rest is measured, as its
        ``error`` the relative standard error that the choice of these brings to Σ_t ‖g_t‖², and
        ``total``, rms‖g_t‖ over these alone, to which the forecasts are to be held.
        ``lyapunov_start`` holds the smallest and largest of each exponent in an ensemble of
        networks of the same shape at a sound start, on the same inputs; they are not the network's
        own start.
    """
    return {
        key: _measures(record, _sample_of(record, sequences), costly, compare)
        for key, record in records.items()
    }


def _measures(
    record: Record,
    some: Callable[[], Record],
    costly: bool,
    compare: Sequence[object] | None,
) -> dict[str, Any]:
    r = record.recurrence
    calls: dict[str, Callable[[], Any]] = {
        "counterfactual": lambda: _others(some(), compare),
        "census": lambda: census(record),
        "one_step": lambda: _law(some(), costly) if _has_law(record, costly) else None,
        "transport": lambda: transport(some()),
        "usage": lambda: {place: usage(some(), place, points=_POINTS) for place in _places(r)},
        "budget": lambda: budget(some()),
        "health": lambda: health(some(), points=_STATES),
        "split": lambda: split(some()),
        "signal": lambda: signal(record),
        "sample": lambda: _sample(record, some()),
        "underflow": lambda: underflow(some()),
        "gates": lambda: None if r.kind == "elman" else gates(some()),
        "signal_to_noise": lambda: signal_to_noise(some()),
        "state": lambda: _state(some()),
    }
    return side_by_side(record.lengths.device, calls) | {
        "lag_map": lag_map(some()) if costly else None,
        "lyapunov": _leading(some().first(_SEQUENCES)) if costly else None,
        "lyapunov_start": _start(some()) if costly else None,
    }


def _sample_of(record: Record, sequences: int | None) -> Callable[[], Record]:
    """The record of the first sequences alone, put together when a measure asks for it first."""

    @cache
    def some() -> Record:
        _ = record.run.total_size, record.run.injected_size  # of all: for it and for ``signal``
        return record.first(sequences)

    return some


def measured(
    records: Mapping[str, Record],
    *,
    costly: bool = False,
    compare: Sequence[object] | None = None,
    sequences: int | None = SAMPLE,
) -> dict[str, dict[str, Any]]:
    """Every measure of every record, as JSON holds it.

    Args:
        records: of a trace or a monitor.
        costly: as for :func:`measures`; what is left out is null, and named in ``left_out``.
        compare: as for :func:`measures`.
        sequences: as for :func:`measures`.

    Returns:
        By key of the record, an object with an entry a measure: the fields of what
        :func:`measures` returns, but for ``per_sequence`` of ``transport``; of the singular values
        of ``one_step`` the median, smallest and largest by rank; and ``start`` of the exponents
        in ``lyapunov``. Beside them stand the shape of the layer, ``shares`` of the census,
        ``barcode`` (of at most 64 units and the first of each class, the share of sequences in
        which each is on by time, and where its pre-activations lie) and ``left_out``.
    """
    found = {}
    for key, record in records.items():
        some = _sample_of(record, sequences)
        taken = _measures(record, some, costly, compare)
        found[key] = _about(record, costly) | _plain(some(), taken)
    return found


def _about(record: Record, costly: bool) -> dict[str, Any]:
    """The shape of a layer, and what is left out."""
    r, (T, B) = record.recurrence, record.run.states.shape[:2]
    done = {"lag_map": costly, "lyapunov": costly, "one_step": _has_law(record, costly)}
    about = {
        "kind": r.kind,
        "activation": r.phi.name,
        "units": r.hidden_size,
        "inputs": r.w_ih.shape[1],
        "layer": record.layer,
        "reverse": record.reverse,
        "linked": record.linked,
        "steps": T,
        "sequences": B,
        "lengths": _range(valid_steps(record)),
        "left_out": [name for name in COSTLY if not done[name]],
    }
    return plain(about)


def _plain(some: Record, taken: dict[str, Any]) -> dict[str, Any]:
    """Measures as JSON holds them, and what their page shows besides."""
    counted, law, exponents = taken["census"], taken["one_step"], taken["lyapunov"]
    start = taken["lyapunov_start"]
    return plain(
        {name: found for name, found in taken.items() if name != "lyapunov_start"}
        | {
            "shares": counted.shares,
            "barcode": _barcode(some, counted.label, taken["usage"][counted.place]),
            "transport": _without(taken["transport"], "per_sequence"),
            "one_step": None if law is None else _one_step(law),
            "lyapunov": None if exponents is None else plain(exponents) | {"start": start},
        }
    )


def _has_law(record: Record, costly: bool) -> bool:
    return costly or record.recurrence.state_size <= _CHEAP_STATE


def _places(r: Recurrence) -> tuple[str, ...]:
    return (*r.gates, "c") if r.kind == "lstm" else r.gates


def _law(some: Record, costly: bool) -> OneStep:
    if costly:
        return one_step(some)
    tiny = some.recurrence.state_size <= _TINY_STATE
    return one_step(some, 1 + tiny, 1, exact=tiny, peak=tiny)


def _sample(record: Record, some: Record) -> dict[str, Any]:
    count, whole = len(some.lengths), len(record.lengths)
    size = (record.run.total_size**2).sum(0)
    scatter = size.std(ddof=1) / size.mean() if whole > count and size.mean() > 0 else 0.0
    return {
        "sequences": count,
        "error": scatter * ((1 - count / whole) / count) ** 0.5,
        "total": spread(by_time(record, record.run.total_size)[:, :count])[0],
    }


def _one_step(found: OneStep) -> dict[str, Any]:
    """Singular values by rank: median and the smallest and largest over the steps looked at."""
    values = found.singular_values
    some = values if len(values) else np.full((1, values.shape[-1]), np.nan)
    low, median, high = _range(some)
    ranked = {"median": median, "low": low, "high": high}
    return _without(found, "singular_values") | {"singular_values": ranked}


def _range(values: np.ndarray) -> np.ndarray:
    """The smallest, the median and the largest along the first axis."""
    ascending, last = np.sort(values, 0), len(values) - 1
    median = (ascending[last // 2] + ascending[-(-last // 2)]) / 2
    return np.array([ascending[0], median, ascending[-1]])


def _without(found: Any, name: str) -> dict[str, Any]:
    return {f.name: getattr(found, f.name) for f in fields(found) if f.name != name}


def _start(record: Record) -> dict[str, Any]:
    """The range of the leading exponents in networks of the same shape at a sound start."""
    starts = [_leading(r).exponents for r in ensemble(record, _STARTS, _START_SEQUENCES)]
    return {"low": np.min(starts, 0), "high": np.max(starts, 0), "networks": _STARTS}


def _leading(sample: Record) -> Spectrum:
    """The first exponents alone: a whole spectrum grows with the cube of H."""
    transient = min(len(sample.alive) // 10, sample.longest - 1)
    return lyapunov(sample, min(sample.recurrence.state_size, _EXPONENTS), transient)


def _state(record: Record) -> np.ndarray:
    squares = record.run.state_size**2 / record.run.states.shape[-1]
    return np.sqrt(mean(by_time(record, squares)))


def _barcode(
    record: Record, label: Sequence[str], used: Usage, epsilon: float = 1e-3
) -> dict[str, Any]:
    """Share of sequences in which a unit is on, units by class, at most 64 by 240.

    Beside the 64 stands the first unit of each class, so that a rare class is there too.
    """
    a, slope, steepest = place_of(record, used.place)
    classes = np.array([CLASSES.index(kind) for kind in label])
    order = np.argsort(classes, kind="stable")
    _, rare = np.unique(classes[order], return_index=True)
    even = np.linspace(0, len(order) - 1, min(len(order), _ROWS)).round().astype(int)
    units = order[np.union1d(even, rare)]
    timed, lengths = passes.steps(record.in_time(slope)), valid_steps(record)
    shares = passes.on_by_step(timed, epsilon * steepest, lengths)
    some, T = shares[:, units].T, len(shares)
    if T > _COLUMNS:
        some = np.stack([mean(some[:, p]) for p in np.array_split(np.arange(T), _COLUMNS)], 1)
    return {
        "units": units,
        "classes": [label[unit] for unit in units],
        "place": used.place,
        "density": _densities(steps_of(record, a, _POINTS), used)[units].round(4),
        "on": some.round(3),
        "share": shares.mean(-1),
    }


def _densities(points: Tensor, used: Usage) -> np.ndarray:
    """Share of a unit's steps in each bin of ``used``, what lies beyond in the outermost ones."""
    low, high = float(used.edges[0]), float(used.edges[-1])
    counts = passes.histogram(passes.rows(points), low, high, len(used.density))
    counts[:, 1] += counts[:, 0]
    counts[:, -2] += counts[:, -1]
    return counts[:, 1:-1] / max(len(points), 1)


def looks(history: Iterable[Any]) -> list[dict[str, Any]]:
    """What a monitor saw at each look, as JSON; curves of at most 240 points, fewer of many looks.

    Args:
        history: :attr:`throughtime.gradients.Monitor.history`.

    Returns:
        Per look ``step``, ``updates``, ``clips`` and ``layers``: by key of the record the curves
        ``time``, ``total``, ``low``, ``high``, ``zero``, ``injected``, ``slope``, ``weights``,
        ``gain``, ``share``, ``noise`` and, by name, ``paths``; ``lag`` and ``cumulative``, the
        share of the update that the last steps make, and ``last_steps``; ``classes``, the share of
        units in each.
    """
    seen = list(history)
    points = min(_COLUMNS, max(_ROWS, _HISTORY // max(1, len(seen))))
    return [
        plain(
            {
                "step": sight.step,
                "updates": sight.updates,
                "clips": sight.clips,
                "layers": {key: _look(layer, points) for key, layer in sight.layers.items()},
            }
        )
        for sight in seen
    ]


def _look(layer: Any, points: int) -> dict[str, Any]:
    flow, gain, budget = layer.signal, layer.split, layer.budget
    means = {
        "zero": flow.total_zero,
        "slope": gain.slope,
        "weights": gain.weights,
        "gain": gain.total,
    }
    squares = {
        "total": flow.total,
        "low": flow.total_low,
        "high": flow.total_high,
        "injected": flow.injected,
        "noise": layer.noise,
    }
    whole = np.cumsum(np.nan_to_num(budget.by_lag))
    last = np.unique(np.linspace(0, len(whole) - 1, min(len(whole), points)).round().astype(int))
    return {
        "time": thin(flow.total, points)[0],
        **{name: thin(values, points)[1] for name, values in squares.items()},
        **{name: _stretches(values, points, mean) for name, values in means.items()},
        "paths": {name: _stretches(v, points, mean) for name, v in gain.paths.items()},
        "share": _stretches(budget.share, points, np.sum),
        "lag": last + 1,
        "cumulative": whole[last],
        "last_steps": budget.last_steps,
        "classes": layer.census.shares,
    }


def _stretches(values: np.ndarray, points: int, one: Callable[[np.ndarray], Any]) -> np.ndarray:
    """One number for each of at most ``points`` equal stretches."""
    return np.array([one(part) for part in np.array_split(values, min(len(values), points))])


def _others(record: Record, compare: Sequence[object] | None) -> dict[str, Any]:
    others = [n for n in OTHERS if n != record.recurrence.phi.name] if compare is None else compare
    found = {}
    for phi in others:
        other = counterfactual(record, phi)
        rho, horizon = reach(other)
        found[other.recurrence.phi.name] = {
            "total": spread(by_time(other, other.run.total_size))[0],
            "rho": rho,
            "horizon": horizon,
            "shares": census(other).shares,
        }
    return found
