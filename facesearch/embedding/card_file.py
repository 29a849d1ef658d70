"""Model cards in JSON: those beside the package's weights and those of the models folder.

It checks what it reads and nothing of the weights themselves.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.core.decision import OperatingPoint, OperatingPoints
from facesearch.core.errors import CheckpointFormatError, InputError, ModelError
from facesearch.core.face import Alignment
from facesearch.embedding.architecture import parse_architecture
from facesearch.embedding.backbones import check_backbone
from facesearch.embedding.card import EmbedderCard, Figures, Origin, Preparation, Triple, embedder_id_of
from facesearch.embedding.scales import parse_precisions
from facesearch.embedding.score_shares import parse_score_shares

ARCFACE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Five points on a crop of 112 pixels as ArcFace made them the field's standard (Deng et al. 2019)."""

FORMATS = ("onnx", "tensorflow", "torchscript", "safetensors", "torch-state", "dlib")
"""Kinds of files that hold an embedder."""

WEIGHTS_ALONE = ("safetensors", "torch-state", "dlib")
"""Those that hold no architecture: the card names it."""

NOT_STATED = "not stated"

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # no @ and no +, which separate the parts of an embedder id
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LICENCE = re.compile(r"^Licence: *\**([\w.+-]+)", re.MULTILINE)


def read_card(path: Path) -> EmbedderCard:
    """Return the embedder that a JSON card describes.

    Raises:
        CheckpointFormatError: The card cannot be read, lacks a field or contradicts itself; names the file.
    """
    with card_errors(path):
        fields = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
        name, sha256 = str(fields["name"]), str(fields["sha256"])
        id_digest = str(fields.get("id_digest") or sha256)
        if not NAME.fullmatch(name) or not _SHA256.fullmatch(sha256) or not _SHA256.fullmatch(id_digest):
            raise ValueError(f"name {name!r} or sha256 {sha256!r} has another form")
        if fields["embedder_id"] != embedder_id_of(name, id_digest):
            raise ValueError(f"embedder_id is {fields['embedder_id']!r}, name and sha256 give {embedder_id_of(name, id_digest)!r}")
        kind = str(fields.get("format", "safetensors"))
        if kind not in FORMATS or int(fields["dim"]) < 1:
            raise ValueError(f"format {kind!r} or dim {fields['dim']} is out of range")
        file = fields.get("file")
        built = fields.get("architecture")
        text_path = path.with_suffix(".md")
        return EmbedderCard(
            name=name,
            version=int(fields["version"]),
            sha256=sha256,
            dim=int(fields["dim"]),
            alignment=_alignment(name, fields),
            preparation=_preparation(fields),
            weights_path=path.with_suffix(".safetensors") if file is None else path.parent / _plain_name(str(file)),
            text_path=text_path if file is None else None,
            format=kind,
            backbone=_backbone(fields) if kind in WEIGHTS_ALONE else "",
            layout=str(fields.get("layout", "nchw")),
            output=fields.get("output"),
            is_batched=bool(fields.get("is_batched", True)),
            origin=_origin(fields, text_path),
            figures=parse_figures(fields["lfw"] if file is None else {}, name, id_digest),
            id_digest=id_digest,
            precisions=parse_precisions(fields.get("precisions") or {}, path.parent),
            architecture=None if built is None else parse_architecture(built, where=path.name),
            score_shares=parse_score_shares(fields.get("score_histograms") or {}),
        )


def _backbone(fields: Mapping[str, Any]) -> str:
    """Return the backbone's name; one that a file describes itself is checked with the rest of its description."""
    name = str(fields.get("backbone", "mobilenet"))
    return name if fields.get("architecture") is not None else check_backbone(name)


def written_card(card: EmbedderCard) -> str:
    """Return a card as the text of its file; ``read_card`` reads it back. Figures lie in a file of their own."""
    alignment, preparation, origin = card.alignment, card.preparation, card.origin
    fields = {
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "id_digest": card.id_digest or card.sha256,
        "embedder_id": card.embedder_id(),
        "format": card.format,
        "file": card.weights_path.name,
        "dim": card.dim,
        "alignment": {
            "name": alignment.name,
            "crop_px": alignment.crop_px,
            "points": None if alignment.points is None else [[float(x), float(y)] for x, y in alignment.points],
            "margin_px": alignment.margin_px,
        },
        "is_bgr": preparation.is_bgr,
        "is_standardised": preparation.is_standardised,
        "mean": list(preparation.mean),
        "scale": list(preparation.scale),
        "layout": card.layout,
        "output": card.output,
        "is_batched": card.is_batched,
        "licence": origin.licence,
        "licence_terms": origin.licence_terms,
        "licence_accepted_at": origin.licence_accepted_at,
        "source": origin.source,
        "recipe": origin.recipe,
        "added_at": origin.added_at,
        **({"backbone": card.backbone} if card.backbone else {}),
        **({} if card.architecture is None else {"architecture": card.architecture.as_dict()}),
    }
    return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_figures(fields: Mapping[str, Any], name: str, digest: str) -> dict[str, Figures]:
    """Return the figures of a card by way of embedding; percentages of LFW's View 2 become rates in [0, 1].

    Args:
        fields: ``{"single": {"operating_points": [{"fmr", "threshold", "n_non_mated"}…], "view2": {"accuracy", "se", "tar@…"},
            "measured_on": …}, "flip": …}``; ``view2`` (in per cent) and ``measured_on`` may be left out.
        name: The embedder's name.
        digest: What its id's digits are taken from.

    Raises:
        OperatingPointError: The points contradict themselves.
        KeyError: A field is missing; ``ValueError`` and ``TypeError`` where one has another form.
    """
    if not isinstance(fields, dict):
        raise ValueError(f"figures are given by way of embedding, not {fields!r}")
    found = {}
    for way in ("single", "flip"):
        if way not in fields:
            continue
        measured, embedder_id = fields[way], embedder_id_of(name, digest, flip=way == "flip")
        view2 = measured.get("view2") or {}
        points = tuple(
            OperatingPoint(float(point["threshold"]), float(point["fmr"]), embedder_id, int(point["n_non_mated"]))
            for point in measured["operating_points"]
        )
        found[way] = Figures(
            operating_points=OperatingPoints(points),
            accuracy=float(view2["accuracy"]) / 100 if view2 else None,
            standard_error=float(view2["se"]) / 100 if view2 else None,
            tar=tuple(
                (float(key.removeprefix("tar@")), float(value[0]) / 100, int(value[1]))
                for key, value in view2.items()
                if key.startswith("tar@")
            ),
            measured_on=str(measured.get("measured_on", "LFW")),
        )
    return found


@contextmanager
def card_errors(path: Path) -> Iterator[None]:
    """Turn whatever a malformed card causes into one error that names the file."""
    try:
        yield
    except KeyError as exc:
        raise CheckpointFormatError(f"the model card {path} lacks the field {exc}", path=str(path)) from exc
    except (OSError, ValueError, TypeError, AttributeError, IndexError, InputError, ModelError) as exc:
        raise CheckpointFormatError(f"the model card {path} is malformed: {exc}", path=str(path)) from exc


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no figure")


def _plain_name(name: str) -> str:
    if Path(name).name != name or name in (".", ".."):
        raise ValueError(f"file {name!r} does not lie beside the card")
    return name


def _alignment(name: str, fields: Mapping[str, Any]) -> Alignment:
    """Return a card's crop; one of five points under the standard's name where it is the standard, else under the embedder's."""
    given = fields.get("alignment")
    if given is not None:
        points = None if given["points"] is None else np.array(given["points"], dtype=np.float32)
        return Alignment(str(given["name"]), int(given["crop_px"]), points, int(given["margin_px"]))
    crop_px, points = int(fields["crop_px"]), np.array(fields["template"], dtype=np.float32)
    is_standard = crop_px == 112 and np.array_equal(points, np.array(ARCFACE_112, dtype=np.float32))
    return Alignment("arcface-112" if is_standard else f"{name}-{crop_px}", crop_px, points)


def triple(value: object) -> Triple:
    """Return one number a channel of a number or of three.

    Raises:
        ValueError: Neither, or not finite.
    """
    values = tuple(float(one) for one in value) if isinstance(value, list | tuple) else (float(str(value)),) * 3
    if len(values) != 3 or not all(math.isfinite(one) for one in values):
        raise ValueError(f"one number or three (red, green, blue), not {value!r}")
    return values[0], values[1], values[2]


def _preparation(fields: Mapping[str, Any]) -> Preparation:
    mean, scale = triple(fields["mean"]), triple(fields["scale"])
    if not isinstance(fields["mean"], list) or min(scale) <= 0:
        raise ValueError(f"mean {mean} or scale {scale} is out of range")
    return Preparation(bool(fields.get("is_bgr", False)), bool(fields.get("is_standardised", False)), mean, scale)


def _origin(fields: Mapping[str, Any], text_path: Path) -> Origin:
    return Origin(
        licence=str(fields.get("licence") or _licence(text_path)),
        licence_terms=str(fields.get("licence_terms") or ""),
        licence_accepted_at=fields.get("licence_accepted_at"),
        source=str(fields.get("source") or NOT_STATED),
        recipe=fields.get("recipe"),
        added_at=fields.get("added_at"),
    )


def _licence(text_path: Path) -> str:
    """Return the licence that the line ``Licence: …`` of the card for people names."""
    if not text_path.is_file():
        return NOT_STATED
    found = _LICENCE.search(text_path.read_text(encoding="utf-8"))
    return found.group(1) if found else NOT_STATED
