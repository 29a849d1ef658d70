"""The photographs that a store of crops is made of: what a folder holds now, and whether it is still what an earlier run found.

It opens no photograph, but for one that was touched: see ``prepare`` for the work.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path

from facesearch.core.errors import CropStoreError, InputError, ProtocolFileError
from facesearch.core.paths import is_folder, is_there
from facesearch.service.labelled_folder import LabelledFile, LabelledFolder, picture_names
from facesearch.service.template_cache import FileStamp, file_digest
from facesearch.training.crop_store import CropRow
from facesearch.training.crop_writer import STAMP_BYTES

_STAMP = struct.Struct("<qq32s")  # size in bytes, time of change in ns, SHA-256 of the bytes
_NOBODY_LOOKED = bytes(STAMP_BYTES)
_NOT_THERE = -1


def check_place(folder: Path, store: Path) -> None:
    """Refuse a store where it cannot lie, before anything is made.

    Raises:
        InputError: It is a file, or lies among the photographs, where it may be taken for a person.
    """
    if is_there(store) and not is_folder(store):
        raise InputError(f"{store} is no folder: name one for the crops", path=str(store))
    if Path(os.path.realpath(store)).is_relative_to(os.path.realpath(folder)):
        raise InputError(
            f"{store} lies in {folder}, among the photographs: name a folder outside of it for the crops",
            path=str(store),
        )


def name_in(root: Path, path: Path) -> str:
    """Return a photograph's path below a folder with ``/``, however the list that names it wrote it.

    Args:
        root: The folder.
        path: Of the photograph; one below the folder, perhaps by way of links.
    """
    if path.is_relative_to(root) and ".." not in (below := path.relative_to(root)).parts:
        return below.as_posix()
    real = os.path.realpath(root)
    parent = Path(os.path.realpath(path.parent))
    # A link is called what it is called in the folder, wherever it leads.
    found = parent / path.name if parent.is_relative_to(real) else Path(os.path.realpath(path))
    return found.relative_to(real).as_posix()


def look_through(folder: Path, listed: LabelledFolder, *, is_by_list: bool) -> tuple[int, list[str]]:
    """Return the number of photographs, and the pictures that a label file leaves out.

    Raises:
        ProtocolFileError: The label file names a photograph twice, or none that is there.
    """
    if not is_by_list:
        return listed.count(), []
    labels: dict[str, str] = {}
    n_listed = n_there = 0
    for one in listed:
        name = name_in(folder, one.path)
        if name in labels:
            raise ProtocolFileError(f"the label file names {name} twice, as {labels[name]!r} and as {one.label!r}", path=name)
        labels[name] = one.label
        n_listed += 1
        n_there += is_there(one.path)
    if not n_there:
        raise ProtocolFileError(
            f"none of the {n_listed} photographs of the label file is in {folder}: its names are relative to that folder",
            path=str(folder),
        )
    pictures = [*_pictures(folder), *(one for inner in _folders(folder) for one in _pictures(inner))]
    names = (one.relative_to(folder).as_posix() for one in pictures)
    return n_listed, [name for name in names if name not in labels]


def _folders(folder: Path) -> list[Path]:
    try:
        return [inner for inner in sorted(folder.iterdir()) if is_folder(inner)]
    except OSError:  # it may be passed through to what a list names, and not be looked at
        return []


def _pictures(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in picture_names(folder)]
    except OSError:  # whoever is listed in it fails by name
        return []


def empty_folders(folder: Path, rows: Sequence[CropRow]) -> list[str]:
    """Return the labels whose folders hold no picture at all."""
    labels = {row.person for row in rows}
    return [one.name for one in _folders(folder) if not one.name.startswith(".") and one.name not in labels]


def still_to_do(folder: Path, listed: LabelledFolder, done: Sequence[CropRow], stamps: Sequence[bytes]) -> Iterator[LabelledFile]:
    """Return the files behind those that an earlier run did.

    Args:
        folder: The photographs'.
        listed: What it holds now.
        done: What the earlier run wrote.
        stamps: What it saw of each photograph; see ``stamp_of``.

    Raises:
        CropStoreError: The folder's list does not begin as it did then, or a photograph was replaced; names it.
    """
    files = iter(listed)
    for row, stamp, file in zip_longest(done, stamps, islice(files, len(done))):
        now = None if file is None else (name_in(folder, file.path), file.label)
        if file is None or now != (row.path, row.person):
            seen = "nothing" if now is None else f"{now[0]} of {now[1]!r}"
            raise _changed(folder, row.path, f"where {row.path} of {row.person!r} came then, {seen} comes now")
        change = _change(stamp, file)
        if change:
            raise _changed(folder, row.path, f"{row.path} {change}")
    return files


def _changed(folder: Path, name: str, how: str) -> CropStoreError:
    return CropStoreError(
        f"{folder} is not what it was when the store was begun: {how}; name another folder for the store, or begin anew with "
        "--restart",
        path=name,
    )


def stamp_of(seen: FileStamp | None, digest: str) -> bytes:
    """Return what is kept of a photograph to notice that it was replaced.

    Args:
        seen: The file before it was read; None where there was none.
        digest: SHA-256 (hex) of its bytes; empty where nobody read them.
    """
    if seen is None:
        return _STAMP.pack(_NOT_THERE, 0, b"")
    return _STAMP.pack(seen.n_bytes, seen.mtime_ns, bytes.fromhex(digest))


def seen_of(file: LabelledFile) -> FileStamp | None:
    """Return what a file looks like now; None where there is none, or only a folder that cannot be read."""
    return None if file.problem else FileStamp.of(file.path)


def _change(stamp: bytes, file: LabelledFile) -> str:
    """Return in words how a photograph is not the one that was read; nothing where it is, or where nothing was kept of it.

    One that was only touched, or copied without its times, is read: its bytes are what counts.
    """
    if stamp == _NOBODY_LOOKED:
        return ""
    n_bytes, mtime_ns, digest = _STAMP.unpack(stamp)
    now = seen_of(file)
    if now is None:
        return "" if n_bytes == _NOT_THERE else "was there then, and is not now"
    if n_bytes == _NOT_THERE:
        return "was not there then, and is now"
    if now.n_bytes != n_bytes:
        return f"had {n_bytes:,} bytes then, and has {now.n_bytes:,} now"
    if now.mtime_ns == mtime_ns or (any(digest) and file_digest(file.path) == digest.hex()):
        return ""
    return "was changed since"
