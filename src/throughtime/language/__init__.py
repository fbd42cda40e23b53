"""Every text a person sees, in English and Simplified Chinese, from one catalogue.

The catalogue is the TOML files of this folder, one a room. An entry ``[missing_target]`` of
``tasks.toml`` with the fields ``en`` and ``zh`` is said by ``say("tasks.missing_target", ...)``.
"""

from __future__ import annotations

import locale
import os
import tomllib
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "zh")

_current: ContextVar[str | None] = ContextVar("throughtime_language", default=None)


def say(key: str, /, language: str | None = None, **fields: Any) -> str:
    """The text of ``key`` with its placeholders filled.

    Args:
        key: ``room.entry``.
        language: ``"en"`` or ``"zh"``; the current language by default.
        fields: values of the placeholders (``str.format`` syntax).

    Example:
        >>> say("language.name", language="zh")
        '中文'
    """
    room, _, entry = key.partition(".")
    text = entries(room)[entry][language or current_language()]
    return text.format(**fields) if fields else text


def current_language() -> str:
    """The language in use: that of :func:`use_language`, else the locale's, else English."""
    return _current.get() or _language_of_locale()


def use_language(language: str | None) -> None:
    """Speak ``"en"`` or ``"zh"`` from now on; ``None`` goes back to the locale's."""
    if language is not None and language not in LANGUAGES:
        from throughtime.errors import ThroughtimeError

        raise ThroughtimeError("language.unknown", wanted=language, known=", ".join(LANGUAGES))
    _current.set(language)


@cache
def entries(room: str) -> dict[str, dict[str, str]]:
    """All entries of one room, ``{entry: {"en": ..., "zh": ...}}``."""
    return tomllib.loads((files(__name__) / f"{room}.toml").read_text(encoding="utf-8"))


def rooms() -> list[str]:
    """The rooms that have entries."""
    return sorted(f.name[:-5] for f in files(__name__).iterdir() if f.name.endswith(".toml"))


@cache
def _language_of_locale() -> str:
    spoken = (
        os.environ.get("LC_ALL")
        or os.environ.get("LC_MESSAGES")
        or os.environ.get("LANG")
        or locale.getlocale()[0]
        or ""
    )
    return "zh" if spoken.lower().startswith("zh") else "en"
