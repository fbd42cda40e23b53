"""``throughtime trace``: saved networks and factories, page, JSON, the table; bad input told."""

from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pytest
import torch

from throughtime import cli
from throughtime.activations import activation
from throughtime.errors import DataError
from throughtime.fleet.model import ModelSpec, SequenceModel
from throughtime.fleet.saved import SavedModel
from throughtime.gradients import demo
from throughtime.study.subject import subject
from throughtime.tasks import load

FACTORIES = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, features, outputs, layer=nn.GRU):
        super().__init__()
        self.rnn = layer(features, 8, batch_first=True)
        self.head = nn.Linear(8, outputs)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class WithLengths(Net):
    def forward(self, x, lengths):
        y = self.rnn(x)[0]
        return self.head(y[torch.arange(len(x)), lengths - 1])


def make(input_size, output_size):
    return Net(input_size, output_size)


def with_lengths(output_size, input_size):
    return WithLengths(input_size, output_size)


def plain():
    return nn.LSTM(1, 10, batch_first=True)


def fails():
    raise RuntimeError("out of luck")


def number():
    return 3


def too_wide():
    return nn.RNN(1, 5, batch_first=True)


def of_three_features():
    return nn.RNN(3, 10, batch_first=True)


def feed_forward(output_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, output_size))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(FACTORIES)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def saved(folder, source, **options):
    """A network as ``choose`` leaves it."""
    task = load(source, **options)
    prepared = task.prepare(task.split(0))
    torch.manual_seed(0)
    spec = ModelSpec(
        "gru", activation("tanh").to_config(),
        prepared.vocabulary_size or prepared.input_size, prepared.output_size, hidden_size=8,
        per_step=prepared.per_step, vocabulary=prepared.vocabulary_size,
    )  # fmt: skip
    SavedModel(SequenceModel(spec), prepared.preprocessing, task.reader, {}).save(folder / "model")
    return folder


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["throughtime", "trace", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("factory", ["make", "with_lengths", "plain"])
def test_a_factory_on_a_built_in_set(factory, language, monkeypatch, capsys, folder):
    code, out, _ = run(
        monkeypatch, capsys, f"mine:{factory}", "digits", "--lag", 60, "--batch", 12,
        "--out", folder / "page.html", "--lang", language,
    )  # fmt: skip
    assert code == 0
    assert {"en": "12 sequences of digits", "zh": "12 条序列"}[language] in out
    assert "‖g_t‖" in out and "page.html" in out
    assert (folder / "page.html").read_text("utf-8").lstrip().startswith("<!")
    assert not list(folder.glob(".*"))


def test_json_alone(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "mine:make", "digits", "--lag", 64, "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert found["findings"][0]["cause"] == "vanishes"
    assert list(found["records"]) == ["rnn.l0"]


def test_a_saved_model_knows_its_set(monkeypatch, capsys, folder):
    saved(folder, "digits")
    for place in (folder, folder / "model"):
        code, out, _ = run(monkeypatch, capsys, place)
        assert code == 0 and "digits" in out


def test_a_saved_model_reads_its_table_and_scales_it_as_in_training(folder):
    draw = np.random.default_rng(0)
    rows = [
        {"id": f"s{n}", "t": t, "a": draw.normal(), "b": 50 + draw.normal(), "kind": "uv"[n % 2]}
        for n in range(40)
        for t in range(5 + n % 4)
    ]
    pl.DataFrame(rows).write_csv(folder / "all.csv")
    saved(folder, "all.csv", target="kind", series="id", time="t")
    looked = subject(str(folder), "all.csv", 6)
    assert looked.block.x.shape == (6, 8, 2)
    expected = SavedModel.load(folder).preprocessing
    task = load("all.csv", target="kind", series="id", time="t")
    block = expected.block(task, np.linspace(0, 39, 6).round().astype(int))
    torch.testing.assert_close(looked.block.x, block.x)
    assert looked.block.y.tolist() == block.y.tolist()
    other = [r if r["kind"] == "v" else r | {"kind": "w"} for r in rows]
    pl.DataFrame(other).write_csv(folder / "w.csv")
    with pytest.raises(DataError, match="holds w, which the network was not trained on"):
        subject(str(folder), "w.csv", 6)


def test_classes_are_numbered_as_in_training(folder):
    (folder / "text.txt").write_text("abcdefgh " * 900)
    saved(folder, "text.txt")
    (folder / "new.txt").write_text("hgfb " * 1700)
    looked = subject(str(folder), "new.txt", 4)
    names = looked.preprocessing.class_names
    assert "".join(names[i] for i in looked.block.x[0, :5]) in "hgfb hgfb "
    assert looked.trace().records


def test_sequences_of_different_length_are_read_out_at_their_last_step(folder):
    x = [np.ones((n, 1), np.float32) * n for n in (3, 5) for _ in range(20)]
    longest = np.zeros((40, 5, 1), np.float32)
    for row, one in zip(longest, x, strict=True):
        row[: len(one)] = one
    np.savez(folder / "a.npz", x=longest, y=np.arange(40) % 2, lengths=[len(one) for one in x])
    outputs = torch.arange(4 * 5 * 2.0).view(4, 5, 2)
    looked = subject("mine:make", "a.npz", 4)
    expected = outputs[torch.arange(4), looked.block.lengths - 1]
    assert torch.equal(looked._readable((outputs, None)), expected)


BAD = {
    "nothing": ((), "Which network?"),
    "no data": (("mine:make",), "Which sequences should go through mine:make?"),
    "no folder": (("nowhere", "digits"), "There is no model in nowhere"),
    "no name": (("mine:make it", "digits"), "does not read as package.module:factory"),
    "no module": (("nomod:make", "digits"), "The module nomod could not be imported"),
    "broken module": (("broken:make", "digits"), "No module named 'nothing_of_that_name'"),
    "no function": (("mine:makes", "digits"), "has no function makes"),
    "failing function": (("mine:fails", "digits"), "RuntimeError: out of luck"),
    "no module returned": (("mine:number", "digits"), "returned int"),
    "outputs": (("mine:too_wide", "digits"), "puts out (32, 64, 5), and the data need (32, 10)"),
    "inputs": (("mine:of_three_features", "digits"), "failed on the sequences of digits"),
    "no recurrent layer": (("mine:feed_forward", "digits"), "no recurrent layer"),
    "no file": (("mine:make", "none.csv"), "There is no file none.csv"),
    "lag": (("mine:make", "digits", "--lag", "0"), "lag = 0"),
    "batch": (("mine:make", "digits", "--batch", "0"), "--batch 0"),
    "ending": (("mine:make", "digits", "--out", "page.pdf"), "--out page.pdf"),
    "folder of the page": (("mine:make", "digits", "--out", "no/page.html"), "no/page.html"),
    "option": (("mine:make", "digits", "--horizon", "3"), "horizon"),
    "demo and a model": (("mine:make", "digits", "--demo"), "leave out MODEL"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_and_nothing_written(case, monkeypatch, capsys, folder):
    arguments, message = BAD[case]
    before = {p.name for p in folder.iterdir()}
    code, _, err = run(monkeypatch, capsys, *arguments, "--lang", "en")
    assert code == 2
    assert message in " ".join(err.split()) and "Traceback" not in err
    _, _, chinese = run(monkeypatch, capsys, *arguments, "--lang", "zh")
    assert chinese != err
    assert {p.name for p in folder.iterdir()} - {"__pycache__"} == before


def test_data_that_do_not_fit_a_saved_model(folder):
    saved(folder, "digits")
    with pytest.raises(DataError, match="does not fit the network: problem is"):
        subject(str(folder), "adding:T=8,N=200", 4)


def test_the_table_of_initial_gradients(monkeypatch, capsys):
    whole = demo.initial_gradients
    monkeypatch.setattr(
        demo, "initial_gradients",
        lambda: whole(["tanh", "relu"], ["identity"], ["normal"], [20], 10, 2),
    )  # fmt: skip
    code, out, _ = run(monkeypatch, capsys, "--demo", "--lang", "en")
    assert code == 0 and "64 cells" in out and "identity" in out and "% 0)" in out
    _, out, _ = run(monkeypatch, capsys, "--demo", "--json")
    assert [cell["activation"] for cell in json.loads(out)] == ["tanh", "relu"]


@pytest.mark.parametrize(("command", "ledger"), [("trace", False), ("choose", True)])
def test_only_a_study_goes_on_where_it_was_interrupted(monkeypatch, capsys, command, ledger):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    monkeypatch.setattr("sys.argv", ["throughtime", command])
    with pytest.raises(SystemExit, match="130"):
        cli.main()
    said = capsys.readouterr().err
    assert said.startswith("Interrupted.") and ("ledger" in said) == ledger


def test_a_table_that_was_interrupted_shows_what_is_there():
    cells = list(demo.initial_gradients(["tanh"], ["identity"], ["normal"], [20], 10, 2))
    other = list(demo.initial_gradients(["relu"], ["np"], ["normal"], [20], 10, 2))
    assert "–" in "\n".join(demo.table(cells + other))
