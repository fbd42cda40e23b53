"""What a person may say about a source, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.preprocessing import PROBLEMS, Problem

Missing = Literal["error", "drop", "interpolate"]
MISSING: tuple[Missing, ...] = get_args(Missing)

_COUNTS = {"horizon": 1, "window": 1, "stride": 1, "max_windows": 1, "season": 2}


@dataclass(frozen=True, eq=False)
class Options:
    """The keyword options of ``load``; see there."""

    target: Any = None
    series: str | None = None
    time: str | None = None
    features: Sequence[str] | str | None = None
    problem: Problem | None = None
    horizon: int | None = None
    window: int | None = None
    stride: int | None = None
    max_windows: int | None = None
    season: int | None = None
    relative: bool | None = None
    group: str | None = None
    split_column: str | None = None
    lengths: Any = None
    missing: Missing = "error"
    test: Any = None
    test_share: float | None = None
    validation_share: float | None = None
    name: str | None = None

    def __post_init__(self):
        if self.problem is not None:
            _one_of("problem", self.problem, PROBLEMS)
        _one_of("missing", self.missing, MISSING)
        if self.relative is not None:
            _one_of("relative", self.relative, (True, False))
        for option, least in _COUNTS.items():
            value = getattr(self, option)
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if value is not None and not (whole and value >= least):
                raise DataError("tasks.bad_count", option=option, value=value, least=least)
        for option in ("test_share", "validation_share"):
            value = getattr(self, option)
            if value is not None and not (isinstance(value, (int, float)) and 0 < value < 1):
                raise DataError("tasks.bad_share", option=option, value=value)
        if (self.test_share or 0) + (self.validation_share or 0) >= 1:
            raise DataError(
                "tasks.bad_shares", test=self.test_share, validation=self.validation_share
            )
        if self.horizon and self.problem not in (None, "forecast"):
            raise DataError("tasks.without_effect_problem", option="horizon", problem=self.problem)

    def given(self) -> list[str]:
        """The options that were said."""
        return [
            f.name
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
            and not (isinstance(value, str) and value == f.default)
        ]

    def refuse(self, kind: str, *without_effect: str) -> None:
        """An option that can have no effect on a ``kind`` of source or problem is an error.

        Raises:
            DataError: one of ``without_effect`` was given.
        """
        for option in self.given():
            if option in without_effect:
                raise DataError(f"tasks.without_effect_{kind}", option=option)

    def only(self, kind: str, *effective: str) -> None:
        """Options other than ``effective`` are an error, as for :meth:`refuse`."""
        self.refuse(kind, *(f.name for f in fields(self) if f.name not in effective))

    def names(self, option: str) -> tuple[str, ...]:
        """Column names given as one name, several separated by commas, or a list."""
        value = getattr(self, option)
        if value is None:
            return ()
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")] if "," in value else [value]
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise DataError("tasks.not_column_names", option=option, value=value)
        return tuple(dict.fromkeys(value))

    def shares(self, test: float = 0.2, validation: float = 0.2) -> dict[str, Any]:
        """Shares as given, else these, as fields of a task."""
        return {
            "test_share": self.test_share or test,
            "validation_share": self.validation_share or validation,
        }


def _one_of(option: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        names = ", ".join(map(str, known))
        raise DataError("tasks.unknown_choice", option=option, value=value, known=names)
