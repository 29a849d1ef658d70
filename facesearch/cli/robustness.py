"""``facesearch evaluate robustness``: error rates with spoilt photographs.

It tunes nothing: figures are what the settings give.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.evaluate import CacheFolder, Fmrs, ReportFile, rates, write_warnings
from facesearch.cli.output import progress, write_json, write_line, write_table
from facesearch.cli.report_file import check_report, write_report
from facesearch.cli.session import session_of

if TYPE_CHECKING:
    from facesearch.service.evaluate_robustness import RobustnessEvaluation


def robustness(
    context: typer.Context,
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with LABEL/picture files, or LFW's images.")],
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE", help="LFW's pairs.txt or a View 1 list: its photographs, and accuracy."),
    ] = None,
    people: Annotated[
        Path | None, typer.Option("--people", metavar="FILE", help="LFW's list of people: their photographs.")
    ] = None,
    damage: Annotated[
        list[str] | None, typer.Option("--damage", metavar="NAME[,NAME…]", help="Only these damages; see docs/robustness.md.")
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(
            "--face",
            metavar="central|largest",
            help="Which face of a photograph is meant; central for LFW's lists, else largest.",
            show_default=False,
        ),
    ] = None,
    fmr: Fmrs = None,
    report: ReportFile = None,
    cache: CacheFolder = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure what damage costs: probes spoilt in several ways against the same photographs as they are."""
    from facesearch.service.evaluate_people import EvaluationOptions
    from facesearch.service.evaluate_robustness import ROBUSTNESS_FMRS

    check_report(report)
    session = session_of(context)
    meant = face or ("largest" if pairs is None and people is None else "central")
    chosen = EvaluationOptions(fmrs=rates(fmr) if fmr else ROBUSTNESS_FMRS, face=options.parsed_face(meant), cache=cache)
    names = tuple(name.strip() for name in ",".join(damage or ()).split(",") if name.strip())
    measuring = session.library.parts(session.settings).robustness
    with progress("photographs") as advance:
        result = measuring(images, options=chosen, pairs_file=pairs, people_file=people, names=names, on_progress=advance)
    if report is not None:
        write_report(_report_text(result, images), report)
    if as_json:
        write_json(result.as_dict())
    else:
        _write(result)


def _report_text(result: RobustnessEvaluation, images: Path) -> str:
    from facesearch.evaluation.report import render_report
    from facesearch.service.robustness_report import robustness_report

    return render_report(robustness_report(result, images, when=datetime.now().astimezone()))


def _write(result: RobustnessEvaluation) -> None:
    embedded = result.embedded
    write_line(f"embedder {embedded.embedder_id}")
    n_failures = len(embedded.failures)
    write_line(
        f"{len(embedded)} photographs of {result.n_people} people, {n_failures} without a face; probes spoilt, gallery sound"
    )
    columns = ["damage", "no face"]
    for point in result.rows[0].points:
        columns += [f"TAR at FMR {point.fmr:g}", f"false matches at {point.threshold:.4f}"]
    has_folds = any(row.accuracy is not None for row in result.rows)
    rows = []
    for row in result.rows:
        cells = [row.name, str(row.failures)]
        for point in row.points:
            cells += [str(point.tar), str(point.false_matches)]
        rows.append((*cells, str(row.accuracy)) if has_folds else tuple(cells))
    write_table((*columns, "accuracy") if has_folds else tuple(columns), rows)
    write_warnings(result.warnings)
