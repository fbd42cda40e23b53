"""The command ``throughtime bench``."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import track

from throughtime.language import say, use_language

Language = Annotated[Literal["en", "zh"] | None, Parameter(name="--lang")]

app = App(
    name="bench",
    help="Speed beside the peers installed.",
    usage="Usage: throughtime bench [COMMAND] [--warm]\n",
)


@app.default
def bench(*, warm: bool = False, lang: Language = None) -> None:
    """Compile all kernels ahead of time, or say which benchmarks there are.

    Args:
        warm: compile every layer with every activation of the catalogue and keep it on disk.
        lang: language of all that is said.
    """
    use_language(lang)
    if not warm:
        app.help_print()
        return
    from throughtime.activations import names
    from throughtime.bench.warm import warm as compiling
    from throughtime.kernels.cpu.machine import cache_folder

    console = Console(highlight=False)
    console.print(say("bench.compiling", count=len(names())), markup=False)
    start = time.perf_counter()
    for _ in track(compiling(), say("bench.compile"), len(names()), console=console):
        pass
    taken, folder = f"{time.perf_counter() - start:.0f}", cache_folder()
    kept = say("bench.kept", folder=folder) if folder else say("bench.not_kept")
    console.print(say("bench.compiled", seconds=taken), kept, markup=False, soft_wrap=True)
