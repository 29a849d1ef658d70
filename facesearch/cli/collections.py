"""``facesearch collections …``: the galleries of a database.

Exporting and importing one is among ``identities``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import confirm, printable, write_json, write_line, write_table
from facesearch.cli.session import session_of
from facesearch.service.shapes import collection_shape

app = typer.Typer(help="Look after galleries.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A collection's name.")]


@app.command("list")
def list_collections(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List collections with their sizes."""
    with session_of(context).service() as service:
        summaries = service.collections()
    if as_json:
        write_json({"collections": [collection_shape(one) for one in summaries]})
        return
    rows = [
        (one.collection.name, one.n_identities, one.n_templates, ", ".join(sorted(one.embedders)), one.collection.revision)
        for one in summaries
    ]
    write_table(("collection", "people", "templates", "embedders", "revision"), rows)


@app.command()
def add(context: typer.Context, name: Name, as_json: options.AsJson = False) -> None:
    """Make an empty collection."""
    with session_of(context).service() as service:
        made = service.add_collection(name)
    if as_json:
        write_json({"name": made.name, "revision": made.revision})
    else:
        write_line(f"made {printable(made.name)}")


@app.command()
def remove(context: typer.Context, name: Name, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Delete a collection and everybody in it."""
    confirm(f"Remove the collection {name} and everybody in it? It cannot be undone.", yes=yes)
    with session_of(context).service() as service:
        service.remove_collection(name)
    if as_json:
        write_json({"name": name})
    else:
        write_line(f"removed {printable(name)}")
