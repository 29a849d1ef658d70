"""Photographs a second of a folder enrolled end to end, with memory over time and what each stage costs.

PYTHONPATH=. python benchmarks/folder.py --images ../shared/data/lfw/images [--limit N] [--json FILE]

The gallery is new and in a folder of its own. The first photographs, in which networks are compiled, are left out of the rate.
The process is set up as ``facesearch index-folder`` sets up its own (``keep_heap_small``). Memory is read every 100 photographs,
while others are on their way; its growth is from the median of the readings of photographs 500 to 1,000 to that of the last 500.
Stage costs are processor time of one thread alone, measured on a part of the photographs after the run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.side_by_side import Results
from facesearch.bootstrap import FaceSearch, Parts
from facesearch.imaging.align import align_faces
from facesearch.imaging.quality import measure_quality
from facesearch.service.enroll_folder import FileOutcome
from facesearch.service.faces import choose_face
from facesearch.service.free_memory import keep_heap_small

GOAL_PER_S = 150.0
WARM_UP = 500
"""Photographs left out of the rate, and after which memory is to be flat."""

FLAT_MB = 10.0
"""Growth of resident memory, less the gallery's own share of it, that still counts as flat."""

EVERY = 100
"""Photographs between two readings of memory."""

AROUND = 500
"""Photographs whose readings make one figure: how many pixels are on their way differs from one reading to the next by 10 MB."""

SHOWN = 1_000
"""Photographs between two readings that are printed."""

STAGED = 256
"""Photographs that the stages are measured on."""


def resident_mb() -> float:
    """Return this process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@dataclass
class Watch:
    """Counts outcomes and reads clock and memory as they come."""

    began: float = 0.0
    n_done: int = 0
    warm_at: float = 0.0
    last_at: float = 0.0
    processor_s: float = 0.0
    memory: list[tuple[int, float]] = field(default_factory=list)

    def start(self) -> None:
        self.began = self.warm_at = time.perf_counter()
        self.processor_s = time.process_time()

    def __call__(self, _: FileOutcome) -> None:
        self.n_done += 1
        self.last_at = time.perf_counter()
        if self.n_done == WARM_UP:
            self.warm_at, self.processor_s = self.last_at, time.process_time()
        if self.n_done % EVERY == 0:
            self.memory.append((self.n_done, resident_mb()))


class Few:
    """A folder of links to the first so many photographs of another."""

    def __init__(self, images: Path, limit: int, place: Path) -> None:
        self.root = place
        for number, path in enumerate(sorted(images.glob("*/*.jpg"))):
            if number == limit:
                break
            (place / path.parent.name).mkdir(parents=True, exist_ok=True)
            (place / path.parent.name / path.name).symlink_to(path.absolute())


def index_mb(place: Path) -> float:
    """Return the size in MB of a gallery's index: its arrays, as the snapshot holds them.

    They are vectors, ids, and for a graph its links and its own copy of the vectors; not the dictionary of rows, the locks of nodes
    and what is reserved for more, which count as anything else's memory does.
    """
    return sum(file.stat().st_size for file in (place / "index").rglob("*") if file.is_file()) / 1e6


@dataclass(frozen=True)
class Enrolled:
    """What was measured of one run."""

    n_photographs: int
    n_enrolled: int
    counts: dict[str, int]
    seconds: float
    photographs_per_s: float
    processor_ms: float
    processors_busy: float
    memory_mb: list[tuple[int, float]]
    memory_growth_mb: float
    index_mb: float
    index_growth_mb: float


def enrolled(images: Path, face: str, place: Path) -> Enrolled:
    """Enroll a folder into a new gallery and return what was measured.

    Args:
        images: ``<label>/<picture>``.
        face: Which face of each photograph.
        place: Where the gallery goes; empty.
    """
    watch = Watch()
    keep_heap_small()
    with FaceSearch(place) as faces:
        watch.start()
        report = faces.enroll_folder(images, face=face, on_outcome=watch)
        processor_s = time.process_time() - watch.processor_s
        ended = time.perf_counter()
    n_warm = watch.n_done - WARM_UP if watch.n_done > WARM_UP else watch.n_done
    warm_s = ended - watch.warm_at
    last = watch.memory[-1][0] if watch.memory else WARM_UP
    first = [mb for n, mb in watch.memory if WARM_UP <= n <= WARM_UP + AROUND]
    final = [mb for n, mb in watch.memory if n >= max(WARM_UP, last - AROUND)]
    held_mb = index_mb(place)
    return Enrolled(
        n_photographs=watch.n_done,
        n_enrolled=report.n_enrolled,
        counts=report.counts,
        seconds=ended - watch.began,
        photographs_per_s=n_warm / warm_s,
        processor_ms=1000 * processor_s / n_warm,
        processors_busy=processor_s / warm_s,
        memory_mb=watch.memory,
        memory_growth_mb=median(final) - median(first) if first else 0.0,
        index_mb=held_mb,
        index_growth_mb=held_mb * max(0, last - AROUND - WARM_UP) / watch.n_done,
    )


def stage_costs(images: Path) -> dict[str, float]:
    """Return the milliseconds of one processor a photograph, by stage."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(FaceSearch(folder, threads=1).settings)
        paths = sorted(images.glob("*/*.jpg"))[:STAGED]
        decoded = [parts.decode(path) for path in paths]
        found = list(zip(decoded, parts.detector.detect_batch(decoded), strict=True))
        chosen = [(image, choose_face(image, own, "central", min_face_px=20)) for image, own in found if own]
        alignment = parts.embedder.alignment
        crops = [align_faces(image, (face,), alignment)[0] for image, face in chosen]
        parts.embedder.embed(crops)
        acts: dict[str, Callable[[], object]] = {
            "decode": lambda: [parts.decode(path) for path in paths],
            "detect": lambda: parts.detector.detect_batch(decoded),
            "align": lambda: [align_faces(image, (face,), alignment) for image, face in chosen],
            "quality": lambda: [measure_quality(crop, alignment) for crop in crops],
            "embed": lambda: parts.embedder.embed(crops),
        }
        costs = {}
        for name, act in acts.items():
            began = time.process_time()
            act()
            costs[name] = 1000 * (time.process_time() - began) / len(paths)
        return costs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with <label>/<picture>")
    parser.add_argument("--limit", type=int, help="only the first so many photographs")
    parser.add_argument("--face", default="central", help="which face of each photograph")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = arguments.images
        if arguments.limit is not None:
            images = Few(images, arguments.limit, Path(folder) / "few").root
        found = enrolled(images, arguments.face, Path(folder) / "gallery")
        costs = stage_costs(images)
    results = Results("folder")
    work = f"LFW folder of {found.n_photographs:,} photographs → {found.n_enrolled:,} enrolled templates"
    busy = f"{found.processor_ms:.2f} ms of a processor each, {found.processors_busy:.2f} of {os.cpu_count()} busy"
    results.add_value(work, round(found.photographs_per_s, 1), "photographs/s", goal=GOAL_PER_S, better="higher", note=busy)
    rest = found.memory_growth_mb - found.index_growth_mb
    results.add_value(
        f"growth of resident memory after the first {WARM_UP} of {found.n_photographs:,} photographs, less the index's own arrays",
        round(rest, 1),
        "MB",
        goal=FLAT_MB,
        better="lower",
        note=f"grown by {found.memory_growth_mb:.1f} MB in all, {found.index_growth_mb:.1f} MB of it the arrays of the index",
    )
    results.tables += [
        f"Resident memory grew by {found.memory_growth_mb:.1f} MB after the first {WARM_UP} photographs: "
        f"{found.index_growth_mb:.1f} MB are the arrays of the index ({found.index_mb:.1f} MB in all), {rest:.1f} MB is else.",
        "Outcomes: " + ", ".join(f"{status} {n:,}" for status, n in found.counts.items()) + ".",
        "One stage alone, ms of a processor a photograph: " + ", ".join(f"{name} {ms:.2f}" for name, ms in costs.items()) + ".",
        "Resident MB by photographs done: "
        + ", ".join(f"{n:,}: {mb:.0f}" for n, mb in found.memory_mb if n % SHOWN == 0 or n == WARM_UP)
        + ".",
    ]
    print("\n".join(results.tables))
    results.write(arguments.json)


if __name__ == "__main__":
    main()
