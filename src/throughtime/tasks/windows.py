"""Windows over long series: strided views, thinned before they fill the memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from throughtime.errors import DataError
from throughtime.tasks.task import TEST, TRAIN

MOST_VALUES = 2**26


@dataclass(frozen=True)
class Shape:
    """A window: ``window`` inputs, its targets ``first`` to ``last`` rows after its start.

    A forecast of H steps from W has first = W, last = W + H - 1; the next step at every one of W
    steps has first = 1, last = W.
    """

    window: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one source, ready to be cut.

    Attributes:
        source: its name.
        values: (R, F) inputs.
        targets: (R, K) what is predicted.
        segments: (S, 2) first row and end row of stretches that no cut may cross.
        ranks: (R,) time of every row, as ordered whole numbers.
        parts: (R,) given parts, or ``None``.
    """

    source: str
    values: np.ndarray
    targets: np.ndarray
    segments: np.ndarray
    ranks: np.ndarray
    parts: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Cut:
    """Inputs and targets cut out of rows.

    Attributes:
        x: (N, T, F) inputs.
        lengths: (N,) steps.
        y: (N, T', K) targets.
        spans: (N, 2) first and last time of the targets; ``None`` where cuts are whole series.
        parts: (N,) given parts, or ``None``.
        stride: rows between windows, 0 where cuts are whole series.
        thinned: whether that is more than asked for.
    """

    x: np.ndarray
    lengths: np.ndarray
    y: np.ndarray
    spans: np.ndarray | None
    parts: np.ndarray | None
    stride: int = 0
    thinned: bool = False


def cut_windows(rows: Rows, shape: Shape, stride: int, most: int | None) -> Cut:
    """Windows of one shape; those whose targets lie in several given parts are left out.

    Raises:
        DataError: every stretch is too short.
    """
    starts, taken = place(rows.segments, shape, stride, most, rows.values.shape[1])
    if not starts.size:
        raise DataError(
            "tasks.too_short",
            source=rows.source,
            longest=int(np.diff(rows.segments).max(initial=0)),
            window=shape.window,
            horizon=shape.last - shape.window + 1,
            needed=shape.last + 1,
        )
    parts = None
    if rows.parts is not None:
        changes = np.concatenate(([0], np.cumsum(np.diff(rows.parts) != 0)))
        starts = starts[changes[starts + shape.first] == changes[starts + shape.last]]
        parts = rows.parts[starts + shape.last]
    return Cut(
        x=view(rows.values, starts, shape.window),
        lengths=np.full(len(starts), shape.window),
        y=view(rows.targets, starts + shape.first, shape.last - shape.first + 1),
        spans=rows.ranks[np.stack((starts + shape.first, starts + shape.last), axis=1)],
        parts=parts,
        stride=taken,
        thinned=taken > stride,
    )


def cut_series(rows: Rows) -> Cut:
    """Whole stretches, each step with the row after it as its target.

    Raises:
        DataError: every stretch is too short.
    """
    segments = rows.segments[np.diff(rows.segments)[:, 0] >= 2]
    if not len(segments):
        raise DataError(
            "tasks.too_short", source=rows.source, longest=1, window=1, horizon=1, needed=2
        )
    lengths = np.diff(segments)[:, 0] - 1
    x = np.zeros((len(segments), lengths.max(), rows.values.shape[1]), rows.values.dtype)
    y = np.zeros((*x.shape[:2], rows.targets.shape[1]), rows.targets.dtype)
    for n, (first, end) in enumerate(segments):
        x[n, : lengths[n]] = rows.values[first : end - 1]
        y[n, : lengths[n]] = rows.targets[first + 1 : end]
    parts = None if rows.parts is None else rows.parts[segments[:, 0]]
    return Cut(x, lengths, y, None, parts)


def join(cuts: list[Cut]) -> Cut:
    """One cut of a training source and, where there is one, a test source."""
    if len(cuts) == 1:
        return cuts[0]
    steps = max(cut.x.shape[1] for cut in cuts)
    targets = max(cut.y.shape[1] for cut in cuts)
    train, test = cuts
    spans = None
    if train.spans is not None and test.spans is not None:
        spans = np.concatenate((train.spans, test.spans))
    return Cut(
        x=np.concatenate([_padded(cut.x, steps) for cut in cuts]),
        lengths=np.concatenate([cut.lengths for cut in cuts]),
        y=np.concatenate([_padded(cut.y, targets) for cut in cuts]),
        spans=spans,
        parts=np.repeat([TRAIN, TEST], [len(train.x), len(test.x)]),
        stride=train.stride,
        thinned=train.thinned or test.thinned,
    )


def _padded(values: np.ndarray, steps: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, steps - values.shape[1]), (0, 0)))


def place(
    segments: np.ndarray, shape: Shape, stride: int, most: int | None, width: int
) -> tuple[np.ndarray, int]:
    """First rows of all windows inside the segments, and the stride taken.

    The stride grows until there are at most ``most`` windows, and they hold at most 2**26 numbers
    (0.3 GB) of ``width`` a row.
    """
    room = np.maximum(0, segments[:, 1] - segments[:, 0] - shape.last)
    limit = MOST_VALUES // (shape.window * width)
    limit = max(1, limit if most is None else min(most, limit))
    fewest = int((room > 0).sum())
    while (count := int((-(-room // stride)).sum())) > max(limit, fewest):
        stride = max(stride + 1, stride * count // (limit + fewest))
    pieces = [
        np.arange(first, first + n, stride)
        for first, n in zip(segments[:, 0], room, strict=True)
        if n
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64), stride


def view(values: np.ndarray, starts: np.ndarray, steps: int) -> np.ndarray:
    """(N, steps, F) windows of (R, F) values; without a copy where the starts are evenly spaced."""
    windows = sliding_window_view(values, steps, axis=0).swapaxes(1, 2)
    gaps = np.diff(starts)
    if len(starts) > 1 and (gaps == gaps[0]).all():
        return windows[starts[0] : starts[-1] + 1 : gaps[0]]
    return windows[starts]


def segments_of(starts: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Stretches of good rows within series.

    Args:
        starts: (S + 1,) first row of every series, then the number of rows.
        bad: (R,) rows that belong to no stretch.
    """
    good = np.concatenate(([False], ~bad, [False]))
    border = np.zeros(len(bad) + 1, bool)
    border[starts] = True
    begins = np.flatnonzero(good[1:] & (~good[:-1] | border))
    ends = np.flatnonzero(good[:-1] & (~good[1:] | border))
    return np.stack((begins, ends), axis=1)
