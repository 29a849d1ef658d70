"""``facesearch gallery migrate``: a collection moved to another embedder while it is searched, and back.

It embeds nothing itself: see ``facesearch.service.migrate``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.output import confirm, printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.session import Session, session_of
from facesearch.cli.table_file import check_table_file, write_table_file
from facesearch.core.errors import InputError
from facesearch.service.face_sources import LostFace

if TYPE_CHECKING:
    from facesearch.bootstrap import Parts
    from facesearch.service.migrate import Migrated, MigrateGallery, MigrationState
    from facesearch.service.migration_checks import SpotCheck, Verified

LOST_COLUMNS = ("label", "identity_id", "source", "image_digest", "template_id", "reason", "detail")

SHOWN_CHECKS = 10
"""Sampled people whose scores are printed; --json has all of them."""


def migrate(
    context: typer.Context,
    to: Annotated[str | None, typer.Option("--to", metavar="EMBEDDER", help="Move the collection to this embedder.")] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option("--photos", metavar="DIR", help="Look here, by content, for photographs that are not where they were."),
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Switch back to the embedder before.")] = False,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Delete the former embedder's templates: there is no way back then.")
    ] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Delete what was made for an embedder not switched to yet.")] = False,
    accept_worse: Annotated[
        bool, typer.Option("--accept-worse", help="Switch although too many of the sampled people are found no longer.")
    ] = False,
    missing: Annotated[
        Path | None, typer.Option("--missing", metavar="FILE", help="List the faces that cannot be embedded again: .csv or .json.")
    ] = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Move a collection to another embedder while it is searched with the one in use; run again, an interrupted move goes on.

    Without --to, --back, --forget-old or --abandon it says how the collection stands, and changes nothing.
    """
    asked = [
        name for name, given in (("--to", to), ("--back", back), ("--forget-old", forget_old), ("--abandon", abandon)) if given
    ]
    if len(asked) > 1:
        raise InputError(f"give one of {' and '.join(asked)}, not both")
    if (photos or accept_worse) and asked not in (["--to"], ["--back"]):
        raise InputError("--photos and --accept-worse go with --to or --back")
    if missing is not None and (forget_old or abandon):
        raise InputError("--missing goes with --to, --back or no other option")
    check_table_file(missing)
    session = session_of(context)
    with _migration(session) as (migration, parts):
        if forget_old or abandon:
            _remove(migration, session.collection, forget_old=forget_old, yes=yes, as_json=as_json)
        elif to is not None or back:
            began = time.monotonic()
            with progress("faces", lines_every_s=10.0) as advance:
                asking: dict[str, Any] = {
                    "collection": session.collection,
                    "photos": photos or (),
                    "accept_worse": accept_worse,
                    "on_progress": advance,
                }
                done = migration.back(**asking) if to is None else migration.to(parts.other_embedder(to), **asking)
            _write_migrated(done, time.monotonic() - began, missing, as_json=as_json)
            if parts.embedder_id != done.state.use.current.embedder_id:
                write_note(
                    f"set embedder = {printable(done.state.use.current.name)!r} for new collections as well (facesearch.toml)"
                )
        else:
            _write_state(migration, session.collection, missing, as_json=as_json)


@contextmanager
def _migration(session: Session) -> Iterator[tuple[MigrateGallery, Parts]]:
    parts = session.library.parts(session.settings)
    try:
        yield parts.migration, parts
    finally:
        parts.store.close()


def _remove(migration: MigrateGallery, collection: str, *, forget_old: bool, yes: bool, as_json: bool) -> None:
    state = migration.state(collection)
    other = "" if state.use.other is None else state.use.other.embedder_id
    if forget_old:
        kept = f" ({state.n_left_behind} people whose photographs are gone keep theirs)" if state.n_left_behind else ""
        confirm(f"Forget the templates of {other or 'the former embedder'} in {collection}{kept}? There is no way back.", yes=yes)
        n_removed = migration.forget_former(collection=collection)
    else:
        n_removed = migration.abandon(collection=collection)
    state = migration.state(collection)
    if as_json:
        write_json({**state_shape(state), "n_removed": n_removed})
    else:
        write_line(f"{n_removed} templates of {printable(other)} deleted")
        _write_use(state)


def _write_state(migration: MigrateGallery, collection: str, missing: Path | None, *, as_json: bool) -> None:
    state = migration.state(collection)
    rows = []
    if missing is not None:
        rows = [
            LostFace(one, "lacking", "no template of the other embedder yet").as_dict()
            for one in migration.lacking_faces(collection)
        ]
        _write_missing(missing, rows)
    if as_json:
        write_json({**state_shape(state), "missing": None if missing is None else str(missing)})
    else:
        _write_use(state)


def _write_migrated(done: Migrated, seconds: float, missing: Path | None, *, as_json: bool) -> None:
    rows = [one.as_dict() for one in done.lost]
    if missing is not None:
        _write_missing(missing, rows)
    judged = done.verified.judged
    found = {"n_sampled": len(done.verified.checks), "n_judged": len(judged), **_found(done.verified)}
    if as_json:
        write_json(
            {
                **state_shape(done.state),
                "n_embedded": done.n_embedded,
                "seconds": round(seconds, 3),
                "verified": {"n_templates": done.verified.n_templates, **found},
                "checks": [check_shape(one) for one in done.verified.checks],
                "lost": rows,
                "left_behind": list(done.left_behind),
            }
        )
        return
    pace = f", {done.n_embedded / seconds:.1f} a second" if done.n_embedded and seconds > 0 else ""
    write_line(f"{done.n_embedded} faces embedded again in {seconds:.1f} s{pace}; {len(rows)} could not be")
    write_line(
        f"verified: {done.verified.n_templates} templates; of {found['n_judged']} sampled people with another photograph "
        f"{found['n_found_before']} were found before, {found['n_found_after']} are found now"
    )
    write_table(
        ("label", "own before", "best other", "own now", "best other"),
        [(one.label, one.own_before, one.other_before, one.own_after, one.other_after) for one in judged[:SHOWN_CHECKS]],
    )
    _write_use(done.state)
    if done.left_behind:
        shown = ", ".join(printable(one) for one in done.left_behind[:SHOWN_CHECKS])
        more = f" and {len(done.left_behind) - SHOWN_CHECKS} more" if len(done.left_behind) > SHOWN_CHECKS else ""
        write_line(f"{len(done.left_behind)} people are searchable with the former embedder only: {shown}{more}")
    if rows and missing is None:
        write_line("--missing FILE.csv lists the faces that could not be embedded again")


def _write_use(state: MigrationState) -> None:
    use = state.use
    n_current = state.counts.get(use.current.embedder_id, 0)
    write_line(f"{printable(state.collection)} is searched with {use.current.embedder_id}: {n_current} templates")
    if use.other is None:
        return
    n_other = state.counts.get(use.other.embedder_id, 0)
    if use.is_copying:
        write_line(f"on its way to {use.other.embedder_id}: {n_other} templates made, {state.n_lacking} faces to go")
    else:
        write_line(
            f"{n_other} templates of {use.other.embedder_id} are kept: gallery migrate --back returns to it, --forget-old deletes "
            "them"
        )
        if state.n_left_behind:
            write_line(f"{state.n_left_behind} people are searchable with {use.other.embedder_id} only")


def _write_missing(file: Path, rows: list[dict[str, Any]]) -> None:
    write_table_file(file, {"faces": rows}, LOST_COLUMNS, rows)
    write_note(f"{len(rows)} faces listed in {printable(file)}")


def _found(verified: Verified) -> dict[str, int]:
    judged = verified.judged
    return {
        "n_found_before": sum(one.is_found_before for one in judged),
        "n_found_after": sum(one.is_found_after for one in judged),
    }


def state_shape(state: MigrationState) -> dict[str, Any]:
    """Return how a collection stands, as JSON holds it."""
    use = state.use
    return {
        "collection": state.collection,
        "embedder_id": use.current.embedder_id,
        "other_embedder_id": None if use.other is None else use.other.embedder_id,
        "is_copying": use.is_copying,
        "n_templates": state.counts,
        "n_lacking": state.n_lacking,
        "n_left_behind": state.n_left_behind,
    }


def check_shape(one: SpotCheck) -> dict[str, Any]:
    """Return one sampled person, as JSON holds it."""
    before = {"own": one.own_before, "best_other": one.other_before}
    return {"label": one.label, "before": before, "after": {"own": one.own_after, "best_other": one.other_after}}
