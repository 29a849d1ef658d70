"""The manifest of a store of crops: what it says of itself, checked where it is read.

It opens no pixels and no rows: see ``crop_store``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.core.errors import CropStoreError, InputError
from facesearch.core.face import Alignment

FORMAT = "facesearch-crops"
VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 2**20
"""Largest manifest read: some hundred bytes a part of a quarter of a gigabyte."""

PART = re.compile(r"crops-[0-9]{4,}\.bin")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a store says of itself.

    Raises:
        CropStoreError: There is no store, or its manifest is damaged or of another version.
    """
    file, manifest = folder / MANIFEST, read_document(folder)
    try:
        _require_fields(manifest)
    except (KeyError, TypeError, ValueError) as exc:
        raise CropStoreError(f"{file} is damaged: {exc!r}; prepare again with --restart", path=str(file)) from exc
    return manifest


def read_document(folder: Path) -> dict[str, Any]:
    """Return a store's manifest whatever it lacks: enough to know that the folder is a store's.

    Raises:
        CropStoreError: There is no manifest, it is no JSON, of something else or of another version.
    """
    file = folder / MANIFEST
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise CropStoreError(f"{file} is larger than {MAX_MANIFEST_BYTES} bytes and no manifest", path=str(file))
        manifest = json.loads(file.read_bytes())
    except OSError as exc:
        raise CropStoreError(
            f"{folder} is no store of crops ({exc.strerror or exc}): make one with `facesearch train prepare`", path=str(folder)
        ) from exc
    except ValueError as exc:
        raise CropStoreError(f"{file} is damaged: {exc}", path=str(file)) from exc
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CropStoreError(f"{file} is not the manifest of a store of crops", path=str(file))
    if manifest.get("version") != VERSION:
        raise CropStoreError(f"{file} is of version {manifest.get('version')}, this release reads {VERSION}", path=str(file))
    return manifest


def _require_fields(manifest: Mapping[str, Any]) -> None:
    """Raise ``KeyError``, ``TypeError`` or ``ValueError`` unless a manifest has what a store is read by."""
    alignment_of(manifest["alignment"])
    per_part = manifest["crops_per_part"]
    if not isinstance(manifest["is_complete"], bool) or not isinstance(manifest["recipe"], dict):
        raise TypeError("is_complete or recipe is of another type")
    if not _is_count(per_part) or not per_part:
        raise ValueError(f"crops_per_part is {per_part!r}")
    if not manifest["is_complete"]:
        return
    parts = manifest["parts"]
    sizes = [part["n_crops"] for part in parts]
    if not all(_is_count(size) and 0 < size <= per_part for size in sizes) or any(size != per_part for size in sizes[:-1]):
        raise ValueError(f"parts of {sizes} crops, {per_part} each are expected")
    # A name with a folder in it would read somebody else's file.
    if not all(PART.fullmatch(part["file"]) for part in parts):
        raise ValueError(f"parts are named {[part['file'] for part in parts]}")
    if not all(isinstance(one["sha256"], str) for one in (*parts, manifest["rows"])):
        raise TypeError("a digest is no text")
    if not isinstance(manifest["source"]["name"], str):
        raise TypeError("the source has no name")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def store_digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) over the digests of a finished store's files."""
    lines = [f"{manifest['rows']['sha256']}\n", *(f"{part['sha256']}\n" for part in manifest["parts"])]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def alignment_of(shape: Mapping[str, Any]) -> Alignment:
    """Return the alignment that a manifest names.

    Raises:
        CropStoreError: It names none.
    """
    try:
        points = None if shape["points"] is None else np.array(shape["points"], dtype=np.float32)
        return Alignment(str(shape["name"]), int(shape["crop_px"]), points, int(shape["margin_px"]))
    except (KeyError, TypeError, ValueError, InputError) as exc:
        raise CropStoreError(f"the manifest's alignment is damaged: {exc}") from exc


def alignment_shape(alignment: Alignment) -> dict[str, object]:
    """Return an alignment as plain values; float32 points come back exactly."""
    points = None if alignment.points is None else alignment.points.astype(np.float64).tolist()
    return {"name": alignment.name, "crop_px": alignment.crop_px, "points": points, "margin_px": alignment.margin_px}
