"""Detection beside facenet-pytorch: recall and false positives on the CMU+MIT scenes, and milliseconds a photograph.

Both detectors run at their common defaults (smallest face 20 px, factor 0.709, thresholds 0.6/0.7/0.7) in this process, one
photograph at a time, in turns. A labelled face is hit when at least four of its six points lie in a detection whose width is 0.5 to
2 times that of the face-only box; a detection counts for one face at most. Every other detection on the labelled scenes is a false
positive.

    PYTHONPATH=. python benchmarks/detector.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import facenet_pytorch
import numpy as np
import platformdirs
import skimage.data
import torch
from PIL import Image as PilImage
from rich.console import Console
from rich.table import Table

from facesearch.core.image import Image
from facesearch.detection import MtcnnDetector
from facesearch.detection.native_library import load_library
from facesearch.inference import create_engine

POINTS_INSIDE = 4
WIDTHS = (0.5, 2.0)

Boxes = np.ndarray
Find = Callable[[Image], Boxes]


def read(path: Path) -> Image:
    with PilImage.open(path) as picture:
        return Image(np.ascontiguousarray(picture.convert("RGB")), "", path.name)


def labels(folder: Path) -> dict[str, list[tuple[np.ndarray, float]]]:
    """Return (six points, face-only width) of every face that has a box, by scene.

    Both files list these faces in the same order; the one with the points goes on with scenes that have no boxes.
    """
    points = [line.split() for line in (folder / "ground_truth_landmarks.txt").read_text().splitlines() if line.strip()]
    boxes = [line.split() for line in (folder / "ground_truth_bboxes_face_only.txt").read_text().splitlines() if line.strip()]
    points = points[: len(boxes)]
    if [row[0] for row in points] != [row[0] for row in boxes]:
        raise SystemExit(f"the landmark and box files in {folder} do not list the same faces")
    faces: dict[str, list[tuple[np.ndarray, float]]] = defaultdict(list)
    for (name, *numbers), (_, x1, _, x2, _) in zip(points, boxes, strict=True):
        faces[name].append((np.array(numbers, dtype=float).reshape(6, 2), float(x2) - float(x1)))
    return faces


def is_hit(face: tuple[np.ndarray, float], box: np.ndarray) -> bool:
    points, width = face
    inside = ((points >= box[:2]) & (points <= box[2:])).all(axis=1).sum()
    return bool(inside >= POINTS_INSIDE and WIDTHS[0] * width <= box[2] - box[0] <= WIDTHS[1] * width)


def n_hits(faces: list[tuple[np.ndarray, float]], boxes: Boxes) -> int:
    """Return the most faces that can be given a detection of their own (maximum bipartite matching, by augmenting paths)."""
    owner: dict[int, int] = {}

    def give(face: int, tried: set[int]) -> bool:
        for place, box in enumerate(boxes):
            if place not in tried and is_hit(faces[face], box):
                tried.add(place)
                if place not in owner or give(owner[place], tried):
                    owner[place] = face
                    return True
        return False

    return sum(give(face, set()) for face in range(len(faces)))


def peer(threads: int) -> Find:
    torch.set_num_threads(threads)
    mtcnn = facenet_pytorch.MTCNN(min_face_size=20, factor=0.709, thresholds=[0.6, 0.7, 0.7], post_process=False, keep_all=True)

    def find(image: Image) -> Boxes:
        boxes = mtcnn.detect(image.pixels, landmarks=True)[0]
        return np.zeros((0, 4)) if boxes is None else np.asarray(boxes, dtype=float)

    return find


def ours(engine: str, precision: str, threads: int) -> Find:
    cache_dir = Path(platformdirs.user_cache_dir("facesearch"))
    detector = MtcnnDetector(create_engine(engine, precision=precision, threads=threads, cache_dir=cache_dir))
    return lambda image: np.array([face.box for face in detector.detect(image)]).reshape(-1, 4)


def recall_table(folder: Path, finders: dict[str, Find]) -> Table:
    faces = labels(folder)
    totals = {name: {"hits": 0, "false": 0, "seconds": 0.0} for name in finders}
    for scene in sorted(faces):
        image = read(folder / "images" / scene)
        for name, find in finders.items():
            start = time.perf_counter()
            boxes = find(image)
            totals[name]["seconds"] += time.perf_counter() - start
            hits = n_hits(faces[scene], boxes)
            totals[name]["hits"] += hits
            totals[name]["false"] += len(boxes) - hits
    n_faces = sum(map(len, faces.values()))
    table = Table(
        "detector", "hits", "misses", "recall", "false positives", "ms a scene", title=f"{n_faces} faces, {len(faces)} scenes"
    )
    for name, total in totals.items():
        hits = int(total["hits"])
        share = f"{100 * hits / n_faces:.1f}% ({hits}/{n_faces})"
        ms = f"{1000 * total['seconds'] / len(faces):.0f}"
        table.add_row(name, str(hits), str(n_faces - hits), share, str(int(total["false"])), ms)
    return table


def time_table(photos: dict[str, list[Image]], finders: dict[str, Find], rounds: int) -> Table:
    table = Table("photograph", *(f"{name}, ms" for name in finders), "ratio", title=f"median of {rounds} rounds, in turns")
    for what, images in photos.items():
        spent: dict[str, list[float]] = {name: [] for name in finders}
        for turn in range(rounds + 1):
            for name, find in finders.items():
                start = time.perf_counter()
                for image in images:
                    find(image)
                if turn > 0:  # the first round prepares both for these sizes
                    spent[name].append(1000 * (time.perf_counter() - start) / len(images))
        medians = [statistics.median(spent[name]) for name in finders]
        table.add_row(what, *(f"{ms:.1f}" for ms in medians), f"{medians[1] / medians[0]:.1f}×")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FACESEARCH_DATA", "../shared/data")))
    parser.add_argument("--engine", default="openvino", choices=["openvino", "torch"])
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16", "auto"])
    parser.add_argument("--threads", type=int, default=2, help="threads of either detector")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing; 0 leaves timing out")
    arguments = parser.parse_args()
    is_compiled = arguments.engine == "openvino" and load_library() is not None  # see ``MtcnnDetector``
    how = "compiled, f32" if is_compiled else f"{arguments.engine} {arguments.precision}"
    finders = {
        f"facesearch ({how})": ours(arguments.engine, arguments.precision, arguments.threads),
        "facenet-pytorch": peer(arguments.threads),
    }
    console = Console()
    if (arguments.data / "cmu_faces").is_dir():
        console.print(recall_table(arguments.data / "cmu_faces", finders))
    else:
        console.print(f"no cmu_faces in {arguments.data}: recall is left out")
    if arguments.rounds:
        large = cv2.resize(skimage.data.astronaut(), (1665, 2048), interpolation=cv2.INTER_CUBIC)
        photos = {"astronaut, 512×512": [Image(skimage.data.astronaut(), "")], "astronaut, 1665×2048": [Image(large, "")]}
        lfw = sorted((arguments.data / "lfw" / "images").glob("*/*_0001.jpg"))[::300]
        if lfw:
            photos = {f"LFW, 250×250 ({len(lfw)} photographs)": [read(path) for path in lfw], **photos}
        console.print(time_table(photos, finders, arguments.rounds))


if __name__ == "__main__":
    main()
