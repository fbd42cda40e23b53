"""What looking at gradients costs: a monitor beside plain training, a trace beside one step."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from throughtime.bench.clock import LEAST, medians
from throughtime.bench.problem import LAYERS
from throughtime.bench.shapes import Shape
from throughtime.files import whole
from throughtime.language import say, use_language

SHAPE, EVERY, CLASSES = Shape(32, 128, 128), 16, 10
LIBRARIES = ("throughtime.nn", "torch.nn")
MONITOR_GOAL, TRACE_GOAL = 1.05, 3.0
EXACT = 1e-10


@dataclass(frozen=True)
class Cost:
    """What looking at one network costs, over the time of a training step.

    Attributes:
        cell: ``"elman"``, ``"gru"`` or ``"lstm"``.
        library: whose layer.
        step: seconds of one training step.
        monitor: time of 16 steps with a monitor that looks once, over that without.
        trace: time of ``trace`` alone, over a step.
        full: time of ``trace`` and all measures but the lag map and the Lyapunov spectrum.
        distance: of ∇W_hh rebuilt from the records to autograd's own, relative, in float64.
        same: whether the weights after monitored steps are those after plain ones, bit for bit.
    """

    cell: str
    library: str
    step: float
    monitor: float
    trace: float
    full: float
    distance: float
    same: bool

    @property
    def right(self) -> bool:
        """Whether the check passed; figures that did not are not shown."""
        return self.same and self.distance <= EXACT


class _Network(nn.Module):
    def __init__(self, library: str, cell: str):
        super().__init__()
        room: Any = nn
        if library == "throughtime.nn":
            from throughtime import nn as room
        torch.manual_seed(0)
        self.rnn = getattr(room, LAYERS[cell])(SHAPE.I, SHAPE.H)
        self.head = nn.Linear(SHAPE.H, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][-1])


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def _batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(SHAPE.T, SHAPE.B, SHAPE.I, generator=draw)
    return x, torch.randint(CLASSES, (SHAPE.B,), generator=draw)


def _step(model: nn.Module) -> Callable[[], None]:
    """A step of Adam."""
    optimiser, batch = torch.optim.Adam(model.parameters()), _batch()

    def step() -> None:
        optimiser.zero_grad()
        _loss(model, batch).backward()
        optimiser.step()

    return step


def _turns(model: nn.Module, seconds: float) -> tuple[float, float]:
    """Seconds of ``EVERY`` steps as they are, and with a monitor that looks at one of them.

    Each is the sum of the medians of its single steps, taken in turns and of the same network:
    where in memory its weights lie is worth several per cent. Between looks a monitor has nothing
    in the model.
    """
    from throughtime.gradients import Monitor

    monitor, step = Monitor(model, every=EVERY), _step(model)
    step()
    monitor.step()  # a round begins and ends between two looks
    times: list[list[list[float]]] = [[[] for _ in range(EVERY)] for _ in range(2)]
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end or len(times[1][-1]) < LEAST:
        for watched in (False, True):
            for single in times[watched]:
                start = time.perf_counter()
                step()
                if watched:
                    monitor.step()
                single.append(time.perf_counter() - start)
    without, looking = (sum(map(statistics.median, steps)) for steps in times)
    return without, looking


def _same(library: str, cell: str) -> tuple[nn.Module, bool]:
    """A network after some steps, and whether a watched one then has the same weights."""
    from throughtime.gradients import Monitor

    network, other = (_Network(library, cell) for _ in range(2))
    step, watched, monitor = _step(network), _step(other), Monitor(other, every=2)
    for _ in range(EVERY):
        step()
        watched()
        monitor.step()
    weights = other.state_dict()
    return network, all(torch.equal(w, weights[name]) for name, w in network.state_dict().items())


def measure(library: str, cell: str, seconds: float) -> Cost:
    """Check one network, then time what looking at it costs.

    Args:
        library: ``"throughtime.nn"`` or ``"torch.nn"``.
        cell: ``"elman"``, ``"gru"`` or ``"lstm"``.
        seconds: of measurement for each contender, about.
    """
    from throughtime.gradients import trace

    network, same = _same(library, cell)
    x, y = batch = _batch()
    distance = max(trace(network.double(), (x.double(), y), _loss).check.values())
    network.float()

    without, looking = _turns(_Network(library, cell), seconds)
    step, alone, full = medians(
        [
            _step(_Network(library, cell)),
            lambda: trace(network, batch, _loss),
            lambda: trace(network, batch, _loss).measures(compare=("elu",)),
        ],
        seconds,
    )
    return Cost(cell, library, step, looking / without, alone / step, full / step, distance, same)


def gradients(
    *,
    threads: int = 2,
    cells: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = tuple(LAYERS),
    seconds: float = 4.0,
    json_: Annotated[Path | None, Parameter(name="--json")] = None,
    lang: Annotated[Literal["en", "zh"] | None, Parameter(name="--lang")] = None,
) -> None:
    """Time a monitor beside plain training and a full trace beside one step, in one process.

    A network's figures are shown only where its records rebuild the gradient of W_hh to 1e-10 in
    float64 and monitored training gives the same weights bit for bit. Times are medians; plain and
    monitored training take turns, and so do a step, a trace and a full trace.

    Args:
        threads: of the processor.
        cells: elman, gru, lstm; all by default.
        seconds: of measurement for each contender, about.
        json_: write all figures to a file.
        lang: language of all that is said.
    """
    use_language(lang)
    from rich.console import Console
    from rich.progress import track

    from throughtime.bench.output import writable
    from throughtime.errors import BenchError

    writable(json_)
    if threads < 1:
        raise BenchError("bench.at_least", argument="--threads", value=threads)
    if not seconds > 0:
        raise BenchError("bench.at_least", argument="--seconds", value=seconds)
    for cell in cells:
        if cell not in LAYERS:
            known = ", ".join(LAYERS)
            raise BenchError("bench.unknown", argument="--cells", value=cell, known=known)
    torch.set_num_threads(threads)
    console = Console(highlight=False)
    jobs = [(library, cell) for library in LIBRARIES for cell in cells]
    minutes = f"{len(jobs) * seconds * 6 / 60:.1f}"
    shape = f"(B,T,H) = ({SHAPE.B},{SHAPE.T},{SHAPE.H})"
    console.print(say("gradients.bench_cost", shape=shape, threads=threads, minutes=minutes))
    found = [
        measure(library, cell, seconds)
        for library, cell in track(jobs, say("gradients.bench_working"), console=console)
    ]
    console.print(_table(found))
    console.print(say("gradients.bench_note"), markup=False)
    if json_ is not None:
        with whole(json_) as beside:
            beside.write_text(json.dumps([asdict(cost) for cost in found], indent=1), "utf-8")


def _table(costs: list[Cost]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("step", "monitor", "trace", "full", "distance"):
        table.add_column(say(f"gradients.bench_{name}"), justify="right")
    for cost in costs:
        figures = ["–"] * 4
        if cost.right:
            full = f"{cost.full:.1f}×"
            if cost.library == "throughtime.nn":
                full = _judged(cost.full, TRACE_GOAL, full)
            figures = [f"{cost.step * 1e3:.1f} ms",
                       _judged(cost.monitor, MONITOR_GOAL, f"{cost.monitor:.3f}×"),
                       f"{cost.trace:.1f}×", full]  # fmt: skip
        name = f"{cost.library}.{LAYERS[cost.cell]}"
        table.add_row(name, *figures, f"{cost.distance:.0e}")
    return table


def _judged(value: float, goal: float, text: str) -> str:
    met = say("gradients.bench_met" if value <= goal else "gradients.bench_missed")
    return f"{text} (≤ {goal:g}×: {met})"
