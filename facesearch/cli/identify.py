"""``facesearch identify``: who is in this photograph (1:N)? Unknown is an answer.

It enrolls nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.detect import Draw, draw_faces
from facesearch.cli.output import box_text, printable, rate, write_json, write_line, write_table
from facesearch.cli.session import session_of
from facesearch.cli.shapes import identification_shape
from facesearch.cli.verify import NO_MATCH, evidence_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.core.decision import Candidate, Identification


def identify(
    context: typer.Context,
    photo: options.Photo,
    k: Annotated[int, typer.Option("-k", metavar="N", help="Candidates shown a face.")] = 5,
    fpir: Annotated[
        float | None,
        typer.Option("--fpir", metavar="RATE", help="Decide so that this share of strangers comes back as somebody."),
    ] = None,
    fmr: options.Fmr = None,
    operating_point: options.OperatingPointName = None,
    tags: options.Tags = None,
    roi: options.Roi = None,
    draw: Draw = None,
    as_json: options.AsJson = False,
) -> None:
    """Say who the faces of a photograph are.

    Exit code 0: at least one face was recognised. 1: none was.
    """
    session = session_of(context)
    box = options.parsed_box(roi)
    image = session.decode(photo)
    with session.service() as service:
        answers = service.identify(image, k, tags=tags or (), roi=box, fpir=fpir, fmr=fmr, operating_point=operating_point)
    if draw is not None:
        draw_faces(image, [(one.detection, one.label or "unknown", one.is_match) for one in answers], draw)
    if as_json:
        write_json(
            {
                "photo": photo,
                "width": image.width,
                "height": image.height,
                "collection": session.collection,
                "n_recognised": sum(one.is_match for one in answers),
                "faces": [identification_shape(one) for one in answers],
            }
        )
    else:
        _write(answers)
    if not any(one.is_match for one in answers):
        raise typer.Exit(NO_MATCH)


def _write(answers: Sequence[Identification]) -> None:
    for number, one in enumerate(answers):
        write_line(f"face {number} at {box_text(one.detection.box)}: {_answer(one)}")
        if one.candidates:
            rows = [
                (candidate.rank, candidate.label, candidate.score, candidate.squared_distance, _verdict(one, candidate))
                for candidate in one.candidates
            ]
            write_table(("rank", "label", "score", "squared distance", ""), rows)
    if answers:
        write_line(_decided(answers[0]))


def _answer(one: Identification) -> str:
    if one.match is not None:
        return f"{printable(one.match.label)} (score {one.match.score:.4f} reaches the threshold {one.threshold:.4f})"
    if not one.candidates and one.n_rejected:
        return "unknown (everybody near was rejected for this face: facesearch feedback list)"
    if not one.candidates:
        return "unknown (nobody to compare with is enrolled)"
    return f"unknown (best score {one.candidates[0].score:.4f} is below the threshold {one.threshold_of(one.candidates[0]):.4f})"


def _verdict(one: Identification, candidate: Candidate) -> str:
    threshold = one.threshold_of(candidate)
    stricter = f" {threshold:.4f}, raised by feedback" if threshold > one.threshold else ""
    return f"≥ threshold{stricter}" if candidate.score >= threshold else f"below{stricter}"


def _decided(one: Identification) -> str:
    asked = f"FPIR {rate(one.fpir)}" if one.fpir is not None else f"FMR {rate(one.operating_point.fmr)}"
    asked += f" ({printable(one.operating_point.name)})" if one.operating_point.name is not None else ""
    templates = "1 template" if one.n_templates == 1 else f"{one.n_templates:,} templates"
    return f"decided at {asked} among {templates}; evidence: {evidence_text(one.operating_point, asked=asked)}"
