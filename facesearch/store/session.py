"""One open transaction: runs statements, and refuses to go on after one has failed or the transaction has ended.

It builds no statement: see ``reader`` and ``writer``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Row, insert, inspect

from facesearch.core.compact import TemplateFormat
from facesearch.core.errors import FaceSearchError, StoreError
from facesearch.store.faults import database_errors
from facesearch.store.tables import Base

T = TypeVar("T")
Key = TypeVar("Key", int, str)

MAX_IN_LIST = 500
"""Ids in one ``IN (…)``: below every database's limit of bound values (SQLite before 3.32 took 999)."""


class Session:
    """Runs the statements of one transaction.

    A failed statement may have ended the transaction on the database's side (SQLite rolls back by itself when the disk is full, and
    would then commit each later statement alone). So the first failure is remembered, everything after it is refused, and the
    transaction is not committed even when the caller swallowed the error.

    Args:
        connection: Inside a transaction.
        where: What the database is called in messages.
        template_format: How the vectors of new templates are kept.
    """

    def __init__(self, connection: Connection, where: str, template_format: TemplateFormat = "f32") -> None:
        self.template_format: TemplateFormat = template_format
        self._connection = connection
        self._where = where
        self._failure: Exception | None = None

    def rows(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """Return all rows of a statement."""
        return self._execute(statement, None, lambda result: result.all())

    def first(self, statement: Executable) -> Row[*tuple[Any, ...]] | None:
        """Return the first row of a statement, or None."""
        return self._execute(statement, None, lambda result: result.first())

    def run(self, statement: Executable, parameters: Sequence[Mapping[str, object]] | None = None) -> None:
        """Run a statement that returns nothing; once for each mapping of parameters where they are given."""
        self._execute(statement, parameters, lambda _: None)

    def insert(self, statement: Executable) -> int:
        """Run an INSERT of one row and return its new id."""
        key: Sequence[Any] | None = self._execute(statement, None, lambda result: result.inserted_primary_key)
        if key is None:
            raise StoreError(f"{self._where} returned no id for a new row", database=self._where)
        return int(key[0])

    def insert_many(self, table: type[Base], rows: Sequence[Mapping[str, object]]) -> list[int]:
        """Insert rows with one statement, or few, and return their new ids in the order of the rows."""
        if not rows:
            return []
        if len(rows) == 1 or not self._connection.dialect.insert_executemany_returning_sort_by_parameter_order:
            return [self.insert(insert(table).values(**row)) for row in rows]
        key: Any = inspect(table).primary_key[0]
        statement = insert(table).returning(key, sort_by_parameter_order=True)
        return [int(row[0]) for row in self._execute(statement, rows, lambda result: result.all())]

    def require_sound(self) -> None:
        """Raise when a statement failed before, so that the transaction is not committed.

        Raises:
            StoreError: One did.
        """
        if self._failure is not None:
            raise StoreError(f"a statement on {self._where} failed, so nothing of the transaction was kept") from self._failure

    def _execute(
        self,
        statement: Executable,
        parameters: Sequence[Mapping[str, object]] | None,
        take: Callable[[CursorResult[*tuple[Any, ...]]], T],
    ) -> T:
        self.require_sound()
        if self._connection.closed:
            raise StoreError("this transaction has ended; open another one")
        try:
            with database_errors(self._where):
                result: CursorResult[*tuple[Any, ...]] = self._connection.execute(statement, parameters)
                return take(result)
        except FaceSearchError as exc:
            self._failure = exc
            raise


def chunks(ids: Iterable[Key], size: int = MAX_IN_LIST) -> Iterator[list[Key]]:
    """Yield ids, or texts, in sorted lists of at most ``size``, without repeats."""
    rest = iter(sorted(set(ids)))
    while chunk := list(islice(rest, size)):
        yield chunk
