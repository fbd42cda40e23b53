"""The section "why" of a study's report: from numbers that were JSON, in both languages."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest
import torch
from torch import nn

import throughtime.nn as ours
from throughtime.gradients import measure, trace
from throughtime.gradients.summary import flow_summary, thin
from throughtime.report.why import section, sections

T, B, H = 30, 6, 8


def last(model, x):
    return model(x)[0][-1].square().sum()


def summary(module, T=T, loss=last, B=B):
    torch.manual_seed(3)
    records = trace(module, torch.randn(T, B, 3), loss).records
    return records, json.loads(json.dumps(flow_summary(records), allow_nan=False))


def arms():
    torch.manual_seed(1)
    return {
        "tanh": summary(nn.RNN(3, H))[1],
        "elu": summary(ours.RNN(3, H, nonlinearity="elu"))[1],
        "GRU both ways": summary(nn.GRU(3, H, 2, bidirectional=True))[1],
    }


def test_summary_holds_the_measures():
    torch.manual_seed(1)
    records, found = summary(nn.LSTM(3, H))
    record, flow = records["l0"], found["l0"]
    assert flow["total"] == pytest.approx(measure.signal(record).total, rel=1e-12)
    assert flow["injected"] == pytest.approx(measure.signal(record).injected, rel=1e-12)
    assert flow["first"] == pytest.approx(flow["total"][0], rel=1e-12)
    assert flow["last"] == pytest.approx(flow["total"][-1], rel=1e-12)
    assert flow["horizon"]["value"] == measure.transport(record, probes=8).horizon.value
    assert flow["census"] == measure.census(record).shares
    assert flow["last_steps"] == measure.budget(record).last_steps
    paths = measure.split(record).paths
    assert flow["split"]["paths"]["carry"] == pytest.approx(paths["carry"][1:].mean())


def test_summary_of_a_layer_that_reads_backwards_starts_where_it_starts():
    flows = summary(nn.RNN(3, H, bidirectional=True))[1]
    assert flows["l0_reverse"]["first"] == pytest.approx(flows["l0_reverse"]["total"][-1])
    assert flows["l0"]["first"] == pytest.approx(flows["l0"]["total"][0])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_sequence_ends_where_it_ends(bidirectional):
    lengths = torch.tensor([T - 4, 3, 11])
    layer = ours.GRU(3, H, bidirectional=bidirectional, dtype=torch.float64)
    found = trace(
        layer, torch.randn(T, 3, 3, dtype=torch.float64),
        lambda m, x: m(x, lengths=lengths)[1].square().sum(),
    ).records  # fmt: skip
    for key, flow in flow_summary(found).items():
        total = found[key].total.norm(dim=-1)
        ends = torch.stack([total[n - 1, i] for i, n in enumerate(lengths)])
        begun, ended = (ends, total[0]) if found[key].reverse else (total[0], ends)
        assert flow["first"] == pytest.approx(float(begun.square().mean().sqrt()))
        assert flow["last"] == pytest.approx(float(ended.square().mean().sqrt()))
        assert flow["steps"] == T - 4


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_of_a_drawing_is_cut_off(visited, tmp_path, language):
    dead = ours.RNN(3, H, nonlinearity="relu")
    dead.bias_ih_l0.data[:3] = -50
    shown = arms() | {"relu": summary(dead)[1]}
    page = tmp_path / "why.html"
    page.write_text(f"<meta charset=utf-8><body>{section(shown, language)}", encoding="utf-8")
    with visited(
        page, width=1280, locale="en", scheme="light", script=True, ready=lambda page: None
    ) as opened:
        cut = opened.locator("svg").evaluate_all(
            """all => all.flatMap(svg => {
              const box = svg.getBoundingClientRect();
              return [...svg.querySelectorAll("text")].filter(text => {
                const own = text.getBoundingClientRect();
                return own.left < box.left || own.right > box.right;
              }).map(text => text.textContent);
            })"""
        )
        assert cut == []


def test_summary_of_a_long_run_is_short():
    flow = summary(nn.RNN(3, 4), T=1000)[1]["l0"]
    assert len(flow["time"]) == len(flow["total"]) == len(flow["rho"]) == 240
    assert flow["time"][0] < 5 and flow["time"][-1] > 994


def test_thinned_curves_keep_their_mean_square_however_small():
    values = torch.rand(1000, dtype=torch.float64).numpy() * 1e-200
    _, kept = thin(values, 100)
    assert ((kept / 1e-200) ** 2).mean() == pytest.approx(((values / 1e-200) ** 2).mean())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_section_is_sound_markup_and_speaks_one_language(language):
    markup = section(arms(), language)
    root = ET.fromstring(f"<div>{markup}</div>")
    rows = root.findall(".//table[@class='why']/tbody/tr")
    assert [r.findtext("th/span") for r in rows] == [
        "tanh · l0",
        "elu · l0",
        *(f"GRU both ways · l{n}" for n in ("0", "0_reverse", "1", "1_reverse")),
    ]
    assert all(len(r.findall("td")) == 4 for r in rows)
    assert len(root.findall(".//ul/li")) == 6
    text = "".join(root.itertext())
    assert bool(re.search(r"[\u4e00-\u9fff]", text)) == (language == "zh")
    assert not re.search(r"\b(nan|inf|None|null)\b", text)
    assert "id=" not in markup and "<script" not in markup


def test_both_languages_stand_in_the_report():
    found = sections(arms())
    assert found.title == {
        "en": "Why: what flows back through time",
        "zh": "原因：沿时间回传的梯度",
    }
    assert set(found.html) == {"en", "zh"}


def test_hostile_names_are_text():
    name = "</li><img src=x onerror=alert(1)>{0}"
    markup = section({name: summary(nn.RNN(3, H))[1]}, "en")
    assert "<img" not in markup
    assert "&lt;img src=x onerror=alert(1)&gt;{0}" in markup


@pytest.mark.parametrize(
    "loss",
    {
        "nothing came back": lambda m, x: 0 * m(x)[0].sum(),
        "no number came back": lambda m, x: float("nan") * m(x)[0].sum(),
    }.values(),
)
@pytest.mark.parametrize("steps", [1, 5])
def test_nothing_and_no_number_are_shown_as_such(loss, steps):
    flows = summary(nn.GRU(3, H), loss=loss, T=steps, B=1)[1]
    for language in ("en", "zh"):
        text = section({"tanh": flows}, language)
        assert not re.search(r"\bnan\b|\binf\b|None", re.sub(r"<[^>]*>", " ", text))
    assert "no gradient came back" in section({"tanh": flows}, "en")


def test_no_arms():
    assert section({}, "en") == "<p>No gradients were recorded.</p>"
