"""Names and signs that table, chart and sentence share."""

from __future__ import annotations

from throughtime.language import say

SYMBOLS = {"reference": "●", "better": "▲", "equivalent": "■", "worse": "▼", "undecided": "○"}


def known(kind: str, name: str, language: str | None = None) -> str:
    """``report.KIND_NAME`` of the catalogue, else ``name`` itself."""
    try:
        return say(f"report.{kind}_{name}", language)
    except KeyError:
        return name


def metric_name(metric: str, language: str | None = None) -> str:
    """The metric in words where the catalogue knows it, else as it is called."""
    return known("metric", metric, language)


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
