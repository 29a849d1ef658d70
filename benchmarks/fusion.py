"""Best-of, mean and quality-weighted mean on the people of LFW with four or more photographs.

Usage::

    python benchmarks/fusion.py --lfw LFW [--templates FILE.npz] [--seeds 5]

Gallery: the people of one half of the folds (1-5 or 6-10) with four or more photographs, some photographs of each drawn at random.
Mated probes: their other photographs, every person weighted the same. Strangers: the half's people with one photograph, one probe
each. Closed set: rank 1. Open set: FNIR at FPIR 1e-2, the threshold being the one that gives this FPIR on the *other* half.
Each line is the mean over the seeds.
FPIR(T) and FPIR(P) are the rates that the shipped operating points lead to when they are asked for 1e-2, by the union bound over
templates and over people; the last column counts as ``Fusion.n_comparisons`` does. The rule is chosen by the FNIR on one half; its
FNIR on the other is what counts, both ways round.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lfw_gallery import LfwTemplates, lfw_templates

from facesearch.core.decision import OperatingPoints
from facesearch.core.face import Detection
from facesearch.core.fusion import Fusion, fused_vector, quality_weight
from facesearch.embedding.registry import card

FPIR = 1e-2
GALLERY_SIZES = (2, 3, 5, 0)


@dataclass(frozen=True, eq=False)
class Trial:
    """Scores of one drawn gallery under one rule.

    Attributes:
        mated: float ``(P, G)``, scores of the mated probes against the people.
        owners: int ``(P,)``, the column of each probe's person.
        weights: float ``(P,)``, adding up to 1, every person the same.
        strangers: float ``(S,)``, highest score of each stranger.
        template_counts: Templates of each person in the gallery.
    """

    mated: np.ndarray
    owners: np.ndarray
    weights: np.ndarray
    strangers: np.ndarray
    template_counts: tuple[int, ...]

    def threshold(self) -> float:
        """Return the threshold of which ``FPIR`` of the strangers stay above."""
        ranked = np.sort(self.strangers)[::-1]
        return float(np.nextafter(ranked[int(FPIR * len(ranked))], 2.0))

    def fpir(self, threshold: float) -> float:
        """Return the share of strangers who come back as somebody."""
        return float((self.strangers >= threshold).mean())

    def fnir(self, threshold: float) -> float:
        """Return the share of mated searches whose person is not first, or below the threshold."""
        is_found = (self.mated.argmax(axis=1) == self.owners) & (self.mated.max(axis=1) >= threshold)
        return float(1.0 - self.weights @ is_found)


def weight(data: LfwTemplates, row: int) -> float:
    """Return the weight that the package gives a photograph."""
    side = float(data.sides[row])
    return quality_weight(Detection((0.0, 0.0, side, side), np.zeros((5, 2), dtype=np.float32), float(data.scores[row])))


def trials(data: LfwTemplates, half: int, n_gallery: int, seed: int) -> dict[Fusion, Trial]:
    """Draw a gallery with ``n_gallery`` photographs a person (0: all but one) and score it under each rule."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(data.people)
    is_half = data.half == half
    gallery, probes, owners = [], [], []
    for column, person in enumerate(np.unique(data.people[is_half & (counts[data.people] >= 4)])):
        rows = rng.permutation(np.flatnonzero(data.people == person))
        n_kept = min(n_gallery or len(rows), len(rows) - 1)
        gallery.append(rows[:n_kept])
        probes.append(rows[n_kept:])
        owners.append(np.full(len(rows) - n_kept, column))
    everyone, owner = np.concatenate(gallery), np.concatenate(owners)
    weights = 1.0 / np.bincount(owner)[owner] / len(gallery)
    mated = data.vectors[np.concatenate(probes)]
    strangers = data.vectors[is_half & (counts[data.people] == 1)]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in gallery])[:-1]])
    found = {}
    for rule in Fusion:
        if rule is Fusion.BEST:
            scores = [np.maximum.reduceat(part @ data.vectors[everyone].T, starts, axis=1) for part in (mated, strangers)]
        else:
            weighted = rule is Fusion.QUALITY
            fused = np.stack(
                [fused_vector(data.vectors[rows], [weight(data, row) for row in rows] if weighted else None) for rows in gallery]
            )
            scores = [part @ fused.T for part in (mated, strangers)]
        found[rule] = Trial(scores[0], owner, weights, scores[1].max(axis=1), tuple(map(len, gallery)))
    return found


def line(rule: Fusion, fitted: Sequence[Trial], held: Sequence[Trial], points: OperatingPoints) -> tuple[str, float, float]:
    """Return a rule's line of the table, and its FNIR on both halves."""
    thresholds = [one.threshold() for one in fitted]
    pairs = list(zip(held, thresholds, strict=True))
    fnir_fitted = float(np.mean([one.fnir(threshold) for one, threshold in zip(fitted, thresholds, strict=True)]))
    fnir = float(np.mean([one.fnir(threshold) for one, threshold in pairs]))
    by_templates = float(np.mean([one.fpir(points.at_fpir(FPIR, sum(one.template_counts)).threshold) for one in held]))
    by_people = float(np.mean([one.fpir(points.at_fpir(FPIR, one.mated.shape[1]).threshold) for one in held]))
    n_counted = [rule.n_comparisons(one.template_counts) for one in held]
    shipped = float(np.mean([one.fpir(points.at_fpir(FPIR, n).threshold) for one, n in zip(held, n_counted, strict=True)]))
    n_strangers = len(held[0].strangers)
    cells = (
        f"{rule!s:8}",
        f"{np.mean([one.fnir(-1.0) for one in held]):9.4f}",
        f"{fnir_fitted:9.4f}",
        f"{fnir:9.4f}",
        f"{np.mean([one.fpir(threshold) for one, threshold in pairs]):9.4f}",
        f"{np.mean(thresholds):9.4f}",
        f"{by_templates:9.4f}",
        f"{by_people:9.4f}",
        f"{shipped:9.4f}",
    )
    counts = f"  ({held[0].mated.shape[1]} people, {len(held[0].owners)} mated, {n_strangers} strangers)"
    return " ".join(cells) + counts, fnir_fitted, fnir


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--templates", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    data = lfw_templates(options.lfw, options.templates)
    points = card("mobilenet-128").operating_points(flip=False)
    names = ("1-rank1", "FNIR fit", "FNIR", "FPIR", "threshold", "FPIR(T)", "FPIR(P)", "FPIR")
    print(
        f"asked FPIR {FPIR}; FPIR(T), FPIR(P): of the shipped points, by the union bound over templates, people; last: as shipped\n"
    )
    for n_gallery in GALLERY_SIZES:
        for fit in (0, 1):
            drawn = [(trials(data, fit, n_gallery, seed), trials(data, 1 - fit, n_gallery, seed)) for seed in range(options.seeds)]
            size = f"{n_gallery} photographs" if n_gallery else "all photographs but one"
            print(f"{size} a person in the gallery; fitted on half {fit + 1}, reported on half {2 - fit}")
            print(" ".join((f"{'':8}", *(f"{name:>9}" for name in names))))
            found = {rule: line(rule, [one[rule] for one, _ in drawn], [two[rule] for _, two in drawn], points) for rule in Fusion}
            for text, *_ in found.values():
                print(text)
            chosen = min(found, key=lambda rule: found[rule][1])
            print(f"chosen on half {fit + 1}: {chosen}; its FNIR on half {2 - fit}: {found[chosen][2]:.4f}\n")


if __name__ == "__main__":
    main()
