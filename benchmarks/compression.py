"""What shorter templates cost: accuracy on LFW by numbers and bits a number, and a gallery's memory and speed.

Usage::

    python -m benchmarks.compression --lfw DIR --templates LFW.npz --learn OTHERS.npz [--plot docs/compression.svg]
    python -m benchmarks.compression --gallery 100000

``LFW.npz`` holds ``vectors`` (unit rows of one embedder) and ``paths`` (``Name/Name_0001.jpg``) of LFW, the other file
``vectors`` of other people's photographs, which components are learnt of. View 1 (all pairs of ``peopleDevTest.txt``, every
person weighing the same) is for choosing, View 2 (``pairs.txt``, ten folds) is reported. ``binary`` is what a gallery of that
template format does: bits choose the nearest 4 % of the other photographs, bytes are scored of these alone, at the thresholds of
``int8``; a mated photograph that is not among them is missed. (A gallery scores 512 at least, which here would be 14 %.)

The gallery is made up, its people spread as LFW's templates are (``benchmarks.made_people``), four photographs each. Memory is what
the process holds more of after building the index than before, the batch it was built of given back. Each form has its own process.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.made_people import People, Spread
from facesearch.core.arrays import normalised
from facesearch.core.compact import bit_differences, quantised, restored, sign_words
from facesearch.core.template import Template, TemplateBatch
from facesearch.embedding.compress import learn_components
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.lfw import image_path, read_pairs, read_people
from facesearch.evaluation.one_to_one import verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.free_memory import give_back_free_memory
from facesearch.store.codec import encode_vector

EMBEDDER = "made-up@000000000000"
DIMS = (128, 96, 64, 48, 32, 16)
FORMS = ("f32", "int8", "bits")
RERANKED = "binary"
CANDIDATES = 0.04
FMRS = (1e-2, 1e-3, 1e-4)
PHOTOGRAPHS = 4
INDEXES = (("f32", "exact"), ("f32", "hnsw"), ("int8", "exact"), ("int8", "hnsw"), ("binary", "auto"))
PROBES = 500


def in_form(vectors: np.ndarray, form: str) -> np.ndarray:
    """Return unit vectors as a form holds them; of bits the directions (±1, …) whose cosine is 1 − 2 · differing bits / numbers."""
    if form == "f32":
        return vectors
    return restored(quantised(vectors)) if form == "int8" else normalised(np.where(vectors > 0, 1.0, -1.0))


def reranked(vectors: np.ndarray, names: np.ndarray, thresholds: list[float]) -> list[float]:
    """Return TAR, every person weighing the same, where each photograph searches the others by bits and then by bytes."""
    codes = quantised(vectors)
    words, held_as = sign_words(codes), restored(codes)
    n_candidates = round(CANDIDATES * (len(names) - 1))
    found: dict[str, list[np.ndarray]] = {}
    for row, name in enumerate(names.tolist()):
        mated = np.flatnonzero((names == name) & (np.arange(len(names)) != row))
        if not len(mated):
            continue
        differences = bit_differences(words, words[row])
        # Of photographs that differ in as many bits all are taken for nearer; one of those counted is the photograph itself.
        ranks = np.searchsorted(np.sort(differences), differences[mated], side="right") - 1
        found.setdefault(name, []).append(np.where(ranks <= n_candidates, held_as[mated] @ held_as[row], -np.inf))
    scores = [np.concatenate(one) for one in found.values()]
    return [float(np.mean([(one >= threshold).mean() for one in scores])) for threshold in thresholds]


def accuracy(lfw: Path, templates: Path, learn: Path) -> list[tuple[int, str, int, list[float], str]]:
    """Return ``(numbers, form, bytes, TAR at FMRS on View 1, accuracy on View 2)`` of each."""
    held = np.load(templates, allow_pickle=False)
    vectors, paths = held["vectors"], [str(path) for path in held["paths"]]
    row_of = {path: row for row, path in enumerate(paths)}
    people = {person.name for person in read_people(lfw / "peopleDevTest.txt")}
    tested = np.array([row for row, path in enumerate(paths) if path.split("/")[0] in people])
    names = np.array([paths[row].split("/")[0] for row in tested.tolist()])
    pairs = read_pairs(lfw / "pairs.txt")
    sides = [
        [
            row_of.get(image_path(name, number).as_posix())
            for name, number in ((one.name_a, one.number_a), (one.name_b, one.number_b))
        ]
        for one in pairs
    ]
    others = np.load(learn, allow_pickle=False)["vectors"]
    found = []
    for dim in DIMS:
        shorter = vectors if dim == vectors.shape[1] else normalised(learn_components(others, dim)(vectors))
        for form in FORMS:
            held_as = in_form(shorter, form)
            view1 = all_pairs(held_as[tested], names, n_worst=0)
            scores = [np.nan if None in (a, b) else float(held_as[a] @ held_as[b]) for a, b in sides]
            trials = VerificationTrials(scores, np.array([one.is_mated for one in pairs]), [one.fold for one in pairs])
            n_bytes = {"f32": 4 * dim, "int8": dim, "bits": -(-dim // 8)}[form]
            tar = [view1.at_fmr(fmr).tar.value for fmr in FMRS]
            found.append((dim, form, n_bytes, tar, str(verification_report(trials).accuracy)))
            if form == "int8":
                thresholds = [view1.at_fmr(fmr).threshold for fmr in FMRS]
                tar = reranked(shorter[tested], names, thresholds)
                found.append((dim, RERANKED, dim - (-dim // 8), tar, "as int8"))
        for _, form, n_bytes, tar, view2 in found[-len(FORMS) - 1 :]:
            print(f"| {dim} | {form} | {n_bytes} | " + " | ".join(f"{100 * one:.2f}" for one in tar) + f" | {view2} |", flush=True)
    print(f"\n{len(tested)} photographs of {len(people)} people:")
    print(f"{view1.mated.total:,} mated and {view1.non_mated.total:,} non-mated pairs;")
    print(f"{len(pairs)} pairs of View 2; components learnt of {len(others):,} photographs of others")
    return found


def plot(found: list[tuple[int, str, int, list[float], str]], file: Path) -> None:
    """Draw TAR at FMR 1e-3 over bytes a template."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "facesearch"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for form in (*FORMS, RERANKED):
        points = sorted((n_bytes, 100 * tar[1], dim) for dim, name, n_bytes, tar, _ in found if name == form)
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], marker="o", label=form)
        for x, y, dim in points:
            axes.annotate(str(dim), (x, y), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=7)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("bytes a template (the numbers beside the marks: its length)")
    axes.set_ylabel("TAR at FMR 1e-3 on View 1, %")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def gallery(n: int, template_format: str, kind: str, folder: str) -> tuple[float, float, float, float, list[int]]:
    """Return bytes a template, milliseconds a search, seconds of building, bytes of the snapshot, and each probe's first person."""
    spread = Spread.load()
    made = People(spread, n // PHOTOGRAPHS, seed=1)
    owners = np.repeat(np.arange(n // PHOTOGRAPHS), PHOTOGRAPHS)
    probes = made.photographs(np.arange(PROBES) * (len(owners) // PHOTOGRAPHS // PROBES), series=99)
    parts = [made.photographs(np.arange(n // PHOTOGRAPHS), series) for series in range(PHOTOGRAPHS)]
    vectors = np.stack(parts, axis=1).reshape(-1, probes.shape[1])
    file = Path(folder) / "vectors.npy"
    np.save(file, vectors)
    del parts, vectors, made
    factory = GalleryIndexFactory(EMBEDDER, probes.shape[1], IndexOptions(kind=kind, template_format=template_format, threads=2))
    gc.collect()
    give_back_free_memory()
    before = resident()
    began = time.perf_counter()
    index = factory.empty(len(owners))
    # In parts, as the service adds them, each read from the file and let go.
    for start in range(0, len(owners), 10_000):
        part = np.fromfile(file, dtype=np.float32, count=10_000 * probes.shape[1], offset=128 + 4 * start * probes.shape[1])
        rows = np.arange(start, min(start + 10_000, len(owners)))
        index.add(TemplateBatch(rows, owners[rows], part.reshape(-1, probes.shape[1]), EMBEDDER), revision=1)
    built = time.perf_counter() - began
    gc.collect()
    give_back_free_memory()
    n_bytes = (resident() - before) / len(owners)
    asked = [Template(probe, EMBEDDER) for probe in probes]
    index.search(asked[0], 5)
    times, first = [], []
    for probe in asked:
        began = time.perf_counter()
        answer = index.search(probe, 5)
        times.append(time.perf_counter() - began)
        first.append(answer[0].identity_id)
    index.save(Path(folder) / "snapshot")
    saved = sum(one.stat().st_size for one in (Path(folder) / "snapshot").iterdir()) / len(owners)
    return n_bytes, 1e3 * float(np.median(times)), built, saved, first


def galleries(n: int) -> None:
    """Print a table of the forms of a gallery."""
    print("| held as | index | bytes a template: memory | snapshot | database | search, median ms | first person as f32 exact |")
    print("|---|---|---|---|---|---|---|")
    exact: list[int] = []
    vector = normalised(np.random.default_rng(0).normal(size=(1, 128)))[0]
    for template_format, kind in INDEXES:
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
            n_bytes, search_ms, _, saved, first = pool.apply(gallery, (n, template_format, kind, folder))
        exact = exact or first
        same = int(np.sum(np.array(first) == np.array(exact)))
        stored = len(encode_vector(vector, template_format))
        print(
            f"| {template_format} | {kind} | {n_bytes:.0f} | {saved:.0f} | {stored} | {search_ms:.2f} | {same}/{len(first)} |",
            flush=True,
        )


def missed(templates: Path) -> None:
    """Print how many of the bits' candidates it takes to hold the mated photograph that bytes would find, over LFW's templates."""
    held = np.load(templates, allow_pickle=False)
    vectors = held["vectors"]
    people = np.array([str(path).split("/")[0] for path in held["paths"]])
    _, first, counts = np.unique(people, return_index=True, return_counts=True)
    probes = np.flatnonzero(np.isin(people, people[first[counts > 1]]) & ~np.isin(np.arange(len(people)), first))
    probes = np.random.default_rng(0).choice(probes, 1000, replace=False)
    words, codes = sign_words(quantised(vectors)), restored(quantised(vectors))
    ranks = []
    for probe in probes.tolist():
        mated = np.flatnonzero((people == people[probe]) & (np.arange(len(people)) != probe))
        best = mated[int(np.argmax(codes[mated] @ vectors[probe]))]
        differences = bit_differences(words, sign_words(vectors[probe][None])[0])
        ranks.append((differences < differences[best]).sum() / len(vectors))
    for share in (0.001, 0.003, 0.01, 0.02, 0.04, 0.1):
        n_held = int((np.array(ranks) <= share).sum())
        print(f"best mated photograph among the nearest {100 * share:g} % by bits: {n_held}/{len(ranks)}")


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path)
    parser.add_argument("--templates", type=Path)
    parser.add_argument("--learn", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--gallery", type=int)
    given = parser.parse_args()
    if given.templates is not None:
        missed(given.templates)
    if given.lfw is not None and given.learn is not None:
        print("| numbers | form | bytes | " + " | ".join(f"TAR at FMR {fmr:g}, %" for fmr in FMRS) + " | View 2 |")
        print("|---|---|---|" + "---|" * (len(FMRS) + 1))
        found = accuracy(given.lfw, given.templates, given.learn)
        if given.plot is not None:
            plot(found, given.plot)
    if given.gallery is not None:
        galleries(given.gallery)


if __name__ == "__main__":
    main()
