"""Makes the gallery of a million templates once and keeps it: the vectors, our snapshot, and the graph that faiss builds of them.

What is kept lies in ``.bench/million``, one folder for each choice of people, parameters and seed, and is used again while these
are equal. It measures building times and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.made_people import People, Spread
from facesearch.core.template import TemplateBatch
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions

KEPT = Path(".bench/million")
EMBEDDER = "made-up@000000000000"
TRUTH_ROWS = 50_000
TRUTH_PROBES = 1000
"""Rows and probes of one matrix product of the exact search: 200 MB of scores."""

EACH = 4
"""Templates of a person."""

FAISS = """
import json, sys, time
import faiss, numpy as np
vectors, path, m, ef_construction = np.load(sys.argv[1], mmap_mode="r"), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
index = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
index.hnsw.efConstruction = ef_construction
began = time.perf_counter()
index.add(np.ascontiguousarray(vectors))
seconds = time.perf_counter() - began
faiss.write_index(index, path)
print(json.dumps({"seconds": seconds, "version": faiss.__version__}))
"""
"""Builds the peer's graph under the peer's interpreter."""


@dataclass(frozen=True, slots=True)
class Made:
    """A gallery to make.

    Attributes:
        n_people: People, each with ``EACH`` templates.
        seed: Of the people and photographs.
        m: Links a node.
        ef_construction: Beam width while building.
    """

    n_people: int
    seed: int
    m: int
    ef_construction: int

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return KEPT / f"{self.n_people}-people-seed-{self.seed}"

    @property
    def snapshot(self) -> Path:
        """The folder of our snapshot."""
        return self.folder / f"ours-m{self.m}-efc{self.ef_construction}"

    @property
    def faiss_path(self) -> Path:
        """The file of the graph of faiss."""
        return self.folder / f"faiss-m{self.m}-efc{self.ef_construction}.index"

    def people(self) -> People:
        """Return the people."""
        return People(Spread.load(), self.n_people, self.seed)

    def owners(self) -> np.ndarray:
        """Return the number of the person of each template."""
        return np.arange(self.n_people * EACH) // EACH

    def options(self, ef: int) -> IndexOptions:
        """Return the options of the index."""
        return IndexOptions(kind="hnsw", m=self.m, ef_construction=self.ef_construction, ef=ef)


def vectors_of(made: Made) -> np.ndarray:
    """Return the enrolled vectors, made the first time."""
    path = made.folder / "vectors.npy"
    if not path.exists():
        made.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp.npy")
        np.save(unfinished, made.people().photographs(made.owners(), 0))
        unfinished.rename(path)
    return np.load(path)


def build_ours(made: Made) -> float:
    """Make our snapshot where it is missing; return the seconds that building took when it was made."""
    note = made.snapshot / "built.json"
    if not note.exists():
        vectors = vectors_of(made)
        batch = TemplateBatch(np.arange(1, len(vectors) + 1), made.owners() + 1, vectors, EMBEDDER)
        index = GalleryIndexFactory(EMBEDDER, vectors.shape[1], made.options(128)).empty(len(batch))
        began = time.perf_counter()
        index.add(batch, revision=1)
        seconds = time.perf_counter() - began
        index.save(made.snapshot)
        note.write_text(json.dumps({"seconds": seconds, **asdict(made)}))
    return float(json.loads(note.read_text())["seconds"])


def build_faiss(made: Made, python: Path) -> float:
    """Make the graph of faiss where it is missing; return the seconds that building took when it was made.

    Args:
        made: What to make.
        python: The peers' interpreter.
    """
    note = made.faiss_path.with_suffix(".json")
    if not note.exists():
        vectors_of(made)
        unfinished = made.faiss_path.with_suffix(".tmp")
        arguments = [str(made.folder / "vectors.npy"), str(unfinished), str(made.m), str(made.ef_construction)]
        done = subprocess.run([str(python), "-c", FAISS, *arguments], check=True, capture_output=True, text=True)
        unfinished.rename(made.faiss_path)
        note.write_text(done.stdout)
    return float(json.loads(note.read_text())["seconds"])


def truth_of(made: Made, probes: np.ndarray) -> dict[str, np.ndarray]:
    """Return the row and the score of the template nearest to each probe by exact search, kept with the gallery.

    Scores of float32 matrix products: two templates closer than 1e-6 may stand for each other.
    """
    path = made.folder / f"truth-{hashlib.sha256(probes.tobytes()).hexdigest()[:12]}.npz"
    if not path.exists():
        vectors = vectors_of(made)
        row, score = np.zeros(len(probes), dtype=np.int64), np.full(len(probes), -2.0, dtype=np.float32)
        for start in range(0, len(vectors), TRUTH_ROWS):
            for first in range(0, len(probes), TRUTH_PROBES):
                some = slice(first, first + TRUTH_PROBES)
                scores = probes[some] @ vectors[start : start + TRUTH_ROWS].T
                place = scores.argmax(axis=1)
                best = scores[np.arange(len(place)), place]
                is_better = best > score[some]
                row[some][is_better], score[some][is_better] = place[is_better] + start, best[is_better]
        np.savez(path, row=row, score=score)
    with np.load(path) as held:
        return {"row": held["row"], "score": held["score"].astype(np.float64)}
