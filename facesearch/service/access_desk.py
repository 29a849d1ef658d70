"""API keys as an operator at the machine looks after them: every change is in the audit log, or not made.

The service's own routes do the same for callers with the scope ``admin``, each in the name of its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from facesearch.core.access import ApiKey, NewKey, Scope
from facesearch.core.audit import AuditEvent
from facesearch.core.errors import FaceSearchError
from facesearch.service.api_keys import ApiKeys
from facesearch.service.audit import AuditLog

CLI_ACTOR = "cli"
"""Who changes keys from the command line: somebody with access to the machine, of whom nothing more is known."""


@dataclass(frozen=True, slots=True)
class AccessDesk:
    """Keys and the audit log of one database; a context manager that closes it.

    Attributes:
        keys: The keys; changes made to them directly are not logged.
        audit: The log.
        close: Releases the database.
    """

    keys: ApiKeys
    audit: AuditLog
    close: Callable[[], None]

    def create(
        self,
        name: str,
        scopes: Iterable[Scope | str],
        *,
        collections: Iterable[str] | None = None,
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
    ) -> NewKey:
        """Make a key; see ``ApiKeys.create``. One whose making cannot be logged is revoked at once.

        Raises:
            InputError: A value is out of range.
            AuditError: The audit log cannot be written.
        """
        made = self.keys.create(
            name, scopes, collections=collections, expires_at=expires_at, requests_per_minute=requests_per_minute
        )
        self._log_or_revoke("key.create", made.key.key_id, made.key.key_id)
        return made

    def revoke(self, key_id: str) -> ApiKey:
        """Take a key back; see ``ApiKeys.revoke``. It stays revoked where that cannot be logged.

        Raises:
            UnknownKeyError: There is none of this id.
            AuditError: The audit log cannot be written.
        """
        key = self.keys.revoke(key_id)
        self._log("key.revoke", key_id)
        return key

    def rotate(self, key_id: str, *, grace_s: float = 0) -> NewKey:
        """Exchange a key for a new one; see ``ApiKeys.rotate``. The new one is revoked where that cannot be logged.

        Raises:
            UnknownKeyError: There is none of this id.
            InputError: It is revoked or expired; or the time is out of range.
            AuditError: The audit log cannot be written.
        """
        made = self.keys.rotate(key_id, grace_s=grace_s)
        self._log_or_revoke("key.rotate", f"{key_id}/{made.key.key_id}", made.key.key_id)
        return made

    def _log_or_revoke(self, action: str, subject: str, new_id: str) -> None:
        try:
            self._log(action, subject)
        except FaceSearchError:
            self.keys.revoke(new_id)
            raise

    def _log(self, action: str, subject: str) -> None:
        self.audit.append(AuditEvent(action, CLI_ACTOR, "done", datetime.now(UTC), subject=subject))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
