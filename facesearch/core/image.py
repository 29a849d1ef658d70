"""A decoded photograph.

It does not decode: see ``facesearch.imaging.decode``.
"""

from __future__ import annotations

from dataclasses import dataclass

from facesearch.core.arrays import Pixels, checked_pixels


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An upright RGB photograph and the digest of what it came from.

    Attributes:
        pixels: uint8 RGB, shape ``(H, W, 3)``, EXIF orientation applied, read-only.
        digest: SHA-256 (hex) of the encoded bytes; of shape, dtype and bytes for a picture that came as an array.
        source: Name of the file or other origin, for messages and provenance; empty when unknown.
    """

    pixels: Pixels
    digest: str
    source: str = ""

    def __post_init__(self) -> None:
        """Check and freeze the pixels."""
        object.__setattr__(self, "pixels", checked_pixels(self.pixels))

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def name(self) -> str:
        """The source, or the first digits of the digest where there is none."""
        return self.source or f"image {self.digest[:12]}"

    @property
    def origin(self) -> ImageOrigin:
        """What is known of the photograph without its pixels."""
        return ImageOrigin(self.digest, self.source, self.width, self.height)


@dataclass(frozen=True, slots=True)
class ImageOrigin:
    """A photograph without its pixels: what is left of it once its faces are found, a few hundred bytes.

    Attributes:
        digest: As in ``Image``.
        source: As in ``Image``.
        width: Columns of pixels.
        height: Rows of pixels.
    """

    digest: str
    source: str
    width: int
    height: int

    @property
    def name(self) -> str:
        """The source, or the first digits of the digest where there is none."""
        return self.source or f"image {self.digest[:12]}"
