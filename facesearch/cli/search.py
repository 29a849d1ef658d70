"""``facesearch search`` and ``facesearch compare``: likeness alone, and no decision.

They need no operating points, so they work with every embedder; ``identify`` and ``verify`` decide.
"""

from __future__ import annotations

from typing import Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import box_text, write_json, write_line, write_table
from facesearch.cli.session import session_of
from facesearch.service.shapes import candidate_shape, detection_shape


def search(
    context: typer.Context,
    photo: options.Photo,
    k: Annotated[int, typer.Option("-k", metavar="N", help="Candidates shown a face.")] = 5,
    tags: options.Tags = None,
    roi: options.Roi = None,
    as_json: options.AsJson = False,
) -> None:
    """List whom the faces of a photograph resemble most. It decides nothing: see identify."""
    session = session_of(context)
    box = options.parsed_box(roi)
    with session.service() as service:
        found = service.search(session.photo(photo), k, tags=tags or (), roi=box)
    if as_json:
        faces = [
            {
                **detection_shape(one.detection),
                "n_templates": one.n_templates,
                "candidates": [candidate_shape(candidate) for candidate in one.candidates],
            }
            for one in found
        ]
        write_json({"photo": photo, "collection": session.collection, "faces": faces})
        return
    rows = [
        (number, box_text(one.detection.box), candidate.rank, candidate.label, candidate.score)
        for number, one in enumerate(found)
        for candidate in one.candidates
    ]
    write_table(("face", "box", "rank", "label", "score"), rows)


def compare(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A picture file; - reads standard input.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    face: options.Face = "only",
    as_json: options.AsJson = False,
) -> None:
    """Print how alike two faces are, as cosine similarity. It decides nothing: see verify."""
    session = session_of(context)
    choice = options.parsed_face(face)
    with session.service() as service:
        score = service.compare(service.template(session.photo(a), face=choice), service.template(session.photo(b), face=choice))
        embedder_id = service.embedder_id
    if as_json:
        write_json({"a": a, "b": b, "score": score, "squared_distance": 2.0 - 2.0 * score, "embedder_id": embedder_id})
    else:
        write_line(f"score {score:.4f} (cosine similarity, {embedder_id}); not decided")
