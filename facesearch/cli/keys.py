"""``facesearch keys …``: API keys of the service.

A key's text is printed once, when it is made; nothing else ever holds it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, write_json, write_line, write_note, write_table
from facesearch.cli.session import Session, session_of
from facesearch.core.access import Scope
from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.core.access import ApiKey, NewKey

app = typer.Typer(help="Look after API keys of the service.")

_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}
_MAX_DAYS = 36_500

KeyId = Annotated[str, typer.Argument(metavar="ID", help="A key's id, as keys list shows it.")]
SCOPES = ", ".join(one.value for one in Scope)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is called.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help=f"What it allows, several times: {SCOPES}.")
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", metavar="NAME", help="May touch only this one; several times for several."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="90d|DATE", help="Ends after so many m, h or d, or as a day begins (UTC).")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option("--rate", metavar="N", help="Requests a minute; the service's setting if left out.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make an API key and print it: the only time that it is shown."""
    session = _session(context)
    expires_at = None if expires is None else parsed_end(expires, datetime.now(UTC))
    with session.access() as desk:
        made = desk.create(name, scope or [], collections=collection or None, expires_at=expires_at, requests_per_minute=per_minute)
    _write_new(made, as_json=as_json)


@app.command("list")
def list_keys(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List API keys, revoked and expired ones too, oldest first."""
    now = datetime.now(UTC)
    with _session(context).access() as desk:
        keys = desk.keys.list()
    if as_json:
        from facesearch.service.access_shapes import api_key_shape

        write_json({"keys": [api_key_shape(one, now) for one in keys]})
        return
    rows = [
        (
            one.key_id,
            one.name,
            _scopes(one),
            _collections(one),
            one.requests_per_minute,
            f"{one.created_at:%Y-%m-%d}",
            _state(one, now),
        )
        for one in keys
    ]
    write_table(("id", "name", "scopes", "collections", "a minute", "made", "state"), rows)


@app.command()
def revoke(context: typer.Context, key_id: KeyId, as_json: options.AsJson = False) -> None:
    """Take an API key back for good; every process refuses it within a second."""
    with _session(context).access() as desk:
        key = desk.revoke(key_id)
    if as_json:
        from facesearch.service.access_shapes import api_key_shape

        write_json(api_key_shape(key, datetime.now(UTC)))
    else:
        write_line(f"revoked {key.key_id} ({printable(key.name)})")


@app.command()
def rotate(
    context: typer.Context,
    key_id: KeyId,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="1h", help="The old key works so long after; it ends at once if left out.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Exchange an API key for a new one that allows the same, and print it: the only time that it is shown."""
    session = _session(context)
    grace_s = 0.0 if grace is None else parsed_duration(grace).total_seconds()
    with session.access() as desk:
        made = desk.rotate(key_id, grace_s=grace_s)
    _write_new(made, as_json=as_json)


def parsed_duration(text: str) -> timedelta:
    """Return a duration such as ``30m``, ``12h`` or ``90d``.

    Raises:
        InputError: It is none, or longer than a hundred years.
    """
    found = re.fullmatch(r"([0-9]{1,9})([mhd])", text.strip())
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= _MAX_DAYS * _UNITS_S["d"]:
        raise InputError(f"a time is given as 30m, 12h or 90d, not {text!r}")
    return timedelta(seconds=seconds)


def parsed_end(text: str, now: datetime) -> datetime:
    """Return when a key ends: after a duration, or as a day begins, in UTC.

    Raises:
        InputError: Neither of them.
    """
    if re.fullmatch(r"[0-9]+[mhd]", text.strip()):
        return now + parsed_duration(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise InputError(f"the end of a key is given as 90d, 12h or 2027-01-31, not {text!r}") from exc
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _session(context: typer.Context) -> Session:
    session = session_of(context)
    if "collection" in session.overrides:
        # A key that was meant for one collection must not quietly get all.
        raise InputError("keys are not of one collection: write --collection behind `keys create` to limit a key to it")
    return session


def _write_new(made: NewKey, *, as_json: bool) -> None:
    from facesearch.service.access_shapes import api_key_shape

    if as_json:
        write_json({"key": api_key_shape(made.key, datetime.now(UTC)), "text": made.text})
        return
    key = made.key
    ends = "never ends" if key.expires_at is None else f"ends {key.expires_at:%Y-%m-%d %H:%M} UTC"
    write_note(f"{printable(key.name)} ({key.key_id}): {_scopes(key)}; {_collections(key)}; {ends}")
    write_note("this is the only time that the key is shown:")
    write_line(made.text)


def _scopes(key: ApiKey) -> str:
    return " ".join(one.value for one in Scope if one in key.scopes)


def _collections(key: ApiKey) -> str:
    return "all collections" if key.collections is None else ", ".join(printable(one) for one in sorted(key.collections))


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None and key.revoked_at <= now:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= now else 'valid until'} {key.expires_at:%Y-%m-%d %H:%M}"
