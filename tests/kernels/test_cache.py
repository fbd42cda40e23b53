"""Machine code on disk: found again, shared, broken, unwritable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from throughtime.kernels.cpu import machine

SCRIPT = """
import sys, time, torch, throughtime as tt
torch.set_num_threads(1)
start = time.perf_counter()
own = tt.Activation("own", sys.argv[1])
y, _ = tt.nn.GRU(3, 4, activation=own)(torch.ones(5, 2, 3))
weights = [torch.zeros(12, 3), torch.ones(12, 4), None, None]
h = tt.kernels.gru(torch.ones(2, 1, 3), torch.ones(1, 4), *weights, own, tt.activation("sigmoid"))
print(h[1].sum().item(), time.perf_counter() - start)
"""


def start(folder: Path, formula: str = "x/(1 + abs(x))") -> subprocess.Popen:
    environment = {**os.environ, "THROUGHTIME_CACHE_DIR": str(folder), "PYTHONPATH": "src"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, formula], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def result(process: subprocess.Popen) -> tuple[float, float]:
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    value, seconds = out.split()
    return float(value), float(seconds)


def test_processes_that_compile_at_once_and_one_that_finds_it_done(tmp_path):
    together = [start(tmp_path) for _ in range(2)]
    values = {round(result(p)[0], 6) for p in together}
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    before = {f: f.stat().st_mtime_ns for f in files}
    values.add(round(result(start(tmp_path))[0], 6))
    assert len(values) == 1
    assert {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == before


def test_a_broken_file_is_compiled_anew(tmp_path):
    first = result(start(tmp_path))[0]
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-7] + b"garbage")
    assert result(start(tmp_path))[0] == first
    for file in tmp_path.iterdir():
        assert machine._read(file) is not None


@pytest.mark.parametrize("kind", ["a file", "no rights"])
def test_without_a_folder_to_write_it_still_runs(tmp_path, kind):
    folder = tmp_path / "cache"
    if kind == "a file":
        folder.write_text("in the way")
    else:
        folder.mkdir()
        folder.chmod(0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
    result(start(folder))
    assert not folder.is_dir() or not list(folder.iterdir())


def test_the_users_cache_folder_is_used_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("THROUGHTIME_CACHE_DIR", raising=False)
    monkeypatch.setattr(machine, "_users_cache", lambda: tmp_path)
    assert machine.cache_folder() == tmp_path / "throughtime"
    if sys.platform != "win32":
        assert (tmp_path / "throughtime").stat().st_mode & 0o077 == 0


def test_another_version_is_another_program(monkeypatch, tmp_path):
    monkeypatch.setenv("THROUGHTIME_CACHE_DIR", str(tmp_path))

    def write(assembly):
        with assembly.function("nothing", "i", public=True):
            pass

    machine.program("nothing", "float32", write)
    monkeypatch.setattr(machine, "_sources", lambda: "other sources")
    machine.program("nothing", "float32", write)
    assert len(list(tmp_path.iterdir())) == 2


def test_of_a_new_activation_its_own_part_alone_is_compiled(monkeypatch, tmp_path):
    """A quarter of a second for an LSTM, where the time loops take many times that."""
    import torch

    import throughtime as tt
    from throughtime.kernels.cpu import plan, run
    from throughtime.kernels.registry import cell

    plan.loops("float32")
    monkeypatch.setenv("THROUGHTIME_CACHE_DIR", str(tmp_path))
    own = tt.Activation("own", "x*sigmoid(1.3*x) + sin(x)/9 + 0.1*erf(x)")
    run.compiled(cell("lstm", (own,) * 3, ((), (), ()), 1.0), torch.float32)
    (program,) = tmp_path.iterdir()
    assert program.suffix == ".bin"
    run.compiled(cell("lstm", (own,) * 3, ((), (), ()), 1.0), torch.float32)
    assert list(tmp_path.iterdir()) == [program]
