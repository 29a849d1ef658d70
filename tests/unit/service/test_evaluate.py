"""The evaluations over fake networks: figures with counts, groups, warnings, and bad input said before anything is embedded."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.service.evaluate_folder import EvaluateFolder
from facesearch.service.evaluate_groups import complement, groups_of_people
from facesearch.service.evaluate_lfw import EvaluateLfw, people_file_of
from facesearch.service.evaluate_pairs import EvaluatePairs
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.evaluation_data import KnownPeople
from facesearch.service.photograph_lists import Attributes
from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from tests.world import FakeNetworks

LOOSE = EvaluationOptions(fmrs=(0.2,))


class Gallery:
    """A folder of people, two photographs each, whose faces the fake networks know."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "people"
        self.networks = FakeNetworks()
        nets = self.networks
        pipeline = FacePipeline(nets.decode, nets, nets.align, nets, min_face_px=20)
        self.embed = EmbedPhotographs(pipeline, {"embedder": "fake"})

    def add(self, label: str, number: int, person: int | None, likeness: float = 0.9) -> Path:
        path = self.root / label / f"{label}_{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
        if person is None:
            self.networks.photo(str(path))
        else:
            self.networks.portrait(str(path), person, likeness, photo=len(self.networks.photos))
        return path.relative_to(self.root)

    def fill(self, n_people: int) -> Gallery:
        for person in range(n_people):
            for number in (1, 2):
                self.add(f"P{person:02d}", number, person)
        return self


@pytest.fixture
def gallery(tmp_path):
    return Gallery(tmp_path)


def test_a_folder_is_measured_with_counts(gallery):
    gallery.fill(12).add("P99", 1, None)
    result = EvaluateFolder(gallery.embed)(gallery.root, options=LOOSE)
    figures = result.as_dict()
    assert (figures["n_photographs"], figures["n_people"], len(figures["failures_to_acquire"])) == (25, 13, 1)
    pairs = figures["all_pairs"]
    assert (pairs["n_mated"], pairs["n_non_mated"], pairs["n_failures"]) == (12, 25 * 24 // 2 - 12, 1)
    (point,) = pairs["points"]
    assert (point["tar"]["count"], point["tar"]["total"]) == (12, 12)
    assert 0.0 <= point["false_matches"]["rate"] <= 0.2
    assert point["tar_interval"][1] == 1.0
    assert figures["open_set"]["n_gallery"] == 12
    assert figures["open_set"]["ranks"][0]["rate"] == 1.0
    assert str(result.people)


def test_a_file_that_vanishes_is_counted(gallery):
    gallery.fill(3)
    gone = gallery.root / "P01" / "P01_0002.jpg"
    del gallery.networks.photos[str(gone)]

    class Vanishing(EmbedPhotographs):
        def __call__(self, root, paths, **asked):
            gone.unlink()
            return super().__call__(root, paths, **asked)

    nets = gallery.networks
    embed = Vanishing(FacePipeline(nets.decode, nets, nets.align, nets, min_face_px=20), {})
    result = EvaluateFolder(embed)(gallery.root, options=LOOSE)
    assert [(one.path, one.code) for one in result.embedded.failures] == [("P01/P01_0002.jpg", "vanished")]
    assert result.people.pairs.mated.total == 3


@pytest.mark.parametrize(("people", "said"), [([0, 0], "one person"), ([0, 1], "one each"), ([], "nothing")])
def test_too_little_is_said_before_anything_is_embedded(gallery, people, said):
    gallery.root.mkdir(parents=True)
    for number, person in enumerate(people):
        gallery.add(f"P{person}", number, person)
    with pytest.raises(InputError, match=said):
        EvaluateFolder(gallery.embed)(gallery.root, options=LOOSE)
    assert gallery.networks.n_embedded == 0


def test_an_fmr_beyond_the_evidence_is_answered_with_the_bound(gallery):
    result = EvaluateFolder(gallery.fill(6).embed)(gallery.root, options=EvaluationOptions(fmrs=(1e-4,)))
    (point,) = result.as_dict()["all_pairs"]["points"]
    assert point["is_supported"] is False
    assert point["bound"] > 1e-4
    assert any("60 comparisons support nothing below 5e-2" in warning for warning in result.people.warnings)


def test_people_trained_on_are_warned_of_first(gallery):
    options = EvaluationOptions(fmrs=(0.2,), trained_on=frozenset({"P00", "Somebody"}))
    result = EvaluateFolder(gallery.fill(3).embed)(gallery.root, options=options)
    assert "1 of 3 people" in result.people.warnings[0]


@pytest.mark.parametrize("fmrs", [(), (0.0,), (2.0,)])
def test_rates_out_of_range_are_refused(fmrs):
    with pytest.raises(InputError):
        EvaluationOptions(fmrs=fmrs)


def random_people(n_people, n_each, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([f"p{number:02d}" for number in range(n_people)], n_each)
    centres = np.repeat(rng.normal(size=(n_people, 8)), n_each, axis=0)
    vectors = centres + rng.normal(size=centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return KnownPeople(tuple(Path(f"{row}.jpg") for row in range(labels.size)), labels, vectors.astype(np.float32))


def test_groups_are_measured_within_at_the_common_threshold():
    known = random_people(30, 3)
    attributes = Attributes("side", by_label={f"p{number:02d}": "left" if number < 20 else "right" for number in range(29)})
    points = all_pairs(known.vectors, known.labels).at_fmrs((0.1,))
    groups, unstated = groups_of_people(known, attributes, points)
    assert unstated == 3
    assert [(group.group, group.n_people, group.n_photographs) for group in groups] == [("left", 20, 60), ("right", 9, 27)]
    for group, own in zip(groups, (range(60), range(60, 87)), strict=True):
        scores = known.vectors @ known.vectors.T
        apart = [(a, b) for a in own for b in own if a < b and known.labels[a] != known.labels[b]]
        together = [(a, b) for a in own for b in own if a < b and known.labels[a] == known.labels[b]]
        (point,) = group.points
        assert point.threshold == points[0].threshold
        assert (point.false_matches.count, point.false_matches.total) == (
            sum(scores[pair] >= point.threshold for pair in apart),
            len(apart),
        )
        assert (point.non_matches.count, point.non_matches.total) == (
            sum(scores[pair] < point.threshold for pair in together),
            len(together),
        )
        assert point.fmr_interval[0] <= point.false_matches.value <= point.fmr_interval[1]
        assert point.fnmr_interval[0] <= point.non_matches.value <= point.fnmr_interval[1]
    assert groups[0].points[0].remark == ""
    assert groups[1].points[0].remark == "FNMR too small to say: 9 people with two photographs"


def test_groups_too_small_to_say_are_named():
    known = random_people(12, 2)
    of_one = Attributes("side", by_label={f"p{number:02d}": "many" if number else "alone" for number in range(12)})
    (alone, many), _ = groups_of_people(known, of_one, all_pairs(known.vectors, known.labels).at_fmrs((0.2, 0.01)))
    assert alone.group == "alone"
    assert all("too small to say" in point.remark and point.false_matches is None for point in alone.points)
    assert [point.remark for point in many.points] == [
        "",
        "FMR too small to say: 2.2 false matches expected of 220 comparisons",
    ]


def test_an_attribute_that_nobody_has_is_said():
    known = random_people(3, 2)
    with pytest.raises(InputError, match="none of the 6 photographs has a side"):
        groups_of_people(known, Attributes("side", by_label={"other": "left"}), ())


def test_the_complement_keeps_the_counts():
    point = all_pairs(*(lambda known: (known.vectors, known.labels))(random_people(5, 2))).at_fmr(0.1)
    missed = complement(point.tar)
    assert missed.count + point.tar.count == missed.total == point.tar.total
    assert missed.value + point.tar.value == pytest.approx(1.0)


def write_pairs(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("a", "b", "same"), *rows])


def test_a_list_of_pairs_is_measured(gallery):
    gallery.fill(12)
    name = "P{0:02d}/P{0:02d}_{1:04d}.jpg".format
    mated = [(name(person, 1), name(person, 2), 1) for person in range(12)]
    apart = [(name(person, 1), name((person + 1) % 12, 2), 0) for person in range(12)]
    write_pairs(gallery.root / "pairs.csv", [*mated, *apart, apart[0], (name(3, 1), "missing.jpg", 0)])
    result = EvaluatePairs(gallery.embed)(gallery.root / "pairs.csv", options=LOOSE)
    figures = result.as_dict()
    assert (figures["n_mated"], figures["n_non_mated"], figures["n_failures"], figures["n_repeated"]) == (12, 13, 1, 1)
    assert figures["failures_to_acquire"][0]["code"] == "vanished"
    assert figures["are_independent"] is False
    (point,) = figures["points"]
    assert (point["tar"]["count"], point["tar"]["total"]) == (12, 12)
    assert point["tar_interval"] is not None
    assert [score for _, score in result.worst(is_mated=False)] == sorted(
        (s for _, s in result.worst(is_mated=False)), reverse=True
    )
    assert len(result.worst(is_mated=True)) == 12
    assert "24 pairs" not in str(result)
    assert "25 pairs" in str(result)


def test_pairs_of_separate_people_have_wilsons_interval(gallery):
    gallery.fill(6)
    name = "P{0:02d}/P{0:02d}_{1:04d}.jpg".format
    rows = [(name(0, 1), name(0, 2), "same"), (name(1, 1), name(1, 2), "true"), (name(2, 1), name(3, 1), "false")]
    write_pairs(gallery.root / "pairs.csv", rows)
    result = EvaluatePairs(gallery.embed)(gallery.root / "pairs.csv", options=EvaluationOptions(fmrs=(0.5,)))
    assert result.are_independent
    assert result.points[0].tar_interval == result.points[0].at.tar.interval()


def test_groups_of_pairs(gallery):
    gallery.fill(12)
    name = "P{0:02d}/P{0:02d}_{1:04d}.jpg".format
    rows = [(name(person, 1), name(person, 2), 1) for person in range(12)]
    rows += [(name(a, 1), name(b, 2), 0) for a in range(12) for b in range(12) if a < b]
    write_pairs(gallery.root / "pairs.csv", rows)
    attributes = Attributes("side", by_label={f"P{number:02d}": "left" if number < 11 else "right" for number in range(12)})
    options = EvaluationOptions(fmrs=(0.2,), attributes=attributes)
    result = EvaluatePairs(gallery.embed)(gallery.root / "pairs.csv", options=options)
    left, right = result.groups
    assert (left.points[0].false_matches.total, left.points[0].non_matches.total, left.points[0].remark) == (55, 11, "")
    assert right.points[0].false_matches is None
    assert "no comparison of two people" in right.points[0].remark
    assert any("11 of 78 pairs" in warning for warning in result.warnings)


def test_pairs_without_a_face_are_said(gallery):
    for number in (1, 2, 3):
        gallery.add("Nobody", number, None)
    name = "Nobody/Nobody_{:04d}.jpg".format
    write_pairs(gallery.root / "pairs.csv", [(name(1), name(2), 1), (name(2), name(3), 0)])
    with pytest.raises(InputError, match="none of the 3 photographs"):
        EvaluatePairs(gallery.embed)(gallery.root / "pairs.csv", options=LOOSE)


def test_lfw_measures_pairs_and_people(gallery, tmp_path):
    gallery.fill(12)
    for person in range(12, 24):
        gallery.add(f"P{person:02d}", 1, person)
    mated = ["P00\t1\t2", "P01\t1\t2"]
    apart = ["P00\t1\tP02\t1", "P01\t1\tP03\t2"]
    (tmp_path / "pairs.txt").write_text("\n".join(["2\t1", mated[0], apart[0], mated[1], apart[1], ""]))
    sizes = [f"P{person:02d}\t{2 if person < 12 else 1}" for person in range(24)]
    (tmp_path / "people.txt").write_text("\n".join(["1", "24", *sizes, ""]))
    measure = EvaluateLfw(gallery.embed)
    alone = measure(gallery.root, tmp_path / "pairs.txt")
    assert (alone.people, alone.n_photographs, alone.report.n_pairs) == (None, 6, 4)
    people = people_file_of(tmp_path / "pairs.txt")
    assert people == tmp_path / "people.txt"
    whole = measure(gallery.root, tmp_path / "pairs.txt", people_file=people, options=LOOSE)
    assert whole.report.as_dict() == alone.report.as_dict()
    search = whole.as_dict()["open_set"]
    assert (search["n_gallery"], search["strangers"]) == (12, "people with one photograph")
    assert [point["fnir"]["total"] for point in search["points"]] == [12, 12, 12]
    assert people_file_of(tmp_path / "other.txt") is None


def test_a_protocol_with_holes_is_refused(gallery, tmp_path):
    gallery.fill(2)
    (tmp_path / "pairs.txt").write_text("1\nP00\t1\t2\nP00\t1\tP01\t7\n")
    with pytest.raises(InputError, match="1 of 3 photographs are not in"):
        EvaluateLfw(gallery.embed)(gallery.root, tmp_path / "pairs.txt")
