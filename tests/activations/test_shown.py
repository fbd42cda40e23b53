"""What a person sees: table, facts, drawing; in English and Chinese."""

from __future__ import annotations

import io
import re
import struct

import pytest
from rich.console import Console

import throughtime as tt
from throughtime.errors import ActivationError
from throughtime.language import LANGUAGES
from throughtime.report.activation import catalogue_table, chart, facts_panel, plot


def printed(renderable, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_fits_and_names_everything(language, width):
    said = printed(catalogue_table(language, width), width)
    lines = said.splitlines()
    assert all(any(line.strip().startswith(name) for line in lines) for name in tt.activations())
    assert max(map(len, lines)) <= width
    assert ("(−1, 1)" in said) == (width == 140)
    assert ("何时使用" if language == "zh" else "when to use it") in said


@pytest.mark.parametrize("name", tt.activations())
def test_facts_of_every_entry_in_both_languages(name):
    phi = tt.activation(name)
    english, chinese = (printed(facts_panel(phi, language)) for language in LANGUAGES)
    for said in (english, chinese):
        assert str(phi.facts.range) in said and phi.reference[:20] in said
        assert "nan" not in said and "None" not in said
    assert phi.note.split()[0] in english and phi.note_zh[:4] in chinese
    assert not re.search("[\u4e00-\u9fff]", english)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("elu", ["where(x > 0, 1, alpha*exp(x))", "(−1, ∞), unbounded", "1 continuous derivative"]),
        ("tanh", ["(−1, 1), bounded", "0, zero-centred", "odd, smooth", "saturated: φ′ < 1%"]),
        ("relu", ["(−∞, 0)  dead: φ′ = 0", "homogeneous, kinks at 0", "s=1: 1.414"]),
        ("thresholded_relu", ["jumps at 1", "no Lipschitz constant"]),
        ("prelu", ["slope = 0.25 ∈ (−∞, ∞)", "learnt, one value a unit"]),
        ("identity", ["none: gradient passes everywhere"]),
        ("sin", ["not monotone"]),
    ],
)
def test_facts_say_what_matters(name, words):
    said = printed(facts_panel(tt.activation(name), "en"), 120)
    assert all(word in said for word in words), said


def test_a_formula_with_markup_is_shown_as_it_is():
    phi = tt.Activation("[red]mine[/red]", "x*1", note="[bold]now[/bold]")
    assert "[bold]now[/bold]" in printed(facts_panel(phi, "en"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_drawing_opens_offline(tmp_path, language):
    phi = tt.activation("relu6")
    svg = plot(phi, tmp_path / "relu6.svg", language).read_text(encoding="utf-8")
    assert "<svg" in svg and "clip(x, 0, 6)" in svg
    assert ("死区" if language == "zh" else "dead") in svg
    page = plot(phi, str(tmp_path / "relu6.html"), language).read_text(encoding="utf-8")
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=", page)
    png = plot(phi, tmp_path / "relu6.PNG", language).read_bytes()
    assert png.startswith(b"\x89PNG") and struct.unpack(">I", png[16:20])[0] > 800
    assert sorted(p.name for p in tmp_path.iterdir()) == ["relu6.PNG", "relu6.html", "relu6.svg"]


def test_a_file_that_cannot_be_drawn_is_refused_and_nothing_is_left(tmp_path):
    phi = tt.activation("tanh")
    with pytest.raises(ActivationError, match=r"tanh\.pdf cannot be drawn.*\.svg, \.png, \.html"):
        plot(phi, tmp_path / "tanh.pdf")
    with pytest.raises(ActivationError, match="no folder"):
        plot(phi, tmp_path / "nowhere" / "tanh.svg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["clipped_relu", "softsign", "squared_relu", "modrelu", "identity"]
)
def test_the_drawing_shows_every_kink_and_names_every_zone(name):
    facts, drawn = tt.activation(name).facts, chart(tt.activation(name), "en").to_dict()
    rows = drawn["layer"][-1]["data"]["values"]
    assert max(abs(r["x"]) for r in rows) > max(map(abs, facts.kinks), default=0)
    words = [layer["data"]["values"][0].get("zone") for layer in drawn["layer"][:-1]]
    assert words.count("dead") == 2 * sum(z.kind == "dead" for z in facts.zones)
    assert "range" in drawn["description"].lower()


def test_a_constant_and_a_steep_power_can_be_drawn(tmp_path):
    for formula in ("3", "x^16", "where(x > 0, 1, 0)", "tanh(1000*x)"):
        plot(tt.Activation("mine", formula), tmp_path / "mine.svg")


def test_an_oscillation_shows_its_zones_around_zero(tmp_path):
    phi = tt.Activation("mine", "max(sin(x), 0)")
    said = printed(facts_panel(phi, "en"), 120)
    assert said.count("dead: φ′ = 0") == 6 and "kinks at −9.425, " in said and ", …" in said
    assert plot(phi, tmp_path / "mine.svg").read_text("utf-8").startswith("<svg")
