from __future__ import annotations

import numpy as np
import pytest
import torch

import throughtime as tt
from throughtime.nn import to_onnx

KINDS = {"rnn": tt.nn.RNN, "gru": tt.nn.GRU, "lstm": tt.nn.LSTM}
PHI = {"rnn": "nonlinearity", "gru": "activation", "lstm": "activation"}


def flat(value) -> list[np.ndarray]:
    if isinstance(value, tuple):
        return [array for part in value for array in flat(part)]
    return [value.detach().numpy()]


def session(path):
    ort = pytest.importorskip(
        "onnxruntime", reason="ONNX Runtime, the extra 'onnx', is not installed"
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture
def exported(tmp_path):
    """The session of a model's file, which is not compared on the way out."""

    def export(model, **options):
        return session(to_onnx(model, tmp_path / "model.onnx", check=False, **options))

    return export


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.onnx"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
