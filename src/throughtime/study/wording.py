"""Judgements in words, for the terminal, ``choice.json`` and the report alike."""

from __future__ import annotations

from throughtime.language import say
from throughtime.study.verdict import Judgement


def answer(judgement: Judgement, language: str | None = None) -> str:
    """The recommendation in one sentence with its reason.

    Example:
        >>> answer(judgement, "en")  # doctest: +SKIP
        'Use elu: accuracy 0.942 against 0.915 with tanh over 10 paired seeds (...).'
    """
    kinds = {"metric": "metric", "baseline": "baseline"}
    fields = {
        name: known(kinds[name], str(value), language) if name in kinds else value
        for name, value in judgement.reason_fields.items()
    }
    return say(f"judge.{judgement.reason}", language, **fields)


def known(kind: str, name: str, language: str | None = None) -> str:
    """``report.KIND_NAME`` of the catalogue, else ``name`` itself."""
    try:
        return say(f"report.{kind}_{name}", language)
    except KeyError:
        return name


def metric_name(metric: str, language: str | None = None) -> str:
    """The metric in words where the catalogue knows it, else as it is called."""
    return known("metric", metric, language)
