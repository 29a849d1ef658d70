"""``facesearch train …``: photographs of people made ready, networks trained on them, and what comes out exported.

What each command does is in ``facesearch.training``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import Advance, printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.report_file import check_report, write_report
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError
from facesearch.core.paths import is_folder

if TYPE_CHECKING:
    from facesearch.training.cleaned_list import CleanedList
    from facesearch.training.crop_store import CropStore
    from facesearch.training.prepare import PrepareReport

app = typer.Typer(help="Train embedders on photographs of your own: see docs/training.md.")

MAX_FAILURES = 20
"""Failures printed; the store and --json have them all."""

Store = Annotated[Path, typer.Argument(metavar="STORE", help="A folder that train prepare made.")]


@app.command()
def prepare(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="<person>/<picture>, or pictures that --labels names.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="STORE", help="Folder of the crops, outside of DIR; an unfinished one goes on."),
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="CSV", help="Columns file (in DIR) and label, instead of folders.")
    ] = None,
    face: options.Face = "largest",
    restart: Annotated[
        bool, typer.Option("--restart", help="Remove the crops that are there, no other file, and begin anew.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Find and align a face of every photograph of a folder of people, for training.

    The crops are those that the embedder in use wants (--embedder NAME for another). Interrupted, the same command goes on;
    photographs that came, went or were replaced since are refused by name.
    """
    session = session_of(context)
    make = session.library.parts(session.settings).prepare_crops
    with progress("photographs", lines_every_s=10.0) as advance:
        report = make(folder, output, labels_csv=labels, face=options.parsed_face(face), restart=restart, on_progress=advance)
    if as_json:
        write_json(report.as_dict())
    else:
        _write_prepared(report)
    if not report.n_crops:
        raise InputError(f"none of the {report.n_photographs} photographs gave a crop: there is nothing to train on")


@app.command()
def clean(
    context: typer.Context,
    store: Store,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The list; STORE/cleaned.json if left out.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="STORE|DIR", help="Data that will be measured on: its people are excluded; repeatable."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Drop also the photographs that would only be flagged.")] = False,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="HTML", help="A page with the faces and the reasons, for looking through.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Find wrong labels among crops: drop them, move them to whom they show, merge labels of one person, flag what is unsure.

    Nothing of the store changes: the list is named where the store is opened (train run --cleaned FILE).
    """
    from facesearch.training.cleaned_list import CLEANED, require_list_file
    from facesearch.training.cleaning import CleaningRule

    check_report(sheet)
    file = output if output is not None else store / CLEANED
    if output is not None or is_folder(store):  # a store that is not there is told as such
        require_list_file(file)
    session = session_of(context)
    use = session.library.parts(session.settings).clean_store
    with _told() as advance:
        crops, found = use(store, against=tuple(against or ()), rule=CleaningRule(is_strict=strict), on_progress=advance)
    found.write(file)
    if sheet is not None:
        _write_sheet(crops, found, sheet)
    kept = _left(crops, found)
    if as_json:
        write_json({"list": str(file), "counts": found.counts, **kept, "about": dict(found.about)})
        return
    write_table(("decision", "count"), [(name.replace("_", " "), count) for name, count in found.counts.items()])
    write_line()
    write_table(("left", "count"), [(name.removeprefix("n_").replace("_", " "), count) for name, count in kept.items()])
    write_line(f"\n{printable(file)}")


@contextmanager
def _told() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far each store or folder in turn is."""
    with ExitStack() as bars:
        shown: dict[str, Advance] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in shown:
                bars.close()
                shown[name] = bars.enter_context(progress(f"faces of {printable(name)}", lines_every_s=10.0))
            shown[name](done, total)

        yield advance


def _left(store: CropStore, found: CleanedList) -> dict[str, int]:
    """Return what the list leaves; nothing at all is possible."""
    kept = store.cleaned(found)
    return {
        "n_crops": len(store),
        "n_crops_kept": len(kept),
        "n_people": len(store.people),
        "n_people_kept": len(kept.people),
        "n_people_kept_with_one_crop": int((kept.counts == 1).sum()),
    }


def _write_sheet(store: CropStore, found: CleanedList, sheet: Path) -> None:
    from facesearch.evaluation.report import render_report
    from facesearch.imaging.crops import jpeg
    from facesearch.training.cleaning_sheet import cleaning_report

    report = cleaning_report(store, found, lambda pixels: jpeg(pixels, quality=80), when=datetime.now().astimezone())
    write_report(render_report(report), sheet)


def _write_prepared(report: PrepareReport) -> None:
    known = f", {report.n_known} of them in an earlier run" if report.n_known else ""
    made = f"{report.n_crops} of {report.n_photographs} photographs are crops of {report.n_people} people"
    write_line(f"{made} in {printable(report.store)}{known}")
    write_line(f"{report.n_single} people have one crop, {len(report.people_without_crops)} have none")
    if report.failures:
        write_line()
        write_table(("failure", "photographs"), list(report.counts.items()))
        write_line()
        rows = [(one.code, one.path, one.message) for one in report.failures[:MAX_FAILURES]]
        write_table(("failure", "file", "message"), rows)
        if len(report.failures) > MAX_FAILURES:
            write_line(f"… and {len(report.failures) - MAX_FAILURES} more: see --json")
    for warning in report.warnings:
        write_note(f"warning: {printable(warning)}")
