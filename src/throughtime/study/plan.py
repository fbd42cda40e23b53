"""The plan of a study: everything that decides its runs, written down before data is touched."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.stats import qmc

from throughtime.errors import PlanError
from throughtime.language import entries
from throughtime.study.arms import name_of
from throughtime.study.records import Phase
from throughtime.tasks.preprocessing import Scaling

DEFAULT_ARMS = ("tanh", "relu", "leaky_relu", "elu", "gelu", "softsign", "identity")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Space(_Strict):
    """What is tuned: the rate on a logarithmic scale, the others among choices."""

    rate: tuple[float, float] = (3e-4, 3e-2)
    start: tuple[str, ...] = ("orthogonal", "identity", "uniform", "critical")
    clip: tuple[float, ...] = (1.0, 10.0)
    scaling: tuple[Scaling, ...] = ("standard", "minmax")

    @model_validator(mode="after")
    def _sound(self) -> Space:
        low, high = self.rate
        if not 0 < low < high < math.inf:
            raise PlanError("plan.rate", given=self.rate)
        if not (self.start and self.clip and self.scaling):
            raise PlanError("plan.no_choice")
        return self

    def design(self, points: int, seed: int) -> list[dict[str, float | str]]:
        """``points`` Sobol points of the space; a longer design begins with a shorter one."""
        low, high = self.rate
        draws = qmc.Sobol(4, scramble=True, rng=seed).random(2 ** max(0, (points - 1).bit_length()))
        return [
            {
                "rate": low * (high / low) ** float(u[0]),
                "start": self.start[int(u[1] * len(self.start))],
                "clip": self.clip[int(u[2] * len(self.clip))],
                "scaling": self.scaling[int(u[3] * len(self.scaling))],
            }
            for u in draws[:points]
        ]

    def borders(self) -> dict[str, Any]:
        """Each tuned quantity with its range or its choices."""
        return {
            "rate": self.rate,
            "start": self.start,
            "clip": self.clip,
            "scaling": self.scaling,
        }


class Plan(_Strict):
    """A whole study, before it starts.

    Attributes:
        data: source and reading options, as the person gave them.
        asked: what else the person asked for, the budget among it; the same request goes on with
            this plan.
        arms: see :func:`throughtime.study.arms.activation_of` for how they are written.
        cells: recurrent cells; each arm is run in each of them.
        reference: the arm that the others are compared with.
        hidden_size, num_layers, bidirectional: the network.
        space, points: what is tuned, and how many points of it every arm gets.
        epochs, patience, batch_size: the stopping rule and the size of a step.
        tuning_seeds, evaluation_seeds: how many; the two sets are disjoint.
        smallest_difference: the least difference of the metric that matters; the metric's default
            where None.
        level: confidence level of the whole comparison.
        seed: start of all seeds and of the design.
    """

    data: dict[str, Any]
    asked: dict[str, Any] = {}
    arms: tuple[str, ...] = DEFAULT_ARMS
    cells: tuple[Literal["rnn", "gru", "lstm"], ...] = ("rnn",)
    reference: str = "tanh"
    hidden_size: int = Field(32, ge=1)
    num_layers: int = Field(1, ge=1)
    bidirectional: bool = False
    space: Space = Space()
    points: int = Field(8, ge=1)
    epochs: int = Field(30, ge=1)
    patience: int = Field(10, ge=1)
    batch_size: int = Field(64, ge=1)
    tuning_seeds: int = Field(1, ge=1)
    evaluation_seeds: int = Field(10, ge=2)
    smallest_difference: float | None = Field(None, gt=0)
    level: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _sound(self) -> Plan:
        names = [name_of(arm) for arm in self.arms]
        if len(set(names)) != len(names):
            raise PlanError("plan.arm_twice", arms=", ".join(names))
        if self.reference not in names:
            raise PlanError("plan.reference", given=self.reference, arms=", ".join(names))
        return self

    @classmethod
    def of(cls, **fields: Any) -> Plan:
        """A plan, or a PlanError in the person's own names."""
        try:
            return cls(**fields)
        except ValidationError as failure:
            raise _in_own_words(failure) from None

    @property
    def hash(self) -> str:
        """SHA-256 of the plan's content."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the plan as TOML."""
        path.write_text(tomli_w.dumps(_without_none(self.model_dump(mode="json"))), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan written by :meth:`save`, or by hand."""
        try:
            fields = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failure:
            raise PlanError("plan.unreadable", file=str(path), reason=failure) from None
        return cls.of(**fields)

    def specifications(self, phase: Phase, chosen: dict[str, int] | None = None) -> Iterator[Run]:
        """The runs of a phase, ordered so that all arms advance together.

        ``chosen`` gives each arm's point in the evaluation phase.
        """
        cells = [(arm, cell) for cell in self.cells for arm in self.arms]
        if phase == "tune":
            for point in range(self.points):
                for k in range(self.tuning_seeds):
                    for arm, cell in cells:
                        yield self._run(arm, cell, phase, point, _seed(self.seed, 0, k))
        else:
            assert chosen is not None
            for k in range(self.evaluation_seeds):
                for arm, cell in cells:
                    point = chosen[self.name(arm, cell)]
                    yield self._run(arm, cell, phase, point, _seed(self.seed, 1, k))

    def name(self, arm: str, cell: str) -> str:
        """How an arm is called in tables: with its cell where there are several."""
        return name_of(arm) if len(self.cells) == 1 else f"{cell}-{name_of(arm)}"

    @property
    def arm_count(self) -> int:
        """Arms times cells."""
        return len(self.arms) * len(self.cells)

    @property
    def runs(self) -> int:
        """Networks to be trained in both phases."""
        return self.arm_count * (self.points * self.tuning_seeds + self.evaluation_seeds)

    @property
    def reference_arm(self) -> str:
        """The reference's name in tables, in the first cell."""
        return self.name(self.reference, self.cells[0])

    def _run(self, arm: str, cell: str, phase: Phase, point: int, seed: int) -> Run:
        return Run(self.hash, self.name(arm, cell), arm, cell, phase, point, seed)


@dataclass(frozen=True)
class Run:
    """The specification of one run; its key decides whether it was done already."""

    plan: str
    arm: str
    formula: str
    cell: str
    phase: Phase
    point: int
    seed: int

    @property
    def key(self) -> str:
        """SHA-256 of the specification."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def _seed(base: int, role: int, k: int) -> int:
    """Seeds of tuning (role 0) and evaluation (role 1) never meet."""
    return 1_000_003 * base + 2 * k + role


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(v) for key, v in value.items() if v is not None}
    return value


def _in_own_words(failure: ValidationError) -> PlanError:
    """The first thing that keeps a plan from being one, with the person's own value."""
    first = failure.errors()[0]
    limits = first.get("ctx", {})
    if isinstance(error := limits.get("error"), PlanError):
        return error
    argument = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return PlanError("plan.unknown_argument", argument=argument, given=repr(first["input"]))
    key = first["type"] if first["type"] in entries("plan") else "unsound"
    fields = {"argument": argument, "given": repr(first["input"]), "reason": first["msg"]}
    return PlanError(f"plan.{key}", **fields | limits)
