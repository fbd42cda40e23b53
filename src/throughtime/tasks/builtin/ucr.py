"""Sets of the UCR and UEA archives by name."""

from __future__ import annotations

import importlib.util
import os
from difflib import get_close_matches
from pathlib import Path

from throughtime.errors import DataError, MissingExtraError
from throughtime.tasks.options import Options
from throughtime.tasks.read.ts import from_ts
from throughtime.tasks.task import Task


def ucr(name: str, options: Options, folder: str | Path | None = None) -> Task:
    """A set of the archives with its published test set.

    Args:
        name: such as ``ArrowHead``.
        options: what else the person said.
        folder: where ``NAME_TRAIN.ts`` or ``NAME/NAME_TRAIN.ts`` lies; by default the files that
            come with aeon (the extra ``ucr``), then the cache, then a download by aeon into it.

    Raises:
        DataError: there is no such set.
        MissingExtraError: it is in no folder and aeon is not installed.
    """
    if not name or Path(name).name != name:
        raise DataError("tasks.ucr_name", name=name)
    if folder is not None:
        place = Path(folder).expanduser()
        inside, beside = _train_file(place, name), place / f"{name}_TRAIN.ts"
        path = beside if beside.exists() else inside
        if not path.exists():
            raise DataError("tasks.missing_file", file=str(path))
        return from_ts(path, None, options)
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "throughtime" / "ucr"
    for place in (*_shipped(), cache):
        if _train_file(place, name).exists():
            return from_ts(_train_file(place, name), None, options)
    return from_ts(_download(name, cache), None, options)


def _train_file(folder: Path, name: str) -> Path:
    return folder / name / f"{name}_TRAIN.ts"


def _shipped() -> list[Path]:
    spec = importlib.util.find_spec("aeon")
    places = spec.submodule_search_locations if spec is not None else None
    return [Path(place) / "datasets" / "data" for place in places or ()]


def _download(name: str, cache: Path) -> Path:
    if importlib.util.find_spec("aeon") is None:
        raise MissingExtraError(
            "language.extra_missing", feature=f"ucr:{name}", package="aeon", extra="ucr"
        )
    from aeon.datasets import load_classification, load_regression

    cache.mkdir(parents=True, exist_ok=True)
    reason = ""
    for read in (load_classification, load_regression):
        try:
            read(name, extract_path=str(cache))
        except Exception as error:  # aeon raises what the network and the archive give it
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if _train_file(cache, name).exists():
            return _train_file(cache, name)
    near = _near(name)
    if near is not None:
        raise DataError("tasks.ucr_unknown", name=name, near=near)
    raise DataError("tasks.ucr_unavailable", name=name, reason=reason)


def _near(name: str) -> str | None:
    """A set that may be meant, if there is none called ``name``."""
    from aeon.datasets.tsc_datasets import tsc_zenodo
    from aeon.datasets.tser_datasets import tsr_zenodo

    known = {n.lower(): n for n in (*tsc_zenodo, *tsr_zenodo)}
    if name in known.values():
        return None
    near = get_close_matches(name.lower(), known, 1, cutoff=0.6)
    return known[near[0]] if near else None
