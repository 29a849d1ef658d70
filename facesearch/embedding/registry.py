"""Embedders by name, from the model cards that lie beside their weights.

A model is three files of one stem in a folder: ``<stem>.json`` (card for programs), ``<stem>.safetensors`` (weights) and
``<stem>.md`` (card for people). A second model is found by dropping its files there. It loads no network: see ``embedder``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.core.decision import OperatingPoint, OperatingPoints
from facesearch.core.errors import (
    CheckpointFormatError,
    CheckpointNotFoundError,
    InputError,
    ModelError,
    OperatingPointError,
    UnknownEmbedderError,
)
from facesearch.core.face import Alignment
from facesearch.embedding.backbones import check_backbone
from facesearch.embedding.checkpoint import verify_digest

SHIPPED_MODELS = Path(__file__).resolve().parents[1] / "models"
"""The folder of weights that comes with the package."""

ARCFACE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Five points on a crop of 112 pixels as ArcFace made them the field's standard (Deng et al. 2019)."""

DIGEST_DIGITS = 12
"""Digits of the weights' digest in an embedder id."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # no @ and no +, which separate the parts of an embedder id
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LICENCE = re.compile(r"^Licence: *\**([\w.+-]+)", re.MULTILINE)
_NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class LfwFigures:
    """What was measured on LFW with one way of embedding.

    Attributes:
        accuracy: View 2, mean over ten folds, in [0, 1].
        standard_error: Of that mean.
        tar: ``(FMR, TAR, mated pairs accepted)`` on View 2, rates in [0, 1].
        operating_points: Set on all non-mated pairs of ``peopleDevTrain.txt``.
    """

    accuracy: float
    standard_error: float
    tar: tuple[tuple[float, float, int], ...]
    operating_points: OperatingPoints

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "tar": [{"fmr": fmr, "tar": tar, "count": count} for fmr, tar, count in self.tar],
            "operating_points": [
                {"fmr": point.fmr, "threshold": point.threshold, "n_non_mated": point.n_non_mated}
                for point in self.operating_points
            ],
        }


@dataclass(frozen=True, slots=True, eq=False)
class EmbedderCard:
    """What is known of one embedder.

    Attributes:
        name: Lower-case letters, digits, ``-`` and ``_``.
        version: Rises with each release of weights under this name.
        sha256: Of the file with the weights, lower-case hex.
        dim: Length of the vectors.
        alignment: The crop it wants.
        mean: Subtracted from each channel, RGB, 0–255.
        scale: What the difference is divided by.
        backbone: Name of its architecture.
        licence: Of the weights, an SPDX identifier; ``"not stated"`` where the card names none.
        figures: By way of embedding, ``"single"`` and, where measured, ``"flip"``.
        weights_path: The weights.
        text_path: The card for people (Markdown).
    """

    name: str
    version: int
    sha256: str
    dim: int
    alignment: Alignment
    mean: tuple[float, float, float]
    scale: float
    backbone: str
    licence: str
    figures: Mapping[str, LfwFigures]
    weights_path: Path
    text_path: Path

    def embedder_id(self, *, flip: bool = False) -> str:
        """Return ``<name>@<12 hex digits of the weights' SHA-256>``, with ``+flip`` for flip-averaged vectors."""
        return _embedder_id(self.name, self.sha256, flip=flip)

    def operating_points(self, *, flip: bool = False) -> OperatingPoints:
        """Return the thresholds published with the weights.

        Raises:
            OperatingPointError: None were published for this way of embedding.
        """
        way = "flip" if flip else "single"
        if way not in self.figures:
            raise OperatingPointError(f"{self.name} was published without thresholds for {way} vectors", embedder=self.name)
        return self.figures[way].operating_points

    def text(self) -> str:
        """Return the card for people, Markdown.

        Raises:
            CheckpointNotFoundError: It is missing.
        """
        try:
            return self.text_path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise CheckpointNotFoundError(f"the model card {self.text_path} cannot be read", path=str(self.text_path)) from exc

    def verify_file(self) -> None:
        """Raise unless the weights are there and are the published ones.

        Raises:
            CheckpointNotFoundError: The file is absent or cannot be read.
            CheckpointDigestError: It is another file; names both digests.
        """
        verify_digest(self.weights_path, self.sha256)

    def as_dict(self) -> dict[str, object]:
        """Return the card as plain values; rates in [0, 1]."""
        return {
            "name": self.name,
            "version": self.version,
            "embedder_id": self.embedder_id(),
            "sha256": self.sha256,
            "dim": self.dim,
            "crop_px": self.alignment.crop_px,
            "alignment": self.alignment.name,
            "licence": self.licence,
            "lfw": {way: figures.as_dict() for way, figures in self.figures.items()},
        }


def available(models_folder: Path | None = None) -> tuple[EmbedderCard, ...]:
    """Return the embedders that are installed, by name, the newest of a name first.

    Args:
        models_folder: A folder to look in besides the package's own.

    Raises:
        CheckpointNotFoundError: ``models_folder`` is no folder.
        CheckpointFormatError: A card is malformed; names the file.
    """
    folders = [SHIPPED_MODELS]
    if models_folder is not None:
        if not Path(models_folder).is_dir():
            raise CheckpointNotFoundError(f"there is no folder of models {models_folder}", path=str(models_folder))
        folders.insert(0, Path(models_folder))
    cards = {found.embedder_id(): found for folder in reversed(folders) for found in map(read_card, sorted(folder.glob("*.json")))}
    return tuple(sorted(cards.values(), key=lambda found: (found.name, -found.version, found.sha256)))


def card(name: str, models_folder: Path | None = None) -> EmbedderCard:
    """Return the newest embedder of a name, or the very one of an embedder id.

    Args:
        name: ``mobilenet-128``, or ``mobilenet-128@<12 hex digits>`` for one digest.
        models_folder: A folder to look in besides the package's own.

    Raises:
        UnknownEmbedderError: There is none; lists those there are.
        CheckpointFormatError: A card is malformed.
    """
    cards = available(models_folder)
    for found in cards:
        if name in (found.name, found.embedder_id()):
            return found
    known = ", ".join(found.embedder_id() for found in cards) or "none"
    raise UnknownEmbedderError(f"there is no embedder {name!r}; installed: {known}", name=name)


def read_card(path: Path) -> EmbedderCard:
    """Return the embedder that a JSON card describes.

    Raises:
        CheckpointFormatError: The card cannot be read, lacks a field or contradicts itself; names the file.
    """
    with _card_errors(path):
        fields = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
        name, sha256 = str(fields["name"]), str(fields["sha256"])
        if not _NAME.fullmatch(name) or not _SHA256.fullmatch(sha256):
            raise ValueError(f"name {name!r} or sha256 {sha256!r} has another form")
        if fields["embedder_id"] != _embedder_id(name, sha256):
            raise ValueError(f"embedder_id is {fields['embedder_id']!r}, name and sha256 give {_embedder_id(name, sha256)!r}")
        mean, scale = tuple(float(value) for value in fields["mean"]), float(fields["scale"])
        if len(mean) != 3 or scale <= 0 or int(fields["dim"]) < 1:
            raise ValueError(f"mean {mean}, scale {scale} or dim {fields['dim']} is out of range")
        text_path = path.with_suffix(".md")
        return EmbedderCard(
            name=name,
            version=int(fields["version"]),
            sha256=sha256,
            dim=int(fields["dim"]),
            alignment=_alignment(name, fields),
            mean=(mean[0], mean[1], mean[2]),
            scale=scale,
            backbone=check_backbone(str(fields.get("backbone", "mobilenet"))),
            licence=str(fields.get("licence") or _licence(text_path)),
            figures={
                way: _figures(measured, _embedder_id(name, sha256, flip=way == "flip"))
                for way, measured in fields["lfw"].items()
                if way in ("single", "flip")
            },
            weights_path=path.with_suffix(".safetensors"),
            text_path=text_path,
        )


@contextmanager
def _card_errors(path: Path) -> Iterator[None]:
    """Turn whatever a malformed card causes into one error that names the file."""
    try:
        yield
    except KeyError as exc:
        raise CheckpointFormatError(f"the model card {path} lacks the field {exc}", path=str(path)) from exc
    except (OSError, ValueError, TypeError, AttributeError, IndexError, InputError, ModelError) as exc:
        raise CheckpointFormatError(f"the model card {path} is malformed: {exc}", path=str(path)) from exc


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no figure")


def _embedder_id(name: str, sha256: str, *, flip: bool = False) -> str:
    return f"{name}@{sha256[:DIGEST_DIGITS]}{'+flip' if flip else ''}"


def _alignment(name: str, fields: Mapping[str, Any]) -> Alignment:
    """Return a card's crop under the standard's name where it is the standard, else under the embedder's."""
    crop_px, points = int(fields["crop_px"]), np.array(fields["template"], dtype=np.float32)
    is_standard = crop_px == 112 and np.array_equal(points, np.array(ARCFACE_112, dtype=np.float32))
    return Alignment("arcface-112" if is_standard else f"{name}-{crop_px}", crop_px, points)


def _figures(fields: Mapping[str, Any], embedder_id: str) -> LfwFigures:
    """Return a card's figures; percentages become rates in [0, 1]."""
    view2 = fields["view2"]
    tar = tuple(
        (float(key.removeprefix("tar@")), float(value[0]) / 100, int(value[1]))
        for key, value in view2.items()
        if key.startswith("tar@")
    )
    points = OperatingPoints(
        tuple(
            OperatingPoint(float(point["threshold"]), float(point["fmr"]), embedder_id, int(point["n_non_mated"]))
            for point in fields["operating_points"]
        )
    )
    return LfwFigures(float(view2["accuracy"]) / 100, float(view2["se"]) / 100, tar, points)


def _licence(text_path: Path) -> str:
    """Return the licence that the line ``Licence: …`` of the card for people names."""
    if not text_path.is_file():
        return _NOT_STATED
    found = _LICENCE.search(text_path.read_text(encoding="utf-8"))
    return found.group(1) if found else _NOT_STATED
