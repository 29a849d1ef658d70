"""A gallery of LFW moved to another embedder while it is searched: photographs a second, and what searches take meanwhile.

Usage::

    python -m benchmarks.migrate --lfw LFW --to EMBEDDER [--photographs 3000] [--folder DIR] [--pause 0.2] [--threads 1]

Photographs drawn at random are enrolled with ``mobilenet-128``, their faces kept as crops (``--folder`` keeps the gallery, and a
run that finds one goes on with it). Then a process of its own, the command ``facesearch gallery migrate``, moves it, and one client
searches for the person of one other photograph after another, ``--pause`` seconds apart, through the objects that a process of the
service uses: pixels to answer, before, during and after. The first search after the switch is told beside the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.bootstrap import FaceSearch
from facesearch.server_parts import ServerParts
from facesearch.server_settings import ServerSettings
from facesearch.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
N_PROBES = 50
LEAST_SEARCHES = 60


@dataclass(frozen=True)
class Times:
    """Seconds of each search of a while."""

    seconds: list[float]

    def __str__(self) -> str:
        """Return median and 95th percentile in milliseconds, and how many there are."""
        if not self.seconds:
            return "– | – | 0"
        p50, p95 = np.quantile(self.seconds, (0.5, 0.95))
        return f"{1e3 * p50:.0f} ms | {1e3 * p95:.0f} ms | {len(self.seconds)}"


def drawn(lfw: Path, n: int, folder: Path) -> tuple[Path, list[Path]]:
    """Return a folder of links to photographs drawn at random, and photographs of some of their people that are not in it."""
    photographs = sorted((lfw / "images").glob("*/*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(photographs))
    enrolled, others = ([photographs[row] for row in rows] for rows in (chosen[:n].tolist(), chosen[n:].tolist()))
    links = folder / "photographs"
    for one in enrolled:
        (links / one.parent.name).mkdir(parents=True, exist_ok=True)
        if not (links / one.parent.name / one.name).exists():
            (links / one.parent.name / one.name).symlink_to(one)
    people = {one.parent.name for one in enrolled}
    return links, [one for one in others if one.parent.name in people][:N_PROBES]


def search(faces: FaceSearch, probe: Path) -> float:
    """Return the seconds that identifying whoever is on a photograph takes."""
    began = time.perf_counter()
    faces.identify(probe)
    return time.perf_counter() - began


def moved(settings: Settings, to: str, probes: list[Path], pause: float) -> tuple[dict[str, Times], float, dict[str, object]]:
    """Move the gallery and search it meanwhile.

    Returns:
        The times before, during, at the first search after the switch, and later; the seconds of the command; what it told.
    """
    parts = ServerParts(settings, ServerSettings())
    parts.warm_up()
    faces, told = parts.faces, ""
    times: dict[str, list[float]] = {"before": [], "during": [], "first after": [], "after": []}
    parts.watch.start()
    for turn in range(LEAST_SEARCHES):
        times["before"].append(search(faces, probes[turn % len(probes)]))
        time.sleep(pause)
    began = time.perf_counter()
    own = {"FACESEARCH_DATA_DIR": str(settings.data_dir)}
    if settings.threads:
        own["FACESEARCH_THREADS"] = str(settings.threads)
    command = [sys.executable, str(ROOT / "cli.py"), "gallery", "migrate", "--to", to, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **own}) as moving:
        turn = 0
        while moving.poll() is None:
            is_switched = not parts.migration.state("default").use.current.embedder_id.startswith("mobilenet-128@")
            which = "during" if not is_switched else "after" if times["first after"] else "first after"
            times[which].append(search(faces, probes[turn % len(probes)]))
            turn += 1
            time.sleep(pause)
        took = time.perf_counter() - began
        told = moving.stdout.read() if moving.stdout is not None else ""
    if moving.returncode != 0:
        raise SystemExit(f"the move ended with {moving.returncode}: {told}")
    while len(times["after"]) < LEAST_SEARCHES:
        which = "after" if times["first after"] else "first after"
        times[which].append(search(faces, probes[len(times["after"]) % len(probes)]))
        time.sleep(pause)
    parts.watch.close()
    faces.close()
    return {name: Times(seconds) for name, seconds in times.items()}, took, json.loads(told)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--photographs", type=int, default=3000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        settings = Settings(data_dir=folder / "data", threads=given.threads)
        links, probes = drawn(given.lfw.absolute(), given.photographs, folder)
        with FaceSearch(settings=settings) as faces:
            report = faces.enroll_folder(links, face="central", keep="crop", allow_mismatch=True)
        print(f"enrolled: {report.counts}")
        times, took, told = moved(settings, given.to, probes, given.pause)
        n = int(str(told["n_embedded"]))
        print(f"\n{n:,} faces embedded again in {took:.0f} s, {n / took:.1f} a second, start, verification and switch included\n")
        print("| searches | p50 | p95 | number |\n|---|---|---|---|")
        for name, measured in times.items():
            print(f"| {name} | {measured} |")


if __name__ == "__main__":
    main()
