"""Small tables with a known truth."""

from __future__ import annotations

import numpy as np
import polars as pl


def wide_csv(rows: int = 30, steps: int = 5, *, seed: int = 0) -> str:
    """Two classes told apart by their level."""
    rng = np.random.default_rng(seed)
    lines = [",".join([f"t{k}" for k in range(steps)] + ["label"])]
    for n in range(rows):
        values = rng.normal(n % 2, 0.1, steps)
        lines.append(",".join([*(f"{v:.4f}" for v in values), "ab"[n % 2]]))
    return "\n".join(lines) + "\n"


def long_frame(series: int = 24, steps: int = 6, *, seed: int = 0) -> pl.DataFrame:
    """Series of two features and a class, and a group of three series each."""
    rng = np.random.default_rng(seed)
    n = np.repeat(np.arange(series), steps)
    return pl.DataFrame(
        {
            "id": [f"s{i}" for i in n],
            "time": np.tile(np.arange(steps), series),
            "u": rng.normal(n % 2, 0.1),
            "v": rng.normal(0, 1, len(n)),
            "label": [("low", "high")[i % 2] for i in n],
            "amount": (n % 7).astype(float) + 0.5,
            "person": [f"p{i // 3}" for i in n],
        }
    )


def time_frame(rows: int = 200, *, seed: int = 0) -> pl.DataFrame:
    """A daily series with a season of 7 and one more feature."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)
    day = pl.datetime_range(
        pl.datetime(2020, 1, 1), pl.datetime(2030, 1, 1), "1d", eager=True
    ).head(rows)
    return pl.DataFrame(
        {
            "date": day.dt.strftime("%Y-%m-%d"),
            "heat": rng.normal(size=rows),
            "sales": 10 + np.sin(2 * np.pi * t / 7) + 0.01 * rng.normal(size=rows),
        }
    )
