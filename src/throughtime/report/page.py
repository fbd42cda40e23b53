"""The report of a study: one HTML file that opens from disk and asks nothing of any network."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
from markupsafe import Markup

from throughtime import __version__
from throughtime.errors import ThroughtimeError
from throughtime.files import whole
from throughtime.language import LANGUAGES, say
from throughtime.report import charts, findings, numbers, rows, tables, terminal
from throughtime.report.embed import digest, embeddable, environment, text_of
from throughtime.report.palette import FOLLOWING
from throughtime.report.tables import TAGS, both, named, told
from throughtime.report.words import metric_name
from throughtime.study.result import StudyResult

_PICTURES: dict[str, dict[str, Any]] = {".svg": {}, ".png": {"ppi": 144}}


def render(result: StudyResult, *, language: str | None = None) -> str:
    """The page as HTML.

    Args:
        result: the finished study.
        language: ``"en"`` or ``"zh"`` to open in; by default the reader's browser decides. Either
            way both languages are in the page, with a switch.

    Returns:
        One HTML document with its charts, data and scripts inside. Without JavaScript the answer,
        the findings and every table can still be read.

    Raises:
        ThroughtimeError: the language is not known.

    Example:
        >>> Path("report.html").write_text(render(result), encoding="utf-8")  # doctest: +SKIP
    """
    if language is not None and language not in LANGUAGES:
        raise ThroughtimeError("language.unknown", wanted=language, known=", ".join(LANGUAGES))
    drawn = _drawn(result)
    script = text_of("report.js")
    library = _library()
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            judgement=result.judgement,
            chosen=rows.chosen(result.judgement),
            language=language,
            initial=language or "en",
            tags=TAGS,
            version=__version__,
            page_titles={k: say("report.page_title", k, title=result.title) for k in LANGUAGES},
            answer=both({k: _led(terminal.answer(result.judgement, k)) for k in LANGUAGES}),
            advice=_paired(lambda k: terminal.advice(result.judgement, k)),
            notes=[told(key, **fields) for key, fields in result.data_notes],
            deviations=[told(key, **fields) for key, fields in result.deviations],
            finding=lambda name: both({k: getattr(findings, name)(result, k) for k in LANGUAGES}),
            told=told,
            both=both,
            named=named,
            numbers=numbers,
            digits=numbers.decimals(result.judgement),
            level=findings.level(result.judgement),
            metric=lambda key, **fields: both(
                {
                    k: say(key, k, metric=metric_name(result.judgement.metric, k), **fields)
                    for k in LANGUAGES
                }
            ),
            baseline=findings.best_baseline(result.judgement),
            languages=LANGUAGES,
            tables=tables,
            drawn_in=lambda prefix: [name for name in drawn["charts"] if name.startswith(prefix)],
            style=Markup(text_of("report.css")),
            script=Markup(script),
            library=Markup(library),
            data=Markup(embeddable(drawn)),
            hashes=" ".join(f"'sha256-{digest(text)}'" for text in (library, script)),
        )
    )


def write(result: StudyResult, path: str | Path, *, language: str | None = None) -> Path:
    """Write the page to ``path``, or the chart of scores where that ends in .svg or .png.

    It is written beside and moved into place.

    Example:
        >>> write(result, "OUT/report.html")  # doctest: +SKIP
    """
    path = Path(path)
    kind = path.suffix.lower()
    with whole(path) as beside:
        if kind in _PICTURES:
            charts.scores(result, language).save(str(beside), **_PICTURES[kind])
        else:
            beside.write_text(render(result, language=language), encoding="utf-8")
    return path


def _drawn(result: StudyResult) -> dict[str, Any]:
    """Every chart in both languages; the rows and the style they share are held once."""
    arms = rows.order(result)
    makers: dict[str, Callable[[str], alt.LayerChart]] = {}
    if any(r["score"] is not None for r in rows.seeds(result)):
        makers["scores"] = lambda k: charts.scores(result, k, FOLLOWING)
    if any(r["difference"] is not None for r in rows.pairs(result)):
        makers["differences"] = lambda k: charts.differences(result, k, FOLLOWING)
    for name, maker, data in (
        ("learning", charts.learning, rows.learning(result)),
        ("tuning", charts.tuning, rows.tuning(result)),
    ):
        with_curve = {r["arm"] for r in data}
        for i, arm in enumerate(arms):
            if arm in with_curve:
                makers[f"{name}-{i}"] = lambda k, maker=maker, arm=arm: maker(
                    result, arm, k, FOLLOWING
                )
    for share in rows.shares(result):
        makers[f"stability-{share}"] = lambda k, share=share: charts.stability(
            result, share, k, FOLLOWING
        )
    for quantity in ("milliseconds", "steps"):
        makers[f"cost-{quantity}"] = lambda k, quantity=quantity: charts.cost(
            result, quantity, k, FOLLOWING
        )
    drawn: dict[str, Any] = {"config": {}, "datasets": {}, "charts": {}}
    for name, maker in makers.items():
        drawn["charts"][name] = {}
        for language in LANGUAGES:
            spec = maker(language).to_dict(validate=False)
            drawn["datasets"] |= spec.pop("datasets", {})
            drawn["config"] = spec.pop("config")
            del spec["$schema"]
            drawn["charts"][name][language] = spec
    return drawn


def _led(sentence: str) -> Markup:
    """The sentence with its first clause set off, which says what to do."""
    clause = re.match(r".{3,120}?(?:: |：)", sentence)
    if clause is None:
        return Markup('<span class="lead">{}</span>').format(sentence)
    lead, rest = clause[0].rstrip(), sentence[clause.end() :]
    return Markup('<span class="lead">{}</span> {}').format(lead, rest)


def _paired(lines: Callable[[str], list[str]]) -> list[Markup]:
    spoken = {language: lines(language) for language in LANGUAGES}
    return [
        both(dict(zip(spoken, texts, strict=True))) for texts in zip(*spoken.values(), strict=True)
    ]


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version Altair writes for."""
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
