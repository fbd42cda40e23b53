from __future__ import annotations

import pickle
import string

import pytest

from throughtime.errors import DataError, ThroughtimeError
from throughtime.language import LANGUAGES, current_language, entries, rooms, say, use_language

MAY_BE_BLANK = {"report.sentence_gap"}  # Chinese puts nothing between two sentences


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("room", rooms())
def test_every_entry_is_there_in_both_languages_with_the_same_placeholders(room):
    for entry, texts in entries(room).items():
        assert set(texts) == set(LANGUAGES), f"{room}.{entry}"
        if f"{room}.{entry}" not in MAY_BE_BLANK:
            assert all(texts[language].strip() for language in LANGUAGES), f"{room}.{entry}"
        assert placeholders(texts["en"]) == placeholders(texts["zh"]), f"{room}.{entry}"


def test_the_language_in_use_decides():
    use_language("zh")
    assert current_language() == "zh"
    assert say("language.name") == "中文"
    assert say("language.name", language="en") == "English"


def test_an_unknown_language_is_refused_by_name():
    with pytest.raises(ThroughtimeError, match=r"'fr'.*en, zh"):
        use_language("fr")


@pytest.mark.parametrize(
    ("variable", "expected"), [("zh_CN.UTF-8", "zh"), ("en_GB.UTF-8", "en"), ("C", "en")]
)
def test_the_locale_speaks_when_nobody_chose(monkeypatch, variable, expected):
    from throughtime import language

    language._language_of_locale.cache_clear()
    monkeypatch.setenv("LC_ALL", variable)
    use_language(None)
    assert current_language() == expected
    language._language_of_locale.cache_clear()


def test_an_error_crosses_processes_whole_and_speaks_both_languages():
    error = pickle.loads(pickle.dumps(DataError("language.unknown", wanted="fr", known="en, zh")))
    assert isinstance(error, DataError) and isinstance(error, ValueError)
    assert "'fr'" in str(error)
    assert "不认识" in error.text("zh")
