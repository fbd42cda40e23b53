"""The guide to gradients through time: its programs run, and it says the same in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from throughtime.gradients import measure
from throughtime.gradients.advise import CAUSES

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDES = {"en": "gradients.md", "zh": "gradients.zh-CN.md"}
DATA = "../shared/data/"


def text(language: str) -> str:
    return (DOCS / GUIDES[language]).read_text(encoding="utf-8")


def programs(language: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text(language), re.M | re.S)


def run(blocks: list[str], folder: Path, monkeypatch) -> dict:
    monkeypatch.chdir(folder)
    names: dict = {"__name__": "guide"}
    for block in blocks:
        exec(compile(block, "docs/gradients", "exec"), names)
    return names


@pytest.mark.parametrize("language", GUIDES)
def test_the_programs_run(language, tmp_path, monkeypatch):
    for extra in ("lightning", "skorch", "transformers"):
        pytest.importorskip(extra)
    blocks = [block for block in programs(language) if DATA not in block]
    run(blocks, tmp_path, monkeypatch)
    written = {path.name for path in tmp_path.iterdir() if path.stat().st_size}
    assert written == {"gradients.html", "gradients.json", "gradients.csv", "signal.svg",
                       "training.html", "gradients.jsonl"}  # fmt: skip


def test_the_program_of_the_picture_runs(tmp_path, monkeypatch, shared_data):
    (block,) = (block for block in programs("en") if DATA in block)
    names = run([block.replace(DATA, f"{shared_data}/")], tmp_path, monkeypatch)
    assert (tmp_path / "vowels.html").stat().st_size > 100_000
    assert len(names["monitor"].history) == 20


def test_both_languages_hold_the_same_programs():
    def bare(block: str) -> str:
        return re.sub(r"\s*#.*", "", block)

    assert [bare(b) for b in programs("en")] == [bare(b) for b in programs("zh")]


def test_both_languages_hold_the_same_formulas_and_figures():
    def cells(language: str) -> list[list[str]]:
        rows = [line.split("|") for line in text(language).splitlines() if line.startswith("|")]
        return [
            [part for cell in row for part in re.findall(r"−?\d+(?:[.,]\d+)*", cell)]
            for row in rows
        ]

    def formulas(language: str) -> list[str]:
        return re.findall(r"\$([^$]+)\$", text(language))

    assert len(cells("en")) > 60 and cells("en") == cells("zh")
    assert sorted(formulas("en")) == sorted(formulas("zh"))


@pytest.mark.parametrize("language", GUIDES)
def test_links_and_pictures_lead_somewhere(language):
    found = text(language)
    slugs = {
        re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^#+ (.*)$", found, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", found):
        if target.startswith("#"):
            assert target[1:] in slugs, target
        elif not target.startswith("https:"):
            assert (DOCS / target).is_file(), target


@pytest.mark.parametrize("language", GUIDES)
def test_every_measure_and_every_cause_is_told(language):
    named = set(re.findall(r"`(\w+)`", text(language)))
    functions = {name for name in measure.__all__ if name.islower()}
    assert functions - {"kaplan_yorke", "lyapunov_of"} <= named
    assert set(CAUSES) <= named
