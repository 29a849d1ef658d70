"""Vectors of LFW's photographs by every system, kept in .bench/peers-cache: made once, a hundred photographs at a time.

``ours`` runs under this project's environment: it finds the faces with our detector, embeds them with our embedder, and cuts the
crops that the peers' networks want. ``SYSTEM own|ours`` runs under the peers' environment: it embeds its own crops, or those of
ours. Both go on where they were stopped. The list is View 2's photographs, then those of ``peopleDevTest.txt`` that are not among
them. It computes no rate: see ``peers``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".bench" / "peers-cache"
CHUNK = 128
"""Photographs a file: what an interrupted run loses."""

OUR_MARGIN_PX = 32
"""Margin of our crops for FaceNet's network, as our recipe has it (chosen on View 1); facenet-pytorch's own default is none."""

CROP_PX = {"arcface-112": 112, "box-160": 160, "dlib-150": 150}


def listed(lfw: Path) -> tuple[list[str], int]:
    """Return the photographs relative to LFW's folder of images, and how many of them are View 2's, which come first."""
    view2 = _pairs_photographs(lfw / "pairs.txt")
    others = _people_photographs(lfw / "peopleDevTest.txt") - view2
    return sorted(view2) + sorted(others), len(view2)


def _pairs_photographs(file: Path) -> set[str]:
    found: set[str] = set()
    for line in file.read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 3:
            found |= {_path(fields[0], fields[1]), _path(fields[0], fields[2])}
        elif len(fields) == 4:
            found |= {_path(fields[0], fields[1]), _path(fields[2], fields[3])}
    return found


def _people_photographs(file: Path) -> set[str]:
    rows = [line.split() for line in file.read_text().splitlines()[1:]]
    return {_path(row[0], number) for row in rows if len(row) == 2 for number in range(1, int(row[1]) + 1)}


def _path(name: str, number: str | int) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def read_rgb(path: Path) -> np.ndarray:
    """Return a photograph as RGB uint8."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def vectors(system: str, crops: str, n: int) -> np.ndarray:
    """Return the vectors that are there, float32 ``(M, D)`` with M at most ``n``: up to the first photograph not embedded yet.

    A row of NaN is a failure to acquire.
    """
    found = []
    for start in range(0, n, CHUNK):
        file = _chunk_file(system, crops, start)
        if not file.exists():
            break
        found.append(np.load(file))
    return np.concatenate(found)[:n] if found else np.zeros((0, 0), dtype=np.float32)


def _chunk_file(system: str, crops: str, start: int) -> Path:
    return CACHE / "vectors" / f"{system}-{crops}" / f"{start:06d}.npy"


def embed_all(system: str, crops: str, n: int, embedded: Callable[[int], np.ndarray | None], *, limit: int | None = None) -> None:
    """Embed what is not there yet.

    Args:
        system: Name of the system.
        crops: ``own`` or ``ours``.
        n: Number of photographs listed.
        embedded: Number of a photograph to its unit vector, None for a failure to acquire.
        limit: Photographs to get to; None for all.
    """
    for start in range(0, min(n, limit or n), CHUNK):
        file = _chunk_file(system, crops, start)
        if file.exists():
            continue
        rows = [embedded(number) for number in range(start, min(n, start + CHUNK))]
        found = [row for row in rows if row is not None]
        width = found[0].size if found else 1
        table = np.full((len(rows), width), np.nan, dtype=np.float32)
        for place, row in enumerate(rows):
            if row is not None:
                table[place] = row
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as stream:
            np.save(stream, table)
        part.replace(file)
        print(f"{system} {crops}: {start + len(rows)} of {n}", flush=True)


def embed_peer(system: str, crops: str, lfw: Path, limit: int | None) -> None:
    """Embed with a peer; runs under its environment."""
    from benchmarks.peer_systems import CROPS, SYSTEMS

    photographs, _ = listed(lfw)
    peer = SYSTEMS[system]()
    if crops == "own":

        def embedded(number: int) -> np.ndarray | None:
            crop = peer.find(read_rgb(lfw / "images" / photographs[number]))
            return None if crop is None else peer.embed(crop)

    else:
        cut = np.load(CACHE / f"crops-{CROPS[system]}.npy", mmap_mode="r")
        is_found = np.load(CACHE / "is_found.npy")

        def embedded(number: int) -> np.ndarray | None:
            return peer.embed(np.array(cut[number])) if is_found[number] else None

    embed_all(system, crops, len(photographs), embedded, limit=limit)


def embed_ours(lfw: Path, limit: int | None) -> None:
    """Embed with facesearch as it is shipped, and cut the crops for the others."""
    from facesearch.bootstrap import Parts
    from facesearch.settings import Settings

    photographs, _ = listed(lfw)
    wanted = [Path(one) for one in photographs[: limit or len(photographs)]]
    embedded = Parts(Settings(embedder="mobilenet-128", precision="f32", flip_average=False)).embed_photographs(
        lfw / "images", wanted, face="central", cache=CACHE / "templates"
    )
    rows = [embedded.rows.get(path) for path in wanted]
    detections = [None if row is None else embedded.detections[row] for row in rows]
    landmarks = np.array([np.full((5, 2), np.nan) if one is None else one.landmarks for one in detections])
    boxes = np.array([np.full(4, np.nan) if one is None else one.box for one in detections])
    cut_crops(lfw, [path.as_posix() for path in wanted], boxes, landmarks)
    embed_all(
        "facesearch",
        "own",
        len(wanted),
        lambda number: None if rows[number] is None else embedded.vectors[rows[number]],
        limit=limit,
    )


def cut_crops(lfw: Path, photographs: list[str], boxes: np.ndarray, landmarks: np.ndarray) -> None:
    """Write the crops of our detections, one file a kind; a photograph without a face stays black."""
    from facesearch.core.face import Alignment, Detection
    from facesearch.imaging.align import align_face
    from facesearch.imaging.decode import decode_image

    standard = np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], dtype=np.float32
    )
    # dlib's own crops show more of the head: the template enlarged about its middle, at 150 pixels.
    dlib = (standard - np.array([55.9, 70.8])) * 1.5 + 74.5
    alignments = {"arcface-112": Alignment("arcface-112", 112, standard), "dlib-150": Alignment("dlib-150", 150, dlib)}
    if all((CACHE / f"crops-{kind}.npy").exists() for kind in CROP_PX):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    parts = {
        kind: np.lib.format.open_memmap(
            CACHE / f"crops-{kind}.part", mode="w+", dtype=np.uint8, shape=(len(photographs), pixels, pixels, 3)
        )
        for kind, pixels in CROP_PX.items()
    }
    is_found = ~np.isnan(boxes[:, 0])
    for number in np.flatnonzero(is_found).tolist():
        image = decode_image(lfw / "images" / photographs[number])
        x1, y1, x2, y2 = boxes[number].tolist()
        detection = Detection((x1, y1, x2, y2), landmarks[number].astype(np.float32), 1.0)
        for kind, alignment in alignments.items():
            parts[kind][number] = align_face(image, detection, alignment).pixels
        parts["box-160"][number] = box_crop(image.pixels, boxes[number], CROP_PX["box-160"])
    np.save(CACHE / "is_found.npy", is_found)
    for kind, table in parts.items():
        table.flush()
        (CACHE / f"crops-{kind}.part").replace(CACHE / f"crops-{kind}.npy")


def box_crop(pixels: np.ndarray, box: np.ndarray, size: int, margin: int = OUR_MARGIN_PX) -> np.ndarray:
    """Return a face's box with a margin, cut to the photograph, as facenet-pytorch makes a crop of it: Pillow's bilinear filter."""
    from PIL import Image

    height, width = pixels.shape[:2]
    beyond = margin * (box[2:] - box[:2]) / (size - margin) / 2
    low, high = np.maximum(box[:2] - beyond, 0), np.minimum(box[2:] + beyond, (width, height))
    edges = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    return np.asarray(Image.fromarray(pixels).crop(edges).resize((size, size), Image.Resampling.BILINEAR))


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="ours, or the name of a peer")
    parser.add_argument("crops", nargs="?", choices=("own", "ours"), default="own")
    parser.add_argument("--lfw", type=Path, required=True, help="LFW's folder")
    parser.add_argument("--limit", type=int, help="photographs to get to")
    given = parser.parse_args()
    if given.system == "ours":
        embed_ours(given.lfw, given.limit)
    else:
        embed_peer(given.system, given.crops, given.lfw, given.limit)


if __name__ == "__main__":
    main()
