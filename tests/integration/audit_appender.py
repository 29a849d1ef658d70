"""A process of the audit log's tests: appends entries until it is killed, and says each number once its entry is acknowledged.

Its arguments are the database's URL, a folder for key and head, the actor's name, and ``-`` or where to stop for ever:
``before-head`` (committed, the head not yet written).
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from facesearch.core.audit import AuditEvent
from facesearch.service.audit import AuditLog
from facesearch.service.audit_files import AuditFiles
from facesearch.store.sql import SqlStore

STOP_AT = 5


class StuckFiles(AuditFiles):
    """Files whose head is never written after the fifth entry."""

    def write_head(self, key, head):
        if head.number < STOP_AT:
            super().write_head(key, head)
            return
        print("stuck", flush=True)
        time.sleep(600)


def main() -> None:
    url, folder, actor, stop = sys.argv[1:]
    log = AuditLog(SqlStore(url), Path(folder) / "audit.key", Path(folder) / "audit.head")
    if stop == "before-head":
        log._files = StuckFiles(Path(folder) / "audit.key", Path(folder) / "audit.head")
    for number in range(1, 100_000):
        log.append(AuditEvent("verify", actor, "match", datetime.now(UTC), identity_ids=(number,)))
        print(number, flush=True)


if __name__ == "__main__":
    main()
