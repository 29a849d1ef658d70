"""How much faster than it is played a video is indexed: 720p, one to four faces that move, five frames a second looked at.

    python benchmarks/video.py [--seconds 60] [--min-face 40 20] [--precision f32 …] [--json FILE]

The video is made here, from LFW's photographs where FACESEARCH_DATA has them (ten people, five scenes of one to four of them), else
from two photographs that come with packages; nobody's speed depends on who it is. MPEG-4 in MP4, 25 frames a second. Indexing is
measured from opening the file to the committed tracks, the networks loaded before; decoding alone and the share of each stage are
printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from facesearch.bootstrap import FaceSearch
from facesearch.core.image import Image
from facesearch.imaging.video import VideoFile

FPS = 25
SIZE = (720, 1280)
GOAL = 4.0


def portraits() -> tuple[list[np.ndarray], str]:
    """Return photographs of different people, RGB, about 250×250, and where they come from."""
    folder = Path(os.environ.get("FACESEARCH_DATA", "../shared/data")) / "lfw" / "images"
    if folder.is_dir():
        people = [one for one in sorted(folder.iterdir()) if one.is_dir()][::500][:10]
        return [cv2.imread(str(sorted(one.iterdir())[0]))[:, :, ::-1] for one in people], "LFW"
    import matplotlib.cbook
    import skimage.data
    from PIL import Image as PilImage

    with PilImage.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")) as picture:
        hopper = np.asarray(picture.convert("RGB"))[:512, :512]
    astronaut = skimage.data.astronaut()
    return [cv2.resize(one, (250, 250), interpolation=cv2.INTER_AREA) for one in (astronaut, hopper)], "packaged photographs"


def frames(people: list[np.ndarray], seconds: float) -> Iterator[np.ndarray]:
    """Yield frames: scenes of 12 s with 1, 2, 3, 4 and 1 faces that wander, grow and shrink over a photograph's blown-up ground."""
    ground = cv2.GaussianBlur(cv2.resize(people[0], (SIZE[1], SIZE[0])), (0, 0), 25)
    for number in range(round(seconds * FPS)):
        scene = number // (12 * FPS)
        frame = ground.copy()
        for place in range((1, 2, 3, 4, 1)[scene % 5]):
            photo = people[(scene * 2 + place) % len(people)]
            turn = number / FPS * 0.7 + place
            side = round(260 + 50 * np.sin(turn))
            x = round(place * 310 + 25 + 20 * np.sin(2 * turn))
            y = round(200 + 150 * np.sin(turn / 2 + place))
            part = cv2.resize(photo, (side, side), interpolation=cv2.INTER_LINEAR)
            space = frame[max(0, y) : y + side, x : x + side]
            space[:] = part[: space.shape[0], : space.shape[1]]
        yield frame


def make_video(path: Path, seconds: float) -> str:
    """Write the video; return where its faces come from."""
    people, source = portraits()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, SIZE[::-1])
    for frame in frames(people, seconds):
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return source


def decoding_s(path: Path, rate: float) -> float:
    """Return the seconds that reading alone takes."""
    started = time.perf_counter()
    with VideoFile(path) as video:
        for _ in video.frames(rate):
            pass
    return time.perf_counter() - started


def measured(path: Path, arguments: argparse.Namespace, min_face_px: int, precision: str) -> dict[str, object]:
    """Index the video into a new gallery, and return the figures."""
    with tempfile.TemporaryDirectory() as folder, FaceSearch(folder, precision=precision, min_face_px=min_face_px) as faces:
        blank = Image(np.zeros((*SIZE, 3), np.uint8), "0" * 64)
        faces.detect(blank)
        with VideoFile(path) as video:
            first = next(video.frames(1.0)).image
        faces.template(first, face="largest")  # loads what the first frame needs, and plans its size
        runs = [
            faces.index_video(path, sample_rate=arguments.rate, min_face_px=min_face_px, again=number > 0)
            for number in range(arguments.runs)
        ]
    best = min(runs, key=lambda run: run.seconds)
    return {
        "min_face_px": min_face_px,
        "precision": precision,
        "seconds": [round(run.seconds, 3) for run in runs],
        "times_real_time": round(best.speed, 2),
        "n_sampled": best.video.about.reading.n_sampled,
        "n_faces": sum(one.track.n_faces for one in best.tracks),
        "n_tracks": len(best.tracks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the video")
    parser.add_argument("--rate", type=float, default=5.0, help="frames looked at a second of video")
    parser.add_argument("--min-face", type=int, nargs="+", default=[40, 20], help="smallest faces looked for")
    parser.add_argument("--precision", nargs="+", default=["f32", "auto"], help="arithmetic of the networks")
    parser.add_argument("--runs", type=int, default=2, help="runs of each; the best is quoted")
    parser.add_argument("--video", type=Path, help="a video to use instead of one made here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, source = arguments.video, "given"
        if path is None:
            path = Path(folder) / "video.mp4"
            source = make_video(path, arguments.seconds)
        decoding = decoding_s(path, arguments.rate)
        rows = [measured(path, arguments, px, precision) for precision in arguments.precision for px in arguments.min_face]
        with VideoFile(path) as video:
            info = video.info
    print(f"{info.width}×{info.height}, {info.duration_s:.0f} s, faces from {source}; {os.cpu_count()} cores, {platform.machine()}")
    print(f"reading and decoding alone: {decoding:.2f} s, {info.duration_s / decoding:.0f} × real time")
    for row in rows:
        verdict = (
            "" if row["min_face_px"] != 40 else (" (goal ≥ 4: met)" if row["times_real_time"] >= GOAL else " (goal ≥ 4: missed)")
        )
        print(
            f"{row['precision']:>5}, smallest face {row['min_face_px']:>2} px: {row['times_real_time']:.1f} × real time{verdict}, "
            f"{row['n_faces']} faces in {row['n_sampled']} frames, {row['n_tracks']} tracks"
        )
    if arguments.json:
        document = {"video": {"width": info.width, "height": info.height, "seconds": info.duration_s, "faces_from": source}}
        document |= {"sample_rate": arguments.rate, "decoding_s": round(decoding, 3), "goal": GOAL, "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
