"""Videos made for tests with OpenCV, and MP4 files edited byte by byte into what cameras make of them.

OpenCV's writer can neither turn a video nor change its frame rate; ISO/IEC 14496-12 says where an MP4 keeps both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


def write_video(path: Path, frames: Iterable[np.ndarray], *, fps: float = 25.0) -> Path:
    """Write RGB frames of one size as MPEG-4 (.mp4) or Motion JPEG (.avi)."""
    writer = None
    for frame in frames:
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*CODECS[path.suffix]), fps, size)
            assert writer.isOpened(), f"this OpenCV writes no {path.suffix}"
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    assert writer is not None, "a video needs a frame"
    writer.release()
    return path


def numbered(n_frames: int, *, size: tuple[int, int] = (64, 96)) -> list[np.ndarray]:
    """Return grey frames whose brightness tells their number, ``8 + 4 · number``, white in the top left corner; at most 57."""
    frames = []
    for number in range(n_frames):
        frame = np.full((*size, 3), 8 + 4 * number, np.uint8)
        frame[: size[0] // 4, : size[1] // 4] = 255
        frames.append(frame)
    return frames


def number_of(pixels: np.ndarray) -> int:
    """Return the number of a frame of ``numbered``, from its bottom right quarter; codecs come out up to 4 levels darker."""
    height, width = pixels.shape[:2]
    return round((float(pixels[height // 2 :, width // 2 :].mean()) - 6) / 4)


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the kind and payload of each box of a run of boxes."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", data, at + 8)[0], 16
        found.append((kind, data[at + header : at + size]))
        at += size
    return found


def joined(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(struct.pack(">I4s", 8 + len(payload), kind) + payload for kind, payload in parts)


def edited(data: bytes, where: Sequence[bytes], edit) -> bytes:
    """Return boxes with ``edit`` applied to the payload of the one at a path of kinds; None from ``edit`` removes the box."""
    parts, n_edited = [], 0
    for kind, payload in boxes(data):
        new = payload
        if kind == where[0]:
            n_edited += 1
            new = edit(payload) if len(where) == 1 else edited(payload, where[1:], edit)
        if new is not None:
            parts.append((kind, new))
    assert n_edited == 1, f"{n_edited} boxes {where[0]!r}"
    return joined(parts)


def turned(path: Path) -> Path:
    """Make an MP4 say that it is to be shown turned by a quarter to the right, as telephones do held upright."""

    def edit(payload: bytes) -> bytes:
        height = struct.unpack_from(">I", payload, 80)[0]
        matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, height, 0, 1 << 30)
        return payload[:40] + matrix + payload[76:]

    return _rewrite(path, edited(path.read_bytes(), (b"moov", b"trak", b"tkhd"), edit))


def timed(path: Path, runs: Sequence[tuple[int, int]]) -> Path:
    """Give an MP4's frames other durations: ``(frames, times as long)`` in runs. Its own index stays behind the pictures."""
    data = path.read_bytes()
    assert [kind for kind, _ in boxes(data)][-1] == b"moov", "offsets would move"

    def edit(payload: bytes) -> bytes:
        delta = struct.unpack_from(">I", payload, 12)[0]
        entries = b"".join(struct.pack(">II", count, times * delta) for count, times in runs)
        return payload[:4] + struct.pack(">I", len(runs)) + entries

    if any(kind == b"edts" for kind, _ in boxes(dict(boxes(dict(boxes(data))[b"moov"]))[b"trak"])):
        data = edited(data, (b"moov", b"trak", b"edts"), lambda _: None)  # else it would end where it ended before
    return _rewrite(path, edited(data, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"), edit))


def index_first(path: Path) -> Path:
    """Put an MP4's index before its pictures, as for streaming: such a file can be read as far as it came."""
    parts = boxes(path.read_bytes())
    moov = dict(parts)[b"moov"]
    shift = 8 + len(moov)

    def edit(payload: bytes) -> bytes:
        n_chunks = struct.unpack_from(">I", payload, 4)[0]
        offsets = struct.unpack_from(f">{n_chunks}I", payload, 8)
        return payload[:8] + struct.pack(f">{n_chunks}I", *(one + shift for one in offsets))

    moov = edited(moov, (b"trak", b"mdia", b"minf", b"stbl", b"stco"), edit)
    others = [part for part in parts if part[0] != b"moov"]
    return _rewrite(path, joined([others[0], (b"moov", moov), *others[1:]]))


def cut(path: Path, share: float) -> Path:
    """Keep the first part of a file's bytes."""
    data = path.read_bytes()
    return _rewrite(path, data[: round(len(data) * share)])


def without_frames(path: Path) -> Path:
    """Make an MP4's index say that there is not one frame."""
    data = path.read_bytes()
    stbl = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    for kind in (b"stts", b"stsc", b"stco"):
        data = edited(data, (*stbl, kind), lambda payload: payload[:4] + struct.pack(">I", 0))
    return _rewrite(path, edited(data, (*stbl, b"stsz"), lambda payload: payload[:4] + struct.pack(">II", 0, 0)))


def sound_only(path: Path) -> Path:
    """Make an MP4's only track one of sound."""
    hdlr = (b"moov", b"trak", b"mdia", b"hdlr")
    return _rewrite(path, edited(path.read_bytes(), hdlr, lambda payload: payload[:8] + b"soun" + payload[12:]))


def _rewrite(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
