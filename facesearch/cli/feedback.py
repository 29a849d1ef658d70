"""``facesearch feedback …``: saying that an answer was wrong or right, and taking it back.

It enrolls nobody and removes nobody: see ``enroll`` and ``identities``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import box_text, printable, write_json, write_line, write_table
from facesearch.cli.session import session_of
from facesearch.service.shapes import feedback_shape

if TYPE_CHECKING:
    from facesearch.core.records import Feedback

app = typer.Typer(help="Say that an answer was wrong or right.")

By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so; kept with it.")]


@app.command("not-this-person")
def not_this_person(
    context: typer.Context,
    photo: options.Photo,
    label: options.Label,
    face: options.Face = "only",
    raise_threshold: Annotated[
        bool, typer.Option("--raise-threshold", help="Ask for more than this face's score before anybody is that person.")
    ] = False,
    by: By = "",
    as_json: options.AsJson = False,
) -> None:
    """Say that a face is not an enrolled person's: no answer says so again for that face of that photograph."""
    session = session_of(context)
    choice = options.parsed_face(face)
    with session.service() as service:
        said = service.reject(session.photo(photo), label, face=choice, by=by, raise_threshold=raise_threshold)
    _write(said, as_json=as_json)


@app.command("is-this-person")
def is_this_person(
    context: typer.Context,
    photo: options.Photo,
    label: options.Label,
    face: options.Face = "only",
    by: By = "",
    as_json: options.AsJson = False,
) -> None:
    """Say that a face is an enrolled person's; takes back an earlier not-this-person, and makes nothing a match."""
    session = session_of(context)
    choice = options.parsed_face(face)
    with session.service() as service:
        said = service.confirm(session.photo(photo), label, face=choice, by=by)
    _write(said, as_json=as_json)


@app.command("list")
def list_feedback(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List everything said in the collection, oldest first."""
    session = session_of(context)
    with session.service() as service:
        found = service.feedback()
    if as_json:
        write_json({"collection": session.collection, "feedback": [feedback_shape(one) for one in found]})
        return
    rows = [
        (
            one.feedback_id,
            str(one.said.kind).replace("_", " "),
            one.label,
            one.said.score,
            one.said.floor,
            one.said.image_digest[:12],
            box_text(one.said.box),
            one.said.by,
            f"{one.said.created_at:%Y-%m-%d %H:%M}",
        )
        for one in found
    ]
    write_table(("id", "said", "label", "score", "floor", "photograph", "box", "by", "at (UTC)"), rows)


@app.command()
def remove(
    context: typer.Context,
    feedback_id: Annotated[int, typer.Argument(metavar="ID", help="As feedback list shows it.")],
    as_json: options.AsJson = False,
) -> None:
    """Strike out what was said, with its effect."""
    with session_of(context).service() as service:
        gone = service.remove_feedback(feedback_id)
    if as_json:
        write_json(feedback_shape(gone))
    else:
        write_line(f"removed {gone.feedback_id}: {_text(gone)}")


def _write(said: Feedback, *, as_json: bool) -> None:
    if as_json:
        write_json(feedback_shape(said))
        return
    write_line(f"noted as {said.feedback_id}: {_text(said)}")
    if said.said.floor is not None:
        write_line(f"from now on a score above {said.said.floor:.4f} is needed before anybody is {printable(said.label)}")


def _text(one: Feedback) -> str:
    verdict = "is not" if one.said.kind.startswith("not") else "is"
    return f"the face at {box_text(one.said.box)} {verdict} {printable(one.label)} (score {one.said.score:.4f})"
