"""What a task is, as notes."""

from __future__ import annotations

from typing import Any

from throughtime.tasks.task import Note, Task


def listed(names: Any, most: int = 12) -> str:
    """Names separated by commas, the long rest as an ellipsis."""
    names = [str(n) for n in names]
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def describe(task: Task) -> tuple[Note, ...]:
    """The size of a task and its problem."""
    low, high = int(task.lengths.min()), int(task.lengths.max())
    steps = str(low) if low == high else f"{low}–{high}"
    size = {"source": task.name, "series": len(task), "steps": steps}
    target = {"target": listed(task.target_names)}
    match task.problem:
        case "forecast":
            fields = {**target, "horizon": task.horizon, "window": high}
            return (("tasks.note_forecast", {**fields, "source": task.name, "rows": len(task)}),)
        case "next_token":
            return (("tasks.note_next_token", {**size, "symbols": len(task.class_names)}),)
        case "classification":
            names = listed(task.class_names, 8)
            target |= {"classes": str(len(task.class_names)), "names": names}
    features = {"features": listed(task.feature_names)}
    return (("tasks.note_read", {**size, **features}), (f"tasks.note_{task.problem}", target))
