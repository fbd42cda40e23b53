"""Kernels compiled before they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from throughtime import nn
from throughtime.activations import names


def warm(dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)) -> Iterator[str]:
    """Compile RNN, GRU and LSTM with every activation of the catalogue, and keep it on disk.

    Use it in the image of a container or before a measurement; otherwise each kernel is compiled
    in the first call that needs it.

    Args:
        dtypes: formats to compile for.

    Yields:
        The name of each activation, once its kernels are there.

    Example:
        >>> from itertools import islice
        >>> list(islice(warm((torch.float32,)), 2))
        ['identity', 'tanh']
    """
    for name in names():
        for dtype in dtypes:
            x = torch.zeros(1, 1, 1, dtype=dtype)
            nn.RNN(1, 1, nonlinearity=name, dtype=dtype)(x)
            nn.GRU(1, 1, activation=name, dtype=dtype)(x)
            nn.LSTM(1, 1, activation=name, dtype=dtype)(x)
        yield name
