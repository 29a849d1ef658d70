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
from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.evaluation.all_pairs import AllPairsPoint
    from facesearch.evaluation.evidence import Evidence
    from facesearch.evaluation.one_to_one import TarAtFmr
    from facesearch.service.calibrate_model import ModelCalibration
    from facesearch.service.calibrate_pairs import PairsCalibration


def calibrate_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An embedder that was added.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Folder with LABEL/picture files, or LFW's images.", show_default=False),
    ] = None,
    people: Annotated[Path | None, typer.Option("--people", metavar="FILE", help="LFW's list of the people to measure on.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="A .csv as evaluate pairs takes it, instead of --images; or LFW's pairs.txt, for accuracy.",
        ),
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
    from facesearch.service.calibrate_model import CALIBRATED_FMRS, CalibrationData
    from facesearch.service.evaluate_people import EvaluationOptions
    from facesearch.service.photograph_lists import read_left_out

    check_report(report)
    _check_data(images, people, pairs, left_out)
    session = session_of(context)
    settings = session.settings.model_copy(update={"embedder": name})
    is_lfw = images is not None and (people, pairs) != (None, None)
    meant = face or ("central" if is_lfw else "largest")
    chosen = EvaluationOptions(fmrs=rates(fmr) if fmr else CALIBRATED_FMRS, face=options.parsed_face(meant), cache=cache)
    parts = session.library.parts(settings)
    result: ModelCalibration | PairsCalibration
    with progress("photographs") as advance:
        if images is None and pairs is not None:
            result = parts.calibrate_on_pairs(pairs, options=chosen, must_all=bool(fmr), on_progress=advance)
        elif images is not None:
            data = CalibrationData(images, people, pairs, () if left_out is None else read_left_out(left_out))
            result = parts.calibrate_model(data, options=chosen, must_all=bool(fmr), on_progress=advance)
    if report is not None:
        write_report(_report_text(result, name), report)
    if as_json:
        write_json(result.as_dict())
    else:
        _write(result)


def _check_data(images: Path | None, people: Path | None, pairs: Path | None, left_out: Path | None) -> None:
    """Refuse photographs named twice, or not at all.

    Raises:
        InputError: Says what goes with what.
    """
    is_csv = pairs is not None and pairs.suffix.lower() == ".csv"
    if images is None and not is_csv:
        raise InputError("models calibrate takes --images DIR (people in folders), or --pairs FILE.csv (columns a, b and same)")
    if is_csv and (images, people, left_out) != (None, None, None):
        raise InputError("a CSV of pairs names its photographs itself: leave --images, --people and --left-out out")


def _report_text(result: ModelCalibration | PairsCalibration, name: str) -> str:
    from facesearch.evaluation.report import render_report
    from facesearch.service.calibrate_pairs import PairsCalibration
    from facesearch.service.model_report import model_report, pairs_model_report

    when = datetime.now().astimezone()
    if isinstance(result, PairsCalibration):
        return render_report(pairs_model_report(result, name, when=when))
    return render_report(model_report(result, name, when=when))


def _write(result: ModelCalibration | PairsCalibration) -> None:
    from facesearch.service.calibrate_model import ModelCalibration
    from facesearch.service.model_report import speed_text

    points: list[tuple[AllPairsPoint | TarAtFmr, Evidence]]
    missing: list[tuple[float | None, object]]
    if isinstance(result, ModelCalibration):
        embedded = result.embedded
        # The points that are not there are notes of their own.
        warnings = result.people.warnings
        if result.accuracy is not None:
            write_line(str(result.accuracy))
        points = [(point, point.evidence) for point in result.points]
        missing = [(point.fmr, point.answer) for point in result.unsupported]
    else:
        embedded, warnings = result.measured.embedded, ()
        points = [(point.at, point.evidence) for point in result.points]
        missing = [(point.at.fmr, point.evidence.answer(point.at.fmr)) for point in result.unsupported]
    write_line(f"calibrated {embedded.embedder_id} on {printable(result.source)}")
    rows = [
        (f"{at.fmr:g}", f"{at.threshold:.4f}", str(at.tar), str(at.false_matches), f"{evidence.n_comparisons:,}")
        for at, evidence in points
    ]
    write_table(("FMR", "threshold", "TAR", "false matches", "comparisons behind it"), rows)
    for fmr, answer in missing:
        write_note(f"no point for FMR {fmr:g}: {answer}")
    write_line(f"failures to acquire: {len(embedded.failures)} of {len(embedded)} photographs")
    write_line(f"speed: {speed_text(result.speed)}")
    write_warnings(warnings)
