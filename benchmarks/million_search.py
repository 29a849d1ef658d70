"""The sides of the search in a gallery of a million: ours, bare hnswlib on the same graph, faiss, and exact search.

Each is a job of a process of its own (``benchmarks.side_by_side``) that times one probe after another in one thread. It builds
nothing and judges nothing: see ``benchmarks.million``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.million_gallery import EMBEDDER
from benchmarks.side_by_side import Worker, is_worker, serve

K = 10
BLOCK = 250
"""Probes a turn: about 0.1 s."""

SETTLE_S = 5.0
"""After loading, our index exchanges the pages of its memory for large ones in the background."""

WIDER = (64, 128, 256, 512, 1024)
"""Beams of the table that says what a wider one buys."""

N_WIDER = 1000


def ours(*, folder: str, ef: int) -> Any:
    """Search through the index as the service does."""
    from facesearch.core.template import Template
    from facesearch.gallery.factory import GalleryIndexFactory
    from facesearch.gallery.options import IndexOptions

    index: Any = None

    def act(probes: np.ndarray) -> dict[str, Any]:
        nonlocal index
        if index is None:
            index = GalleryIndexFactory(EMBEDDER, probes.shape[1], IndexOptions(kind="hnsw", ef=ef)).load(Path(folder))
        templates = [Template(probe, EMBEDDER) for probe in probes]
        found, spent = [], []
        for template in templates:
            began = time.perf_counter()
            answer = index.search(template, K)
            spent.append(time.perf_counter() - began)
            found.append((answer[0].template_id - 1, answer[0].score))
        return {
            "ms": 1000.0 * np.array(spent),
            "row": np.array([row for row, _ in found]),
            "score": np.array([s for _, s in found]),
        }

    return act


def bare(*, path: str, rows_path: str, ef: int) -> Any:
    """Search the same graph through hnswlib alone."""
    import hnswlib

    template_ids = np.load(rows_path)[0]  # the graph's labels are rows of our table

    index: Any = None

    def act(given: np.ndarray | dict[str, Any]) -> dict[str, Any]:
        nonlocal index
        probes = given["probes"] if isinstance(given, dict) else given
        if index is None:
            index = hnswlib.Index("ip", probes.shape[1])
            index.load_index(path)
        index.set_ef(given["ef"] if isinstance(given, dict) else ef)
        vectors = [np.array(probe) for probe in probes]
        rows, spent = [], []
        for vector in vectors:
            began = time.perf_counter()
            labels, _ = index.knn_query(vector, k=K, num_threads=1)
            spent.append(time.perf_counter() - began)
            rows.append(labels[0][0])
        return {"ms": 1000.0 * np.array(spent), "row": template_ids[np.array(rows).astype(np.int64)] - 1}

    return act


def peer(*, path: str, ef: int) -> Any:
    """Search the graph that faiss built with the same parameters."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.read_index(path)
    index.hnsw.efSearch = ef

    def act(probes: np.ndarray) -> dict[str, Any]:
        rows, spent = [], []
        for probe in np.array(probes):
            one = probe[None]
            began = time.perf_counter()
            _, labels = index.search(one, K)
            spent.append(time.perf_counter() - began)
            rows.append(labels[0][0])
        return {"ms": 1000.0 * np.array(spent), "row": np.array(rows)}

    return act


def exact(*, path: str) -> Any:
    """Search by looking at every vector, through our own exact index."""
    from facesearch.core.template import Template, TemplateBatch
    from facesearch.gallery.exact import ExactIndex

    vectors = np.load(path)
    index = ExactIndex(EMBEDDER, vectors.shape[1])
    index.add(TemplateBatch(np.arange(len(vectors)), np.arange(len(vectors)) // 4, vectors, EMBEDDER), revision=1)

    def act(probes: np.ndarray) -> dict[str, Any]:
        spent, rows = [], []
        for template in [Template(probe, EMBEDDER) for probe in probes]:
            began = time.perf_counter()
            rows.append(index.search(template, K)[0].template_id)
            spent.append(time.perf_counter() - began)
        return {"ms": 1000.0 * np.array(spent), "row": np.array(rows)}

    return act


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What one side answered to all probes: milliseconds, rows of the first answers, and scores where the side is ours."""

    ms: np.ndarray
    row: np.ndarray
    score: np.ndarray | None


def searched(workers: dict[str, Worker], probes: np.ndarray) -> dict[str, Searched]:
    """Return what each worker answers, block after block in turns."""
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in workers}
    for worker in workers.values():
        worker.hold(probes[:BLOCK])
        worker.run()  # loads the index and warms up
    time.sleep(SETTLE_S)
    names = list(workers)
    for start in range(0, len(probes), BLOCK):
        for name in names:
            workers[name].hold(probes[start : start + BLOCK])
            parts[name].append(workers[name].run()[1])
        names.reverse()
    return {
        name: Searched(
            *(np.concatenate([part[key] for part in blocks]) if key in blocks[0] else None for key in ("ms", "row", "score"))
        )
        for name, blocks in parts.items()
    }


def wider_table(worker: Worker, probes: np.ndarray, rows: np.ndarray) -> str:
    """Return what bare hnswlib finds and takes with narrower and wider beams, for the first mated probes."""
    lines = [f"What a wider beam buys: bare hnswlib, the same graph, {N_WIDER:,} mated probes, 4-kB pages:", ""]
    lines += ["| ef | top-1 agreement with exact search | p50, ms |", "|---|---|---|"]
    for ef in WIDER:
        worker.hold({"probes": probes[:N_WIDER], "ef": ef})
        answer = worker.run()[1]
        agreed = int((answer["row"] // 4 == rows[:N_WIDER] // 4).sum())
        lines.append(f"| {ef} | {agreed / N_WIDER:.4f} ({agreed}/{N_WIDER}) | {np.median(answer['ms']):.3f} |")
    return "\n".join(lines)


if __name__ == "__main__" and is_worker():
    serve({"ours": ours, "bare": bare, "peer": peer, "exact": exact})
