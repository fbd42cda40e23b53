"""A program as the source of a Python function; what PyTorch, NumPy and Numba can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from throughtime.activations.emit.program import Operand, Program, Step

ARITHMETIC = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "neg": "-{}",
    "power": "{} ** {}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
}


def function(
    program: Program,
    template: Callable[[Step], str],
    scope: Mapping[str, Any],
    last: str = "return {}",
) -> Callable:
    """The program as a function of ``x`` and the parameters.

    The text is made of the program's own names and numbers and of the templates: no word of a
    person's formula comes into it.

    Args:
        program: with one result.
        template: ``str.format`` text of a step, with a place for each argument.
        scope: names that the templates use.
        last: the line that returns, with a place for the result.
    """
    lines = [f"def function({', '.join(program.inputs)}):"]
    for step in program.steps:
        text = template(step).format(*(operand(a) for a in step.arguments))
        lines.append(f"    {step.name} = {text}")
    lines.append("    " + last.format(operand(program.results[0])))
    names = dict(scope)
    exec("\n".join(lines), names)
    return names["function"]


def operand(value: Operand) -> str:
    """A name as it is; a number so that it can stand anywhere."""
    if isinstance(value, str):
        return value
    return f"({value!r})" if value < 0 else repr(value)
