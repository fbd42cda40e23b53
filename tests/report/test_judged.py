"""The page and the terminal on what the judge itself says."""

from __future__ import annotations

import dataclasses
import re

import pytest

from throughtime.language import entries
from throughtime.report import advice, answer, ranked_table, render
from throughtime.study.judge import judge
from throughtime.study.result import choice_json, result_from_json

STUDIES = {
    "better": {"arms": {"tanh": 0.90, "elu": 0.96, "identity": 0.7}},
    "undecided": {"arms": {"tanh": 0.900, "elu": 0.9045}},
    "few pairs": {"arms": {"tanh": 0.900, "elu": 0.905}, "seeds": 4},
    "equivalent": {"arms": {"tanh": 0.9, "elu": 0.9}, "smallest_difference": 0.05},
    "worse than naive": {"arms": {"tanh": 0.9, "elu": 0.91}, "baselines": {"majority": 0.95}},
    "one arm": {"arms": {"tanh": 0.9}},
    "all diverged": {"arms": {"tanh": 0.9, "elu": 0.9}, "diverged": {"tanh": 10, "elu": 10}},
    "unstable": {"arms": {"tanh": 0.9, "elu": 0.97}, "diverged": {"tanh": 3}},
    "lower is better": {
        "arms": {"tanh": 4.0, "elu": 3.5},
        "metric": "mae",
        "scale": 4.0,
        "smallest_difference": 0.2,
        "baselines": {"last_value": 6.0, "seasonal_naive": 5.5},
    },
}


@pytest.fixture(params=STUDIES)
def judged(study, request):
    """A study whose judgement comes from the judge; a diverged run has no score."""
    made = study(**STUDIES[request.param])
    judgement = judge(
        made.records,
        metric=made.judgement.metric,
        higher_is_better=made.judgement.higher_is_better,
        reference="tanh",
        smallest_difference=made.judgement.smallest_difference,
        level=0.95,
        baselines=made.judgement.baselines,
        space={"rate": (1e-4, 1e-1), "clip": (1.0, 10.0), "recurrent": ("orthogonal", "identity")},
    )
    return dataclasses.replace(made, judgement=judgement)


def test_page_of_a_judged_study(judged):
    text = render(judged)
    for language, tag in (("en", "en"), ("zh", "zh-Hans")):
        sentence = answer(judged.judgement, language)
        shown = re.search(rf'<p class="answer">.*?lang="{tag}">(.*?)</span>(?=<span|</p>)', text)
        words = re.sub(r"<[^>]+>", "", shown[1]).replace("&#39;", "'")
        assert words.replace(" ", "") == sentence.replace(" ", "")
        assert "{" not in sentence
    assert not re.search(r"\b(accuracy|mae|majority)\b", answer(judged.judgement, "zh"))
    assert not re.search(r">\s*(nan|None|inf)\b", text)


def test_terminal_of_a_judged_study(judged):
    judgement = judged.judgement
    for language in ("en", "zh"):
        assert ranked_table(judgement, language).row_count == len(judgement.arms)
        said = advice(judgement, language)
        assert len(said) == len(advice(judgement, "en"))
        assert all("{" not in line for line in said)


def test_choice_of_a_judged_study(judged):
    choice = choice_json(judged)
    assert choice["answer"]["zh"] == answer(judged.judgement, "zh")
    back = result_from_json(choice, plan=judged.plan, records=judged.records)
    assert answer(back.judgement, "en") == answer(judged.judgement, "en")
    assert repr(back) == repr(judged)


def test_nothing_is_recommended_where_all_diverged(study):
    made = study(**STUDIES["all diverged"])
    text = render(made)
    assert entries("report")["recommended_mark"]["en"] not in re.findall(r">(\w+)<", text)


def test_advice_does_not_repeat_the_answer(study):
    made = study({"tanh": 0.9, "elu": 0.905}, seeds=4).judgement
    made = dataclasses.replace(made, can_be_significant=False)
    assert any("at least 6" in line for line in advice(made, "en"))
    told = dataclasses.replace(made, reason="too_few_pairs")
    assert not any("at least" in line for line in advice(told, "en"))
