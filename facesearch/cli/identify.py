"""``facesearch identify``: who is in this photograph, or in each of many (1:N)? Unknown is an answer.

It enrolls nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.detect import Draw, draw_faces
from facesearch.cli.output import LINES_EVERY_S, box_text, printable, progress, rate, write_json, write_line, write_table
from facesearch.cli.session import Session, session_of
from facesearch.cli.verify import NO_MATCH, evidence_text
from facesearch.core.errors import InputError
from facesearch.core.paths import is_folder
from facesearch.service.shapes import answer_shape, identification_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facesearch.core.decision import Candidate, Identification
    from facesearch.core.errors import FaceSearchError
    from facesearch.service.identify_many import PhotographAnswer


def identify(
    context: typer.Context,
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO…", help="Picture files, or folders of them; - reads standard input.")
    ],
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
    """Say who the faces of a photograph, or of many, are.

    Exit code 0: at least one face was recognised. 1: none was. Of several photographs one that cannot be used does not stop the
    others; where none can, its error's code is the exit code.
    """
    session = session_of(context)
    choices: dict[str, Any] = {"tags": tags or (), "fpir": fpir, "fmr": fmr, "operating_point": operating_point}
    if len(photos) > 1 or is_folder(photos[0]):
        if roi is not None or draw is not None:
            raise InputError("--roi and --draw are for one photograph")
        _identify_many(session, photos, k, choices, as_json=as_json)
        return
    photo = photos[0]
    box = options.parsed_box(roi)
    image = session.decode(photo)
    with session.service() as service:
        answers = service.identify(image, k, roi=box, **choices)
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


def _identify_many(session: Session, names: Sequence[str], k: int, choices: dict[str, Any], *, as_json: bool) -> None:
    """Answer each photograph as it comes; JSON is one document, written when all are answered."""
    shapes = []
    n_recognised = n_answered = 0
    first_error: FaceSearchError | None = None
    with session.service() as service, progress("identifying", lines_every_s=LINES_EVERY_S) as advance:
        for answer in service.identify_many((session.photo(name) for name in _pictures(names)), k, **choices):
            n_recognised += answer.n_recognised
            n_answered += answer.error is None
            first_error = first_error or answer.error
            if as_json:
                shapes.append(answer_shape(answer))
            else:
                _write_answer(answer)
            advance(answer.number + 1, None)
    if as_json:
        write_json({"collection": session.collection, "n_recognised": n_recognised, "photos": shapes})
    if not n_answered and first_error is not None:
        raise typer.Exit(first_error.exit_code)
    if not n_recognised:
        raise typer.Exit(NO_MATCH)


def _pictures(names: Sequence[str]) -> Iterator[str]:
    """Yield photographs, those of folders by name."""
    from facesearch.service.labelled_folder import picture_names

    for name in names:
        if not is_folder(name):
            yield name
            continue
        try:
            found = picture_names(Path(name))
        except OSError as exc:
            raise InputError(f"the folder {name} cannot be read: {exc.strerror}", path=name) from exc
        if not found:
            raise InputError(f"the folder {name} holds no pictures", path=name)
        yield from (str(Path(name) / one) for one in found)


def _write_answer(answer: PhotographAnswer) -> None:
    if answer.error is not None:
        write_line(f"{printable(answer.photo)}: {printable(answer.error.message.removeprefix(f'{answer.photo}: '))}")
    for number, one in enumerate(answer.faces):
        write_line(f"{printable(answer.photo)}: face {number} at {box_text(one.detection.box)}: {_answer(one)}")


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
