"""The Mackey-Glass equation."""

from __future__ import annotations

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.builtin.synthetic import at_least
from throughtime.tasks.task import Task
from throughtime.tasks.windows import Rows, Shape, cut_windows

_WASHOUT = 500


def mackey_glass(
    window: int = 100, horizon: int = 84, N: int = 4000, tau: float = 17.0, seed: int = 0
) -> Task:
    """Forecast of the Mackey-Glass equation (1977), chaotic from tau = 16.8, 84 steps ahead.

    One series sampled once a unit of time; 84 steps is the horizon of Jaeger and Haas (2004).

    Args:
        window: steps the network sees.
        horizon: steps ahead.
        N: length of the series.
        tau: the delay, in tenths.
        seed: of the constant history before time 0, drawn from U[0.5, 1.5] (1.2 for seed 0).
    """
    at_least("mackey_glass", window=(window, 1), horizon=(horizon, 1), N=(N, 1), tau=(tau, 1))
    if round(10 * tau) != 10 * tau:
        raise DataError("tasks.bad_parameter", name="mackey_glass", parameter="tau", value=tau)
    start = 1.2 if seed == 0 else np.random.default_rng(seed).uniform(0.5, 1.5)
    values = integrate(_WASHOUT + N, tau, start)[_WASHOUT:].astype(np.float32)[:, None]
    time = np.arange(N)
    rows = Rows("mackey_glass", values, values, np.array([[0, N]]), time)
    cut = cut_windows(rows, Shape(window, window, window + horizon - 1), 1, None)
    source = f"mackey_glass:window={window},horizon={horizon},N={N},tau={tau:g},seed={seed}"
    return Task(
        name="Mackey-Glass",
        problem="forecast",
        x=cut.x,
        lengths=cut.lengths,
        y=cut.y.reshape(len(cut.y), -1),
        feature_names=("x",),
        target_names=("x",),
        target_columns=(0,),
        reader={"kind": "builtin", "source": source, "window": window},
        spans=cut.spans,
        horizon=horizon,
    )


def integrate(units: int, tau: float = 17.0, start: float = 1.2, steps: int = 10) -> np.ndarray:
    """Solution of dx/dt = 0.2 x(t-tau) / (1 + x(t-tau)^10) - 0.1 x(t) at times 1 to ``units``.

    Classical Runge-Kutta with ``steps`` steps a unit; the delayed value at half steps comes from
    the cubic through both neighbours and their slopes, which keeps the fourth order.

    Args:
        units: number of samples.
        tau: the delay, a whole number of steps.
        start: x at all times up to 0.
        steps: integration steps a unit of time.
    """
    h, lag = 1 / steps, round(tau * steps)
    count = units * steps
    x = [start] * (lag + count + 1)
    slope = [0.0] * (lag + count + 1)

    def rate(now: float, then: float) -> float:
        return 0.2 * then / (1 + then**10) - 0.1 * now

    slope_at_start = rate(start, start)
    for i in range(lag, lag + count):
        then, next_then = x[i - lag], x[i - lag + 1]
        before, after = slope[i - lag], slope[i - lag + 1]
        if i == lag * 2:
            before = slope_at_start
        half_then = (then + next_then) / 2 + h * (before - after) / 8
        now = x[i]
        k1 = rate(now, then)
        k2 = rate(now + h / 2 * k1, half_then)
        k3 = rate(now + h / 2 * k2, half_then)
        k4 = rate(now + h * k3, next_then)
        x[i + 1] = now + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        slope[i] = k1 if i > lag else 0.0
    return np.array(x[lag + steps :: steps])
