"""The command line: parses, calls, prints."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from throughtime import __version__
from throughtime.errors import ThroughtimeError
from throughtime.files import whole
from throughtime.language import say, use_language

if TYPE_CHECKING:
    from throughtime.study.plan import Plan
    from throughtime.study.records import Phase
    from throughtime.tasks import Task

Language = Annotated[Literal["en", "zh"] | None, Parameter(name="--lang")]

app = App(
    name="throughtime",
    version=__version__,
    help="Which recurrent activation? With evidence.",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
)
app.command("throughtime.bench.command:app", name="bench", help="Speed beside the peers installed.")


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How sequences are read.

    Attributes:
        target: column to predict; several separated by commas.
        series: column that names the series of a long table.
        time: column of times.
        features: columns the network sees, separated by commas; all others by default.
        problem: classification, regression, forecast, next_step or next_token.
        horizon: steps ahead of a forecast.
        window: steps the network sees before it predicts.
        missing: error, drop or interpolate.
    """

    target: str | None = None
    series: str | None = None
    time: str | None = None
    features: str | None = None
    problem: str | None = None
    horizon: int | None = None
    window: int | None = None
    missing: str | None = None

    def given(self) -> dict[str, Any]:
        """What was said."""
        return {name: value for name, value in vars(self).items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Splitting(Reading):
    """How they are read, cut into windows and split.

    Attributes:
        stride: steps between windows.
        max_windows: largest number of windows.
        season: steps of a season, for the seasonal naive forecast.
        group: column of groups that a split must not tear apart.
        split_column: column with train, validation and test in its cells.
        test: a second file, the given test set.
        test_share: of all rows.
        validation_share: of all rows.
    """

    stride: int | None = None
    max_windows: int | None = None
    season: int | None = None
    group: str | None = None
    split_column: str | None = None
    test: str | None = None
    test_share: float | None = None
    validation_share: float | None = None


@app.command
def choose(
    source: str,
    *,
    data: Splitting = Splitting(),
    arm: tuple[str, ...] = (),
    cell: tuple[str, ...] = ("rnn",),
    reference: str = "tanh",
    out: Path | None = None,
    budget: str | None = None,
    hidden_size: int = 32,
    num_layers: int = 1,
    bidirectional: bool = False,
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
    lang: Language = None,
    quiet: bool = False,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Say which activation to use for these sequences; leave report, ledger and model in a folder.

    Args:
        source: a file (CSV, Parquet, Arrow, .ts, .npz, .txt) or a built-in set such as digits.
        data: how the sequences are read and split.
        arm: an activation to compare, given once each: a name, or "mine = x*tanh(x)".
        cell: rnn, gru or lstm, given once each.
        reference: the arm the others are compared with.
        out: folder of the results.
        budget: wall time, such as 90s, 3m or 1h: sizes the study.
        hidden_size: units of a recurrent layer.
        num_layers: recurrent layers above each other.
        bidirectional: read the sequence both ways.
        points: tuning points an arm.
        epochs: at most so many a run.
        patience: epochs without a better validation score after which a run stops.
        batch_size: sequences a training step.
        tuning_seeds: runs a tuning point.
        evaluation_seeds: paired runs an arm at its best point.
        smallest_difference: of the metric, the least that matters.
        level: confidence level.
        seed: of everything drawn.
        workers: processes; one a core by default.
        ledger: database URL to share with other machines.
        lang: language of all that is said.
        quiet: say the recommendation only.
        json_: print choice.json and nothing else.
    """
    use_language(lang)
    from throughtime import study
    from throughtime.report import advice, ranked_table
    from throughtime.study.plan import DEFAULT_ARMS

    console = Console(quiet=quiet or json_, highlight=False)
    folder = out or Path(f"throughtime-{Path(source.partition(':')[0]).stem}")
    with _Teller(console) as teller:
        choice = study.choose(
            source,
            arms=arm or DEFAULT_ARMS,
            cells=cell,
            reference=reference,
            out=folder,
            budget=budget,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            points=points,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            tuning_seeds=tuning_seeds,
            evaluation_seeds=evaluation_seeds,
            smallest_difference=smallest_difference,
            level=level,
            seed=seed,
            workers=workers,
            ledger=ledger,
            listener=teller,
            **data.given(),
        )
    if json_:
        sys.stdout.write((folder / "choice.json").read_text("utf-8"))
        return
    judgement = choice.result.judgement
    console.print(ranked_table(judgement, width=console.width))
    console.print()
    Console(highlight=False).print(choice.answer, markup=False, style="bold")
    for sentence in advice(judgement):
        console.print(sentence, markup=False)
    console.print()
    for name in ("report.html", "model", "choice.json", "plan.toml", "ledger.sqlite"):
        if (folder / name).exists():
            told = say(f"cli.wrote_{name.partition('.')[0]}", file=folder / name)
            console.print(told, markup=False, soft_wrap=True)


@app.command
def predict(
    model: Path,
    source: str,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    lang: Language = None,
) -> None:
    """Use a chosen model on new sequences.

    Args:
        model: the folder that choose wrote, OUT or OUT/model.
        source: new sequences, of the same form as the training data.
        out: the table to write, .csv, .parquet or .json.
        lang: language of all that is said.
    """
    use_language(lang)
    from throughtime.fleet.saved import SavedModel

    writers = {".csv": "write_csv", ".parquet": "write_parquet", ".json": "write_json"}
    if out.suffix not in writers:
        raise ThroughtimeError("cli.unknown_table", file=out.name, known=", ".join(writers))
    table = SavedModel.load(model).predict(source)
    with whole(out) as beside:
        getattr(table, writers[out.suffix])(beside)
    Console(highlight=False).print(
        say("cli.predicted", rows=len(table), file=out), markup=False, soft_wrap=True
    )


@app.command
def report(folder: Path, *, out: Path | None = None, lang: Language = None) -> None:
    """Write the page of a study again, from its ledger.

    Args:
        folder: the folder that choose wrote.
        out: the page, report.html in the folder by default; .svg or .png: the chart of scores.
        lang: the language the page opens in.
    """
    use_language(lang)
    from throughtime.study import reopen

    written = reopen(folder).report(out or folder / "report.html", language=lang)
    console = Console(highlight=False)
    console.print(say("cli.wrote_report", file=written), markup=False, soft_wrap=True)


@app.command
def trace(
    model: str | None = None,
    source: str | None = None,
    *,
    lag: int | None = None,
    batch: int = 32,
    out: Path | None = None,
    costly: bool = False,
    data: Reading = Reading(),
    demo: bool = False,
    lang: Language = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """See the gradient that arrives at every time step inside a network, and what is wrong.

    Args:
        model: the folder that choose wrote, or package.module:factory, a function that makes a
            network. It is called with those of input_size, output_size, per_step and
            vocabulary_size that it names; the network takes sequences batch first, and lengths if
            its forward names them.
        source: the sequences, as for choose; a saved model knows its own columns.
        lag: how many steps back the task needs the network to look.
        batch: sequences looked at, spread over the data.
        out: a page, .html, with everything measured.
        costly: take the lag map and the Lyapunov spectrum too.
        data: how they are read.
        demo: show instead what gradients are like before training, by activation, start of W_hh,
            sign of the input and length: the textbook's claim about tanh and ReLU.
        lang: language of all that is said.
        json_: print everything as JSON and nothing else.
    """
    use_language(lang)
    from throughtime.study.subject import initial_table, subject

    if demo:
        given = [
            n for n, v in {"MODEL": model, "--out": out, "--lag": lag}.items() if v is not None
        ]
        if given:
            raise ThroughtimeError("gradients.demo_alone", given=", ".join(given))
        initial_table(as_json=json_)
        return
    if model is None:
        raise ThroughtimeError("gradients.which_model")
    if out is not None and out.suffix != ".html":
        raise ThroughtimeError("gradients.page_ending", file=out)
    looked = subject(model, source, batch, **data.given())
    found = looked.trace()
    found.findings(lag)
    written = out and found.to_html(out, lag=lag, costly=costly, title=looked.name, language=lang)
    if json_:
        sys.stdout.write(found.to_json(lag=lag, costly=costly) + "\n")
        return
    console = Console(highlight=False)
    console.print(looked.said(), markup=False, style="bold")
    console.print(found.summary(lang, lag=lag))
    if written:
        told = say("gradients.page_written", file=written)
        console.print(told, markup=False, soft_wrap=True)


@app.command
def activations(
    name: str | None = None, *, plot: Path | None = None, lang: Language = None
) -> None:
    """List the catalogue of activations, or show what follows from one formula.

    Args:
        name: a name of the catalogue, or "mine = x*tanh(x)"; all are listed without it.
        plot: draw the activation and its slope in a file, .svg, .png or .html.
        lang: language of all that is said.
    """
    use_language(lang)
    from throughtime.report import activation as shown
    from throughtime.study.arms import activation_of

    console = Console(highlight=False)
    if name is None:
        if plot is not None:
            raise ThroughtimeError("cli.plot_which", file=plot)
        console.print(shown.catalogue_table(width=console.width))
        return
    phi = activation_of(name)
    written = plot and shown.plot(phi, plot)
    console.print(shown.facts_panel(phi))
    if written:
        console.print(say("cli.wrote_plot", file=written), markup=False, soft_wrap=True)


class _Teller:
    """Prints what was understood, what is planned and how far it is."""

    def __init__(self, console: Console):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._console = console
        self._bar = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=console.quiet,
        )
        self._phases: dict[Phase, Any] = {}

    def __enter__(self) -> _Teller:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def understood(self, task: Task) -> None:
        self._console.print(task.name, style="bold", markup=False)
        for sentence in task.said():
            self._console.print(f"  {sentence}", markup=False)

    def planned(self, plan: Plan, expected: float | None, resumed: int) -> None:
        from throughtime.study.power import what_can_be_shown

        sentences = [
            say(
                "cli.planned",
                arms=plan.arm_count,
                points=plan.points,
                seeds=plan.evaluation_seeds,
                epochs=plan.epochs,
                runs=plan.runs,
            )
        ]
        if expected is not None:
            sentences.append(say("cli.expected", time=_time(expected)))
        if resumed:
            sentences.append(say("cli.resumed", done=resumed, runs=plan.runs))
        key, fields = what_can_be_shown(plan.evaluation_seeds, plan.arm_count - 1, plan.level)
        for sentence in [*sentences, say(key, **fields)]:
            self._console.print(f"  {sentence}", markup=False)
        self._bar.start()

    def advanced(self, phase: Phase, done: int, total: int) -> None:
        if phase not in self._phases:
            self._phases[phase] = self._bar.add_task(say(f"cli.{phase}"), total=total)
        self._bar.update(self._phases[phase], completed=done)
        if phase == "evaluate" and done == total:
            self._bar.stop()


def _time(seconds: float) -> str:
    if seconds < 90:
        return say("cli.seconds", count=f"{seconds:.0f}")
    if seconds < 5400:
        return say("cli.minutes", count=f"{seconds / 60:.1f}")
    return say("cli.hours", count=f"{seconds / 3600:.1f}")


def main() -> None:
    """Run the command line; what a person can mend is said without a traceback, exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without φ shows ? in its place
            stream.reconfigure(errors="replace")
    try:
        app()
    except CycloptsError:  # the usage was wrong, and that has been said
        sys.exit(2)
    except ThroughtimeError as error:
        Console(stderr=True, highlight=False).print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        studied = sys.argv[1:2] == ["choose"]  # what alone keeps its runs
        said = say("cli.interrupted_study" if studied else "cli.interrupted")
        Console(stderr=True, highlight=False).print(said, markup=False)
        sys.exit(130)
