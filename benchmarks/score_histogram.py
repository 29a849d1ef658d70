"""How the scores of the shipped embedder are spread over pairs of one person and of two, for the scale that the page draws.

Usage::

    python -m benchmarks.score_histogram TEMPLATES.npz --lfw DIR [--write]

TEMPLATES.npz holds ``vectors`` (float32, unit norm) and ``paths`` (``Name/Name_0001.jpg``) of LFW. All pairs of
``peopleDevTest.txt`` are compared, every person weighing the same, without the pairs of names on the model card that are one person
or one mislabelled picture. No threshold comes from here: those were set on ``peopleDevTrain.txt``. ``--write`` puts the shares into
``facesearch/models/mobilenet-128.json`` under ``score_histograms`` and changes nothing else of it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.evaluation.all_pairs import AllPairs, all_pairs
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.lfw import read_people

CARD = Path(__file__).resolve().parents[1] / "facesearch" / "models" / "mobilenet-128.json"

BITS = 7
"""Bins over [-1, 1] as a power of two: 1/64 wide, about what a pixel is on a scale drawn on a phone."""


def compared(vectors: np.ndarray, paths: list[str], people_file: Path, left_out: list[list[str]]) -> AllPairs:
    """Return all pairs of a list of people; a photograph without a template is a failure."""
    rows = {path: row for row, path in enumerate(paths)}
    listed = [(path.as_posix(), one.name) for one in read_people(people_file) for path in one.paths]
    names = {name for _, name in listed}
    chosen = np.full((len(listed), vectors.shape[1]), np.nan, dtype=np.float32)
    for place, (path, _) in enumerate(listed):
        if path in rows:
            chosen[place] = vectors[rows[path]]
    kept = [(one, other) for one, other in left_out if {one, other} <= names]
    return all_pairs(chosen, [name for _, name in listed], left_out=kept, n_worst=0)


def shares(held: ScoreHistogram, bits: int = BITS) -> list[float]:
    """Return the share of the weight in each of ``2**bits`` bins over [-1, 1], the score 1 in the last, failures left out."""
    fine = held.weights[:-1].reshape(1 << bits, -1).sum(axis=1)
    fine[-1] += held.weights[-1]
    return [float(share) for share in fine / fine.sum()]


def histograms(pairs: AllPairs) -> dict[str, Any]:
    """Return what the card says, without the empty bins at both ends."""
    mated, non_mated = shares(pairs.mated), shares(pairs.non_mated)
    filled = [place for place, both in enumerate(zip(mated, non_mated, strict=True)) if max(both) > 0.0]
    first, end = filled[0], filled[-1] + 1
    width = 2.0 / (1 << BITS)
    return {
        "measured_on": "LFW, peopleDevTest",
        "n_people": pairs.n_people,
        "n_mated": pairs.mated.total,
        "n_non_mated": pairs.non_mated.total,
        "start": first * width - 1.0,
        "width": width,
        "mated": [float(f"{share:.3g}") for share in mated[first:end]],
        "non_mated": [float(f"{share:.3g}") for share in non_mated[first:end]],
    }


def main() -> None:
    """Count, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("templates", type=Path, metavar="TEMPLATES.npz")
    parser.add_argument("--lfw", type=Path, required=True, metavar="DIR")
    parser.add_argument("--write", action="store_true", help="write the model card")
    chosen = parser.parse_args()
    card = json.loads(CARD.read_text(encoding="utf-8"))
    with np.load(chosen.templates) as held:
        vectors, paths = held["vectors"], [str(path) for path in held["paths"]]
    pairs = compared(vectors, paths, chosen.lfw / "peopleDevTest.txt", card["lfw"]["left_out"])
    found = histograms(pairs)
    ends = (found["start"], found["start"] + found["width"] * len(found["mated"]))
    print(
        f"{found['measured_on']}: {found['n_people']:,} people, {found['n_mated']:,} mated and {found['n_non_mated']:,} non-mated "
        f"comparisons, {len(found['mated'])} bins of {found['width']:g} from {ends[0]:g} to {ends[1]:g}"
    )
    for point in card["lfw"]["single"]["operating_points"]:
        there = pairs.at_threshold(point["threshold"])
        print(f"threshold {point['threshold']:.4f} (FMR {point['fmr']:g}): false matches {there.false_matches}, TAR {there.tar}")
    if chosen.write:
        card["score_histograms"] = {"single": found}
        CARD.write_text(json.dumps(card, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
