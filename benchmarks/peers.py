"""Face recognition beside its peers: the same photographs, the same machine, one run; each with its own crops and with ours.

Usage::

    python -m benchmarks.peers --embed --lfw DIR [--json FILE]      make what vectors are missing (hours), then measure
    python -m benchmarks.peers --lfw DIR [--json FILE]              measure with the vectors that are there, then speed

Accuracy is of vectors that ``benchmarks.peer_embeddings`` keeps in .bench/peers-cache; a system whose vectors are not complete is
shown with what is there, and says so. LFW's View 2 chooses the threshold of each fold on the other nine. All pairs are those of
``peopleDevTest.txt``, every person weighing the same, thresholds set on the same pairs; pairs of names that are one person, or
one mislabelled picture (the model card's list), are left out for every system. A photograph in which a system finds no face
counts as an error of its pairs. Speed: workers that take turns (``benchmarks.side_by_side``), two threads each, one photograph at
a time from decoded pixels to the vector of its central face; decoding is left out for all. Memory is the peak of a worker's
resident set, libraries and weights included. It tunes nothing: every peer runs with its own default settings.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_embeddings import listed, read_rgb, vectors
from benchmarks.side_by_side import (
    OURS,
    PEERS,
    ROOT,
    Each,
    Results,
    Worker,
    WorkerError,
    compare,
    is_worker,
    package_versions,
    serve,
)

NAMES = {
    "facesearch": "facesearch",
    "opencv": "OpenCV: YuNet + SFace",
    "insightface": "InsightFace: SCRFD-500M + w600k_mbf",
    "facenet-pytorch": "facenet-pytorch: MTCNN + InceptionResnetV1 (CASIA)",
    "face_recognition": "face_recognition: dlib HOG + ResNet-29",
    "deepface": "deepface: yunet + SFace",
}
LICENCES = {
    "facesearch": "Apache-2.0, weights Apache-2.0",
    "opencv": "Apache-2.0, weights MIT and Apache-2.0",
    "insightface": "MIT, weights non-commercial research only",
    "facenet-pytorch": "MIT, weights MIT",
    "face_recognition": "MIT, weights CC0",
    "deepface": "MIT, weights MIT and Apache-2.0",
}
DISTRIBUTIONS = {
    "opencv": ("opencv-python-headless",),
    "insightface": ("onnxruntime",),
    "facenet-pytorch": ("facenet-pytorch", "torch"),
    "face_recognition": ("dlib", "face_recognition"),
    "deepface": ("deepface", "tensorflow"),
}
SPEED_PHOTOGRAPHS = 24
SPEED_ROUNDS = 5
ALL_PAIRS_FMRS = (1e-4, 1e-5)


def figures(system: str, crops: str, lfw: Path) -> dict[str, Any] | None:
    """Return a system's accuracy as far as its vectors go; None where there are none."""
    from facesearch.evaluation.all_pairs import all_pairs
    from facesearch.evaluation.lfw import read_pairs, read_people
    from facesearch.evaluation.one_to_one import verification_report
    from facesearch.evaluation.trials import VerificationTrials

    photographs, n_view2 = listed(lfw)
    table = vectors(system, crops, len(photographs))
    if not len(table):
        return None
    row_of = {path: row for row, path in enumerate(photographs[: len(table)])}
    found: dict[str, Any] = {"n_embedded": len(table), "n_photographs": len(photographs)}
    found["n_failures"] = int(np.isnan(table[:, 0]).sum())
    if len(table) >= n_view2:
        pairs = read_pairs(lfw / "pairs.txt")
        rows = np.array([[row_of[path.as_posix()] for path in pair.paths] for pair in pairs])
        scores = np.clip(np.einsum("nd,nd->n", table[rows[:, 0]], table[rows[:, 1]]).astype(np.float64), -1.0, 1.0)
        trials = VerificationTrials(scores, np.array([pair.is_mated for pair in pairs]), np.array([pair.fold for pair in pairs]))
        report = verification_report(trials)
        found["view2"] = str(report.accuracy)
        found["accuracy"] = None if report.accuracy is None else report.accuracy.mean
        found["tar_1e-3"] = str(report.tar[-1].tar)
        found["failed_pairs"] = f"{report.n_failures} of {report.n_pairs:,} pairs"
    if len(table) == len(photographs):
        people = [(path.as_posix(), one.name) for one in read_people(lfw / "peopleDevTest.txt") for path in one.paths]
        chosen = np.array([row_of[path] for path, _ in people])
        pairs_of_all = all_pairs(table[chosen], [name for _, name in people], left_out=_left_out({name for _, name in people}))
        for point in pairs_of_all.at_fmrs(ALL_PAIRS_FMRS):
            found[f"all_pairs_{point.fmr:g}"] = str(point.tar)
            found[f"threshold_{point.fmr:g}"] = point.threshold
        found["n_non_mated"] = pairs_of_all.non_mated.total
    return found


def _left_out(names: set[str]) -> list[tuple[str, str]]:
    card = json.loads((ROOT / "facesearch" / "models" / "mobilenet-128.json").read_text())
    return [(one, other) for one, other in card["lfw"]["left_out"] if {one, other} <= names]


def ours() -> Callable[[Any], Any]:
    """Detect, align and embed with facesearch as it is set up."""
    from facesearch.bootstrap import Parts
    from facesearch.core.arrays import array_digest
    from facesearch.core.image import Image
    from facesearch.settings import Settings

    pipeline = Parts(Settings(threads=2)).pipeline

    def act(held: Any) -> dict[str, float]:
        for pixels in held:
            pipeline.face(Image(pixels, array_digest(pixels)), "central")
        return {"peak_mb": _peak_mb()}

    return act


def our_embedding() -> Callable[[Any], Any]:
    """Embed crops with our embedder, one at a time."""
    from facesearch.bootstrap import Parts
    from facesearch.core.face import Detection, FaceCrop
    from facesearch.settings import Settings

    embedder = Parts(Settings(threads=2)).embedder
    face = Detection((0.0, 0.0, 1.0, 1.0), np.zeros((5, 2), dtype=np.float32), 1.0)

    def act(held: Any) -> dict[str, float]:
        for crop in held:
            embedder.embed((FaceCrop(crop, face),))
        return {"peak_mb": _peak_mb()}

    return act


def peer(*, system: str) -> Callable[[Any], Any]:
    """Detect, align and embed with a peer."""
    from benchmarks.peer_systems import SYSTEMS

    made = SYSTEMS[system]()

    def act(held: Any) -> dict[str, float]:
        n_found = 0
        for pixels in held:
            crop = made.find(pixels)
            if crop is not None:
                n_found += 1
                made.embed(crop)
        return {"peak_mb": _peak_mb(), "n_found": n_found}

    return act


def peer_embedding(*, system: str) -> Callable[[Any], Any]:
    """Embed crops with a peer, one at a time."""
    from benchmarks.peer_systems import SYSTEMS

    made = SYSTEMS[system]()

    def act(held: Any) -> dict[str, float]:
        for crop in held:
            made.embed(crop)
        return {"peak_mb": _peak_mb()}

    return act


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000.0


def speed(system: str, lfw: Path, results: Results) -> dict[str, float]:
    """Return a peer's photographs a second, milliseconds a crop and megabytes, and ours in the same turns.

    Raises:
        WorkerError: The peer cannot be run.
    """
    from benchmarks.peer_embeddings import CACHE, CROP_PX
    from benchmarks.peer_systems import CROPS

    photographs, _ = listed(lfw)
    # Every 300th of View 2's: the list is sorted by name, and neighbours are one person.
    chosen = [read_rgb(lfw / "images" / one) for one in photographs[: 300 * SPEED_PHOTOGRAPHS : 300]]
    silent = {"CUDA_VISIBLE_DEVICES": "-1"}
    with Worker(__file__, "ours", OURS) as a, Worker(__file__, "peer", PEERS, environment=silent, system=system) as b:
        found = compare(a, b, chosen, rounds=SPEED_ROUNDS)
    n = len(chosen)
    note = f"{n} photographs of 250×250, one at a time; {int(found.answers[1]['n_found'])} with a face by the peer"
    results.add("photograph to vector", peer=NAMES[system], found=found, goal=None, note=note)
    kind = CROPS[system]
    rng = np.random.default_rng(0)
    file = CACHE / f"crops-{kind}.npy"
    side = CROP_PX[kind]
    crops = np.load(file, mmap_mode="r")[:16] if file.exists() else rng.integers(0, 256, (16, side, side, 3), dtype=np.uint8)
    our_crops = rng.integers(0, 256, (16, 112, 112, 3), dtype=np.uint8)
    with (
        Worker(__file__, "our_embedding", OURS) as a,
        Worker(__file__, "peer_embedding", PEERS, environment=silent, system=system) as b,
    ):
        embedding = compare(a, b, Each(our_crops, np.array(crops)), rounds=SPEED_ROUNDS)
    results.add(
        "embedding of a crop", peer=NAMES[system], found=embedding, goal=None, note="16 crops one at a time; times are of 16"
    )
    return {
        "photographs_per_s": 1000.0 * n / found.peer_ms,
        "embedding_ms": embedding.peer_ms / 16,
        "peak_mb": float(found.answers[1]["peak_mb"]),
        "ours_photographs_per_s": 1000.0 * n / found.ours_ms,
        "ours_embedding_ms": embedding.ours_ms / 16,
        "ours_peak_mb": float(found.answers[0]["peak_mb"]),
    }


def embed_missing(lfw: Path, systems: list[str]) -> None:
    """Make the vectors that are missing, one system after the other."""
    calls = [(OURS, ["ours"])]
    for crops in ("own", "ours"):
        calls += [(PEERS, [system, crops]) for system in systems]
    for python, arguments in calls:
        done = subprocess.run(
            [str(python), "-W", "ignore", "-m", "benchmarks.peer_embeddings", *arguments, "--lfw", str(lfw)], cwd=ROOT, check=False
        )
        if done.returncode != 0:
            print(f"{' '.join(arguments)}: FAILED, see above; the table names it")


COLUMNS = (
    "system",
    "crops",
    "View 2 accuracy",
    "TAR at FMR 1e-3",
    "all pairs, TAR at FMR 1e-4",
    "1e-5",
    "no face found",
    "photographs/s",
    "embedding",
    "memory",
    "licence",
)


def table(accuracy: dict[tuple[str, str], dict[str, Any]], speeds: dict[str, dict[str, float]]) -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for (system, crops), found in accuracy.items():
        cells = [NAMES[system], "its own" if crops == "own" else "ours"]
        cells += [_whole(found, key) for key in ("view2", "tar_1e-3", "all_pairs_0.0001", "all_pairs_1e-05")]
        lost = f"{found['n_failures']} of {found['n_embedded']:,} photographs"
        cells.append(", ".join(filter(None, (lost, found.get("failed_pairs")))))
        cells += _speed_cells(system, crops, speeds)
        lines.append("| " + " | ".join([*cells, LICENCES[system]]) + " |")
    return "\n".join(lines)


def _whole(found: dict[str, Any], key: str) -> str:
    if key in found:
        return str(found[key])
    return f"not measured: {found['n_embedded']:,} of {found['n_photographs']:,} photographs embedded"


def _speed_cells(system: str, crops: str, speeds: dict[str, dict[str, float]]) -> list[str]:
    if crops != "own" or not speeds:
        return ["", "", ""]
    if system == "facesearch":
        # Ours ran beside every peer: the median of those runs.
        rates, ms, peaks = (
            float(np.median([one[f"ours_{key}"] for one in speeds.values()]))
            for key in ("photographs_per_s", "embedding_ms", "peak_mb")
        )
    elif system in speeds:
        rates, ms, peaks = (speeds[system][key] for key in ("photographs_per_s", "embedding_ms", "peak_mb"))
    else:
        return ["not measured", "", ""]
    return [f"{rates:.1f}", f"{ms:.1f} ms", f"{peaks:.0f} MB"]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("FACESEARCH_DATA", ROOT.parent / "shared" / "data")) / "lfw"
    parser.add_argument("--lfw", type=Path, default=default, help="LFW's folder")
    parser.add_argument("--embed", action="store_true", help="make the vectors that are missing first (hours)")
    parser.add_argument("--no-speed", action="store_true", help="accuracy only")
    parser.add_argument("--systems", nargs="+", default=[name for name in NAMES if name != "facesearch"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not (given.lfw / "pairs.txt").is_file():
        raise SystemExit(f"there is no pairs.txt in {given.lfw.name}: set FACESEARCH_DATA, or name LFW's folder with --lfw")
    results = Results("peers")
    if given.embed:
        embed_missing(given.lfw, given.systems)
    accuracy: dict[tuple[str, str], dict[str, Any]] = {}
    for system in ["facesearch", *given.systems]:
        for crops in ("own", "ours"):
            found = figures(system, crops, given.lfw)
            if found is not None:
                accuracy[system, crops] = found
            elif (system, crops) not in (("facesearch", "ours"), ("deepface", "ours")):
                print(f"{system} with {crops} crops: no vectors; --embed makes them")
    speeds = {}
    for system in [] if given.no_speed else given.systems:
        try:
            speeds[system] = speed(system, given.lfw, results)
        except WorkerError as exc:
            print(f"{system}: not timed, {exc}")
        results.versions |= package_versions(PEERS, DISTRIBUTIONS[system])
    text = table(accuracy, speeds)
    print(text)
    results.tables.append(text)
    results.write(given.json)


if __name__ == "__main__":
    if is_worker():
        serve({"ours": ours, "our_embedding": our_embedding, "peer": peer, "peer_embedding": peer_embedding})
    else:
        main()
