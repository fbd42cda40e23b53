"""One finding: a sentence, its number, the rule it was judged by, the place, what to change."""

from __future__ import annotations

from collections.abc import Mapping
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
