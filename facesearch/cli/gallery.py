"""``facesearch gallery …``: what is wrong with who is enrolled, and the index built anew.

Single people are looked after by ``identities``; ``doctor`` checks the installation.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.output import confirm, printable, write_json, write_line, write_table
from facesearch.cli.session import Session, session_of
from facesearch.core.errors import InputError
from facesearch.core.paths import is_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.service.gallery_doctor import Checkup, GalleryDoctor, Treated
    from facesearch.service.gallery_findings import Finding

app = typer.Typer(help="Look a gallery through for faults, and rebuild its index.")


@app.command()
def doctor(
    context: typer.Context,
    proposals: Annotated[
        Path | None, typer.Option("--proposals", metavar="FILE", help="Write what can be done to this file, to be looked through.")
    ] = None,
    apply: Annotated[
        Path | None, typer.Option("--apply", metavar="FILE", help="Carry out what is accepted in a file of proposals.")
    ] = None,
    backup: Annotated[
        Path | None, typer.Option("--backup", metavar="FILE", help="Where --apply exports the collection to first, to go back to.")
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Apply without an export: it cannot be undone.")] = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Find wrong labels, people under two labels, copies, weak templates, and an index that disagrees; propose and apply cures.

    Exit code 0, whatever was found.
    """
    session = session_of(context)
    if apply is None:
        if backup is not None or no_backup:
            raise InputError("--backup and --no-backup go with --apply")
        _examine(session, proposals, yes=yes, as_json=as_json)
        return
    if proposals is not None:
        raise InputError("give --proposals to write a file, or --apply to carry one out, not both")
    if (backup is None) is not no_backup:
        raise InputError("--apply needs --backup FILE, an export to go back to, or --no-backup")
    if no_backup:
        confirm(f"Change {session.collection} without an export? It cannot be undone.", yes=yes)
    with _Doctor(session) as gallery_doctor:
        treated = gallery_doctor.apply(apply, collection=session.collection, backup=backup)
    _write_treated(session.collection, treated, backup, as_json=as_json)


@app.command()
def rebuild(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Build the collection's index anew from the database."""
    session = session_of(context)
    with session.service() as service:
        service.rebuild_index()
        status = next(one for one in service.index_status() if one.collection == session.collection)
    if as_json:
        write_json({"collection": status.collection, "kind": status.kind, "n_indexed": status.n_indexed})
    else:
        write_line(f"rebuilt the index of {printable(status.collection)}: {status.kind}, {status.n_indexed} templates")


class _Doctor:
    """The doctor of a session's collection; at the end the index snapshot is written where it lags, and the database released."""

    def __init__(self, session: Session) -> None:
        self._parts = session.library.parts(session.settings).embedders.current(session.collection)

    def __enter__(self) -> GalleryDoctor:
        return self._parts.gallery_doctor

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._parts.indexes.save()
        finally:
            self._parts.store.close()


def _examine(session: Session, proposals: Path | None, *, yes: bool, as_json: bool) -> None:
    if proposals is not None and is_there(proposals):
        confirm(f"Replace {proposals}?", yes=yes)
    with _Doctor(session) as gallery_doctor:
        checkup = gallery_doctor.examine(session.collection)
    n_proposals = checkup.write_proposals(proposals) if proposals is not None else None
    if as_json:
        write_json(checkup_shape(checkup, proposals, n_proposals))
        return
    _write_findings(checkup)
    if proposals is not None:
        write_line(f"{n_proposals} proposals are in {printable(proposals)}: look them through, then run gallery doctor --apply")


def checkup_shape(checkup: Checkup, proposals: Path | None, n_proposals: int | None) -> dict[str, Any]:
    """Return what was found, as JSON holds it."""
    index = checkup.index
    return {
        "collection": checkup.collection,
        "embedder_id": checkup.embedder_id,
        "n_identities": checkup.n_identities,
        "n_templates": checkup.n_templates,
        "index": {"kind": index.kind, "n_indexed": index.n_indexed, "n_stored": index.n_stored, "is_in_step": index.is_in_step},
        "findings": [one.as_dict() for one in checkup.findings],
        "proposals": None if proposals is None else {"file": str(proposals), "n_proposals": n_proposals},
    }


def _write_findings(checkup: Checkup) -> None:
    counts = Counter((str(one.kind), "probable" if one.is_probable else "possible") for one in checkup.findings)
    write_line(
        f"{printable(checkup.collection)}: {checkup.n_identities} people, {checkup.n_templates} templates; index "
        f"{'in step' if checkup.index.is_in_step else 'NOT in step: run gallery rebuild'}"
    )
    if not checkup.findings:
        write_line("nothing was found to be wrong")
        return
    for (kind, confidence), n in sorted(counts.items()):
        write_line(f"{n} {confidence} {kind}")
    write_table(
        ("finding", "confidence", "label", "template", "source", "other", "score", "own score", "proposed", ""),
        [_row(one) for one in checkup.findings],
    )


def _row(one: Finding) -> Sequence[object]:
    confidence = "probable" if one.is_probable else "possible"
    where = (one.label, one.template_id, one.source, one.other_label)
    return (str(one.kind), confidence, *where, one.score, one.own_score, str(one.action) if one.action else None, one.detail)


def _write_treated(collection: str, treated: Sequence[Treated], backup: Path | None, *, as_json: bool) -> None:
    n_done = sum(one.is_done for one in treated)
    if as_json:
        outcomes = [{"is_done": one.is_done, "message": one.message, **one.finding.as_dict()} for one in treated]
        exported = None if backup is None else str(backup)
        write_json({"collection": collection, "backup": exported, "n_done": n_done, "outcomes": outcomes})
        return
    for one in treated:
        write_line(f"{'done' if one.is_done else 'left alone'}: {printable(one.message)}")
    write_line(f"{n_done} of {len(treated)} accepted proposals carried out")
    if backup is not None:
        write_line(f"to undo it all: collections remove {printable(collection)}, then identities import {printable(backup)}")
