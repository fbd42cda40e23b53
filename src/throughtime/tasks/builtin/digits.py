"""Handwritten digits of scikit-learn, read pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from throughtime.tasks.task import Task


def digits() -> Task:
    """1797 handwritten digits (UCI, 8 x 8 pixels) as series of 64 grey values, ten classes.

    The small sister of the pixel-by-pixel MNIST of Le, Jaitly and Hinton (2015): pixels row by
    row, one a step, grey values 0..16 divided by 16.
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pixels, classes = bunch.data, bunch.target
    return Task(
        name="digits",
        problem="classification",
        x=(pixels / 16).astype(np.float32)[..., None],
        lengths=np.full(len(pixels), pixels.shape[1]),
        y=classes.astype(np.int64),
        feature_names=("pixel",),
        target_names=("digit",),
        class_names=tuple(str(c) for c in range(10)),
        reader={"kind": "builtin", "source": "digits"},
    )
