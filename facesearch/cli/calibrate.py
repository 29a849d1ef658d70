"""``facesearch calibrate``: what a score is worth as evidence (1:1), measured on labelled photographs.

It sets no threshold: see ``evaluate … --save``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.report_file import check_report, write_report
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError
from facesearch.service.shapes import calibration_outcome_shape, calibration_shape

if TYPE_CHECKING:
    from facesearch.core.calibration import Calibration
    from facesearch.service.calibrate import CalibrationOutcome


def calibrate(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="FOLDER/LABEL/picture files.", show_default=False)] = None,
    enrolled: Annotated[bool, typer.Option("--enrolled", help="Use the people enrolled in the collection instead.")] = False,
    method: Annotated[
        str, typer.Option("--method", metavar="logistic|isotonic", help="A straight line, or a staircase (needs many people).")
    ] = "logistic",
    prior: Annotated[
        float, typer.Option("--prior", metavar="P", help="Probability of the same person before the score is seen.")
    ] = 0.5,
    show: Annotated[bool, typer.Option("--show", help="Only show what is stored.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the calibration of the embedder in use.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report with the reliability diagram.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Fit what scores are worth as evidence, so that verify can give a probability and a log-likelihood ratio."""
    if sum((folder is not None, enrolled, show, remove)) != 1:
        raise InputError("calibrate takes a folder of labelled photographs, or one of --enrolled, --show and --remove")
    if report is not None and (show or remove):
        raise InputError("--report is of a calibration being made: --show and --remove make none")
    check_report(report)
    session = session_of(context)
    with session.service() as service:
        if show:
            _write_stored(service.calibrations(), as_json=as_json)
        elif remove:
            _write_removed(was_there=service.remove_calibration(), as_json=as_json)
        else:
            with progress("photographs") as advance:
                outcome = service.calibrate(folder, method=method, prior=prior, on_progress=advance)
            if report is not None:
                write_report(_report_text(outcome), report)
            _write_outcome(outcome, as_json=as_json)


def _report_text(outcome: CalibrationOutcome) -> str:
    from facesearch.evaluation.report import render_report
    from facesearch.service.calibration_report import calibration_report

    return render_report(calibration_report(outcome, when=datetime.now().astimezone()))


def _write_stored(found: tuple[Calibration, ...], *, as_json: bool) -> None:
    if as_json:
        write_json({"calibrations": [calibration_shape(one) for one in found]})
        return
    rows = [(one.embedder_id, str(one.method), one.prior, f"{one.created_at:%Y-%m-%d}", one.source) for one in found]
    write_table(("embedder", "method", "prior", "date", "measured on"), rows)


def _write_removed(*, was_there: bool, as_json: bool) -> None:
    if as_json:
        write_json({"removed": was_there})
    else:
        write_line("removed: verify gives no probability any more" if was_there else "there was no calibration of this embedder")


def _write_outcome(outcome: CalibrationOutcome, *, as_json: bool) -> None:
    for warning in outcome.warnings:
        write_note(f"warning: {printable(warning)}")
    if as_json:
        write_json(calibration_outcome_shape(outcome))
        return
    made = outcome.calibration
    least, greatest = made.clamp
    write_line(f"calibrated {made.embedder_id} on {printable(made.source)}")
    write_line(
        f"method     {made.method}, {made.n_mated:,} comparisons of the same person and {made.n_non_mated:,} of different people"
    )
    write_line(f"prior      {made.prior:g}")
    write_line(f"clamp      natural log-likelihood ratios from {least:.2f} to {greatest:.2f}, as far as the counts go")
    for one in outcome.held_out:
        write_line(f"held out   {one.check}")
