"""Everything a finished study leaves behind, and ``choice.json`` made from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from numbers import Integral, Real
from typing import Any

from throughtime.language import LANGUAGES
from throughtime.study.records import Record
from throughtime.study.verdict import ArmVerdict, Interval, Judgement, SeedScore, TuningPoint
from throughtime.study.wording import answer

Note = tuple[str, dict[str, Any]]
"""A sentence not yet in any language: an entry of the catalogue and the fields that fill it."""

FORMAT = 1


@dataclass(frozen=True)
class Section:
    """A further section of the report, rendered elsewhere.

    Attributes:
        title: the heading, by language (``{"en": ..., "zh": ...}``), plain text.
        html: the body, by language; trusted markup without scripts, put in as it stands.
    """

    title: dict[str, str]
    html: dict[str, str]


@dataclass(frozen=True)
class StudyResult:
    """A finished study: what was asked, what was found, what it took.

    Attributes:
        title: name of the data set, as the person calls it.
        problem: kind of problem, such as ``"classification"``.
        judgement: the verdicts.
        records: every run of the ledger, both phases.
        plan: the plan as saved in ``plan.toml``.
        plan_hash: the plan's hash, taken before the data was touched.
        data_notes: what was understood of the data, as ``(key, fields)`` of the catalogue.
        deviations: where the study left its plan, as ``(key, fields)``.
        versions: versions by package.
        timings: ``{"total": seconds of wall time, "arms": {arm: seconds of training}}``.
        why: sections on the gradients, shown after the stability of training.
    """

    title: str
    problem: str
    judgement: Judgement
    records: tuple[Record, ...]
    plan: dict[str, Any]
    plan_hash: str
    data_notes: tuple[Note, ...] = ()
    deviations: tuple[Note, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    why: tuple[Section, ...] = ()


def choice_json(result: StudyResult) -> dict[str, Any]:
    """The content of ``choice.json``: the choice and every figure behind it, without the runs.

    Strict JSON: a figure that is not finite becomes ``null``. The runs are in the ledger and the
    plan in ``plan.toml``; with these two, :func:`result_from_json` gives the result back.

    Example:
        >>> json.dumps(choice_json(result), allow_nan=False)  # doctest: +SKIP
    """
    judgement = result.judgement
    chosen = next((a for a in judgement.arms if a.arm == judgement.recommended), None)
    return plain(
        {
            "format": FORMAT,
            "recommended": judgement.recommended,
            "activation": chosen and chosen.activation,
            "cell": chosen and chosen.cell,
            "best_point": chosen and chosen.best_point,
            "answer": {language: answer(judgement, language) for language in LANGUAGES},
            "title": result.title,
            "problem": result.problem,
            "plan_hash": result.plan_hash,
            "judgement": asdict(judgement),
            "data_notes": result.data_notes,
            "deviations": result.deviations,
            "versions": result.versions,
            "timings": result.timings,
        }
    )


def result_from_json(
    choice: dict[str, Any], *, plan: dict[str, Any], records: tuple[Record, ...]
) -> StudyResult:
    """The result again, from ``choice.json``, the plan and the ledger's records.

    Example:
        >>> result_from_json(choice_json(result), plan=plan, records=records)  # doctest: +SKIP
    """
    return StudyResult(
        title=choice["title"],
        problem=choice["problem"],
        judgement=judgement_from_json(choice["judgement"]),
        records=records,
        plan=plan,
        plan_hash=choice["plan_hash"],
        data_notes=_notes(choice["data_notes"]),
        deviations=_notes(choice["deviations"]),
        versions=choice["versions"],
        timings=choice["timings"],
    )


def judgement_to_json(judgement: Judgement) -> dict[str, Any]:
    """The judgement as strict JSON values; what is not finite becomes ``None``."""
    return plain(asdict(judgement))


def judgement_from_json(data: dict[str, Any]) -> Judgement:
    """The judgement again; a ``null`` where a number is due comes back as NaN."""
    arms = tuple(_arm(arm) for arm in data["arms"])
    return Judgement(
        **data
        | {
            "arms": arms,
            "best_set": tuple(data["best_set"]),
            "baselines": {name: _number(score) for name, score in data["baselines"].items()},
            "smallest_difference": _number(data["smallest_difference"]),
            "smallest_p": _number(data["smallest_p"]),
        }
    )


def plain(value: Any) -> Any:
    """``value`` made of dicts, lists, strings, finite numbers, booleans and ``None`` only."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def _arm(data: dict[str, Any]) -> ArmVerdict:
    return ArmVerdict(
        **data
        | {
            "score": _number(data["score"]),
            "score_interval": _interval(data["score_interval"]),
            "seeds": tuple(
                SeedScore(**seed | {"score": _number(seed["score"])}) for seed in data["seeds"]
            ),
            "divergence_interval": _interval(data["divergence_interval"]),
            "difference_interval": _interval(data["difference_interval"]),
            "win_interval": _interval(data["win_interval"]),
            "best_set_p": _number(data["best_set_p"]),
            "seconds_per_step": _number(data["seconds_per_step"]),
            "border": tuple(data["border"]),
            "tuning_curve": tuple(
                TuningPoint(
                    point["points"],
                    *map(_number, (point[k] for k in ("expected_best", "low", "high"))),
                )
                for point in data["tuning_curve"]
            ),
            "stability": {name: _number(share) for name, share in data["stability"].items()},
        }
    )


def _interval(data: dict[str, Any] | None) -> Interval | None:
    if data is None:
        return None
    return Interval(*map(_number, (data["low"], data["high"], data["level"])))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _notes(data: list) -> tuple[Note, ...]:
    return tuple((key, fields) for key, fields in data)
