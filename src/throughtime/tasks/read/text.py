"""Plain text for next-character prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.options import Options
from throughtime.tasks.read.sources import read_text
from throughtime.tasks.read.timetables import tokens
from throughtime.tasks.task import Task
from throughtime.tasks.windows import Cut, Rows, Shape, cut_windows, join

_USUAL_WINDOW = 128


def from_text(path: Path, test: Path | None, options: Options) -> Task:
    """The next character at every step of consecutive windows of a text.

    Windows do not overlap unless ``stride`` says so; they are divided in the order of the text.
    """
    effective = ("problem", "window", "stride", "max_windows", "test")
    options.only("text", *effective, "test_share", "validation_share", "name")
    if options.problem not in (None, "next_token"):
        raise DataError("tasks.text_problem", source=path.name, problem=options.problem)
    if test is not None:
        options.refuse("test", "test_share")
    texts = [read_text(p) for p in (path, test) if p is not None]
    symbols = tuple(sorted(set().union(*texts)))
    window = options.window or _USUAL_WINDOW
    cuts = [_cut(path.name, encode(t, symbols), window, options) for t in texts]
    reader = {"kind": "text", "window": window}
    name = options.name or path.name
    return tokens(name, join(cuts), symbols, "text", reader, (), options)


def encode(text: str, symbols: tuple[str, ...]) -> np.ndarray:
    """(R,) int64 number of every character among ``symbols``."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known = np.frombuffer("".join(symbols).encode("utf-32-le"), np.uint32)
    order = np.argsort(known)
    return order[np.searchsorted(known, points, sorter=order)].astype(np.int64)


def _cut(source: str, codes: np.ndarray, window: int, options: Options) -> Cut:
    column = codes[:, None]
    rows = Rows(source, column, column, np.array([[0, len(codes)]]), np.arange(len(codes)))
    return cut_windows(
        rows, Shape(window, 1, window), options.stride or window, options.max_windows
    )
