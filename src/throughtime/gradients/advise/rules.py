"""The rules, from a record and its reference ensemble to findings; one rule, one cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from throughtime.errors import TraceError
from throughtime.gradients.advise.finding import CAUSES, Finding
from throughtime.gradients.advise.reference import SAMPLE, ensemble
from throughtime.gradients.measure import Transport, census, clipping, gates, split, transport
from throughtime.gradients.measure.census import place_of
from throughtime.gradients.record.record import Record

EPSILON = 1e-3


@dataclass(frozen=True)
class Training:
    """What a monitor saw of the updates, by name of the weights.

    Attributes:
        updates: log10 of rms(update)/rms(weight) at the steps looked at; -inf for no update.
        clips: ‖gradient used‖/‖gradient found‖ at the steps looked at.
    """

    updates: Mapping[str, Sequence[float]]
    clips: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Case:
    """One record with what it is judged against."""

    record: Record
    lag: int | None
    seeds: int

    @property
    def needed(self) -> int:
        """The lag to reach: as told, else a tenth of the median length."""
        told = self.lag
        return told if told is not None else max(1, int(self.record.lengths.median()) // 10)

    @cached_property
    def references(self) -> list[Record]:
        """The same shape at a sound start."""
        return list(ensemble(self.record, self.seeds))

    @cached_property
    def flow(self) -> Transport:
        """How far gradients go back, as the page of the trace shows it."""
        return transport(self.record.first(SAMPLE), epsilon=EPSILON)

    @cached_property
    def reference_flows(self) -> list[Transport]:
        """How far they would."""
        return [transport(r, probes=4, epsilon=EPSILON, resamples=0) for r in self.references]

    @property
    def bounded(self) -> bool:
        """Whether the activation of the state or candidate has a finite range."""
        far = self.record.run.x.new_tensor([[-1e4], [1e4]]).expand(2, _units(self.record))
        return bool((self.record.recurrence.phi.value(far).abs() < 100).all())


def advise(
    records: Mapping[str, Record],
    *,
    lag: int | None = None,
    training: Training | None = None,
    seeds: int = 8,
) -> tuple[Finding, ...]:
    """What is wrong, causes before their consequences; nothing where nothing is.

    Each record is judged against networks of the same shape at a sound start on the same inputs,
    and against the lag the task needs.

    Args:
        records: of a trace.
        lag: how many steps back the task needs the network to look. Without it only a network
            that forgets within a tenth of the median sequence is said to forget too soon.
        training: what a monitor saw of the updates.
        seeds: networks in the reference.

    Example:
        >>> advise(found.records, lag=20)
        ()

    Raises:
        TraceError: the lag is below 1.
    """
    if lag is not None and lag < 1:
        raise TraceError("gradients.lag", lag=lag)
    found = list(_of_training(training)) if training is not None else []
    for record in records.values():
        case = Case(record, lag, seeds)
        found += [finding for rule in _RULES if (finding := rule(case)) is not None]
    return tuple(sorted(found, key=lambda f: CAUSES.index(f.cause)))


def _dead(case: Case) -> Finding | None:
    if case.bounded:
        return None
    share = _never_on(case.record)
    usual = max(map(_never_on, case.references))
    if share < 0.5 or share < usual + 0.1:
        return None
    return _finding(case, "dead", share, usual, share=_percent(share), usual=_percent(usual))


def _never_on(record: Record) -> float:
    return census(record).label.count("never_on") / _units(record)


def _saturated(case: Case) -> Finding | None:
    if not case.bounded:
        return None
    share, usual = _flat(case.record), max(map(_flat, case.references))
    if share < 0.15 or share < usual + 0.1:
        return None
    return _finding(case, "saturated", share, usual, share=_percent(share), usual=_percent(usual))


def _flat(record: Record) -> float:
    _, slope, steepest = place_of(record, record.recurrence.main_place)
    return float((slope[record.alive].abs() <= EPSILON * steepest).double().mean())


def _forgets(case: Case) -> Finding | None:
    if case.record.recurrence.kind == "elman":
        return None
    keep = _keep(case.record)
    usual = float(np.median([_keep(r) for r in case.references]))
    if not (keep <= 0.1 and keep <= 0.25 * usual):  # NaN is no finding of this kind
        return None
    advice = f"advice_forgets_{case.record.recurrence.kind}"
    return _finding(
        case, "forgets", keep, usual, advice, share=f"{keep:.2g}", usual=f"{usual:.2g}",
        needed=str(case.needed),
    )  # fmt: skip


def _keep(record: Record) -> float:
    return float(np.median(gates(record).keep))


def _explodes(case: Case) -> Finding | None:
    flow = case.flow
    if not np.isfinite(flow.rho[1:2]).all():
        flow = transport(_until_overflow(case.record.first(SAMPLE)), resamples=0)
    largest, usual = _largest(flow), max(map(_largest, case.reference_flows))
    if not largest > max(100, 10 * usual):
        return None
    rho = flow.rho[np.isfinite(flow.rho)]
    per_step = largest ** (1 / max(1, int(np.argmax(rho))))
    return _finding(
        case, "explodes", largest, usual, largest=f"{largest:.2g}", factor=f"{per_step:.3g}",
        usual=f"{usual:.2g}",
    )  # fmt: skip


def _until_overflow(record: Record) -> Record:
    """Each sequence up to the last step whose state is finite: what led to the overflow."""
    run, steps = record.run, torch.arange(len(record.alive), device=record.lengths.device)
    over = (~run.states.isfinite()).any(-1)
    first = torch.where(over.any(0), over.int().argmax(0), record.lengths)
    lengths = torch.minimum(first, record.lengths)
    states = torch.where((steps[:, None] < lengths).unsqueeze(-1), run.states, 0.0)
    new = replace(run, lengths=lengths, states=states, told={}, inside=None, back=None)
    return replace(record, lengths=lengths, run=new)


def _largest(flow: Transport) -> float:
    finite = flow.rho[np.isfinite(flow.rho)]
    return float(finite.max()) if len(finite) else 0.0


def _not_finite(case: Case) -> Finding | None:
    record, steps = case.record, len(case.record.alive)
    for what, tensor in (("state", record.state), ("gradient", record.total)):
        bad = (~tensor.isfinite()).any(-1).any(-1).nonzero().flatten()
        if len(bad):
            first = (what == "state") != record.reverse
            step = int(bad[0] if first else bad[-1])
            advice = "advice_not_finite"
            return _finding(case, f"{what}_not_finite", step, steps, advice, step=str(step))
    return None


def _unread(case: Case) -> Finding | None:
    if bool(case.record.run.pulled.total.any()) or case.record.run.injected.any():
        return None
    return _finding(case, "unread", 0.0, 0.0)


def _cut(case: Case) -> Finding | None:
    flow, lag = case.flow, case.needed
    if lag >= len(flow.zero) or not flow.zero[lag] > 0.5 or flow.rho[lag] < EPSILON:
        return None
    share = float(flow.zero[lag])
    usual = float(np.median([r.zero[lag] for r in case.reference_flows]))
    return _finding(
        case, "cut", share, usual, share=_percent(share), lag=str(lag), usual=_percent(usual)
    )


def _vanishes(case: Case) -> Finding | None:
    flow, kind = case.flow, case.record.recurrence.kind
    if flow.censored or not flow.horizon.high < case.needed or not np.isfinite(flow.rho[:2]).all():
        return None
    usual = float(np.median([r.horizon.value for r in case.reference_flows]))
    parts = _factors(case.record.first(SAMPLE))
    known = parts if np.isfinite(list(parts.values())).all() else {}
    name = "finding_vanishes" + ("_elman" if kind == "elman" else "_gates")
    kept = kind == "elman" and parts["weights"] >= 0.95 > parts["slope"] and usual < case.needed
    return _finding(
        case,
        "vanishes",
        flow.horizon.value,
        usual,
        "advice_vanishes_phi" if kept else f"advice_vanishes_{kind}",
        name if known else "",
        horizon=f"{flow.horizon.value:.0f}",
        interval=f"{flow.horizon.low:.0f}–{flow.horizon.high:.0f}",
        needed=str(case.needed),
        usual=f"{usual:.0f}",
        **{name: f"{value:.2g}" for name, value in known.items()},
    )


def _factors(record: Record) -> dict[str, float]:
    """What a step leaves of the real gradient: the activation (and gates), the weights, all."""
    parts = split(record)

    def factor(values: np.ndarray) -> float:
        finite = values[np.isfinite(values)]
        return float(np.exp(finite.mean())) if len(finite) else float("nan")

    return {name: factor(getattr(parts, name)) for name in ("slope", "weights", "total")}


_RULES: tuple[Callable[[Case], Finding | None], ...] = (
    _dead,
    _saturated,
    _forgets,
    _explodes,
    _not_finite,
    _unread,
    _cut,
    _vanishes,
)


def _of_training(training: Training) -> Iterator[Finding]:
    for name, ratios in training.updates.items():
        yield from _of_updates(name, [r for r in ratios if not np.isnan(r)])
    for name, factors in training.clips.items():
        found = clipping(factors)
        if found.steps and found.share >= 0.9 and found.factor <= 1e-3:
            yield Finding(
                "clipped_away",
                name,
                found.factor,
                1e-3,
                {"share": _percent(found.share), "factor": f"{found.factor:.2g}",
                 "raise": f"{1 / max(found.factor, 1e-300):.0e}"},
            )  # fmt: skip


def _of_updates(name: str, ratios: Sequence[float]) -> Iterable[Finding]:
    if not ratios:
        return
    large = float(np.mean([r > -0.7 for r in ratios]))
    typical = float(np.median(ratios))
    fields = {"size": _percent(10**typical)}
    if large >= 0.25 or max(ratios) >= 0:
        worst = float(np.median([r for r in ratios if r > -0.7]))
        fields = {"size": _percent(10**worst), "divide": f"{10 ** (worst + 3):.0f}"}
        yield Finding("update_large", name, worst, -0.7, fields)
    elif np.isneginf(typical):
        if len(ratios) >= 3:  # a rate that is warmed up starts at 0
            none = ("advice_update_none", "finding_update_none")
            yield Finding("update_small", name, typical, -6, {}, *none)
    elif typical < -6:
        yield Finding("update_small", name, typical, -6, {"size": f"{10**typical:.0e}"})


def _finding(
    case: Case,
    cause: str,
    number: float,
    reference: float,
    advice: str = "",
    said: str = "",
    **fields: str,
) -> Finding:
    fields = {"phi": case.record.recurrence.phi.name, **fields}
    return Finding(cause, case.record.key, float(number), float(reference), fields, advice, said)


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _units(record: Record) -> int:
    return record.recurrence.hidden_size
