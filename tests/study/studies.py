"""Studies with a known truth."""

from __future__ import annotations

import numpy as np

from throughtime.study.judge import judge
from throughtime.study.records import Record
from throughtime.study.verdict import Judgement

SPACE = {"rate": (1e-4, 1e-1), "clip": (1.0, 10.0), "start": ("orthogonal", "identity")}


def record(arm: str, seed: int, score: float | None, **changes) -> Record:
    """An evaluation run, or with ``phase="tune"`` a tuning run; no score means divergence."""
    phase = changes.get("phase", "evaluate")
    fields = {
        "key": f"{arm} {phase} {changes.get('point', 0)} {seed}",
        "arm": arm,
        "activation": arm,
        "cell": "rnn",
        "phase": phase,
        "point": 0,
        "values": {"rate": 0.01, "clip": 1.0, "start": "identity"},
        "seed": seed,
        "diverged": score is None,
        "validation_score": score,
        "test_score": score if phase == "evaluate" else None,
        "validation_curve": () if score is None else (score,),
        "train_curve": (),
        "steps_per_epoch": 10,
        "seconds_per_step": 0.001,
    }
    return Record(**fields | changes)


def table(scores: dict[str, list[float | None]], **changes) -> list[Record]:
    """Evaluation runs from a table of scores, seeds 0, 1, 2 ...; ``seconds`` by arm."""
    seconds = changes.pop("seconds", {})
    return [
        record(arm, seed, score, seconds_per_step=seconds.get(arm, 0.001), **changes)
        for arm, row in scores.items()
        for seed, score in enumerate(row)
    ]


def simulated(means: dict[str, float], *, seeds: int, noise: float, draw) -> dict[str, list[float]]:
    """Scores with noise that all arms of a seed share, and noise of their own."""
    shared = draw.normal(0, 2 * noise, seeds)
    return {arm: list(mean + shared + draw.normal(0, noise, seeds)) for arm, mean in means.items()}


def judged(records: list[Record] | dict[str, list[float | None]], **changes) -> Judgement:
    """The judgement with usual settings, of records or of a table of scores."""
    if isinstance(records, dict):
        records = table(records)
    settings = {
        "metric": "accuracy",
        "higher_is_better": True,
        "reference": "tanh",
        "smallest_difference": 0.01,
        "level": 0.95,
        "baselines": {"majority": 0.1},
        "space": SPACE,
    }
    return judge(records, **settings | changes)


def verdicts(judgement: Judgement) -> dict[str, str]:
    """Verdict by arm."""
    return {a.arm: a.verdict for a in judgement.arms}


def by_arm(judgement: Judgement) -> dict:
    """The arms by name."""
    return {a.arm: a for a in judgement.arms}


def steady(mean: float, seeds: int = 10, spread: float = 0.003, start: int = 0) -> list[float]:
    """Scores about a mean, noise fixed by ``start``."""
    noise = np.random.default_rng(start).normal(0, spread, seeds)
    return list(mean + noise - noise.mean())
