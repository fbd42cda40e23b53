"""Networks as ONNX files, for runtimes without Python or PyTorch."""

from throughtime.nn.onnx.export import to_onnx

__all__ = ["to_onnx"]
