"""What ``throughtime trace`` looks at: a saved network or a factory's, and some sequences."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.errors import DataError, ModelError, ThroughtimeError
from throughtime.fleet.saved import SavedModel
from throughtime.gradients import Trace, demo, trace
from throughtime.gradients.plain import plain
from throughtime.language import say
from throughtime.tasks import Block, Preprocessing, Task, load

_OFFERED = ("input_size", "output_size", "per_step", "vocabulary_size")


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with sequences it can be run on, and the loss it was trained with.

    Attributes:
        name: of the network, for people.
        model: any module; called with x (B, T, I), or tokens (B, T), and where it takes them the
            lengths.
        block: the sequences, scaled.
        preprocessing: knows the loss.
        data: name of the data set.
    """

    name: str
    model: nn.Module
    block: Block
    preprocessing: Preprocessing
    data: str

    def said(self) -> str:
        """What is looked at, in a sentence."""
        return say(
            "gradients.looked_at", model=self.name, sequences=len(self.block), data=self.data
        )

    def trace(self) -> Trace:
        """What flows back through the network on these sequences."""
        takes_lengths = "lengths" in inspect.signature(self.model.forward).parameters

        def loss(model: nn.Module, block: Block) -> Tensor:
            more = {"lengths": block.lengths} if takes_lengths else {}
            try:
                outputs = model(block.x, **more)
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise self._failed(error) from error
            return self.preprocessing.loss(self._readable(outputs), block)

        return trace(self.model, self.block, loss)

    def _failed(self, error: Exception) -> ThroughtimeError:
        if isinstance(error, ThroughtimeError):
            return error
        return ModelError(
            "gradients.model_failed",
            model=self.name,
            data=self.data,
            reason=str(error).partition("\n")[0],
            shape=tuple(self.block.x.shape),
        )

    def _readable(self, outputs: Any) -> Tensor:
        """The outputs as the loss takes them: of the last step, where one a sequence is wanted."""
        while isinstance(outputs, tuple) and outputs:
            outputs = outputs[0]
        per_step, size = self.preprocessing.per_step, self.preprocessing.output_size
        B, T = self.block.x.shape[:2]
        wanted = (B, T, size) if per_step else (B, size)
        if not isinstance(outputs, Tensor):
            given = type(outputs).__name__
            raise ModelError("gradients.outputs", model=self.name, given=given, wanted=wanted)
        if not per_step and outputs.shape == (B, T, size):
            return outputs[torch.arange(B), self.block.lengths - 1]
        if outputs.shape != wanted:
            given = tuple(outputs.shape)
            raise ModelError("gradients.outputs", model=self.name, given=given, wanted=wanted)
        return outputs


def subject(model: str, source: str | None, batch: int, **options: Any) -> Subject:
    """The network and the sequences that a person named.

    Args:
        model: a folder that ``choose`` wrote, or ``package.module:factory``.
        source: a file or a built-in set; without it, the built-in set a saved model was trained on.
        batch: sequences to look at, spread evenly over the data.
        options: of :func:`throughtime.tasks.load`; a saved model knows its own.

    Raises:
        ModelError, DataError: what was named cannot be used; in the person's own names.

    Example:
        >>> subject("OUT", "new.csv", 32).trace().findings()  # doctest: +SKIP
        ()
    """
    if batch < 1:
        raise ModelError("gradients.batch", batch=batch)
    if ":" in model and not Path(model).exists():
        return _of_factory(model, source, batch, options)
    return _of_folder(model, source, batch, options)


def initial_table(*, as_json: bool = False) -> None:
    """Print the table of initial gradients, :mod:`throughtime.gradients.demo`, as it grows."""
    from rich.console import Console
    from rich.progress import track

    console = Console(highlight=False, quiet=as_json)
    cells: list[demo.InitialGradient] = []
    console.print(say("gradients.demo_cost", cells=demo.CELLS, networks=demo.NETWORKS))
    working, tables = say("gradients.demo_working"), demo.initial_gradients()
    try:
        for cell in track(tables, working, demo.CELLS, console=console, transient=True):
            cells.append(cell)
    finally:  # what is there is shown, also after ^C
        rows = [plain(cell) for cell in cells]
        text = json.dumps(rows, indent=1) if as_json else "\n".join(demo.table(cells))
        if cells:
            Console(highlight=False).print(text, markup=False, soft_wrap=True)


def _of_folder(folder: str, source: str | None, batch: int, options: dict[str, Any]) -> Subject:
    saved = SavedModel.load(folder)
    known = _reading(saved.reader)
    own = known.pop("source", None)
    source = own if source is None else source
    if source is None:
        raise DataError("gradients.which_data", model=folder)
    task = load(source, **known | options)
    task = _as_trained(task, saved.preprocessing)
    block = saved.preprocessing.block(task, _spread(task, batch))
    return Subject(folder, saved.model, block, saved.preprocessing, task.name)


def _of_factory(path: str, source: str | None, batch: int, options: dict[str, Any]) -> Subject:
    factory = _factory(path)
    if source is None:
        raise DataError("gradients.which_data", model=path)
    task = load(source, **options)
    prepared = task.prepare(task.split(0))
    offered = {name: getattr(prepared, name) for name in _OFFERED}
    takes = inspect.signature(factory).parameters
    try:
        model = factory(**{name: value for name, value in offered.items() if name in takes})
    except ThroughtimeError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError("gradients.factory_failed", factory=path, reason=reason) from error
    if not isinstance(model, nn.Module):
        raise ModelError("gradients.no_model", factory=path, given=type(model).__name__)
    block = prepared.preprocessing.block(task, _spread(task, batch))
    return Subject(path, model, block, prepared.preprocessing, task.name)


def _factory(path: str) -> Callable[..., Any]:
    name, _, attribute = path.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*", name) or not attribute.isidentifier():
        raise ModelError("gradients.no_such_model", model=path)
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError("gradients.not_imported", module=name, reason=reason) from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ModelError("gradients.no_factory", module=name, factory=attribute)
    return factory


def _reading(reader: dict[str, Any]) -> dict[str, Any]:
    """What a saved model knows of how its data are read, as options of ``load``."""
    names = ("source", "series", "time", "features", "group", "split_column", "missing", "problem",
             "horizon", "window")  # fmt: skip
    known = {name: reader[name] for name in names if reader.get(name) is not None}
    if reader["kind"] == "table":
        return known | {"target": list(reader["targets"])}
    return {name: known[name] for name in ("source", "missing") if name in known}


def _as_trained(task: Task, preprocessing: Preprocessing) -> Task:
    """The task with classes and symbols numbered as in training.

    Raises:
        DataError: features, targets, classes or symbols differ.
    """
    wanted = {"problem": preprocessing.problem, "features": list(preprocessing.feature_names)}
    given = {"problem": task.problem, "features": list(task.feature_names)}
    for what, value in wanted.items():
        if given[what] != value:
            raise DataError("gradients.other_data", data=task.name, what=what,
                            given=given[what], wanted=value)  # fmt: skip
    if task.problem not in ("classification", "next_token"):
        return task
    unknown = [name for name in task.class_names if name not in preprocessing.class_names]
    if unknown:
        raise DataError("gradients.other_classes", data=task.name, unknown=", ".join(unknown[:9]),
                        known=", ".join(preprocessing.class_names[:40]))  # fmt: skip
    number = np.array([preprocessing.class_names.index(name) for name in task.class_names])
    tokens = task.problem == "next_token"
    return replace(
        task,
        x=number[task.x] if tokens else task.x,
        y=number[task.y],
        class_names=preprocessing.class_names,
    )


def _spread(task: Task, batch: int) -> np.ndarray:
    rows = np.linspace(0, len(task) - 1, min(batch, len(task)))
    return rows.round().astype(int)
