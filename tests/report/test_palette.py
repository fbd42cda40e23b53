"""The colours of charts: read on light and dark paper, told apart with any kind of sight."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from throughtime.report.embed import text_of
from throughtime.report.palette import LIGHT

# G. Machado, M. Oliveira, L. Fernandes, IEEE TVCG 15 (2009), severity 1, linear RGB
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
LINES = ("accent", "warn", "green", "purple", "ink")
TEXTS = ("ink", "muted", "accent", "warn")


def style(scheme: str) -> dict[str, str]:
    pairs = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", text_of("report.css"))
    return {name: (light, dark)[scheme == "dark"] for name, light, dark in pairs}


SCHEMES = {"file": vars(LIGHT), "light": style("light"), "dark": style("dark")}


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """Of WCAG 2."""
    high, low = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (a, b)), reverse=True)
    return float((high + 0.05) / (low + 0.05))


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    t = np.clip(to_xyz @ rgb, 0, None) / [0.9505, 1, 1.089]
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_and_texts_stand_out_from_the_paper(scheme):
    colours = SCHEMES[scheme]
    for name in LINES:
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for name in TEXTS:
        assert contrast(colours[name], colours["paper"]) >= 4.5, name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("sight", SIGHT)
def test_lines_of_one_chart_can_be_told_apart(scheme, sight):
    seen = {n: lab(np.clip(SIGHT[sight] @ linear(SCHEMES[scheme][n]), 0, 1)) for n in LINES}
    for a, b in combinations(LINES, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 15, (a, b)


def test_a_file_has_the_colours_of_the_page():
    page = SCHEMES["light"]
    assert {n: vars(LIGHT)[n] for n in (*LINES, "muted", "faint", "line")} == {
        n: page[n] for n in (*LINES, "muted", "faint", "line")
    }
