"""``facesearch identities …``: looking after who is enrolled.

It embeds nothing: see ``enroll``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import box_text, confirm, printable, write_json, write_line, write_table
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError
from facesearch.core.paths import is_there
from facesearch.service.shapes import identity_shape, template_shape

app = typer.Typer(help="Look after who is enrolled.")


@app.command("list")
def list_identities(
    context: typer.Context,
    tags: options.Tags = None,
    contains: Annotated[str, typer.Option("--contains", metavar="TEXT", help="Only labels with this text.")] = "",
    after: Annotated[str, typer.Option("--after", metavar="LABEL", help="Only labels after this one.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="At most so many.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List people by label."""
    session = session_of(context)
    with session.service() as service:
        people = service.list(tags=tags or (), contains=contains, after=after, limit=limit)
    if as_json:
        write_json({"collection": session.collection, "identities": [identity_shape(one) for one in people]})
        return
    rows = [(one.identity_id, one.label, ", ".join(one.tags), f"{one.enrolled_at:%Y-%m-%d %H:%M}") for one in people]
    write_table(("id", "label", "tags", "enrolled at (UTC)"), rows)


@app.command()
def show(context: typer.Context, label: options.Label, as_json: options.AsJson = False) -> None:
    """Show a person and every photograph enrolled."""
    with session_of(context).service() as service:
        person = service.show(label)
        pictures = [service.picture(one.template_id) for one in person.templates]
    if as_json:
        templates = [template_shape(one, picture) for one, picture in zip(person.templates, pictures, strict=True)]
        write_json({**identity_shape(person.identity), "templates": templates})
        return
    identity = person.identity
    write_line(f"{printable(identity.label)} (id {identity.identity_id}, enrolled {identity.enrolled_at:%Y-%m-%d %H:%M} UTC)")
    if identity.tags:
        write_line(f"tags: {printable(', '.join(identity.tags))}")
    rows = [
        (
            one.template_id,
            one.provenance.source or one.provenance.image_digest[:12],
            box_text(one.provenance.detection.box),
            one.provenance.detection.score,
            one.provenance.quality.get("score", ""),
            one.template.embedder_id,
            str(picture.kind) if picture else "",
        )
        for one, picture in zip(person.templates, pictures, strict=True)
    ]
    write_table(("template", "source", "box", "score", "quality", "embedder", "kept"), rows)


@app.command()
def rename(
    context: typer.Context,
    label: options.Label,
    new_label: Annotated[str, typer.Argument(metavar="NEW_LABEL", help="The label from now on.")],
    as_json: options.AsJson = False,
) -> None:
    """Change a label."""
    with session_of(context).service() as service:
        identity = service.rename(label, new_label)
    if as_json:
        write_json(identity_shape(identity))
    else:
        write_line(f"renamed {printable(label)} to {printable(identity.label)}")


@app.command()
def tag(
    context: typer.Context,
    label: options.Label,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[TAG]...", help="The tags from now on.", show_default=False)] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take all tags away.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Replace a person's tags."""
    if bool(tags) == clear:
        raise InputError("name the tags the person is to have, or --clear to take all away")
    with session_of(context).service() as service:
        identity = service.tag(label, tags or ())
    if as_json:
        write_json(identity_shape(identity))
    else:
        write_line(f"{printable(identity.label)}: {printable(', '.join(identity.tags)) or 'no tags'}")


@app.command()
def merge(
    context: typer.Context,
    label: options.Label,
    into: Annotated[str, typer.Argument(metavar="INTO", help="The label that stays.")],
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Give everything enrolled under one label to another; the first label is gone afterwards."""
    confirm(f"Merge {label} into {into}? It cannot be undone.", yes=yes)
    with session_of(context).service() as service:
        identity = service.merge(label, into)
    if as_json:
        write_json(identity_shape(identity))
    else:
        write_line(f"merged {printable(label)} into {printable(identity.label)}")


@app.command()
def remove(
    context: typer.Context,
    label: options.Label,
    erase: Annotated[
        bool, typer.Option("--erase", help="Write the index snapshots anew, so that no file holds the vectors any more.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete a person with all templates and pictures."""
    session = session_of(context)
    confirm(f"Remove {label} from {session.collection}? It cannot be undone.", yes=yes)
    with session.service() as service:
        n_templates = service.remove(label, erase=erase)
    if as_json:
        write_json({"collection": session.collection, "label": label, "n_templates": n_templates, "erased": erase})
    else:
        count = "1 template" if n_templates == 1 else f"{n_templates} templates"
        write_line(f"removed {printable(label)} from {printable(session.collection)}: {count}{', erased' if erase else ''}")


@app.command("export")
def export_collection(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to.")],
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the collection to one portable file."""
    if is_there(file):
        confirm(f"Replace {file}?", yes=yes)
    with session_of(context).service() as service:
        summary = service.export_collection(file)
    _write_exchange("exported", file, summary.collection, (summary.n_identities, summary.n_templates, summary.n_pictures), as_json)


@app.command("import")
def import_collection(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote.")],
    as_json: options.AsJson = False,
) -> None:
    """Read an exported collection, everything or nothing.

    It gets the name it was exported under unless --collection names another.
    """
    session = session_of(context)
    with session.service() as service:
        summary = service.import_collection(file, collection=session.overrides.get("collection"))
    _write_exchange("imported", file, summary.collection, (summary.n_identities, summary.n_templates, summary.n_pictures), as_json)


def _write_exchange(verb: str, file: Path, collection: str, counts: tuple[int, int, int], as_json: bool) -> None:
    people, templates, pictures = counts
    if as_json:
        shape = {"n_identities": people, "n_templates": templates, "n_pictures": pictures}
        write_json({"file": str(file), "collection": collection, **shape})
    else:
        write_line(
            f"{verb} {printable(collection)}: {people} people, {templates} templates, {pictures} pictures ({printable(file)})"
        )
