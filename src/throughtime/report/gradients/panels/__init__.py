"""The panels of a trace: a drawing, a sentence and a table each, from plain numbers.

Every drawing is a function of what :func:`throughtime.gradients.measured.measured` gave for one
record and of a language; None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterator

from throughtime.report.gradients.panels import dynamics, flow, reach, units
from throughtime.report.gradients.panels.base import Measured, Panel

__all__ = ["PANELS", "Measured", "Panel", "forms"]


def forms(m: Measured) -> Iterator[tuple[str, Panel]]:
    """The panels of one record by name, those over time first; one a place for the activations."""
    yield from PANELS.items()
    for place in m["usage"]:
        yield f"usage_{place}", _usage_at(place)


def _usage_at(place: str) -> Panel:
    return Panel(
        lambda m, language=None: units.usage(m, place, language),
        lambda m, language: units.usage_said(m, place, language),
    )


def _nothing(m: Measured, language: str) -> str:
    return ""


PANELS: dict[str, Panel] = {
    "signal": Panel(flow.signal, flow.signal_said, timed=True, followed=True),
    "split": Panel(flow.split, flow.split_said, timed=True, followed=True),
    "paths": Panel(flow.paths, flow.paths_said, timed=True, followed=True),
    "budget": Panel(flow.budget, flow.budget_said, timed=True, followed=True),
    "barcode": Panel(units.barcode, units.barcode_said, timed=True),
    "lag_map": Panel(flow.lag_map, flow.lag_map_said, timed=True),
    "state": Panel(dynamics.state, dynamics.state_said, timed=True),
    "noise": Panel(flow.noise, flow.noise_said, timed=True, followed=True),
    "forecast": Panel(reach.forecast, reach.forecast_said, timed=True),
    "forecast_reach": Panel(reach.forecast_reach, _nothing),
    "transport": Panel(reach.transport, reach.transport_said),
    "cumulative": Panel(flow.cumulative, flow.budget_said, followed=True),
    "census": Panel(units.census, units.census_said, followed=True),
    "gate_times": Panel(units.gate_times, units.gate_times_said),
    "gate_sides": Panel(units.gate_sides, units.gate_sides_said),
    "one_step": Panel(dynamics.one_step, dynamics.one_step_said),
    "lyapunov": Panel(dynamics.lyapunov, dynamics.lyapunov_said),
}
