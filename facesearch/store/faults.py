"""The database's errors in the house's words: one context manager, used wherever a statement runs.

It retries nothing. Messages say what happened, where, and what to do; they never hold a password, a vector or a picture.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc as sa_exc

from facesearch.core.errors import FaceSearchError, InputError, LabelTakenError, StoreError

_SQLITE = (
    ("SQLITE_BUSY", "{where} stayed locked by another process; try again, or raise the busy timeout"),
    ("SQLITE_LOCKED", "{where} stayed locked by another process; try again, or raise the busy timeout"),
    ("SQLITE_READONLY", "{where} is read-only; give write permission on the file and its folder"),
    ("SQLITE_FULL", "no space is left for {where}; nothing of the change was kept"),
    ("SQLITE_NOTADB", "{where} is not a SQLite database; name another file, or restore it from a backup"),
    ("SQLITE_CORRUPT", "{where} is damaged; restore it from a backup"),
    ("SQLITE_CANTOPEN", "{where} cannot be opened; check that its folder exists and can be written"),
    ("SQLITE_PERM", "access to {where} is not permitted; check the file's permissions"),
    ("SQLITE_IOERR", "reading or writing {where} failed on the disk"),
)
"""SQLite's result codes by the start of their name (https://www.sqlite.org/rescode.html), most specific first."""

_POSTGRESQL = (
    ("55P03", "{where} stayed locked by another process; try again, or raise the busy timeout"),
    ("40", "another change of {where} came in between; try again"),
    ("25006", "{where} is read-only; connect to the server that takes writes"),
    ("53100", "no space is left for {where}; nothing of the change was kept"),
    ("53", "{where} has no resources left on its server"),
    ("28", "{where} refused the user or password; check the database URL"),
    ("3D000", "{where} does not exist; create it with createdb"),
    ("42501", "the user lacks permission on {where}; grant it, or connect as another user"),
    ("57", "the server of {where} is shutting down or starting"),
    ("XX", "{where} is damaged; restore it from a backup"),
)
"""PostgreSQL's SQLSTATEs by their start (https://www.postgresql.org/docs/current/errcodes-appendix.html), most specific first."""

_TAKEN = (
    (("uq_identities_collection_id_label", "identities.collection_id, identities.label"), "the label exists in the collection"),
    (("uq_collections_name", "collections.name"), "the collection exists already"),
)
"""Unique constraints that answer a request, by the text each database names them with."""


@contextmanager
def database_errors(where: str) -> Iterator[None]:
    """Turn every error of SQLAlchemy, its drivers and the file system into one of the house's.

    Args:
        where: What the database is called in messages, without a password.

    Raises:
        LabelTakenError: A label or collection name exists already.
        InputError: A value that the database cannot hold.
        StoreError: Anything else.
    """
    try:
        yield
    except (sa_exc.SQLAlchemyError, sqlite3.Error, OSError) as exc:
        raise translated(exc, where) from exc
    except (OverflowError, UnicodeEncodeError) as exc:
        # The drivers raise these bare for integers beyond 64 bits and for lone surrogates.
        raise InputError(f"a value cannot be stored in {where}: {type(exc).__name__}") from exc


def translated(exc: Exception, where: str) -> FaceSearchError:
    """Return the house's error for one of the database's or the file system's."""
    cause = exc.orig if isinstance(exc, sa_exc.DBAPIError) and exc.orig is not None else exc
    detail = _first_line(cause)
    if isinstance(exc, sa_exc.IntegrityError):
        for names, message in _TAKEN:
            if any(name in str(cause) for name in names):
                return LabelTakenError(message)
    if isinstance(exc, sa_exc.DataError):
        return InputError(f"a value cannot be stored in {where}: {detail}")
    if isinstance(cause, OSError):
        return StoreError(_os_message(cause, where), database=where)
    if isinstance(exc, sa_exc.TimeoutError):
        return StoreError(f"all connections to {where} stayed in use; try again", database=where)
    code, messages = _code_of(cause)
    for start, message in messages:
        if code.startswith(start):
            return StoreError(f"{message.format(where=where)} ({detail})", database=where, code=code)
    if not code and isinstance(exc, sa_exc.OperationalError):
        return StoreError(f"{where} cannot be reached: {detail}", database=where)
    return StoreError(f"{where} failed: {type(cause).__name__}: {detail}", database=where, code=code)


def _code_of(cause: BaseException) -> tuple[str, tuple[tuple[str, str], ...]]:
    if isinstance(cause, sqlite3.Error):
        # Errors that the module raises itself carry no result code.
        return getattr(cause, "sqlite_errorname", None) or "", _SQLITE
    return getattr(cause, "sqlstate", None) or "", _POSTGRESQL


def _os_message(cause: OSError, where: str) -> str:
    if cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where} cannot be written: {cause.strerror}; give write permission on the file and its folder"
    if cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space is left for {where}; nothing of the change was kept"
    return f"{where} cannot be opened: {cause.strerror or cause}"


def _first_line(cause: BaseException) -> str:
    """Return the driver's message without its DETAIL lines, which quote stored values."""
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
