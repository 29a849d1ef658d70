"""What is known of an embedder: its file, the crop and pixels it wants, its licence, and what was measured of it.

Values only: reading cards from disk is ``card_file``'s work, finding them ``registry``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import CheckpointNotFoundError, OperatingPointError, UncalibratedEmbedderError
from facesearch.core.face import Alignment
from facesearch.embedding.checkpoint import verify_digest
from facesearch.embedding.scales import F32_ALONE, CardPrecisions
from facesearch.embedding.score_shares import ScoreShares

if TYPE_CHECKING:
    from facesearch.embedding.architecture import Architecture

Triple = tuple[float, float, float]
"""One value a channel, red, green, blue."""

DIGEST_DIGITS = 12
"""Digits of the digest in an embedder id."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of an embedder with one way of embedding.

    Attributes:
        operating_points: Thresholds with the error rates they were set for.
        accuracy: On LFW's View 2, mean over ten folds, in [0, 1]; None where it was measured elsewhere.
        standard_error: Of that mean; None without one.
        tar: ``(FMR, TAR, mated pairs accepted)`` on View 2, rates in [0, 1].
        measured_on: The photographs behind the operating points.
    """

    operating_points: OperatingPoints
    accuracy: float | None = None
    standard_error: float | None = None
    tar: tuple[tuple[float, float, int], ...] = ()
    measured_on: str = "LFW"

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
            "measured_on": self.measured_on,
        }


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to a crop's RGB values (0–255) before a network sees them.

    Attributes:
        is_bgr: Blue first.
        is_standardised: Each picture brought to mean 0 and standard deviation 1 over all its values; no mean and scale then.
        mean: Subtracted, red, green, blue.
        scale: What the differences are divided by, red, green, blue; all above 0.
    """

    is_bgr: bool = False
    is_standardised: bool = False
    mean: Triple = (0.0, 0.0, 0.0)
    scale: Triple = (1.0, 1.0, 1.0)

    def __str__(self) -> str:
        """Return it in words."""
        order = "BGR" if self.is_bgr else "RGB"
        if self.is_standardised:
            return f"{order}, each picture standardised"
        if (self.mean, self.scale) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
            return f"{order} 0–255"
        return f"{order}, (x − {_told(self.mean)}) / {_told(self.scale)}"


def _told(values: Triple) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else str([round(value, 4) for value in values])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an embedder came from and on what terms.

    Attributes:
        licence: Of the weights, an SPDX identifier or a few words; ``"not stated"`` where nobody said.
        licence_terms: What the licence means for whoever uses them, in plain words; empty where nobody said.
        licence_accepted_at: When somebody accepted a licence that is not open, UTC in ISO 8601; None where nobody had to.
        source: Who published the file, and where.
        recipe: Name of the recipe it was added by, unaltered; None for others.
        added_at: When it came into the models folder, UTC in ISO 8601; None for embedders of the package.
    """

    licence: str = "not stated"
    licence_terms: str = ""
    licence_accepted_at: str | None = None
    source: str = "not stated"
    recipe: str | None = None
    added_at: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbedderCard:
    """What is known of one embedder.

    Attributes:
        name: Lower-case letters, digits, ``-`` and ``_``.
        version: Rises with each release of weights under this name.
        sha256: Of the file with the weights, lower-case hex.
        dim: Length of the vectors.
        alignment: The crop it wants.
        preparation: What is done to the crop's pixels.
        weights_path: The file with the weights.
        text_path: The card for people (Markdown); None where there is none and ``text`` makes one.
        format: ``"safetensors"``, ``"onnx"``, ``"tensorflow"``, ``"torchscript"``, ``"torch-state"`` or ``"dlib"``.
        backbone: Name of its architecture, for files that hold weights alone; empty for others.
        layout: Of a graph's input, ``"nchw"`` or ``"nhwc"``.
        output: Name of a graph's output; None for the only one.
        is_batched: Whether it takes several crops at once.
        origin: Where it came from, and its licence.
        figures: By way of embedding, ``"single"`` and ``"flip"``, those that were measured.
        id_digest: What an embedder id's digits are taken from: ``sha256``, or a digest of that and of what the user said about the
            crop and its pixels, since another crop makes another embedder of the same weights.
        precisions: In which precisions its figures hold, and its scales for int8.
        score_shares: By way of embedding, how mated and non-mated scores are spread; empty where nobody counted them.
        architecture: What a file of weights says of its own network; None for files that say nothing.
        is_loose: Whether it was named by its path, and lies in no models folder.
    """

    name: str
    version: int
    sha256: str
    dim: int
    alignment: Alignment
    preparation: Preparation
    weights_path: Path
    text_path: Path | None = None
    format: str = "safetensors"
    backbone: str = "mobilenet"
    layout: str = "nchw"
    output: str | None = None
    is_batched: bool = True
    origin: Origin = Origin()
    figures: Mapping[str, Figures] = field(default_factory=dict)
    id_digest: str = ""
    precisions: CardPrecisions = F32_ALONE
    score_shares: Mapping[str, ScoreShares] = field(default_factory=dict)
    architecture: Architecture | None = None
    is_loose: bool = False

    @property
    def mean(self) -> Triple:
        """Subtracted from each channel, RGB, 0–255."""
        return self.preparation.mean

    @property
    def scale(self) -> float:
        """What the difference is divided by, where that is one number for all channels; else red's."""
        return self.preparation.scale[0]

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.origin.licence

    @property
    def is_calibrated(self) -> bool:
        """Whether there are operating points for any way of embedding."""
        return bool(self.figures)

    def embedder_id(self, *, flip: bool = False) -> str:
        """Return ``<name>@<12 hex digits>``, with ``+flip`` for flip-averaged vectors."""
        return embedder_id_of(self.name, self.id_digest or self.sha256, flip=flip)

    def recipe_text(self) -> str:
        """Return everything but the weights that a vector depends on, as one line: crops and vectors are found again by it."""
        points = None if self.alignment.points is None else self.alignment.points.round(4).tolist()
        crop = f"{self.alignment.crop_px}|{points}|{self.alignment.margin_px}"
        own = "" if self.architecture is None else f"|{self.architecture.text()}"
        return f"{self.format}|{self.backbone}|{self.layout}|{self.output}|{self.preparation!r}|{crop}{own}"

    def operating_points(self, *, flip: bool = False) -> OperatingPoints:
        """Return the thresholds measured of this embedder.

        Raises:
            UncalibratedEmbedderError: None were ever measured.
            OperatingPointError: None were measured for this way of embedding.
        """
        way = "flip" if flip else "single"
        if not self.figures:
            raise uncalibrated(self.name, self.weights_path if self.is_loose else None)
        if way not in self.figures:
            raise OperatingPointError(f"{self.name} was published without thresholds for {way} vectors", embedder=self.name)
        return self.figures[way].operating_points

    def text(self) -> str:
        """Return the card for people, Markdown.

        Raises:
            CheckpointNotFoundError: It is missing.
        """
        if self.text_path is None:
            return described(self)
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
            "format": self.format,
            "dim": self.dim,
            "crop_px": self.alignment.crop_px,
            "alignment": self.alignment.name,
            "input": str(self.preparation),
            "licence": self.licence,
            "licence_terms": self.origin.licence_terms,
            "licence_accepted_at": self.origin.licence_accepted_at,
            "source": self.origin.source,
            "recipe": self.origin.recipe,
            "is_calibrated": self.is_calibrated,
            "precisions": sorted(self.precisions.measured),
            "architecture": None if self.architecture is None else self.architecture.as_dict(),
            "lfw": {way: figures.as_dict() for way, figures in self.figures.items()},
        }


def embedder_id_of(name: str, digest: str, *, flip: bool = False) -> str:
    """Return the id of an embedder by its name and the digest that its id is made of."""
    return f"{name}@{digest[:DIGEST_DIGITS]}{'+flip' if flip else ''}"


def uncalibrated(name: str, file: Path | None = None) -> UncalibratedEmbedderError:
    """Return the error for a decision asked of an embedder that nobody measured.

    Args:
        name: Of the embedder.
        file: Its weights, where they lie outside the models folder.
    """
    measure = f"facesearch models calibrate {name} --images DIR (people in folders)"
    how = (
        f"measure it with: {measure}"
        if file is None
        else f"export it with thresholds (facesearch train export RUN -o {file.name} --calibrate STORE), or add it and measure it: "
        f"facesearch models add {file} --name {name}, then {measure}, and use it by its name"
    )
    return UncalibratedEmbedderError(
        f"nobody has measured which score of embedder {name!r} means the same person: comparing and searching work, "
        f"deciding does not; {how}",
        embedder=name,
    )


def described(card: EmbedderCard) -> str:
    """Return a card for people, made of what the card for programs says."""
    origin, alignment = card.origin, card.alignment
    crop = f"{alignment.crop_px}×{alignment.crop_px} pixels, alignment {alignment.name}"
    if alignment.points is None:
        crop += f" (the detector's box with a margin of {alignment.margin_px} pixels of the crop)"
    rows = [
        ("embedder id", f"`{card.embedder_id()}`"),
        ("file", f"`{card.weights_path.name}`, {card.format}, SHA-256 `{card.sha256}`"),
        ("source", origin.source),
        ("input", f"{crop}; {card.preparation}"),
        ("output", f"{card.dim} numbers, brought to unit L2 norm"),
    ]
    if origin.licence_accepted_at is not None:
        rows.append(("licence accepted", origin.licence_accepted_at))
    lines = [
        f"# Model card: {card.name}",
        "",
        f"Licence: **{origin.licence}**. {origin.licence_terms}".rstrip(),
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in rows]
    for way, figures in card.figures.items():
        lines += ["", f"## Measured on {figures.measured_on}, {way} vectors", ""]
        if figures.accuracy is not None:
            error = "" if figures.standard_error is None else f" ± {100 * figures.standard_error:.2f}"
            lines += [f"LFW View 2: {100 * figures.accuracy:.2f}{error} %", ""]
        lines += ["| FMR | threshold | non-mated comparisons |", "|---|---|---|"]
        lines += [f"| {point.fmr:g} | {point.threshold:.4f} | {point.n_non_mated:,} |" for point in figures.operating_points]
    if not card.figures:
        lines += ["", f"Not calibrated: {uncalibrated(card.name).message}."]
    return "\n".join(lines)
