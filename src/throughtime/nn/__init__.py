"""Recurrent layers and cells as in ``torch.nn``, with any activation in every place."""

from throughtime.nn import init
from throughtime.nn.cells import GRUCell, LSTMCell, RNNCell
from throughtime.nn.convert import convert
from throughtime.nn.layers import GRU, LSTM, RNN

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "convert", "init"]
