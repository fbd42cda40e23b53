"""The flow in a few numbers a record: what the report of a study shows of each arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from throughtime.gradients.measure import budget, census, signal, split, transport
from throughtime.gradients.plain import plain
from throughtime.gradients.record.record import Record

POINTS = 240


def flow_summary(
    records: Mapping[str, Record], *, points: int = POINTS, probes: int = 8, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """What flowed through each layer and direction, small enough to keep beside a study's runs.

    Everything is a number, a string, null, or a list or object of these, so it may be written as
    JSON and read again before it is shown; see :func:`throughtime.gradients.plain.plain` for what
    is not finite. Costs a backward signal and ``probes`` cotangents sent back through time.

    Args:
        records: of a trace or a monitor.
        points: most points of a curve; longer ones are given as root mean squares of equal
            stretches.
        probes: see :func:`throughtime.gradients.measure.transport`.
        seed: of the probes and the bootstrap.

    Returns:
        By key of the record, an object with:

        - ``kind``, ``activation``, ``units``, ``sequences``, ``reverse``; ``steps`` of the longest
          sequence;
        - ``time`` (P,), ``total``, ``injected`` (P,): rms‖g_t‖ and rms‖e_t‖; ``total_zero`` (P,):
          share of sequences in which g_t is exactly 0;
        - ``first``, ``last``: rms‖g‖ at the step that each sequence runs first and last;
        - ``split``: mean over steps of the log-gain a step, ``total``, ``slope`` (φ' and gates)
          and ``weights`` (W_hh), and ``paths``: mean share of each path;
        - ``lag`` (Q,), ``rho`` (Q,): the transport curve; ``horizon``, ``half_life``: ``value``,
          ``low``, ``high``; ``epsilon``; ``censored``: the horizon is the whole sequence;
        - ``census``: share of units by class; ``flat``: share of steps and units with no slope;
        - ``last_steps``: the last steps that make 90 % of the update; ``cancellation``.

    Example:
        >>> flow_summary(found.records)["l0"]["horizon"]["value"]
        20.0
    """
    return {key: plain(_of(record, points, probes, seed)) for key, record in records.items()}


def _of(record: Record, points: int, probes: int, seed: int) -> dict[str, Any]:
    r, B = record.recurrence, len(record.lengths)
    flow, gain, shares = signal(record), split(record), budget(record)
    reach = transport(record, probes=probes, resamples=400, seed=seed)
    units = census(record)
    ends = _ends(record)
    time, total = thin(flow.total, points)
    lag, rho = thin(reach.rho, points)
    return {
        "kind": r.kind,
        "activation": r.phi.name,
        "units": r.hidden_size,
        "steps": record.longest,
        "sequences": B,
        "reverse": record.reverse,
        "time": time,
        "total": total,
        "injected": thin(flow.injected, points)[1],
        "total_zero": thin(flow.total_zero, points)[1],
        "first": ends[0],
        "last": ends[1],
        "split": {
            "total": _mean(gain.total),
            "slope": _mean(gain.slope),
            "weights": _mean(gain.weights),
            "paths": {name: _mean(share) for name, share in gain.paths.items()},
        },
        "lag": lag,
        "rho": rho,
        "horizon": reach.horizon,
        "half_life": reach.half_life,
        "epsilon": reach.epsilon,
        "censored": reach.censored,
        "census": units.shares,
        "flat": 1 - units.on.mean(),
        "last_steps": shares.last_steps if np.isfinite(shares.cancellation) else np.nan,
        "cancellation": shares.cancellation,
    }


def thin(values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` of the values, root mean squares of equal stretches, and where they lie.

    NaN is left out of a mean and stays where there is nothing else.
    """
    parts = np.array_split(np.arange(len(values)), min(points, len(values)))
    centres = np.array([part.mean() for part in parts])
    if len(parts) == len(values):
        return centres, values
    return centres, np.array([_rms(values[part]) for part in parts])


def _ends(record: Record) -> tuple[float, float]:
    """Rms‖g‖ over sequences where each begins to run and where it ends."""
    sizes, lengths = record.run.total_size, record.lengths.cpu().numpy()
    some = np.flatnonzero(lengths)
    return _rms(sizes[0, some]), _rms(sizes[lengths[some] - 1, some])


def _rms(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    largest = np.abs(kept).max(initial=0.0)
    if not len(kept) or not 0 < largest < np.inf:
        return float(largest) if len(kept) else float("nan")
    return float(largest * np.sqrt(np.mean((kept / largest) ** 2)))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
