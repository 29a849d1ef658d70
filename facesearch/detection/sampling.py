"""Area-averaged resampling of any rectangle of a photograph, through a table of running sums.

Each output pixel is the plain mean of the input pixels it touches ("adaptive average pooling"), as in facenet-pytorch, where the
weights come from; OpenCV gives border pixels a share and so other values. With running sums (Crow 1984, "Summed-area tables for
texture mapping") the cost depends on the size of the output only. No colour or value range is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Which input pixels each output pixel along one axis averages.

    Attributes:
        starts: int64, first input pixel.
        ends: int64, the one after the last; larger than its start.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> Bins:
        """Return the bins of some output pixels."""
        return Bins(self.starts[places], self.ends[places])

    @property
    def shares(self) -> NDArray[np.float32]:
        """One over the number of input pixels of each bin."""
        return np.reciprocal((self.ends - self.starts).astype(np.float32))


def area_bins(n_from: int | NDArray[np.int64], n_to: int) -> Bins:
    """Return the bins that take an axis of some pixels to another number of pixels, larger or smaller.

    Bin i runs from floor(i·n_from/n_to) to ceil((i+1)·n_from/n_to): neighbouring bins share a pixel where the border cuts it.

    Args:
        n_from: Input pixels, at least 1; or many lengths, shape ``(N, 1)``, giving bins of shape ``(N, n_to)``.
        n_to: Output pixels, at least 1.
    """
    places = np.arange(n_to, dtype=np.int64)
    return Bins(places * n_from // n_to, -(-(places + 1) * n_from // n_to))


class AreaSampler:
    """Resamples parts of one photograph.

    Holds 16 bytes a pixel of the photograph while it lives. Safe to use from several threads.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
    """

    def __init__(self, pixels: Pixels) -> None:
        # Four channels, because NumPy gathers 16-byte items several times faster than 12-byte ones. The sums wrap around in
        # int32 beyond 8 million white pixels, which differences undo as long as one output pixel averages fewer than that.
        sums = cv2.integral(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), sdepth=cv2.CV_32S)
        self._sums = np.ascontiguousarray(sums).view(np.complex128)[..., 0]
        self.height, self.width = pixels.shape[:2]

    def grid(self, rows: Bins, cols: Bins) -> NDArray[np.float32]:
        """Return the means over a grid of bins.

        Args:
            rows: Bins of rows, H of them.
            cols: Bins of columns, W of them.

        Returns:
            float32 ``(H, W, 3)`` in [0, 255].
        """
        first, after = int(cols.starts[0]), int(cols.ends[-1]) + 1
        lower, upper = _as_sums(self._sums[rows.ends, first:after]), _as_sums(self._sums[rows.starts, first:after])
        strips = np.subtract(lower, upper, out=lower).view(np.complex128)[..., 0]
        right, left = strips.take(cols.ends - first, axis=1), strips.take(cols.starts - first, axis=1)
        return _means(_as_sums(right), _as_sums(left), rows.shares[:, None] * cols.shares)

    def crops(self, places: NDArray[np.int64], crop_px: int) -> NDArray[np.float32]:
        """Return many rectangles resampled to squares of one size.

        Args:
            places: ``(N, 4)`` rows ``(left, top, right, bottom)`` inside the photograph, right and bottom excluded, none empty.
            crop_px: Side of a square.

        Returns:
            float32 ``(N, crop_px, crop_px, 3)`` in [0, 255].
        """
        cols = area_bins(places[:, 2:3] - places[:, 0:1], crop_px)
        rows = area_bins(places[:, 3:4] - places[:, 1:2], crop_px)
        pitch = self.width + 1
        lefts, rights = ((edge + places[:, 0:1])[:, None, :] for edge in (cols.starts, cols.ends))
        tops, bottoms = (((edge + places[:, 1:2]) * pitch)[:, :, None] for edge in (rows.starts, rows.ends))
        flat = self._sums.reshape(-1)
        total = _as_sums(flat.take(bottoms + rights))
        total -= _as_sums(flat.take(bottoms + lefts))
        rest = _as_sums(flat.take(tops + rights))
        rest -= _as_sums(flat.take(tops + lefts))
        return _means(total, rest, rows.shares[:, :, None] * cols.shares[:, None, :])


def _as_sums(packed: NDArray[Any]) -> NDArray[np.int32]:
    """Return gathered 16-byte items as the four int32 sums each holds, on a new last axis."""
    return np.ascontiguousarray(packed)[..., None].view(np.int32)


def _means(larger: NDArray[np.int32], smaller: NDArray[np.int32], shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (larger − smaller) · shares of the three colours."""
    sums = np.subtract(larger, smaller, out=larger)[..., :3].astype(np.float32)
    sums *= shares[..., None]
    return sums
