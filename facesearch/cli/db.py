"""``facesearch db …``: the schema of the database.

It reads nobody's data: see ``identities``, and ``doctor`` for the state of the indexes.
"""

from __future__ import annotations

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, write_json, write_line
from facesearch.cli.session import session_of

app = typer.Typer(help="Make, raise and check the database's schema.")


@app.command()
def upgrade(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Bring the database to this release's schema; make it where there is none."""
    from facesearch.store.schema import upgrade as raise_schema

    settings = session_of(context).settings
    raise_schema(settings.resolved_database_url, busy_timeout_s=settings.busy_timeout_s)
    _write(settings.resolved_database_url, as_json=as_json)


@app.command()
def current(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Print the schema's revision and the one that this release works with."""
    _write(session_of(context).settings.resolved_database_url, as_json=as_json)


@app.command()
def check(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Fail (exit code 6) unless the database has exactly this release's tables."""
    from facesearch.store.schema import check as check_schema

    url = session_of(context).settings.resolved_database_url
    check_schema(url)
    _write(url, as_json=as_json)


def _write(url: str, *, as_json: bool) -> None:
    from facesearch.store.engine import location_of, parsed_url, sqlite_file
    from facesearch.store.schema import HEAD_REVISION
    from facesearch.store.schema import current as current_revision

    revision = current_revision(url)
    parsed = parsed_url(url)
    where = str(sqlite_file(parsed) or location_of(parsed))  # without a password
    is_current = revision == HEAD_REVISION
    if as_json:
        write_json({"database": where, "revision": revision, "head": HEAD_REVISION, "is_current": is_current})
        return
    state = "up to date" if is_current else f"this release works with {HEAD_REVISION}"
    write_line(f"{printable(where)}: {f'schema {revision}' if revision else 'no tables yet'} ({state})")
