"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write beside ``path``, moved into its place at the end.

    If writing fails, what was at ``path`` stays. The name ends as that of ``path`` does, in small
    letters, since many writers choose their format by it.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole(folder / "note.txt") as beside:
        ...     _ = beside.write_text("all of it")
        >>> (folder / "note.txt").read_text()
        'all of it'
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(f".partial{path.suffix.lower()}", f".{path.stem}.", path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
