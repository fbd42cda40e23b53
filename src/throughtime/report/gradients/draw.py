"""Drawings as SVG: a plot with its axes, lines, bands, bars and cells.

A drawing speaks one language and has fixed colours, to be saved as a file, or holds both languages
and the colours of the page, which then shows one and follows light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape

from throughtime.language import LANGUAGES, say
from throughtime.report.gradients.figures import Curve, number, power
from throughtime.report.palette import FOLLOWING, FONT, LIGHT, Palette
from throughtime.report.tables import TAGS

_POINTS = 900
_ROW = 16

DASHES = {"solid": "", "dashed": "7 3", "dotted": "2 3", "mixed": "8 3 2 3", "points": "0.1 4.5"}
_ROUND = ("solid", "points")


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a colour of the palette, how it is drawn, an entry of the catalogue.

    ``name`` is shown as it stands where there is no ``entry``.
    """

    colour: str
    entry: str = ""
    name: str = ""
    form: str = "line"
    dash: str = "solid"


@dataclass(frozen=True)
class Scale:
    """From values to pixels, linear or logarithmic; values beyond its ends are held at them."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, values: Curve | float) -> Curve:
        """Pixels of the values; NaN for NaN and, on a logarithmic scale, for 0."""
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            given = np.asarray(values, dtype=float)
            at = np.where(given > 0, np.log(given), np.nan) if self.log else given
            share = np.clip((at - low) / (high - low), 0, 1)
        return self.start + share * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values, about ``count`` of them."""
        if self.log:
            low = math.ceil(math.log10(self.low) - 1e-9)
            high = math.floor(math.log10(self.high) + 1e-9)
            step = max(1, -(-(high - low) // max(1, count - 1)))
            return [float(f"1e{k}") for k in range(low, high + 1, step)]
        rough = (self.high - self.low) / max(1, count)
        base = 10.0 ** math.floor(math.log10(rough))
        step = next(m * base for m in (1, 2, 5, 10) if m * base >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def span(
    curves: Iterable[Curve], *, log: bool = False, at_least: Sequence[float] = ()
) -> tuple[float, float]:
    """The range that holds all finite values, decades for a logarithmic scale; never empty."""
    given = np.concatenate([np.ravel(c) for c in curves] + [np.asarray(at_least, dtype=float)])
    kept = given[np.isfinite(given) & (given > 0 if log else True)]
    if not len(kept):
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(kept.min()), float(kept.max())
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return 10.0 ** max(first, -307), 10.0 ** min(max(last, first + 1), 308)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        return low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return low, high


@dataclass
class Plot:
    """One plot in the making.

    Attributes:
        width, height: of the whole, in pixels of its own.
        x, y: ranges of the two axes.
        log_x, log_y: which are logarithmic.
        language: ``"en"`` or ``"zh"``; None for both, of which the page shows one.
        ink: colours; by default those of the page where the language is, else fixed ones.
        margins: left, top, right, bottom.
        time, training: whether x is the time step or the step of training, so that the page
            links the plot with the others.
        rise: how far the drawing reaches above its top, for a legend of several rows.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    log_y: bool = False
    language: str | None = None
    ink: Palette | None = None
    margins: tuple[float, float, float, float] = (58, 26, 14, 40)
    time: bool = False
    training: bool = False
    parts: list[Markup] = field(default_factory=list)
    rise: float = 0.0

    def __post_init__(self) -> None:
        left, top, right, bottom = self.margins
        self.across = Scale(*self.x, left, self.width - right, self.log_x)
        self.up = Scale(*self.y, self.height - bottom, top, self.log_y)
        self.colours = self.ink or (FOLLOWING if self.language is None else LIGHT)

    def colour(self, name: str) -> str:
        """A colour of the palette by name."""
        return getattr(self.colours, name)

    def put(self, form: str, **values: object) -> None:
        """Markup with its values filled in."""
        self.parts.append(Markup(form).format(**values))

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", colour: str = "muted",
        size: float = 11, turn: bool = False, speech: str = "", name: str = "",
    ) -> None:  # fmt: skip
        """A text that is the same in every language, or one language's of several (``speech``)."""
        self.put(
            '<text{name} x="{x:.1f}" y="{y:.1f}"{more} fill="{colour}" font-size="{size}" '
            'text-anchor="{anchor}">{text}</text>',
            x=x, y=y, text=text, anchor=anchor, colour=self.colour(colour), size=f"{size:g}",
            name=_named(name),
            more=_spoken(speech)
            + (Markup(' transform="rotate(-90 {:.1f} {:.1f})"').format(x, y) if turn else ""),
        )  # fmt: skip

    def say(self, x: float, y: float, entry: str, /, *, fields: Mapping = {}, **how) -> None:
        """An entry of the catalogue, in the drawing's language or in both."""
        for language in self._languages():
            text = say(f"traces.{entry}", language, **fields)
            self.text(x, y, text, speech="" if self.language else language, **how)

    def axes(
        self, x_title: str, y_title: str, *, fields: Mapping = {}, percent: bool = False,
        percent_x: bool = False, x_count: int = 8, y_count: int = 4,
    ) -> None:  # fmt: skip
        """Ticks, grid lines and titles; time runs to the right."""
        self.ticks(x_count, y_count, percent=percent, percent_x=percent_x)
        middle = (self.across.start + self.across.stop) / 2
        self.say(middle, self.up.start + 32, x_title, anchor="middle", fields=fields)
        if y_title:
            middle = (self.up.start + self.up.stop) / 2
            self.say(14, middle, y_title, anchor="middle", turn=True, fields=fields)

    def ticks(
        self, x_count: int = 8, y_count: int = 4, *, percent: bool = False, percent_x: bool = False
    ) -> None:
        """Ticks and grid lines; none up the side for ``y_count`` 0."""
        left, right, bottom = self.across.start, self.across.stop, self.up.start
        for v in self.up.ticks(y_count) if y_count else ():
            y = float(self.up(v))
            self._line(left, y, right, y, "line")
            self.text(left - 6, y + 3.5, _label(v, self.log_y, percent), anchor="end", size=10.5)
        for v in self.across.ticks(x_count):
            if self.time and v != round(v):
                continue
            x = float(self.across(v))
            self._line(x, bottom, x, bottom + 4, "faint")
            label = _label(v, self.log_x, percent_x)
            self.text(x, bottom + 15, label, anchor="middle", size=10.5)
        self._line(left, bottom, right, bottom, "faint")

    def line(
        self, x: Curve, y: Curve, colour: str, *, dash: str = "solid", width: float = 1.8,
        name: str = "",
    ) -> None:  # fmt: skip
        """A line, broken where a value is missing."""
        self.put(
            '<path{name} d="{d}" fill="none" stroke="{colour}" stroke-width="{width}" '
            'stroke-linejoin="round" stroke-linecap="{cap}"{dash}/>',
            name=_named(name), d=self.path(x, y), colour=self.colour(colour), width=f"{width:g}",
            cap="round" if dash in _ROUND else "butt", dash=_dashed(dash),
        )  # fmt: skip

    def path(self, x: Curve, y: Curve) -> str:
        """The path of a line, thinned to the extremes of every stretch where there are many."""
        kept = _extremes(np.asarray(y, dtype=float), _POINTS)
        px, py = self.across(np.asarray(x, dtype=float)[kept]), self.up(np.asarray(y)[kept])
        found, before = [], False
        for a, b in zip(px, py, strict=True):
            if not (np.isfinite(a) and np.isfinite(b)):
                before = False
                continue
            found.append(f"L{a:.1f},{b:.1f}" if before else f"M{a:.1f},{b:.1f}h.01")
            before = True
        return "".join(found)

    def band(self, x: Curve, low: Curve, high: Curve, colour: str, *, name: str = "") -> None:
        """The area between two lines, where both are known."""
        kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
        px, a, b = self.across(x[kept]), self.up(low[kept]), self.up(high[kept])
        a = np.where(np.isnan(a) & np.isfinite(b), self.up.start, a)
        d = "".join(_polygon(px[s], a[s], b[s]) for s in _stretches(np.isfinite(a + b)))
        self.put('<path{name} d="{d}" fill="{colour}" opacity=".18"/>',
                 name=_named(name), d=d, colour=self.colour(colour))  # fmt: skip

    def bars(
        self, x: Curve, y: Curve, colour: str, *, base: Curve | float = 0.0, width: float = 1.0,
        name: str = "",
    ) -> None:  # fmt: skip
        """Bars from ``base``, as one path; many bars share a pixel with the largest of them."""
        kept = _largest(np.asarray(y, dtype=float), _POINTS)
        wide = abs(float(self.across(self.x[0] + width)) - float(self.across(self.x[0])))
        wide = max(0.7, 0.8 * wide)
        foot = self.up(np.broadcast_to(np.asarray(base, dtype=float), np.shape(y)))[kept]
        found = []
        px, py = self.across(np.asarray(x, dtype=float)[kept]), self.up(np.asarray(y)[kept])
        for a, b, c in zip(px, py, foot, strict=True):
            if np.isfinite(a) and np.isfinite(b) and np.isfinite(c):
                found.append(f"M{a - wide / 2:.1f},{c:.1f}h{wide:.1f}V{b:.1f}h{-wide:.1f}z")
        self.put('<path{name} d="{d}" fill="{colour}"/>',
                 name=_named(name), d="".join(found), colour=self.colour(colour))  # fmt: skip

    def bar_across(
        self, y: float, value: float, colour: str, *, thick: float = 14, name: str = ""
    ) -> None:
        """A lying bar from 0 to a value."""
        if np.isfinite(value):
            start, stop = (float(self.across(v)) for v in (0.0, value))
            self.put('<path{name} d="M{x:.1f},{y:.1f}h{w:.1f}v{t}h{v:.1f}z" fill="{colour}"/>',
                     x=start, y=float(self.up(y)) - thick / 2, w=stop - start, v=start - stop,
                     t=thick, colour=self.colour(colour), name=_named(name))  # fmt: skip

    def dots(self, x: Curve, y: Curve, colour: str, *, size: float = 3.0, name: str = "") -> None:
        """A disc a point."""
        d = "".join(
            f"M{a - size:.1f},{b:.1f}a{size},{size} 0 1 0 {2 * size},0a{size},{size} 0 1 0 {-2 * size},0"  # noqa: E501
            for a, b in zip(self.across(x), self.up(y), strict=True)
            if np.isfinite(a) and np.isfinite(b)
        )
        self.put('<path{name} d="{d}" fill="{colour}"/>',
                 name=_named(name), d=d, colour=self.colour(colour))  # fmt: skip

    def whiskers(self, x: Curve, low: Curve, high: Curve, colour: str) -> None:
        """An upright stroke from low to high at every x."""
        d = "".join(
            f"M{a:.1f},{b:.1f}V{c:.1f}"
            for a, b, c in zip(self.across(x), self.up(low), self.up(high), strict=True)
            if np.isfinite(a) and np.isfinite(b) and np.isfinite(c)
        )
        self.put('<path d="{d}" fill="none" stroke="{colour}"/>', d=d, colour=self.colour(colour))

    def upright(self, x: float, colour: str, *, dash: str = "dashed", name: str = "") -> None:
        """A line over the whole height."""
        if np.isfinite(at := float(self.across(x))):
            self._line(at, self.up.start, at, self.up.stop, colour, dash, name)

    def level(self, y: float, colour: str = "faint", *, dash: str = "solid") -> None:
        """A line over the whole width."""
        if np.isfinite(at := float(self.up(y))):
            self._line(self.across.start, at, self.across.stop, at, colour, dash)

    def cells(
        self, values: Curve, colour: str, *, levels: int = 6, gap: float = 0.0,
        top: float | None = None, bottom: float | None = None, name: str = "",
    ) -> None:  # fmt: skip
        """A matrix of shares 0 to 1 as shades: row 0 on top, columns evenly over the width.

        A named matrix of one row can be drawn again by the page.
        """
        rows, columns = values.shape
        left, top = self.across.start, self.up.stop if top is None else top
        wide = (self.across.stop - left) / max(columns, 1)
        high = ((self.up.start if bottom is None else bottom) - top) / max(rows, 1)
        shade = np.nan_to_num(np.clip(np.ceil(values * levels), 0, levels)).astype(int)
        if name:
            self.put('<g{name} fill="{c}" data-strip="{y:.1f} {h:.1f} {n}">', name=_named(name),
                     c=self.colour(colour), y=top, h=high - gap, n=levels)  # fmt: skip
        for level in range(1, levels + 1):
            found = []
            for i, row in enumerate(shade == level):
                for s in _stretches(row):
                    x, w = left + s.start * wide, (s.stop - s.start) * wide
                    y = top + i * high
                    found.append(f"M{x:.1f},{y:.2f}h{w:.1f}v{high - gap:.2f}h{-w:.1f}z")
            if found:
                self.put('<path d="{d}" fill="{colour}" fill-opacity="{o}"/>', d="".join(found),
                         colour=self.colour(colour), o=f"{level / levels:.2f}")  # fmt: skip
        if name:
            self.put("</g>")

    def legend(self, keys: Sequence[Key], *, x: float | None = None, y: float = 12) -> None:
        """What is what, above the plot, in as many rows as it takes; the drawing grows upwards."""
        start = self.across.start if x is None else x
        for language in self._languages():
            self.parts.append(Markup("<g{}>").format(_spoken("" if self.language else language)))
            rows = self._rows(keys, language, start)
            for row, shown in enumerate(reversed(rows)):
                for key, text, at in shown:
                    self._sample(key, at, y - row * _ROW)
                    self.text(at + 24, y - row * _ROW + 3.5, text, colour="ink")
            self.rise = max(self.rise, (len(rows) - 1) * _ROW)
            self.parts.append(Markup("</g>"))

    def _rows(
        self, keys: Sequence[Key], language: str, start: float
    ) -> list[list[tuple[Key, str, float]]]:
        """The entries of a legend with their texts and places, a new row where one is full."""
        rows, at = [[]], start
        for key in keys:
            text = say(f"traces.{key.entry}", language) if key.entry else key.name
            if rows[-1] and at + 24 + _width(text) > self.width:
                rows.append([])
                at = start
            rows[-1].append((key, text, at))
            at += 40 + _width(text)
        return rows

    def svg(self, title: str = "", **attributes: object) -> Markup:
        """The drawing; ``title`` is what a screen reader says, without it the drawing is hidden."""
        kind = "time" if self.time else "training" if self.training else "across"
        low, high = self.x
        attributes[f"data-{kind}"] = (
            f"{self.across.start:g} {self.across.stop:g} {low:g} {high:g} "
            f"{self.up.stop:g} {self.up.start:g}"
        )
        attributes["data-up"] = (
            f"{self.up.start:g} {self.up.stop:g} {self.y[0]!r} {self.y[1]!r} {int(self.log_y)}"
        )
        label = (
            Markup('role="img" aria-label="{}"').format(title)
            if title
            else Markup('aria-hidden="true" focusable="false"')
        )
        background = Markup("")
        if self.colours is LIGHT:
            background = Markup('<rect y="{}" width="100%" height="100%" fill="{}"/>').format(
                f"{-self.rise:g}", LIGHT.paper
            )
        return Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {y:g} {w:g} {h:g}" width="{w:g}" '
            'height="{h:g}" font-family="{font}" {label}{more}>{background}{parts}</svg>'
        ).format(
            y=-self.rise, w=self.width, h=self.height + self.rise, font=FONT, label=label,
            background=background,
            more=Markup("").join(
                Markup(' {}="{}"').format(name, value) for name, value in attributes.items()
            ),
            parts=Markup("").join(self.parts),
        )  # fmt: skip

    def _languages(self) -> Iterable[str]:
        return LANGUAGES if self.language is None else (self.language,)

    def _line(
        self, x: float, y: float, x2: float, y2: float, colour: str, dash="solid", name: str = ""
    ) -> None:
        self.put(
            '<path{name} d="M{x:.1f},{y:.1f}L{x2:.1f},{y2:.1f}" fill="none" stroke="{colour}"'
            "{dash}/>",
            x=x, y=y, x2=x2, y2=y2, colour=self.colour(colour), dash=_dashed(dash),
            name=_named(name),
        )  # fmt: skip

    def _sample(self, key: Key, x: float, y: float) -> None:
        if key.form == "line":
            self._line(x, y, x + 18, y, key.colour, key.dash)
            cap = "round" if key.dash in _ROUND else "butt"
            ended = Markup(' stroke-width="2" stroke-linecap="{}"/>').format(cap)
            self.parts[-1] = Markup(str(self.parts[-1]).replace("/>", ended))
        elif key.form == "dot":
            self.put('<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{c}"/>',
                     x=x + 9, y=y, c=self.colour(key.colour))  # fmt: skip
        elif key.form == "band":
            self.put('<path d="M{x:.1f},{y:.1f}h18v8h-18z" fill="{c}" opacity=".25"/>',
                     x=x, y=y - 4, c=self.colour(key.colour))  # fmt: skip
        else:
            self.put('<path d="M{x:.1f},{y:.1f}h10v8h-10z" fill="{c}"/>',
                     x=x + 6, y=y - 4, c=self.colour(key.colour))  # fmt: skip


def _label(value: float, log: bool, percent: bool = False) -> str:
    if percent:
        return f"{100 * value:g}%".replace("-", "−")
    return power(value) if log else number(value)


def _spoken(language: str) -> Markup:
    if not language:
        return Markup("")
    return Markup(' class="{}" lang="{}"').format(language, TAGS[language])


def _named(name: str) -> Markup:
    return Markup(' data-name="{}"').format(name) if name else Markup("")


def _dashed(dash: str) -> Markup:
    return Markup(' stroke-dasharray="{}"').format(DASHES[dash]) if DASHES[dash] else Markup("")


def _width(text: str) -> float:
    """About how wide a text of 11 pixels is."""
    return sum(11.0 if ord(c) > 0x2E7F else 6.1 for c in str(escape(text)))


def _stretches(held: Curve) -> Iterator[slice]:
    """The stretches of a row over which it holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(held, dtype=int), [0]])))
    for start, stop in edges.reshape(-1, 2):
        yield slice(int(start), int(stop))


def _polygon(x: Curve, low: Curve, high: Curve) -> str:
    if len(x) == 1:
        return f"M{x[0] - 1:.1f},{low[0]:.1f}h2V{high[0]:.1f}h-2z"
    there = "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, high, strict=True))
    back = "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True))
    return f"M{there}L{back}z"


def _extremes(values: Curve, points: int) -> Curve:
    """Indices that keep the ends, the smallest and the largest of every stretch."""
    if len(values) <= points:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for part in np.array_split(np.arange(len(values)), points // 2):
        here = values[part]
        if np.isfinite(here).any():
            kept |= {int(part[np.nanargmin(here)]), int(part[np.nanargmax(here)])}
        kept |= {int(part[i]) for i in np.flatnonzero(~np.isfinite(here))[:1]}
    return np.array(sorted(kept))


def _largest(values: Curve, points: int) -> Curve:
    """Indices of the largest value of every stretch, by size."""
    if len(values) <= points:
        return np.arange(len(values))
    size = np.nan_to_num(np.abs(values))
    return np.array([p[np.argmax(size[p])] for p in np.array_split(np.arange(len(values)), points)])
