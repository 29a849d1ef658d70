"""Video files as frames with the time they are shown at (OpenCV with FFmpeg).

It finds no faces and writes no video. Frames come upright: rotations that the container states are made by OpenCV.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.errors import VideoDecodeError
from facesearch.core.image import Image
from facesearch.core.video import VideoFrame, VideoInfo, VideoReading, checked_sample_rate, frame_digest
from facesearch.imaging.sources import DecodeLimits

DECODE_THREADS = 1
"""Threads of the video's decoder: it runs beside the networks, which want the cores more."""

_CUT_FRAMES = 1.5
"""Missing so many frames' time at the end, a file counts as cut; less is how containers round."""

_HASH_BYTES = 1 << 20
_HEAD_BYTES = 1024
_TS_PACKET = 188
_BOX_KINDS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp")
_SIGNATURES = (
    *(b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"OggS", b".RMF", b"DKIF", b"YUV4MPEG2 ", b"\x06\x0e+4"),
    *(b"\x00\x00\x01", b"\x00\x00\x00\x01"),
)
"""Beginnings of Matroska/WebM, FLV, ASF/WMV, Ogg, RealMedia, IVF, Y4M, MXF, MPEG streams and H.264/H.265 streams."""


class VideoFile:
    """A video file, open for reading; implements ``core.video.VideoReader``. A context manager; for one thread at a time.

    Args:
        path: The file.
        limits: ``max_pixels`` bounds a frame; a video's bytes are not bounded, since they are read in pieces.

    Raises:
        VideoDecodeError: There is no such file, or it holds no video that can be read.
        ImageTooLargeError: Its frames are larger than ``limits`` allow.
    """

    def __init__(self, path: str | os.PathLike[str], *, limits: DecodeLimits | None = None) -> None:
        name = os.fspath(path)
        file, digest = _checked_file(name)
        self._capture = _opened(file, name)
        self._sampled = False
        self._n_frames = self._n_sampled = 0
        self._end_s = 0.0
        self._info = VideoInfo(
            source=str(file),
            digest=digest,
            width=int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=_positive(self._capture.get(cv2.CAP_PROP_FPS)),
            n_frames=int(_positive(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))),
        )
        (limits or DecodeLimits()).check_pixels((self._info.width, self._info.height), name)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def info(self) -> VideoInfo:
        """What the container says."""
        return self._info

    @property
    def reading(self) -> VideoReading:
        """What was read so far; complete when ``frames`` has ended."""
        frame_s = 1.0 / self._info.fps if self._info.fps else 0.0
        # Either sign alone misleads: some containers only estimate the number of frames, and a last frame may be shown for long.
        is_short = self._end_s + _CUT_FRAMES * frame_s < self._info.duration_s
        is_cut = is_short and self._n_frames + 1 < self._info.n_frames
        return VideoReading(self._n_frames, self._n_sampled, self._end_s, is_cut)

    def frames(self, sample_rate: float) -> Iterator[VideoFrame]:
        """Yield the frames to look at, by rising time; can be asked for once.

        The first frame, then of each step of ``1 / sample_rate`` seconds the first frame shown in it: frames are chosen by the
        container's time stamps, so a changing frame rate changes nothing. Frames between are decoded, as later ones need them, but
        not converted.

        Args:
            sample_rate: Frames wanted a second of video.

        Raises:
            VideoDecodeError: Not one frame can be read, or the frames were asked for before.
        """
        rate = checked_sample_rate(sample_rate)
        if self._sampled:
            raise VideoDecodeError(f"{self._info.source}: the frames were read already; open the video again")
        self._sampled = True
        return self._frames(rate)

    def frames_at(self, times_s: Iterable[float]) -> Iterator[VideoFrame]:
        """Yield the frame shown at each time, by rising time; times past the last readable frame yield nothing.

        Args:
            times_s: In seconds from the first frame, as ``VideoFrame.time_s`` gave them.
        """
        if not self._n_frames and self._capture.grab():
            self._advance()
        for wanted in sorted(set(times_s)):
            if wanted - self._end_s > _SEEK_FROM_S:
                self._seek(wanted)
            while self._end_s < wanted - _SAME_TIME_S:
                if not self._capture.grab():
                    return
                self._advance()
            yield self._frame(self._end_s)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._capture.release()

    def _frames(self, rate: float) -> Iterator[VideoFrame]:
        step = -1
        while self._capture.grab():
            time_s = self._advance()
            # The small shift keeps a frame that is due exactly now out of the step before, however its time was rounded.
            due = math.floor((time_s + _SAME_TIME_S) * rate)
            if due > step:
                step = due
                self._n_sampled += 1
                yield self._frame(time_s)
        if not self._n_frames:
            raise VideoDecodeError(f"{self._info.source}: the video has no frame that can be read", source=self._info.source)

    def _advance(self) -> float:
        """Return the time of the frame just taken from the file, never before that of the frame before."""
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if not self._n_frames:
            self._start_s = time_s if math.isfinite(time_s) else 0.0
        time_s -= self._start_s
        if self._n_frames and not time_s > self._end_s:
            # Streams without time stamps, and broken ones: the frame follows the one before by the average.
            time_s = self._end_s + 1.0 / (self._info.fps or 25.0)
        self._n_frames += 1
        self._end_s = time_s
        return time_s

    def _seek(self, wanted_s: float) -> None:
        """Go to a frame some seconds before a time, as far as the container knows where that is; else begin anew."""
        self._capture.set(cv2.CAP_PROP_POS_MSEC, 1000.0 * (self._start_s + wanted_s - _SEEK_BEFORE_S))
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0 - self._start_s if self._capture.grab() else math.inf
        if not 0.0 <= time_s <= wanted_s:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            time_s = 0.0
            if not self._capture.grab():
                time_s = math.inf
        self._end_s = time_s

    def _frame(self, time_s: float) -> VideoFrame:
        found, bgr = self._capture.retrieve()
        if not found:
            raise VideoDecodeError(f"{self._info.source}: the frame at {time_s:.3f} s cannot be decoded", source=self._info.source)
        pixels: Pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        pixels.setflags(write=False)
        origin = f"{self._info.source}@{time_s:.3f}s"
        return VideoFrame(time_s, Image(pixels, frame_digest(self._info.digest, time_s), origin))


def video_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 (hex) of a video file.

    Raises:
        VideoDecodeError: There is no such file, or it does not begin like a video.
    """
    return _checked_file(os.fspath(path))[1]


_SEEK_FROM_S = 10.0
_SEEK_BEFORE_S = 2.0
"""Frames farther away than the first are not decoded one by one; the second leaves room for containers with rough counts."""

_SAME_TIME_S = 5e-4
"""Times closer than half a millisecond are the same: OpenCV gives milliseconds, containers count in fractions of their own."""


def _checked_file(name: str) -> tuple[Path, str]:
    """Return a file's absolute path and the SHA-256 of its bytes, after checking that it begins like a video.

    FFmpeg alone would take text for a video of its letters, and follow a playlist to other files.
    """
    try:
        file = Path(name).absolute()
        if file.is_dir():
            raise VideoDecodeError(f"{name} is a folder, not a video", source=name)
        if file.exists() and not file.is_file():
            raise VideoDecodeError(f"{name} is no file: a video is read from a file", source=name)
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            if not head:
                raise VideoDecodeError(f"{name} is empty (0 bytes)", source=name)
            if not _begins_like_video(head):
                raise VideoDecodeError(
                    f"{name} is no video: it begins like none of MP4, MOV, AVI, MKV, WebM, MPEG, TS, FLV, WMV and Ogg", source=name
                )
            stream.seek(0)
            sha = hashlib.sha256()
            while part := stream.read(_HASH_BYTES):
                sha.update(part)
    except FileNotFoundError as exc:
        raise VideoDecodeError(f"{name}: there is no such file", source=name) from exc
    except PermissionError as exc:
        raise VideoDecodeError(f"{name}: no permission to read it", source=name) from exc
    except OSError as exc:
        raise VideoDecodeError(f"{name} cannot be read: {exc.strerror or exc}", source=name) from exc
    except ValueError as exc:  # a NUL in the path
        raise VideoDecodeError(f"{name!r} cannot be read: {exc}", source=name) from exc
    return file, sha.hexdigest()


def _begins_like_video(head: bytes) -> bool:
    if head.startswith(_SIGNATURES) or head[4:8] in _BOX_KINDS:
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    # Transport streams have a sync byte every 188 bytes, on discs behind four more bytes each.
    return any(
        len(head) > start + 2 * size and all(head[start + turn * size] == 0x47 for turn in range(3))
        for start, size in ((0, _TS_PACKET), (4, _TS_PACKET + 4))
    )


def _opened(file: Path, name: str) -> cv2.VideoCapture:
    # FFmpeg writes its complaints to stderr past every logger; what matters of them is in the errors raised here.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        options = [cv2.CAP_PROP_N_THREADS, DECODE_THREADS]
        capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, options)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise VideoDecodeError(
            f"{name} holds no video that can be read: it is damaged, was cut before its index was written, or has sound only",
            source=name,
        )
    return capture


def _positive(value: float) -> float:
    """Return a figure of the container, 0 where it has none (negative, NaN or absurd)."""
    return float(value) if math.isfinite(value) and 0.0 < value < 1e9 else 0.0
