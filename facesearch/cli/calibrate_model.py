"""``facesearch models calibrate``: the thresholds of an embedder, measured on labelled photographs and kept beside it.

It makes no probability of a score: see ``facesearch calibrate``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.evaluate import CacheFolder, Fmrs, ReportFile, rates, write_warnings
from facesearch.cli.output import printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.report_file import check_report, write_report
from facesearch.cli.session import session_of

if TYPE_CHECKING:
    from facesearch.service.calibrate_model import ModelCalibration


def calibrate_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An embedder that was added.")],
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with LABEL/picture files, or LFW's images.")],
    people: Annotated[Path | None, typer.Option("--people", metavar="FILE", help="LFW's list of the people to measure on.")] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", metavar="FILE", help="LFW's pairs.txt: adds the accuracy over its folds to the card.")
    ] = None,
    left_out: Annotated[
        Path | None,
        typer.Option("--left-out", metavar="FILE", help="Pairs of labels that are one person: two a line, a tab between."),
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(
            "--face",
            metavar="central|largest|only|N",
            help="Which face of a photograph is meant; central for LFW's lists, else largest.",
            show_default=False,
        ),
    ] = None,
    fmr: Fmrs = None,
    report: ReportFile = None,
    cache: CacheFolder = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure an embedder on people in folders; verify and identify decide by what was measured from then on."""
    from facesearch.service.calibrate_model import CALIBRATED_FMRS, CalibrationData, read_left_out
    from facesearch.service.evaluate_people import EvaluationOptions

    check_report(report)
    session = session_of(context)
    meant = face or ("largest" if people is None and pairs is None else "central")
    chosen = EvaluationOptions(fmrs=rates(fmr) if fmr else CALIBRATED_FMRS, face=options.parsed_face(meant), cache=cache)
    data = CalibrationData(images, people, pairs, () if left_out is None else read_left_out(left_out))
    settings = session.settings.model_copy(update={"embedder": name})
    measure = session.library.parts(settings).calibrate_model
    with progress("photographs") as advance:
        result = measure(data, options=chosen, must_all=bool(fmr), on_progress=advance)
    if report is not None:
        write_report(_report_text(result, name), report)
    if as_json:
        write_json(result.as_dict())
    else:
        _write(result)


def _report_text(result: ModelCalibration, name: str) -> str:
    from facesearch.evaluation.report import render_report
    from facesearch.service.model_report import model_report

    return render_report(model_report(result, name, when=datetime.now().astimezone()))


def _write(result: ModelCalibration) -> None:
    from facesearch.service.model_report import speed_text

    embedded = result.embedded
    write_line(f"calibrated {embedded.embedder_id} on {printable(result.source)}")
    if result.accuracy is not None:
        write_line(str(result.accuracy))
    rows = [
        (f"{point.fmr:g}", f"{point.threshold:.4f}", str(point.tar), str(point.false_matches), f"{point.evidence.n_comparisons:,}")
        for point in result.points
    ]
    write_table(("FMR", "threshold", "TAR", "false matches", "comparisons behind it"), rows)
    for point in result.unsupported:
        write_note(f"no point for FMR {point.fmr:g}: {point.answer}")
    write_line(f"failures to acquire: {len(embedded.failures)} of {len(embedded)} photographs")
    write_line(f"speed: {speed_text(result)}")
    write_warnings(result.people.warnings)
