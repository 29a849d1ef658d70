"""The audit log: every decision and change as a numbered entry, chained by an HMAC, so that tampering shows.

It is the service's: calls of the library and commands of the command line are not logged, but for those that change API keys. What
an entry may say and how it is signed is in ``facesearch.core.audit``; the key and the head are ``audit_files``' work.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from facesearch.core.audit import NO_MAC, AuditEntry, AuditEvent, AuditRow, decoded_event, encoded_event, entry_mac
from facesearch.core.errors import AuditError, InputError
from facesearch.core.protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.service.audit_files import AuditFiles, Head
from facesearch.service.group_commit import GroupCommit

_PAGE = 1_000
"""Entries read at once: some 400 kB."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What looking the log through found.

    Attributes:
        n_entries: Entries that follow on from each other from the first one, up to the first fault.
        last_number: Number of the last entry there is; 0 for none.
        head_number: Number of the entry that the head names; None where the head cannot be read.
        problem: What is wrong, in a sentence; empty where nothing is.
        number: The entry that it is about; None where it is about none.
    """

    n_entries: int
    last_number: int
    head_number: int | None
    problem: str = ""
    number: int | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem

    @property
    def n_after_head(self) -> int:
        """Entries behind the one that the head names: written by a process that was killed before it could write the head."""
        return max(0, self.last_number - self.head_number) if self.head_number is not None else 0


class AuditLog:
    """Appends entries and looks them through. Safe to use from several threads and processes.

    Entries of several threads share a transaction, and each call returns when its own is on the disk. Nothing may be appended
    inside an open writing transaction of the same thread: it would wait for itself.

    Args:
        store: Where the entries are kept.
        key_file: 32 random bytes in a file that only its owner can read; made with the first entry.
        head_file: Number and MAC of the last entry, outside the database.
        clock: What time it is, in UTC; tests set it.
    """

    def __init__(
        self,
        store: IdentityStore,
        key_file: Path,
        head_file: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._files = AuditFiles(key_file, head_file)
        self._clock = clock
        self._group: GroupCommit[tuple[AuditEvent, ...], None] = GroupCommit(self._commit)

    def append(self, event: AuditEvent) -> None:
        """Append an entry; it is on the disk when this returns.

        Raises:
            AuditError: The log was tampered with, or its key or head cannot be used: nothing was appended.
            StoreError: The database failed.
        """
        self.append_many((event,))

    def append_many(self, events: Sequence[AuditEvent]) -> None:
        """Append entries, all or none, one after the other; they are on the disk when this returns.

        Raises:
            AuditError: The log was tampered with, or its key or head cannot be used: nothing was appended.
            StoreError: The database failed.
        """
        if events:
            self._group.submit(tuple(events))

    def rows(self, after: int = 0, limit: int = 100) -> tuple[AuditEntry, ...]:
        """Return the entries numbered above ``after``, oldest first, at most ``limit``; they are read, not verified.

        Raises:
            AuditError: One of them is no entry.
        """
        with self._store.reading() as reader:
            return tuple(_entry(row) for row in reader.audit_rows(after, limit))

    def latest(self, limit: int = 100, *, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the newest entries, newest first, at most ``limit``; they are read, not verified.

        Args:
            limit: How many.
            before: Only those numbered below this (paging); None for the newest of all.

        Raises:
            AuditError: One of them is no entry.
        """
        with self._store.reading() as reader:
            if before is None:
                last = reader.last_audit_row()
                before = 1 if last is None else last.number + 1
            rows = reader.audit_rows(max(0, before - 1 - limit), limit)
            return tuple(_entry(row) for row in reversed(rows) if row.number < before)

    def verify(self) -> AuditReport:
        """Look the whole log through, page by page.

        Finds an altered entry, one that is missing in the middle or at the end, and a chain computed anew without the key or with
        another one. Of entries behind the head, those that chain on from it are accepted, and counted.

        Raises:
            AuditError: There is no telling, since the key is missing or open to others.
            StoreError: The database failed.
        """
        with self._store.reading() as reader:
            with self._files.locked():  # so that the head is not read between a commit and its head
                last = reader.last_audit_row()
                if last is None and not self._files.has_key and not self._files.has_head:
                    return AuditReport(0, 0, 0)
                key = self._files.key(create=False)
                head, problem = self._read_head(key)
            return _verified(reader, key, head, problem, 0 if last is None else last.number)

    def renew_head(self, actor: str) -> AuditReport:
        """Take the log as it is for whole, as after the database was restored from a backup, and append an entry that says so.

        Args:
            actor: Who decides that.

        Returns:
            What was found before.

        Raises:
            AuditError: The entries there are do not follow on from each other: that is tampering, and stays visible.
        """
        before = self.verify()
        with self._files.locked(), self._store.reading() as reader:
            key = self._files.key(create=False)
            last = reader.last_audit_row()
            head = Head() if last is None else Head(last.number, last.mac)
            found = _verified(reader, key, head, "", head.number)
            if not found.is_sound:
                raise AuditError(f"the audit log cannot be taken for whole: {found.problem}", number=found.number)
            self._files.renew_head(key, head)
        said = f"{'unknown' if before.head_number is None else before.head_number}-{head.number}"
        self.append(AuditEvent("audit.renew_head", actor, "done", self._clock(), subject=said))
        return before

    def _commit(self, group: Sequence[tuple[AuditEvent, ...]]) -> Sequence[None]:
        with self._files.locked():
            with self._store.writing() as writer:
                key, head = self._ready(writer)
                rows = []
                number, mac = head.number, head.mac
                for event in (one for events in group for one in events):
                    number += 1
                    payload = encoded_event(event)
                    mac = entry_mac(key, mac, number, payload)
                    rows.append(AuditRow(number, payload, mac))
                writer.add_audit_rows(rows)
            self._files.write_head(key, Head(number, mac))
        return [None] * len(group)

    def _ready(self, writer: StoreWriter) -> tuple[bytes, Head]:
        """Return the key and the log's end, after checking that it is the end that the head knows, or follows on from it."""
        last = writer.last_audit_row()
        # A key for a log that began already would only hide that the right one is gone.
        key = self._files.key(create=last is None and not self._files.has_head)
        head = self._files.head(key)
        if head is None:
            if last is not None:
                raise AuditError(_no_head(self._files.head_file), path=str(self._files.head_file))
            head = Head()
            self._files.write_head(key, head)
        end = Head() if last is None else Head(last.number, last.mac)
        if end == head:
            return key, end
        if end.number <= head.number:
            raise AuditError(_ends_early(end, head), number=end.number)
        found = _verified(writer, key, head, "", end.number, first=head)
        if not found.is_sound:
            raise AuditError(found.problem, number=found.number)
        return key, end

    def _read_head(self, key: bytes) -> tuple[Head | None, str]:
        try:
            head = self._files.head(key)
        except AuditError as exc:
            return None, exc.message
        return head, "" if head is not None else _no_head(self._files.head_file)


def _verified(
    reader: StoreReader, key: bytes, head: Head | None, problem: str, last_number: int, *, first: Head | None = None
) -> AuditReport:
    """Return what following the chain finds.

    Args:
        reader: An open transaction.
        key: The log's key.
        head: The head, where there is one.
        problem: What was found wrong with the head.
        last_number: The last entry to look at.
        first: The entry to follow on from, which is known to be right; None for the beginning.
    """
    head_number = None if head is None else head.number
    number, mac = (0, NO_MAC) if first is None else (first.number, first.mac)
    for row in _pages(reader, number, last_number):
        fault = ""
        if row.number != number + 1:
            number, fault = number + 1, f"entry {number + 1} is missing: entry {row.number} is the next there is"
        elif not hmac.compare_digest(entry_mac(key, mac, row.number, row.payload), row.mac):
            number, fault = row.number, f"entry {row.number} was altered, or the chain was computed anew without the key"
        elif head is not None and row.number == head.number and row.mac != head.mac:
            number, fault = row.number, f"entry {row.number} is not the one that the head names: the chain was computed anew"
        if fault:
            return AuditReport(number - 1, last_number, head_number, fault, number)
        number, mac = row.number, row.mac
    if head is not None and number < head.number:
        return AuditReport(number, number, head_number, _ends_early(Head(number, mac), head), number + 1)
    return AuditReport(number, number, head_number, problem)


def _pages(reader: StoreReader, after: int, last: int) -> Iterator[AuditRow]:
    while after < last:
        page = reader.audit_rows(after, _PAGE)
        if not page:
            return
        yield from (row for row in page if row.number <= last)
        after = page[-1].number


def _entry(row: AuditRow) -> AuditEntry:
    try:
        return AuditEntry(row.number, decoded_event(row.payload))
    except InputError as exc:
        raise AuditError(
            f"entry {row.number} of the audit log is damaged: run `facesearch audit verify`", number=row.number
        ) from exc


def _ends_early(end: Head, head: Head) -> str:
    if end.number == head.number:
        return f"entry {end.number} is not the one that the head names: it was exchanged, or the chain was computed anew"
    n_missing = head.number - end.number
    missing = f"entry {head.number} is" if n_missing == 1 else f"entries {end.number + 1} to {head.number} are"
    return (
        f"the log ends with entry {end.number}, but the head says {head.number}: {missing} missing; after restoring the database "
        "from a backup, `facesearch audit renew-head` accepts that"
    )


def _no_head(path: Path) -> str:
    return (
        f"the head of the audit log, {path}, is missing, so the last entries may be too: put it back from a backup, or run "
        "`facesearch audit renew-head`"
    )
