from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fleet_tasks import prepared, spec_for, sums

import throughtime as tt
from throughtime import fleet
from throughtime.errors import DataError, ModelError
from throughtime.fleet import Recipe, train
from throughtime.fleet.saved import SavedModel
from throughtime.tasks import load

ROOT = Path(__file__).resolve().parents[2]
MINE = tt.Activation(
    "mine", "where(x > 0, x, a*expm1(b*x))", a=(0.7, 0, 5), b=1.3, learnable={"a": "unit"}
)


def wide(path: Path, rows: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    frame = pl.DataFrame({f"t{k}": x[:, k] for k in range(6)})
    labels = pl.Series("label", np.where(x.sum(1) > 0, "涨", "down").tolist())
    frame.with_columns(labels).write_csv(path)
    return path


def saved_from(task, phi: Any = "tanh", about: dict | None = None, **spec) -> SavedModel:
    data = prepared(task)
    higher = task.metric.higher_is_better
    recipe = Recipe(rate=1e-2, clip=1.0, batch_size=16, epochs=3)
    wanted = spec_for(data, phi=phi, **spec)
    outcome = train(data, wanted, recipe, 0, higher_is_better=higher)
    return SavedModel(outcome.model, data.preprocessing, task.reader, about or {})


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> SavedModel:
    path = wide(tmp_path_factory.mktemp("data") / "train.csv", 60)
    return saved_from(load(path, target="label"), MINE)


def strict(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def test_a_fresh_process_predicts_exactly_the_same(classifier, tmp_path, fresh_python):
    new = wide(tmp_path / "new.csv", 25, seed=1)
    classifier.save(tmp_path / "model")
    here = classifier.predict(new)
    code = (
        "import sys; sys.path.insert(0, 'src')\n"
        "import torch; torch.set_num_threads(1)\n"
        "from throughtime.fleet import SavedModel\n"
        "SavedModel.load(sys.argv[1]).predict(sys.argv[2]).write_ipc(sys.argv[3])"
    )
    files = [tmp_path / "model", new, tmp_path / "out.arrow"]
    subprocess.run([fresh_python, "-c", code, *map(str, files)], check=True, cwd=ROOT)
    there = pl.read_ipc(files[2])
    assert here.equals(there)
    assert set(here["label"]) <= {"涨", "down"} and here.height == 25


def test_everything_is_there_again(classifier, tmp_path):
    about = {"arm": "mine", "clip": math.inf, "scores": [math.nan, 0.5], "何": "中文"}
    replace(classifier, about=about).save(tmp_path / "model")
    again = SavedModel.load(tmp_path / "model")
    assert again.model.spec == classifier.model.spec
    assert again.preprocessing == classifier.preprocessing
    assert again.reader == classifier.reader
    assert again.about == {"arm": "mine", "clip": None, "scores": [None, 0.5], "何": "中文"}
    weights = again.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in classifier.model.state_dict().items())
    assert not again.model.training


def test_the_configuration_is_strict_json(classifier, tmp_path):
    about = {"clip": math.inf, "validation_score": math.nan}
    replace(classifier, about=about).save(tmp_path / "model")
    config = strict(tmp_path / "model" / "config.json")
    assert config["about"] == {"clip": None, "validation_score": None}
    assert config["format"] == 1 and config["throughtime"] == tt.__version__


def test_a_formula_with_parameters_survives(classifier, tmp_path):
    classifier.save(tmp_path / "model")
    again = SavedModel.load(tmp_path / "model").model.recurrent
    assert again.nonlinearity == MINE
    assert again.nonlinearity.parameters["a"].high == 5
    learnt = again.nonlinearity_a_l0
    assert learnt.shape == (8,) and bool((learnt != 0.7).any())
    assert torch.equal(learnt, classifier.model.recurrent.nonlinearity_a_l0)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_networks_of_every_kind_come_back(cell, tmp_path):
    tokens = load("copy_memory", T=1, N=60)
    for n, (task, spec) in enumerate(
        [(tokens, {}), (sums(), {"bidirectional": True, "num_layers": 2})]
    ):
        model = saved_from(task, "swish", cell=cell, **spec)
        model.save(tmp_path / str(n))
        again = SavedModel.load(tmp_path / str(n))
        block = prepared(task).test
        assert torch.equal(model.model(block.x, block.lengths), again.model(block.x, block.lengths))


def test_the_folder_of_a_study_is_as_good_as_its_model(classifier, tmp_path):
    classifier.save(tmp_path / "out" / "model")
    assert SavedModel.load(tmp_path / "out").reader == classifier.reader
    assert fleet.SavedModel is SavedModel


# data that do not fit


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["t0", "t1", "t2", "t3", "t4"], "t5"),
        (["t0", "t1", "t2", "t3", "t4", "t5", "t6"], "t6"),
        (["label"], "t0"),
    ],
)
def test_a_table_with_other_columns_is_refused(classifier, tmp_path, columns, message):
    rng = np.random.default_rng(0)
    path = tmp_path / "new.csv"
    pl.DataFrame({name: rng.normal(size=4) for name in columns}).write_csv(path)
    with pytest.raises(DataError, match=message):
        classifier.predict(path)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_arrays_with_other_features_are_refused(shape):
    x = np.random.default_rng(0).normal(size=(60, 6, 2))
    model = saved_from(load((x, x[:, :, 0].sum(1) > 0)))
    assert model.predict(x[:4]).height == 4
    with pytest.raises(DataError, match=r"feature\(s\) a step; the model was trained on 2"):
        model.predict(np.zeros(shape))


# folders that hold no model


@pytest.mark.parametrize(("language", "words"), [("en", "no model"), ("zh", "没有模型")])
@pytest.mark.parametrize("missing", ["all", "config.json", "model.safetensors"])
def test_a_missing_model_is_named(classifier, tmp_path, missing, language, words):
    folder = tmp_path / "model"
    if missing != "all":
        classifier.save(folder)
        (folder / missing).unlink()
    with pytest.raises(ModelError) as error:
        SavedModel.load(folder)
    told = error.value.text(language)
    assert words in told and str(folder) in told
    assert ("config.json" if missing == "all" else missing) in told


def spoil(folder: Path, how: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    read = json.loads(config.read_text("utf-8"))
    if how == "cut":
        config.write_text(config.read_text("utf-8")[:100])
    elif how == "bytes":
        config.write_bytes(b"\xff\xfe\x00")
    elif how == "list":
        config.write_text("[]")
    elif how == "weights":
        weights.write_bytes(weights.read_bytes()[:50])
    elif how == "empty":
        weights.write_bytes(b"")
    else:
        change: dict[str, Any] = {
            "no_model": lambda: read.pop("model"),
            "null_model": lambda: read.update(model=None),
            "cell": lambda: read["model"].update(cell="cnn"),
            "size": lambda: read["model"].update(hidden_size=9),
            "negative": lambda: read["model"].update(hidden_size=-1),
            "extra": lambda: read["model"].update(depth=3),
            "formula": lambda: read["model"]["activation"].update(formula="__import__('os')"),
            "preprocessing": lambda: read["preprocessing"].pop("steps"),
            "null_preprocessing": lambda: read.update(preprocessing=None),
            "reader": lambda: read.pop("reader"),
        }
        change[how]()
        config.write_text(json.dumps(read))


CONFIGS = "cut bytes list no_model null_model cell size negative extra formula"
OTHERS = "preprocessing null_preprocessing reader weights empty"


@pytest.mark.parametrize("how", [*CONFIGS.split(), *OTHERS.split()])
def test_a_broken_model_is_an_error_that_names_the_folder(classifier, tmp_path, how):
    folder = tmp_path / "model"
    classifier.save(folder)
    spoil(folder, how)
    with pytest.raises(ModelError) as error:
        SavedModel.load(folder)
    assert error.value.key == "fleet.broken_model"
    assert "cannot be read" in error.value.text("en") and "无法读取" in error.value.text("zh")
    assert str(folder) in str(error.value)


def test_a_format_of_the_future_asks_for_an_upgrade(classifier, tmp_path):
    classifier.save(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "format": 99}))
    with pytest.raises(ModelError, match="format 99") as error:
        SavedModel.load(tmp_path / "model")
    assert "请升级" in error.value.text("zh")


# saving


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("where", ["save_file", "_config", "rename"])
def test_where_saving_fails_the_earlier_model_stays_whole(classifier, tmp_path, monkeypatch, where):
    folder = tmp_path / "model"
    classifier.save(folder)
    before = contents(folder)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    if where == "save_file":
        monkeypatch.setattr("throughtime.fleet.saved.save_file", full)
    elif where == "_config":
        monkeypatch.setattr(SavedModel, "_config", full)
    else:
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda p, to: full() if p.name.endswith("partial") else rename(p, to)
        )
    with pytest.raises(ModelError, match="No space left") as error:
        classifier.save(folder)
    assert "无法把模型保存" in error.value.text("zh")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert contents(folder) == before


def test_where_saving_fails_at_first_nothing_is_left(classifier, tmp_path):
    unfit = replace(classifier, reader={"step": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        unfit.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_replaces_a_model_and_nothing_else(classifier, tmp_path):
    classifier.save(tmp_path / "model")
    replace(classifier, about={"arm": "b"}).save(tmp_path / "model")
    assert SavedModel.load(tmp_path / "model").about == {"arm": "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]

    diary = tmp_path / "thesis"
    diary.mkdir()
    (diary / "chapter1.tex").write_text("years of work")
    with pytest.raises(ModelError, match="wipe it away"):
        classifier.save(diary)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="wipe it away"):
        classifier.save(tmp_path / "file")
    assert (diary / "chapter1.tex").read_text() == "years of work"
