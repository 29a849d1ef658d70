"""``facesearch serve``: the service over HTTP.

It checks what can be checked before anything listens; what answers is ``facesearch.api``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli.output import write_note
from facesearch.cli.server_process import address_of, bound_socket, require_server_packages
from facesearch.cli.session import Session, session_of

if TYPE_CHECKING:
    from facesearch.server_settings import ServerSettings

FIRST_KEY = "facesearch keys create NAME --scope read --scope verify --scope identify --scope enroll"
"""What makes a key that the page and most programs can work with."""


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address listened on; 127.0.0.1 if left out, 0.0.0.0 for all.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="N", help="Port; 8000 if left out, 0 for a free one.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Processes over the one database; 1.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Requests a process works on at once; processors + 2.")
    ] = None,
    queue_limit: Annotated[
        int | None, typer.Option("--queue-limit", metavar="N", help="Requests that may wait; further ones get a 503.")
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="required|off", help="off: no keys, for this machine alone.")
    ] = None,
    log_format: Annotated[str | None, typer.Option("--log-format", metavar="json|text", help="A line a request.")] = None,
) -> None:
    """Serve enrolment, verification and identification over HTTP, with a page at /.

    Further settings are in the table server of facesearch.toml and in FACESEARCH_SERVER_… variables. SIGTERM or Ctrl-C ends it once
    requests in work are finished.
    """
    session = session_of(context)
    given = {
        "host": host,
        "port": port,
        "workers": workers,
        "threads": threads,
        "queue_limit": queue_limit,
        "keys": keys,
        "log_format": log_format,
    }
    options = {name: value for name, value in given.items() if value is not None}
    settings = session.server_settings(**options)
    library = session.settings  # a wrong setting is told before anything listens
    require_server_packages()
    bound = bound_socket(settings.host, settings.port)
    if settings.keys == "required":
        if session.library.n_api_keys(library) == 0:
            write_note(f"nobody can ask anything yet: there is no API key. Make one with: {FIRST_KEY}")
    else:
        write_note("keys are off: everybody who can reach this machine's own address may do everything")
    write_note(f"facesearch serves on {address_of(bound)} ({_processes(settings)}, keys {settings.keys}); Ctrl-C ends it")
    session.library.serve(settings, bound, _variables(session, options))


def _processes(settings: ServerSettings) -> str:
    return "1 process" if settings.workers == 1 else f"{settings.workers} processes"


def _variables(session: Session, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the options as environment variables, for the processes that serve."""
    named = {f"FACESEARCH_{name.upper()}": value for name, value in session.overrides.items()}
    named |= {f"FACESEARCH_SERVER_{name.upper()}": value for name, value in options.items()}
    if session.config is not None:
        named["FACESEARCH_CONFIG"] = session.config.absolute()
    return {name: _text(value) for name, value in named.items()}


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | Path) else json.dumps(value)
