"""Enrolls a folder in a process of its own, slowly and with networks that look everything up, for others to interrupt.

python -m tests.integration.interrupted_run DATA_FOLDER PEOPLE_FOLDER SECONDS_A_FACE: prints a line a file that was told of.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from facesearch.service import enroll_folder
from tests.world import FakeNetworks, World

N_PEOPLE = 20
N_EACH = 6


class SlowNetworks(FakeNetworks):
    """An embedder that takes its time."""

    def __init__(self, seconds_a_face: float) -> None:
        super().__init__()
        self.seconds_a_face = seconds_a_face

    def embed(self, crops):
        time.sleep(self.seconds_a_face * len(crops))
        return super().embed(crops)


def make_people(root: Path) -> None:
    """Write the files that stand for photographs; every tenth shows nobody."""
    for person in range(N_PEOPLE):
        for number in range(N_EACH):
            path = root / f"P{person:02d}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{person} {number}".encode())


def world_of(data: Path, root: Path, seconds_a_face: float = 0.0) -> World:
    """Return a world that knows the files' faces."""
    networks = SlowNetworks(seconds_a_face)
    for place, path in enumerate(sorted(root.glob("*/*.jpg"))):
        if place % 10 == 7:
            networks.photo(str(path))
        else:
            networks.portrait(str(path), int(path.parent.name[1:]), 0.9, photo=place)
    data.mkdir(exist_ok=True)
    return World(data, networks=networks)


def main() -> None:
    """Enroll, in small groups."""
    enroll_folder.GROUP_FACES = 8
    data, root = Path(sys.argv[1]), Path(sys.argv[2])
    world = world_of(data, root, float(sys.argv[3]))
    report = world.faces.enroll_folder(root, on_outcome=lambda one: print(one.status, one.path, flush=True))
    world.close()
    print(f"done {report.n_enrolled} {report.n_known} {world.networks.n_embedded}", flush=True)


if __name__ == "__main__":
    main()
