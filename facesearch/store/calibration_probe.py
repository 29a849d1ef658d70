"""Whether a SQLite database holds a calibration, asked without the database library.

Comparing two photographs takes about a second from a cold start, and loading SQLAlchemy would add a third of one for an answer
that is nearly always no. It reads no calibration and judges no schema: see ``records`` and ``schema``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote


def may_hold_calibration(file: Path, embedder_id: str) -> bool:
    """Return False where a database surely has no calibration of an embedder; any doubt is True, for the store to look.

    Args:
        file: The database; may be missing.
        embedder_id: The embedder.
    """
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT 1 FROM calibrations WHERE embedder_id = ?", (embedder_id,)).fetchone()
    except sqlite3.Error:
        return True
    return found is not None
