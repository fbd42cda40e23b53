"""What the command shows and writes."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from throughtime import __version__
from throughtime.bench import contenders
from throughtime.bench.figures import Figure, Goal
from throughtime.bench.layers import Settings
from throughtime.bench.tables import tables, verdicts
from throughtime.errors import BenchError
from throughtime.files import whole
from throughtime.language import say

# FlashRNN's own figures for LSTM, B=16, T=1024, H=768 in one head, bfloat16, H100 (arXiv
# 2412.07752): milliseconds forward, and forward and back
PUBLISHED = ("4.87", "13.6")


def writable(file: Path | None) -> None:
    """Refuse, before anything is measured, a file that cannot be written."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise BenchError("bench.path", file=file)


def drawing_kind(file: Path) -> str:
    """The ending of a drawing."""
    if file.suffix not in (".svg", ".png", ".html"):
        raise BenchError("bench.drawing_kind", file=file.name)
    return file.suffix


def conditions(settings: Settings) -> list[str]:
    """Where this is measured, and which peers are not there."""
    machine = _machine(settings)
    where = say(
        "bench.conditions",
        machine=machine["processor"],
        threads=machine["threads"],
        dtype=machine["dtype"],
        torch=machine["torch"],
    )
    absent = [name for name in ("jax", "onnxruntime") if not contenders.installed(name)]
    found = [where]
    if absent and settings.device == "cpu":
        found.append(say("bench.absent", names=", ".join(absent)))
    if not contenders.can_compile():
        found.append(say("bench.no_compiler"))
    if settings.device == "cuda":
        found.append(say("bench.published", forward=PUBLISHED[0], both=PUBLISHED[1]))
    return found


def _machine(settings: Settings) -> dict[str, Any]:
    cuda = settings.device == "cuda"
    return {
        "processor": torch.cuda.get_device_name() if cuda else _processor(),
        "device": settings.device,
        "threads": torch.get_num_threads(),
        "dtype": str(settings.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "throughtime": __version__,
    }


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def show(console: Console, figures: list[Figure], goals: Iterable[Goal]) -> None:
    """All tables, and what was wanted at the end."""
    for table in tables(figures):
        console.print(table)
    if figures:
        console.print(verdicts(goals, figures))


def write_json(file: Path, settings: Settings, figures: list[Figure]) -> None:
    """All figures with the conditions, written beside and moved into place."""
    rows = [{k: _finite(v) for k, v in (asdict(f) | {"ratio": f.ratio}).items()} for f in figures]
    content = {"conditions": _machine(settings), "figures": rows}
    with whole(file) as beside:
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
