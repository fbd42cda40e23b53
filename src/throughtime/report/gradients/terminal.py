"""A trace on the terminal: findings, then every layer in a few lines with sparklines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from throughtime.gradients.advise import Finding, folded
from throughtime.language import current_language, say
from throughtime.report.gradients.crop import cropped
from throughtime.report.gradients.figures import Curve, curve, factor, number
from throughtime.report.gradients.panels import Measured
from throughtime.report.gradients.panels.flow import budget_said
from throughtime.report.gradients.panels.reach import transport_said
from throughtime.report.gradients.panels.units import census_said

_BLOCKS = "▁▂▃▄▅▆▇█"
_CELLS = 32


def summary(
    records: Mapping[str, Measured], findings: Sequence[Finding], language: str | None = None
) -> Group:
    """Findings and the flow of every layer, to be printed by rich; 80 columns suffice.

    Args:
        records: what :func:`throughtime.gradients.measured.measured` gave.
        findings: causes before consequences.
        language: ``"en"`` or ``"zh"``; the current language by default.
    """
    lines: list[Text | Table] = list(_findings(findings, language))
    for key, whole in records.items():
        m = cropped(whole)
        lines += [Text(), _title(key, m, language), _rows(m, language)]
    return Group(*lines, Text(_say("terminal_time", language), style="dim"))


def _findings(findings: Sequence[Finding], language: str | None) -> Iterator[Text]:
    if not findings:
        yield Text(_say("no_finding", language), style="green")
    for worst, *others in folded(findings):
        yield Text.assemble(
            ("! ", "bold red"),
            (_say("terminal_place", language, place=worst.place), "bold"),
            worst.sentence(language),
        )
        yield Text(f"  → {worst.suggestion(language)}")
        for found in others:
            told = {"place": found.place, "number": number(found.number),
                    "reference": number(found.reference)}  # fmt: skip
            yield Text("  " + _say("terminal_also", language, **told))
            if found.suggestion(language) != worst.suggestion(language):
                yield Text(f"    → {found.suggestion(language)}")


def _title(key: str, m: Measured, language: str | None) -> Text:
    kind = _say(f"kind_{m['kind']}", language)
    text = _say("terminal_title", language, layer=key, kind=kind, activation=m["activation"],
                units=m["units"], steps=m["steps"], sequences=m["sequences"])  # fmt: skip
    return Text(text, style="bold")


def _rows(m: Measured, language: str | None) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    split = m["split"]
    means = {name: factor(_mean(curve(split[name]))) for name in ("slope", "weights", "total")}
    spoken = language or current_language()
    gains = "terminal_gains" if m["kind"] == "elman" else "terminal_gains_gated"
    for name, values, log, text in (
        ("arrives", curve(m["signal"]["total"]), True, None),
        ("injected", curve(m["signal"]["injected"]), True, None),
        ("gain", curve(split["total"]), False, _say(gains, language, **means)),
        ("budget", curve(m["budget"]["share"]), False, budget_said(m, spoken)),
        ("reach", curve(m["transport"]["rho"]), True, transport_said(m, spoken)),
        ("units", curve(m["barcode"]["share"]), False, census_said(m, spoken)),
    ):
        note = _range(values, language) if text is None else text
        ends = (0.0, 1.0) if name == "units" else None
        table.add_row(_say(f"terminal_{name}", language), sparkline(values, log, ends), Text(note))
    return table


def sparkline(
    values: Curve, log: bool = False, ends: tuple[float, float] | None = None, cells: int = _CELLS
) -> str:
    """The values as blocks, one a stretch; a space where there is nothing to show.

    The blocks run from the smallest value to the largest, or over ``ends``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.log(values) if log else np.asarray(values, dtype=float)
    shown = np.where(np.isfinite(shown), shown, np.nan)
    means = [_mean(part) for part in np.array_split(shown, min(cells, len(shown)))]
    known = [v for v in means if np.isfinite(v)]
    if not known:
        return " " * len(means)
    low, high = ends or (min(known), max(known))
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((v - low) * scale)] if np.isfinite(v) else " " for v in means)


def _range(values: Curve, language: str | None) -> str:
    kept = values[np.isfinite(values) & (values > 0)]
    if not len(kept):
        return "0"
    return _say("terminal_log", language, low=number(kept.min()), high=number(kept.max()))


def _mean(values: Curve) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _say(entry: str, language: str | None, **fields: object) -> str:
    return say(f"traces.{entry}", language, **fields)
