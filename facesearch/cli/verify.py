"""``facesearch verify``: are these two the same person (1:1)?

It compares what it is given and searches no gallery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, rate, write_json, write_line
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError
from facesearch.service.shapes import verification_shape

if TYPE_CHECKING:
    from facesearch.core.decision import OperatingPoint, Verification

NO_MATCH = 1
"""The exit code that means "no match" and nothing else."""


def verify(
    context: typer.Context,
    a: options.Photo,
    b: Annotated[str | None, typer.Argument(metavar="PHOTO", help="The other picture file.", show_default=False)] = None,
    identity: Annotated[
        str | None, typer.Option("--identity", metavar="LABEL", help="Compare with an enrolled person instead.")
    ] = None,
    fmr: options.Fmr = None,
    operating_point: options.OperatingPointName = None,
    face: options.Face = "only",
    as_json: options.AsJson = False,
) -> None:
    """Say whether two photographs, or a photograph and an enrolled person, are of the same person.

    Exit code 0: match. 1: no match.
    """
    if (b is None) == (identity is None):
        raise InputError("verify takes two photographs, or one photograph and --identity LABEL")
    session = session_of(context)
    choice = options.parsed_face(face)
    with session.service() as service:
        if identity is not None:
            answer = service.verify_identity(session.photo(a), identity, face=choice, fmr=fmr, operating_point=operating_point)
        else:
            answer = service.verify(session.photo(a), session.photo(b or ""), face=choice, fmr=fmr, operating_point=operating_point)
    if as_json:
        write_json({"photo": a, "other_photo": b, **verification_shape(answer)})
    else:
        _write(answer)
    if not answer.is_match:
        raise typer.Exit(NO_MATCH)


def evidence_text(point: OperatingPoint, *, asked: str) -> str:
    """Return how far the evidence behind a threshold goes."""
    text = f"{point.n_non_mated:,} comparisons of different people"
    if point.is_in_sample:
        text += ", in sample"
    if point.is_supported:
        return text
    if point.name is not None:
        return f"{text}; it was not measured for so many templates, or not for this fusion rule"
    return f"{text}; too few for {asked}: the threshold is the one of FMR {rate(point.fmr)}, the tightest measured"


def _write(answer: Verification) -> None:
    point = answer.operating_point
    verb = "is below" if answer.score < answer.threshold else "reaches"
    who = f" with {printable(answer.label)}" if answer.label is not None else ""
    write_line(
        f"{'match' if answer.is_match else 'no match'}{who}: score {answer.score:.4f} {verb} the threshold {answer.threshold:.4f}"
    )
    if answer.is_rejected:
        write_line("rejected          somebody said that this face is not this person's (facesearch feedback list)")
    if answer.threshold > point.threshold:
        write_line(f"stricter          feedback on this person raised the threshold from {point.threshold:.4f}")
    write_line(f"squared distance  {answer.squared_distance:.4f}")
    named = f" ({printable(point.name)})" if point.name is not None else ""
    write_line(f"decided at        FMR {rate(point.fmr)}{named}: {_one_in(point.fmr)} passes as the same person")
    write_line(f"evidence          {evidence_text(point, asked='the FMR asked for')}")
    _write_evidence(answer)
    write_line(f"embedder          {point.embedder_id}")


def _write_evidence(answer: Verification) -> None:
    calibration, ratio = answer.calibration, answer.log_likelihood_ratio
    if calibration is None or ratio is None:
        return
    least, greatest = calibration.clamp
    limit = " (clamped)" if answer.is_llr_clamped else ""
    write_line(f"log-likelihood    ratio {ratio:.2f}{limit}; the calibration's counts support {least:.2f} to {greatest:.2f}")
    write_line(f"probability       {answer.probability:.4g} of the same person, at a prior of {calibration.prior:g}")


def _one_in(fmr: float) -> str:
    return f"one stranger in {round(1 / fmr):,}"
