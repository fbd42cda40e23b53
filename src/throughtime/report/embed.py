"""What pages that stand alone need: scripts, styles and data inside them, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = "templates"


def embeddable(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def digest(text: str) -> str:
    """The hash by which a page's policy lets a script run."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def text_of(name: str) -> str:
    """A style or a script of the templates."""
    return (files("throughtime.report") / _TEMPLATES / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """The templates."""
    return Environment(
        loader=PackageLoader("throughtime.report", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
