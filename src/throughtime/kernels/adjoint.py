"""One way of a recurrence alone: forward with all it keeps, or back from what was kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from throughtime.kernels import dispatch, registry
from throughtime.kernels import engine as engines
from throughtime.kernels.cpu import run
from throughtime.kernels.registry import Pointwise
from throughtime.kernels.tap import TOLD

NOTHING = run.Wanted(x=False, w_ih=False, w_hh=False, bias=False)


class Recurrence:
    """A layer in one direction as the kernels run it, without a graph of derivatives.

    Args:
        name: ``"elman"``, ``"gru"`` or ``"lstm"``.
        places: its activations.
        weights: w_ih, w_hh, b_ih, b_hh.
        leak: of Elman's cell, else 1.
        w_hr: of the LSTM, else None.
    """

    def __init__(
        self,
        name: str,
        places: Sequence[Pointwise],
        weights: Sequence[Tensor | None],
        leak: float = 1.0,
        w_hr: Tensor | None = None,
    ):
        self._name, self._places, self._weights = name, tuple(places), tuple(weights)
        self._leak, self._w_hr = leak, w_hr

    def runs(self, x: Tensor, h0: Tensor, c0: Tensor | None) -> bool:
        """Whether the kernels can run it on tensors like these."""
        states = (h0,) if c0 is None else (h0, c0)
        tensors = (x, *states, *self._weights)
        options = {"leak": self._leak, "w_hr": self._w_hr}
        return dispatch.backend(self._name, tensors, self._places, **options).name != "reference"

    def forward(
        self, x: Tensor, h0: Tensor, c0: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The outputs (T, B, H) and the ``blocks`` of :func:`.tap.recording`."""
        cell, theta = self._cell(x)
        here: Any = engines.engine(x)
        states, weights = (x, h0, c0), self._weights
        y, _, _, blocks = here.forward(cell, *states, *weights, theta, lengths, False, True)
        return y, blocks

    def back(
        self,
        h0: Tensor,
        c0: Tensor | None,
        y: Tensor,
        blocks: Tensor,
        lengths: Tensor | None,
        dy: Tensor | None,
        dh_n: Tensor | None,
        tap: Collection[str] = TOLD,
    ) -> dict[str, Tensor]:
        """What :func:`.tap.recording` tells of the way back, and ``dh0`` and ``dc0``.

        Args:
            h0: initial state, (B, H).
            c0: initial cell state, LSTM only.
            y: outputs of the way forward, (T, B, H).
            blocks: what it kept, (T, B, ·, H).
            lengths: as in :mod:`throughtime.cells`.
            dy: what reaches the outputs, or None.
            dh_n: what reaches the last output of each sequence, or None.
            tap: what to tell of delta, total and carried; all by default.
        """
        w_ih, w_hh, _, _ = self._weights
        assert w_ih is not None and w_hh is not None
        cell, theta = self._cell(y)
        x = y.new_empty(1, 1, w_ih.shape[1]).expand(*y.shape[:2], -1)
        here: Any = engines.engine(y)
        kept = y.contiguous(), blocks.contiguous()
        return here.backward(
            cell, dy, dh_n, None, x, h0, c0, w_ih, w_hh, theta, *kept, lengths, False, NOTHING,
            tap=tap,
        )  # fmt: skip

    def _cell(self, like: Tensor) -> tuple[Any, Tensor | None]:
        (cell, found), w_hh = self._written, self._weights[1]
        assert w_hh is not None
        return cell, dispatch.theta_of(self._places, *found, like, w_hh.shape[1])

    @cached_property
    def _written(self) -> tuple[Any, Any]:
        found = registry.activations_of(self._places)
        assert found is not None
        return registry.cell(self._name, *found, self._leak), found
