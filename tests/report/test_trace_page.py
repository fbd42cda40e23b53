"""The page of a trace in a real browser: offline, linked, by keyboard, in both languages."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import throughtime.nn as ours
from throughtime import Activation
from throughtime.gradients import Monitor, trace
from throughtime.gradients.advise import reference
from throughtime.gradients.measure import lyapunov
from throughtime.report.gradients.figures import number, percent, steps
from throughtime.report.gradients.panels import PANELS
from throughtime.report.gradients.panels.flow import split_said

B, H = 6, 8
HOSTILE = "</script><img src=x onerror=alert(1)>{0}'\""


class Model(nn.Module):
    def __init__(self, rnn, name="rnn"):
        super().__init__()
        self.add_module(name, rnn)
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(x)[0]


def traced(rnn, T=24, loss=lambda y: y[-1].square().sum(), name="rnn"):
    torch.manual_seed(5)
    x = torch.randn(T, B, 3, dtype=next(rnn.parameters()).dtype)
    return trace(Model(rnn, name), x, lambda m, x: loss(m(x)))


@pytest.fixture
def opened(visited, tmp_path):
    """Opens the page that ``write`` writes from disk, see ``visited``."""

    def ready(page):
        page.wait_for_function("document.documentElement.dataset.ready === 'yes'")

    def _open(write, *, width=1280, locale="en-GB", scheme="light", script=True, at=""):
        path = write(tmp_path / "trace.html")
        return visited(
            path, width=width, locale=locale, scheme=scheme, script=script, at=at, ready=ready
        )

    return _open


def shown(page) -> str:
    """The text in view; ``inner_text`` and visibility take what is hidden in a drawing as seen."""
    return page.evaluate(
        """() => {
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), texts = [];
          while (walk.nextNode()) {
            const parent = walk.currentNode.parentElement;
            if (parent.getClientRects().length && !parent.closest("script, noscript"))
              texts.push(walk.currentNode.data);
          }
          return texts.join(" ");
        }"""
    )


def cursors(page) -> set[str]:
    """Where the upright lines of all charts over time of the layer in view stand."""
    return set(
        page.locator(".layer.chosen svg[data-time]:visible .cursor").evaluate_all(
            "lines => lines.map(l => l.getAttribute('x1'))"
        )
    )


def test_findings_stand_first_with_number_rule_place_and_change(opened):
    found = traced(nn.RNN(3, H, nonlinearity="relu"), T=60)
    with opened(lambda path: found.to_html(path, lag=50)) as page:
        card = page.locator(".card").first
        finding = found.findings(50)[0]
        text = card.inner_text()
        assert finding.cause == card.get_attribute("data-cause") == "vanishes"
        for part in (finding.sentence("en"), finding.rule("en"), finding.suggestion("en"),
                     "rnn.l0", number(finding.number), number(finding.reference)):  # fmt: skip
            assert part in text
        assert page.locator("main section").first.get_attribute("id") == "findings"
        card.get_by_role("link").click()
        assert page.evaluate("document.activeElement.id") == "r0-transport"


def test_the_card_and_the_panel_tell_the_same_horizon(opened):
    layer = nn.RNN(3, 32)
    torch.manual_seed(5)
    x = torch.randn(120, 30, 3)  # more sequences than the reference ensemble runs
    found = trace(Model(layer), x, lambda m, x: m(x)[-1].square().sum())
    with opened(lambda path: found.to_html(path, lag=100)) as page:
        card = page.locator(".card[data-cause=vanishes]").inner_text()
        horizon = found.measured()["rnn.l0"]["transport"]["horizon"]
        value, low, high = (steps(horizon[part]) for part in ("value", "low", "high"))
        assert f"{value} steps" in card and f"{low}–{high}" in card
        assert f"Horizon {value} steps (95 % interval {low} to {high})" in shown(page)
        assert f"{value} [{low}, {high}]" in page.locator(".layer > .facts").inner_text()
        assert "of all 30 sequences, all else of the first 8" in page.locator(".notes").inner_text()


def test_no_finding_is_an_answer(opened):
    layer = ours.RNN(3, H, recurrent_init="orthogonal")
    with opened(traced(layer, T=5).to_html) as page:
        assert page.locator(".card").inner_text().startswith("No finding")
        assert page.locator("[data-cause=none]").count() == 1


def test_a_step_pointed_at_is_marked_in_every_chart_and_told(opened):
    found = traced(nn.RNN(3, H, dtype=torch.float64))
    with opened(found.to_html) as page:
        assert page.locator("#step").input_value() == "23"
        svg = page.locator("#r0-split svg.wide")
        svg.scroll_into_view_if_needed()
        start, stop, low, high = map(float, svg.get_attribute("data-time").split()[:4])
        box = svg.bounding_box()
        x = (start + (9 - low) / (high - low) * (stop - start)) * box["width"] / 900
        page.mouse.move(box["x"] + x, box["y"] + box["height"] / 2)
        assert page.locator("#step").input_value() == "9"
        assert len(cursors(page)) == 1
        held = found.measured()["rnn.l0"]
        readout = page.locator("#readout").inner_text()
        assert number(held["signal"]["total"][9]) in readout
        assert f"×{number(math.exp(held['split']['slope'][9]))}" in readout
        page.locator(".layer.chosen .arithmetic summary").click()
        sums = page.locator(".layer.chosen .sums").inner_text()
        ln = [number(held["split"][part][9], 4) for part in ("slope", "weights", "total")]
        assert "ln q = {} + ({}) = {}".format(*ln) in sums
        later = 100 * sum(held["budget"]["share"][9:])
        assert f"Σ(t′ ≥ 9) = {number(later)}%" in sums


def test_the_arithmetic_is_what_comes_next(opened):
    found = traced(nn.RNN(3, H, dtype=torch.float64))
    total = found.measured()["rnn.l0"]["signal"]["total"]
    with opened(found.to_html, at="#layer=rnn.l0&step=9") as page:
        page.locator(".layer.chosen .arithmetic summary").click()
        assert f"= {number(total[8], 4)}" in page.locator(".layer.chosen .sums").inner_text()


def test_the_gain_of_gated_cells_is_not_called_a_product(opened):
    for cell in (nn.GRU, nn.LSTM):
        with opened(traced(cell(3, H)).to_html) as page:
            page.locator(".layer.chosen .arithmetic summary").click()
            sums = page.locator(".layer.chosen .sums").inner_text()
            assert "gain, all paths together" in sums and "φ′ × W_hh" not in sums


@pytest.mark.parametrize(
    "slope, weights, said",
    [
        (0.8, 0.9, "The activation takes more"),
        (1.0, 0.95, "The weights take more"),
        (1.0, 1.01, "Neither takes"),
        (0.995, 1.2, "Neither takes"),
    ],
)
def test_who_takes_more_is_said_of_factors(slope, weights, said):
    logs = {"slope": [math.log(slope)], "weights": [math.log(weights)]}
    split = logs | {"total": [math.log(slope * weights)]}
    assert said in split_said({"kind": "elman", "activation": "phi", "split": split}, "en")


def test_by_keyboard_alone(opened):
    found = traced(nn.GRU(3, H, 2, bidirectional=True))
    with opened(found.to_html) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.locator("#layer").focus()
        page.keyboard.press("ArrowDown")
        assert page.locator(".layer.chosen h3").inner_text().startswith("rnn.l0_reverse")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "step"
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        first = cursors(page)
        assert page.locator("#step").input_value() == "1" and len(first) == 1
        assert page.locator("#step").get_attribute("aria-valuetext").startswith("Time step 1: ")
        page.locator(".layer.chosen .drawing.timed").first.focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#step").input_value() == "2" and cursors(page) != first
        page.keyboard.press("End")
        assert page.locator("#step").input_value() == "23"


def test_every_control_has_a_name_and_headings_skip_no_level(opened):
    for monitor in train(nn.GRU):
        with opened(lambda path, monitor=monitor: monitor.to_html(path, lag=10)) as page:
            page.locator("#r0-barcode .drawing").focus()
            page.keyboard.press("Enter")
            named = page.locator(":is(input, select, button):visible").evaluate_all(
                """all => all.map(control => [...control.labels ?? []].map(l => l.innerText).join()
                                         || control.innerText)"""
            )
            assert len(named) > 10 and all(name.strip() for name in named)
            levels = page.locator(":is(h1, h2, h3, h4):visible").evaluate_all(
                "all => all.map(h => Number(h.tagName[1]))"
            )
            assert all(b <= a + 1 for a, b in pairwise(levels))
            ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
            assert len(ids) == len(set(ids))
            for attribute in ("aria-labelledby", "aria-describedby"):
                said = page.locator(f"[{attribute}]").evaluate_all(
                    "(all, name) => all.flatMap(e => e.getAttribute(name).split(' '))", attribute
                )
                assert set(said) <= set(ids)


def test_every_record_can_be_looked_at_and_its_place_is_in_the_address(opened):
    found = traced(nn.LSTM(3, H, 2, bidirectional=True), loss=lambda y: y.square().sum())
    with opened(found.to_html) as page:
        options = page.locator("#layer option").all_inner_texts()
        assert options == list(found.records)
        for index in range(4):
            page.locator("#layer").select_option(str(index))
            assert page.locator(".layer:visible").count() == 1
            for name in ("signal", "split", "paths", "budget", "barcode", "transport", "census",
                         "gate_times", "usage_i", "usage_c", "forecast", "one_step"):  # fmt: skip
                assert page.locator(f"#r{index}-{name} svg:visible").count() == 1, name
        assert page.url.endswith("#layer=rnn.l1_reverse&step=23")


def test_both_languages_and_no_other(opened):
    found = traced(nn.GRU(3, H))
    with opened(lambda path: found.to_html(path, costly=True, title="m")) as page:
        for summary in page.locator(".layer details summary").all():
            summary.click()
        english = shown(page)
        assert page.title() == "Gradients through time: m"
        assert set(re.findall(r"[\u4e00-\u9fff]+", english)) == {"中文"}
        page.locator("#lang-zh").check(force=True)
        chinese = shown(page)
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        assert page.title() == "沿时间的梯度：m"
        for word in ("the ", "step", "units", "gradient", "never", "Left out", "share"):
            assert word not in chinese, word
        page.locator("#lang-en").check(force=True)
        assert shown(page) == english


@pytest.mark.parametrize(("locale", "lang"), [("zh-TW", "zh-Hans"), ("de-DE", "en")])
def test_first_language_is_the_readers(opened, locale, lang):
    with opened(traced(nn.RNN(3, 2), T=2).to_html, locale=locale) as page:
        assert page.evaluate("document.documentElement.lang") == lang


def test_light_and_dark(opened):
    with opened(traced(nn.RNN(3, H)).to_html, scheme="dark") as page:

        def paper():
            return page.evaluate("getComputedStyle(document.body).backgroundColor")

        def line():
            return page.locator("#r0-signal .wide [data-name=total]").evaluate(
                "path => getComputedStyle(path).stroke"
            )

        assert (paper(), line()) == ("rgb(21, 23, 26)", "rgb(86, 180, 233)")
        page.locator("#theme-light").check(force=True)
        assert (paper(), line()) == ("rgb(253, 253, 251)", "rgb(0, 114, 178)")


@pytest.mark.parametrize("width", [320, 390, 800])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_narrow_screens_scroll_only_inside_tables(opened, width, locale):
    found = traced(nn.LSTM(3, H))
    with opened(lambda path: found.to_html(path, lag=20), width=width, locale=locale) as page:
        for summary in page.locator("details summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = page.locator(".layer.chosen .drawing svg:visible").evaluate_all(
            "all => all.map(svg => svg.getBoundingClientRect()).map(b => [b.left, b.right])"
        )
        assert drawn and all(0 <= left < right <= width for left, right in drawn)
        timed = page.locator(".layer.chosen .drawing.timed svg:visible").evaluate_all(
            """all => all.map(svg => [svg.getAttribute("class"),
                                   svg.clientWidth / svg.viewBox.baseVal.width])"""
        )
        kind, least = ("narrow", 0.65) if width <= 768 else ("wide", 0.8)
        assert {name for name, _ in timed} == {kind}
        assert min(scale for _, scale in timed) >= least  # texts of 11 are not too small to read


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_is_cut_off_by_its_drawing(opened, kind, locale, width):
    for monitor in train(kind):
        write = partial(monitor.to_html, lag=10, costly=True)
        with opened(write, locale=locale, width=width) as page:
            cut = page.locator("svg").evaluate_all(
                """all => all.flatMap(svg => {
                  const box = svg.getBoundingClientRect();
                  return [...svg.querySelectorAll("text")].filter(text => {
                    const own = text.getBoundingClientRect();
                    return own.width && (own.left < box.left - 1 || own.right > box.right + 1
                      || own.top < box.top - 1 || own.bottom > box.bottom + 1);
                  }).map(text => text.textContent);
                })"""
            )
            assert cut == []


def test_without_script_everything_is_there(opened):
    found = traced(nn.GRU(3, H, 2))
    with opened(found.to_html, script=False) as page:
        assert page.locator(".layer:visible").count() == 2
        assert page.locator("#r1-signal svg.wide").is_visible()
        assert "JavaScript" in page.locator("noscript").inner_text()
        assert not page.locator(".controls").is_visible()
        page.locator("#r0 [data-table=table_steps] summary").click()
        assert page.locator("#r0 [data-table=table_steps] tbody tr").count() == 24


def test_tables_hold_the_measures(opened):
    found = traced(nn.RNN(3, H))
    held = found.measured()["rnn.l0"]
    with opened(found.to_html) as page:
        page.locator("[data-table=table_steps] summary").click()
        cells = page.locator("[data-table=table_steps] tbody tr").evaluate_all(
            "rows => rows.map(r => [...r.cells].map(c => c.innerText))"
        )
        assert [c[1] for c in cells] == [number(v) for v in held["signal"]["total"]]
        assert [c[5] for c in cells] == [number(v) for v in held["signal"]["injected"]]
        page.locator("[data-table=table_units] summary").click()
        assert page.locator("[data-table=table_units] tbody tr").count() == H
        page.locator("[data-table=table_forecast] summary").click()
        forecast = page.locator("[data-table=table_forecast] tbody tr").evaluate_all(
            "rows => rows.map(r => [r.cells[0].innerText, r.cells[1].innerText])"
        )
        assert forecast == [
            ["tanh", steps(held["transport"]["horizon"]["value"])],
            *([name, steps(m["horizon"])] for name, m in held["counterfactual"].items()),
        ]


def test_exactness_cost_and_what_is_left_out_are_told(opened):
    found = traced(nn.RNN(3, H))
    with opened(found.to_html) as page:
        notes = page.locator(".notes").inner_text()
        assert f"by at most {number(max(found.check.values()), 2)} of its largest" in notes
        assert number(found.seconds) in notes and number(found.step_seconds) in notes
        assert "Left out to save time: the lag map, the Lyapunov spectrum." in notes
        assert page.locator("#r0-lyapunov svg").count() == 0
        assert "costly=True" in page.locator("#r0-lyapunov").inner_text()
    with opened(lambda path: found.to_html(path, costly=True)) as page:
        assert "Nothing is left out." in page.locator(".notes").inner_text()
        assert page.locator("#r0-lyapunov svg, #r0-lag_map svg.wide").count() == 2


def test_hostile_names_are_text(opened):
    layer = ours.RNN(3, H, nonlinearity=Activation("<i>&'", "tanh(x)"))
    found = traced(layer, name="<b>x&amp;", T=40)
    with opened(lambda path: found.to_html(path, title=HOSTILE, lag=40)) as page:
        assert page.title() == f"Gradients through time: {HOSTILE}"
        assert page.locator("#layer option").inner_text() == "<b>x&amp;.l0"
        assert page.locator("img").count() == 0
        assert page.locator("#layers :is(h3, p, option, svg) :is(b, i)").count() == 6  # readout
        assert "<i>&'" in shown(page)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize(
    "loss",
    {
        "zero": lambda y: 0 * y.sum(),
        "no number": lambda y: math.nan * y.sum(),
        "infinite": lambda y: math.inf * y[-1].sum(),
        "tiny": lambda y: 1e-38 * y[-1].sum(),
    }.values(),
)
@pytest.mark.parametrize("T", [1, 7])
def test_nothing_no_number_and_one_step(opened, kind, loss, T):
    found = traced(kind(3, H), T=T, loss=loss)
    with opened(lambda path: found.to_html(path, costly=True)) as page:
        text = shown(page)
        for sign in ("NaN", "nan", "None", "undefined", "null", "inf", "Infinity"):
            assert sign not in re.findall(r"\b\w+\b", text), sign
        markup = page.content().partition('<script type="application/json"')[0]
        assert not re.search(r'(d|x|y)="[^"]*(nan|inf|NaN)', markup)


def test_very_long_sequences(opened):
    found = traced(nn.RNN(3, 4), T=5000)
    path_of = {}

    def write(path):
        path_of["page"] = found.to_html(path, compare=())
        return path_of["page"]

    with opened(write) as page:
        assert path_of["page"].stat().st_size < 3_000_000
        page.locator("#step").evaluate(
            "s => { s.value = 4998; s.dispatchEvent(new Event('input')) }"
        )
        total = found.measured(compare=())["rnn.l0"]["signal"]["total"]
        assert number(total[4998]) in page.locator("#readout").inner_text()
        page.locator("[data-table=table_steps] summary").click()
        assert page.locator("[data-table=table_steps] tbody tr").count() == 200
        with page.expect_download() as caught:
            page.locator("[data-csv]").click()
        lines = Path(caught.value.path()).read_text(encoding="utf-8").splitlines()
        assert len(lines) == 5001
        row = dict(zip(lines[0].split(","), lines[4999].split(","), strict=True))
        assert float(row["total"]) == pytest.approx(total[4998], rel=1e-5)


def test_a_picture_is_saved_as_it_is_seen(opened):
    with opened(traced(nn.RNN(3, H)).to_html, scheme="dark", locale="zh-CN") as page:
        with page.expect_download() as caught:
            page.locator("#r0-signal .save").click()
        assert caught.value.suggested_filename == "signal.svg"
        picture = Path(caught.value.path()).read_text(encoding="utf-8")
        root = ET.fromstring(picture)
        assert "var(" not in picture and "light-dark(" not in picture
        texts = "".join(root.itertext())
        assert "时间步" in texts and "time step" not in texts


def train(kind, steps=40, every=4, T=12, nan=False):
    torch.manual_seed(2)
    model = nn.Sequential(kind(3, H))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    with Monitor(model, optimiser, every=every) as monitor:
        for step in range(steps):
            optimiser.zero_grad()
            loss = model(torch.randn(T, B, 3))[0][-1].square().sum()
            (loss * (math.nan if nan and step > 10 else 1)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimiser.step()
        yield monitor


def test_a_training_run_can_be_scrubbed(opened):
    for monitor in train(nn.RNN):
        history = list(monitor.history)
        with opened(monitor.to_html) as page:
            assert page.locator("#look").get_attribute("max") == str(len(history) - 1)
            signal = page.locator("#r0-signal .wide [data-name=total]")
            last = signal.get_attribute("d")
            page.locator("#look").focus()
            page.keyboard.press("Home")
            assert page.locator("#look-value").inner_text() == "step 0"
            assert page.locator("#look-note").is_visible()
            assert signal.get_attribute("d") != last
            total = history[0].layers["0.l0"].signal.total[-1]
            assert number(float(total)) in page.locator("#readout").inner_text()
            marks = page.locator("#training .cursor")
            assert marks.count() == page.locator("#training svg").count() == 3
            page.keyboard.press("End")
            assert signal.get_attribute("d") == last
            assert not page.locator("#look-note").is_visible()
            page.locator("#training summary").click()
            rows = page.locator("#training tbody tr")
            assert rows.count() == len(history)
            assert rows.first.locator("td").nth(1).inner_text() == number(
                history[0].updates["0.weight_hh_l0"]
            )
            assert "the monitor took" in page.locator(".notes").inner_text()


def test_a_run_that_broke_can_still_be_looked_at(opened):
    for monitor in train(nn.LSTM, nan=True):
        with opened(monitor.to_html) as page:
            assert page.locator(".card").count() >= 1
            page.locator("#look").focus()
            page.keyboard.press("Home")
            assert "NaN" not in shown(page)


def test_every_panel_has_a_heading_and_a_key_in_the_catalogue():
    from throughtime.language import entries

    names = entries("traces")
    for name in PANELS:
        assert f"head_{name}" in names and f"key_{name}" in names
    for place in ("h", "r", "z", "n", "i", "f", "g", "o", "c"):
        assert f"head_usage_{place}" in names


def test_the_data_in_the_page_cannot_end_its_element(tmp_path):
    found = traced(nn.RNN(3, H), name="</script>")
    text = found.to_html(tmp_path / "t.html").read_text(encoding="utf-8")
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["records"][0]["key"] == "</script>.l0"


def test_a_unit_of_the_barcode_shows_where_its_pre_activations_lie(opened):
    layer = nn.RNN(3, H, nonlinearity="relu", dtype=torch.float64)
    layer.get_parameter("bias_ih_l0").data[2] = -50  # never on
    found = traced(layer, loss=lambda y: y.square().sum())
    held = found.measured()["rnn.l0"]
    row = held["barcode"]["units"].index(2)
    with opened(found.to_html, locale="zh-CN") as page:
        page.locator("#lang-en").check(force=True)
        box, unit = page.locator("#r0-barcode .drawing"), page.locator("#r0-unit")
        assert not unit.is_visible()
        svg = box.locator("svg.wide")
        svg.scroll_into_view_if_needed()
        top, bottom = map(float, svg.get_attribute("data-time").split()[4:])
        whole = svg.bounding_box()
        scale = whole["width"] / 900
        y = (top + (row + 0.5) * (bottom - top) / H) * scale
        page.mouse.click(whole["x"] + whole["width"] / 2, whole["y"] + y)
        assert unit.locator("select option:checked").inner_text() == "2: never on"
        told = dict(zip(unit.locator("dt").all_inner_texts(),
                        unit.locator("dd").all_inner_texts(), strict=True))  # fmt: skip
        assert told["Class"] == "never on" and told["Steps on"] == "0%"
        assert told["Off, a < 0"] == "100%" and told["Sequences never on"] == "100%"
        assert told["Σ|δ|"] == "0"
        bars = unit.locator("svg [data-name=density]").get_attribute("d")
        assert bars.count("M") == np.count_nonzero(held["barcode"]["density"][row])
        box.focus()
        for key in ["ArrowUp"] * H + ["ArrowDown"] * 3:
            page.keyboard.press(key)
        third = held["barcode"]["units"][3]
        name = f"{third}: {held['census']['label'][third].replace('_', ' ')}"
        assert page.locator("#r0-barcode-row").inner_text() == name
        assert unit.locator("select option:checked").inner_text() == "2: never on"
        page.keyboard.press("Enter")
        assert unit.locator("select option:checked").inner_text() == name
        edges = np.array(held["usage"]["h"]["edges"])
        own = found.records["rnn.l0"].preactivation[..., third].flatten().numpy()
        counts, _ = np.histogram(np.clip(own, edges[0], edges[-1]), edges)
        bars = unit.locator("svg [data-name=density]").get_attribute("d")
        heights = [-float(v) for v in re.findall(r"v(-[\d.]+)", bars)]
        expected = counts[counts > 0] / counts.max()
        assert heights == pytest.approx(list(expected * max(heights)), abs=0.11)
        unit.locator("select").select_option(label="2: never on")
        page.locator("#lang-zh").check(force=True)
        assert unit.locator("select option:checked").inner_text() == "2：从不激活"
        assert "Steps on" not in unit.inner_text()


def test_each_layer_keeps_its_own_unit(opened):
    found = traced(nn.GRU(3, 80, 2))
    shown = found.measured()["rnn.l1"]["barcode"]["units"][5]
    with opened(found.to_html, at=f"#layer=rnn.l1&step=3&unit={shown}") as page:
        assert page.locator("#r1-unit option:checked").inner_text().startswith(f"{shown}: ")
        page.locator("#layer").select_option("0")
        assert not page.locator("#r0-unit").is_visible() and "unit" not in page.url
        page.locator("#layer").select_option("1")
        assert page.locator("#r1-unit").is_visible() and page.url.endswith(f"unit={shown}")
    with opened(found.to_html) as page:
        assert page.locator("#r0-unit option").count() == 64
        page.locator("#r0-barcode .drawing").focus()
        page.keyboard.press("Enter")
        assert page.locator("#r0-unit").is_visible()
        page.locator("#layer").select_option("1")
        assert not page.locator("#r1-unit").is_visible()
        assert page.locator("#r1-unit option").count() == 64


def test_exponents_stand_beside_those_of_sound_starts(opened, tmp_path):
    found = traced(nn.RNN(3, H, dtype=torch.float64), T=60)
    held = found.measured(costly=True)["rnn.l0"]["lyapunov"]
    ensemble = [lyapunov(r, transient=6).exponents
                for r in reference.ensemble(found.records["rnn.l0"], 4, 2)]  # fmt: skip
    assert held["start"]["low"] == pytest.approx(list(np.min(ensemble, 0)), rel=1e-6)
    assert held["start"]["high"] == pytest.approx(list(np.max(ensemble, 0)), rel=1e-6)
    with opened(lambda path: found.to_html(path, costly=True)) as page:
        text = page.locator("#r0-lyapunov").inner_text()
        low, high = (number(held["start"][end][0]) for end in ("low", "high"))
        assert f"at a sound start the largest is {low} to {high}" in text
        assert "not this network's own start" in text


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])
def test_every_panel_of_the_history_is_redrawn_and_the_others_are_marked(opened, kind):
    for monitor in train(kind):
        seen = monitor.history[0].layers["0.l0"]
        with opened(monitor.to_html) as page:

            def drawings():
                return dict(
                    page.locator(".layer.chosen .panel:has(svg)").evaluate_all(
                        """panels => panels.map(p => [p.dataset.panel, [...p.querySelectorAll(
                             "[data-name]")].map(part => part.outerHTML).join("")])"""
                    )
                )

            def marked():
                shown = page.locator(".layer.chosen .panel:has(svg):has(.stale:visible)")
                return set(shown.evaluate_all("all => all.map(p => p.dataset.panel)"))

            last = drawings()
            assert not marked()
            page.locator("#look").focus()
            page.keyboard.press("Home")
            first = drawings()
            changed = {name for name in last if first[name] != last[name]}
            followed = {"signal", "split", "budget", "cumulative", "noise"}
            followed |= {"paths"} if kind is nn.GRU else set()
            assert changed | {"census"} == followed | {"census"}
            assert marked() == set(last) - followed - {"census"}
            assert "last look, step 36" in shown(page)
            assert not page.locator("#r0-signal .said").is_visible()
            for name, share in seen.census.shares.items():
                text = page.locator(f"#r0-census text[data-name=class_{name}]").inner_html()
                assert text == percent(share)
            page.keyboard.press("End")
            assert drawings() == last and not marked()


def test_the_redrawn_curve_is_the_look(opened):
    for monitor in train(nn.GRU):
        seen = monitor.history[2].layers["0.l0"]
        with opened(monitor.to_html) as page:
            page.locator("#look").focus()
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowRight")
            for panel, name, values in (
                ("noise", "noise", np.log(seen.noise)),
                ("cumulative", "cumulative", np.cumsum(np.nan_to_num(seen.budget.by_lag))),
                ("paths", "path_carry", seen.split.paths["carry"]),
            ):
                path = page.locator(
                    f"#r0-{panel} svg:visible path[data-name={name}]"
                ).get_attribute("d")
                heights = np.array([float(y) for y in re.findall(r"[ML][-\d.]+,([-\d.]+)", path)])
                values = values[np.isfinite(values)]
                slope, offset = np.polyfit(values, heights, 1)
                assert slope < 0 and heights == pytest.approx(slope * values + offset, abs=0.15)


def test_a_long_history_keeps_the_page_small(tmp_path):
    for monitor in train(nn.LSTM, steps=256, every=1, T=300):
        path = monitor.to_html(tmp_path / "t.html", compare=())
        assert len(monitor.history) == 256
        assert path.stat().st_size < 3_000_000


def test_a_class_of_units_can_be_gone_through(opened):
    layer = nn.RNN(3, H, nonlinearity="relu", dtype=torch.float64)
    layer.get_parameter("bias_ih_l0").data[[1, 4, 6]] = -50
    found = traced(layer, loss=lambda y: y.square().sum())
    with opened(found.to_html) as page:
        unit, box = page.locator("#r0-unit"), page.locator("#r0-census .drawing")
        chosen = unit.locator("select option:checked")
        among = unit.locator(".walk output")
        bar = box.locator("path[data-name=class_never_on]")
        bar.scroll_into_view_if_needed()
        bar.click(force=True)  # a bar is a picture, not a control
        assert chosen.inner_text() == "1: never on" and among.inner_text() == "never on: 1 of 3"
        assert page.locator("#r0-census-row").inner_text() == "never on"
        assert (
            page.evaluate("document.activeElement.parentElement.parentElement.className") == "walk"
        )
        rows = [page.locator(f"#r0-barcode svg.wide .{name}") for name in ("alike", "row")]
        heights = [float(rect.get_attribute("height")) - 2 for rect in rows]
        assert heights[0] == pytest.approx(3 * heights[1], abs=0.25)
        for expected in ("4: never on", "6: never on", "1: never on"):
            unit.get_by_role("button", name="next").click()
            assert chosen.inner_text() == expected
        unit.get_by_role("button", name="previous").click()
        assert chosen.inner_text() == "6: never on" and among.inner_text() == "never on: 3 of 3"
        assert page.url.endswith("unit=6")
        kinds = box.locator("path[data-name]").evaluate_all("all => all.map(p => p.dataset.name)")
        box.focus()
        for _ in range(1 + kinds.index("class_never_on")):
            page.keyboard.press("ArrowUp")
        for _ in range(kinds.index("class_never_on")):
            page.keyboard.press("ArrowDown")
        assert chosen.inner_text() == "6: never on"  # pointed at, not yet chosen
        page.keyboard.press("Enter")
        assert chosen.inner_text() == "1: never on"
        page.locator("#lang-zh").check(force=True)
        assert among.inner_text() == "从不激活：第 1 个，共 3 个"
        assert unit.get_by_role("button").all_inner_texts() == ["上一个", "下一个"]


def test_a_class_that_is_gone_says_so(opened):
    torch.manual_seed(2)
    model = nn.Sequential(nn.RNN(3, H, nonlinearity="relu"))
    bias = model[0].get_parameter("bias_ih_l0").data
    bias[:] = 5  # on, but for the first
    bias[0] = -50
    optimiser = torch.optim.SGD(model.parameters(), 1e-6)
    with Monitor(model, optimiser, every=1) as monitor:
        for step in range(3):
            optimiser.zero_grad()
            model(torch.randn(5, B, 3))[0].square().sum().backward()
            optimiser.step()
            if not step:
                bias[0] = 5
        with opened(monitor.to_html) as page:
            bar = page.locator("#r0-census path[data-name=class_never_on]")
            label = page.locator("#r0-census text[data-name=class_never_on]")
            assert bar.count() == 1 and label.inner_html() == "0%"
            label.scroll_into_view_if_needed()
            label.click(force=True)
            said = page.locator("#r0-census-row").inner_text()
            assert said == "never on: no unit of this class at the last look."
            assert not page.locator("#r0-unit").is_visible()


def test_one_fault_in_several_places_is_one_card(opened):
    found = traced(nn.RNN(3, H, 3, nonlinearity="relu"), T=60)
    findings = found.findings(50)
    alike = [f for f in findings if f.cause == "vanishes"]
    assert len(alike) == 3
    with opened(lambda path: found.to_html(path, lag=50)) as page:
        card = page.locator(".card[data-cause=vanishes]")
        assert card.count() == 1
        worst = min(alike, key=lambda f: f.number)
        assert card.locator(".sentence").inner_text() == worst.sentence("en")
        assert f"In 3 places; the worst is {worst.place}:" in card.inner_text()
        rows = card.locator("tbody tr").evaluate_all(
            "rows => rows.map(r => [...r.cells].map(c => c.innerText))"
        )
        assert {(row[0].split()[0], *row[1:]) for row in rows} == {
            (f.place, number(f.number), number(f.reference)) for f in alike
        }
        card.locator("summary").click()
        text = card.inner_text()
        for f in alike:
            assert f.sentence("en") in text and f.suggestion("en") in text
        links = card.get_by_role("link")
        assert links.count() == 3
        links.nth(2).click()
        place = rows[2][0].split()[0]
        assert (
            page.locator(".layer.chosen").get_attribute("id")
            == f"r{list(found.records).index(place)}"
        )


def test_a_forecast_stands_beside_the_same_sequences():
    torch.manual_seed(5)
    x = torch.randn(24, 20, 3)
    weight = torch.cat([torch.ones(8), torch.full((12,), 100.0)])
    layer = nn.RNN(3, H)
    found = trace(Model(layer), x, lambda m, x: (m(x)[-1].square().sum(-1) * weight).sum())
    first = trace(Model(layer), x[:, :8], lambda m, x: m(x)[-1].square().sum())
    held = found.measured()["rnn.l0"]
    assert held["sample"]["total"] == pytest.approx(first.measured()["rnn.l0"]["signal"]["total"])
    assert held["sample"]["total"][-1] < 0.1 * held["signal"]["total"][-1]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_every_chart_has_its_numbers_in_a_table(opened, kind):
    found = traced(kind(3, H))
    held = found.measured(costly=True)["rnn.l0"]
    with opened(lambda path: found.to_html(path, costly=True)) as page:

        def columns(name):
            box = page.locator(f"[data-table={name}]")
            box.locator("summary").click()
            rows = box.locator("tr").evaluate_all(
                "rows => rows.map(r => [...r.cells].map(c => c.innerText))"
            )
            return dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))

        def numbers(values, form=number):
            return tuple(map(form, values))

        over_time = columns("table_steps")
        assert over_time["Signal to noise"] == numbers(held["signal_to_noise"])
        for name, title in {"carry": "carried over", "z": "gate z", "f": "gate f"}.items():
            if kind is not nn.RNN and name in held["split"]["paths"]:
                assert over_time[title] == numbers(held["split"]["paths"][name], percent)
        units = columns("table_units")
        if kind is not nn.RNN:
            assert units["Time scale τ"] == numbers(held["gates"]["time_scale"], steps)
            for gate, shut in held["gates"]["closed"].items():
                assert units[f"{gate} shut"] == numbers(shut, percent)
        used = columns("table_usage")
        assert used["Density"] == numbers(d for u in held["usage"].values() for d in u["density"])
        assert set(used["Where"]) == set(held["usage"])
        sent = columns("table_lag_map")
        for row, step in enumerate(held["lag_map"]["steps"]):
            assert sent[f"From step {step}"] == numbers(held["lag_map"]["norm"][row])
        ranks = columns("table_ranks")
        assert ranks["Exponent λ"] == numbers(held["lyapunov"]["exponents"])
        assert ranks["Singular value"] == numbers(held["one_step"]["singular_values"]["median"])


@pytest.mark.parametrize("T", [40, 600])
@pytest.mark.parametrize("kind", [ours.RNN, ours.LSTM])
def test_padding_that_no_sequence_reaches_is_not_shown(opened, kind, T):
    longest = T // 2 - 3
    lengths = torch.tensor([longest, longest // 3, 5])
    torch.manual_seed(5)
    layer = kind(3, H, bidirectional=True)
    found = trace(layer, torch.randn(T, 3, 3), lambda m, x: m(x, lengths=lengths)[0].square().sum())
    held = found.measured(costly=True)["l0_reverse"]
    assert held["steps"] == T
    with opened(lambda path: found.to_html(path, costly=True)) as page:
        page.locator("#layer").select_option("1")
        assert page.locator("#step").get_attribute("max") == str(longest - 1)
        assert f"{longest} × 3" in page.locator(".layer.chosen > .facts").inner_text()
        ends = page.locator(".layer.chosen svg[data-time]:visible").evaluate_all(
            "all => all.map(svg => svg.dataset.time.split(' ').slice(2, 4).join())"
        )
        assert set(ends) == {f"-0.5,{longest - 0.5:g}"}
        path = page.locator(".layer.chosen [data-panel=signal] .wide [data-name=total]")
        xs = [float(x) for x in re.findall(r"[ML]([\d.]+),", path.get_attribute("d"))]
        start, stop = 70, 886  # the axis
        assert xs[0] - start == pytest.approx(stop - xs[-1], abs=1)
        summary = page.locator(".layer.chosen [data-table=table_steps] summary")
        summary.click()
        last = page.locator(".layer.chosen [data-table=table_steps] tbody tr").last
        assert last.locator("td").first.inner_text() != "–"


def test_a_look_whose_sequences_were_longer_is_shown_whole(opened):
    torch.manual_seed(2)
    model = ours.GRU(3, H)
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    with Monitor(model, optimiser, every=1) as monitor:
        for length in (20, 31, 12):
            optimiser.zero_grad()
            lengths = torch.tensor([length, 4])
            model(torch.randn(40, 2, 3), lengths=lengths)[0].square().sum().backward()
            optimiser.step()
        with opened(monitor.to_html) as page:
            assert page.locator("#step").get_attribute("max") == "30"
            assert page.locator("#step").input_value() == "11"
            assert "12 × 2" in page.locator(".layer > .facts").inner_text()
            page.locator("#look").focus()
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            path = page.locator("#r0-signal .wide [data-name=total]").get_attribute("d")
            assert len(re.findall(r"[ML][\d.]+,", path)) == 31
            assert "NaN" not in path
