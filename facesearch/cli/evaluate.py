"""``facesearch evaluate …``: error rates on published protocols and on a user's own photographs.

It tunes nothing: figures are what the settings give.
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.core.records import SavedPoint
    from facesearch.service.evaluate_groups import GroupRates
    from facesearch.service.evaluate_people import EvaluationOptions, PeopleEvaluation
    from facesearch.service.evaluation import Evaluation, Measured
    from facesearch.service.photographs import AcquisitionFailure, EmbeddedPhotographs

app = typer.Typer(help="Measure error rates, on published protocols or on your own photographs.")

Fmrs = Annotated[
    list[str] | None, typer.Option("--fmr", metavar="RATE[,RATE…]", help="False match rates to report; 1e-2 to 1e-5 by default.")
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report with charts and the worst pairs as pictures.")
]
By = Annotated[str | None, typer.Option("--by", metavar="COLUMN", help="Print the error rates of every group; see --attributes.")]
AttributesFile = Annotated[
    Path | None, typer.Option("--attributes", metavar="FILE", help="CSV with file or label, and columns of attributes.")
]
CacheFolder = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Keep templates here, so that a second run takes seconds.")
]
TrainedOn = Annotated[
    Path | None,
    typer.Option("--trained-on", metavar="FILE", help="People trained or tuned on, one a line: warn if any are measured."),
]
SaveAs = Annotated[
    str | None,
    typer.Option("--save", metavar="NAME", help="Keep the operating points that the evidence supports; see operating-points."),
]
WhichFace = Annotated[str, typer.Option("--face", metavar="central|largest|only|N", help="Which face of a photograph is meant.")]

MAX_FAILURES_SHOWN = 20


@app.callback()
def evaluate() -> None:
    """Measure error rates; an interrupted run goes on where it stopped."""


@app.command()
def lfw(
    context: typer.Context,
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with NAME/NAME_0001.jpg.")],
    pairs: Annotated[Path, typer.Option("--pairs", metavar="FILE", help="pairs.txt (View 2) or a View 1 list.")],
    people: Annotated[
        Path | None, typer.Option("--people", metavar="FILE", help="List of people; people.txt beside pairs.txt by default.")
    ] = None,
    pairs_only: Annotated[bool, typer.Option("--pairs-only", help="Leave out all pairs and the open-set search.")] = False,
    fmr: Fmrs = None,
    report: ReportFile = None,
    by: By = None,
    attributes: AttributesFile = None,
    trained_on: TrainedOn = None,
    save: SaveAs = None,
    cache: CacheFolder = None,
    as_json: options.AsJson = False,
) -> None:
    """Run the LFW protocols: accuracy over ten folds, TAR at fixed FMR over all pairs, and an open-set search.

    The face is the one nearest the picture's centre; a photograph without a face counts as an error of its pairs. Without a list of
    people only the pairs are measured.
    """
    from facesearch.service.evaluate_lfw import people_file_of

    check_report(report)
    session = session_of(context)
    _check_name(save)
    chosen = _options(fmr, "central", (by, attributes), trained_on, cache)
    if pairs_only and (people, by, save) != (None, None, None):
        raise InputError("--pairs-only measures no people: leave --people, --by and --save out")
    listed = None if pairs_only else people or people_file_of(pairs)
    if listed is None and (by, save) != (None, None):
        raise InputError("--by and --save need the list of people: name it with --people")
    measuring = session.library.evaluation(session.settings)
    with progress("photographs") as advance:
        result = measuring.lfw(images, pairs, people_file=listed, options=chosen, on_progress=advance)
    _write_report(measuring, result, images, report)
    if as_json:
        kept = measuring.save(save, result, images) if save is not None else ()
        write_json({**result.as_dict(), "saved": [point.name for point in kept]})
        return
    write_line(f"embedder {result.embedder_id}")
    write_line(str(result.report))
    if result.people is not None:
        _write_people(result.people)
    speed = "" if result.photographs_per_s is None else f": {result.photographs_per_s:.1f} a second"
    write_line(f"{result.n_photographs} photographs in {result.seconds:.1f} s, {result.n_cached} from the cache{speed}")
    _write_failures(result.failures)
    if save is not None:
        _write_saved(measuring.save(save, result, images))


@app.command()
def folder(
    context: typer.Context,
    photographs: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with LABEL/picture files.")],
    face: WhichFace = "largest",
    fmr: Fmrs = None,
    report: ReportFile = None,
    by: By = None,
    attributes: AttributesFile = None,
    trained_on: TrainedOn = None,
    save: SaveAs = None,
    cache: CacheFolder = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure your own photographs: every one with every other, and an open-set search of people with two or more."""
    check_report(report)
    session = session_of(context)
    _check_name(save)
    chosen = _options(fmr, face, (by, attributes), trained_on, cache)
    measuring = session.library.evaluation(session.settings)
    with progress("photographs") as advance:
        result = measuring.folder(photographs, options=chosen, on_progress=advance)
    _write_report(measuring, result, photographs, report)
    if as_json:
        kept = measuring.save(save, result, photographs) if save is not None else ()
        write_json({**result.as_dict(), "saved": [point.name for point in kept]})
        return
    _write_embedded(result.embedded)
    _write_people(result.people)
    _write_failures(result.embedded.failures)
    if save is not None:
        _write_saved(measuring.save(save, result, photographs))


@app.command()
def pairs(
    context: typer.Context,
    listed: Annotated[Path, typer.Argument(metavar="CSV", help="Columns a, b (paths beside the CSV) and same (1 or 0).")],
    face: WhichFace = "largest",
    fmr: Fmrs = None,
    report: ReportFile = None,
    by: By = None,
    attributes: AttributesFile = None,
    trained_on: TrainedOn = None,
    cache: CacheFolder = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure a list of pairs of photographs, each of one person or of two."""
    check_report(report)
    session = session_of(context)
    chosen = _options(fmr, face, (by, attributes), trained_on, cache)
    measuring = session.library.evaluation(session.settings)
    with progress("photographs") as advance:
        result = measuring.pairs(listed, options=chosen, on_progress=advance)
    _write_report(measuring, result, listed, report)
    if as_json:
        write_json(result.as_dict())
        return
    _write_embedded(result.embedded)
    write_line(str(result))
    _write_groups(result.groups)
    write_warnings(result.warnings)
    _write_failures(result.embedded.failures)


def _options(
    fmr: list[str] | None, face: str, groups: tuple[str | None, Path | None], trained_on: Path | None, cache: Path | None
) -> EvaluationOptions:
    """Return what is asked for; lists are read before any photograph is.

    Raises:
        InputError: A rate is no number in (0, 1], or --by and --attributes do not come together.
    """
    from facesearch.service.evaluate_people import DEFAULT_FMRS, EvaluationOptions
    from facesearch.service.photograph_lists import read_attributes, read_names

    column, file = groups
    if (column is None) != (file is None):
        raise InputError("--by COLUMN and --attributes FILE go together")
    return EvaluationOptions(
        fmrs=rates(fmr) if fmr else DEFAULT_FMRS,
        face=options.parsed_face(face),
        cache=cache,
        attributes=read_attributes(file, column) if file is not None and column is not None else None,
        trained_on=read_names(trained_on) if trained_on is not None else frozenset(),
    )


def rates(texts: Sequence[str]) -> tuple[float, ...]:
    """Return the rates of ``--fmr``, given several times or with commas.

    Raises:
        InputError: One is no number.
    """
    found = []
    for text in ",".join(texts).split(","):
        try:
            found.append(float(text))
        except ValueError as exc:
            raise InputError(f"an FMR is a number such as 1e-4, not {text.strip()!r}") from exc
    return tuple(found)


def _check_name(save: str | None) -> None:
    """Refuse a name that points could not be saved under before minutes of work, not after."""
    if save is not None:
        from facesearch.core.identity import checked_label

        checked_label(save, what="name of operating points")


def _write_report(measuring: Evaluation, result: Measured, source: Path, report: Path | None) -> None:
    if report is None:
        return
    write_report(measuring.report(result, source, when=datetime.now().astimezone()), report)


def _write_embedded(embedded: EmbeddedPhotographs) -> None:
    write_line(f"embedder {embedded.embedder_id}")
    n_failures = len(embedded.failures)
    write_line(
        f"{len(embedded)} photographs in {embedded.seconds:.1f} s, {embedded.n_cached} from the cache, {n_failures} without a face"
    )


def _write_people(people: PeopleEvaluation) -> None:
    write_line(str(people))
    _write_groups(people.groups)
    write_warnings(people.warnings)


def _write_groups(groups: Sequence[GroupRates]) -> None:
    if not groups:
        return
    rows = []
    for group in groups:
        for point in group.points:
            false = "" if point.false_matches is None else f"{point.false_matches}{_between(point.fmr_interval)}"
            missed = "" if point.non_matches is None else f"{point.non_matches}{_between(point.fnmr_interval)}"
            rows.append((group.group, f"{point.fmr:g}", f"{point.threshold:.4f}", false, missed, point.remark))
    write_line()
    write_table(("group", "at FMR", "threshold", "FMR of the group", "FNMR of the group", "remark"), rows)


def _between(interval: tuple[float, float] | None) -> str:
    from facesearch.evaluation.intervals import percent

    return "" if interval is None else f" [{percent(interval[0])} to {percent(interval[1])}]"


def write_warnings(warnings: Sequence[str]) -> None:
    """Print what a reader must know beside the figures."""
    for warning in warnings:
        write_note(f"warning: {printable(warning)}")


def _write_saved(saved: Sequence[SavedPoint]) -> None:
    for point in saved:
        write_line(f"saved operating point {printable(point.name)}: threshold {point.threshold:.4f}, in-sample")


def _write_failures(failures: Sequence[AcquisitionFailure]) -> None:
    if not failures:
        return
    write_line()
    write_table(("photograph", "why not acquired"), [(one.path, one.code) for one in failures[:MAX_FAILURES_SHOWN]])
    if len(failures) > MAX_FAILURES_SHOWN:
        write_line(f"… and {len(failures) - MAX_FAILURES_SHOWN} more; --json lists them all")
