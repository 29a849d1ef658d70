"""The definitions of all pairs, held to the figures that the network was published with."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from facesearch.bootstrap import Parts
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.cross_pairs import cross_pairs
from facesearch.evaluation.lfw import read_people
from facesearch.evaluation.resampling import all_pairs_sums, bootstrap_intervals
from facesearch.inference import native_precisions
from facesearch.settings import Settings

THRESHOLD_TOLERANCE = 0.005
"""The published templates come from another implementation of the detector."""

TAR_TOLERANCE = 0.002
"""One of the 496 people of the second list with two photographs or more."""


def templates(parts: Parts, lfw_folder: Path, people_file: str):
    """Vectors with rows of NaN for failures, and names, by our own path."""
    people = read_people(lfw_folder / people_file)
    names = {path: person.name for person in people for path in person.paths}
    embedded = parts.embed_photographs(lfw_folder / "images", names)
    vectors = np.full((len(embedded), embedded.vectors.shape[1]), np.nan, dtype=np.float32)
    vectors[embedded.acquired] = embedded.vectors
    return vectors, [names[path] for path in embedded.paths]


def published() -> dict:
    return json.loads((files("facesearch") / "models" / "mobilenet-128.json").read_text("utf-8"))["lfw"]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("people_file", "n_people"), [("peopleDevTrain.txt", 4038), ("peopleDevTest.txt", 1711)])
def test_the_published_operating_points_come_out(tmp_path, network_cache, lfw_folder, people_file, n_people):
    card = published()
    left_out = [tuple(pair) for pair in card["left_out"]]
    assert len(left_out) == 18
    parts = Parts(Settings(data_dir=tmp_path, cache_dir=network_cache, precision="f32"))
    vectors, names = templates(parts, lfw_folder, people_file)
    found = all_pairs(vectors, names, left_out=left_out)
    is_train = people_file == "peopleDevTrain.txt"
    assert (found.n_people, found.n_failures) == (n_people, int(is_train))
    points = card["single"]["operating_points"]
    assert len(points) == 5
    check = "" if is_train else "_check"
    for published_point in points:
        assert found.non_mated.total == published_point["n_check" if check else "n_non_mated"]
        assert found.n_person_pairs == published_point[f"n_people_pairs{check}"]
        there = found.at_threshold(published_point["threshold"])
        assert there.tar.value == pytest.approx(published_point[f"tar{check}"], abs=TAR_TOLERANCE)
        wanted = published_point["fmr_check"] if check else published_point["fmr"]
        # Where three false matches make the rate, one more or less is a third of it.
        assert there.false_matches.value == pytest.approx(wanted, rel=0.1, abs=3 / found.n_person_pairs)
        if is_train:
            assert found.at_fmr(published_point["fmr"]).threshold == pytest.approx(
                published_point["threshold"], abs=THRESHOLD_TOLERANCE
            )
    assert found.at_fmr(1e-4).is_supported
    assert found.at_fmr(1e-6).is_supported == is_train
    _, sums = all_pairs_sums(vectors, names, [found.at_fmr(1e-4).threshold], left_out=left_out)
    (interval,) = bootstrap_intervals(sums)
    assert 5e-5 < interval.lower < interval.value <= 1e-4 * (1 + 1e-9) < interval.upper < 2e-4


MOST_LOST = {1e-3: 0.001, 1e-5: 0.003}
"""TAR that another precision than f32 may lose at an FMR and still be the same embedder."""


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif("int8" not in native_precisions(), reason="this processor has no instructions for int8 products")
def test_int8_loses_next_to_nothing_and_its_templates_go_with_those_of_f32(tmp_path, network_cache, lfw_folder):
    left_out = [tuple(pair) for pair in published()["left_out"]]
    vectors = {}
    for precision in ("f32", "int8"):
        parts = Parts(Settings(data_dir=tmp_path, cache_dir=network_cache, precision=precision))
        vectors[precision], names = templates(parts, lfw_folder, "peopleDevTest.txt")
    people = np.array(names)
    assert not np.array_equal(vectors["f32"], vectors["int8"])
    exact, coarse = (all_pairs(vectors[precision], people, left_out=left_out, n_worst=0) for precision in ("f32", "int8"))
    sound = ~np.isin(people, [pair[0] for pair in left_out])
    same, mixed = (cross_pairs(vectors[one][sound], vectors["f32"][sound], people[sound]) for one in ("f32", "int8"))
    for fmr, lost in MOST_LOST.items():
        assert coarse.at_fmr(fmr).tar.value > exact.at_fmr(fmr).tar.value - lost
        threshold = exact.at_fmr(fmr).threshold
        assert mixed.tar(threshold).value > same.tar(threshold).value - lost
        assert mixed.false_matches(threshold).value < 1.25 * same.false_matches(threshold).value
