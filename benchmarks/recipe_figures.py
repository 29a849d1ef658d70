"""Thresholds that a recipe ships: set on one half of LFW's people, checked on the other, with the accuracy on View 2 beside them.

Usage::

    python -m benchmarks.recipe_figures NAME --lfw DIR [--write]

NAME is an added embedder (``facesearch models add``). Thresholds are set on all pairs of ``peopleDevTrain.txt`` as far as these
support them and checked on all pairs of ``peopleDevTest.txt``, every person weighing the same; the pairs of names on the model
card of mobilenet-128 that are one person, or one mislabelled picture, are left out. View 2 is reported, nothing is chosen on it.
``--write`` puts the figures into ``facesearch/models/recipes/NAME.json``. Templates are cached: an interrupted run goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.bootstrap import Parts
from facesearch.embedding.recipes import RECIPES
from facesearch.evaluation.all_pairs import AllPairs, all_pairs
from facesearch.evaluation.lfw import read_pairs, read_people
from facesearch.evaluation.one_to_one import verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.calibrate_model import CALIBRATED_FMRS
from facesearch.service.evaluate_lfw import pair_scores
from facesearch.service.photographs import EmbeddedPhotographs
from facesearch.settings import Settings

CARD = RECIPES.parent / "mobilenet-128.json"


def compared(embedded: EmbeddedPhotographs, people_file: Path) -> AllPairs:
    """Return all pairs of a list of people."""
    listed = [(path, one.name) for one in read_people(people_file) for path in one.paths]
    names = {name for _, name in listed}
    vectors = np.full((len(listed), embedded.vectors.shape[1]), np.nan, dtype=np.float32)
    for row, (path, _) in enumerate(listed):
        place = embedded.rows.get(path)
        if place is not None:
            vectors[row] = embedded.vectors[place]
    left_out = json.loads(CARD.read_text())["lfw"]["left_out"]
    chosen = [(one, other) for one, other in left_out if {one, other} <= names]
    return all_pairs(vectors, [name for _, name in listed], left_out=chosen, n_worst=0)


def figures(embedded: EmbeddedPhotographs, lfw: Path) -> dict[str, Any]:
    """Return what a recipe says of LFW, printing it."""
    train, check = (compared(embedded, lfw / f"peopleDev{part}.txt") for part in ("Train", "Test"))
    points = []
    for point in train.at_fmrs(CALIBRATED_FMRS):
        other = check.at_threshold(point.threshold)
        print(f"{point}; on the other people: false matches {other.false_matches}, TAR {other.tar}")
        if point.is_supported:
            points.append(
                {
                    "fmr": point.fmr,
                    "threshold": point.threshold,
                    "n_non_mated": point.evidence.n_comparisons,
                    "n_people": train.n_people,
                    "n_people_pairs": train.n_person_pairs,
                    "tar": round(point.tar.value, 4),
                    "fmr_check": float(f"{other.false_matches.value:.3g}"),
                    "n_check": check.non_mated.total,
                    "n_people_pairs_check": check.n_person_pairs,
                    "tar_check": round(other.tar.value, 4),
                }
            )
    pairs = read_pairs(lfw / "pairs.txt")
    is_mated, folds = np.array([pair.is_mated for pair in pairs]), np.array([pair.fold for pair in pairs])
    report = verification_report(VerificationTrials(pair_scores(pairs, embedded), is_mated, folds))
    print(report)
    if report.accuracy is None:
        raise SystemExit("pairs.txt has no folds: View 2 is expected")
    return {
        "view2": {
            "accuracy": round(100 * report.accuracy.mean, 2),
            "se": round(100 * report.accuracy.standard_error, 2),
            **{f"tar@{point.fmr:g}": [round(100 * point.tar.value, 2), point.tar.count] for point in report.tar},
        },
        "operating_points": points,
        "measured_on": "LFW (peopleDevTrain.txt)",
        "method": "thresholds of all pairs of peopleDevTrain.txt, checked on peopleDevTest.txt; faces found by this package's "
        "detector, the one nearest the middle",
        "failures_to_acquire": len(embedded.failures),
        "weighting": "every person, and every pair of people, weighs the same",
        "left_out": "18 pairs of names that are one person, or one mislabelled picture: the list of mobilenet-128's card",
    }


def write(name: str, sha256: str, found: dict[str, Any]) -> None:
    """Put figures into the recipe, beside the file that they are of."""
    path = RECIPES / f"{name}.json"
    recipe = json.loads(path.read_text(encoding="utf-8"))
    files = [file for file in recipe["files"] if file.get("sha256") == sha256]
    if not files:
        raise SystemExit(f"{path.name} knows no file of SHA-256 {sha256}")
    files[0]["lfw"] = {"single": found}
    path.write_text(json.dumps(recipe, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {path.name}")


def main() -> None:
    """Measure one embedder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--lfw", type=Path, required=True, help="LFW's folder")
    parser.add_argument("--cache", type=Path, help="folder of the templates' cache")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--write", action="store_true", help="put the figures into the recipe")
    given = parser.parse_args()
    parts = Parts(Settings(embedder=given.name, precision="f32", threads=given.threads))
    paths = {path for one in read_people(given.lfw / "people.txt") for path in one.paths}
    embedded = parts.embed_photographs(given.lfw / "images", paths, face="central", cache=given.cache)
    found = figures(embedded, given.lfw)
    if given.write:
        write(given.name, parts.card.sha256, found)


if __name__ == "__main__":
    main()
