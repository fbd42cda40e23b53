"""Columns of a table as numbers, names or times, with errors that point at the cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from throughtime.errors import DataError
from throughtime.tasks.read.sources import Table

MISSING_MARKS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None", "?", "-")
_TIME_NAMES = ("t", "time", "times", "timestamp", "date", "datetime", "ds", "year", "month", "day")
TIME_NAMES = frozenset(
    (*_TIME_NAMES, "hour", "minute", "second", "step", "时间", "日期", "年份", "月份")
)

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y年%m月%d日", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y")
_DAYS += ("%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")
_DAYS += ("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%y")
_CLOCKS = ("%H:%M:%S", "%H:%M:%S%.f", "%H:%M", "%I:%M %p", "%I:%M:%S %p")
_ZONE = "%#z"
_MONTHS = ("%Y-%m-%d", "%Y/%m-%d", "%Y年%m月-%d", "%b %Y-%d", "%b-%Y-%d", "%B %Y-%d")
_PATTERNS = (
    *((day, "") for day in _DAYS),
    *(
        (f"{d}{gap}{c}{zone}", "")
        for zone in ("", _ZONE)
        for d in _DAYS
        for gap in " T"
        for c in _CLOCKS
    ),
    *((month, "-01") for month in _MONTHS),
)
_TRIED_FIRST = 200
_EARLIEST = -30_610_224_000_000_000  # microseconds from 1970 back to the year 1000

_GAP = " '\u00a0\u202f"
_PLAIN = r"[+-]?\d+"
_COMMA = (
    rf"^[+-]?(?:(?:\d{{1,3}}(?:[.{_GAP}]\d{{3}})+|\d+)(?:,\d+)?|,\d+)(?:[eE][+-]?\d+)?$",
    rf",(?:\d{{1,2}}|\d{{4,}})(?:[eE]|$)|^[+-]?0?,|[.{_GAP}]\d{{3}},",
)
_GROUPED = (
    rf"^[+-]?\d{{1,3}}(?:[,{_GAP}]\d{{3}})+(?:\.\d+)?$|^[+-]?(?:\d+\.?\d*|\.\d+)$",
    rf",\d{{3}}(?:,\d{{3}}|\.)|\d[{_GAP}]\d{{3}}",
)
_EITHER = r"^[+-]?\d{1,3},\d{3}$"


@dataclass(frozen=True, eq=False)
class Times:
    """A column of times.

    Attributes:
        values: (R,) microseconds since 1970 (int64), or plain numbers (float64).
        dated: whether they are dates.
        pattern: how dates stood in a text file, to write new ones alike; ``None`` otherwise.
    """

    values: np.ndarray
    dated: bool
    pattern: str | None = None


def is_number_type(kind: pl.DataType) -> bool:
    """Numbers and truth values."""
    return kind.is_numeric() or kind == pl.Boolean


def _is_text(kind: pl.DataType) -> bool:
    return kind in (pl.String, pl.Categorical) or isinstance(kind, pl.Enum)


def texts(table: Table, column: str) -> pl.Series:
    """A column as text, null where a cell is missing; whole floats read as integers."""
    series = table.frame[column]
    if series.dtype.is_float() and (series.fill_nan(None).drop_nulls() % 1 == 0).all():
        series = series.fill_nan(None).cast(pl.Int64, strict=False)
    if isinstance(series.dtype, (pl.List, pl.Array, pl.Struct, pl.Object)):
        raise _wrong_type(table, column)
    read = series.cast(pl.String).str.strip_chars()
    blank = read.is_in(["", "NaN", "nan"]) | read.is_null()
    return pl.select(pl.when(~blank).then(read).alias(column)).to_series()


def parsed(series: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Text as numbers (null where it is none), and which cells are missing.

    Decimal commas and thousands set apart (1.234,5 or 1,234.5 or 1 234) are read where a whole
    column is written so and can be read in one way only.
    """
    stripped = series.cast(pl.String).str.strip_chars()
    missing = stripped.is_in(MISSING_MARKS) | stripped.is_null()
    values = stripped.cast(pl.Float64, strict=False)
    present = stripped.filter(~missing)
    if len(present) and (values.is_null() & ~missing).any():
        if _is_written(present, *_COMMA):
            plain = stripped.str.replace_all(f"[.{_GAP}]", "").str.replace(",", ".", literal=True)
            values = plain.cast(pl.Float64, strict=False)
        elif _is_written(present, *_GROUPED):
            plain = stripped.str.replace_all(f"[,{_GAP}]", "")
            values = plain.cast(pl.Float64, strict=False)
    return values, missing


def _is_written(present: pl.Series, form: str, proof: str) -> bool:
    """Whether every cell has the form, and one of them can have no other."""
    return bool(present.str.contains(form).all() and present.str.contains(proof).any())


def numbers(table: Table, column: str) -> np.ndarray:
    """A column as (R,) float64, NaN where a cell is missing.

    Raises:
        DataError: cells hold something else.
    """
    series = table.frame[column]
    if is_number_type(series.dtype):
        return series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if series.dtype == pl.Null:
        return np.full(len(series), np.nan)
    if not _is_text(series.dtype):
        raise _wrong_type(table, column)
    values = series.cast(pl.Float64, strict=False)
    if values.null_count() == series.null_count():
        return values.fill_null(np.nan).to_numpy().copy()
    values, missing = parsed(series)
    truth = series.cast(pl.String).str.strip_chars().str.to_lowercase()
    if (truth.is_in(["true", "false"]) | missing).all() and not missing.all():
        return truth.replace_strict({"true": 1.0, "false": 0.0}, default=np.nan).to_numpy()
    wrong = (values.is_null() & ~missing).arg_true()
    if not len(wrong):
        return values.fill_null(np.nan).to_numpy().copy()
    fields = {"source": table.name, "column": column}
    fields |= {"row": table.row(wrong[0]), "text": str(series[wrong[0]])}
    if series[wrong].cast(pl.String).str.strip_chars().str.contains(_EITHER).all():
        raise DataError("tasks.ambiguous_number", **fields)
    if 2 * len(wrong) <= len(series):
        raise DataError("tasks.text_in_numbers", **fields)
    if times_or_none(series) is not None:
        raise DataError("tasks.date_among_features", **fields)
    raise DataError("tasks.categorical_feature", **fields)


def _wrong_type(table: Table, column: str) -> DataError:
    kind = table.frame[column].dtype
    if kind.is_temporal():
        return DataError(
            "tasks.date_among_features",
            source=table.name,
            column=column,
            row=table.row(0),
            text=str(table.frame[column][0]),
        )
    return DataError("tasks.wrong_type", source=table.name, column=column, kind=str(kind))


def times(table: Table, column: str) -> Times:
    """A column as times.

    Raises:
        DataError: a cell is missing, is no time, or is of another kind than the rest.
    """
    series = table.frame[column]
    found = times_or_none(series)
    if found is not None:
        return found
    odd, text = _first_odd_time(series)
    if odd is None:
        raise DataError("tasks.ambiguous_time", source=table.name, column=column, text=text)
    raise DataError(
        "tasks.bad_time", source=table.name, column=column, row=table.row(odd), text=text
    )


def times_or_none(series: pl.Series) -> Times | None:
    """The times of a column all of whose cells are times of one kind."""
    kind = series.dtype
    if series.null_count():
        return None
    if kind.is_temporal() and kind not in (pl.Time, pl.Duration):
        stamps = (
            series.cast(pl.Datetime("us")) if kind == pl.Date else series.dt.cast_time_unit("us")
        )
        return Times(stamps.to_physical().to_numpy(), True)
    if kind == pl.Duration:
        return Times(series.dt.total_microseconds().to_numpy().astype(np.float64), False)
    if kind.is_numeric():
        values = series.cast(pl.Float64).to_numpy()
        return Times(values, False) if np.isfinite(values).all() else None
    if kind != pl.String:
        return None
    values, _ = parsed(series)
    compact = series.str.contains(r"^\s*(18|19|20|21)\d{6}\s*$").all()
    if not values.null_count() and values.is_finite().all() and not compact:
        return Times(values.to_numpy(), False)
    return _dates(series.str.strip_chars()) or (
        Times(values.to_numpy(), False) if compact else None
    )


def _dates(text: pl.Series) -> Times | None:
    fits = [f for f in _PATTERNS if _stamps(text.head(_TRIED_FIRST), *f).null_count() == 0]
    read = [(f, s) for f in fits if (s := _stamps(text, *f)).null_count() == 0]
    if not read or (len(read) > 1 and any(not s.equals(read[0][1]) for _, s in read)):
        return None
    (pattern, tail), stamps = read[0]
    if tail:
        pattern = pattern.removesuffix("-%d")
    elif pattern.endswith(_ZONE):
        pattern = "%Y-%m-%dT%H:%M:%SZ"
    return Times(stamps.to_physical().to_numpy(), True, pattern)


def _stamps(text: pl.Series, pattern: str, tail: str) -> pl.Series:
    """Times, null where the pattern does not fit or a year of two digits was taken for four."""
    read = (text + tail if tail else text).str.to_datetime(pattern, strict=False, time_unit="us")
    read = read.dt.replace_time_zone(None)
    return read.set(read.to_physical() < _EARLIEST, None)


def _first_odd_time(series: pl.Series) -> tuple[int | None, str]:
    """The first cell unlike most of the column; no row if all can be read in several ways."""
    if series.null_count():
        return int(series.is_null().arg_true()[0]), ""
    if series.dtype != pl.String:
        return 0, str(series[0])
    text = series.str.strip_chars()
    reads = [parsed(series)[0].is_not_null()]
    reads += [_stamps(text, *pattern).is_not_null() for pattern in _PATTERNS]
    most = max(reads, key=lambda ok: ok.sum())
    odd = (~most).arg_true()
    return (int(odd[0]), text[odd[0]]) if len(odd) else (None, text[0])


def _starts_with_number(series: pl.Series) -> bool:
    first = series.drop_nulls().head(20)
    return series.dtype == pl.String and bool(parsed(first)[0].is_not_null().any())


def looks_like_time(table: Table, column: str) -> bool:
    """A column of dates, or one named like a time that holds increasing or unique numbers."""
    series = table.frame[column]
    named = column.strip().lower() in TIME_NAMES
    if series.dtype.is_temporal():
        return True
    if not named and (is_number_type(series.dtype) or _starts_with_number(series)):
        return False
    found = times_or_none(series)
    if found is None:
        return named and series.dtype == pl.String and parsed(series)[0].null_count() == len(series)
    return found.dated or named
