"""Seconds of ``facesearch verify a.jpg b.jpg`` as a process of its own: with an empty cache of networks, and with a warm one.

Usage: ``python -m benchmarks.cold_start [--rounds 9] [--json FILE]``. From starting the interpreter to its end, the answer printed;
the photographs are one of the package scikit-image's and its mirror image. The files of Python and its packages lie in memory (the
page cache is warm in both cases); the cache meant here is the folder in which OpenVINO keeps compiled networks. It says nothing of
a long-lived process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import skimage.data
from PIL import Image

from benchmarks.side_by_side import Results, package_versions

RUN = "from facesearch.cli.main import run; run()"
"""What the console script ``facesearch`` does."""

GOAL_S = 1.2


def photographs(folder: Path) -> list[Path]:
    """Return two photographs of one face, 512×512 pixels, one of them a mirror image."""
    picture = Image.fromarray(skimage.data.astronaut())
    paths = [folder / "a.jpg", folder / "b.jpg"]
    picture.save(paths[0], quality=95)
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(paths[1], quality=95)
    return paths


def wall_s(paths: list[Path], cache: Path, data: Path) -> float:
    """Return the seconds of one process.

    Raises:
        SystemExit: It ended otherwise than with a match.
    """
    variables = {**os.environ, "FACESEARCH_CACHE_DIR": str(cache), "FACESEARCH_DATA_DIR": str(data)}
    began = time.perf_counter()
    command = [sys.executable, "-c", RUN, "verify", *map(str, paths)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0 or "match" not in done.stdout:
        raise SystemExit(f"facesearch verify ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = Results("cold_start")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = photographs(folder)
        wall_s(paths, folder / "first", folder / "data")  # Python's byte code and the page cache
        empty = [wall_s(paths, folder / f"empty-{number}", folder / "data") for number in range(given.rounds)]
        warm = [wall_s(paths, folder / "first", folder / "data") for _ in range(given.rounds)]
    for what, seconds, goal in (("empty cache", empty, None), ("warm cache", warm, GOAL_S)):
        note = f"median of {len(seconds)} processes, {min(seconds):.2f} to {max(seconds):.2f} s"
        work = f"`facesearch verify a.jpg b.jpg` (512×512), cold process, {what}"
        results.add_value(work, round(statistics.median(seconds), 3), "s", goal=goal, note=note)
    results.versions = package_versions(Path(sys.executable), ["openvino"])
    results.write(given.json)


if __name__ == "__main__":
    main()
