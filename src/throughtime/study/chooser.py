"""The main job: a person's sequences in, the recurrent activation to use and its model out."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from throughtime.activations import Activation
from throughtime.errors import LedgerError, PlanError
from throughtime.files import whole
from throughtime.study import run as runner
from throughtime.study.arms import written
from throughtime.study.budget import Cost, measure, seconds_of, sized
from throughtime.study.carry import Carrier, check, single_threaded
from throughtime.study.flow import best_run, with_why
from throughtime.study.judge import judge
from throughtime.study.ledger import Ledger
from throughtime.study.plan import DEFAULT_ARMS, Plan, Space
from throughtime.study.records import Phase, Record
from throughtime.study.result import StudyResult, choice_json, result_from_json
from throughtime.tasks import Task, load

if TYPE_CHECKING:
    import polars as pl

    from throughtime.fleet.saved import SavedModel

SIZE = ("points", "epochs", "patience", "tuning_seeds", "evaluation_seeds")
_PARTIAL = ".partial"
_VERSIONS = ("throughtime", "torch", "numpy", "numba", "scipy", "arch")


class Listener(Protocol):
    """Who is told what happens while a study runs; the command line prints it."""

    def understood(self, task: Task) -> None:
        """The data were read."""

    def planned(self, plan: Plan, expected: float | None, resumed: int) -> None:
        """The plan stands; ``expected`` seconds, ``resumed`` runs done already."""

    def advanced(self, phase: Phase, done: int, total: int) -> None:
        """A run ended."""


class _Silent:
    def understood(self, task: Task) -> None: ...
    def planned(self, plan: Plan, expected: float | None, resumed: int) -> None: ...
    def advanced(self, phase: Phase, done: int, total: int) -> None: ...


@dataclass(frozen=True, eq=False)
class Choice:
    """What a study found, and the folder it stands in.

    Attributes:
        result: verdicts, records, plan, versions.
        folder: holds ``choice.json``, ``report.html``, ``ledger.sqlite``, ``plan.toml``, ``model``.
    """

    result: StudyResult
    folder: Path

    @property
    def recommended(self) -> str:
        """The arm to use."""
        return self.result.judgement.recommended

    @property
    def answer(self) -> str:
        """The recommendation in one sentence with its reason."""
        from throughtime.study.wording import answer

        return answer(self.result.judgement)

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row an arm, by rank: verdict, score, difference, interval, p, stability, cost."""
        import polars as pl

        return pl.DataFrame(
            [
                {
                    "rank": a.rank,
                    "arm": a.arm,
                    "verdict": a.verdict,
                    self.result.judgement.metric: a.score,
                    "low": a.score_interval.low,
                    "high": a.score_interval.high,
                    "difference": a.difference,
                    "difference_low": a.difference_interval and a.difference_interval.low,
                    "difference_high": a.difference_interval and a.difference_interval.high,
                    "p_holm": a.p_holm,
                    "win_probability": a.win_probability,
                    "in_best_set": a.in_best_set,
                    "diverged": a.diverged,
                    "runs": a.runs,
                    "seconds_per_step": a.seconds_per_step,
                }
                for a in self.result.judgement.arms
            ],
            infer_schema_length=None,
        )

    @cached_property
    def model(self) -> SavedModel:
        """The trained network of the recommended arm, with its preprocessing."""
        from throughtime.fleet.saved import SavedModel

        return SavedModel.load(self.folder / "model")

    def report(self, path: str | Path, *, language: Literal["en", "zh"] | None = None) -> Path:
        """Write the page of the study."""
        from throughtime.report import write

        return write(self.result, Path(path), language=language)


def choose(
    source: Any,
    *,
    arms: Sequence[str | Activation] = DEFAULT_ARMS,
    cells: Sequence[str] = ("rnn",),
    reference: str = "tanh",
    out: str | Path | None = None,
    budget: str | float | None = None,
    hidden_size: int = 32,
    num_layers: int = 1,
    bidirectional: bool = False,
    space: Space | dict[str, Any] | None = None,
    points: int | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    batch_size: int = 64,
    tuning_seeds: int | None = None,
    evaluation_seeds: int | None = None,
    smallest_difference: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    workers: int | None = None,
    ledger: str | None = None,
    listener: Listener | None = None,
    **data: Any,
) -> Choice:
    """Say which activation to use in the recurrent layer for these sequences, with evidence.

    Every arm is tuned over the same points on a validation block and then evaluated at its best
    point over fresh paired seeds on a test block that nothing else looked at. The same call goes
    on where an interrupted one stopped, if ``out`` is given.

    Args:
        source: file, built-in set, frame or arrays; with ``data`` handed to
            :func:`throughtime.tasks.load` (``target=``, ``series=``, ``horizon=`` and so on).
        arms: activations to compare: names, formulas (``"mine = x*sigmoid(x)"``) or Activations.
        cells: ``"rnn"``, ``"gru"``, ``"lstm"``; each arm is run in each.
        reference: the arm the others are compared with.
        out: folder of the results; a temporary one by default.
        budget: wall time to be kept to, such as ``"3m"``: sizes points, seeds and epochs. Without
            it 8 points, 10 evaluation seeds and at most 30 epochs.
        hidden_size: units of a recurrent layer.
        num_layers: recurrent layers above each other.
        bidirectional: read the sequence both ways.
        space: what is tuned, see :class:`throughtime.study.plan.Space`.
        points: tuning points an arm; like the next four not together with ``budget``.
        epochs: at most so many a run.
        patience: epochs without a better validation score after which a run stops.
        tuning_seeds: runs a tuning point.
        evaluation_seeds: paired runs an arm at its best point.
        batch_size: sequences a training step.
        smallest_difference: of the metric, the least that matters; the metric's default if None.
        level: confidence level.
        seed: of everything drawn.
        workers: processes; one a core by default.
        ledger: URL of a database to share with other machines; a file in ``out`` by default.
        listener: told what happens on the way.
        data: options of :func:`throughtime.tasks.load`.

    Raises:
        DataError, PlanError, ActivationError, LedgerError: what was given cannot be used; nothing
            is written then.

    Example:
        >>> choice = choose("data.csv", target="label", out="out")  # doctest: +SKIP
        >>> choice.recommended, choice.report("report.html"), choice.model  # doctest: +SKIP
    """
    listener = listener or _Silent()
    began = time.time()
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise PlanError("study.workers", workers=workers)
    size = {
        "points": points,
        "epochs": epochs,
        "patience": patience,
        "tuning_seeds": tuning_seeds,
        "evaluation_seeds": evaluation_seeds,
    }
    size = {name: value for name, value in size.items() if value is not None}
    seconds = None if budget is None else seconds_of(budget)
    if seconds is not None and size:
        raise PlanError("study.budget_and_size", size=", ".join(size))
    first = Plan.of(
        data=_described(source, data),
        asked={} if budget is None else {"budget": str(budget)},
        arms=tuple(a if isinstance(a, str) else written(a) for a in arms),
        cells=tuple(cells),
        reference=reference,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        space=space if space is not None else Space(),
        batch_size=batch_size,
        smallest_difference=smallest_difference,
        level=level,
        seed=seed,
        **size,
    )
    task = load(source, **data)
    first = _with_scaling_that_acts(first, task)
    check(first, task)
    earlier = None if out is None else _earlier(Path(out), first)
    listener.understood(task)
    cost: Cost | None = None
    plan = earlier
    if plan is None:
        cost = measure(first, task, workers)
        plan = first if seconds is None else sized(first, cost, seconds)
    folder = Path(tempfile.mkdtemp(prefix="throughtime-")) if out is None else Path(out)
    plan = _settled(plan, folder)
    book = _ledger(folder, ledger, plan, task)
    expected = None if cost is None else cost.seconds(plan)
    listener.planned(plan, expected, len(book.records(plan.hash)))
    records = runner.run(plan, task, book, workers=workers, watch=listener.advanced)
    result = with_why(_judged(plan, task, records, took=time.time() - began))
    _hand_over(result, plan, task, folder)
    book.close()
    return Choice(result, folder)


def reopen(folder: str | Path) -> Choice:
    """The choice that stands in a folder, read from its files.

    Raises:
        PlanError: no finished study stands there.
    """
    folder = Path(folder)
    try:
        choice = json.loads((folder / "choice.json").read_text("utf-8"))
    except FileNotFoundError:
        raise PlanError("study.not_finished", folder=str(folder)) from None
    except ValueError as broken:
        raise PlanError("study.broken", folder=str(folder), reason=broken) from None
    plan = Plan.load(folder / "plan.toml")
    book = Ledger(choice.get("ledger") or folder / "ledger.sqlite")
    records = tuple(book.records(plan.hash))
    book.close()
    result = result_from_json(choice, plan=_plain(plan), records=records)
    return Choice(with_why(result), folder)


def _described(source: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Source and reading options as they can be saved."""
    shown = str(source) if isinstance(source, (str, Path)) else f"<{type(source).__name__}>"
    plain = (str, int, float, bool, list, tuple)
    options = {
        key: value if isinstance(value, plain) else f"<{type(value).__name__}>"
        for key, value in sorted(data.items())
        if value is not None
    }
    return {"source": shown, **options}


def _with_scaling_that_acts(plan: Plan, task: Task) -> Plan:
    """Symbols and switches (features of 0 and 1) are not scaled, so there is nothing to tune."""
    if task.problem != "next_token" and not np.isin(task.x, (0.0, 1.0)).all():
        return plan
    return plan.model_copy(update={"space": plan.space.model_copy(update={"scaling": ("none",)})})


def _earlier(folder: Path, first: Plan) -> Plan | None:
    """The plan that stands in the folder, if it is the same request's."""
    if not (folder / "plan.toml").exists():
        if folder.exists() and not folder.is_dir():
            raise PlanError("study.not_a_folder", folder=str(folder))
        if folder.exists() and any(f.suffix != _PARTIAL for f in folder.iterdir()):
            raise PlanError("study.folder_in_use", folder=str(folder))
        return None
    plan = Plan.load(folder / "plan.toml")
    kept = {name: getattr(plan, name) for name in SIZE} if "budget" in first.asked else {}
    wanted = first.model_copy(update=kept)
    if plan != wanted:
        fields = type(plan).model_fields
        differing = [f for f in fields if getattr(plan, f) != getattr(wanted, f)]
        raise PlanError("study.other_study", folder=str(folder), differing=", ".join(differing))
    return plan


def _settled(plan: Plan, folder: Path) -> Plan:
    """The plan in the folder: this one, or that of a process which was there a moment before."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"plan.{os.getpid()}{_PARTIAL}"
    plan.save(beside)
    try:
        os.link(beside, folder / "plan.toml")
    except FileExistsError:
        return _earlier(folder, plan) or plan
    finally:
        beside.unlink()
    return plan


def _ledger(folder: Path, address: str | None, plan: Plan, task: Task) -> Ledger:
    """The ledger, once it is sure that the data are those of its earlier runs."""
    book = Ledger(address or folder / "ledger.sqlite")
    known = [fields["data"] for event, fields in book.events(plan.hash) if event == "data"]
    if known and known[0] != task.fingerprint:
        raise LedgerError("study.data_changed", source=plan.data["source"], folder=str(folder))
    if not known:
        book.note(plan.hash, "data", data=task.fingerprint)
    return book


def _plain(plan: Plan) -> dict[str, Any]:
    return plan.model_dump(mode="json")


def _judged(plan: Plan, task: Task, records: list[Record], took: float) -> StudyResult:
    metric = task.metric
    judgement = judge(
        records,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        reference=plan.reference_arm,
        smallest_difference=plan.smallest_difference or metric.smallest_difference,
        level=plan.level,
        baselines=task.baselines(task.split(0)),
        space=plan.space.borders(),
        seed=plan.seed,
    )
    spent: dict[str, float] = {}
    for record in records:
        steps = record.steps_per_epoch * len(record.train_curve)
        spent[record.arm] = spent.get(record.arm, 0.0) + steps * record.seconds_per_step
    return StudyResult(
        title=task.name,
        problem=task.problem,
        judgement=judgement,
        records=tuple(records),
        plan=_plain(plan),
        plan_hash=plan.hash,
        data_notes=task.notes,
        versions={"python": platform.python_version(), **{p: version(p) for p in _VERSIONS}},
        timings={"total": took, "arms": spent},
    )


def _hand_over(result: StudyResult, plan: Plan, task: Task, folder: Path) -> None:
    """Model, report and choice, each written beside and moved into place, the choice last."""
    from throughtime.fleet.saved import SavedModel
    from throughtime.report import write

    judgement = result.judgement
    best = best_run(result, judgement.recommended)
    if best is not None:
        sign = 1 if judgement.higher_is_better else -1
        points = {r.arm: r.point for r in result.records if r.phase == "evaluate"}
        runs = {run.key: run for run in plan.specifications("evaluate", points)}
        curve = [sign * score for score in best.validation_curve]
        with single_threaded():
            carrier = Carrier(plan, task)
            outcome, prepared = carrier.train(runs[best.key], curve.index(max(curve)) + 1)
        about = {
            "data": result.title,
            "arm": best.arm,
            "activation": best.activation,
            "cell": best.cell,
            "tuned": best.values,
            "seed": best.seed,
            "metric": judgement.metric,
            "validation_score": best.validation_score,
            "test_score": best.test_score,
            "plan": plan.hash,
        }
        saved = SavedModel(outcome.model, prepared.preprocessing, task.reader, about)
        saved.save(folder / "model")
    write(result, folder / "report.html")
    text = json.dumps(choice_json(result), indent=2, ensure_ascii=False, allow_nan=False)
    with whole(folder / "choice.json") as beside:
        beside.write_text(text + "\n", "utf-8")
