"""The few colours and the type of every chart and page."""

from __future__ import annotations

from dataclasses import dataclass

FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, "
    "'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif"
)


@dataclass(frozen=True)
class Palette:
    """The few colours of a chart (after Okabe and Ito); meaning never hangs on colour alone."""

    ink: str
    muted: str
    faint: str
    line: str
    paper: str
    accent: str
    warn: str
    green: str
    purple: str
    band: str


LIGHT = Palette(
    ink="#1d1f21",
    muted="#5f646a",
    faint="#b4b8bc",
    line="#e4e3de",
    paper="#ffffff",
    accent="#0072b2",
    warn="#b64a00",
    green="#0f6632",
    purple="#9c4f85",
    band="#f1ead8",
)
FOLLOWING = Palette(**{name: f"var(--{name})" for name in LIGHT.__dataclass_fields__})
