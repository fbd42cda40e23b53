"""One finding: a sentence, its number, the rule it was judged by, the place, what to change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from throughtime.language import say

# what stands first caused what stands below it, where both are found
CAUSES = (
    "update_large",
    "clipped_away",
    "dead",
    "saturated",
    "forgets",
    "explodes",
    "state_not_finite",
    "gradient_not_finite",
    "unread",
    "cut",
    "vanishes",
    "update_small",
)


_LESS_IS_WORSE = {"clipped_away", "forgets", "vanishes", "update_small"}
_BY_PLACE = {"state_not_finite", "gradient_not_finite", "unread"}


@dataclass(frozen=True)
class Finding:
    """Something found wrong, judged against a reference and the lag the task needs.

    Attributes:
        cause: one of ``CAUSES``.
        place: key of the record, or the name of the weights.
        number: what was measured.
        reference: the same in the reference ensemble, or the bound of the rule.
        fields: what the texts mention.
        advice: which suggestion fits, an entry of the catalogue.
        said: which sentence fits, where a cause has several.
    """

    cause: str
    place: str
    number: float
    reference: float
    fields: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""
    said: str = ""

    def sentence(self, language: str | None = None) -> str:
        """What was found, with its number."""
        return self._say(self.said or f"finding_{self.cause}", language)

    def rule(self, language: str | None = None) -> str:
        """What it was judged by."""
        return self._say(f"rule_{self.cause}", language)

    def suggestion(self, language: str | None = None) -> str:
        """What to change."""
        return self._say(self.advice or f"advice_{self.cause}", language)

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence()} {self.suggestion()}"

    def to_dict(self, language: str | None = None) -> dict[str, object]:
        """Values and texts, as JSON."""
        texts = {name: getattr(self, name)(language) for name in ("sentence", "rule", "suggestion")}
        return {**asdict(self), **texts}

    def _say(self, entry: str, language: str | None) -> str:
        return say(f"gradients.{entry}", language=language, place=self.place, **self.fields)


def folded(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one kind together, the worst place first; causes before consequences as given.

    Of one kind are findings of the same cause with the same suggestion but for its numbers.
    """
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for found in findings:
        kinds.setdefault((found.cause, found.advice), []).append(found)
    return [sorted(alike, key=_rank) for alike in kinds.values()]


def _rank(found: Finding) -> float:
    if found.cause in _BY_PLACE:
        return 0.0
    return found.number if found.cause in _LESS_IS_WORSE else -found.number
