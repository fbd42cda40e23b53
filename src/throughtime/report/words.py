"""Names and signs that table, chart and sentence share."""

from __future__ import annotations

from throughtime.language import say
from throughtime.study.wording import known, metric_name

__all__ = ["SYMBOLS", "enumerated", "known", "metric_name", "settings", "verdict"]

SYMBOLS = {"reference": "●", "better": "▲", "equivalent": "■", "worse": "▼", "undecided": "○"}


def enumerated(items: list[str], language: str | None = None) -> str:
    """The items one after another, as the language does it."""
    return say("report.comma", language).join(items)


def verdict(name: str, language: str | None = None) -> str:
    """A verdict with its sign."""
    return f"{SYMBOLS[name]} {say(f'report.verdict_{name}', language)}"


def settings(values: dict[str, float | str]) -> str:
    """The values of a tuning point in one line."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
