"""``facesearch evaluate …``: published protocols, run end to end from photographs.

It tunes nothing: figures are what the settings give.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import progress, write_json, write_line, write_table
from facesearch.cli.session import session_of

app = typer.Typer(help="Measure on published protocols.")


@app.callback()
def evaluate() -> None:
    """Measure on published protocols."""


@app.command()
def lfw(
    context: typer.Context,
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with NAME/NAME_0001.jpg.")],
    pairs: Annotated[Path, typer.Option("--pairs", metavar="FILE", help="pairs.txt (View 2) or a View 1 list.")],
    as_json: options.AsJson = False,
) -> None:
    """Run the LFW protocol: accuracy over ten folds, and TAR at fixed FMR.

    The face is the one nearest the picture's centre; a photograph without a face counts as an error of its pairs.
    """
    session = session_of(context)
    with progress("photographs") as advance:
        result = session.library.evaluate_lfw(session.settings, images, pairs, on_progress=advance)
    if as_json:
        write_json(result.as_dict())
        return
    write_line(f"embedder {result.embedder_id}")
    write_line(str(result.report))
    write_line(f"{result.n_photographs} photographs in {result.seconds:.1f} s: {result.photographs_per_s:.1f} a second")
    if result.failures:
        write_line()
        write_table(("photograph", "why not acquired"), [(one.path, one.code) for one in result.failures])
