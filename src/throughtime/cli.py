"""The command line: parses, calls, prints."""

from __future__ import annotations

import sys

from cyclopts import App
from rich.console import Console
from rich.table import Table

from throughtime import __version__
from throughtime.errors import ThroughtimeError
from throughtime.language import current_language, say, use_language

app = App(name="throughtime", version=__version__, help="Recurrent networks with any activation.")


@app.command
def activations(name: str | None = None, *, lang: str | None = None) -> None:
    """List the catalogue of activations, or show one of them.

    Args:
        name: the activation to show; all are listed without it.
        lang: en or zh; the locale's language by default.
    """
    use_language(lang)
    from throughtime.activations import activation, names

    console = Console()
    if name is None:
        console.print(_catalogue([activation(n) for n in names()]))
        return
    phi = activation(name)
    rows = {
        "formula": phi.formula,
        "slope": phi.derivative_expression,
        "parameters": ", ".join(
            f"{p.name} = {p.default:g} ({p.low:g} … {p.high:g})" for p in phi.parameters.values()
        ),
        "learnable": ", ".join(phi.learnable),
        "when": _note(phi),
        "source": phi.reference,
    }
    table = Table(title=phi.name, show_header=False, title_style="bold")
    for row, text in rows.items():
        if text:
            table.add_row(say(f"cli.{row}"), str(text))
    console.print(table)


def _catalogue(catalogue) -> Table:
    table = Table(title=say("cli.catalogue", count=len(catalogue)))
    for column in ("name", "formula", "when"):
        table.add_column(say(f"cli.{column}"), overflow="fold")
    for phi in catalogue:
        table.add_row(phi.name, phi.formula, _note(phi))
    return table


def _note(phi) -> str:
    return phi.note_zh if current_language() == "zh" else phi.note


def main() -> None:
    """Run the command line; what a person can mend is said without a traceback, exit code 2."""
    try:
        app()
    except ThroughtimeError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False)
        sys.exit(2)
