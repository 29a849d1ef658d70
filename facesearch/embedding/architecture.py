"""What a network for faces is made of, as plain values: backbone, the layer that is pooled, the head, and the crop it wants.

It builds nothing: see ``facesearch.embedding.embedding_network``. Importing this imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from facesearch.core.errors import InputError, ModelDescriptionError
from facesearch.core.face import Alignment
from facesearch.embedding.backbones import TRAINABLE
from facesearch.embedding.card import Preparation

POOLINGS = ("flatten", "mean", "sum", "max", "gem", "rmac")
"""What turns a feature map into one vector; see ``facesearch.embedding.heads``."""

MAX_DIM = 8192
"""Longest vector that is taken for a template."""

MIN_WIDTH, MAX_WIDTH = 0.125, 2.0
"""Share of the published number of channels that a ``mobilenet`` may have."""


@dataclass(frozen=True, slots=True, eq=False)
class Architecture:
    """A network for faces without its weights.

    Attributes:
        backbone: One of ``facesearch.embedding.backbones.TRAINABLE``.
        dim: Length of the vectors.
        alignment: The crop it wants.
        preparation: What is done to the crop's pixels.
        pooling: One of ``POOLINGS``.
        layer: Stage whose feature map is pooled; None for the last. Later stages are not built.
        is_projected: Whether a linear layer follows the pooling; without one ``dim`` is the number of pooled values.
        has_norms: Whether a ``mobilenet`` has batch norms, as training it from random weights needs; those of the shipped network
            are folded away. The other backbones are as they are published.
        width: Share of the published number of channels of a ``mobilenet``.
    """

    backbone: str
    dim: int
    alignment: Alignment
    preparation: Preparation
    pooling: str = "flatten"
    layer: str | None = None
    is_projected: bool = True
    has_norms: bool = False
    width: float = 1.0

    def __post_init__(self) -> None:
        """Check the values; whether the backbone has such a layer shows when it is built.

        Raises:
            ModelDescriptionError: A value is unknown or out of range.
        """
        for name, value, allowed in (("backbone", self.backbone, TRAINABLE), ("pooling", self.pooling, POOLINGS)):
            if value not in allowed:
                raise ModelDescriptionError(f"{name} is one of {', '.join(allowed)}, not {value!r}", field=name)
        if not 2 <= self.dim <= MAX_DIM:
            raise ModelDescriptionError(f"dim lies in 2 … {MAX_DIM}, not {self.dim}", field="dim")
        if not MIN_WIDTH <= self.width <= MAX_WIDTH:
            raise ModelDescriptionError(f"width lies in {MIN_WIDTH} … {MAX_WIDTH}, not {self.width}", field="width")
        if self.backbone != "mobilenet" and (self.has_norms or self.width != 1.0):
            raise ModelDescriptionError(f"norms and width are mobilenet's, {self.backbone} is as published", field="width")

    @property
    def input_px(self) -> int:
        """Side of the crop in pixels."""
        return self.alignment.crop_px

    def as_dict(self) -> dict[str, object]:
        """Return the architecture as plain values; ``parse_architecture`` reads them back."""
        points = self.alignment.points
        return {
            "backbone": self.backbone,
            "dim": self.dim,
            "pooling": self.pooling,
            "layer": self.layer,
            "is_projected": self.is_projected,
            "has_norms": self.has_norms,
            "width": self.width,
            "alignment": {
                "name": self.alignment.name,
                "crop_px": self.alignment.crop_px,
                "points": None if points is None else [[float(x), float(y)] for x, y in points],
                "margin_px": self.alignment.margin_px,
            },
            "is_bgr": self.preparation.is_bgr,
            "is_standardised": self.preparation.is_standardised,
            "mean": list(self.preparation.mean),
            "scale": list(self.preparation.scale),
        }

    def text(self) -> str:
        """Return the architecture as one line of JSON, the same for the same architecture."""
        return json.dumps(self.as_dict(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        """Return whether another is the same network of the same crop."""
        return isinstance(other, Architecture) and self.text() == other.text()

    def __hash__(self) -> int:
        """Return a hash that equal architectures share."""
        return hash(self.text())

    def differences(self, other: Architecture) -> tuple[str, ...]:
        """Return what differs, as ``name: here, not there``."""
        mine, theirs = self.as_dict(), other.as_dict()
        return tuple(f"{name}: {mine[name]}, not {theirs[name]}" for name in mine if mine[name] != theirs[name])


def parse_architecture(fields: Mapping[str, Any] | str, *, where: str) -> Architecture:
    """Return the architecture of plain values, or of their JSON.

    Args:
        fields: As ``Architecture.as_dict`` makes them.
        where: Where they come from, for messages.

    Raises:
        ModelDescriptionError: A field is missing, unknown or out of range.
    """
    try:
        given: Mapping[str, Any] = json.loads(fields) if isinstance(fields, str) else fields
        crop = given["alignment"]
        points = None if crop["points"] is None else np.array(crop["points"], dtype=np.float32)
        mean, scale = (tuple(float(one) for one in given[name]) for name in ("mean", "scale"))
        if len(mean) != 3 or len(scale) != 3 or min(scale) <= 0:
            raise ValueError(f"mean {mean} or scale {scale} is out of range")
        return Architecture(
            backbone=str(given["backbone"]),
            dim=int(given["dim"]),
            alignment=Alignment(str(crop["name"]), int(crop["crop_px"]), points, int(crop["margin_px"])),
            preparation=Preparation(bool(given["is_bgr"]), bool(given["is_standardised"]), mean, scale),
            pooling=str(given["pooling"]),
            layer=None if given["layer"] is None else str(given["layer"]),
            is_projected=bool(given["is_projected"]),
            has_norms=bool(given["has_norms"]),
            width=float(given["width"]),
        )
    except KeyError as exc:
        raise ModelDescriptionError(f"the architecture of {where} lacks the field {exc}") from exc
    except (TypeError, ValueError, InputError) as exc:
        raise ModelDescriptionError(f"the architecture of {where} cannot be read: {exc}") from exc
    except ModelDescriptionError as exc:
        raise ModelDescriptionError(f"the architecture of {where}: {exc.message}", **exc.context) from exc


def default_architecture(backbone: str, **changes: Any) -> Architecture:
    """Return a backbone with the head, crop and pixels it was published with, at 128 numbers.

    Args:
        backbone: One of ``TRAINABLE``.
        **changes: Fields that are to be otherwise.

    Raises:
        ModelDescriptionError: There is no such backbone, or a change is out of range.
    """
    from facesearch.embedding.card_file import ARCFACE_112
    from facesearch.embedding.recipes import load_recipe

    fields: dict[str, Any] = {"backbone": backbone, "dim": 128, "pooling": "mean"}
    if backbone in ("dlib-resnet-29", "inception-resnet-v1"):
        said = load_recipe("dlib" if backbone == "dlib-resnet-29" else "facenet-casia-webface").files[0].description
        fields |= {"alignment": said.crop(None), "preparation": said.preparation()}
        fields["dim"] = 128 if backbone == "dlib-resnet-29" else 512
    else:
        fields["alignment"] = Alignment("arcface-112", 112, np.array(ARCFACE_112, dtype=np.float32))
        if backbone == "mobilenet":
            fields |= {"pooling": "flatten", "preparation": Preparation(False, False, (127.5,) * 3, (128.0,) * 3)}
        else:  # what torchvision's weights were trained with, on pixels 0–255
            fields["preparation"] = Preparation(False, False, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    return Architecture(**{**fields, **changes})
