"""Time and recall of the vector index beside bare hnswlib, over several parameters.

Usage::

    python -m benchmarks.index [--n 100000] [--dim 128] [--intrinsic 128] [--probes 1000] [--setting M,EF_CONSTRUCTION,EF ...]
    python -m benchmarks.index --small                      from which size on the graph is worth it, only

The gallery is made up: people with four photographs each, a photograph being the person's direction plus noise such that two of
them have a cosine similarity of about ``--mated`` (0.7). Directions are uniform on the sphere, the hardest case for a graph, unless
``--intrinsic`` says in how many dimensions people differ. Mated probes are further photographs of enrolled people, non-mated ones
photographs of strangers. Times of single searches are taken in one thread.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import hnswlib
import numpy as np

from benchmarks.side_by_side import Results
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery.exact import ExactIndex
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.hnsw import HnswIndex
from facesearch.gallery.options import IndexOptions

EMBEDDER = "made-up@000000000000"
PHOTOGRAPHS = 4
SMALL = (2_500, 5_000, 10_000, 20_000, 40_000)
"""Sizes of gallery at which exact search and the graph are set beside each other."""

AT_ONCE = 32
"""Probes of one call."""

SETTINGS = ("12,100,64", "16,100,64", "16,100,128", "16,200,64", "16,200,128", "24,200,128", "32,200,128", "32,400,256")


class People:
    """Draws photographs (unit vectors) of people."""

    def __init__(self, n_people: int, dim: int, intrinsic: int, mated: float, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._basis = np.linalg.qr(self._rng.normal(size=(dim, dim)))[0][:, :intrinsic].astype(np.float32)
        self._noise = np.float32(np.sqrt(1.0 / mated - 1.0))
        self.directions = self._units(n_people)

    def _units(self, n: int) -> np.ndarray:
        drawn = self._rng.standard_normal((n, self._basis.shape[1]), dtype=np.float32)
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)) @ self._basis.T

    def photographs(self, people: np.ndarray) -> np.ndarray:
        """Return one photograph for each index of a person, -1 for a stranger."""
        vectors = self.directions[people] + self._noise * self._units(len(people))
        vectors[people < 0] = self._units(int((people < 0).sum()))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def resident_mb() -> float:
    """Return this process's memory in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def milliseconds(search, probes: Sequence) -> tuple[float, float, float]:
    """Return the mean, median and 95th percentile of a search's time."""
    for probe in probes[:100]:
        search(probe)
    times = []
    for probe in probes:
        start = time.perf_counter()
        search(probe)
        times.append(time.perf_counter() - start)
    return tuple(1e3 * float(value) for value in (np.mean(times), np.median(times), np.percentile(times, 95)))


def agreement(found: Sequence, truth: Sequence) -> tuple[float, float]:
    """Return the share of equal first answers and the mean share of the true identities found."""
    top = np.mean([bool(a) and a[0].identity_id == b[0].identity_id for a, b in zip(found, truth, strict=True)])
    kept = np.mean(
        [
            len({near.identity_id for near in a} & {near.identity_id for near in b}) / len(b)
            for a, b in zip(found, truth, strict=True)
        ]
    )
    return float(top), float(kept)


def bare_graph(index: HnswIndex, folder: Path, ef: int) -> hnswlib.Index:
    """Return the same graph without anything around it."""
    bare = hnswlib.Index("ip", index.dim)
    bare.load_index(str(next(folder.glob("graph-*.hnsw"))), max_elements=len(index))
    bare.set_ef(ef)
    return bare


def measured(batch: TemplateBatch, options: IndexOptions, groups: dict[str, tuple[list, list]], k: int) -> str:
    """Build one index and return its row of the table."""
    factory = GalleryIndexFactory(EMBEDDER, batch.vectors.shape[1], options)
    before = resident_mb()
    start = time.perf_counter()
    index = factory.empty(len(batch))
    index.add(batch, revision=1)
    build_s = time.perf_counter() - start
    grown_mb = resident_mb() - before
    cells = [f"{options.m:3d} {options.ef_construction:4d} {options.ef:4d}", f"{build_s:7.1f}", f"{grown_mb:6.0f}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        index.save(folder)
        save_s = time.perf_counter() - start
        start = time.perf_counter()
        loaded = factory.load(folder)
        load_s = time.perf_counter() - start
        bare = bare_graph(loaded, folder, options.ef)
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    cells.append(f"{save_s:5.2f} {load_s:5.2f} {size_mb:6.0f}")
    for probes, truth in groups.values():
        top, kept = agreement(loaded.search_many(probes, k), truth)
        cells.append(f"{top:.4f} {kept:.4f}")
    probes = groups["mated"][0]
    wanted = 4 * k + 8
    naked = milliseconds(lambda probe: bare.knn_query(probe.vector, k=wanted, num_threads=1), probes)
    ours = milliseconds(lambda probe: loaded.search(probe, k), probes)
    cells.append(f"{naked[1]:.3f} {naked[2]:.3f}")
    cells.append(f"{ours[1]:.3f} {ours[2]:.3f}")
    return " | ".join(cells)


def small_galleries(batch: TemplateBatch, probes: Sequence[Template], k: int) -> list[str]:
    """Return the rows of the table of small galleries: exact search beside the graph, alone and several probes at once."""
    dim = batch.vectors.shape[1]
    rows = ["templates | exact: median ms, at once ms each | graph: median ms, at once ms each | building it s"]
    for n in (size for size in SMALL if size <= len(batch)):
        part = TemplateBatch(batch.template_ids[:n], batch.identity_ids[:n], batch.vectors[:n], EMBEDDER)
        cells, build_s = [f"{n:9,}"], 0.0
        for index in (ExactIndex(EMBEDDER, dim), HnswIndex(EMBEDDER, dim, IndexOptions(kind="hnsw"))):
            start = time.perf_counter()
            index.add(part, revision=1)
            build_s = time.perf_counter() - start
            alone = milliseconds(lambda probe, index=index: index.search(probe, k), probes)
            together = milliseconds(lambda some, index=index: index.search_many(some, k), [probes[:AT_ONCE]] * 10)
            cells.append(f"{alone[1]:.3f} {together[1] / AT_ONCE:.3f}")
        rows.append(" | ".join([*cells, f"{build_s:.2f}"]))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="templates")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--intrinsic", type=int, default=0, help="dimensions in which people differ (0: all)")
    parser.add_argument("--mated", type=float, default=0.7, help="mean cosine similarity of two photographs of a person")
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--setting", action="append", help="M,EF_CONSTRUCTION,EF")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="only compare exact search and the graph in small galleries")
    parser.add_argument("--json", type=Path, help="also write what is printed for benchmarks/results.py")
    given = parser.parse_args()
    results, lines = Results("index"), []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    n_people = given.n // PHOTOGRAPHS
    people = People(n_people, given.dim, given.intrinsic or given.dim, given.mated, given.seed)
    owners = np.arange(given.n) % n_people
    batch = TemplateBatch(np.arange(1, given.n + 1), owners + 1, people.photographs(owners), EMBEDDER)
    drawn = np.random.default_rng(given.seed + 1).integers(n_people, size=given.probes)
    mated_probes = [Template(vector, EMBEDDER) for vector in people.photographs(drawn)]
    for row in small_galleries(batch, mated_probes, given.k):
        say(row)
    if given.small:
        return
    exact = ExactIndex(EMBEDDER, given.dim)
    exact.add(batch, revision=1)
    groups = {}
    for name, whom in (("mated", drawn), ("non-mated", np.full(given.probes, -1))):
        probes = [Template(vector, EMBEDDER) for vector in people.photographs(whom)]
        groups[name] = (probes, exact.search_many(probes, given.k))
    scan = milliseconds(lambda probe: exact.search(probe, given.k), groups["mated"][0][:200])
    mates = np.mean([truth[0].identity_id == who + 1 for truth, who in zip(groups["mated"][1], drawn, strict=True)])
    say(f"{given.n} templates of {n_people} people, {given.dim}-d, {given.probes} probes of each kind, k = {given.k} identities")
    say(f"exact search: median {scan[1]:.2f} ms, 95 % {scan[2]:.2f} ms; it finds the mate of {mates:.4f} of the mated probes")
    say("  M  efC   ef | build s |    MB | save  load s    MB | mated top1 all | non-m. top1 all | bare p50 p95 | ours p50 p95 ms")
    for setting in given.setting or SETTINGS:
        m, ef_construction, ef = (int(value) for value in setting.split(","))
        options = IndexOptions(kind="hnsw", m=m, ef_construction=ef_construction, ef=ef, threads=given.threads)
        say(measured(batch, options, groups, given.k))
    results.tables.append("\n".join(["```", *lines, "```"]))
    results.write(given.json)


if __name__ == "__main__":
    main()
