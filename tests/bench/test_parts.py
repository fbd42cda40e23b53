"""What the benchmark is made of."""

from __future__ import annotations

import pytest
import torch

from throughtime import cells
from throughtime.activations import activation
from throughtime.bench import clock, command, growth, warm
from throughtime.bench.figures import CPU_GOALS, CUDA_GOALS, Figure, Goal, mean_and_worst, met
from throughtime.bench.layers import Settings, others
from throughtime.bench.memory import peak
from throughtime.bench.problem import Problem
from throughtime.bench.shapes import CPU_GRID, GATES, Shape


def figure(ratio: float, table: str = "training", right: bool = True, **options) -> Figure:
    ours, theirs = (ratio, 1.0) if table in ("activations", "memory") else (1.0, ratio)
    given = {"cell": "gru", "phi": "tanh", "shape": Shape(2, 3, 4), "peer": "torch.nn", **options}
    return Figure(table, ours=ours, theirs=theirs, distance=0.0, right=right, **given)


def test_contenders_take_turns():
    called = []
    steps = [lambda i=i: called.append(i) for i in range(3)]
    assert len(clock.medians(steps, 1e-9, least=4)) == 3
    turns = [a for a, b in zip(called, [None, *called], strict=False) if a != b]
    # each is called to warm up and to see how often it fits in a turn; then they alternate
    assert turns[:3] == [0, 1, 2] and turns[3:] == [0, 1, 2] * 4


def test_the_median_is_of_one_call(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])

    def takes(seconds):
        def step():
            now[0] += seconds

        return step

    found = clock.medians([takes(1e-5), takes(0.5)], 0.1, least=5)
    assert found == pytest.approx([1e-5, 0.5])


@pytest.mark.parametrize("cell", GATES)
def test_the_products_are_counted_as_pytorch_counts_them(cell):
    from torch.utils.flop_counter import FlopCounterMode

    shape = Shape(3, 4, 6, 5)
    problem = Problem(cell, activation("tanh"), shape)
    weights = list(problem.layer().parameters())
    with FlopCounterMode(display=False) as counted:
        problem.reference(problem.x, weights).backward(problem.dy)
    first_step = 2 * GATES[cell] * shape.B * shape.H**2  # no gradient of the initial state
    assert counted.get_total_flops() == shape.operations(cell) - first_step


@pytest.mark.parametrize("cell", GATES)
def test_the_truth_is_that_of_pytorch_s_own_layer(cell):
    problem = Problem(cell, activation("tanh"), Shape(3, 6, 5))
    theirs = problem.layer(torch.nn).double()
    y = theirs(problem.x.double())[0]
    y.backward(problem.dy.double())
    found = {"y": y.detach()} | {n: p.grad for n, p in theirs.named_parameters()}
    assert problem.distance(found) < 1e-13
    assert problem.passes(problem.distance(found))


def test_no_gradient_enters_where_rounding_decides_on_which_side_of_a_kink(monkeypatch):
    shape = Shape(16, 12, 24)
    monkeypatch.setattr("throughtime.bench.problem.NEAR", 2e-3)
    problem = Problem("elman", activation("relu"), shape)
    lines = []

    def seen(a):
        lines.append(a)
        return a.relu()

    weights = [w.double() for w in problem.layer().parameters()]
    problem.reference(problem.x.double(), weights, seen)
    near = (torch.stack(lines).abs() < 2e-3).flatten(2).any(-1).any(0)
    assert 0 < near.sum() < shape.B
    assert torch.equal(problem.dy.abs().amax((0, 2)) == 0, near)
    assert Problem("elman", activation("tanh"), shape).dy.abs().amax((0, 2)).min() > 0


def test_a_distance_is_relative_and_never_hides_a_nan():
    problem = Problem("elman", activation("tanh"), Shape(2, 3, 4))
    truth = problem.truth["y"]
    off = truth.clone()
    off[0, 0, 0] += 0.01 * truth.abs().max()
    assert problem.distance({"y": off}) == pytest.approx(0.01)
    for bad in (torch.nan, torch.inf):
        off[0, 0, 0] = bad
        assert not problem.passes(problem.distance({"y": off}))


def test_the_loop_is_the_reference_itself():
    problem = Problem("lstm", activation("elu"), Shape(2, 3, 4))
    zeros = torch.zeros(2, 4)
    weights = list(problem.layer().parameters())
    places = activation("elu"), activation("sigmoid"), activation("elu")
    wanted = cells.lstm(problem.x, zeros, zeros, *weights, *places)[0]
    assert torch.equal(problem.reference(problem.x, weights), wanted)


def test_means_and_worst():
    assert mean_and_worst([figure(2.0), figure(8.0)]) == pytest.approx((4.0, 2.0))
    less = [figure(0.5, "memory"), figure(2.0, "memory")]
    assert mean_and_worst(less) == pytest.approx((1.0, 2.0))
    assert mean_and_worst([figure(2.0), figure(8.0, right=False)]) is None


@pytest.mark.parametrize(
    ("ratios", "right", "verdict"),
    [
        ((4.0, 4.0), True, True),
        ((3.0, 3.0), True, False),
        ((100.0, 1.0), True, False),
        ((100.0, 100.0), False, False),
        ((), True, None),
    ],
)
def test_a_goal_is_met_only_by_right_figures(ratios, right, verdict):
    goal = Goal("training", "gru", "tanh", "torch.nn", mean=4.0, worst=1.3)
    assert met(goal, [figure(r, right=right) for r in ratios]) is verdict


def test_where_less_is_better():
    goal = Goal("activations", "gru", worst=1.3)
    assert met(goal, [figure(1.2, "activations")]) and not met(goal, [figure(1.4, "activations")])


def test_a_goal_speaks_of_its_own_figures():
    goal = Goal("products", "gru", "tanh", B=32, H=128)
    shapes = Shape(32, 9, 128), Shape(31, 9, 128), Shape(32, 9, 127)
    mine, *_ = figures = [figure(1.0, "products", shape=s) for s in shapes]
    other = figure(1.0, "products", shape=shapes[0], cell="lstm")
    assert goal.of([*figures, other, figure(1.0)]) == [mine]


def test_goals_and_grids_are_the_issue_s():
    assert next(str(s) for s in CPU_GRID) == "1×512×64" and len(CPU_GRID) == 8
    assert {g.cell for g in CPU_GOALS} == set(GATES) == {g.cell for g in CUDA_GOALS}
    assert [phi.name for phi in others()][-1] == "mine"


def test_memory_is_counted_to_the_byte():
    assert peak(lambda: torch.zeros(1000)) == 4000
    assert peak(lambda: (torch.zeros(1000), torch.zeros(500))) == 6000


def test_growth_is_drawn(tmp_path, monkeypatch):
    sweeps = {"H": [Shape(2, 3, 4), Shape(2, 3, 8)], "B": [Shape(2, 3, 4)], "T": [Shape(2, 5, 4)]}
    monkeypatch.setattr(growth, "SWEEPS", sweeps)
    settings = Settings(seconds=1e-9, cells=("elman", "lstm"))
    figures = [f for job in growth.jobs(settings) for f in job.run()]
    assert len(figures) == 2 * 3 and all(f.right for f in figures)
    file = tmp_path / "growth.svg"
    growth.draw(figures, file)
    drawn = file.read_text("utf-8")
    assert drawn.startswith("<svg") and "throughtime" in drawn and "LSTM" in drawn
    assert [f.name for f in tmp_path.iterdir()] == ["growth.svg"]


@pytest.mark.parametrize(("lang", "words"), [("en", "Kept in"), ("zh", "保存在")])
def test_kernels_are_compiled_and_it_is_said(lang, words, tmp_path, monkeypatch, capsys):
    import throughtime.activations

    monkeypatch.setenv("THROUGHTIME_CACHE_DIR", str(tmp_path))
    for room in (throughtime.activations, warm):
        monkeypatch.setattr(room, "names", lambda: ["tanh", "relu"])
    command.bench(warm=True, lang=lang)
    said = capsys.readouterr().out.replace("\n", "")
    assert words in said and str(tmp_path) in said and "2" in said


def test_without_anything_asked_the_commands_are_listed(capsys):
    command.bench()
    assert "layers" in capsys.readouterr().out
