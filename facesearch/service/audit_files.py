"""What the audit log keeps outside the database: the key of its chain, and its head, which says how the log ended.

It reads no entry: see ``audit``. Whoever can write the database alone can neither extend the chain (no key) nor shorten it (the
head is ahead); whoever can also read the key and write the head can do both, so put them where the database's users cannot.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import math
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facesearch.core.audit import NO_MAC
from facesearch.core.errors import AuditError

KEY_BYTES = 32
"""Random bytes of the key: the length of a SHA-256, beyond which HMAC gains nothing (RFC 2104, section 3)."""

_SLOT_BYTES = 256
"""Room of one head in the file: less than a disk's sector, which is written whole or not at all."""

_N_SLOTS = 2
SYNC_EVERY_S = 1.0
"""How often the head is forced to the disk."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NAME = b"facesearch-audit-head-1"


@dataclass(frozen=True, slots=True)
class Head:
    """How the log ended when this was written.

    Attributes:
        number: Of the last entry; 0 for an empty log.
        mac: Of the last entry; ``NO_MAC`` for an empty log.
    """

    number: int = 0
    mac: str = NO_MAC


class AuditFiles:
    """The two files, and the lock under which processes append.

    The head is written in place, in turn into one of two slots, each with a seal (an HMAC under the key): a write that was broken
    off leaves the other slot, the entry before. A killed process loses none of it. It is forced to the disk once a second, so after
    a power cut it may be that much older than the entries, which follow on from it all the same; forcing every one would double
    what an entry costs.

    Args:
        key_file: 32 random bytes, readable by their owner alone.
        head_file: The head; beside it lies an empty file ``….lock``.
    """

    def __init__(self, key_file: Path, head_file: Path) -> None:
        self.key_file = key_file
        self.head_file = head_file
        self._synced_at = -math.inf

    @property
    def has_key(self) -> bool:
        """Whether there is a key."""
        return self.key_file.exists()

    @property
    def has_head(self) -> bool:
        """Whether there is a head."""
        return self.head_file.exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process or thread appends.

        Raises:
            AuditError: The folder of the head cannot be written.
        """
        path = self.head_file.with_name(self.head_file.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise AuditError(f"the lock of the audit log, {path}, cannot be written: {exc.strerror}", path=str(path)) from exc
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)  # which gives the lock up

    def key(self, *, create: bool) -> bytes:
        """Return the key.

        Args:
            create: Make one where there is none: only while the log is empty.

        Raises:
            AuditError: There is none, others can read it, or it has another length.
        """
        try:
            return self._read_key()
        except FileNotFoundError as exc:
            if not create:
                raise AuditError(
                    f"the key of the audit log, {self.key_file}, is missing, though the log was begun: put it back from a backup; "
                    "nothing is written to the log without it",
                    path=str(self.key_file),
                ) from exc
        self._make_key()
        return self._read_key()

    def head(self, key: bytes) -> Head | None:
        """Return the head, or None where there is no file.

        Raises:
            AuditError: It was not written with this key, or is damaged.
        """
        heads = self._slots(key)
        if heads is None:
            return None
        whole = [one for one in heads if one is not None]
        if not whole:
            raise AuditError(
                f"the head of the audit log, {self.head_file}, is damaged or was not written with the key {self.key_file}",
                path=str(self.head_file),
            )
        return max(whole, key=lambda one: one.number)

    def write_head(self, key: bytes, head: Head) -> None:
        """Write the head, so that a killed process does not lose it. Callers hold the lock.

        Raises:
            AuditError: The file cannot be written.
        """
        heads = self._slots(key) or [None] * _N_SLOTS
        # The slot that is not the newest: the newest must survive a write that is broken off.
        numbers = [-1 if one is None else one.number for one in heads]
        slot = numbers.index(min(numbers))
        self._write_slot(slot, _sealed(key, head))

    def renew_head(self, key: bytes, head: Head) -> None:
        """Write the head in place of whatever the file held. Callers hold the lock.

        Raises:
            AuditError: The file cannot be written.
        """
        for slot in range(_N_SLOTS):
            self._write_slot(slot, _sealed(key, head))

    def _slots(self, key: bytes) -> list[Head | None] | None:
        try:
            data = self.head_file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise AuditError(
                f"the head of the audit log, {self.head_file}, cannot be read: {exc.strerror}", path=str(self.head_file)
            ) from exc
        return [_parsed(key, data[start : start + _SLOT_BYTES]) for start in range(0, _N_SLOTS * _SLOT_BYTES, _SLOT_BYTES)]

    def _read_key(self) -> bytes:
        try:
            handle = os.open(self.key_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise AuditError(
                f"the key of the audit log, {self.key_file}, cannot be read: {exc.strerror}", path=str(self.key_file)
            ) from exc
        with os.fdopen(handle, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(KEY_BYTES + 1)
        if mode & _OTHERS:
            raise AuditError(
                f"others can read the key of the audit log, {self.key_file} (mode {mode:04o}): run `chmod 600` on it; if "
                "somebody may have read it, what the log says proves nothing any more",
                path=str(self.key_file),
            )
        if len(key) != KEY_BYTES:
            raise AuditError(
                f"the key of the audit log, {self.key_file}, is not {KEY_BYTES} bytes long: put it back from a backup",
                path=str(self.key_file),
            )
        return key

    def _make_key(self) -> None:
        # Written whole under another name first, then linked: a key file that was broken off half-way would end the service.
        temporary = self.key_file.with_name(f"{self.key_file.name}.{secrets.token_hex(8)}")
        try:
            self.key_file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, secrets.token_bytes(KEY_BYTES))
                os.fsync(handle)
            finally:
                os.close(handle)
            try:
                os.link(temporary, self.key_file)
            except FileExistsError:
                return  # another process was first: theirs is the key
            finally:
                temporary.unlink()
            _sync_folder(self.key_file.parent)
        except OSError as exc:
            raise AuditError(
                f"the key of the audit log, {self.key_file}, cannot be made: {exc.strerror}", path=str(self.key_file)
            ) from exc

    def _write_slot(self, slot: int, data: bytes) -> None:
        try:
            is_new = not self.head_file.exists()
            handle = os.open(self.head_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(handle, data, slot * _SLOT_BYTES)
                if is_new or time.monotonic() - self._synced_at >= SYNC_EVERY_S:
                    os.fdatasync(handle)
                    self._synced_at = time.monotonic()
            finally:
                os.close(handle)
            if is_new:
                _sync_folder(self.head_file.parent)
        except OSError as exc:
            raise AuditError(
                f"the head of the audit log, {self.head_file}, cannot be written: {exc.strerror}", path=str(self.head_file)
            ) from exc


def _sealed(key: bytes, head: Head) -> bytes:
    said = b"%s %d %s" % (_NAME, head.number, head.mac.encode())
    seal = hmac.new(key, said, hashlib.sha256).hexdigest().encode()
    return (said + b" " + seal).ljust(_SLOT_BYTES - 1) + b"\n"


def _parsed(key: bytes, slot: bytes) -> Head | None:
    """Return the head of a slot, or None where it is empty, damaged or sealed with another key."""
    parts = slot.split()
    if len(parts) != 4 or parts[0] != _NAME or not parts[1].isdigit() or len(parts[1]) > 18:
        return None
    head = Head(int(parts[1]), parts[2].decode("ascii", "replace"))
    return head if hmac.compare_digest(_sealed(key, head), slot) else None


def _sync_folder(folder: Path) -> None:
    """Put a new name in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
