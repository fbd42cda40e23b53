"""Recurrent layers as in ``torch.nn``, with any activation in every place."""

from throughtime.nn.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
