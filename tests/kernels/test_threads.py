"""Threads of ours and of others, and forks."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import torch
from kernel_calls import GATES, call

from throughtime import cells
from throughtime.kernels.cpu import plan, pool


@pytest.fixture(autouse=True)
def even_small_calls_are_shared(monkeypatch):
    monkeypatch.setattr(plan, "THREAD_WORK", 1.0)
    monkeypatch.setattr(plan, "SIDE_WORK", 1.0)
    forget_plans()
    yield
    forget_plans()


def forget_plans():
    plan.forward_plan.cache_clear()
    plan.backward_plan.cache_clear()


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("lengths", [None, torch.arange(37) % 8])
def test_outputs_do_not_depend_on_the_number_of_threads(name, lengths, threads):
    given = call(name, 9, 37, 5, 40, dtype=torch.float32, lengths=lengths)
    found = {}
    for n in (1, 2, 3, 8):
        threads(n)
        found[n] = [*given.run(), *given.gradients()]
    outputs = 2 if name != "lstm" else 3
    for n in (2, 3, 8):
        for i, (one, many) in enumerate(zip(found[1], found[n], strict=True)):
            if i < outputs:
                assert torch.equal(one, many)
            torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("B", [0, 1, 2, 5])
@pytest.mark.parametrize("H", [3, 64, 203])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_share_the_units_where_there_are_few_rows(name, B, H, padded, dtype, threads):
    T, tolerance = 11, {torch.float32: 1e-4, torch.float64: 1e-11}[dtype]
    lengths = torch.arange(B) * 7 % (T + 1) if padded else None
    given = call(name, T, B, 70, H, dtype=dtype, lengths=lengths)
    threads(1)
    alone = [*given.run(), *given.gradients()]
    for n in (2, 3, 8):
        threads(n)
        shared = [*given.run(), *given.gradients()]
        outputs = 2 if name != "lstm" else 3
        assert all(map(torch.equal, alone[:outputs], shared[:outputs]))
        for one, many in zip(alone, shared, strict=True):
            torch.testing.assert_close(many, one, rtol=tolerance, atol=tolerance)
    wanted = [*given.run(cells), *given.gradients(cells)]
    for truth, many in zip(wanted, shared, strict=True):
        torch.testing.assert_close(many, truth, rtol=tolerance, atol=tolerance)


def test_few_rows_of_many_units_are_one_tile_with_several_sides(threads, monkeypatch):
    asked = []

    def seen(function, frame, sides):
        asked.append(sides)
        side_by_side(function, frame, sides)

    side_by_side = pool.side_by_side
    monkeypatch.setattr(pool, "side_by_side", seen)
    monkeypatch.setattr(plan, "SIDE_WORK", 2.5e4)
    forget_plans()
    threads(2)
    for B, H, sides in ((1, 256, [2]), (4, 256, [2]), (5, 256, []), (1, 64, [])):
        asked.clear()
        call("gru", 3, B, 5, H, dtype=torch.float32).run()
        assert asked == (sides if pool.can_wait() else [])


def test_the_threads_of_a_call_are_those_of_pytorch(threads, monkeypatch):
    asked = []
    monkeypatch.setattr(plan, "SIDE_WORK", float("inf"))
    forget_plans()

    def alone(work, workers):
        asked.append(workers)
        for worker in range(workers):
            work.share(worker)

    monkeypatch.setattr(pool, "together", alone)
    given = call("gru", 4, 6, 3, 5)
    for n in (1, 2, 4, 99):
        threads(n)
        given.run()
    assert asked == [2, 4, 6]  # one is no team


def test_backward_with_other_threads_than_forward(threads):
    given = call("lstm", 6, 23, 3, 9)
    threads(4)
    y = given.run()[0]
    threads(1)
    found = torch.autograd.grad(y.sum(), given.leaves)
    wanted = torch.autograd.grad(given.run(cells)[0].sum(), given.leaves)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", GATES)
def test_every_way_to_share_gives_the_same_bits(name, threads, monkeypatch):
    given = call(name, 9, 37, 5, 40, dtype=torch.float32)
    threads(3)
    found = [given.gradients()]
    for library in (None, TeamOfOne()):
        monkeypatch.setattr(pool, "openmp", lambda library=library: library)
        found.append(given.gradients())
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


class TeamOfOne:
    """OpenMP where the person allows it one thread only."""

    omp_get_num_threads = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)
    omp_in_parallel = staticmethod(lambda: 0)

    def GOMP_parallel(self, function, frame, workers, flags):
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(frame)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the threads are Python's")
def test_the_threads_are_those_that_pytorch_runs_on():
    assert "OpenMP" not in torch.__config__.parallel_info() or pool.openmp() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the threads are Python's")
@pytest.mark.parametrize("name", GATES)
def test_a_member_of_a_team_makes_its_calls_alone(name, threads):
    library = pool.openmp()
    if library is None:
        pytest.skip("this PyTorch does not run on OpenMP")
    given, found = call(name, 9, 37, 5, 40, dtype=torch.float32), []
    threads(1)
    alone = given.gradients()
    threads(2)
    assert pool.threads() == 2

    def member(_):
        found.append((pool.threads(), given.gradients()))

    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(member)
    library.GOMP_parallel(ctypes.cast(function, ctypes.c_void_p), None, 2, 0)
    assert len(found) == 2
    for count, gradients in found:
        assert count == 1 and all(map(torch.equal, alone, gradients))
    assert pool.threads() == 2


def test_calls_from_many_threads_at_once(threads):
    threads(3)
    calls = [call(name, 12, 11, 4, 10, seed=i) for i in range(4) for name in GATES]
    wanted = [c.gradients() for c in calls]
    wrong = []

    def repeat(c, expected):
        for _ in range(15):
            for a, b in zip(c.gradients(), expected, strict=True):
                if not torch.allclose(a, b, rtol=0, atol=1e-10):
                    wrong.append(c.name)

    workers = [
        threading.Thread(target=repeat, args=pair) for pair in zip(calls, wanted, strict=True)
    ]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_an_error_in_a_helper_is_raised_where_it_was_called():
    started = threading.Barrier(2)

    def work(worker):
        started.wait(timeout=30)
        if worker:
            raise ValueError(worker)

    with pytest.raises(ValueError, match="1"):
        pool.in_python(work, 2)


def test_a_busy_helper_is_not_waited_for():
    release = threading.Event()
    busy = threading.Event()

    def hold(worker):
        if worker:
            busy.set()
            release.wait(timeout=30)
        else:
            busy.wait(timeout=30)

    first = threading.Thread(target=lambda: pool.in_python(hold, 2))
    first.start()
    busy.wait(timeout=30)
    done = []
    pool.in_python(done.append, 2)
    release.set()
    first.join()
    assert sorted(done) == [0, 1]


def in_child(given, results):
    torch.set_num_threads(2)
    results.put([g.numpy() for g in given.gradients()])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_after_a_fork(threads):
    threads(2)
    given = call("elman", 8, 12, 4, 10)
    wanted = given.gradients()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=in_child, args=(given, results)) for _ in range(2)]
    for child in children:
        child.start()
    for _ in children:
        for a, b in zip(results.get(timeout=60), wanted, strict=True):
            torch.testing.assert_close(torch.tensor(a), b, rtol=0, atol=1e-11)
    for child in children:
        child.join(timeout=60)
        assert child.exitcode == 0


def test_a_process_ends_though_helpers_wait(fresh_python):
    script = (
        "import torch, throughtime as tt\n"
        "from throughtime.kernels.cpu import plan\n"
        "plan.THREAD_WORK = 1.0\n"
        "torch.set_num_threads(2)\n"
        "print(tt.nn.RNN(3, 4)(torch.randn(5, 6, 3))[0].shape)\n"
    )
    ended = subprocess.run(
        [fresh_python, "-c", script], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": "src"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "[5, 6, 4]" in ended.stdout


def test_threads_may_all_be_the_first_to_use_an_activation(fresh_python, tmp_path):
    script = """
import threading
import torch
import throughtime as tt

torch.set_num_threads(2)
for n in range(6):
    phi = tt.Activation(f"own{n}", f"tanh({n + 1}*x/7) + 0.01*x")
    layer, x = tt.nn.RNN(3, 17, nonlinearity=phi), torch.randn(9, 40, 3)
    start, found = threading.Barrier(8), []

    def use():
        start.wait()
        for _ in range(5):
            found.append(layer(x)[0].detach())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 40 and all(torch.equal(y, found[0]) for y in found)
print("all the same")
"""
    ended = subprocess.run(
        [fresh_python, "-c", script], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": "src", "THROUGHTIME_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "all the same" in ended.stdout
