"""Questions about paths that somebody named, answered without an error.

It reads nothing: who goes on to open the path gets the error that says what is wrong with it.
"""

from __future__ import annotations

import os
from pathlib import Path


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder; no, where it cannot be looked at (no permission, a name too long, a NUL in it)."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def is_there(path: str | os.PathLike[str]) -> bool:
    """Return whether there is something at a path; no, where it cannot be looked at, as for ``is_folder``."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path leads to an ordinary file; no for pipes and devices, and where it cannot be looked at."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False
