"""Milliseconds to detect, beside facenet-pytorch: three sizes of photograph, each with no face, one face and 48 faces.

Each detector lives in a process of its own with as many threads as asked for; they take turns on the same decoded arrays, one idle
while the other works, both at smallest face 20 px, factor 0.709 and thresholds 0.6/0.7/0.7. Montages are made of LFW photographs
under FACESEARCH_DATA, else of those that come with scikit-image and matplotlib. Beside the ratio of the times by the clock, which
the goals are about, stands that of the processor's seconds of all threads: it says the same on a machine that is busy otherwise.

    PYTHONPATH=. python benchmarks/detector_speed.py [--peer-python .bench/peers/bin/python] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIZES = ((2048, 1665), (630, 1200), (250, 250))
"""Height and width of the photographs."""

FACES = (0, 1, 48)

GOALS = {(2048, 1665): 6.0, (630, 1200): 6.0, (250, 250): 4.0}

CROP = slice(65, 185)
"""The part of an LFW photograph (250×250) that the face takes up, in rows and in columns."""

SEED = 7


def scenes() -> list[tuple[int, int, int, np.ndarray]]:
    """Return (height, width, faces put in, picture) of every case."""
    faces = portraits()
    made = []
    for height, width in SIZES:
        ground = landscape(height, width)
        for n_faces in FACES:
            picture = ground.copy()
            if n_faces == 1:
                put(picture, faces[0], min(height, width) // 2, height // 4, width // 4)
            elif n_faces:
                cols = math.ceil(math.sqrt(n_faces * width / height))
                rows = math.ceil(n_faces / cols)
                side = min(height // rows, width // cols)
                for place in range(n_faces):
                    put(picture, faces[place % len(faces)], side, place // cols * side, place % cols * side)
            made.append((height, width, n_faces, picture))
    return made


def put(picture: np.ndarray, face: np.ndarray, side: int, top: int, left: int) -> None:
    import cv2

    picture[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)


def portraits() -> list[np.ndarray]:
    """Return faces of LFW, or the two that packages carry."""
    folder = Path(os.environ.get("FACESEARCH_DATA", "../shared/data")) / "lfw" / "images"
    paths = sorted(folder.glob("*/*_0001.jpg"))
    if len(paths) >= max(FACES):
        from PIL import Image

        chosen = np.random.default_rng(SEED).choice(len(paths), max(FACES), replace=False)
        return [np.asarray(Image.open(paths[place]).convert("RGB"))[CROP, CROP] for place in chosen]
    import matplotlib.cbook
    import skimage.data

    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    from PIL import Image

    return [skimage.data.astronaut()[20:180, 140:300], np.asarray(Image.open(hopper).convert("RGB"))[30:330, 110:410]]


def landscape(height: int, width: int) -> np.ndarray:
    """Return a photograph without a person: scikit-image's coffee cup, laid out mirrored until it covers the size."""
    import skimage.data

    cup = skimage.data.coffee()
    tile = np.concatenate([cup, cup[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    copies = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    return np.ascontiguousarray(np.tile(tile, copies)[:height, :width])


OURS = """
import json, sys, time
import numpy as np
from facesearch.core.image import Image
from facesearch.detection import MtcnnDetector
from facesearch.detection.native_library import instruction_sets, load_library
from facesearch.inference import create_engine
threads, cache = int(sys.argv[1]), sys.argv[2]
from pathlib import Path
detector = MtcnnDetector(create_engine("openvino", threads=threads, cache_dir=Path(cache)), threads=threads)
library = load_library()
print(json.dumps("compiled, " + instruction_sets(library)[0] if library else "OpenVINO"), flush=True)
def find(pixels):
    image = Image(pixels, "")
    began, busy = time.perf_counter(), time.process_time()
    n = len(detector.detect(image))
    return n, time.perf_counter() - began, time.process_time() - busy
"""

PEER = """
import json, sys, time
import numpy as np
import torch
from facenet_pytorch import MTCNN
from importlib.metadata import version
torch.set_num_threads(int(sys.argv[1]))
mtcnn = MTCNN(min_face_size=20, factor=0.709, thresholds=[0.6, 0.7, 0.7], post_process=False, keep_all=True)
print(json.dumps(f"facenet-pytorch {version('facenet-pytorch')}, torch {torch.__version__}"), flush=True)
def find(pixels):
    began, busy = time.perf_counter(), time.process_time()
    boxes = mtcnn.detect(pixels, landmarks=True)[0]
    return 0 if boxes is None else len(boxes), time.perf_counter() - began, time.process_time() - busy
"""

SERVE = """
for line in sys.stdin:
    pixels = np.load(line.strip())
    print(json.dumps(find(pixels)), flush=True)
"""


class Worker:
    """A detector in a process of its own."""

    def __init__(self, python: str, code: str, threads: int, folder: str) -> None:
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        # A thread that waits for work must not spin while the other process is being timed.
        limits |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
        self._process = subprocess.Popen(
            [python, "-c", code + SERVE, str(threads), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
        )
        self.name = json.loads(self._read())

    def find(self, path: Path) -> tuple[int, float, float]:
        """Return how many faces a saved array holds, the seconds that took, and the processor's seconds of all threads together."""
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        n_faces, seconds, busy = json.loads(self._read())
        return n_faces, seconds, busy

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended; its message is above")
        return line


def processor() -> str:
    """Return the processor's name and the vector instructions it has."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni") if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({' '.join(flags) or 'no AVX2'})"


def measured(ours: Worker, peer: Worker, path: Path, rounds: int) -> dict[str, object]:
    """Return medians of both over some rounds in turns, after one that is not counted."""
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    busy: dict[str, list[float]] = {"ours": [], "peer": []}
    faces = {}
    for number in range(rounds + 1):
        for name, worker in (("ours", ours), ("peer", peer)):
            faces[name], seconds, of_all_threads = worker.find(path)
            if number:
                times[name].append(1000 * seconds)
                busy[name].append(1000 * of_all_threads)
    figures: dict[str, object] = {}
    for kind, values in (("", times), ("cpu_", busy)):
        mine, theirs = (statistics.median(values[name]) for name in ("ours", "peer"))
        figures |= {f"{kind}ratio": theirs / mine, f"ours_{kind}ms": mine, f"peer_{kind}ms": theirs}
    return figures | {"ours_faces": faces["ours"], "peer_faces": faces["peer"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that can import facenet_pytorch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="timed calls of each detector and picture")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ours = Worker(sys.executable, OURS, asked.threads, folder)
        peer = Worker(asked.peer_python, PEER, asked.threads, folder)
        print(f"{processor()}; {asked.threads} threads each; medians of {asked.rounds}\nours: {ours.name}\npeer: {peer.name}\n")
        print(f"{'size':>11} {'faces':>5} {'ratio':>7} {'of cpu':>8} {'ours ms':>9} {'peer ms':>9}  found ours/peer   goal")
        for number, (height, width, n_faces, picture) in enumerate(scenes()):
            path = Path(folder, f"{number}.npy")
            np.save(path, picture)
            row = {"height": height, "width": width, "faces": n_faces} | measured(ours, peer, path, asked.rounds)
            rows.append(row)
            print(
                f"{width:>6}×{height:<4} {n_faces:>5} {row['ratio']:>6.1f}× {row['cpu_ratio']:>7.1f}× {row['ours_ms']:>9.2f} "
                f"{row['peer_ms']:>9.2f}  {row['ours_faces']:>6} / {row['peer_faces']:<6}  {GOALS[height, width]:.0f}×",
                flush=True,
            )
        ours.close()
        peer.close()
    for size, goal in GOALS.items():
        worst = min(row["ratio"] for row in rows if (row["height"], row["width"]) == size)
        verdict = "met" if worst >= goal else "MISSED"
        print(f"{size[1]}×{size[0]}: the worst of {len(FACES)} is {worst:.1f}×, the goal {goal:.0f}×: {verdict}")
    if asked.json is not None:
        report = {"processor": processor(), "threads": asked.threads, "ours": ours.name, "peer": peer.name, "rows": rows}
        asked.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
