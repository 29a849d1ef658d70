"""What became of each file of a folder, kept so that a second run need not look at the files again.

It is a file beside the database, no part of it: it can be deleted at any time, which costs the next run time and nothing else, and
whoever uses it asks the database whether what it says still holds. It names nobody and holds
no digest of a photograph: files are known by the digest of their path.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesearch.service.template_cache import FileStamp

MAX_DETAIL_CHARS = 500
"""Longest detail of a message that is kept."""

_BUSY_S = 5.0
_FORM = 2
_TABLE = """CREATE TABLE IF NOT EXISTS files (
    key BLOB PRIMARY KEY, n_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    code TEXT NOT NULL, detail TEXT NOT NULL, reference INTEGER, mark INTEGER
) WITHOUT ROWID"""

_log = logging.getLogger("facesearch")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What became of one file.

    Attributes:
        code: The outcome's status.
        detail: The message without the file's name and without labels; empty where there is none.
        reference: The template the outcome depends on, or for a mismatch the identity; None where it depends on the file alone.
        mark: What the template is known again by, since a database restored from a backup gives its number to another one; None
            where there is none.
    """

    code: str
    detail: str = ""
    reference: int | None = None
    mark: int | None = None


class FileJournal:
    """Outcomes of files by path, size, time of change and recipe. To be used by one thread.

    Nothing it does fails: what cannot be read is not known, what cannot be written is logged once and left.

    Args:
        path: The journal's file; made, with its folder, by the first entry.
        recipe: Whatever outcomes depend on besides file and collection, as plain JSON values.
    """

    def __init__(self, path: Path, recipe: Mapping[str, object]) -> None:
        self._path = path
        self._recipe = json.dumps(recipe, sort_keys=True).encode()
        self._connection: sqlite3.Connection | None = None
        self._is_broken = False

    def close(self) -> None:
        """Release the file. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def find(self, scope: str, stamps: Sequence[FileStamp]) -> list[JournalEntry | None]:
        """Return what is known of files that look as they did then.

        Args:
            scope: The collection's uid, and what else this run's outcomes depend on.
            stamps: The files.
        """
        connection = self._opened(create=False)
        if connection is None:
            return [None] * len(stamps)
        keys = [self._key(scope, stamp) for stamp in stamps]
        places = ",".join("?" * len(keys))
        try:
            rows = connection.execute(
                f"SELECT key, n_bytes, mtime_ns, code, detail, reference, mark FROM files WHERE key IN ({places})",  # noqa: S608 - question marks
                keys,
            ).fetchall()
        except sqlite3.Error as exc:
            self._failed(exc)
            return [None] * len(stamps)
        found = {key: (n_bytes, mtime_ns, JournalEntry(*rest)) for key, n_bytes, mtime_ns, *rest in rows}
        entries: list[JournalEntry | None] = []
        for key, stamp in zip(keys, stamps, strict=True):
            known = found.get(key)
            is_same = known is not None and known[:2] == (stamp.n_bytes, stamp.mtime_ns)
            entries.append(known[2] if known is not None and is_same else None)
        return entries

    def add(self, scope: str, entries: Iterable[tuple[FileStamp, JournalEntry]]) -> None:
        """Keep what became of files; what was known of them before is replaced."""
        rows = [
            (
                *(self._key(scope, stamp), stamp.n_bytes, stamp.mtime_ns),
                *(one.code, one.detail[:MAX_DETAIL_CHARS], one.reference, one.mark),
            )
            for stamp, one in entries
        ]
        connection = self._opened(create=True) if rows else None
        if connection is None:
            return
        try:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as exc:
            self._failed(exc)

    def _key(self, scope: str, stamp: FileStamp) -> bytes:
        return hashlib.sha256(b"\0".join((self._recipe, scope.encode(), os.fsencode(stamp.path)))).digest()[:16]

    def _opened(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is not None or self._is_broken:
            return self._connection
        try:
            if create or self._path.exists():
                self._connection = self._connected()
        except (sqlite3.Error, OSError) as exc:
            self._failed(exc)
        return self._connection

    def _failed(self, error: Exception) -> None:
        """Begin anew where the file is damaged, else do without it."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            _log.warning("the journal of enrolled files %s is damaged and begun anew: %s", self._path, error)
            self.close()
            self._begin_anew()
        else:
            self._give_up(error)

    def _begin_anew(self) -> None:
        try:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            self._connection = self._connected()
        except (sqlite3.Error, OSError) as exc:
            self._give_up(exc)

    def _connected(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_S)
        try:
            # Losing the last entries in a power cut costs a second look at those files: no entry need wait for the disk.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            if connection.execute("PRAGMA user_version").fetchone()[0] not in (0, _FORM):
                raise sqlite3.DatabaseError("it was written by another release")
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version = {_FORM}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _give_up(self, error: Exception) -> None:
        _log.warning("the journal of enrolled files %s is not used, a second run looks at every file again: %s", self._path, error)
        self._is_broken = True
        self.close()
