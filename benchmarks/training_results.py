"""What training was for: networks compared on all pairs of people they were neither trained nor chosen on.

    python -m benchmarks.training_results LFW_STORE --people peopleDevTest.txt --fmr 1e-4 --against mobilenet-128 RUN…
    python -m benchmarks.training_results LFW_STORE --people peopleDevTest.txt --fmr 1e-2 --pixels CELEBA_STORE --untrained RUN…

A RUN is a folder of ``train run``; its best network is measured. ``--against`` an embedder gives the difference with its 95 %
interval, the same people being drawn for both (paired identity bootstrap). ``--pixels`` measures raw pixels (grey, 28×28) behind
principal components learnt of another store's crops, as they are and whitened; ``--untrained`` each run's network before training.
Every person weighs the same; float32 throughout; each network at its own threshold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from facesearch.embedding.embedding_network import build_network
from facesearch.embedding.networks import build_network as module_of
from facesearch.embedding.prepared import Prepared
from facesearch.embedding.registry import card
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.resampling import PairSums, all_pairs_sums, bootstrap_differences, bootstrap_intervals
from facesearch.training.crop_store import CropStore
from facesearch.training.export import load_best
from facesearch.training.norms import fresh_statistics
from facesearch.training.run_folder import RunFolder
from facesearch.training.validation import embedded, read_names

N_COMPONENTS = 128
NORM_CROPS = 128
PIXELS_PX = 28


def grey(store: CropStore) -> np.ndarray:
    """Return each crop as a row of 784 grey values, mean 0 and norm 1."""
    rows = [
        cv2.resize(cv2.cvtColor(np.ascontiguousarray(store.crop(place)), cv2.COLOR_RGB2GRAY), (PIXELS_PX, PIXELS_PX)).ravel()
        for place in range(len(store))
    ]
    values = np.array(rows, dtype=np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def pixels_and_components(store: CropStore, learn: CropStore) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors of raw pixels projected on principal components of other crops: as they are, and whitened."""
    known = grey(learn)
    mean = known.mean(axis=0)
    _, singular, directions = np.linalg.svd(known - mean, full_matrices=False)
    plain = (grey(store) - mean) @ directions[:N_COMPONENTS].T
    whitened = plain / (singular[:N_COMPONENTS] / np.sqrt(len(known)))
    return unit(plain), unit(whitened)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of norm 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measured(name: str, vectors: np.ndarray, store: CropStore, fmr: float) -> PairSums:
    """Print a line; return the sums of mated pairs at the network's own threshold."""
    pairs = all_pairs(vectors, store.labels, n_worst=0)
    point = pairs.at_fmr(fmr)
    mated, _ = all_pairs_sums(vectors, store.labels, [point.threshold])
    (interval,) = bootstrap_intervals(mated)
    low, high = 100 * interval.lower, 100 * interval.upper
    print(f"{name}: {point}; 95 % interval {low:.2f} to {high:.2f} %", flush=True)
    return mated


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--people", type=Path, required=True)
    parser.add_argument("--fmr", type=float, default=1e-4)
    parser.add_argument("--against")
    parser.add_argument("--pixels", type=Path)
    parser.add_argument("--untrained", action="store_true")
    arguments = parser.parse_intermixed_args()
    store = CropStore.open(arguments.store).of_people(read_names(arguments.people))
    print(f"{len(store)} crops of {len(store.people)} people")

    def of(network: torch.nn.Module) -> np.ndarray:
        return embedded(network.eval(), store, device="cpu", bf16=False)

    if arguments.pixels is not None:
        plain, whitened = pixels_and_components(store, CropStore.open(arguments.pixels))
        measured("pixels + PCA", plain, store, arguments.fmr)
        measured("pixels + whitened PCA", whitened, store, arguments.fmr)
    before = None
    if arguments.against is not None:
        before = measured(arguments.against, of(module_of(card(arguments.against))), store, arguments.fmr)
    for run in arguments.runs:
        network = load_best(RunFolder(run))
        if arguments.untrained:
            torch.manual_seed(0)
            fresh = build_network(network.architecture)
            prepared = Prepared(fresh, network.architecture.preparation)
            # Norms as they begin would make one vector of everything: they get the statistics of crops, as after training.
            crops = (torch.from_numpy(store.crops(np.arange(at, at + NORM_CROPS))) for at in range(0, 4 * NORM_CROPS, NORM_CROPS))
            with fresh_statistics(fresh, prepared, crops):
                measured(f"{run.name}, untrained", of(prepared), store, arguments.fmr)
        after = measured(run.name, of(Prepared(network, network.architecture.preparation)), store, arguments.fmr)
        if before is not None:
            (gap,) = bootstrap_differences(after, before)
            told = f"{100 * gap.value:+.2f} points, 95 % interval {100 * gap.lower:+.2f} to {100 * gap.upper:+.2f}"
            print(f"{run.name} less {arguments.against}: {told}")


if __name__ == "__main__":
    main()
