"""Files and frames to tables of columns: nothing is interpreted yet."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.describe import listed

SEPARATORS = {".csv": None, ".tsv": "\t"}
TABLES = (*SEPARATORS, ".parquet", ".arrow", ".feather", ".ipc")
TEXTS = (*SEPARATORS, ".ts", ".txt")
"""What may be compressed, ``.csv.gz`` and so on."""
_CANDIDATES = ",;\t|"
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as they stand in a file or frame.

    Attributes:
        frame: the columns; all text if they come from a text file.
        name: of the file, or what to call the frame, in messages.
        rows: (R,) how a person counts each row: from 2 in a text file, whose header is row 1 as
            in a spreadsheet; from 0 in a frame.
    """

    frame: pl.DataFrame
    name: str
    rows: np.ndarray

    def row(self, index: Any) -> int:
        """How a person counts the row ``index``."""
        return int(self.rows[index])

    def take(self, rows: np.ndarray) -> Table:
        """The given rows, counted as before."""
        return Table(self.frame[rows], self.name, self.rows[rows])

    def require(self, names: tuple[str, ...], option: str) -> None:
        """Every name must be a column.

        Raises:
            DataError: a name is not, with the nearest column if one is near.
        """
        for name in names:
            if name not in self.frame.columns:
                near = get_close_matches(name, self.frame.columns, 1, cutoff=0.6)
                raise DataError(
                    "tasks.unknown_column_near" if near else "tasks.unknown_column",
                    source=self.name,
                    option=option,
                    column=name,
                    columns=listed(self.frame.columns),
                    **({"near": near[0]} if near else {}),
                )


def existing(source: str | Path) -> Path:
    """A path that is a readable, non-empty file.

    Raises:
        DataError: it is missing, a folder, or empty.
    """
    path = Path(source).expanduser()
    if not exists(path):
        near = get_close_matches(path.name, _neighbours(path), 1, cutoff=0.7)
        if near:
            raise DataError("tasks.missing_file_near", file=str(source), near=near[0])
        raise DataError("tasks.missing_file", file=shortened(str(source)))
    if path.is_dir():
        raise DataError("tasks.folder", file=str(source))
    if path.stat().st_size == 0:
        raise DataError("tasks.empty_file", file=path.name)
    return path


def suffix_of(path: Path) -> str:
    """The ending that tells the kind of a file; ``.csv`` of ``a.csv.gz`` too."""
    inner = Path(path.stem).suffix.lower()
    zipped = path.suffix.lower() == ".gz" and inner in TEXTS
    return inner if zipped else path.suffix.lower()


def exists(path: Path) -> bool:
    """Whether there is such a file or folder."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that can name no file
        return False


def shortened(text: str, most: int = 200) -> str:
    """What may be far too long for a message."""
    return text if len(text) <= most else f"{' '.join(text[:most].split())}…"


def _neighbours(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir()]
    except OSError:
        return []


def read_table(path: Path) -> Table:
    """The columns of a CSV, TSV, Parquet, Arrow or Feather file."""
    suffix = suffix_of(path)
    if suffix in SEPARATORS:
        return _read_text_table(path, SEPARATORS[suffix])
    try:
        if suffix == ".parquet":
            frame = pl.read_parquet(path)
        else:
            with path.open("rb") as file:
                streamed = file.read(6) != b"ARROW1"
            frame = pl.read_ipc_stream(path) if streamed else pl.read_ipc(path)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _other_kind(path, error) from None
    return _filled(frame, path.name, 0)


def _read_text_table(path: Path, separator: str | None) -> Table:
    text = read_text(path).rstrip()
    blank = len(text) - len(text.lstrip("\n"))
    body = text[blank:]
    if separator is None:
        separator = max(_CANDIDATES, key=body.partition("\n")[0].count)
    try:
        cells = pl.read_csv(
            body.encode(), separator=separator, has_header=False, infer_schema=False
        )
    except pl.exceptions.PolarsError as error:
        line = _first_ragged_line(body, separator)
        if line is None:
            raise _other_kind(path, error) from None
        row, count, columns = line
        raise DataError(
            "tasks.ragged_row", source=path.name, row=blank + row, cells=count, columns=columns
        ) from None
    header = [(name or "").strip() for name in cells.row(0)]
    _check_header(path.name, header)
    frame = cells.rename(dict(zip(cells.columns, _named(header), strict=True)))[1:]
    return _filled(_without_empty_ends(frame, header), path.name, blank + 2)


def _named(header: list[str]) -> list[str]:
    """Names as pandas gives them to columns without one."""
    return [name or f"unnamed: {i}" for i, name in enumerate(header)]


def _without_empty_ends(frame: pl.DataFrame, header: list[str]) -> pl.DataFrame:
    """Without what spreadsheets leave: empty rows at the end, empty columns of no name."""
    empty = frame.select(pl.all_horizontal(pl.all().fill_null("").str.strip_chars() == ""))
    filled = (~empty.to_series()).arg_true()
    frame = frame.head(int(filled[-1]) + 1 if len(filled) else 0)
    unnamed = [c for c, name in zip(frame.columns, header, strict=True) if not name]
    return frame.drop(c for c in unnamed if (frame[c].fill_null("").str.strip_chars() == "").all())


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 that says so, every line ended by one newline.

    Raises:
        DataError: it holds something else.
    """
    data = _bytes(path)
    try:
        text = data.decode("utf-16" if data.startswith(_WIDE_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        key = "tasks.binary_file" if b"\0" in data else "tasks.not_utf8"
        raise DataError(key, file=path.name, suffix=suffix_of(path))
    if not text.strip():
        raise DataError("tasks.empty_file", file=path.name)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix.lower() != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _other_kind(path, error) from None


def _check_header(source: str, header: list[str]) -> None:
    repeated = (
        {name for name in header if name and header.count(name) > 1}
        if len(set(header)) < len(header)
        else set()
    )
    numbers = [_as_number(name) for name in header]
    fractions = any("." in name for name in header)
    if all(n is not None for n in numbers) and (repeated or fractions):
        raise DataError("tasks.no_header", source=source, first=listed(header, 4))
    if repeated:
        raise DataError("tasks.duplicate_columns", source=source, columns=listed(sorted(repeated)))


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _first_ragged_line(text: str, separator: str) -> tuple[int, int, int] | None:
    """The first line with more cells than the header: its number, its cells and the header's."""
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    width = len(next(reader, []))
    found = ((reader.line_num, len(cells), width) for cells in reader if len(cells) > width)
    return next(found, None)


def _filled(frame: pl.DataFrame, name: str, first_row: int) -> Table:
    if not frame.height:
        raise DataError("tasks.no_rows", source=name)
    return Table(frame, name, np.arange(first_row, first_row + frame.height))


def _other_kind(path: Path, error: Exception) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(": Error {")[
        0
    ]
    return DataError("tasks.other_kind", file=path.name, suffix=path.suffix, reason=reason)


def frame_table(frame: Any) -> Table:
    """A pandas, polars or arrow frame; a named or time index of pandas becomes columns.

    A series is a frame of one column, called ``value`` where it has no name.

    Raises:
        DataError: it is no such frame, has no rows, or names a column twice.
    """
    import narwhals.stable.v1 as nw

    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):
        named = getattr(frame, "name", None) in (None, "")
        frame = (frame.rename("value") if named else frame).to_frame()
    index = getattr(frame, "index", None)
    if index is not None and hasattr(frame, "reset_index"):
        named = any(n is not None for n in index.names)
        if named or type(index).__name__ in ("DatetimeIndex", "PeriodIndex", "TimedeltaIndex"):
            frame = frame.reset_index()
    try:
        read = nw.from_native(frame)
        if isinstance(read, nw.LazyFrame):
            read = read.collect()
        columns = [str(c) for c in read.columns]
    except (TypeError, ValueError, nw.exceptions.NarwhalsError) as error:
        raise _bad_frame(frame, error) from None
    repeated = sorted({c for c in columns if columns.count(c) > 1})
    if repeated:
        raise DataError("tasks.duplicate_columns", source="DataFrame", columns=listed(repeated))
    try:
        series = [
            _column(name, read.get_column(c)) for name, c in zip(columns, read.columns, strict=True)
        ]
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise _bad_frame(frame, error) from None
    return _filled(pl.DataFrame(series), "DataFrame", 0)


def _bad_frame(frame: Any, error: Exception) -> DataError:
    kind, reason = type(frame).__name__, str(error).strip().splitlines() or [""]
    if "duplicate" in reason[0].lower() or "unique" in reason[0].lower():
        columns = [str(c) for c in frame.columns]
        repeated = sorted({c for c in columns if columns.count(c) > 1})
        return DataError("tasks.duplicate_columns", source="DataFrame", columns=listed(repeated))
    return DataError("tasks.unknown_object", kind=kind)


def _column(name: str, series: Any) -> pl.Series:
    """A column without the detour over Arrow, which need not be installed."""
    if series.dtype.is_numeric() and not series.null_count():
        return pl.Series(name, series.to_numpy())
    values = [
        None if null else value
        for value, null in zip(series.to_list(), series.is_null().to_list(), strict=True)
    ]
    if any(type(v).__name__ == "Period" for v in values):
        values = [str(v) for v in values]
    return pl.Series(name, values, strict=not any(isinstance(v, str) for v in values))
