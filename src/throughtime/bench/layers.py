"""The measurements of ``throughtime bench layers``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial

import torch

from throughtime.activations import Activation, activation
from throughtime.bench import contenders
from throughtime.bench.clock import LEAST, medians
from throughtime.bench.contenders import Contender
from throughtime.bench.figures import Figure
from throughtime.bench.memory import peak
from throughtime.bench.problem import Problem
from throughtime.bench.shapes import CPU_GRID, Shape
from throughtime.language import say

OTHERS = ("elu", "softsign", "gelu", "silu", "leaky_relu", "mine = x*tanh(x)")
CELLS = ("elman", "gru", "lstm")
TABLES = ("training", "activations", "inference", "step", "memory")
# a compiled loop is unrolled, which takes minutes where there are many steps
COMPILED = Shape(32, 32, 128)
# steps over which an activation is checked; layers with tanh are over all of theirs
CHECKED_STEPS = 64
STREAM = Shape(1, 64, 128)
# their threads stay awake after a call and would slow the next contender's: timed by themselves
AWAKE = {"JAX scan", "ONNX Runtime"}


@dataclass(frozen=True)
class Settings:
    """What is measured, and where.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        dtype: of weights and data.
        shapes: the grid.
        cells: of them.
        tables: of :data:`TABLES`.
        seconds: of measurement for each contender, about.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    shapes: tuple[Shape, ...] = CPU_GRID
    cells: tuple[str, ...] = CELLS
    tables: tuple[str, ...] = TABLES
    seconds: float = 0.6

    def problem(self, cell: str, phi: Activation, shape: Shape) -> Problem:
        """A problem on this device; tables share it, since its truth takes time."""
        return _problem(cell, phi, shape, self.device, self.dtype)

    def wait(self) -> None:
        """For what the device still does."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def times(self, steps: Iterable[Callable[[], object]]) -> list[float]:
        """Median times, in turns."""
        return medians(list(steps), self.seconds, self.wait)


_problem = lru_cache(maxsize=2)(Problem)


@dataclass(frozen=True)
class Job:
    """Measurements that are made together."""

    name: str
    seconds: float
    run: Callable[[], list[Figure]]


def jobs(settings: Settings) -> list[Job]:
    """All measurements, in the order they are made."""
    found = []
    for cell in settings.cells:
        for shape in settings.shapes:
            found += _of_shape(settings, cell, shape)
        if "step" in settings.tables:
            run = partial(one_step, settings, cell)
            found.append(Job(f"{cell} 1", settings.seconds * 2, run))
    wanted = "training" in settings.tables and "elman" in settings.cells
    if wanted and contenders.can_compile():
        found.append(Job(f"elman torch.compile {COMPILED}", 30, partial(compiled, settings)))
    return found


def _of_shape(settings: Settings, cell: str, shape: Shape) -> Iterator[Job]:
    tanh = activation("tanh")
    # of a small machine: a training step, and its truth
    call = 50e-6 * shape.T + shape.operations(cell) / 120e9
    truth = 4 * call

    def job(table: str, contenders: int, step: float, checks: float, run: Callable) -> Job:
        timing = contenders * max(1.2 * settings.seconds, 2 * (LEAST + 1) * step)
        return Job(f"{cell} {shape} {say(f'bench.job_{table}')}", timing + checks, run)

    here = settings, cell
    if "training" in settings.tables:
        for phi in (tanh, activation("relu")) if cell == "elman" else (tanh,):
            contenders = 4 if phi.name == "tanh" else 3
            yield job("training", contenders, call, truth, partial(training, *here, phi, shape))
    if "activations" in settings.tables:
        checks = len(OTHERS) * truth * min(1, CHECKED_STEPS / shape.T)
        run = partial(activations, *here, shape)
        yield job("activations", len(OTHERS) + 1, call, checks, run)
    if "inference" in settings.tables and settings.device == "cpu":
        yield job("inference", 3, call / 3, call, partial(inference, *here, shape))
    if "memory" in settings.tables:
        yield job("memory", 0, 0, 3 * call, partial(memory, *here, shape))


@cache
def others() -> tuple[Activation, ...]:
    """The activations compared with tanh; the last one is a formula of a user."""
    *known, own = OTHERS
    name, _, formula = own.partition(" = ")
    return (*map(activation, known), Activation(name, formula))


@dataclass(frozen=True)
class Checked:
    """Contenders on one problem, each checked against its truth."""

    table: str
    problem: Problem
    ours: Contender
    peers: Mapping[str, Contender]

    @cached_property
    def distances(self) -> dict[str, float]:
        """How far each is from the truth; ours under an empty name."""
        return {
            n: self.problem.distance(c.answers()) for n, c in {"": self.ours, **self.peers}.items()
        }

    def figure(self, peer: str, ours: float, theirs: float, table: str = "") -> Figure:
        """A figure, with a ratio only if both passed."""
        distance = max(self.distances[""], self.distances.get(peer, 0.0))
        p = self.problem
        right = p.passes(distance)
        return Figure(
            table or self.table, p.cell, p.phi.name, p.shape, peer, ours, theirs, distance, right
        )

    def figures(self, settings: Settings) -> list[Figure]:
        """A figure for each peer."""
        _ = self.distances
        in_turns = [n for n in self.peers if n not in AWAKE]
        ours, *others = settings.times([self.ours.step, *(self.peers[n].step for n in in_turns)])
        theirs = dict(zip(in_turns, others, strict=True))
        for name in AWAKE & self.peers.keys():
            (theirs[name],) = settings.times([self.peers[name].step])
        return [self.figure(n, ours, theirs[n]) for n in self.peers]


def training(settings: Settings, cell: str, phi: Activation, shape: Shape) -> list[Figure]:
    """Forward and back beside the peers, and beside the products alone."""
    problem = settings.problem(cell, phi, shape)
    ours = contenders.Training(problem, problem.layer())
    peers: dict[str, Contender] = {
        "torch.nn": contenders.Training(problem, problem.layer(torch.nn))
    }
    jax = cell == "elman" and phi.name == "tanh" and settings.device == "cpu"
    if jax and contenders.installed("jax"):
        peers["JAX scan"] = contenders.JaxScan(problem)
    if phi.name == "tanh":
        peers["Python loop"] = contenders.Training(problem, contenders.Loop(problem))
    checked = Checked("training", problem, ours, peers)
    found = checked.figures(settings)
    left, right = (torch.randn(1024, 1024).to(problem.x) for _ in range(2))
    (product,) = settings.times([lambda: torch.mm(left, right)])
    alone = shape.operations(cell) * product / (2 * 1024**3)
    return [*found, checked.figure("torch.mm", found[0].ours, alone, "products")]


def activations(settings: Settings, cell: str, shape: Shape) -> list[Figure]:
    """Other activations beside tanh, all in our own kernel, each checked over fewer steps."""
    few, checked, steps = replace(shape, T=min(shape.T, CHECKED_STEPS)), [], []
    for phi in (activation("tanh"), *others()):
        probe, problem = (settings.problem(cell, phi, s) for s in (few, shape))
        checked.append(Checked("activations", probe, contenders.Training(probe, probe.layer()), {}))
        _ = checked[-1].distances
        steps.append(contenders.Training(problem, problem.layer()).step)
    tanh, *rest = settings.times(steps)
    return [
        replace(c.figure("tanh", mine, tanh), shape=shape)
        for c, mine in zip(checked[1:], rest, strict=True)
    ]


def inference(settings: Settings, cell: str, shape: Shape) -> list[Figure]:
    """Outputs alone."""
    problem = settings.problem(cell, activation("tanh"), shape)
    peers: dict[str, Contender] = {
        "torch.nn": contenders.Inference(problem, problem.layer(torch.nn))
    }
    if contenders.installed("onnxruntime"):
        peers["ONNX Runtime"] = contenders.OnnxRuntime(problem)
    ours = contenders.Inference(problem, problem.layer())
    return Checked("inference", problem, ours, peers).figures(settings)


def one_step(settings: Settings, cell: str) -> list[Figure]:
    """One step of a stream, its state given."""
    problem, T = settings.problem(cell, activation("tanh"), STREAM), STREAM.T
    ours, theirs = (
        contenders.Stream(problem, layer)
        for layer in (problem.layer(step=True), problem.layer(torch.nn, step=True))
    )
    found = Checked("step", problem, ours, {"torch.nn": theirs}).figures(settings)
    one = replace(STREAM, T=1)
    return [replace(f, shape=one, ours=f.ours / T, theirs=f.theirs / T) for f in found]


def memory(settings: Settings, cell: str, shape: Shape) -> list[Figure]:
    """Bytes of a training step at its peak."""
    problem = settings.problem(cell, activation("tanh"), shape)
    ours, theirs = (
        contenders.Training(problem, layer) for layer in (problem.layer(), problem.layer(torch.nn))
    )
    checked = Checked("memory", problem, ours, {"torch.nn": theirs})
    mine, others = (peak(c.step_and_forget, settings.device) for c in (ours, theirs))
    return [checked.figure("torch.nn", mine, others)]


def compiled(settings: Settings) -> list[Figure]:
    """A loop over few steps compiled by ``torch.compile``."""
    problem = settings.problem("elman", activation("tanh"), COMPILED)
    loop = contenders.Loop(problem)
    loop.compile()
    peers = {"torch.compile": contenders.Training(problem, loop)}
    ours = contenders.Training(problem, problem.layer())
    return Checked("training", problem, ours, peers).figures(settings)
