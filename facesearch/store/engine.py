"""From a database URL to connections set up the way the store needs them, and transactions on them.

It knows no table. SQLite: WAL, foreign keys, busy timeout, secure delete, full synchronisation; writers with ``BEGIN IMMEDIATE``.
PostgreSQL: readers at REPEATABLE READ, writers one at a time behind an advisory lock. Anything else is refused.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from facesearch.core.errors import SettingsError, StoreError
from facesearch.store.faults import database_errors

DEFAULT_BUSY_TIMEOUT_S = 30.0
"""How long a transaction waits for others: far longer than any of the store's own takes, enrolments of thousands apart."""

WRITER_LOCK = int.from_bytes(b"facesrch", "big")
"""Key of the PostgreSQL advisory lock that writers and migrations of one database take turns with."""

_MAX_CONNECTIONS = 32
_BEGIN_OPTION = "facesearch_begin"
_WAL_RETRY_S = 0.02


def parsed_url(url: str) -> URL:
    """Return a database URL after checking that it is one the store can use.

    Raises:
        SettingsError: No URL, or of a database or driver that is not supported. The message does not repeat the URL, which may
            hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise SettingsError(
            "the database URL cannot be read; write sqlite:///path/to/file.db or postgresql://user@host/name"
        ) from exc
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        # The path is taken as it stands: whether %20 in it means a space differs between releases of SQLAlchemy.
        path = url.partition("://")[2].removeprefix("/")
        if parsed.host or path in ("", ":memory:"):
            raise SettingsError(
                "an in-memory SQLite database cannot be shared by connections; name a file: sqlite:///path/to/file.db"
            )
        if "?" in path:
            raise SettingsError("a SQLite URL takes no options, and its path no question mark: sqlite:///path/to/file.db")
        return URL.create("sqlite", database=path)
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise SettingsError(f"databases of type {parsed.drivername!r} are not supported; use sqlite:///… or postgresql://…")


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite URL, or None for a server."""
    return Path(str(url.database)).absolute() if url.get_backend_name() == "sqlite" else None


def location_of(url: URL) -> str:
    """Return what a database is called in messages: never with a user, password or option."""
    path = sqlite_file(url)
    return (
        f"the database {path}" if path is not None else f"the PostgreSQL database {url.database!r} on {url.host or 'this machine'}"
    )


def make_engine(url: URL, *, busy_timeout_s: float, create: bool = False, for_migration: bool = False) -> Engine:
    """Return an engine; nothing connects yet.

    Args:
        url: From ``parsed_url``.
        busy_timeout_s: How long to wait for locks, in seconds.
        create: Make an absent SQLite file, and its folder, on the first connection.
        for_migration: One connection, kept by nobody; SQLite's foreign keys are off, since batch migrations rebuild tables.

    Raises:
        StoreError: The driver is not installed.
    """
    path = sqlite_file(url)
    if path is None:
        return _postgresql_engine(url, busy_timeout_s, for_migration=for_migration)
    connect = _sqlite_connector(path, busy_timeout_s, create=create, foreign_keys=not for_migration)
    if for_migration:
        engine = create_engine(url, creator=connect, hide_parameters=True, poolclass=NullPool)
    else:
        engine = create_engine(
            url,
            creator=connect,
            hide_parameters=True,
            pool_size=5,
            max_overflow=_MAX_CONNECTIONS - 5,
            pool_timeout=busy_timeout_s,
        )
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: URL, busy_timeout_s: float, *, for_migration: bool) -> Engine:
    options: dict[str, object] = {"connect_args": {"connect_timeout": max(2, round(busy_timeout_s))}, "hide_parameters": True}
    if for_migration:
        options["poolclass"] = NullPool
    else:
        options.update(pool_size=5, max_overflow=_MAX_CONNECTIONS - 5, pool_timeout=busy_timeout_s, pool_pre_ping=True)
    try:
        return create_engine(url, **options)
    except ImportError as exc:
        raise StoreError(
            "PostgreSQL needs the psycopg driver, which is not installed: pip install 'facesearch[postgresql]'", missing="psycopg"
        ) from exc


def _begin_sqlite(connection: Connection) -> None:
    # The driver is in autocommit mode (isolation_level None), so that the kind of BEGIN is ours: a deferred transaction that reads
    # and then writes fails at once under WAL when another writer committed in between, whatever the busy timeout.
    kind = connection.get_execution_options().get(_BEGIN_OPTION, "DEFERRED")
    if kind:
        connection.exec_driver_sql(f"BEGIN {kind}")


def _sqlite_connector(path: Path, busy_timeout_s: float, *, create: bool, foreign_keys: bool) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        if create:
            _create_file(path)
        if path.is_dir():
            raise StoreError(f"the database {path} is a folder; name a file in it", database=str(path))
        if not path.exists():
            raise StoreError(f"there is no database {path}; make it with `facesearch db upgrade`", database=str(path))
        # mode=rw: without it SQLite would make an empty file of any misspelt path.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection, path, busy_timeout_s, foreign_keys=foreign_keys)
        except (sqlite3.Error, StoreError):
            connection.close()
            raise
        return connection

    return connect


def _create_file(path: Path) -> None:
    """Make an empty database file that only its owner may read: it will hold biometric data. An existing one is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _set_up(connection: sqlite3.Connection, path: Path, busy_timeout_s: float, *, foreign_keys: bool) -> None:
    mode = _journal_mode(connection, busy_timeout_s)
    if mode != "wal":
        raise StoreError(
            f"the folder of the database {path} does not support SQLite's write-ahead log (journal mode stayed {mode}); "
            "move the database to a local disk",
            database=str(path),
        )
    connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
    # What is deleted is overwritten with zeros, not only unlinked.
    connection.execute("PRAGMA secure_delete = ON")
    # FULL: a commit is on the disk before it is acknowledged, so it survives a power cut as well as a killed process.
    connection.execute("PRAGMA synchronous = FULL")


def _journal_mode(connection: sqlite3.Connection, busy_timeout_s: float) -> str:
    """Return the journal mode after asking for WAL.

    Entering WAL needs the file alone for a moment and does not wait by itself: two processes that make the same database at once
    would meet "database is locked" here.
    """
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
            return mode if mode == "wal" else str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as exc:
            if not exc.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)


@contextmanager
def open_transaction(engine: Engine, where: str, *, is_writing: bool, busy_timeout_s: float) -> Iterator[Connection]:
    """Open a transaction; committed when the block ends, rolled back when it raises.

    Args:
        engine: From ``make_engine``.
        where: What the database is called in messages.
        is_writing: Take the one writer's turn before anything is read; False for a snapshot that cannot write.
        busy_timeout_s: How long to wait for the turn on PostgreSQL, in seconds (SQLite's is set on the connection).

    Raises:
        StoreError: The database cannot be reached, stayed locked, or refused the commit. What the block raises passes unchanged.
    """
    with database_errors(where):
        connection = engine.connect()
    with closing(connection):  # closing rolls back what was not committed
        with database_errors(where):
            transaction = _begin(connection, is_writing=is_writing, busy_timeout_s=busy_timeout_s)
        yield connection
        with database_errors(where):
            transaction.commit()


@contextmanager
def open_alone(engine: Engine, where: str) -> Iterator[Connection]:
    """Open a connection outside any transaction, for statements that refuse to run inside one.

    Raises:
        StoreError: The database failed, also inside the block.
    """
    with database_errors(where), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            yield connection.execution_options(**{_BEGIN_OPTION: ""})
        else:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")


def _begin(connection: Connection, *, is_writing: bool, busy_timeout_s: float) -> RootTransaction:
    if connection.dialect.name == "sqlite":
        connection.execution_options(**{_BEGIN_OPTION: "IMMEDIATE" if is_writing else "DEFERRED"})
        return connection.begin()
    if not is_writing:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return connection.begin()
    # Taken as the first statement at READ COMMITTED, so every later one sees what the writer before committed.
    transaction = connection.begin()
    connection.execute(
        text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": f"{max(1, round(busy_timeout_s * 1000))}ms"}
    )
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
    return transaction
