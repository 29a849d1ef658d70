"""What somebody says of a model file that the file does not say itself: the crop it wants, its pixels, its licence.

The same names serve the options of ``models add``, the TOML file beside a model, and the recipes. It reads no model.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.core.errors import InputError, ModelDescriptionError
from facesearch.core.face import Alignment
from facesearch.embedding.backbones import NAMES
from facesearch.embedding.card import Preparation, Triple
from facesearch.embedding.card_file import ARCFACE_112, FORMATS, triple

CHANNELS = ("rgb", "bgr")
NORMALISATIONS = ("none", "fixed", "per-image")
LAYOUTS = ("nchw", "nhwc")
MAX_CROP_PX = 1024
"""Largest crop that a model may want: beyond it lie mistyped numbers, not face networks."""

_CHOICES = {"format": FORMATS, "channels": CHANNELS, "normalisation": NORMALISATIONS, "layout": LAYOUTS, "backbone": NAMES}
_NAMED_ALIGNMENT = re.compile(r"(arcface|facenet)-(\d{2,4})")


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of a model file; None where nothing is said.

    Attributes:
        format: One of ``FORMATS``; where unsaid the file's content and name tell.
        backbone: Architecture of a file of weights alone.
        alignment: ``"arcface-112"`` (five points), ``"facenet-160"`` (box), the same at another size, or a name for ``points``.
        points: Where the five landmarks belong in the crop: ten numbers as five pairs x, y.
        input_px: Side of the crop.
        margin_px: With a box: pixels of the crop, left and right together, beyond it.
        channels: ``"rgb"`` or ``"bgr"``.
        normalisation: ``"none"`` (0–255 as they are), ``"fixed"`` (``mean`` and ``scale``) or ``"per-image"``.
        mean: Subtracted from each channel.
        scale: What the differences are divided by.
        layout: ``"nchw"`` or ``"nhwc"``; where unsaid the shape tells.
        output: Name of the output that is the template.
        dim: Length of the vectors.
        licence: Of the weights.
        source: Who published them.
    """

    format: str | None = None
    backbone: str | None = None
    alignment: str | None = None
    points: tuple[tuple[float, float], ...] | None = None
    input_px: int | None = None
    margin_px: int | None = None
    channels: str | None = None
    normalisation: str | None = None
    mean: Triple | None = None
    scale: Triple | None = None
    layout: str | None = None
    output: str | None = None
    dim: int | None = None
    licence: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Check each value by itself."""
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ModelDescriptionError(f"{name} is one of {', '.join(allowed)}, not {value!r}", field=name)
        for name, least, most in (("input_px", 8, MAX_CROP_PX), ("dim", 1, 65_536), ("margin_px", 0, MAX_CROP_PX)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ModelDescriptionError(f"{name} lies in {least} … {most}, not {value}", field=name)
        if self.scale is not None and min(self.scale) <= 0:
            raise ModelDescriptionError(f"scale is what differences are divided by, so above 0, not {self.scale}", field="scale")
        if self.normalisation in ("none", "per-image") and (self.mean, self.scale) != (None, None):
            raise ModelDescriptionError(f"normalisation {self.normalisation!r} goes without mean and scale", field="normalisation")
        if self.points is not None and (len(self.points) != 5 or any(len(point) != 2 for point in self.points)):
            raise ModelDescriptionError("points are five pairs x, y in pixels of the crop", field="points")

    def overridden_by(self, other: Description) -> Description:
        """Return this with whatever the other says."""
        said = other.said()
        if said.get("normalisation") in ("none", "per-image"):
            said = {"mean": None, "scale": None, **said}
        elif self.normalisation in ("none", "per-image") and {"mean", "scale"} & said.keys():
            said = {"normalisation": "fixed", **said}
        return dataclasses.replace(self, **said)  # type: ignore[arg-type]

    def said(self) -> dict[str, object]:
        """Return what is said, by name."""
        return {one.name: value for one in dataclasses.fields(self) if (value := getattr(self, one.name)) is not None}

    def missing(self) -> list[str]:
        """Return what of the crop and its pixels is unsaid, as options."""
        missing = [] if self.alignment or self.points else ["--alignment arcface-112|facenet-160 (or --points)"]
        if self.channels is None:
            missing.append("--channels rgb|bgr")
        if self._way() is None:
            missing.append("--mean and --scale (or --normalisation none|per-image)")
        elif self._way() == "fixed":
            missing += [option for option, value in (("--mean", self.mean), ("--scale", self.scale)) if value is None]
        return missing

    def _way(self) -> str | None:
        return self.normalisation or ("fixed" if self.mean is not None or self.scale is not None else None)

    def preparation(self) -> Preparation:
        """Return what is done to the pixels; as they are, where nothing is said of them."""
        is_bgr = self.channels == "bgr"
        if self._way() == "fixed" and self.mean is not None and self.scale is not None:
            return Preparation(is_bgr, False, self.mean, self.scale)
        return Preparation(is_bgr, self._way() == "per-image")

    def crop(self, input_px: int | None) -> Alignment:
        """Return the crop.

        Args:
            input_px: Size that the file itself says; None where it takes any.

        Raises:
            ModelDescriptionError: The alignment is unsaid, unknown, or of another size than the file's.
        """
        if self.alignment is None and self.points is None:
            raise unsaid(["--alignment arcface-112|facenet-160, or --points"])
        size = self.input_px or input_px
        alignment = self._own_points(size) if self.points is not None else self._named(size)
        for px, whose in ((input_px, "the file takes"), (self.input_px, "input_px says")):
            if px is not None and px != alignment.crop_px:
                raise ModelDescriptionError(
                    f"{whose} pictures of {px}×{px} pixels, alignment {alignment.name} makes {alignment.crop_px} pixels",
                    field="alignment",
                )
        return alignment

    def _own_points(self, size: int | None) -> Alignment:
        if size is None:
            raise unsaid(["--input-px (side of the crop that the points lie in)"])
        try:
            return Alignment(self.alignment or f"own-{size}", size, np.array(self.points, dtype=np.float32))
        except InputError as exc:
            raise ModelDescriptionError(f"points: {exc}", field="points") from exc

    def _named(self, size: int | None) -> Alignment:
        found = _NAMED_ALIGNMENT.fullmatch(self.alignment or "")
        if found is None:
            raise ModelDescriptionError(
                f"alignment is arcface-112 or facenet-160 (or another size), or a name with points, not {self.alignment!r}",
                field="alignment",
            )
        px = int(found.group(2))
        if not 8 <= px <= MAX_CROP_PX:
            raise ModelDescriptionError(f"a crop has 8 … {MAX_CROP_PX} pixels, not {px}", field="alignment")
        if found.group(1) == "facenet":
            try:
                return Alignment(f"facenet-{px}", px, None, self.margin_px or 0)
            except InputError as exc:
                raise ModelDescriptionError(f"margin_px: {exc}", field="margin_px") from exc
        if self.margin_px:
            raise ModelDescriptionError(f"a margin goes with facenet-{px}, not with {self.alignment}", field="margin_px")
        return Alignment(f"arcface-{px}", px, arcface_points(px))


def arcface_points(px: int) -> np.ndarray:
    """Return ArcFace's five points on a crop of another size, as InsightFace scales them (``face_align.estimate_norm``).

    Args:
        px: A multiple of 112, or one of 128 (there the face keeps its place in a wider picture).

    Raises:
        ModelDescriptionError: Neither.
    """
    points = np.array(ARCFACE_112, dtype=np.float32)
    if px % 112 == 0:
        return points * np.float32(px / 112)
    if px % 128 == 0:
        return (points + np.array([8.0, 0.0], dtype=np.float32)) * np.float32(px / 128)
    raise ModelDescriptionError(
        f"arcface points are known for multiples of 112 and of 128 pixels, not {px}: give --points", field="alignment"
    )


def unsaid(missing: list[str]) -> ModelDescriptionError:
    """Return the error for what has to be said and was not."""
    return ModelDescriptionError(
        f"no recipe knows this file by its digest, and it does not say everything itself; say {', '.join(missing)} "
        "(all but the name also in a TOML file beside it, with _ for -)",
        missing=missing,
    )


def parse_description(fields: Mapping[str, object], *, where: str) -> Description:
    """Return a description of plain values.

    Args:
        fields: By the names of ``Description``.
        where: Where they come from, for messages.

    Raises:
        ModelDescriptionError: A name is unknown or a value has another form; names it.
    """
    known = {one.name for one in dataclasses.fields(Description)}
    unknown = fields.keys() - known
    if unknown:
        raise ModelDescriptionError(f"{where} has unknown names {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    values: dict[str, object] = {}
    for name, value in fields.items():
        try:
            values[name] = _parsed(name, value)
        except (TypeError, ValueError) as exc:
            raise ModelDescriptionError(f"{where}: {name} cannot be {value!r}: {exc}", field=name) from exc
    try:
        return Description(**values)  # type: ignore[arg-type]
    except ModelDescriptionError as exc:
        raise ModelDescriptionError(f"{where}: {exc.message}", **exc.context) from exc


def _parsed(name: str, value: object) -> object:
    if name in ("input_px", "margin_px", "dim"):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError("a whole number")
        return value
    if name in ("mean", "scale"):
        return triple(value)
    if name == "points":
        if not isinstance(value, list | tuple):
            raise TypeError("five pairs x, y")
        return tuple((float(x), float(y)) for x, y in value)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise TypeError("a text of printable letters")
    return value.strip()


def read_description(path: Path) -> Description:
    """Return the description that a TOML file holds.

    Raises:
        ModelDescriptionError: It cannot be read, is no TOML or says something unknown; names the file.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ModelDescriptionError(f"the description {path} cannot be read: {exc}", path=str(path)) from exc
    return parse_description(fields, where=f"the description {path}")
