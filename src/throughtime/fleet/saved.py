"""A trained network on disk: weights, what it is, and how data must look to enter it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from throughtime import __version__
from throughtime.errors import ModelError
from throughtime.fleet.model import ModelSpec, SequenceModel
from throughtime.fleet.train import predict
from throughtime.tasks import Preprocessing, format_predictions, read_new

if TYPE_CHECKING:
    import polars as pl

_FORMAT = 1
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_BROKEN = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A network with its preprocessing, as ``choose`` leaves it in ``OUT/model``.

    Attributes:
        model: the network.
        preprocessing: scales of the training part.
        reader: how the training file's columns were read.
        about: where it comes from: data, arm, scores, plan.

    Example:
        >>> SavedModel.load("OUT/model").predict("new.csv")  # doctest: +SKIP
    """

    model: SequenceModel
    preprocessing: Preprocessing
    reader: dict[str, Any]
    about: dict[str, Any]

    def predict(self, source: Any) -> pl.DataFrame:
        """The network's answers to new sequences, read as the training data were.

        Raises:
            DataError: the new data do not fit; the message says what differs.
        """
        new = read_new(source, self.reader, self.preprocessing)
        return format_predictions(predict(self.model, new), new, self.preprocessing)

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json``, beside and then moved into place.

        A model that stands in ``folder`` is replaced; until the new one is whole, it stays.

        Raises:
            ModelError: ``folder`` holds something else, or cannot be written.
        """
        folder = Path(folder).resolve()
        if _occupied(folder):
            raise ModelError("fleet.folder_in_use", folder=str(folder))
        beside, before = (folder.with_name(f"{folder.name}.{end}") for end in ("partial", "before"))
        try:
            for leftover in (beside, before):
                shutil.rmtree(leftover, ignore_errors=True)
            beside.mkdir(parents=True)
            weights = {k: v.contiguous() for k, v in self.model.state_dict().items()}
            save_file(weights, beside / _WEIGHTS)
            (beside / _CONFIG).write_text(self._config() + "\n", "utf-8")
            if folder.exists():
                folder.rename(before)
            beside.rename(folder)
        except (OSError, SafetensorError) as error:
            raise ModelError("fleet.not_saved", folder=str(folder), reason=error) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            if before.exists() and not folder.exists():
                before.rename(folder)
        shutil.rmtree(before, ignore_errors=True)

    def _config(self) -> str:
        """Everything but the weights, as strict JSON."""
        config = {
            "format": _FORMAT,
            "throughtime": __version__,
            "model": self.model.spec.to_config(),
            "preprocessing": self.preprocessing.to_config(),
            "reader": self.reader,
            "about": _strict(self.about),
        }
        return json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def load(cls, folder: str | Path) -> SavedModel:
        """Read a model back.

        Raises:
            ModelError: the folder holds no model, or one that cannot be read.
        """
        folder = Path(folder)
        if (folder / "model" / _CONFIG).exists():
            folder = folder / "model"
        for file in (_CONFIG, _WEIGHTS):
            if not (folder / file).is_file():
                raise ModelError("fleet.no_model", folder=str(folder), file=file)
        try:
            config = json.loads((folder / _CONFIG).read_text("utf-8"))
            if config["format"] != _FORMAT:
                raise ModelError("fleet.model_format", folder=str(folder), format=config["format"])
            model = SequenceModel(ModelSpec(**config["model"]))
            model.load_state_dict(load_file(folder / _WEIGHTS))
            preprocessing = Preprocessing.from_config(config["preprocessing"])
            reader, about = config["reader"], config["about"]
        except _BROKEN as error:
            if isinstance(error, ModelError) and error.key == "fleet.model_format":
                raise
            reason = f"{type(error).__name__}: {error}"
            raise ModelError("fleet.broken_model", folder=str(folder), reason=reason) from error
        return cls(model.eval(), preprocessing, reader, about)


def _occupied(folder: Path) -> bool:
    """Whether something stands there that is no model: saving must not wipe it away."""
    if not folder.is_dir():
        return folder.exists()
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return not names <= {_CONFIG, _WEIGHTS}


def _strict(value: Any) -> Any:
    """``value`` with None in the place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
