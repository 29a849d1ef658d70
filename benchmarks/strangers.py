"""How often strangers come back as somebody: people of LFW enrolled, others searched, decided as ``identify`` decides.

The gallery is photograph 0001 of people drawn from those with two or more, the mated probes are their photographs 0002, the
strangers photographs 0001 of people drawn from all the others. The face is the one nearest the photograph's centre. Nothing is
fitted here. The shipped points were measured on people of LFW, some of whom take part: the others are counted apart too.

    PYTHONPATH=. python benchmarks/strangers.py --lfw ../shared/data/lfw
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facesearch.bootstrap import Parts
from facesearch.core.errors import FaceSearchError
from facesearch.evaluation.intervals import Rate
from facesearch.evaluation.lfw import image_path, read_people
from facesearch.service.facade import FaceSearchService
from facesearch.settings import Settings

FPIRS = (1e-1, 1e-2, 1e-3)


def drawn(lfw: Path, n_enrolled: int, n_strangers: int, seed: int) -> tuple[list[str], list[str]]:
    """Return the people to enroll and the strangers."""
    rng = np.random.default_rng(seed)
    people = sorted(folder.name for folder in (lfw / "images").iterdir() if folder.is_dir())
    several = [name for name in people if (lfw / "images" / image_path(name, 2)).exists()]
    enrolled = sorted(rng.choice(several, n_enrolled, replace=False).tolist())
    others = sorted(set(people).difference(enrolled))
    return enrolled, sorted(rng.choice(others, n_strangers, replace=False).tolist())


def main() -> None:
    """Enroll, search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder with images/ and peopleDevTrain.txt")
    parser.add_argument("--enrolled", type=int, default=1_000)
    parser.add_argument("--strangers", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    images = arguments.lfw / "images"
    enrolled, strangers = drawn(arguments.lfw, arguments.enrolled, arguments.strangers, arguments.seed)
    fitted_on = {person.name for person in read_people(arguments.lfw / "peopleDevTrain.txt")}
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Settings(data_dir=folder, cache_dir=Path(folder) / "cache"))
        with FaceSearchService(parts.services) as faces:
            failed = 0
            for name in track(enrolled, "enroll", console=Console(stderr=True)):
                try:
                    faces.enroll(images / image_path(name, 1), name, face="central", allow_duplicate=True)
                except FaceSearchError:
                    failed += 1
            probes = [(name, images / image_path(name, 1)) for name in strangers]
            probes += [(name, images / image_path(name, 2)) for name in enrolled]
            found = {}
            for done in track(
                parts.pipeline.stream(probes_of(probes), "central"), "search", len(probes), console=Console(stderr=True)
            ):
                found[done.key] = done.face
            table = Table(title=f"{arguments.enrolled} people enrolled ({failed} failed), seed {arguments.seed}")
            for heading in ("FPIR asked", "threshold", "supported", "strangers returned as somebody",
                            "of them not of peopleDevTrain", "enrolled people not found or not first"):  # fmt: skip
                table.add_column(heading, justify="right")
            for fpir in FPIRS:
                table.add_row(*row(parts, found, enrolled, strangers, fitted_on, fpir))
            console.print(table)


def probes_of(probes: list[tuple[str, Path]]) -> list[tuple[tuple[str, str], Path]]:
    """Return the probes keyed by person and file."""
    return [((name, path.name), path) for name, path in probes]


def row(parts: Parts, found: dict, enrolled: list[str], strangers: list[str], fitted_on: set[str], fpir: float) -> list[str]:
    """Return the figures for one rate."""
    decide = parts.services.identify
    answers = {
        key: decide((face,), 5, collection="default", fpir=fpir)[0] if face is not None else None for key, face in found.items()
    }
    stranger_keys = [(name, image_path(name, 1).name) for name in strangers]
    false = [key for key in stranger_keys if answers[key] is not None and answers[key].is_match]
    fresh = [key for key in stranger_keys if key[0] not in fitted_on]
    fresh_false = [key for key in false if key[0] not in fitted_on]
    mated = {name: answers[name, image_path(name, 2).name] for name in enrolled}
    missed = sum(answer is None or answer.label != name for name, answer in mated.items())
    point = next(answer for answer in answers.values() if answer is not None)
    return [
        f"{fpir:g}",
        f"{point.threshold:.4f}",
        "yes" if point.fpir_supported else "no",
        f"{Rate(len(false), len(stranger_keys))}",
        f"{Rate(len(fresh_false), len(fresh))}",
        f"{Rate(missed, len(enrolled))}",
    ]


if __name__ == "__main__":
    main()
