"""A trained network on disk: weights, what it is, and how data must look to enter it."""

from __future__ import annotations

import json
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

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``, beside and then moved into place."""
        beside = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        weights = {k: v.contiguous() for k, v in self.model.state_dict().items()}
        save_file(weights, beside / "model.safetensors")
        config = {
            "format": _FORMAT,
            "throughtime": __version__,
            "model": self.model.spec.to_config(),
            "preprocessing": self.preprocessing.to_config(),
            "reader": self.reader,
            "about": self.about,
        }
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (beside / "config.json").write_text(text + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)

    @classmethod
    def load(cls, folder: str | Path) -> SavedModel:
        """Read a model back.

        Raises:
            ModelError: the folder holds no model, or one that cannot be read.
        """
        folder = Path(folder)
        if (folder / "model" / "config.json").exists():
            folder = folder / "model"
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            if config["format"] != _FORMAT:
                raise ModelError("fleet.model_format", folder=str(folder), format=config["format"])
            model = SequenceModel(ModelSpec(**config["model"]))
            model.load_state_dict(load_file(folder / "model.safetensors"))
            preprocessing = Preprocessing.from_config(config["preprocessing"])
            reader, about = config["reader"], config["about"]
        except (FileNotFoundError, NotADirectoryError) as absent:
            raise ModelError(
                "fleet.no_model", folder=str(folder), file=Path(absent.filename).name
            ) from None
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as broken:
            if isinstance(broken, ModelError):
                raise
            raise ModelError("fleet.broken_model", folder=str(folder), reason=broken) from None
        return cls(model.eval(), preprocessing, reader, about)
