"""Finished studies made up for the report: realistic in size and in what can go wrong."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import throughtime.language
from throughtime.study.records import Record
from throughtime.study.result import StudyResult
from throughtime.study.verdict import ArmVerdict, Interval, Judgement, SeedScore, TuningPoint

QUALITY = {
    "elu": 0.957,
    "gelu": 0.953,
    "tanh": 0.944,
    "softsign": 0.943,
    "leaky_relu": 0.921,
    "relu": 0.903,
    "identity": 0.874,
}
REASONS = {
    "made_up": {
        "en": "Use {recommended}: it beats {reference} by {gain}, "
        "and no arm that cannot be told from it is more stable or cheaper.",
        "zh": "请用 {recommended}：它比 {reference} 高 {gain}，"
        "而与它无法区分的方案都不比它更稳定或更便宜。",
    },
    "note": {
        "en": "{series} series of {steps} steps, {classes} classes.",
        "zh": "{series} 条序列，每条 {steps} 步，{classes} 个类别。",
    },
}


@pytest.fixture(autouse=True)
def made_up_reasons(monkeypatch):
    """Sentences of a made-up room, so that these tests do not hang on the judge's own words."""
    real = throughtime.language.entries

    def entries(room: str) -> dict:
        if room != "judge":
            return real(room)
        try:
            return real(room) | REASONS
        except FileNotFoundError:
            return REASONS

    monkeypatch.setattr(throughtime.language, "entries", entries)


@pytest.fixture
def study():
    """A factory of finished studies."""
    return make_study


@pytest.fixture(scope="session")
def rendered():
    """Renders a study once for all tests that look at the same one."""
    from throughtime.report import render

    pages: dict[tuple[str, str | None], str] = {}

    def page(result: StudyResult, language: str | None = None) -> str:
        key = (repr(result), language)
        if key not in pages:
            pages[key] = render(result, language=language)
        return pages[key]

    return page


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium of the system."""
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if path is None:
        pytest.skip("no Chromium on this machine: the report cannot be looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


def make_study(
    arms: dict[str, float] | None = None,
    *,
    seeds: int = 10,
    points: int = 8,
    epochs: int = 30,
    reference: str | None = None,
    diverged: dict[str, int] | None = None,
    title: str = "digits",
    metric: str = "accuracy",
    scale: float = 1.0,
    smallest_difference: float = 0.01,
    baselines: dict[str, float] | None = None,
    sparse: bool = False,
    **changes,
) -> StudyResult:
    """A study whose arms have about the scores given.

    Args:
        arms: mean score by arm.
        diverged: how many evaluation runs of an arm diverged.
        sparse: leave out whatever may be missing.
        changes: fields of the result to set.
    """
    arms = QUALITY if arms is None else arms
    higher = metric == "accuracy"
    sign = 1 if higher else -1
    diverged = diverged or {}
    baselines = {"majority": 0.101} if baselines is None else baselines
    draw = np.random.default_rng(7)
    shared = draw.normal(0, 0.006 * scale, seeds)
    worst = min(arms.values(), default=0.0) if higher else max(arms.values(), default=1.0)
    worst = worst - sign * 0.05 * scale
    scores = {}
    for arm, quality in arms.items():
        noisy = quality + shared + draw.normal(0, 0.005 * scale, seeds)
        noisy[: diverged.get(arm, 0)] = worst
        scores[arm] = noisy
    reference = reference or ("tanh" if "tanh" in arms else next(iter(arms)))
    ranked = sorted(arms, key=lambda a: -sign * float(scores[a].mean()))
    records = tuple(
        record
        for arm in arms
        for record in _records(
            arm, scores[arm], diverged.get(arm, 0), points, epochs, sign, scale, sparse, draw
        )
    )
    verdicts = tuple(
        _verdict(
            arm,
            rank + 1,
            scores,
            reference,
            sign,
            smallest_difference,
            diverged.get(arm, 0),
            points,
            scale,
            sparse,
        )
        for rank, arm in enumerate(ranked)
    )
    recommended = ranked[0]
    judgement = Judgement(
        metric=metric,
        higher_is_better=higher,
        reference=reference,
        recommended=recommended,
        reason="made_up",
        reason_fields={"recommended": recommended, "reference": reference, "gain": 0.013},
        arms=verdicts,
        best_set=tuple(v.arm for v in verdicts if v.in_best_set),
        baselines=baselines,
        beats_baseline=True,
        smallest_difference=smallest_difference,
        level=0.95,
        pairs=seeds,
        smallest_p=2 / 2**seeds,
        can_be_significant=2 / 2**seeds <= 0.05 / max(1, len(arms) - 1),
    )
    fields = {
        "title": title,
        "problem": "classification",
        "judgement": judgement,
        "records": records,
        "plan": {
            "data": title,
            "arms": list(arms),
            "cell": "rnn",
            "hidden": 32,
            "tuning": {"points": points, "rate": {"low": 1e-4, "high": 1e-1, "scale": "log"}},
            "evaluation": {"seeds": list(range(1000, 1000 + seeds))},
            "smallest_difference": smallest_difference,
        },
        "plan_hash": hashlib.sha256(title.encode()).hexdigest(),
        "data_notes": (("judge.note", {"series": 1797, "steps": 64, "classes": 10}),),
        "versions": {"throughtime": "0.1.0", "torch": "2.13.0", "numpy": "2.3.5"},
        "timings": {"total": 131.4, "arms": {arm: 17.0 + i for i, arm in enumerate(arms)}},
    }
    return StudyResult(**fields | changes)


def _records(arm, scores, bad, points, epochs, sign, scale, sparse, draw) -> Iterator[Record]:
    for phase, point, seed, quality in (
        *(
            ("tune", p, 10 + p, scores.mean() - sign * scale * abs(draw.normal(0, 0.05)))
            for p in range(points)
        ),
        *(("evaluate", 3, 1000 + s, score) for s, score in enumerate(scores)),
    ):
        broken = seed - 1000 < bad if phase == "evaluate" else p_broken(point, bad)
        rise = np.exp(-np.arange(1, epochs + 1) / (4 + draw.uniform(0, 3)))
        curve = quality - sign * scale * (0.6 * rise + draw.normal(0, 0.004, epochs))
        curve = curve[: 3 if broken else epochs - int(draw.integers(0, max(1, epochs // 4)))]
        yield Record(
            key=hashlib.sha256(f"{arm} {phase} {point} {seed}".encode()).hexdigest(),
            arm=arm,
            activation=arm,
            cell="rnn",
            phase=phase,
            point=point,
            values={}
            if sparse
            else {"rate": 0.003 * (point + 1), "clip": 1.0, "recurrent": "orthogonal"},
            seed=seed,
            diverged=broken,
            validation_score=None if broken else float(max(sign * curve) * sign),
            test_score=None if broken or phase == "tune" else float(quality),
            validation_curve=tuple(map(float, curve)) + ((math.nan,) if broken else ()),
            train_curve=tuple(float(v) for v in 2.3 * rise),
            steps_per_epoch=20,
            seconds_per_step=0.002,
            stability={} if sparse else {"dead_units": 0.1, "saturated_units": 0.05},
        )


def p_broken(point: int, bad: int) -> bool:
    return bad > 0 and point >= 6


def _verdict(arm, rank, scores, reference, sign, margin, bad, points, scale, sparse) -> ArmVerdict:
    own, seeds = scores[arm], len(scores[arm])
    difference = sign * (own - scores[reference])
    spread = 2.26 / math.sqrt(seeds)
    center, half = (
        float(difference.mean()),
        float(spread * difference.std(ddof=1)) if seeds > 1 else margin,
    )
    if arm == reference:
        verdict = "reference"
    elif center - half > 0:
        verdict = "better"
    elif center + half < 0:
        verdict = "worse"
    elif abs(center) + half < margin:
        verdict = "equivalent"
    else:
        verdict = "undecided"
    error = float(spread * own.std(ddof=1)) if seeds > 1 else margin
    position = list(scores).index(arm)
    same = arm == reference
    return ArmVerdict(
        arm=arm,
        activation=arm,
        cell="rnn",
        rank=rank,
        verdict=verdict,
        score=float(own.mean()),
        score_interval=Interval(float(own.mean()) - error, float(own.mean()) + error, 0.95),
        seeds=tuple(SeedScore(1000 + i, float(v), i < bad) for i, v in enumerate(own)),
        runs=seeds,
        diverged=bad,
        divergence_interval=Interval(
            max(0.0, bad / seeds - 0.15), min(1.0, bad / seeds + 0.28), 0.95
        ),
        difference=None if same else center,
        difference_interval=None if same else Interval(center - half, center + half, 0.95),
        p_value=None if same else 0.002,
        p_holm=None if same or sparse else min(1.0, 0.00195 * (1 + position**2)),
        win_probability=None if same or sparse else float((difference > 0).mean()),
        win_interval=None if same or sparse else Interval(0.4, 0.9, 0.95),
        in_best_set=rank <= 2,
        best_set_p=1.0 if rank == 1 else 0.3 if rank == 2 else 0.001,
        steps_to_reference=None if sparse or verdict == "worse" else 240.0 + 40 * rank,
        seconds_per_step=math.nan if sparse else 0.0011 + 0.0002 * position,
        best_point={} if sparse else {"rate": 0.012, "clip": 1.0, "recurrent": "orthogonal"},
        border=("rate",) if arm == "relu" else (),
        tuning_curve=()
        if sparse
        else tuple(
            TuningPoint(n, *(float(own.mean()) - sign * scale * d / n for d in (0.09, 0.13, 0.05)))
            for n in range(1, points + 1)
        ),
        tuning_diverged=2 if bad else 0,
        tuning_runs=points,
        stability={}
        if sparse
        else {"dead_units": 0.18 if arm == "relu" else 0.0, "saturated_units": 0.03 * position},
        seeds_needed=24 if verdict == "undecided" else None,
    )


@pytest.fixture
def visited(browser):
    """Opens a file with all requests blocked; fails on any request or any error."""

    @contextmanager
    def _visit(path, *, width, locale, scheme, script, at="", ready):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            locale=locale,
            color_scheme=scheme,
            java_script_enabled=script,
        )
        asked: list[str] = []
        wrong: list[str] = []
        context.route(re.compile(r"^(?!file:)"), lambda route: route.abort())
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri() + at)
        if script:
            ready(page)
        yield page
        beyond = [url for url in asked if not url.startswith(("data:", "blob:"))]
        assert beyond == [path.as_uri()]
        assert wrong == []
        context.close()

    return _visit
