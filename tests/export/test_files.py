"""What can be exported, and what the file says of itself."""

from __future__ import annotations

import doctest
import json
import subprocess

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.errors import MissingExtraError, ModelError
from throughtime.fleet import ModelSpec, SequenceModel
from throughtime.nn import to_onnx
from throughtime.nn.onnx import export

from .conftest import KINDS, flat

SIZES = ((7, 3), (4, 1))


def spec(cell="gru", phi="elu", **options) -> ModelSpec:
    return ModelSpec(cell, tt.activation(phi).to_config(), 3, 2, hidden_size=6, **options)


@pytest.mark.parametrize("vocabulary", [0, 11])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(("cell", "phi"), [("rnn", "relu"), ("gru", "elu"), ("lstm", "snake")])
def test_a_sequence_model(exported, cell, phi, per_step, bidirectional, vocabulary):
    options = {"per_step": per_step, "bidirectional": bidirectional, "vocabulary": vocabulary}
    model = SequenceModel(spec(cell, phi, num_layers=2, **options))
    session = exported(model)
    for T, B in SIZES:
        x = torch.randint(11, (B, T)) if vocabulary else torch.randn(B, T, 3)
        lengths = torch.randint(T + 1, (B,))
        (y,) = session.run(["y"], {"x": x.numpy(), "lengths": lengths.numpy()})
        np.testing.assert_allclose(y, model(x, lengths).detach(), atol=1e-5)


def test_a_sequence_model_without_lengths(exported):
    model = SequenceModel(spec())
    session, x = exported(model, lengths=False), torch.randn(4, 5, 3)
    (y,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(y, model(x).detach(), atol=1e-5)


def test_the_file_says_what_it_is(file):
    phi = tt.activation("leaky_relu", slope=0.2)
    assert to_onnx(tt.nn.GRU(3, 4, activation=phi, batch_first=True), str(file)) == file
    proto = onnx.load(file)
    onnx.checker.check_model(proto, full_check=True)
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert about["throughtime"] == tt.__version__
    activations = json.loads(about["activations"])
    assert tt.Activation.from_config(activations["activation"]) == phi
    assert activations["gate_activation"]["formula"] == "sigmoid(x)"
    assert json.loads(about["inputs"]) == {"input": ["B", "T", 3], "lengths": ["B"]}
    assert json.loads(about["outputs"]) == {"output": ["B", "T", 4], "h_n": [1, "B", 4]}
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 22)]


def test_the_same_model_gives_the_same_file(file, tmp_path):
    layer = tt.nn.LSTM(3, 4, activation="gelu", bidirectional=True)
    again = to_onnx(layer, tmp_path / "again.onnx")
    assert to_onnx(layer, file).read_bytes() == again.read_bytes()


class OfOnesOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = tt.nn.GRU(3, 4), nn.Linear(4, 1)


class Changed(tt.nn.RNN):
    def forward(self, *args, **options):
        y, h_n = super().forward(*args, **options)
        return 2 * y, h_n


class Alike(SequenceModel):
    """Has one part more than a SequenceModel."""

    def __init__(self, spec):
        super().__init__(spec)
        self.norm = nn.LayerNorm(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(2, 2), r"A Linear cannot become .*SequenceModel"),
        (lambda: "model", r"A str cannot become"),
        (OfOnesOwn, r"A OfOnesOwn .* one by one: encoder \(GRU\)"),
        (lambda: Changed(3, 4), r"A Changed cannot become"),
        (lambda: Alike(spec()), r"recurrent \(GRU\)"),
        (lambda: nn.LSTM(3, 4), r"This LSTM is torch\.nn's own.*convert\(layer\)"),
        (lambda: nn.GRUCell(3, 4), r"This GRUCell is torch\.nn's own"),
        (lambda: tt.nn.LSTMCell(3, 4), r"A LSTMCell is one step.*Build LSTM .*states=True"),
        (lambda: tt.nn.RNN(3, 4).bfloat16(), r"weights are torch\.bfloat16; .*model\.float\(\)"),
    ],
)
def test_what_cannot_be_exported_says_what_can(file, make, message):
    with pytest.raises(ModelError, match=message) as refused:
        to_onnx(make(), file)
    assert refused.value.text("zh") != refused.value.text("en")
    assert not file.exists()


def test_weights_of_two_types_and_weights_that_diverged(file):
    model = SequenceModel(spec())
    model.readout.double()
    with pytest.raises(ModelError, match=r"torch\.float32, torch\.float64"):
        to_onnx(model, file)
    layer = tt.nn.RNN(3, 4)
    with torch.no_grad():
        layer.bias_hh_l0[1] = torch.nan
    with pytest.raises(ModelError, match="bias_hh_l0 holds values that are not finite"):
        to_onnx(layer, file)


def test_states_of_a_model_that_has_none(file):
    with pytest.raises(ModelError, match=r"states=True has no effect on a SequenceModel"):
        to_onnx(SequenceModel(spec()), file, states=True)


@pytest.mark.parametrize("path", ["", "absent/model.onnx"])
def test_a_path_that_is_no_file(tmp_path, path):
    with pytest.raises(ModelError, match="cannot be written"):
        to_onnx(tt.nn.RNN(3, 4), tmp_path / path)


def test_a_file_that_computes_something_else_is_not_written(file):
    layer = tt.nn.RNN(3, 4)
    before = to_onnx(layer, file).read_bytes()
    layer.register_forward_hook(lambda module, given, result: (result[0] + 1e-3, result[1]))
    with pytest.raises(ModelError, match=r"output differs by 0\.001 at 7 steps and batch size 3"):
        to_onnx(layer, file)
    assert file.read_bytes() == before
    assert [f.name for f in file.parent.iterdir()] == [file.name]
    to_onnx(layer, file, check=False)


def test_rounding_that_grows_is_no_difference(file):
    layer = tt.nn.RNN(3, 32, nonlinearity="sin")
    with torch.no_grad():
        layer.weight_hh_l0.mul_(40)
    to_onnx(layer, file, check=True)


def test_a_network_that_overflows_is_compared_up_to_there(file):
    phi = tt.Activation("e", "exp(x)")
    to_onnx(tt.nn.RNN(3, 4, nonlinearity=phi, dtype=torch.float64), file, check=True)


def test_without_onnx_runtime_the_file_is_written_unchecked(file, monkeypatch):
    monkeypatch.setattr(export.runtime, "is_installed", lambda: False)
    layer = tt.nn.RNN(3, 4)
    layer.register_forward_hook(lambda module, given, result: (result[0] + 1, result[1]))
    to_onnx(layer, file)
    with pytest.raises(MissingExtraError, match=r"onnxruntime.*throughtime\[onnx\]"):
        to_onnx(layer, file, check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_of_onnx_itself_agrees(exported, file, kind):
    """A second implementation of the standard, as far as it has Scan: forwards."""
    from onnx.reference import ReferenceEvaluator

    layer = KINDS[kind](3, 4, num_layers=2, dtype=torch.float64)
    exported(layer)
    x, lengths = torch.randn(5, 3, 3, dtype=torch.float64), torch.tensor([5, 2, 4])
    found = ReferenceEvaluator(str(file)).run(
        None, {"input": x.numpy(), "lengths": lengths.numpy()}
    )
    for u, v in zip(found, flat(layer(x, None, lengths)), strict=True):
        np.testing.assert_allclose(u, v, atol=1e-12)


def test_onnx_is_imported_only_when_asked_for(fresh_python):
    code = "import sys, throughtime.nn as nn; assert 'onnx' not in sys.modules; nn.to_onnx"
    subprocess.run([fresh_python, "-c", code], check=True, env={"PYTHONPATH": "src"})


def test_the_examples_run():
    result = doctest.testmod(export)
    assert result.attempted > 0 and result.failed == 0
