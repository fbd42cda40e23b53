"""Recurrent layers and cells as in ``torch.nn``, with any activation in every place."""

from typing import TYPE_CHECKING

from throughtime.nn import init
from throughtime.nn.cells import GRUCell, LSTMCell, RNNCell
from throughtime.nn.convert import convert
from throughtime.nn.layers import GRU, LSTM, RNN

if TYPE_CHECKING:
    from throughtime.nn.onnx import to_onnx

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "convert", "init", "to_onnx"]


def __getattr__(name: str):
    if name == "to_onnx":
        from throughtime.nn.onnx import to_onnx

        return to_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
