"""Missing and infinite values of padded sequences: refused, left out or interpolated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.options import Missing
from throughtime.tasks.task import Note


@dataclass(frozen=True, eq=False)
class Padded:
    """Sequences as they stood in a source.

    Attributes:
        x: (N, T, I) values, NaN where one is missing, anything beyond the lengths.
        lengths: (N,) steps of each sequence.
        locate: for messages: the fields ``source``, ``column`` and ``row`` of (sequence, step,
            feature).
    """

    x: np.ndarray
    lengths: np.ndarray
    locate: Callable[[int, int, int], dict[str, Any]]

    def settled(self, how: Missing) -> tuple[np.ndarray, np.ndarray, list[Note]]:
        """Sequences whose every step within its length is finite.

        Args:
            how: ``"error"``; ``"drop"`` leaves out steps with a missing value, so that the
                sequence gets shorter, down to 0; ``"interpolate"`` draws a line between the
                neighbouring steps of the same feature, or repeats the nearest at the ends.

        Returns:
            x, lengths and what there is to say about it.

        Raises:
            DataError: a value is missing or infinite and ``how`` is ``"error"``; a feature of a
                sequence has nothing to interpolate between.
        """
        x, lengths = self.x, self.lengths
        bad = ~np.isfinite(x) & (np.arange(x.shape[1]) < lengths[:, None])[..., None]
        if not bad.any():
            return x, lengths, []
        if how == "error":
            n, t, i = np.argwhere(bad)[0].tolist()
            key = "tasks.missing_value" if np.isnan(x[n, t, i]) else "tasks.infinite_value"
            raise DataError(key, **self.locate(n, t, i))
        if how == "drop":
            x, lengths, steps = _dropped(x, lengths, bad.any(-1))
            return x, lengths, [("tasks.note_steps_dropped", {"steps": steps})]
        x = x.copy()
        for n, i in np.argwhere(bad.any(1)).tolist():
            line, gaps = x[n, : lengths[n], i], bad[n, : lengths[n], i]
            if gaps.all():
                raise DataError("tasks.nothing_to_interpolate", **self.locate(n, 0, i))
            line[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), line[~gaps])
        return x, lengths, [("tasks.note_interpolated", {"values": int(bad.sum())})]


def padded(series: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N, T, I) zero padded and (N,) lengths of (T, I) arrays."""
    lengths = np.array([len(s) for s in series])
    x = np.zeros((len(series), lengths.max(), series[0].shape[1]))
    for n, s in enumerate(series):
        x[n, : lengths[n]] = s
    return x, lengths


def _dropped(
    x: np.ndarray, lengths: np.ndarray, bad: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """The good steps of every sequence moved together."""
    out = bad | (np.arange(x.shape[1]) >= lengths[:, None])
    order = np.argsort(out, axis=1, kind="stable")
    x = np.take_along_axis(x, order[..., None], axis=1)
    lengths = (~out).sum(1)
    x[np.arange(x.shape[1]) >= lengths[:, None]] = 0
    return x[:, : max(1, lengths.max())], lengths, int(bad.sum())
