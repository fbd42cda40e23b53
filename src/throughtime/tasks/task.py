"""A task: a person's sequences, what is to be predicted from them, and how they are divided."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from throughtime.language import say
from throughtime.tasks.preprocessing import Preprocessing, Problem, Scaling

Note = tuple[str, dict[str, Any]]

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Metric:
    """How predictions are scored, in units a person knows.

    Attributes:
        name: ``"accuracy"``, ``"mae"`` or ``"bits_per_token"``.
        higher_is_better: the direction.
        smallest_difference: the smallest difference that matters unless the person says otherwise:
            0.01 of accuracy, 0.02 bits, 2 % of the mean absolute deviation of the target.
        unit: what the figure counts, such as the name of the target column; may be empty.
    """

    name: str
    higher_is_better: bool
    smallest_difference: float
    unit: str


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a task in three disjoint parts (sorted row indices)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Block:
    """One part of a prepared task, scaled, as tensors.

    Attributes:
        x: (N, T, I) float32, zero beyond each length; (N, T) int64 tokens for ``next_token``.
        lengths: (N,) int64.
        y: classes (N,) int64; scaled values (N, K) float32; per step (N, T) int64 or (N, T, K)
            float32. Of sequences read for prediction: empty, (N, 0).
        counts: (N, T) bool, the steps that enter loss and score; ``None`` unless per step.
    """

    x: Tensor
    lengths: Tensor
    y: Tensor
    counts: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def rows(self, index: Tensor | slice) -> Block:
        """The sequences ``index`` chooses, as a batch."""
        counts = None if self.counts is None else self.counts[index]
        return Block(self.x[index], self.lengths[index], self.y[index], counts)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The three blocks of a task, scaled by what the training part alone says."""

    train: Block
    validation: Block
    test: Block
    preprocessing: Preprocessing

    @property
    def problem(self) -> Problem:
        """The kind of problem."""
        return self.preprocessing.problem

    @property
    def per_step(self) -> bool:
        """Whether there is an output at every step."""
        return self.preprocessing.per_step

    @property
    def input_size(self) -> int:
        """I: features a step, or the number of symbols (one-hot or embedded) of ``next_token``."""
        return self.preprocessing.input_size

    @property
    def output_size(self) -> int:
        """Classes, values or symbols the network puts out."""
        return self.preprocessing.output_size

    @property
    def vocabulary_size(self) -> int:
        """Symbols of ``next_token``; 0 for other problems, whose x is float."""
        return self.input_size if self.problem == "next_token" else 0


@dataclass(frozen=True, eq=False)
class Task:
    """Sequences as they were read: nothing is fitted or scaled yet.

    Attributes:
        name: of the data set, for people.
        problem: ``classification`` or ``regression`` of whole series, ``forecast`` of the next
            values from a window, ``next_step`` values or ``next_token`` at every step.
        x: (N, T, I) float32, zero padded; (N, T) int64 tokens for ``next_token``. May be a
            read-only strided view (windows of one long series).
        lengths: (N,) int64, steps of each sequence.
        y: (N,) int64 classes; (N, K) float32 values in the target's own unit, for a forecast
            K = horizon x targets, step by step; per step (N, T) int64 or (N, T, K) float32.
        per_step: whether there is a y at every step.
        counts: (N, T) bool, steps that enter loss and metric; ``None`` unless per step.
        feature_names: I names (empty for ``next_token``).
        target_names: of the target columns.
        class_names: of the classes, or the symbols of ``next_token``.
        reader: JSON-able; how a file's columns are read, so that ``predict`` reads new ones alike.
        notes: what was understood, (catalogue key, fields) pairs; ``task.said()`` renders them.
        groups: (N,) group numbers that a split must not tear apart, or ``None``.
        given: (N,) 0 training, 1 validation, 2 test where the data came divided, or ``None``.
        spans: (N, 2) int64, first and last time of each row's targets, for splits in time order.
        labels: (N,) names of the rows, for people.
        horizon: steps ahead of a forecast, else 0.
        target_columns: which features of x are the targets' own past (forecast, next_step).
        relative: whether forecasts are learnt as changes from the last value of each target.
        season: steps of the season given by the person, or ``None`` to infer it.
        test_share, validation_share: of all rows, where the data did not come divided.
    """

    name: str
    problem: Problem
    x: np.ndarray
    lengths: np.ndarray
    y: np.ndarray
    per_step: bool = False
    counts: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    reader: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    groups: np.ndarray | None = None
    given: np.ndarray | None = None
    spans: np.ndarray | None = None
    labels: tuple[str, ...] | None = None
    horizon: int = 0
    target_columns: tuple[int, ...] = ()
    relative: bool = False
    season: int | None = None
    test_share: float = 0.2
    validation_share: float = 0.2

    def __len__(self) -> int:
        return self.x.shape[0]

    def said(self, language: str | None = None) -> list[str]:
        """The notes as sentences."""
        return [say(key, language=language, **fields) for key, fields in self.notes]

    @cached_property
    def metric(self) -> Metric:
        """Accuracy, mean absolute error in the target's own unit, or bits per token."""
        from throughtime.tasks.metrics import metric_of

        return metric_of(self)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data: equal for equal tasks, whatever file they came from."""
        digest = hashlib.sha256(f"{self.problem} {self.class_names}".encode())
        parts = (self.x, self.lengths, self.y, self.counts, self.groups, self.given, self.spans)
        for array in parts:
            if array is not None:
                digest.update(f"{array.shape} {array.dtype}".encode())
                for start in range(0, len(array), 4096):
                    digest.update(array[start : start + 4096].tobytes())
        return digest.hexdigest()

    def split(self, seed: int) -> Split:
        """Training, validation and test rows.

        The test rows are the same for every seed. Training and validation rows are drawn by
        ``seed``, stratified by class or kept whole by group; in time order, where the rows are
        windows of longer series (then no target of one part overlaps another part's, whatever the
        seed). Divisions that came with the data are respected.

        Raises:
            DataError: too few sequences, or members of a class, to be divided.
        """
        from throughtime.tasks.split import split

        return split(self, seed)

    def prepare(self, split: Split, scaling: Scaling = "standard") -> Prepared:
        """Tensors of the three parts, scaled by the training part alone.

        Args:
            split: from :meth:`split`.
            scaling: of the features: ``"standard"`` (mean 0, deviation 1), ``"minmax"`` (training
                part to [0, 1]), ``"robust"`` (median 0, quartile distance 1) or ``"none"``.
                Features that are only 0 or 1 stay as they are. Numeric targets are always
                standardised for the loss; scores are in their own unit.

        Example:
            >>> from throughtime import tasks
            >>> task = tasks.load("digits")
            >>> prepared = task.prepare(task.split(seed=0))
            >>> prepared.train.x.shape[1:], prepared.input_size, prepared.output_size
            (torch.Size([64, 1]), 1, 10)
        """
        from throughtime.tasks.preprocessing import fit

        preprocessing = fit(self, split.train, scaling)
        blocks = (
            preprocessing.block(self, rows) for rows in (split.train, split.validation, split.test)
        )
        return Prepared(*blocks, preprocessing=preprocessing)

    def baselines(self, split: Split) -> dict[str, float]:
        """What predictors without a network score on the test block, by name, in the same metric.

        ``majority``; ``mean`` and ``median`` of the training part; ``last_value``,
        ``seasonal_naive``; ``unigram``, ``by_position``. For people they are named by
        ``say("tasks.baseline_" + name)``.
        """
        from throughtime.tasks.baselines import baselines

        return baselines(self, split)
