"""From what went wrong to an exit code and one line on stderr; the only place where any exception at all is caught.

Exit 1 means "no match" and is never given here: usage and input 2, house errors their own, unexpected ones 70, Ctrl-C 130, a reader
that closed the pipe 141 (as if by SIGPIPE).
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import typer

from facesearch.cli.output import printable, write_json, writing_results
from facesearch.core.errors import FaceSearchError
from facesearch.service.shapes import Shape, error_shape
from facesearch.version import __version__

USAGE = 2
UNEXPECTED = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

CLICK_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""Typer brought Click along as a private package in 0.2x and depended on it before; its errors are found through one it exports."""

_log = logging.getLogger("facesearch")


def exit_code_of(command: Callable[[], object], *, as_json: bool, log_folder: Path | None = None) -> int:
    """Run a command line and return its exit code, whatever happens in it.

    Args:
        command: Runs it; returns an exit code, or anything else for 0.
        as_json: Print errors as JSON.
        log_folder: Where the traceback of an unexpected error goes; None for the user's folder of logs.
    """
    try:
        result = command()
        with writing_results():
            sys.stdout.flush()
    except FaceSearchError as exc:
        _log.debug("the error in full", exc_info=True)
        _discard_what_cannot_be_written()
        return _report(error_shape(exc), exc.exit_code, as_json=as_json)
    except CLICK_ERROR as exc:
        return _report(_usage_shape(exc), USAGE, as_json=as_json, hint=_usage_hint(exc))
    except (KeyboardInterrupt, typer.Abort):
        return _report({"code": "interrupted", "message": "interrupted", "context": {}}, INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        _discard_what_cannot_be_written()
        return BROKEN_PIPE
    except SystemExit as exc:
        # Typer ends a command line with 1 in one case: its own answer to a closed pipe.
        _discard_what_cannot_be_written()
        return BROKEN_PIPE if exc.code == 1 else _code(exc.code)
    except Exception as exc:  # noqa: BLE001 - the entry point: nothing may leave it as a traceback
        return _unexpected(exc, log_folder, as_json=as_json)
    code = result if isinstance(result, int) else 0
    if code == INTERRUPTED:
        return _report({"code": "interrupted", "message": "interrupted", "context": {}}, INTERRUPTED, as_json=as_json)
    return code


def _code(code: object) -> int:
    return code if isinstance(code, int) else 0 if code is None else UNEXPECTED


def _report(error: Shape, exit_code: int, *, as_json: bool, hint: str = "") -> int:
    try:
        if as_json:
            write_json({"error": error}, sys.stderr)
        else:
            sys.stderr.write(f"error: {printable(error['message'])}\n{hint}")
        sys.stderr.flush()
    except OSError:
        pass  # closed or full: the exit code still tells
    return exit_code


def _usage_shape(error: Exception) -> Shape:
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return {"code": "bad_usage", "message": text, "context": {}}


def _usage_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"see: {context.command_path} --help\n" if context is not None else ""


def _discard_what_cannot_be_written() -> None:
    """Let stdout end in nothing where it cannot be written: Python flushes it once more at the end, and would exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError), Path(os.devnull).open("wb") as null:  # a stream that is no file is not flushed at the end
            os.dup2(null.fileno(), sys.stdout.fileno())


def _unexpected(error: Exception, log_folder: Path | None, *, as_json: bool) -> int:
    place = _write_traceback(error, log_folder)
    kind = type(error).__name__
    where = f"the details are in {place}" if place else "its log could not be written"
    shape = {"code": "internal_error", "message": f"unexpected {kind}; {where}", "context": {"log": place and str(place)}}
    return _report(shape, UNEXPECTED, as_json=as_json)


def _write_traceback(error: Exception, log_folder: Path | None) -> Path | None:
    """Write a traceback where it can be found, readable by the user alone; None where that fails everywhere."""
    text = f"facesearch {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n" + "".join(
        traceback.format_exception(error)
    )
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-"
    for folder in (log_folder or _user_log_folder(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(prefix=name, suffix=".log", dir=folder)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
        except OSError:
            continue
        return Path(path)
    return None


def _user_log_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_log_dir("facesearch", appauthor=False))
