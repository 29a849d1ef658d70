"""The on-disk form of an index: data files and a manifest, the manifest renamed last.

It does not decide when to save, and it keeps no older snapshot: the database can always rebuild an index. A snapshot guards against
damage (every byte is under a SHA-256), not against somebody who can write to the folder.

Layout, versions 1 and 2: ``manifest.json`` names ``rows-<token>.npy`` (int64 ``(2, n)``: template ids, −1 in freed rows; identity
ids), ``vectors-<token>.npy`` (float32 ``(n, dim)``, zeros in freed rows) and, for HNSW, ``graph-<token>.hnsw`` (hnswlib's own
format, labels are rows). Version 2 says in ``template_format`` that the vectors are bytes (int8, see ``core.compact``); those of
float32 are written as version 1, which earlier releases read. SHA-256 because hashlib reads 1.8 GB/s with it on the machine
measured (BLAKE2b 1.2).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.compact import TemplateFormat
from facesearch.core.errors import FileWriteError, GalleryFormatError, TemplateFormatError
from facesearch.gallery.columns import Rows
from facesearch.gallery.table import FREE, TemplateTable

FORMAT = "facesearch-gallery"
VERSION = 2
"""Newest version of the layout; a file of a later one is refused, never guessed at."""

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 65_536
"""A manifest has about 1 kB; anything much larger is not one."""

SUFFIXES = {"rows": ".npy", "vectors": ".npy", "graph": ".hnsw"}
"""The data files by their part in the snapshot."""

_OURS = re.compile(r"(rows|vectors|graph|manifest)-[0-9]+-[0-9a-f]{8}\.(npy|hnsw|tmp)")
_KEYS = {"format", "version", "kind", "embedder_id", "dim", "revision", "count", "n_rows", "graph", "files", "sha256"}


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What must be known of a graph beside its file.

    Attributes:
        m: Links a node.
        ef_construction: Beam width it was built with.
        ef: Beam width of searches; hnswlib does not store it.
        churn: Rows removed or replaced since it was built.
        path: Where its verified file lies while the snapshot is open, None when writing.
    """

    m: int
    ef_construction: int
    ef: int
    churn: int
    path: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """An index as it is stored.

    Attributes:
        kind: ``"exact"``, ``"hnsw"`` or ``"binary"``.
        embedder_id: The embedder of every template.
        revision: The collection's revision it reflects.
        rows: int64 ``(2, n)``: template ids (``FREE`` in freed rows) and identity ids.
        vectors: ``(n, dim)``: float32, or int8 for the other formats.
        graph: For ``"hnsw"``.
        template_format: How the vectors are held.
    """

    kind: str
    embedder_id: str
    revision: int
    rows: Rows
    vectors: NDArray[Any]
    graph: GraphFile | None = None
    template_format: TemplateFormat = "f32"

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.vectors.shape[1])

    def table(self) -> TemplateTable:
        """Return the columns as a table, which takes them over.

        Raises:
            GalleryFormatError: A template id occurs twice.
        """
        ids, owners = np.ascontiguousarray(self.rows[0]), np.ascontiguousarray(self.rows[1])
        try:
            return TemplateTable.of_columns(self.embedder_id, ids, owners, self.vectors, self.template_format)
        except TemplateFormatError as exc:
            raise GalleryFormatError(f"the snapshot is damaged: {exc}") from exc


def write_snapshot(folder: Path, snapshot: Snapshot, save_graph: Callable[[Path], None] | None = None) -> None:
    """Replace the snapshot of a folder, made where it is missing.

    New files get new names and the manifest is renamed over the old one last, so that a crash leaves the old snapshot; then every
    other file of a snapshot is removed, leftovers of crashes included.

    Args:
        folder: The folder of one index.
        snapshot: What to write.
        save_graph: Writes the graph to a path, for ``"hnsw"``.

    Raises:
        FileWriteError: Permissions, a full disk or the like; the old snapshot is untouched and new files are gone.
    """
    token = f"{max(0, snapshot.revision)}-{secrets.token_hex(4)}"
    with _write_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # vectors are nobody else's business
        with _held(folder, fcntl.LOCK_EX):
            names = {part: f"{part}-{token}{SUFFIXES[part]}" for part in ("rows", "vectors", *(("graph",) if save_graph else ()))}
            temporary = folder / f"manifest-{token}.tmp"
            is_done = False
            try:
                np.save(folder / names["rows"], snapshot.rows, allow_pickle=False)
                np.save(folder / names["vectors"], snapshot.vectors, allow_pickle=False)
                if save_graph:
                    save_graph(folder / names["graph"])
                files = {part: _described(folder / name) for part, name in names.items()}
                temporary.write_bytes(_manifest_bytes(_manifest_of(snapshot, files)))
                _sync(temporary)
                temporary.replace(folder / MANIFEST)
                is_done = True
            finally:
                if not is_done:
                    for name in (*names.values(), temporary.name):
                        with suppress(OSError):
                            (folder / name).unlink(missing_ok=True)
            _sync(folder)
            for path in folder.iterdir():
                if _OURS.fullmatch(path.name) and path.name not in names.values():
                    path.unlink(missing_ok=True)


@contextmanager
def opened_snapshot(folder: Path) -> Iterator[Snapshot | None]:
    """Open the snapshot of a folder, every byte verified before anything is made of it; None where there is none.

    While it is open no process can replace it, so the graph's file stays where it is.

    Raises:
        GalleryFormatError: A file is missing, damaged or of another format version.
    """
    with ExitStack() as held:
        with _read_errors(folder):
            snapshot = None
            if folder.is_dir():
                held.enter_context(_held(folder, fcntl.LOCK_SH))
                snapshot = _read(folder) if (folder / MANIFEST).exists() else None
        yield snapshot


def _read(folder: Path) -> Snapshot:
    manifest = _checked_manifest((folder / MANIFEST).read_bytes())
    is_hnsw = manifest["kind"] == "hnsw"
    parts = ("rows", "vectors", "graph") if is_hnsw else ("rows", "vectors")
    if set(manifest["files"]) != set(parts) or (manifest["graph"] is None) == is_hnsw:
        raise GalleryFormatError(
            f"the manifest of a snapshot of kind {manifest['kind']} does not name the files {', '.join(parts)}"
        )
    with ThreadPoolExecutor(len(parts)) as pool:  # checksums are computed without the interpreter's lock
        paths = dict(zip(parts, pool.map(lambda part: _verified(folder, part, manifest["files"][part]), parts), strict=True))
    rows, vectors = np.load(paths["rows"], allow_pickle=False), np.load(paths["vectors"], allow_pickle=False)
    n_rows, dim = manifest["n_rows"], manifest["dim"]
    held: TemplateFormat = manifest.get("template_format", "f32")
    number = np.float32 if held == "f32" else np.int8
    for name, column, dtype, shape in (("rows", rows, np.int64, (2, n_rows)), ("vectors", vectors, number, (n_rows, dim))):
        if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape != shape or not column.flags.c_contiguous:
            raise GalleryFormatError(f"{paths[name].name} is not {np.dtype(dtype)} of shape {shape}, as the manifest says")
    count = int(np.count_nonzero(rows[0] != FREE))
    if count != manifest["count"]:
        raise GalleryFormatError(f"the snapshot holds {count} templates, not {manifest['count']}")
    graph = None
    if is_hnsw:
        described = manifest["graph"]
        m, ef_construction, ef, churn = (_whole(described, name) for name in ("m", "ef_construction", "ef", "churn"))
        graph = GraphFile(m, ef_construction, ef, churn, path=paths["graph"])
    return Snapshot(manifest["kind"], manifest["embedder_id"], manifest["revision"], rows, vectors, graph, held)


def _checked_manifest(raw: bytes) -> dict[str, Any]:
    """Return a manifest whose version, checksum, keys and types are right."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise GalleryFormatError(f"{MANIFEST} has {len(raw)} bytes, at most {MAX_MANIFEST_BYTES} are expected")
    manifest = json.loads(raw)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise GalleryFormatError(f"{MANIFEST} is not of a gallery snapshot")
    version = _whole(manifest, "version")
    if version not in (1, VERSION):
        raise GalleryFormatError(
            f"the snapshot has format version {version}, this release reads versions 1 and {VERSION}: use a release that fits, or "
            "delete the snapshot's folder to have it rebuilt from the database",
            version=version,
        )
    if raw != _manifest_bytes({key: value for key, value in manifest.items() if key != "sha256"}):
        raise GalleryFormatError(f"{MANIFEST} is damaged: its checksum does not fit")
    keys = _KEYS if version == 1 else _KEYS | {"template_format"}
    kinds = {"f32": ("exact", "hnsw"), "int8": ("exact", "hnsw"), "binary": ("binary",)}.get(
        manifest.get("template_format", "f32"), ()
    )
    if set(manifest) != keys or manifest["kind"] not in kinds or not isinstance(manifest["embedder_id"], str):
        raise GalleryFormatError(f"{MANIFEST} lacks a field or has one too many")
    for name in ("dim", "revision", "count", "n_rows"):
        _whole(manifest, name)
    if not isinstance(manifest["files"], dict) or not manifest["dim"]:
        raise GalleryFormatError(f"{MANIFEST} has a field of the wrong type")
    return manifest


def _whole(fields: object, name: str) -> int:
    """Return a field that must be a whole number, not negative."""
    value = fields.get(name) if isinstance(fields, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GalleryFormatError(f"field {name} of {MANIFEST} must be a whole number, not {value!r}")
    return value


def _verified(folder: Path, part: str, described: object) -> Path:
    """Return the path of a data file after comparing its size and checksum."""
    name = described.get("name") if isinstance(described, dict) else None
    if not isinstance(described, dict) or not isinstance(name, str) or not _OURS.fullmatch(name) or not name.startswith(part):
        raise GalleryFormatError(f"{MANIFEST} names no proper file for {part}: {name!r}")
    path = folder / name
    size = path.stat().st_size
    if size != _whole(described, "n_bytes"):
        raise GalleryFormatError(f"{name} has {size} bytes, {described['n_bytes']} were written", path=str(path))
    if _sha256(path) != described.get("sha256"):
        raise GalleryFormatError(f"{name} is damaged: its checksum does not fit", path=str(path))
    return path


def _manifest_of(snapshot: Snapshot, files: Mapping[str, object]) -> dict[str, Any]:
    graph = snapshot.graph
    held = snapshot.template_format
    return {
        "format": FORMAT,
        **({"version": 1} if held == "f32" else {"version": VERSION, "template_format": held}),
        "kind": snapshot.kind,
        "embedder_id": snapshot.embedder_id,
        "dim": snapshot.dim,
        "revision": snapshot.revision,
        "count": int(np.count_nonzero(snapshot.rows[0] != FREE)),
        "n_rows": int(snapshot.rows.shape[1]),
        "graph": graph and {"m": graph.m, "ef_construction": graph.ef_construction, "ef": graph.ef, "churn": graph.churn},
        "files": dict(files),
    }


def _manifest_bytes(fields: Mapping[str, object]) -> bytes:
    """Return the one byte string that stands for these fields, their checksum included."""
    plain = json.dumps(fields, sort_keys=True)
    return (json.dumps({**fields, "sha256": hashlib.sha256(plain.encode()).hexdigest()}, sort_keys=True, indent=1) + "\n").encode()


def _described(path: Path) -> dict[str, object]:
    _sync(path)
    return {"name": path.name, "n_bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _held(folder: Path, mode: int) -> Iterator[None]:
    """Hold a folder against other processes: one writes (``LOCK_EX``) or many read (``LOCK_SH``)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders; there one process a gallery must be enough
            fcntl.flock(handle, mode)
        yield
    finally:
        os.close(handle)


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise FileWriteError(f"the index snapshot in {folder} could not be written: {reason}", path=str(folder)) from exc


@contextmanager
def _read_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, RecursionError) as exc:
        raise GalleryFormatError(f"the index snapshot in {folder} cannot be read: {exc}", path=str(folder)) from exc
