"""The store on SQLite or PostgreSQL: opens transactions, and scrubs what deletions leave behind.

What happens inside a transaction is ``reader``'s and ``writer``'s work; the tables are made by ``schema``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from facesearch.core.compact import TemplateFormat
from facesearch.core.errors import FaceSearchError, StoreError
from facesearch.store.engine import (
    DEFAULT_BUSY_TIMEOUT_S,
    location_of,
    make_engine,
    open_alone,
    open_transaction,
    parsed_url,
    sqlite_file,
)
from facesearch.store.faults import database_errors
from facesearch.store.reader import SqlReader
from facesearch.store.schema import found_revision, require_current, upgrade
from facesearch.store.session import Session
from facesearch.store.tables import table_names
from facesearch.store.writer import SqlWriter

_CHECKPOINT_RETRY_S = 0.02


class SqlStore:
    """The truth about who is enrolled: ``facesearch.core.protocols.IdentityStore`` on SQLAlchemy.

    Safe to use from several threads and processes at once; a transaction belongs to the thread that opened it, and opening a
    writing one inside another waits for itself until the busy timeout. An acknowledged change survives a killed process, and a
    power cut as far as the disk keeps what it says it has written.

    Args:
        url: ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``.
        busy_timeout_s: How long a transaction waits for others, in seconds.
        create: Make the tables of an absent or empty database on first use; False to leave that to ``facesearch db upgrade``.
        template_format: How the vectors of new templates are kept; those that are there are read in every format. Videos' tracks
            and feedback keep float32.

    Raises:
        SettingsError: The URL is not one of a supported database. Nothing connects before the first transaction.
    """

    def __init__(
        self,
        url: str,
        *,
        busy_timeout_s: float = DEFAULT_BUSY_TIMEOUT_S,
        create: bool = True,
        template_format: TemplateFormat = "f32",
    ) -> None:
        self._template_format: TemplateFormat = template_format
        self._parsed = parsed_url(url)
        self._url = url
        self._where = location_of(self._parsed)
        self._busy_timeout_s = busy_timeout_s
        self._create = create
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """What the database is called in messages; holds no password."""
        return self._where

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, or None for a server."""
        return sqlite_file(self._parsed)

    @contextmanager
    def reading(self) -> Iterator[SqlReader]:
        """Open a reading transaction: a consistent picture, whatever others write meanwhile.

        Raises:
            StoreError: The database failed.
            SchemaVersionError: Its schema is not this release's.
        """
        with self._transaction(is_writing=False) as connection:
            yield SqlReader(Session(connection, self._where))

    @contextmanager
    def writing(self) -> Iterator[SqlWriter]:
        """Open a writing transaction: committed when the block ends, rolled back when it raises.

        Writers take turns: whatever is read inside stays true until the commit.

        Raises:
            StoreError: The database failed or stayed locked by others too long; or a statement inside failed and the block went on.
            SchemaVersionError: Its schema is not this release's.
        """
        with self._transaction(is_writing=True) as connection:
            session = Session(connection, self._where, self._template_format)
            yield SqlWriter(session)
            session.require_sound()

    def scrub(self) -> None:
        """Overwrite what deletions left behind in the database's files, as far as the database allows it.

        SQLite: the file is rewritten without free space (``VACUUM``; secure delete alone leaves copies of rows that were moved
        between pages) and the write-ahead log emptied; this takes about a second for 100,000 templates, twice their space while it
        runs, and waits for readers to end. PostgreSQL: the tables are rewritten (``VACUUM FULL``), which locks them; rows that an
        open transaction can still see, the server's own write-ahead log, replicas and backups keep theirs. Copies that the disk or
        its file system made are out of reach on both.

        Raises:
            StoreError: The database failed, or a reader was in the way longer than the busy timeout: what was deleted may still be
                in its files, and ``scrub`` must run again.
        """
        with open_alone(self._ready(), self._where) as connection:
            if self.path is None:
                _rewrite_tables(connection, self._busy_timeout_s)
                return
            connection.exec_driver_sql("VACUUM")
            is_blocked = not _is_log_emptied(connection, self._busy_timeout_s)
        if is_blocked:
            raise StoreError(
                f"somebody went on reading {self._where}, so deleted data may still be in its write-ahead log; "
                "close other programs that use it and scrub again",
                database=self._where,
            )

    def close(self) -> None:
        """Release connections; a later transaction opens new ones. Idempotent."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def _transaction(self, *, is_writing: bool) -> Iterator[Connection]:
        engine = self._ready()
        with open_transaction(engine, self._where, is_writing=is_writing, busy_timeout_s=self._busy_timeout_s) as connection:
            yield connection

    def _ready(self) -> Engine:
        """Return the engine, made and its schema checked by the first call."""
        with self._lock:
            if self._engine is None:
                self._engine = self._opened()
            return self._engine

    def _opened(self) -> Engine:
        with database_errors(self._where):
            is_absent = self.path is not None and not self.path.exists()
        if self._create and is_absent:
            upgrade(self._url, busy_timeout_s=self._busy_timeout_s)
        engine = make_engine(self._parsed, busy_timeout_s=self._busy_timeout_s)
        try:
            with open_transaction(engine, self._where, is_writing=False, busy_timeout_s=self._busy_timeout_s) as connection:
                is_empty = found_revision(connection, self._where) is None
                if not (is_empty and self._create):
                    require_current(connection, self._where)
            if is_empty:
                upgrade(self._url, busy_timeout_s=self._busy_timeout_s)
        except FaceSearchError:
            engine.dispose()
            raise
        return engine


def _is_log_emptied(connection: Connection, busy_timeout_s: float) -> bool:
    """Empty the write-ahead log; False where others still needed it when the busy timeout was over.

    SQLite waits for readers and writers by itself, but gives up at once while somebody else empties the log.
    """
    deadline = time.monotonic() + busy_timeout_s
    while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_CHECKPOINT_RETRY_S)
    return True


def _rewrite_tables(connection: Connection, busy_timeout_s: float) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = {max(1, round(busy_timeout_s * 1000))}")
    try:
        connection.exec_driver_sql(f"VACUUM (FULL) {', '.join(table_names())}")
    finally:
        connection.exec_driver_sql("RESET lock_timeout")
