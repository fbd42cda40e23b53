"""The page as text: complete, closed to any network, equal to the data."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
from html.parser import HTMLParser

import pytest

from throughtime.errors import ThroughtimeError
from throughtime.report import numbers, render, write
from throughtime.report.page import _library

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, tables as lists of rows; fails on tags that do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._table: list[list[str]] | None = None
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs).get("id", ""), [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        if {"td", "th"} & set(self._open):
            self._table[-1][-1] += data


@pytest.fixture
def page_of(rendered):
    return lambda result: Page(rendered(result))


def test_size_of_a_demo(study, rendered):
    assert len(rendered(study()).encode()) < 2_000_000


def test_asks_nothing_of_any_network(study, page_of):
    page = page_of(study())
    for tag, attributes in page.elements:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "data:,")), (tag, attributes)
    policy = next(
        a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    scripts = policy.split("script-src")[1].split(";")[0].split()
    run = [text for text in page.scripts if not text.startswith("{")]
    digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in run]
    assert scripts == [f"'sha256-{digest}'" for digest in digests]


def test_libraries_are_inlined_once(study, rendered):
    text = rendered(study())
    assert text.count(_library()) == 1
    assert text.lower().count("<script") == text.lower().count("</script") == 3


def test_tables_equal_the_data(study, page_of):
    result = study(diverged={"relu": 2})
    page = page_of(result)
    judgement = result.judgement
    ranking = page.tables["ranking-table"][1:]
    assert len(ranking) == 7
    for row, arm in zip(ranking, judgement.arms, strict=True):
        assert row[0].strip() == str(arm.rank)
        assert row[1].startswith(arm.arm)
        assert ("★" in row[1]) == arm.in_best_set
        assert arm.verdict in row[2]
        assert row[3].startswith(f"{arm.score:.3f} [{arm.score_interval.low:.3f}, ")
        assert row[-2].strip() == f"{arm.diverged}/{arm.runs}"
        assert row[-1].strip() == f"{1000 * arm.seconds_per_step:.2f}"
        if arm.arm == judgement.reference:
            assert row[4].strip() == row[5].strip() == row[6].strip() == "–"
        else:
            assert row[4].startswith(f"{arm.difference:+.3f}".replace("-", "−"))
            assert row[6].strip() == numbers.p_value(arm.p_holm)
    scores = {row[0]: row[1:] for row in page.tables["scores-table"][1:]}
    for arm in judgement.arms:
        for text, seed in zip(scores[arm.arm], arm.seeds, strict=True):
            assert text.startswith(f"{seed.score:.3f}")
            assert ("×" in text) == seed.diverged
    assert page.tables["scores-table"][-1][1] == "0.101"
    assert len(page.tables["runs-table"]) == 1 + len(result.records)
    assert len(page.tables["learning-table"]) == 1 + 30
    assert len(page.tables["tuning-table"]) == 1 + 8
    plan = {row[0]: row[1] for row in page.tables["plan-table"][1:]}
    assert plan["tuning.rate.scale"] == "log" and plan["arms"].startswith("elu, gelu")
    versions = {row[0]: row[1] for row in page.tables["versions-table"][1:]}
    assert versions == result.versions


def test_tables_are_marked_up(study, page_of):
    page = page_of(study())
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table") == len(page.tables)
    for tag, attributes in page.elements:
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if tag == "div" and attributes.get("role") == "region":
            assert attributes["tabindex"] == "0" and attributes["aria-labelledby"]


def test_every_text_is_there_twice(study, page_of):
    page = page_of(study())
    spans = [a for tag, a in page.elements if tag == "span" and a.get("class") in ("en", "zh")]
    english = [a for a in spans if a["class"] == "en"]
    assert len(spans) == 2 * len(english) > 200
    assert {a["lang"] for a in english} == {"en"}
    assert {a["lang"] for a in spans} == {"en", "zh-Hans"}


def test_hostile_names_stay_text(study):
    names = ["</script><script>alert(1)</script>", "<img src=x>", "a & b", '"quoted"', "{{ 7*7 }}"]
    result = study({name: 0.9 - i / 100 for i, name in enumerate(names)}, title="<b>&{x}</b>\u2028")
    page = Page(render(result))
    assert [
        row[1].split(" ★")[0].split("recommended")[0].strip()
        for row in page.tables["ranking-table"][1:]
    ] == [a.arm for a in result.judgement.arms]
    assert "img" not in {tag for tag, _ in page.elements}
    assert len(page.scripts) == 3
    held = json.loads(page.scripts[0])
    arms = {r["arm"] for rows in held["datasets"].values() for r in rows if "arm" in r}
    assert arms == set(names)


def test_deviations_are_listed(study, rendered):
    result = study(deviations=(("judge.note", {"series": 5, "steps": "<6>", "classes": 7}),))
    text = rendered(result)
    assert "5 series of &lt;6&gt; steps, 7 classes." in text
    assert "The study followed its plan" not in text
    assert "The study followed its plan" in rendered(study())


def test_written_beside_and_moved(study, tmp_path, monkeypatch):
    path = tmp_path / "报告 1.html"
    path.write_text("old")
    seen = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append((str(a), str(b))), real(a, b)))
    assert write(study(), path) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert len(seen) == 1 and seen[0][1] == str(path) and seen[0][0] != str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<svg"), ("a.PNG", b"\x89PNG")])
def test_a_picture_holds_the_scores(study, tmp_path, name, start):
    path = write(study(), tmp_path / name)
    assert path.read_bytes().startswith(start)
    assert [f.name for f in tmp_path.iterdir()] == [name]


def test_failed_write_leaves_the_old_page(study, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(study(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_language_is_refused(study):
    with pytest.raises(ThroughtimeError, match="fr"):
        render(study(), language="fr")


def test_contrast_of_text_and_marks(study, rendered):
    css = re.search(r"<style>(.*?)</style>", rendered(study()), re.DOTALL)[1]
    pairs = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", css)
    for side in (1, 2):
        colour = {pair[0]: pair[side] for pair in pairs}
        for text in ("ink", "muted", "accent", "warn"):
            for ground in ("paper", "raised"):
                assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground, side)
        for mark in ("ink", "muted", "accent", "warn"):
            assert contrast(colour[mark], colour["band"]) >= 3, (mark, side)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
