"""A gallery of a million templates: search beside bare hnswlib, faiss and exact search, and the time from a snapshot to an answer.

Usage::

    python -m benchmarks.million [--people 250000] [--seed 9] [--json FILE] [--only-build]

250,000 made-up people with four templates each (``benchmarks.made_people``: the covariances are LFW's), probed by 5,000 new
photographs of people enrolled and by 5,000 strangers, k = 10. The graph is built once and kept (``benchmarks.million_gallery``).
Ours, bare hnswlib on the very same graph file, and faiss run in processes of their own, which take turns over the same blocks of
probes, one probe at a time in one thread, all with the same beam ``ef``. It does not measure the database behind a gallery.

The parameters of the graph are the shipped ones, chosen on other made-up people (``benchmarks.index``), not on these.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_people import BINS, People, Spread, made_histograms
from benchmarks.million_gallery import EACH, EMBEDDER, Made, build_faiss, build_ours, truth_of
from benchmarks.million_search import K, Searched, searched, wider_table
from benchmarks.side_by_side import OURS, PEERS, Results, Worker, WorkerError, package_versions

SEARCHES = Path(__file__).with_name("million_search.py")
N_PROBES = 5000
N_EXACT = 30
N_LOADS = 3

FIRST_ANSWER = """
import sys, time
began = time.perf_counter()
from pathlib import Path
import numpy as np
from facesearch.core.template import Template
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
imported = time.perf_counter()
folder, probe, embedder = Path(sys.argv[1]), np.load(sys.argv[2]), sys.argv[3]
index = GalleryIndexFactory(embedder, len(probe), IndexOptions(kind="hnsw")).load(folder)
loaded = time.perf_counter()
found = index.search(Template(probe, embedder), 10)
answered = time.perf_counter()
print(len(index), len(found), imported - began, loaded - imported, answered - loaded)
"""


def threshold_of(n_templates: int) -> tuple[float, str]:
    """Return the threshold that ``identify`` decides at by default in a gallery of this size, and how it came about."""
    from facesearch.core.decision import DEFAULT_IDENTIFY_FPIR
    from facesearch.embedding.registry import card

    found = card("mobilenet-128")
    point = found.operating_points(flip=False).at_fpir(DEFAULT_IDENTIFY_FPIR, n_templates)
    how = f"FPIR {DEFAULT_IDENTIFY_FPIR:g} of {n_templates:,} templates: FMR {point.fmr:g}"
    return point.threshold, how + ("" if point.is_supported else ", the tightest there is evidence for")


def answered(folder: Path, probe: np.ndarray, *, is_warm: bool) -> tuple[float, list[float]]:
    """Return the seconds from starting a process to its first answer, and those of its imports, load and search.

    Args:
        folder: The snapshot.
        probe: What to search for.
        is_warm: Whether the files may lie in memory; else the kernel is asked to forget them first.
    """
    path = folder.parent / "probe.npy"
    np.save(path, probe)
    if not is_warm:
        for file in folder.iterdir():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
    began = time.perf_counter()
    command = [sys.executable, "-c", FIRST_ANSWER, str(folder), str(path), EMBEDDER]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    n_templates, n_found, *parts = done.stdout.split()
    if int(n_found) != K or int(n_templates) == 0:
        raise SystemExit(f"the gallery of {n_templates} templates answered with {n_found} people, not {K}")
    return seconds, [float(part) for part in parts]


def histogram_table(people: People) -> str:
    """Return the made score histograms beside the real ones."""
    spread = Spread.load()
    mated, non_mated = made_histograms(people, min(20_000, people.n_people))
    lines = [
        f"Scores, real ({spread.source}: {spread.n_vectors:,} photographs of {spread.n_people:,} people, "
        f"{int(spread.mated.sum()):,} mated and {int(spread.non_mated.sum()):,} non-mated pairs) beside made "
        f"({int(mated.sum()):,} and {int(non_mated.sum()):,}), share of the pairs:",
        "",
        "| score | mated, real | made | non-mated, real | made |",
        "|---|---|---|---|---|",
    ]
    shares = [counts / counts.sum() for counts in (spread.mated, mated, spread.non_mated, non_mated)]
    for low, high, *row in zip(BINS, BINS[1:], *shares, strict=False):
        if max(row) > 0:
            lines.append(f"| {low:.2f} to {high:.2f} | " + " | ".join(f"{share:.6f}" if share else "0" for share in row) + " |")
    return "\n".join(lines)


def report_searches(results: Results, made: Made, found: dict[str, Searched], truth: dict[str, np.ndarray], ef: int) -> None:
    """Add the rows of the searches."""
    n = made.n_people * 4
    what = f"HNSW search, {n:,} × 128-d, k = {K}, ef = {ef}, M = {made.m}"
    mine = found["ours"]
    p50 = {name: float(np.median(one.ms)) for name, one in found.items()}
    tails = "; ".join(f"{name} p50 {p50[name]:.3f} ms, p95 {np.percentile(one.ms, 95):.3f} ms" for name, one in found.items())
    results.add_value(f"{what}: p50", round(p50["ours"], 4), "ms", goal=0.5, note=tails)
    overhead = 100.0 * (p50["ours"] / p50["bare hnswlib"] - 1.0)
    pages = "ours asks the system for large pages for its graph, bare hnswlib does not"
    work = f"{what}: overhead of p50 over bare hnswlib on the same graph"
    results.add_value(work, round(overhead, 2), "%", goal=10.0, peer="hnswlib", note=pages)
    mated = np.arange(2 * N_PROBES) < N_PROBES
    for name, one in found.items():
        same = one.row // 4 == truth["row"] // 4
        agreed = int((same & mated).sum())
        results.add_value(
            f"{what}: top-1 agreement with exact search, mated probes, {name}",
            round(agreed / N_PROBES, 5),
            "share",
            goal=0.999 if name == "ours" else None,
            better="higher",
            note=f"{agreed}/{N_PROBES}; strangers {int((same & ~mated).sum())}/{N_PROBES}",
        )
    threshold, how = threshold_of(n)
    if mine.score is None:
        raise SystemExit("our worker returned no scores")
    said = np.where(mine.score >= threshold, mine.row // 4, -1)
    should = np.where(truth["score"] >= threshold, truth["row"] // 4, -1)
    for name, group in (("mated", mated), ("stranger", ~mated)):
        changed = int((said != should)[group].sum())
        matches = int((should[group] >= 0).sum())
        note = f"{changed}/{N_PROBES}; exact search answers {matches} of them with somebody; threshold {threshold:.4f} ({how})"
        results.add_value(f"{what}: changed decisions, {name} probes", round(changed / N_PROBES, 5), "share", note=note)
    if "faiss HNSW" in p50:
        results.rows.append(_ratio(f"{what}: one probe", "faiss HNSW", p50, "same M, ef_construction and ef"))


def _ratio(work: str, name: str, p50: dict[str, float], note: str) -> dict[str, Any]:
    row = {"work": work, "peer": name, "ours_ms": round(p50["ours"], 4), "peer_ms": round(p50[name], 4)}
    return {**row, "ratio": round(p50[name] / p50["ours"], 2), "goal": None, "note": note}


def report_loads(results: Results, made: Made, probe: np.ndarray, built_s: float) -> None:
    """Add the rows of the loads."""
    answered(made.snapshot, probe, is_warm=True)
    for name, is_warm in (("files in memory", True), ("files dropped from memory", False)):
        runs = sorted(answered(made.snapshot, probe, is_warm=is_warm) for _ in range(N_LOADS))
        seconds, (imports, load, search) = runs[N_LOADS // 2]
        note = f"imports {imports:.2f} s, load {load:.2f} s, search {1000 * search:.1f} ms; median of {N_LOADS} processes; "
        note += f"building the graph took {built_s:.0f} s, {built_s / seconds:.0f} times as long"
        work = f"load a {made.n_people * 4:,}-template gallery, cold process to first answer, {name}"
        results.add_value(work, round(seconds, 2), "s", goal=5.0, peer="rebuild", note=note)


def main() -> None:
    """Build what is missing, measure and print."""
    from facesearch.gallery.options import IndexOptions

    shipped = IndexOptions()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=250_000)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--m", type=int, default=shipped.m)
    parser.add_argument("--ef-construction", type=int, default=shipped.ef_construction)
    parser.add_argument("--ef", type=int, help="beam width (default: the one shipped for the size)")
    parser.add_argument("--only-build", action="store_true", help="make the gallery and its graphs, measure nothing")
    parser.add_argument("--without-faiss", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    made = Made(given.people, given.seed, given.m, given.ef_construction)
    ef = given.ef or shipped.ef_for(EACH * given.people)
    results = Results("million")
    built_s = build_ours(made)
    faiss_s = None if given.without_faiss or not PEERS.exists() else build_faiss(made, PEERS)
    if given.only_build:
        return
    people = made.people()
    results.tables.append(histogram_table(people))
    print(results.tables[0])
    strangers = People(Spread.load(), N_PROBES, made.seed + 1000).photographs(np.arange(N_PROBES), 0)
    probes = np.concatenate(
        [people.photographs(np.random.default_rng(made.seed).permutation(given.people)[:N_PROBES], 1), strangers]
    )
    truth = truth_of(made, probes)
    graph, rows = (str(next(made.snapshot.glob(f"{part}-*"))) for part in ("graph", "rows"))
    workers = {
        "ours": Worker(SEARCHES, "ours", OURS, folder=str(made.snapshot), ef=ef),
        "bare hnswlib": Worker(SEARCHES, "bare", OURS, path=graph, rows_path=rows, ef=ef),
    }
    if faiss_s is not None:
        try:
            workers["faiss HNSW"] = Worker(SEARCHES, "peer", PEERS, path=str(made.faiss_path), ef=ef)
        except WorkerError as exc:
            results.tables.append(f"faiss HNSW could not be measured: {str(exc).splitlines()[-1]}")
    try:
        found = searched(workers, probes)
        results.tables.append(wider_table(workers["bare hnswlib"], probes, truth["row"]))
    finally:
        for worker in workers.values():
            worker.close()
    report_searches(results, made, found, truth, ef)
    with Worker(SEARCHES, "exact", OURS, path=str(made.folder / "vectors.npy")) as worker:
        worker.hold(probes[:N_EXACT])
        worker.run()
        p50 = {"ours": float(np.median(found["ours"].ms)), "exact search": float(np.median(worker.run()[1]["ms"]))}
    results.rows.append(_ratio("one probe", "exact search", p50, f"{N_EXACT} probes through our exact index, 2 threads"))
    report_loads(results, made, probes[0], built_s)
    results.tables.append(
        f"Building took {built_s:.0f} s (ours) and {faiss_s or 0:.0f} s (faiss), each once, whatever else ran then."
    )
    results.versions = {**package_versions(OURS, ["hnswlib", "numpy"]), **package_versions(PEERS, ["faiss-cpu"])}
    results.write(given.json)


if __name__ == "__main__":
    main()
