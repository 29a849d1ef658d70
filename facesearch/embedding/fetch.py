"""Downloads of published files: over HTTP, resumed where they stopped, checked by digest before anybody sees them.

It knows nothing of models. A part of a file that arrived is kept under the digest of the whole, so that the next try goes on there.
"""

from __future__ import annotations

import bz2
import fcntl
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from facesearch.core.errors import CheckpointDigestError, ModelFetchError
from facesearch.embedding.checkpoint import verify_digest
from facesearch.version import __version__

ATTEMPTS = 3
"""Times in a row that a server may stop half way without a byte of progress between."""

TIMEOUT_S = 30.0
"""Silence after which a server counts as gone."""

MOST_BYTES = 2**31
"""Largest file taken where nobody said its length."""

_BLOCK = 1 << 18

Advance = Callable[[int, int | None], None]
"""Told how many bytes are here, and of how many (None: not known)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be downloaded.

    Attributes:
        address: ``http://`` or ``https://``.
        sha256: Of the file, lower-case hex.
        file: Its name.
        n_bytes: Its length, where known.
        member: Its name in the ZIP archive at the address, ``"bz2"`` where it is compressed, None where it lies there as it is.
    """

    address: str
    sha256: str
    file: str
    n_bytes: int | None = None
    member: str | None = None


def fetch(
    wanted: Wanted,
    folder: Path,
    *,
    advance: Advance = lambda _done, _of: None,
    writing: Callable[[Path], AbstractContextManager[None]],
) -> Path:
    """Download a file and return its path in a folder.

    Args:
        wanted: The file.
        folder: Where parts are kept; made when needed.
        advance: Told of progress.
        writing: Turns what the file system raises into an error of the house, given the folder.

    Raises:
        ModelFetchError: The server cannot be reached, stopped half way, or sent something else.
        CheckpointDigestError: What arrived is another file; it is thrown away.
        FileWriteError: The folder cannot be written, or is full; what arrived stays.
    """
    if urlsplit(wanted.address).scheme not in ("http", "https"):
        raise ModelFetchError(f"{wanted.address} is no address that can be fetched: http and https are", address=wanted.address)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    part, whole = folder / f"{wanted.sha256}.part", folder / wanted.file
    failures, furthest = 0, _length(part)
    while True:
        try:
            _go_on(wanted, part, advance, writing)
            break
        except _StoppedError as exc:
            # Progress is what no try reached before: a server whose file is too short would else be asked again for ever.
            reached = _length(part)
            failures = failures + 1 if reached <= furthest else 1
            furthest = max(furthest, reached)
            if failures >= ATTEMPTS:
                raise _unreachable(
                    wanted, f"{exc} after {_length(part)} bytes, which are kept: the same command goes on there"
                ) from exc
    with writing(folder):
        _unpack(wanted, part, whole)
    try:
        verify_digest(whole, wanted.sha256)
    except CheckpointDigestError as exc:
        whole.unlink()
        raise CheckpointDigestError(
            f"what {wanted.address} sent has SHA-256 {exc.context['found']}, {wanted.file} has {wanted.sha256}: it was thrown "
            "away; try again, or get the file elsewhere and use facesearch models add",
            **exc.context,
        ) from exc
    finally:
        part.unlink(missing_ok=True)
    return whole


@contextmanager
def alone(folder: Path, file: str, *, writing: Callable[[Path], AbstractContextManager[None]]) -> Iterator[None]:
    """Make a folder for one download and hold it against others of the same file; it goes when nothing is left in it.

    Raises:
        ModelFetchError: Another process, or thread, downloads the file now.
        FileWriteError: The folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ModelFetchError(
                f"{file} is being fetched into {folder.parent} already: wait until that is done", path=str(folder)
            ) from exc
        except OSError:  # some network file systems lock no folders; there two at once end in a digest that does not fit
            pass
        try:
            yield
        finally:
            with suppress(OSError):  # what arrived of it is kept
                folder.rmdir()
    finally:
        os.close(handle)


class _StoppedError(Exception):
    """A server stopped half way; trying again may help."""


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _unreachable(wanted: Wanted, reason: str) -> ModelFetchError:
    """Return the one error for whoever cannot download: it says what to get, and what to do with it."""
    return ModelFetchError(
        f"{wanted.address} could not be fetched: {reason}. Get {wanted.file} (SHA-256 {wanted.sha256}) some other way, then: "
        "facesearch models add FILE",
        address=wanted.address,
        sha256=wanted.sha256,
    )


def _go_on(wanted: Wanted, part: Path, advance: Advance, writing: Callable[[Path], AbstractContextManager[None]]) -> None:
    """Append what is missing of a part.

    Raises:
        _StoppedError: The connection ended before the file did.
    """
    have = _length(part)
    headers = {"User-Agent": f"facesearch/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(wanted.address, headers=headers)  # noqa: S310 - the scheme was checked
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - the scheme was checked
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code == 416 and have:
                part.unlink()
                raise _StoppedError("the server has less of the file than arrived before") from exc
            raise _unreachable(wanted, f"the server answered {exc.code} {exc.reason}") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", None) or exc
        if have:
            raise _StoppedError(f"no connection ({reason})") from exc
        raise _unreachable(wanted, f"no connection ({reason})") from exc
    with response:
        if response.status != 206:
            have = 0  # the server sends all of it again
        total = _total(wanted, response, have)
        with writing(part.parent):
            stream = part.open("ab" if have else "wb")
        with stream:
            _copy(wanted, response, stream, have=have, total=total, advance=advance, writing=writing)


def _total(wanted: Wanted, response: Any, have: int) -> int | None:
    """Return how long the whole will be, where the server says it.

    Raises:
        ModelFetchError: It sends a web page, or a file of another length than the published one.
    """
    kind = response.headers.get_content_type()
    if kind == "text/html":
        raise _unreachable(wanted, "the server sent a web page (text/html) instead of the file")
    length = response.headers.get("Content-Length")
    total = have + int(length) if length is not None and length.isdigit() else None
    expected = wanted.n_bytes if wanted.member is None else None
    if total is not None and expected is not None and total != expected:
        raise _unreachable(wanted, f"the server offers {total} bytes, the published file has {expected}")
    if total is not None and total > MOST_BYTES:
        raise _unreachable(wanted, f"the server offers {total} bytes, at most {MOST_BYTES} are taken")
    return total if total is not None else expected


def _copy(
    wanted: Wanted,
    response: Any,
    stream: IO[bytes],
    *,
    have: int,
    total: int | None,
    advance: Advance,
    writing: Callable[[Path], AbstractContextManager[None]],
) -> None:
    limit = total if total is not None else MOST_BYTES
    while True:
        advance(have, total)
        try:
            block = response.read(_BLOCK)
        except (OSError, http.client.HTTPException) as exc:
            raise _StoppedError(f"the server stopped ({exc or type(exc).__name__})") from exc
        if not block:
            break
        have += len(block)
        if have > limit:
            raise _unreachable(wanted, f"the server sent more than the {limit} bytes that the file has")
        with writing(Path(stream.name).parent):
            stream.write(block)
            stream.flush()
    if total is not None and have < total:
        raise _StoppedError(f"the server stopped at {have} of {total} bytes")


def _unpack(wanted: Wanted, part: Path, whole: Path) -> None:
    """Bring the file that was wanted out of what was downloaded.

    Raises:
        ModelFetchError: What arrived is no archive, or holds no such file; it is thrown away.
    """
    if wanted.member is None:
        part.replace(whole)
        return
    limit = wanted.n_bytes or MOST_BYTES
    try:
        if wanted.member == "bz2":
            with bz2.open(part) as packed:
                _copy_at_most(packed, whole, limit)
            return
        with zipfile.ZipFile(part) as archive:
            found = [name for name in archive.namelist() if Path(name).name == wanted.member]
            if len(found) != 1:
                raise _DamagedError(f"the archive holds {len(found)} files called {wanted.member}")
            with archive.open(found[0]) as packed:
                _copy_at_most(packed, whole, limit)
    except (zipfile.BadZipFile, _DamagedError) as exc:
        part.unlink()
        whole.unlink(missing_ok=True)
        raise _unreachable(wanted, f"what arrived is not the archive that was published ({exc})") from exc


class _DamagedError(Exception):
    """What arrived cannot be unpacked."""


def _copy_at_most(packed: IO[bytes], whole: Path, limit: int) -> None:
    """Write what an archive holds, one byte past the limit at most: enough for the digest to differ."""
    with whole.open("wb") as target:
        remaining = limit + 1
        while remaining > 0:
            try:
                block = packed.read(min(_BLOCK, remaining))
            except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as exc:
                raise _DamagedError(str(exc) or type(exc).__name__) from exc
            if not block:
                return
            target.write(block)
            remaining -= len(block)
