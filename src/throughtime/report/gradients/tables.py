"""The tables of a trace: every number that a panel draws, for those who read or copy numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from markupsafe import Markup

from throughtime.gradients.export import at
from throughtime.language import LANGUAGES, say
from throughtime.report.gradients.figures import (
    Curve,
    curve,
    factor,
    matrix,
    number,
    percent,
    steps,
)
from throughtime.report.gradients.panels import Measured
from throughtime.report.gradients.panels.units import classes
from throughtime.report.tables import both

_MOST_ROWS = 200
_SERIES = {
    "total": ("signal", "total"),
    "low": ("signal", "total_low"),
    "high": ("signal", "total_high"),
    "zero": ("signal", "total_zero"),
    "injected": ("signal", "injected"),
    "slope": ("split", "slope"),
    "weights": ("split", "weights"),
    "gain": ("split", "total"),
    "share": ("budget", "share"),
    "state": ("state",),
    "on": ("barcode", "share"),
    "noise": ("signal_to_noise",),
}
_FACTORS = ("slope", "weights", "gain")


def told(entry: str, /, **fields: Any) -> Markup:
    """An entry of the room in both languages."""
    return both({k: say(f"traces.{entry}", k, **fields) for k in LANGUAGES})


def table(
    caption: str, columns: Sequence[str | Markup], rows: Sequence[Sequence[str | Markup]]
) -> Markup:
    """Rows of text, the first column their name, in a box that scrolls.

    A column is headed by its entry ``column_…`` of the room, or by markup.
    """
    heads = [c if isinstance(c, Markup) else told(f"column_{c}") for c in columns]
    head = Markup("").join(
        Markup('<th scope="col" class="n">{}</th>').format(text) for text in heads
    )
    body = Markup("").join(
        Markup('<tr><th scope="row" class="n">{}</th>{}</tr>').format(
            row[0], Markup("").join(Markup('<td class="n">{}</td>').format(c) for c in row[1:])
        )
        for row in rows
    )
    return Markup(
        '<div class="scroll" role="group" tabindex="0"><table><caption class="unseen">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(told(caption), head, body)


def series(m: Measured) -> dict[str, Curve]:
    """What has a value at each time step, by name; a gated layer's paths as ``path_…``."""
    found = {name: curve(at(m, *where)) for name, where in _SERIES.items()}
    paths = m["split"]["paths"]
    return found | ({f"path_{n}": curve(v) for n, v in paths.items()} if len(paths) > 1 else {})


def tables(m: Measured) -> Iterator[tuple[str, Markup]]:
    """The tables of one record by name."""
    yield "table_steps", _steps(m)
    yield "table_lags", _lags(m)
    yield "table_units", _units(m)
    yield "table_usage", _usage(m["usage"])
    if m["lag_map"] is not None and m["lag_map"]["steps"]:
        yield "table_lag_map", _lag_map(m)
    if m["one_step"] is not None or m["lyapunov"] is not None:
        yield "table_ranks", _ranks(m)
    if m["counterfactual"]:
        yield "table_forecast", _forecast(m)


def _steps(m: Measured) -> Markup:
    held, every = series(m), _every(m["steps"])
    rows = [
        [str(t), *(_shown(name, values[t]) for name, values in held.items())]
        for t in range(0, m["steps"], every)
    ]
    columns = [told(name) if name.startswith("path_") else name for name in held]
    return _thinned(every) + table("table_steps", ["step", *columns], rows)


def _shown(name: str, value: float) -> str:
    if name in _FACTORS:
        return factor(value)
    if name in ("zero", "on") or name.startswith("path_"):
        return percent(value)
    if name == "share":
        return f"{number(100 * value)}%" if math.isfinite(value) else "–"
    return number(value)


def _lags(m: Measured) -> Markup:
    rho, zero = curve(m["transport"]["rho"]), curve(m["transport"]["zero"])
    share = np.cumsum(np.nan_to_num(curve(m["budget"]["by_lag"])))
    rows = [
        [str(k), number(rho[k]), percent(zero[k]),
         percent(share[k - 1]) if 0 < k <= len(share) else "–"]
        for k in range(0, len(rho), _every(len(rho)))
    ]  # fmt: skip
    return table("table_lags", ("lag", "rho", "rho_zero", "cumulative"), rows)


def _units(m: Measured) -> Markup:
    held, gates = m["census"], m["gates"]
    columns: list[str | Markup] = ["unit", "class", "on", "off_low", "off_high", "gradient"]
    shares = [held["on"], held["saturated_low"], held["saturated_high"]]
    more: list[list[str]] = []
    if gates is not None:
        columns.append("time_scale")
        more.append([steps(v) for v in gates["time_scale"]])
        for gate in gates["open"]:
            columns += [told("column_shut", gate=gate), told("column_open", gate=gate)]
            more += [[percent(v) for v in gates[end][gate]] for end in ("closed", "open")]
    rows = [
        [str(unit), told(f"class_{label}"), *(percent(share[unit]) for share in shares),
         number(held["gradient"][unit]), *(column[unit] for column in more)]
        for unit, label in enumerate(held["label"])
    ]  # fmt: skip
    return table("table_units", columns, rows)


def _usage(used: Mapping[str, Any]) -> Markup:
    rows = []
    for place, held in used.items():
        edges = curve(held["edges"])
        for centre, *values in zip(
            (edges[1:] + edges[:-1]) / 2, *(held[name] for name in ("density", "value", "slope")),
            strict=True,
        ):  # fmt: skip
            rows.append([place, number(centre), *map(number, values)])
    columns = ("place", "preactivation", "density", "phi", "phi_slope")
    return table("table_usage", columns, rows)


def _lag_map(m: Measured) -> Markup:
    norm, every = matrix(m["lag_map"]["norm"]), _every(m["steps"])
    rows = [[str(t), *map(number, norm[:, t])] for t in range(0, m["steps"], every)]
    columns = [told("column_from", step=step) for step in m["lag_map"]["steps"]]
    return table("table_lag_map", ["step", *columns], rows)


def _ranks(m: Measured) -> Markup:
    values = m["one_step"]["singular_values"] if m["one_step"] is not None else {}
    found = m["lyapunov"] or {}
    columns = [values.get(name, ()) for name in ("median", "low", "high")]
    columns += [found.get(name, ()) for name in ("exponents", "error")]
    rows = [
        [str(rank), *map(number, row)] for rank, row in enumerate(zip_longest(*columns), start=1)
    ]
    heads = ("rank", "singular", "smallest", "largest", "exponent", "error")
    return table("table_ranks", heads, rows)


def _forecast(m: Measured) -> Markup:
    own = {"horizon": m["transport"]["horizon"]["value"], "shares": m["shares"]}
    rows = [
        [
            name,
            steps(found["horizon"]),
            both({k: classes(found["shares"], k) for k in LANGUAGES}),
        ]
        for name, found in {m["activation"]: own, **m["counterfactual"]}.items()
    ]
    return table("table_forecast", ("activation", "horizon", "classes"), rows)


def _every(count: int) -> int:
    return max(1, -(-count // _MOST_ROWS))


def _thinned(every: int) -> Markup:
    return told("table_thinned", n=every) if every > 1 else Markup("")
