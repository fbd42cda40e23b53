"""Wide tables: one row a series, the numeric columns in order are its steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from throughtime.tasks.read.columns import numbers
from throughtime.tasks.read.missing import Padded
from throughtime.tasks.read.sources import Table


def wide(table: Table, columns: tuple[str, ...]) -> Padded:
    """One sequence a row, of one feature."""
    x = np.stack([numbers(table, column) for column in columns], axis=1)[..., None]

    def locate(n: int, t: int, i: int) -> dict[str, Any]:
        return {"source": table.name, "column": columns[t], "row": table.row(n)}

    return Padded(x, np.full(len(x), len(columns)), locate)
