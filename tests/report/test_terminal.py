"""The ranked table and the sentences of a terminal."""

from __future__ import annotations

import dataclasses
import io
import subprocess

import pytest
from rich.cells import cell_len
from rich.console import Console

from throughtime.report.terminal import advice, answer, ranked_table


def printed(table, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(table)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [80, 120])
def test_fits_the_terminal(study, language, width):
    judgement = study(diverged={"relu": 2}).judgement
    lines = printed(ranked_table(judgement, language, width=width), width)
    assert all(cell_len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    body = lines[2:9]
    for line, arm in zip(body, judgement.arms, strict=True):
        assert line.split()[:2] == [str(arm.rank), arm.arm]
        assert ("★" in line) == arm.in_best_set
        assert f"{arm.score:.3f}" in line and f"{arm.diverged}/{arm.runs}" in line
        assert line.rstrip().endswith(f"{1000 * arm.seconds_per_step:.2f}")
    assert ("[0.9" in body[0]) == (width == 120)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_long_and_hostile_names_keep_every_column(study, language):
    names = ("gru-penalized_tanh", "[red]markup[/red]", "激活函数" * 5, "tanh")
    judgement = study(dict.fromkeys(names, 0.9), reference="gru-penalized_tanh").judgement
    lines = printed(ranked_table(judgement, language), 80)
    assert all(cell_len(line) <= 80 for line in lines)
    assert any("[red]" in line for line in lines)
    for arm in judgement.arms:
        assert any(f"{1000 * arm.seconds_per_step:.2f}" in line for line in lines)


def test_missing_values_are_dashes(study):
    judgement = study(sparse=True).judgement
    text = "\n".join(printed(ranked_table(judgement, "en", width=120), 120))
    assert "nan" not in text and "None" not in text and "–" in text


def test_answer_in_both_languages(study):
    judgement = study().judgement
    assert answer(judgement, "en").startswith("Use elu")
    assert answer(judgement, "zh").startswith("请用 elu")


def test_nothing_to_do(study):
    judgement = study({"tanh": 0.8, "elu": 0.95}).judgement
    assert advice(judgement, "en") == []


def test_undecided_says_how_many_seeds(study):
    judgement = study({"tanh": 0.9, "elu": 0.905}, smallest_difference=0.002).judgement
    judgement = changed(judgement, "elu", verdict="undecided", seeds_needed=42)
    [line] = advice(judgement, "en")
    assert "elu (about 42 seeds)" in line and "new study" in line
    assert "约 42 个种子" in advice(judgement, "zh")[0]
    [line] = advice(changed(judgement, "elu", seeds_needed=None), "en")
    assert "not known" in line
    [line] = advice(changed(judgement, "elu", seeds_needed=10**7), "en")
    assert "more than 1000 seeds" in line
    assert advice(changed(judgement, "elu", in_best_set=False), "en") == []


@pytest.mark.parametrize(("arms", "needed"), [(2, 6), (5, 8), (10, 9)])
def test_too_few_pairs_says_how_many_suffice(study, arms, needed):
    # 2 / 2**n <= 0.05 / (arms - 1)
    assert 2 / 2**needed <= 0.05 / (arms - 1) < 2 / 2 ** (needed - 1)
    judgement = study({f"a{i}": 0.9 - 0.1 * i for i in range(arms)}, seeds=4).judgement
    judgement = dataclasses.replace(judgement, can_be_significant=False)
    lines = advice(judgement, "en")
    assert any(f"at least {needed} evaluation seeds" in line for line in lines)


def test_baseline_border_and_divergence(study):
    judgement = study({"tanh": 0.8, "elu": 0.95}, diverged={"elu": 3}).judgement
    judgement = changed(judgement, "elu", border=("rate", "clip"), diverged=3, in_best_set=True)
    lines = advice(dataclasses.replace(judgement, beats_baseline=False), "en")
    assert "does not beat the naive baseline “most frequent class” (0.101)" in lines[0]
    assert any("elu (rate, clip)" in line for line in lines)
    assert any("elu 3 of 10" in line for line in lines)


def test_table_alone_does_not_load_the_charts(fresh_python):
    code = "import sys, throughtime.report.terminal; sys.exit('altair' in sys.modules)"
    assert subprocess.run([fresh_python, "-c", code], check=False).returncode == 0


def changed(judgement, name: str, **changes):
    arms = tuple(dataclasses.replace(a, **changes) if a.arm == name else a for a in judgement.arms)
    return dataclasses.replace(judgement, arms=arms)
