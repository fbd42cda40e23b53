"""One arm behind scikit-learn's interface: sequences in, classes or values out."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state

from throughtime.activations import Activation
from throughtime.activations import activation as look_up
from throughtime.errors import DataError, ModelError, ThroughtimeWarning
from throughtime.fleet import checks
from throughtime.fleet.model import ModelSpec
from throughtime.fleet.train import Outcome, Recipe, predict, train
from throughtime.language import say
from throughtime.tasks import Block, Scaling, Split, Task


class NotFitted(ModelError, NotFittedError):
    """An estimator was asked for an answer before it was fitted."""


class _SequenceEstimator(BaseEstimator):
    """What classifier and regressor share: parameters, training, and how X is read."""

    def __init__(
        self,
        *,
        activation: str | Activation = "tanh",
        cell: str = "rnn",
        hidden_size: int = 32,
        num_layers: int = 1,
        bidirectional: bool = False,
        recurrent_init: str = "orthogonal",
        rate: float = 3e-3,
        clip: float = 1.0,
        batch_size: int = 32,
        epochs: int = 100,
        patience: int = 20,
        validation_share: float = 0.2,
        scaling: Scaling = "standard",
        random_state: int | RandomState | None = None,
    ):
        self.activation = activation
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.recurrent_init = recurrent_init
        self.rate = rate
        self.clip = clip
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation_share = validation_share
        self.scaling: Scaling = scaling
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _train(self, given: checks.Given, index: np.ndarray | None, **task: Any) -> None:
        """Train on part of the series, validate on the rest, and keep what was learnt."""
        recipe = Recipe(self.rate, self.clip, self.batch_size, self.epochs, self.patience)
        share = self.validation_share
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            raise ModelError("fleet.share", name="validation_share", value=share)
        phi = _activation(self.activation)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        aside = checks.set_aside(len(given.x), index, share, seed)
        data = Task(
            name="X",
            x=given.x,
            lengths=given.lengths,
            feature_names=tuple(f"x{i}" for i in range(given.x.shape[2])),
            **task,
        )
        rows = (np.flatnonzero(~aside), np.flatnonzero(aside), np.zeros(0, np.int64))
        prepared = data.prepare(Split(*rows), self.scaling)
        spec = ModelSpec(
            cell=self.cell,
            activation=phi.to_config(),
            input_size=prepared.input_size,
            output_size=prepared.output_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            recurrent_init=self.recurrent_init,
        )
        higher = data.problem == "classification"
        outcome = train(prepared, spec, recipe, seed, higher_is_better=higher)
        self._tell_divergence(outcome)
        self.model_ = outcome.model
        self.preprocessing_ = prepared.preprocessing
        self.history_ = {
            "train_loss": list(outcome.train_curve),
            "validation_score": list(outcome.validation_curve),
        }
        self.best_epoch_ = outcome.best_epoch
        self.n_features_in_ = given.features
        self._table, self._with_lengths = given.table, given.with_lengths
        vars(self).pop("feature_names_in_", None)
        if given.names is not None:
            self.feature_names_in_ = np.array(given.names, object)

    def _tell_divergence(self, outcome: Outcome) -> None:
        if not outcome.diverged:
            return
        told = {"estimator": type(self).__name__, "rate": self.rate, "clip": self.clip}
        if outcome.best_epoch is None:
            raise ModelError("fleet.diverged_at_once", start=self.recurrent_init, **told)
        epochs = {"epoch": len(outcome.train_curve), "best": outcome.best_epoch + 1}
        warnings.warn(say("fleet.diverged", **epochs, **told), ThroughtimeWarning, stacklevel=4)

    def _outputs(self, X: Any, lengths: Any) -> torch.Tensor:
        """(N, K) outputs of the network, double precision."""
        if not hasattr(self, "model_"):
            raise NotFitted("fleet.not_fitted", estimator=type(self).__name__)
        given = checks.sequences(X, lengths)
        self._refuse_other_features(given)
        if self._with_lengths and lengths is None and not isinstance(X, (list, tuple)):
            raise DataError("fleet.lengths_in_fit")
        x = self.preprocessing_.scale_x(given.x, given.lengths)
        block = Block(x, torch.from_numpy(given.lengths), torch.zeros(len(x), 0))
        return predict(self.model_, block).double()

    def _refuse_other_features(self, given: checks.Given) -> None:
        names = getattr(self, "feature_names_in_", None)
        if names is not None and given.names is not None and given.names != tuple(names):
            missing = ", ".join(n for n in names if n not in given.names) or "-"
            unknown = ", ".join(n for n in given.names if n not in names) or "-"
            raise DataError("fleet.x_names", missing=missing, unknown=unknown)
        counts = {"wanted": self.n_features_in_, "estimator": type(self).__name__}
        if self._table and given.x.shape[1:] != (self.n_features_in_, 1):
            raise DataError("fleet.x_steps", given=given.features, **counts)
        if not self._table and given.x.shape[2] != self.n_features_in_:
            raise DataError("fleet.x_features", given=given.x.shape[2], **counts)


class SequenceClassifier(ClassifierMixin, _SequenceEstimator):
    """A recurrent network that classifies sequences, as an estimator of scikit-learn.

    Use it where one activation is to be fitted in a pipeline, a grid search or a cross-validation;
    :func:`throughtime.choose` compares several with paired seeds and a test set of its own.

    Args:
        activation: of the recurrent layer: a name of ``throughtime.activations()``, a formula in x
            such as ``"x*sigmoid(x)"``, or an ``Activation``.
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        hidden_size: units of a recurrent layer.
        num_layers: recurrent layers above each other.
        bidirectional: read the sequence both ways.
        recurrent_init: start of the recurrent matrix by name, see ``throughtime.nn.init``.
        rate: Adam's learning rate.
        clip: norm to which the whole gradient is clipped; ``inf`` clips nothing.
        batch_size: sequences a step.
        epochs: at most so many passes over the training series.
        patience: stop after so many epochs without a better validation score.
        validation_share: of the series given to ``fit``, set aside to find the best epoch.
        scaling: of the features by the training series: ``"standard"``, ``"minmax"``, ``"robust"``
            or ``"none"``.
        random_state: a number makes the fit reproducible (on one machine, with one number of
            threads); ``None`` draws anew.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained network.
        preprocessing_: scales of the training series.
        history_: ``train_loss`` and ``validation_score`` (accuracy), one value an epoch.
        best_epoch_: the epoch, from 0, whose weights were kept.
        n_features_in_: columns of a two-dimensional X, else features a step.
        feature_names_in_: names of the columns, where X was a frame.

    Shapes:
        X: (N, T), each column a step of one feature; (N, T, I); or a list of (T_n,) or (T_n, I)
            arrays, whose lengths may differ. ``lengths`` says how many steps of a padded array
            are valid. y: (N,) labels of any kind.

    Raises:
        DataError: X or y cannot be used; ModelError: a parameter cannot, or training diverged in
            its first epoch. Where it diverges later, the best network before is kept and a
            ThroughtimeWarning says so.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(80, 10, 2))
        >>> y = np.where(X[:, :, 0].sum(1) > 0, "up", "down")
        >>> network = SequenceClassifier(activation="elu", epochs=20, random_state=0).fit(X, y)
        >>> network.predict(X[:2]).shape, network.predict_proba(X[:2]).shape
        ((2,), (2, 2))
    """

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Train on X and y; see the class for their shapes."""
        given = checks.sequences(X, lengths)
        found, index = checks.classes(y, len(given.x), type(self).__name__)
        names = tuple(map(str, found))
        self._train(
            given, index, problem="classification", y=index, target_names=("y",), class_names=names
        )
        self.classes_ = found
        return self

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(N,) the likeliest label of each series."""
        likeliest = self._outputs(X, lengths).argmax(-1).numpy()
        return self.classes_[likeliest]

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(N, C) the probability of each label, in the order of ``classes_``."""
        return self._outputs(X, lengths).softmax(-1).numpy()

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """Share of the series whose label is right."""
        found = self.predict(X, lengths)
        right = checks.labels(y, len(found), type(self).__name__) == found
        return float(np.average(right, weights=sample_weight))


class SequenceRegressor(RegressorMixin, _SequenceEstimator):
    """A recurrent network that gives each sequence one or several values, for scikit-learn.

    Parameters, shapes of X, attributes and errors are those of :class:`SequenceClassifier`; the
    validation score is the mean absolute error in y's own units, and there are no ``classes_``.

    Shapes:
        y: (N,) or (N, K) values; ``predict`` gives back the same.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(60, 8))
        >>> network = SequenceRegressor(cell="gru", epochs=20, random_state=0).fit(X, X[:, -1])
        >>> network.predict(X[:3]).shape
        (3,)
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Train on X and y; see :class:`SequenceClassifier` for their shapes."""
        given = checks.sequences(X, lengths)
        read = checks.values(y, len(given.x), type(self).__name__)
        columns = read.reshape(len(read), -1)
        names = ("y",) if read.ndim == 1 else tuple(f"y{k}" for k in range(columns.shape[1]))
        self._train(given, None, problem="regression", y=columns, target_names=names)
        self._one_value = read.ndim == 1
        return self

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(N,) or (N, K) values, as y was in ``fit``, in its own units."""
        outputs = self._outputs(X, lengths)
        read = self.preprocessing_.values(outputs).numpy()
        return read[:, 0] if self._one_value else read

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """R², the mean over several targets."""
        return float(r2_score(y, self.predict(X, lengths), sample_weight=sample_weight))


def _activation(given: Any) -> Activation:
    """A name, a formula or an Activation as an Activation."""
    if isinstance(given, Activation):
        return given
    if not isinstance(given, str):
        raise ModelError("fleet.unknown_activation", given=given)
    if given.isidentifier() and given != "x":
        return look_up(given)
    return Activation(given, given)
