"""The command ``throughtime bench``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import track

from throughtime.errors import BenchError
from throughtime.language import say, use_language

if TYPE_CHECKING:
    from throughtime.bench.figures import Figure
    from throughtime.bench.layers import Job, Settings

Language = Annotated[Literal["en", "zh"] | None, Parameter(name="--lang")]

app = App(
    name="bench",
    help="Speed beside the peers installed.",
    usage="Usage: throughtime bench [COMMAND] [--warm]\n",
)
app.command(
    "throughtime.bench.gradients:gradients",
    name="gradients",
    help="Time a monitor beside plain training and a full trace beside one step, in one process.",
)


@app.default
def bench(*, warm: bool = False, lang: Language = None) -> None:
    """Compile all kernels ahead of time, or say which benchmarks there are.

    Args:
        warm: compile every layer with every activation of the catalogue and keep it on disk.
        lang: language of all that is said.
    """
    use_language(lang)
    if not warm:
        app.help_print()
        return
    from throughtime.activations import names
    from throughtime.bench.warm import warm as compiling
    from throughtime.kernels.cpu.machine import cache_folder

    console = Console(highlight=False)
    console.print(say("bench.compiling", count=len(names())), markup=False)
    start = time.perf_counter()
    for _ in track(compiling(), say("bench.compile"), len(names()), console=console):
        pass
    taken, folder = f"{time.perf_counter() - start:.0f}", cache_folder()
    kept = say("bench.kept", folder=folder) if folder else say("bench.not_kept")
    console.print(say("bench.compiled", seconds=taken), kept, markup=False, soft_wrap=True)


@app.command
def layers(
    *,
    device: str = "cpu",
    threads: int = 2,
    shapes: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    cells: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    tables: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    dtype: str = "float32",
    seconds: float = 0.6,
    plot: Path | None = None,
    json_: Annotated[Path | None, Parameter(name="--json")] = None,
    lang: Language = None,
) -> None:
    """Time RNN, GRU and LSTM beside torch.nn, JAX, loops and ONNX Runtime, in one process.

    Every contender is checked against the reference in float64 in the same run; one that does not
    compute the same gets no figure. Times are medians; contenders take turns, but for JAX and ONNX
    Runtime, whose threads stay awake after a call.

    Args:
        device: cpu or cuda.
        threads: of each contender on the CPU.
        shapes: BxTxH, such as 32x512x128; the whole grid by default.
        cells: elman, gru, lstm; all by default.
        tables: training, activations, inference, step, memory; all by default.
        dtype: float32, or on cuda also bfloat16 or float16.
        seconds: of measurement for each contender, about.
        plot: draw the cost of a step as H, B and T grow, in a file, .svg, .png or .html.
        json_: write all figures to a file.
        lang: language of all that is said.
    """
    use_language(lang)
    from throughtime.bench import figures as wanted
    from throughtime.bench import growth, layers, output

    for file in (plot, json_):
        output.writable(file)
    kind = plot and output.drawing_kind(plot)
    settings = _settings(device, threads, shapes, cells, tables, dtype, seconds)
    console = Console(highlight=False)
    jobs = layers.jobs(settings)
    sweep = growth.jobs(settings) if kind else []
    _announce(console, settings, [*jobs, *sweep])
    found: list[Figure] = []
    try:
        _measure(console, jobs, found)
        grown: list[Figure] = []
        _measure(console, sweep, grown)
    finally:  # what is there is shown, also after ^C
        goals = wanted.CPU_GOALS if device == "cpu" else wanted.CUDA_GOALS
        output.show(console, found, goals)
        if json_ is not None:
            output.write_json(json_, settings, found)
    if plot is not None:
        growth.draw(grown, plot)
        console.print(say("bench.drawing", file=plot), markup=False, soft_wrap=True)


def _settings(device, threads, shapes, cells, tables, dtype, seconds) -> Settings:
    import torch

    from throughtime.bench.contenders import limit_jax
    from throughtime.bench.layers import CELLS, TABLES, Settings
    from throughtime.bench.shapes import CPU_GRID, CUDA_GRID, Shape

    if device not in ("cpu", "cuda"):
        raise BenchError("bench.unknown", argument="--device", value=device, known="cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BenchError("bench.no_cuda")
    formats = ("float32",) if device == "cpu" else ("float32", "bfloat16", "float16")
    known = {"--cells": CELLS, "--tables": TABLES, "--dtype": formats}
    given = {"--cells": cells, "--tables": tables, "--dtype": (dtype,)}
    for argument, values in given.items():
        for value in values:
            if value not in known[argument]:
                names = ", ".join(known[argument])
                raise BenchError("bench.unknown", argument=argument, value=value, known=names)
    if threads < 1:
        raise BenchError("bench.at_least", argument="--threads", value=threads)
    if not seconds > 0:
        raise BenchError("bench.at_least", argument="--seconds", value=seconds)
    grid = CPU_GRID if device == "cpu" else CUDA_GRID
    limit_jax(threads)
    torch.set_num_threads(threads)
    return Settings(
        device,
        getattr(torch, dtype),
        tuple(map(Shape.parse, shapes)) or grid,
        cells or CELLS,
        tables or TABLES,
        seconds,
    )


def _announce(console: Console, settings: Settings, jobs: list[Job]) -> None:
    """Conditions and cost, before anything starts."""
    from throughtime.bench import output

    for sentence in output.conditions(settings):
        console.print(sentence, markup=False, soft_wrap=True)
    minutes = f"{sum(job.seconds for job in jobs) / 60:.1f}"
    console.print(say("bench.cost", count=len(jobs), minutes=minutes), markup=False)


def _measure(console: Console, jobs: list[Job], found: list[Figure]) -> None:
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=sum(job.seconds for job in jobs))
        for job in jobs:
            bar.update(task, description=job.name)
            found += job.run()
            bar.advance(task, job.seconds)
