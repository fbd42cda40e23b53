"""The main job as a person meets it: in Python and on the command line, good input and bad."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import throughtime as tt
from throughtime.errors import LedgerError, PlanError, ThroughtimeError
from throughtime.study import reopen
from throughtime.study.arms import activation_of, name_of, written
from throughtime.study.budget import Cost, measure, seconds_of, sized
from throughtime.study.plan import Plan
from throughtime.tasks import load

SMALL = {
    "arms": ("tanh", "relu"),
    "points": 2,
    "epochs": 2,
    "evaluation_seeds": 3,
    "hidden_size": 6,
    "workers": 1,
}


def throughtime(*arguments: object, language: str = "en", columns: int = 200):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "COLUMNS": str(columns),
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(
        [sys.executable, "-c", "from throughtime.cli import main; main()",
         *map(str, arguments), "--lang", language],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rhythms(tmp_path_factory) -> Path:
    """A wide table: which of two rhythms a series has; told apart by any network."""
    rng = np.random.default_rng(0)
    label = np.arange(80) % 2
    phase = rng.uniform(0, 6, (80, 1))
    waves = np.sin(phase + np.arange(12) * np.where(label, 0.5, 2.0)[:, None])
    table = pl.DataFrame(
        waves + rng.normal(0, 0.1, waves.shape), schema=[f"t{i}" for i in range(12)]
    )
    path = tmp_path_factory.mktemp("data") / "rhythms.csv"
    table.with_columns(rhythm=pl.Series(np.where(label, "slow", "fast"))).write_csv(path)
    return path


@pytest.fixture(scope="module")
def choice(rhythms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "out"
    return tt.choose(rhythms, target="rhythm", out=folder, **SMALL)


def test_the_choice_holds_all_that_was_promised(choice):
    assert choice.recommended in SMALL["arms"]
    assert choice.answer.startswith(
        ("Use", "Keep", "No difference", "Undecided", "Too few", "No arm")
    )
    assert choice.table["arm"].sort().to_list() == ["relu", "tanh"]
    assert {f.name for f in choice.folder.iterdir()} == {
        "choice.json", "report.html", "ledger.sqlite", "plan.toml", "model",
    }  # fmt: skip
    said = json.loads((choice.folder / "choice.json").read_text("utf-8"))
    assert said["recommended"] == choice.recommended
    assert said["plan_hash"] == Plan.load(choice.folder / "plan.toml").hash
    assert said["versions"]["throughtime"] == tt.__version__
    assert {a["arm"] for a in said["judgement"]["arms"]} == {"tanh", "relu"}


def test_the_model_is_the_one_that_was_measured(choice, rhythms):
    saved = choice.model
    task = load(rhythms, target="rhythm")
    rows = task.split(saved.about["seed"]).test
    frame = pl.read_csv(rhythms)
    answers = saved.predict(frame[rows.tolist()])["rhythm"]
    right = (answers == frame["rhythm"][rows.tolist()]).mean()
    assert right == pytest.approx(saved.about["test_score"], abs=1e-9)


def test_reopened_it_is_the_same_choice(choice, tmp_path):
    again = reopen(choice.folder)
    assert again.result.judgement == choice.result.judgement
    assert again.table.equals(choice.table)
    page = again.report(tmp_path / "page.html", language="zh")
    assert page.read_text("utf-8").lstrip().startswith("<!")


def test_the_same_call_again_does_no_run_again(choice, rhythms, monkeypatch):
    from throughtime.study.carry import Carrier

    monkeypatch.setattr(Carrier, "record", lambda *_: pytest.fail("a run was done again"))
    again = tt.choose(rhythms, target="rhythm", out=choice.folder, **SMALL)
    assert again.result.judgement == choice.result.judgement


def test_another_study_in_the_same_folder_is_refused(choice, rhythms):
    with pytest.raises(PlanError, match="differs in hidden_size"):
        tt.choose(rhythms, target="rhythm", out=choice.folder, **(SMALL | {"hidden_size": 7}))


def test_data_that_changed_under_a_study_are_refused(rhythms, tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(rhythms.read_bytes())
    tt.choose(path, target="rhythm", out=tmp_path / "out", **SMALL)
    pl.read_csv(path).with_columns(pl.col("t3") + 1).write_csv(path)
    with pytest.raises(LedgerError, match="have changed since"):
        tt.choose(path, target="rhythm", out=tmp_path / "out", **SMALL)


def test_a_frame_and_activations_of_ones_own(rhythms):
    mine = tt.Activation("mine", "x*sigmoid(beta*x)", beta=1.5, learnable=("beta",))
    arms = ("tanh", mine, "leaky_relu; slope=0.3")
    choice = tt.choose(pl.read_csv(rhythms), target="rhythm", **(SMALL | {"arms": arms}))
    assert set(choice.table["arm"]) == {"tanh", "mine", "leaky_relu(slope=0.3)"}
    assert choice.folder.is_dir()


@pytest.mark.parametrize("cells", [("gru",), ("rnn", "lstm")])
def test_every_cell_is_studied(rhythms, cells):
    choice = tt.choose(rhythms, target="rhythm", cells=cells, **SMALL)
    assert len(choice.table) == 2 * len(cells)


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("copy_memory:T=4,N=100", {}),
        ("noisy_sine", {}),
        ("adding:T=6,N=120", {}),
        ("anbn:N=100", {}),
    ],
)
def test_every_kind_of_problem_is_studied(source, data):
    choice = tt.choose(source, **(SMALL | {"epochs": 1, "points": 1}), **data)
    judgement = choice.result.judgement
    assert judgement.metric in ("mae", "bits_per_token", "accuracy")
    assert all(np.isfinite(a.score) for a in judgement.arms)


def test_symbols_have_no_scaling_to_tune():
    choice = tt.choose("anbn:N=100", **(SMALL | {"epochs": 1, "points": 4}))
    assert {r.values["scaling"] for r in choice.result.records} == {"none"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ("tanh", "rleu")}, "'rleu'"),
        ({"arms": ("tanh", "x**x")}, "no activation"),
        ({"arms": ("tanh", "mine = __import__('os')")}, "__import__"),
        ({"arms": ("tanh", "elu; alpha")}, "'alpha' is no setting"),
        ({"arms": ("tanh", "elu; alpha~1")}, "formula of your own"),
        ({"reference": "elu"}, "'elu' is not among"),
        ({"cells": ("cnn",)}, "cells"),
        ({"budget": "soon"}, "'soon' is no time"),
        ({"budget": "3m"}, "leave out: points, epochs, evaluation_seeds"),
        ({"workers": 0}, "workers = 0"),
        ({"space": {"start": ("sideways",)}}, "sideways"),
        ({"space": {"scaling": ("loud",)}}, "loud"),
        ({"space": {"momentum": (0.0, 1.0)}}, "space.momentum (= (0.0, 1.0))"),
        ({"space": {"rate": (0.1, 0.01)}}, "rate = (0.1, 0.01)"),
        ({"space": {"clip": ()}}, "at least one choice"),
        ({"arms": ("tanh", "elu", "tanh")}, "named twice in tanh, elu, tanh"),
        ({"level": 0.2}, "level = 0.2 is not above 0.5"),
        ({"smallest_difference": -1.0}, "smallest_difference = -1.0 is not above 0"),
        ({"hidden_size": 0}, "hidden_size = 0 is below 1"),
        ({"hidden_size": 2.5}, "hidden_size = 2.5 is no whole number"),
        ({"hidden_size": "wide"}, "hidden_size = 'wide'"),
        ({"target": "rythm"}, "rythm"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(rhythms, tmp_path, change, message):
    out = tmp_path / "out"
    with pytest.raises(ThroughtimeError, match=re.escape(message)):
        tt.choose(rhythms, out=out, **({"target": "rhythm"} | SMALL | change))
    assert not out.exists()


def test_a_folder_with_other_things_in_it_is_left_alone(rhythms, tmp_path):
    (tmp_path / "thesis.tex").write_text("my life's work")
    with pytest.raises(PlanError, match="holds other files"):
        tt.choose(rhythms, target="rhythm", out=tmp_path, **SMALL)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_budget_sizes_the_study_and_says_so_when_it_cannot():
    plan = Plan(data={"source": "adding"}, arms=("tanh", "relu"))
    cost = Cost(seconds_per_epoch=0.2, workers=2)
    small, large = sized(plan, cost, 60), sized(plan, cost, 600)
    assert small.runs * small.epochs < large.runs * large.epochs
    for chosen, seconds in ((small, 60), (large, 600)):
        assert cost.seconds(chosen) <= seconds
        assert chosen.evaluation_seeds >= 6
    with pytest.raises(PlanError, match="affords no study"):
        sized(plan, cost, 13)
    assert seconds_of("1.5m") == 90 and seconds_of("2h") == 7200


def test_the_timing_run_times_every_arm():
    task = load("adding:T=6,N=120")
    one = measure(Plan(data={}, arms=("tanh",)), task, 1)
    three = measure(Plan(data={}, arms=("tanh", "relu", "elu"), cells=("rnn", "lstm")), task, 1)
    assert 0 < one.seconds_per_epoch < three.seconds_per_epoch


@pytest.mark.parametrize("name", ["tanh", "elu", "prelu", "swish", "clipped_relu"])
def test_an_activation_written_as_an_arm_is_read_back(name):
    phi = tt.activation(name)
    again = activation_of(written(phi))
    assert again.expression == phi.expression
    assert {p.name: (p.default, p.learnable) for p in again.parameters.values()} == {
        p.name: (p.default, p.learnable) for p in phi.parameters.values()
    }
    assert name_of(written(phi)) == name


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("2 arms, each tuned at 2 points", "paired seeds", "Report:")),
        ("zh", ("2 个方案，每个在 2 个点上调参", "配对种子", "报告：")),
    ],
)
def test_the_command_line_tells_all_of_it_in_both_languages(rhythms, tmp_path, language, words):
    said = throughtime(
        "choose", rhythms, "--target", "rhythm", "--out", tmp_path / "out",
        "--arm", "tanh", "--arm", "relu", "--points", 2, "--epochs", 2,
        "--evaluation-seeds", 3, "--hidden-size", 6, "--workers", 1, language=language,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert all(word in said.stdout for word in words), said.stdout


def test_quiet_says_the_answer_only_and_json_is_json(choice, rhythms):
    again = (
        "choose", rhythms, "--target", "rhythm", "--out", choice.folder, "--arm", "tanh",
        "--arm", "relu", "--points", 2, "--epochs", 2, "--evaluation-seeds", 3,
        "--hidden-size", 6, "--workers", 1,
    )  # fmt: skip
    quiet = throughtime(*again, "--quiet")
    assert quiet.stdout.split() == choice.answer.split()
    found = json.loads(throughtime(*again, "--json").stdout)
    assert found["recommended"] == choice.recommended


def test_predict_works_in_a_fresh_process_and_refuses_what_does_not_fit(choice, rhythms, tmp_path):
    new = tmp_path / "new.csv"
    pl.read_csv(rhythms).drop("rhythm").head(7).write_csv(new)
    out = tmp_path / "o.csv"
    for model in (choice.folder, choice.folder / "model"):
        said = throughtime("predict", model, new, "-o", out)
        assert said.returncode == 0, said.stderr
    table = pl.read_csv(out)
    assert table.shape[0] == 7 and set(table["rhythm"]) <= {"slow", "fast"}
    assert table.equals(pl.read_csv(out)) and not list(tmp_path.glob(".*partial"))
    out.unlink()
    pl.read_csv(new).drop("t5").write_csv(new)
    for language, word in (("en", "t5"), ("zh", "t5")):
        said = throughtime("predict", choice.folder, new, "-o", out, language=language)
        assert said.returncode == 2 and word in said.stderr and "Traceback" not in said.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("choose", "nowhere.csv", "--target", "y"), "nowhere.csv"),
        (("choose", "digts"), "digits"),
        (("choose",), "source"),
        (("choose", "digits", "--points", "many"), "many"),
        (("predict", "nowhere", "x.csv", "-o", "o.csv"), "nowhere"),
        (("predict", "nowhere", "x.csv", "-o", "o.doc"), ".csv, .parquet, .json"),
        (("report", "nowhere"), "nowhere"),
    ],
)
def test_bad_commands_end_with_code_2_and_no_traceback(tmp_path, arguments, words):
    said = throughtime(*arguments)
    assert said.returncode == 2, said
    assert words in said.stderr + said.stdout
    assert "Traceback" not in said.stderr
