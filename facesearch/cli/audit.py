"""``facesearch audit …``: the log of what the service decided and changed.

It changes no entry: there is no command that could.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import confirm, rate, write_json, write_line, write_note, write_table
from facesearch.cli.session import session_of
from facesearch.core.errors import AuditError, InputError

if TYPE_CHECKING:
    from facesearch.core.audit import AuditEntry, AuditEvent
    from facesearch.service.audit import AuditReport

app = typer.Typer(help="Look through the log of what the service decided and changed.")

_MAX_SHOWN = 100_000


@app.command()
def verify(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Check that no entry was altered, removed or forged; ends with 6 where one was."""
    with session_of(context).access() as desk:
        report = desk.audit.verify()
    if as_json and report.is_sound:
        from facesearch.service.access_shapes import audit_report_shape

        write_json(audit_report_shape(report))
        return
    if not report.is_sound:
        sound = f"; {report.n_entries:,} before it are as they were written" if report.n_entries else ""
        raise AuditError(f"the audit log was tampered with or is damaged: {report.problem}{sound}", number=report.number)
    write_line(_told(report))


@app.command()
def show(
    context: typer.Context,
    after: Annotated[
        int | None, typer.Option("--after", metavar="NUMBER", help="From the entry behind this one on; the newest if left out.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many.")] = 50,
    as_json: options.AsJson = False,
) -> None:
    """Show entries, oldest first; they are not verified."""
    if not 1 <= limit <= _MAX_SHOWN:
        raise InputError(f"--limit is 1 to {_MAX_SHOWN}, not {limit}")
    with session_of(context).access() as desk:
        entries = desk.audit.latest(limit)[::-1] if after is None else desk.audit.rows(after, limit)
    if as_json:
        from facesearch.service.access_shapes import audit_entry_shape

        write_json({"entries": [audit_entry_shape(one) for one in entries]})
        return
    columns = ("number", "at (UTC)", "actor", "action", "outcome", "people", "score", "threshold", "rate", "about", "request")
    write_table(columns, [_row(one) for one in entries])


@app.command("renew-head")
def renew_head(context: typer.Context, yes: options.Yes = False) -> None:
    """Take the log as it is for whole, after the database was restored from a backup; an entry says so."""
    confirm("Take the audit log as it is for whole? Entries that are missing at its end stay missing.", yes=yes)
    with session_of(context).access() as desk:
        before = desk.audit.renew_head("cli")
    write_note(f"before: {before.problem or 'nothing was wrong'}")
    write_line(f"the audit log goes on from entry {before.last_number:,}")


def _told(report: AuditReport) -> str:
    behind = ""
    if report.n_after_head:
        noun = "entry" if report.n_after_head == 1 else "entries"
        behind = f", {report.n_after_head:,} {noun} of them behind the head, left by a process that was killed"
    return f"the audit log is whole: {report.n_entries:,} {'entry' if report.n_entries == 1 else 'entries'}{behind}"


def _row(entry: AuditEntry) -> tuple[object, ...]:
    event = entry.event
    people = " ".join(map(str, event.identity_ids))
    return (
        entry.number,
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        event.actor,
        event.action,
        event.outcome,
        people,
        None if event.score is None else f"{event.score:.4f}",
        None if event.threshold is None else f"{event.threshold:.4f}",
        _rate(event),
        event.subject,
        event.request_id,
    )


def _rate(event: AuditEvent) -> str | None:
    if event.fpir is not None:
        return f"FPIR {rate(event.fpir)}"
    return None if event.fmr is None else f"FMR {rate(event.fmr)}"
