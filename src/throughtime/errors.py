"""One family of errors; every message comes from the language catalogue, in English or Chinese."""

from __future__ import annotations

from throughtime.language import say


class ThroughtimeError(Exception):
    """What happened, in the user's own names, and what to do about it.

    Args:
        key: entry of the language catalogue, ``room.entry``.
        fields: values for the placeholders of that entry.

    Example:
        >>> from throughtime.errors import DataError
        >>> raise DataError("tasks.empty_file", file="a.csv")
        Traceback (most recent call last):
        throughtime.errors.DataError: a.csv is empty. ...
    """

    def __init__(self, key: str, /, **fields: object):
        super().__init__(key)
        self.key = key
        self.fields = fields

    def __str__(self) -> str:
        return self.text()

    def text(self, language: str | None = None) -> str:
        """The message in ``language`` (``"en"`` or ``"zh"``; the current language by default)."""
        return say(self.key, language=language, **self.fields)

    def __reduce__(self):
        return _rebuild, (type(self), self.key, self.fields)


def _rebuild(kind: type[ThroughtimeError], key: str, fields: dict) -> ThroughtimeError:
    return kind(key, **fields)


class ActivationError(ThroughtimeError, ValueError):
    """A formula, a parameter or the name of an activation cannot be used."""


class LayerError(ThroughtimeError, ValueError):
    """A recurrent layer was built or called with arguments that do not fit."""


class DataError(ThroughtimeError, ValueError):
    """The sequences given cannot be used as they are."""


class PlanError(ThroughtimeError, ValueError):
    """A study was asked for that cannot be carried out."""


class LedgerError(ThroughtimeError, RuntimeError):
    """The ledger of runs cannot be read or written, or belongs to another plan."""


class ModelError(ThroughtimeError, ValueError):
    """A saved model cannot be read, or does not fit the data it is given."""


class TraceError(ThroughtimeError, RuntimeError):
    """The gradient through time cannot be recorded for this model and loss."""


class BenchError(ThroughtimeError, ValueError):
    """A measurement was asked for that cannot be made."""


class MissingExtraError(ThroughtimeError, ImportError):
    """An optional dependency is needed and not installed."""


class ThroughtimeWarning(UserWarning):
    """Something went another way than asked for; the text says why."""
