"""A file run in ONNX Runtime beside the model it comes from."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.errors import MissingExtraError, ModelError
from throughtime.nn.onnx.network import Port, Ports

_SIZES = ((7, 3), (4, 1))
_TOLERANCE = {np.dtype("float32"): 1e-5, np.dtype("float64"): 1e-9}


def is_installed() -> bool:
    """Whether ONNX Runtime is there."""
    return importlib.util.find_spec("onnxruntime") is not None


def compare(model: nn.Module, file: bytes, ports: Ports) -> None:
    """Hold the file's outputs against the model's, at two lengths and two batch sizes.

    What rounding explains is allowed: ten times the distance of the model from itself in float64.
    Where the model itself overflows, nothing is compared.

    Raises:
        ModelError: they differ.
        MissingExtraError: ONNX Runtime is not installed.
    """
    if not is_installed():
        package = {"package": "onnxruntime", "extra": "onnx"}
        raise MissingExtraError("language.extra_missing", feature="to_onnx(check=True)", **package)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    model = copy.deepcopy(model).cpu().eval()
    exact = copy.deepcopy(model).double()
    draw = np.random.default_rng(0)
    for T, B in _SIZES:
        feeds = {port.name: _drawn(port, T, B, draw) for port in ports.inputs}
        answers = map(np.asarray, session.run(None, feeds))
        truths, rounded = _run(exact, feeds, torch.float64), _run(model, feeds, None)
        for port, answer, truth, near in zip(ports.outputs, answers, truths, rounded, strict=True):
            sound = np.isfinite(near) & np.isfinite(truth)
            answer, truth, near = answer[sound], truth[sound], near[sound]
            scale = max(1.0, np.abs(truth).max(initial=0.0))
            allowed = _TOLERANCE[ports.real] * scale + 10 * np.abs(near - truth).max(initial=0.0)
            difference = np.abs(answer - truth).max(initial=0.0)
            if not difference <= allowed:
                raise ModelError(
                    "onnx.differs",
                    output=port.name,
                    steps=T,
                    batch=B,
                    difference=f"{difference:.2g}",
                    allowed=f"{allowed:.2g}",
                    version=onnxruntime.__version__,
                )


def _drawn(port: Port, T: int, B: int, draw: np.random.Generator) -> np.ndarray:
    sizes = {"T": T, "B": B}
    shape = [sizes[size] if isinstance(size, str) else size for size in port.shape]
    if port.name == "lengths":
        return np.array([T, *draw.integers(0, T, B - 1)])
    if port.tokens:
        return draw.integers(0, port.tokens, shape)
    return draw.standard_normal(shape).astype(port.kind)


@torch.no_grad()
def _run(
    model: nn.Module, feeds: dict[str, np.ndarray], real: torch.dtype | None
) -> list[np.ndarray]:
    """The model's outputs in the order of the file's."""
    given = {name: torch.from_numpy(array) for name, array in feeds.items()}
    if real is not None:
        given = {k: v.to(real) if v.is_floating_point() else v for k, v in given.items()}
    lengths = given.get("lengths")
    if "x" in given:
        return [model(given["x"], lengths).numpy()]
    states = tuple(given[name] for name in ("h_0", "c_0") if name in given)
    hx = states if len(states) == 2 else next(iter(states), None)
    return [v.numpy() for v in _flat(model(given["input"], hx, lengths))]


def _flat(value: Tensor | tuple) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _flat(part)]
