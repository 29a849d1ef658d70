"""``facesearch models …``: the embedders that are installed, and what is known of them.

It loads no network.
"""

from __future__ import annotations

from typing import Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import write_json, write_line, write_table
from facesearch.cli.session import session_of

app = typer.Typer(help="Show the embedders that are installed.")


@app.command("list")
def list_models(as_json: options.AsJson = False) -> None:
    """List embedders."""
    from facesearch.embedding.registry import available

    cards = available()
    if as_json:
        write_json({"models": [card.as_dict() for card in cards]})
        return
    rows = [
        (
            card.embedder_id(),
            card.dim,
            card.alignment.crop_px,
            ", ".join(
                f"{way} {100 * figures.accuracy:.2f} %" for way, figures in card.figures.items() if figures.accuracy is not None
            ),
            card.licence,
        )
        for card in cards
    ]
    write_table(("embedder", "dim", "crop px", "LFW accuracy (View 2)", "licence"), rows)


@app.command()
def show(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name or embedder id; the one in use if left out.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print an embedder's model card."""
    from facesearch.embedding.registry import card

    found = card(name if name is not None else session_of(context).settings.embedder)
    if as_json:
        write_json(found.as_dict())
    else:
        write_line(found.text().rstrip())
