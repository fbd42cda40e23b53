"""One drawing of a trace as a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from throughtime.errors import TraceError
from throughtime.gradients import export
from throughtime.language import current_language
from throughtime.report.gradients.crop import cropped
from throughtime.report.gradients.panels import Measured, forms

_KINDS = (".svg", ".png")
_DOTS_PER_PIXEL = 2


def save(
    records: Mapping[str, Measured],
    path: str | os.PathLike[str],
    chart: str,
    layer: str | None,
    language: str | None,
) -> Path:
    """Save one panel of one record as ``.svg`` or ``.png``.

    Raises:
        TraceError: another kind of file, no such chart or layer, or nothing to draw.
    """
    kind = Path(path).suffix.lower()
    if kind not in _KINDS:
        raise TraceError("traces.picture_kind", path=str(path))
    layer = next(iter(records)) if layer is None else layer
    if layer not in records:
        raise TraceError("traces.no_such_layer", layer=layer, known=", ".join(records))
    shown = cropped(records[layer])
    panels = dict(forms(shown))
    if chart not in panels:
        raise TraceError("traces.no_such_chart", chart=chart, known=", ".join(panels))
    plot = panels[chart].draw(shown, language or current_language())
    if plot is None:
        raise TraceError("traces.nothing_to_draw", chart=chart, layer=layer)
    svg = str(plot.svg())
    return export.write(path, svg if kind == ".svg" else _png(svg))


def _png(svg: str) -> bytes:
    import vl_convert

    return vl_convert.svg_to_png(svg, scale=_DOTS_PER_PIXEL)
