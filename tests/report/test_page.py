"""The page in a real browser: offline, in both languages, by keyboard, on narrow screens."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from throughtime.study.result import Section

HOSTILE = {
    "</script><img src=x onerror=alert(1)>": 0.95,
    "a\"b'c & <b>x</b> {0}": 0.94,
    "激活函数": 0.93,
    "tanh": 0.94,
    "null": 0.92,
    "'); datum.arm //": 0.91,
    "a name that goes on and on and on and on without an end": 0.90,
}

FEW = {"tanh": 0.94, "elu": 0.957}


@pytest.fixture
def opened(visited, rendered, tmp_path):
    """Opens the page of a study from disk, see ``visited``."""

    def _open(result, *, width=1280, locale="en-GB", scheme="light", language=None, script=True):
        path = tmp_path / "report.html"
        path.write_text(rendered(result, language), encoding="utf-8")
        return visited(path, width=width, locale=locale, scheme=scheme, script=script, ready=drawn)

    return _open


def drawn(page) -> None:
    page.wait_for_function(
        "['drawn', 'failed'].includes(document.documentElement.dataset.charts)", timeout=30_000
    )
    assert page.evaluate("document.documentElement.dataset.charts") == "drawn"


def choose(page, name: str) -> None:
    page.locator(f"#{name}").check(force=True)
    drawn(page)


def marks(page, layer: str) -> int:
    return page.locator(f".{layer}_marks path").count()


def shown(page) -> str:
    return page.locator("body").inner_text()


def test_answer_is_first_and_every_seed_is_a_dot(study, opened):
    result = study(diverged={"relu": 2})
    with opened(result) as page:
        assert page.locator("main p").first.inner_text().startswith("Use elu:\nit beats tanh")
        assert marks(page, "seeds") == 7 * 10
        assert marks(page, "pairs") == 6 * 10
        assert page.locator("#learning .chart svg").count() == 7
        assert page.locator("#tuning .chart svg").count() == 7
        assert page.locator(".chart").count() == page.locator(".chart svg").count()
        crosses = page.locator(".seeds_marks path").evaluate_all(
            "paths => paths.filter(p => getComputedStyle(p).stroke === 'rgb(182, 74, 0)').length"
        )
        assert crosses == 2


def test_both_languages_and_no_other(study, opened):
    with opened(study()) as page:
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.title() == "Which recurrent activation for digits?"
        english = shown(page)
        assert "accuracy, test block" in english
        assert set(re.findall(r"[\u4e00-\u9fff]+", english)) == {"中文"}
        choose(page, "lang-zh")
        chinese = shown(page)
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        assert page.title() == "digits 该用哪种循环激活函数？"
        assert "测试块上的准确率" in chinese
        for word in ("the ", "accuracy", "Ranking", "better", "Epoch", "never"):
            assert word not in chinese
        choose(page, "lang-en")
        assert shown(page) == english


@pytest.mark.parametrize(
    ("locale", "language", "first"),
    [
        ("zh-TW", None, "zh-Hans"),
        ("de-DE", None, "en"),
        ("en-US", "zh", "zh-Hans"),
        ("zh-CN", "en", "en"),
    ],
)
def test_first_language(study, opened, locale, language, first):
    with opened(study(FEW), locale=locale, language=language) as page:
        assert page.evaluate("document.documentElement.lang") == first


def test_light_and_dark_by_system_and_by_switch(study, opened):
    look = """() => [getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('.chart .mark-text text')).fill]"""
    with opened(study(FEW), scheme="light") as page:
        light = page.evaluate(look)
        choose(page, "theme-dark")
        dark = page.evaluate(look)
        assert light[0] != dark[0] and light[1] != dark[1]
        choose(page, "theme-auto")
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(look) == dark
        choose(page, "theme-light")
        assert page.evaluate(look) == light
        choose(page, "theme-dark")
        page.emulate_media(media="print")
        assert page.evaluate(look)[1] == light[1]


def test_keyboard_alone_reaches_everything(study, opened):
    with opened(study(FEW)) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["y"] >= 0
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "lang-en"
        ring = "getComputedStyle(document.activeElement.closest('label')).outlineStyle"
        assert page.evaluate(ring) == "solid"
        page.keyboard.press("ArrowRight")
        drawn(page)
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        page.keyboard.press("ArrowLeft")
        drawn(page)
        reached = set()
        for _ in range(80):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    """() => { const e = document.activeElement; const s = getComputedStyle(e);
                    return [e.tagName, e.id || e.textContent.trim().slice(0, 20),
                      s.outlineStyle !== 'none' || !!e.closest('label')].join('|') }"""
                )
            )
        kinds = {item.split("|")[0] for item in reached}
        assert {"A", "INPUT", "BUTTON", "SUMMARY", "DIV"} <= kinds
        assert all(item.endswith("true") for item in reached if not item.startswith("BODY"))
        page.locator("#scores summary").focus()
        page.keyboard.press("Enter")
        assert page.locator("#scores-table").is_visible()
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "answer"


def test_narrow_screen_does_not_scroll_sideways(study, opened):
    result = study(HOSTILE, title="a_title_without_any_space_that_is_far_too_long_for_a_telephone")
    for locale in ("en", "zh-CN"):
        with opened(result, width=360, locale=locale) as page:
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            for svg in page.locator(".chart svg").all():
                box = svg.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= 360
                assert float(svg.get_attribute("width")) <= box["width"] + 1  # not shrunk to fit
                plot = svg.locator(".role-frame.root path.background").first.bounding_box()
                assert plot["width"] >= 100


def test_what_a_screen_reader_hears(study, opened):
    with opened(study(diverged={"relu": 2})) as page:
        heard = page.locator("body").aria_snapshot()
        for landmark in ("banner", "navigation", "main", "contentinfo"):
            assert re.search(rf"^- {landmark}\b", heard, re.MULTILINE), landmark
        assert heard.count("heading") >= 10
        assert len(re.findall(r"heading .*\[level=1\]", heard)) == 1
        assert "img" in heard
        finding = "elu has the best average accuracy"
        assert re.search(rf'img "{finding}', heard)
        images = page.get_by_role("img")
        assert images.count() == page.locator("figure").count() == 6
        assert all(len(image.get_attribute("aria-labelledby") or "") for image in images.all())
        assert page.get_by_role("table", name=re.compile("^The 7 arms by rank")).count() == 1
        assert page.get_by_role("radio", name="中文").count() == 1
        group = page.get_by_role("group", name="Language")
        assert group.count() == 1
        assert page.get_by_role("rowheader", name=re.compile("in the set of best")).count() == 2
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, a, summary')].filter(
                e => e.checkVisibility() && !e.innerText.trim()).length"""
        )
        assert unnamed == 0
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        dangling = page.evaluate(
            """() => [...document.querySelectorAll('[aria-labelledby], [aria-describedby]')]
                .flatMap(e => ['labelledby', 'describedby'].map(k => e.getAttribute(`aria-${k}`)))
                .filter(id => id && !document.getElementById(id))"""
        )
        assert dangling == []


def test_ranking_sorts_both_ways(study, opened):
    with opened(study()) as page:
        table = page.locator("#ranking-table")
        names = "rows => rows.map(r => r.cells[1].dataset.value)"
        head = table.locator("thead th", has_text="Accuracy")
        head.locator("button").click()
        rising = table.locator("tbody tr").evaluate_all(names)
        assert head.get_attribute("aria-sort") == "ascending"
        head.locator("button").click()
        falling = table.locator("tbody tr").evaluate_all(names)
        assert head.get_attribute("aria-sort") == "descending"
        assert falling == rising[::-1] == [a.arm for a in study().judgement.arms]
        gain = table.locator("thead th", has_text="Gain over")
        gain.locator("button").click()
        assert table.locator("tbody tr").evaluate_all(names)[-1] == "tanh"


def test_hostile_names_do_nothing(study, opened):
    result = study(HOSTILE, title='</title></script><script>alert(2)</script> & "数据"')
    with opened(result) as page:
        assert page.locator("img").count() == 0
        assert page.title() == f"Which recurrent activation for {result.title}?"
        arms = page.locator("#ranking-table .arm").all_inner_texts()
        assert arms == [a.arm for a in result.judgement.arms]
        assert marks(page, "seeds") == len(HOSTILE) * 10
        labels = page.locator("#scores .role-axis-label text").all_text_contents()
        assert "激活函数" in labels and "null" in labels
        choose(page, "lang-zh")
        assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {
            "diverged": {"elu": 10, "gelu": 10, "tanh": 10},
            "arms": dict.fromkeys(("elu", "gelu", "tanh"), 0.9),
        },
        {"arms": {"tanh": 0.9}},
        {"arms": FEW, "sparse": True},
        {"arms": FEW, "seeds": 1, "points": 1, "epochs": 1},
        {
            "arms": FEW,
            "records": (),
            "timings": {},
            "versions": {},
            "data_notes": (),
            "baselines": {},
        },
        {
            "arms": FEW,
            "metric": "mae",
            "scale": 40.0,
            "smallest_difference": 1.0,
            "baselines": {"odd one": 9.0},
        },
    ],
    ids=["all diverged", "one arm", "values missing", "one seed", "no records", "lower is better"],
)
def test_unusual_studies_are_drawn(study, opened, changes):
    result = study(**changes)
    with opened(result) as page:
        seeds = sum(len(a.seeds) for a in result.judgement.arms)
        assert marks(page, "seeds") == seeds
        text = shown(page)
        for sign in ("NaN", "nan", "None", "undefined", "null", "inf"):
            assert sign not in re.findall(r"\b\w+\b", text), sign
        choose(page, "lang-zh")
        assert marks(page, "seeds") == seeds


def test_pictures_and_runs_can_be_saved(study, opened, tmp_path):
    result = study(FEW, diverged={"elu": 2})
    with opened(result, scheme="dark") as page:
        with page.expect_download() as caught:
            page.locator("#learning .save").click()
        picture = Path(caught.value.path()).read_text(encoding="utf-8")
        assert caught.value.suggested_filename == "learning.svg"
        root = ET.fromstring(picture)
        assert len([e for e in root if e.tag.endswith("svg")]) == 2
        assert "var(" not in picture
        page.locator("#method summary", has_text="runs").click()
        with page.expect_download() as caught:
            page.locator("[data-csv]").click()
        lines = Path(caught.value.path()).read_text(encoding="utf-8-sig").splitlines()
        assert len(lines) == 1 + len(result.records)
        assert lines[0].startswith("Arm,Phase")
        assert result.records[0].key in "\n".join(lines)


def test_without_script_answer_and_tables_are_read(study, opened):
    with opened(study(FEW), script=False) as page:
        text = shown(page)
        assert "Use elu" in text and "The charts need JavaScript" in text
        assert page.locator("#ranking-table tbody tr").count() == 2
        page.locator("#scores summary").click()
        assert page.locator("#scores-table tbody tr").first.is_visible()
        page.locator("#lang-zh").check(force=True)
        assert "请用 elu" in shown(page) and "Use elu" not in shown(page)


def test_prints_on_paper(study, opened):
    with opened(study(FEW), scheme="dark") as page:
        printed = page.pdf(format="A4")
        assert printed.startswith(b"%PDF")
        page.emulate_media(media="print", color_scheme="dark")
        assert not page.locator("nav").is_visible()
        assert not page.locator(".switches").is_visible()
        assert not page.locator("#scores .save").is_visible()
        assert page.locator("#plan-table").is_visible()
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )


def test_gradient_section_is_put_in(study, opened):
    why = Section(
        title={"en": "Why", "zh": "为什么"},
        html={"en": "<p id='w'>The gradient <b>fades</b>.</p>", "zh": "<p>梯度消失。</p>"},
    )
    with opened(study(FEW, why=(why,))) as page:
        assert page.get_by_role("heading", name="Why").count() == 1
        assert page.locator("#w b").inner_text() == "fades"
        choose(page, "lang-zh")
        assert "梯度消失" in shown(page) and not page.locator("#w").is_visible()


def test_charts_hold_the_numbers_of_the_tables(study, opened):
    result = study(FEW, diverged={"elu": 1})
    with opened(result) as page:
        data = json.loads(page.locator("#data").text_content())
        page.locator("#scores summary").click()
        cells = page.locator("#scores-table tbody tr").evaluate_all(
            "rows => rows.map(r => [...r.cells].map(c => c.dataset.value))"
        )
        table = {row[0]: [float(v) for v in row[1:]] for row in cells if len(row[1:]) and row[2]}
        rows = [r for held in data["datasets"].values() for r in held if "lane" in r]
        for arm in result.judgement.arms:
            drawn_scores = [r["score"] for r in rows if r["arm"] == arm.arm]
            assert drawn_scores == table[arm.arm] == [s.score for s in arm.seeds]
