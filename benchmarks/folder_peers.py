"""From a folder of photographs to enrolled templates: facesearch beside face_recognition and deepface, in alternating blocks.

Usage: ``python -m benchmarks.folder_peers [--data FOLDER] [--n 1800] [--n-peer 150] [--json FILE]``; LFW is in
``FOLDER/lfw/images``.

Ours is ``FaceSearch.enroll_folder`` with everything it does: decoding, detection, alignment, embedding, the database and its index.
The peers have it easier: their templates are kept in a list. face_recognition runs its defaults (HOG detector, 128-d encodings);
deepface its detector ``mtcnn`` and its model ``Facenet`` on randomly initialised weights that are saved where it looks for them
(its own are a download), which is the same work and says nothing of its accuracy. All sides have their networks loaded before the
first block. Each block is other photographs; a peer's block is smaller because it is slower, so rates are compared, photographs a
second.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import OURS, PAUSE_S, PEERS, ROOT, Results, Worker, WorkerError, is_worker, package_versions, serve

BLOCKS = 3
GOAL_RATE = 150.0
GOAL_RATIO = 8.0
WEIGHTS = ROOT / ".bench" / "deepface"
"""The home that deepface is given."""


def facesearch() -> Any:
    """Enroll photographs into a new gallery."""
    import facesearch as library

    home = Path(tempfile.mkdtemp(prefix="facesearch-bench-"))
    search = library.FaceSearch(home / "gallery")
    atexit.register(shutil.rmtree, home, ignore_errors=True)

    def act(paths: list[str]) -> dict[str, Any]:
        photographs = Path(tempfile.mkdtemp(dir=home))
        for path in map(Path, paths):
            (photographs / path.parent.name).mkdir(exist_ok=True)
            (photographs / path.parent.name / path.name).symlink_to(path)
        began = time.perf_counter()
        report = search.enroll_folder(photographs, face="largest", collection=photographs.name)
        return {"seconds": time.perf_counter() - began, "faces": report.n_enrolled}

    return act


def face_recognition() -> Any:
    """Encode the faces of photographs, decoded by the package itself."""
    import face_recognition as library

    def act(paths: list[str]) -> dict[str, Any]:
        began = time.perf_counter()
        found = [library.face_encodings(library.load_image_file(path)) for path in paths]
        return {"seconds": time.perf_counter() - began, "faces": sum(map(bool, found))}

    return act


def deepface() -> Any:
    """Represent the faces of photographs; the network's weights are random numbers."""
    os.environ["DEEPFACE_HOME"] = str(WEIGHTS)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    from deepface import DeepFace
    from deepface.models.facial_recognition.tf import Facenet

    path = WEIGHTS / ".deepface" / "weights" / "facenet_weights.h5"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        Facenet.InceptionResNetV1().save_weights(str(path))

    def act(paths: list[str]) -> dict[str, Any]:
        began = time.perf_counter()
        found = [DeepFace.represent(p, model_name="Facenet", detector_backend="mtcnn", enforce_detection=False) for p in paths]
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "faces": sum(any(face["face_confidence"] > 0 for face in faces) for faces in found)}

    return act


def rates(workers: dict[str, Worker], paths: dict[str, list[str]]) -> dict[str, list[tuple[float, int, int]]]:
    """Return, for each side, photographs a second, photographs and faces of each block, in turns."""
    found: dict[str, list[tuple[float, int, int]]] = {name: [] for name in workers}
    for name, worker in workers.items():
        worker.hold(paths[name][:5])
        worker.run()
    names = list(workers)
    for block in range(BLOCKS):
        for name in names:
            size = len(paths[name]) // BLOCKS
            part = paths[name][block * size : (block + 1) * size]
            workers[name].hold(part)
            time.sleep(PAUSE_S)
            answer = workers[name].run()[1]
            found[name].append((len(part) / answer["seconds"], len(part), answer["faces"]))
        names.reverse()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FACESEARCH_DATA", "../shared/data")))
    parser.add_argument("--n", type=int, default=1800, help="photographs of ours, in blocks")
    parser.add_argument("--n-peer", type=int, default=150, help="photographs of each peer, in blocks")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pictures = sorted(str(path.resolve()) for path in (given.data / "lfw" / "images").glob("*/*.jpg"))
    if len(pictures) < given.n:
        raise SystemExit(f"{given.data} holds {len(pictures)} photographs of LFW, {given.n} are wanted")
    chosen = [pictures[place] for place in np.random.default_rng(3).permutation(len(pictures))[: given.n]]
    results = Results("folder_peers")
    workers = {"facesearch": Worker(__file__, "facesearch", OURS)}
    for name in ("face_recognition", "deepface"):
        try:
            workers[name] = Worker(__file__, name, PEERS)
        except WorkerError as exc:
            results.tables.append(f"{name} could not be measured: {str(exc).strip().splitlines()[-1]}")
    paths = {name: chosen if name == "facesearch" else chosen[: given.n_peer] for name in workers}
    try:
        found = rates(workers, paths)
    finally:
        for worker in workers.values():
            worker.close()
    rate = {name: statistics.median(block[0] for block in blocks) for name, blocks in found.items()}
    said = {
        name: f"{', '.join(f'{block[0]:.1f}' for block in blocks)}/s in {BLOCKS} blocks, "
        f"{sum(block[2] for block in blocks)} of {sum(block[1] for block in blocks)} photographs with a face enrolled or encoded"
        for name, blocks in found.items()
    }
    work = "LFW folder → enrolled templates"
    results.add_value(work, round(rate["facesearch"], 1), "photographs/s", goal=GOAL_RATE, better="higher", note=said["facesearch"])
    peers = [name for name in rate if name != "facesearch"]
    best = max(peers, key=lambda name: rate[name], default=None)
    for name in peers:
        ratio = rate["facesearch"] / rate[name]
        times = {"ours_ms": round(1000 / rate["facesearch"], 2), "peer_ms": round(1000 / rate[name], 1), "ratio": round(ratio, 2)}
        note = f"ms a photograph; peer {said[name]}, its rate extrapolated to the folder"
        goal = GOAL_RATIO if name == best else None
        results.rows.append({"work": work, "peer": name, **times, "goal": goal, "note": note})
        print(f"{work}: {ratio:.1f}× {name}; {note}")
    results.versions = package_versions(PEERS, ["face_recognition", "dlib", "deepface", "tensorflow", "mtcnn"])
    results.write(given.json)


if __name__ == "__main__":
    if is_worker():
        serve({"facesearch": facesearch, "face_recognition": face_recognition, "deepface": deepface})
    else:
        main()
