from __future__ import annotations

import math
import pickle
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import throughtime as tt
from throughtime.errors import (
    ActivationError,
    DataError,
    LayerError,
    ModelError,
    ThroughtimeError,
    ThroughtimeWarning,
)
from throughtime.language import use_language

ROOT = Path(__file__).resolve().parents[2]
QUICK: dict[str, Any] = {"hidden_size": 8, "epochs": 12, "rate": 2e-2, "random_state": 0}
BOTH = [tt.SequenceClassifier, tt.SequenceRegressor]


def series(N: int = 80, T: int = 6, I: int = 2, seed: int = 0) -> np.ndarray:  # noqa: E741
    return np.random.default_rng(seed).normal(size=(N, T, I))


def labels(X: np.ndarray) -> np.ndarray:
    return np.where(X.reshape(len(X), X.shape[1], -1)[:, :, 0].sum(1) > 0, "up", "down")


def classifier(**changes: Any) -> tt.SequenceClassifier:
    return tt.SequenceClassifier(**{**QUICK, **changes})


def regressor(**changes: Any) -> tt.SequenceRegressor:
    return tt.SequenceRegressor(**{**QUICK, **changes})


# scikit-learn's contract


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_scikit_learns_own_checks_pass(kind):
    known = {
        "check_methods_subset_invariance": "single precision: the last digit depends on the batch"
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = kind(hidden_size=8, epochs=12, rate=2e-2)
        ran = check_estimator(estimator, on_fail=None, expected_failed_checks=known)
    bad = [(r["check_name"], r["exception"]) for r in ran if r["status"] == "failed"]
    assert not bad
    skipped = {r["check_name"] for r in ran if r["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}
    assert len(ran) > 45


def test_answers_hardly_depend_on_what_else_is_asked():
    X = series()
    fitted = regressor().fit(X, X[:, :, 0].sum(1))
    alone = np.concatenate([fitted.predict(x[None]) for x in X])
    np.testing.assert_allclose(fitted.predict(X), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_clone_has_the_same_parameters_and_learns_the_same(make):
    X = series()
    y = labels(X) if make is classifier else X[:, 0]
    phi = tt.Activation("mine", "x*sigmoid(k*x)", k=1.5)
    first = make(activation=phi, cell="gru").fit(X, y)
    copy = clone(first)
    assert copy.get_params() == first.get_params()
    assert not hasattr(copy, "model_")
    np.testing.assert_array_equal(copy.fit(X, y).predict(X), first.predict(X))
    assert copy.set_params(hidden_size=5).fit(X, y).model_.spec.hidden_size == 5
    assert is_classifier(copy) == (make is classifier) and is_regressor(copy) == (make is regressor)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict(X), first.predict(X))


def test_random_state_decides_and_none_draws_anew():
    X = series()
    y = labels(X)
    weights = [
        torch.cat([w.flatten() for w in classifier(random_state=r).fit(X, y).model_.parameters()])
        for r in (0, 0, 1, None, None, np.random.RandomState(0))
    ]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[5])
    for a, b in ((0, 2), (0, 3), (3, 4)):
        assert not torch.equal(weights[a], weights[b])


def test_fit_leaves_the_random_state_of_the_process_alone():
    before = torch.get_rng_state()
    X = series()
    classifier().fit(X, labels(X))
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_cross_validated_and_searched():
    X = series(N=90)
    assert cross_val_score(classifier(), X, labels(X), cv=3).mean() > 0.7
    targets = X[:, :, 0].sum(1)
    assert cross_val_score(regressor(epochs=30), X, targets, cv=3).mean() > 0.5
    grid = {"activation": ["elu", "x*sigmoid(x)"], "cell": ["rnn", "gru"]}
    search = GridSearchCV(classifier(epochs=5), grid, cv=2).fit(X, labels(X))
    assert set(search.best_params_) == set(grid)
    assert len(search.cv_results_["params"]) == 4 and np.isfinite(search.best_score_)


def test_it_stands_in_a_pipeline():
    X = series(I=1)[:, :, 0]
    model = make_pipeline(StandardScaler(), classifier(epochs=20, scaling="none"))
    model.fit(X, labels(X))
    assert model.score(X, labels(X)) > 0.8
    assert set(model.predict(X)) == {"up", "down"}
    assert model.set_params(sequenceclassifier__epochs=1).fit(X, labels(X))


def test_lists_of_different_lengths_are_cross_validated_too():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(T, 2)) for T in rng.integers(1, 9, 90)]
    y = np.array([x[:, 0].sum() > 0 for x in X])
    assert cross_val_score(classifier(), X, y, cv=3).mean() > 0.7


# what is learnt and told


def test_the_probabilities_are_those_of_the_answers():
    X = series()
    fitted = classifier().fit(X, labels(X))
    p = fitted.predict_proba(X)
    assert p.shape == (80, 2) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[p.argmax(1)])
    assert list(fitted.classes_) == ["down", "up"]
    assert fitted.score(X, labels(X)) == accuracy_score(labels(X), fitted.predict(X)) > 0.8


@pytest.mark.parametrize(
    "names",
    [
        ["up", "down"],
        [3, -7],
        [0.0, 2.0],
        [True, False],
        np.array(["up", "down"], object),
        np.array([1, 0], object),
        [np.datetime64("2020-01-01"), np.datetime64("2021-01-01")],
    ],
    ids=lambda names: f"{type(names[0]).__name__}",
)
def test_labels_of_any_kind_come_back_as_they_were(names):
    X = series()
    y = np.asarray(names)[(labels(X) == "up").astype(int)]
    fitted = classifier().fit(X, y)
    found = fitted.predict(X)
    assert found.dtype == y.dtype
    assert set(found.tolist()) <= set(y.tolist())
    assert fitted.score(X, y) > 0.8


def test_labels_of_pandas_and_polars_are_labels():
    X = series()
    for y in (pd.Series(labels(X)), pd.Series(labels(X), dtype="category"), pl.Series(labels(X))):
        assert classifier(epochs=2).fit(X, y).predict(X[:3]).tolist()[0] in ("up", "down")


def test_three_classes_and_members_far_between():
    X = series(N=60)
    y = np.array(["c"] + ["a", "b"] * 29 + ["b"])
    fitted = classifier(epochs=2).fit(X, y)
    assert fitted.predict_proba(X).shape == (60, 3)


def test_several_targets_come_back_in_their_own_units():
    X = series(N=120)
    y = X[:, :, 0].sum(1)[:, None] * (1, 1000) + (0, 5000)
    fitted = regressor(epochs=40).fit(X, y)
    found = fitted.predict(X)
    assert found.shape == (120, 2)
    assert fitted.score(X, y) == pytest.approx(r2_score(y, found)) and fitted.score(X, y) > 0.9
    assert abs(found[:, 1].mean() - 5000) < 500
    assert regressor(epochs=1).fit(X, y[:, 0]).predict(X).shape == (120,)
    assert regressor(epochs=1).fit(X, y[:, :1]).predict(X).shape == (120, 1)


def test_weights_of_samples_enter_the_score():
    X = series()
    y = labels(X)
    fitted = classifier(epochs=2).fit(X, y)
    weight = np.arange(80.0)
    found = fitted.score(X, y, sample_weight=weight)
    assert found == pytest.approx(accuracy_score(y, fitted.predict(X), sample_weight=weight))


def test_the_history_is_that_of_training():
    X = series()
    fitted = classifier(epochs=9, patience=9).fit(X, labels(X))
    assert set(fitted.history_) == {"train_loss", "validation_score"}
    loss, score = fitted.history_["train_loss"], fitted.history_["validation_score"]
    assert len(loss) == len(score) == 9
    assert loss[-1] < loss[0] and 0 <= min(score) <= max(score) <= 1
    assert score[fitted.best_epoch_] == max(score)


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "relu"},
        {"activation": "x*sigmoid(x)"},
        {"activation": tt.Activation("mine", "tanh(k*x)", k=2.0)},
        {"cell": "lstm"},
        {"hidden_size": 9},
        {"num_layers": 2},
        {"bidirectional": True},
        {"recurrent_init": "identity"},
        {"rate": 1e-2},
        {"clip": 0.01},
        {"batch_size": 5},
        {"epochs": 3},
        {"patience": 1},
        {"validation_share": 0.5},
        {"scaling": "minmax"},
        {"random_state": 5},
    ],
    ids=str,
)
def test_every_parameter_has_its_effect(change):
    X = series(N=40)
    y = X[:, :, 0].sum(1)
    plain = regressor(rate=0.1).fit(X, y)
    changed = regressor(rate=0.1).set_params(**change).fit(X, y)
    assert plain.history_ != changed.history_


def test_every_parameter_is_tested_here():
    tested = {
        next(iter(change)) for change in test_every_parameter_has_its_effect.pytestmark[0].args[1]
    }
    assert tested == set(tt.SequenceClassifier().get_params())


# shapes of X


def test_one_feature_may_be_written_without_its_axis():
    X = series(I=1)
    y = labels(X)
    table, cube = classifier().fit(X[:, :, 0], y), classifier().fit(X, y)
    np.testing.assert_array_equal(table.predict_proba(X[:, :, 0]), cube.predict_proba(X))
    assert (table.n_features_in_, cube.n_features_in_) == (6, 1)
    np.testing.assert_array_equal(cube.predict(X[:, :, 0]), cube.predict(X))
    np.testing.assert_array_equal(table.predict(X), table.predict(X[:, :, 0]))


def test_lists_lengths_and_object_arrays_say_the_same():
    rng = np.random.default_rng(0)
    steps = rng.integers(1, 7, 80)
    steps[0] = 6
    ragged = [rng.normal(size=(T, 2)) for T in steps]
    padded = np.full((80, 6, 2), np.nan)
    for n, x in enumerate(ragged):
        padded[n, : len(x)] = x
    y = np.array([x[:, 0].sum() for x in ragged])
    boxed = np.empty(80, object)
    boxed[:] = ragged
    by_list = regressor().fit(ragged, y)
    by_lengths = regressor().fit(padded, y, lengths=steps)
    expected = by_list.predict(ragged)
    np.testing.assert_array_equal(by_lengths.predict(padded, lengths=steps), expected)
    np.testing.assert_array_equal(by_lengths.predict(ragged), expected)
    np.testing.assert_array_equal(regressor().fit(boxed, y).predict(boxed), expected)
    np.testing.assert_array_equal(by_list.predict(torch.tensor(padded), steps), expected)
    assert by_lengths.score(padded, y, lengths=steps) == by_list.score(ragged, y)
    one_feature = [x[:, 0] for x in ragged]
    assert regressor(epochs=1).fit(one_feature, y).n_features_in_ == 1


def test_padding_that_would_be_read_as_data_is_refused():
    X, steps = series(), np.full(80, 4)
    fitted = classifier(epochs=1).fit(X, labels(X), lengths=steps)
    for padded in (X, torch.tensor(X)):
        with pytest.raises(DataError, match="Give lengths here too"):
            fitted.predict(padded)
    with pytest.raises(DataError, match="Give lengths here too"):
        fitted.score(X, labels(X))


def test_what_lies_beyond_the_lengths_is_never_read():
    X, steps = series(), np.arange(80) % 5 + 1
    y = labels(X)
    other = X.copy()
    other[np.arange(6) >= steps[:, None]] = 1e6
    answers = [
        classifier().fit(given, y, lengths=steps).predict_proba(given, steps)
        for given in (X, other)
    ]
    np.testing.assert_array_equal(*answers)


def test_series_may_be_longer_than_those_of_fit():
    X = series()
    fitted = classifier().fit(X, labels(X))
    assert fitted.predict(series(N=3, T=11)).shape == (3,)


def test_frames_name_their_columns():
    X = series(I=1)[:, :, 0]
    names = [f"t{k}" for k in range(6)]
    frame = pd.DataFrame(X, columns=names)
    fitted = classifier().fit(frame, labels(X))
    assert list(fitted.feature_names_in_) == names
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(X))
    np.testing.assert_array_equal(fitted.predict(pl.DataFrame(frame)), fitted.predict(X))
    with pytest.raises(DataError, match=r"Missing: -\. Unknown: -\. Otherwise their order"):
        fitted.predict(frame[names[::-1]])
    with pytest.raises(DataError, match=r"Missing: t5\. Unknown: T5"):
        fitted.predict(frame.rename(columns={"t5": "T5"}))
    assert not hasattr(fitted.fit(X, labels(X)), "feature_names_in_")


def test_what_is_given_is_never_changed():
    X, y = series(), labels(series())
    before = X.copy()
    X.flags.writeable = False
    fitted = classifier(epochs=1).fit(X, y, lengths=np.arange(80) % 6 + 1)
    fitted.predict(X, lengths=np.full(80, 2))
    np.testing.assert_array_equal(X, before)


# bad input: each an error in both languages


def fit(X: Any, y: Any, **given: Any) -> Any:
    return lambda: classifier(epochs=1).fit(X, y, **given)


def holed(value: float) -> np.ndarray:
    X = series()
    X[3, 4, 1] = value
    return X


GOOD, Y = series(), labels(series())
BAD_DATA = {
    "nan": (fit(holed(math.nan), Y), "NaN or infinity, first in series 3, step 4, feature 1: nan"),
    "inf": (fit(holed(-math.inf), Y), "feature 1: -inf"),
    "huge": (fit(holed(1e300), Y), "too large for single precision"),
    "text": (fit([["a", "b"], ["c", "d"]], ["p", "q"]), "array of real numbers"),
    "object": (fit([[{}, 1], [2, 3]], ["p", "q"]), "array of real numbers"),
    "dates": (fit(np.zeros((4, 3), "M8[s]"), list("aabb")), "array of real numbers.*datetime64"),
    "complex": (fit(GOOD + 1j, Y), "Complex data not supported"),
    "sparse": (fit(sparse.csr_array(GOOD[:, :, 0]), Y), "X is sparse"),
    "one axis": (fit(GOOD[0, :, 0], Y), "Reshape your data"),
    "four axes": (fit(GOOD[None], Y), r"shape \(1, 80, 6, 2\)"),
    "no series": (fit(GOOD[:0], Y[:0]), r"0 sample\(s\)"),
    "empty list": (fit([], []), r"0 sample\(s\)"),
    "no steps": (fit(GOOD[:, :0], Y), r"0 feature\(s\)"),
    "ragged features": (fit([np.zeros((3, 2)), np.zeros((4, 3))], [0, 1]), "Series 1 of X"),
    "empty series": (fit([np.zeros((3, 2)), np.zeros((0, 2))], [0, 1]), "Series 1 of X"),
    "scalars": (fit([1.0, 2.0], [0, 1]), "Reshape your data"),
    "none": (fit(None, Y), "Reshape your data"),
    "lengths": (fit(GOOD, Y, lengths=[7] * 80), "80 whole numbers between 1 and 6"),
    "lengths 0": (fit(GOOD, Y, lengths=[0] * 80), "80 whole numbers between 1 and 6"),
    "few lengths": (fit(GOOD, Y, lengths=[3] * 9), "80 whole numbers between 1 and 6"),
    "broken lengths": (fit(GOOD, Y, lengths=[2.5] * 80), "80 whole numbers"),
    "lengths of a list": (
        fit([np.zeros((3, 1)), np.zeros((2, 1))], [0, 1], lengths=[3, 2]),
        "lengths has no effect on a list",
    ),
    "no y": (fit(GOOD, None), "requires y to be passed"),
    "short y": (fit(GOOD, Y[:-1]), "80 series and y has 79 values"),
    "one class": (fit(GOOD, ["up"] * 80), "single class 'up'"),
    "values": (fit(GOOD, GOOD[:, 0, 0]), "Unknown label type: continuous.*SequenceRegressor"),
    "missing label": (fit(GOOD, [None, *Y[1:]]), "missing value, first in row 0"),
    "NA label": (fit(GOOD, pd.Series(["up", pd.NA] * 40)), "first in row 1"),
    "NaT label": (fit(GOOD, np.array(["2020", "NaT"] * 40, "M8[D]")), "first in row 1"),
    "nan label": (fit(GOOD, [*range(79), math.nan]), "first in row 79"),
    "mixed labels": (fit(GOOD, np.array([1, "a"] * 40, object)), r"int, str"),
    "wide y": (fit(GOOD, GOOD[:, :, 0]), r"y has the shape \(80, 6\)"),
    "scalar y": (fit(GOOD, 3), r"y has the shape \(\)"),
    "all different": (fit(GOOD[:4], list("abcd")), r"n_samples = 4.*At least 5"),
    "one value": (
        lambda: regressor().fit(GOOD[:1], [1.0]),
        r"n_samples = 1: that is too few.*At least 2",
    ),
    "text values": (lambda: regressor().fit(GOOD, Y), "y must hold numbers"),
    "nan values": (lambda: regressor().fit(GOOD, [1.0] * 79 + [math.nan]), "first in row 79"),
    "cube of values": (lambda: regressor().fit(GOOD, GOOD), r"y has the shape \(80, 6, 2\)"),
    "huge values": (lambda: regressor().fit(GOOD, [1e300] * 80), "too large"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_cannot_be_used_are_refused_in_both_languages(name):
    call, message = BAD_DATA[name]
    with pytest.raises(DataError, match=message) as error:
        call()
    assert any("\u4e00" <= letter <= "\u9fff" for letter in error.value.text("zh"))


BAD_PARAMETERS = {
    "activation": ({"activation": "rleu"}, ActivationError, "relu"),
    "formula": ({"activation": "x +* 2"}, ActivationError, r"x \+\* 2"),
    "hostile": ({"activation": "__import__('os')"}, ActivationError, "__import__"),
    "no activation": ({"activation": 3}, ModelError, "activation = 3"),
    "cell": ({"cell": "cnn"}, ModelError, "'cnn'.*rnn, gru, lstm"),
    "hidden_size": ({"hidden_size": 0}, LayerError, "hidden_size"),
    "num_layers": ({"num_layers": 1.5}, LayerError, "num_layers"),
    "bidirectional": ({"bidirectional": "yes"}, LayerError, "bidirectional"),
    "recurrent_init": ({"recurrent_init": "sideways"}, LayerError, "sideways"),
    "rate": ({"rate": -1}, ModelError, "rate = -1"),
    "clip": ({"clip": 0}, ModelError, "clip = 0"),
    "batch_size": ({"batch_size": 0}, ModelError, "batch_size = 0"),
    "epochs": ({"epochs": 2.5}, ModelError, "epochs = 2.5"),
    "patience": ({"patience": 0}, ModelError, "patience = 0"),
    "validation_share": ({"validation_share": 1}, ModelError, "validation_share = 1"),
    "scaling": ({"scaling": "loud"}, DataError, "loud"),
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_parameters_that_cannot_be_used_are_refused_when_fitted(name):
    change, kind, message = BAD_PARAMETERS[name]
    estimator = classifier(**change)
    with pytest.raises(kind, match=message) as error:
        estimator.fit(GOOD, Y)
    assert isinstance(error.value, ThroughtimeError)
    assert error.value.text("zh") != error.value.text("en")
    assert not hasattr(estimator, "model_")


def test_a_misspelt_parameter_is_an_error():
    with pytest.raises(TypeError, match="hiden_size"):
        tt.SequenceClassifier(hiden_size=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("make", [classifier, regressor])
def test_nothing_is_answered_before_fit(make):
    calls = [make().predict, *([make().predict_proba] if make is classifier else [])]
    for call in [*calls, lambda X: make().score(X, Y)]:
        with pytest.raises(NotFittedError, match="is not fitted yet") as error:
            call(GOOD)
        assert isinstance(error.value, ModelError)
        assert "尚未拟合" in error.value.text("zh")
        assert "is not fitted" in str(pickle.loads(pickle.dumps(error.value)))


def test_another_number_of_features_is_refused():
    cube = classifier(epochs=1).fit(GOOD, Y)
    for X in (GOOD[:, :, :1], GOOD[:, :, 0], series(I=3)):
        with pytest.raises(DataError, match=r"X has \d features, .* expecting 2 features") as error:
            cube.predict(X)
        assert "拟合时有 2 个特征" in error.value.text("zh")
    table = classifier(epochs=1).fit(GOOD[:, :, 0], Y)
    for X in (GOOD[:, :4, 0], GOOD, [[1.0], [1.0, 2.0]]):
        with pytest.raises(DataError, match="expecting 6 features as input: it was"):
            table.predict(X)
    for X in (holed(math.nan), GOOD[0]):
        with pytest.raises(DataError):
            cube.predict(X)


def test_labels_of_another_number_are_refused_in_score():
    fitted = classifier(epochs=1).fit(GOOD, Y)
    with pytest.raises(DataError, match="80 series and y has 79 values"):
        fitted.score(GOOD, Y[:-1])
    with pytest.raises(DataError, match="requires y"):
        fitted.score(GOOD, None)


def test_messages_are_in_the_language_in_use():
    use_language("zh")
    with pytest.raises(DataError, match="只有一个类别"):
        classifier().fit(GOOD, [1] * 80)
    with pytest.raises(NotFittedError, match="尚未拟合"):
        classifier().predict(GOOD)


def test_a_column_of_labels_is_taken_with_a_warning():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert classifier(epochs=1).fit(GOOD, Y[:, None]).predict(GOOD).shape == (80,)


# divergence


def test_divergence_in_the_first_epoch_is_an_error():
    model = regressor(activation="squared_relu", rate=1e4, clip=math.inf, epochs=3)
    with pytest.raises(ModelError, match=r"first epoch.*lower rate than 10000") as error:
        model.fit(series(T=30), series()[:, 0, 0])
    assert "第一轮就发散" in error.value.text("zh")
    assert not hasattr(model, "model_")


def test_divergence_later_keeps_the_best_network_and_says_so():
    X = series()
    model = regressor(activation="squared_relu", rate=0.3, clip=math.inf, batch_size=80)
    with pytest.warns(ThroughtimeWarning, match="diverged in epoch"):
        model.fit(X, X[:, :, 0].sum(1))
    assert np.isfinite(model.predict(X)).all()
    assert model.best_epoch_ < len(model.history_["train_loss"]) - 1


# the package


def test_they_are_found_where_people_look_and_cost_nothing_until_then(fresh_python):
    from throughtime.fleet import SequenceClassifier

    assert tt.SequenceClassifier is SequenceClassifier
    assert {"SequenceClassifier", "SequenceRegressor"} <= set(dir(tt))
    code = (
        "import sys; sys.path.insert(0, 'src')\n"
        "import throughtime.fleet\n"
        "print('sklearn' in sys.modules)"
    )
    said = subprocess.run([fresh_python, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout.strip() == "False", said.stderr


def test_the_examples_of_the_documentation_run():
    import doctest

    from throughtime.fleet import estimators, model

    for module in (estimators, model):
        assert doctest.testmod(module).failed == 0
