"""``models calibrate`` over fake networks: points as far as the comparisons reach, and nothing kept of bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import FileWriteError, InputError, UnknownEmbedderError
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.report import render_report
from facesearch.service.calibrate_model import CalibrateModel, CalibrationData, supported_points
from facesearch.service.calibrate_pairs import CalibratePairs
from facesearch.service.evaluate_pairs import EvaluatePairs
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.model_report import model_report, pairs_model_report
from facesearch.service.photograph_lists import read_left_out
from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from tests.cli_fakes import WHEN
from tests.world import DIM, EMBEDDER, FakeNetworks

ASKED = EvaluationOptions(fmrs=(0.1, 0.05, 1e-5), face="largest")


class Keeper:
    """Remembers what it was given, or refuses."""

    def __init__(self, error=None, *, at="check"):
        self.kept = []
        self.error, self.at = error, at

    def check(self):
        if self.error is not None and self.at == "check":
            raise self.error

    def keep(self, figures):
        if self.error is not None:
            raise self.error
        self.kept.append(figures)


class Noise(FakeNetworks):
    """Crops that were not cut from any photograph are embedded too: the speed is taken with them."""

    def embed(self, crops):
        for crop in crops:
            self.crops.setdefault(crop.pixels.tobytes(), np.eye(DIM)[0])
        return super().embed(crops)


class Photographs:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "people"
        self.networks = Noise()
        self.keeper = Keeper()

    def fill(self, n_people, n_photographs=3):
        rng = np.random.default_rng(3)
        for person in range(n_people):
            own = rng.normal(size=DIM)
            for number in range(1, n_photographs + 1):
                vector = own + 0.9 * rng.normal(size=DIM)
                self.add(f"P{person:02d}", number, vector / np.linalg.norm(vector))
        return self

    def add(self, label, number, vector):
        from tests.world import face_at

        path = self.root / label / f"{label}_{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
        faces = () if vector is None else ((face_at(100, 100, 120), vector),)
        self.networks.photo(str(path), *faces)

    def measure(self, data=None, options=ASKED, **asked):
        nets = self.networks
        embed = EmbedPhotographs(FacePipeline(nets.decode, nets, nets.align, nets, min_face_px=20), {})
        measure = CalibrateModel(embed, nets, self.keeper, processor="a processor, 2 threads")
        return measure(data or CalibrationData(self.root), options=options, **asked)


@pytest.fixture
def photographs(tmp_path):
    return Photographs(tmp_path)


def test_points_are_kept_as_far_as_the_comparisons_reach(photographs):
    photographs.fill(20).add("P99", 1, None)
    result = photographs.measure()
    (kept,) = photographs.keeper.kept
    points = kept["operating_points"]
    assert [point["fmr"] for point in points] == [0.1, 0.05]
    assert all(point["n_non_mated"] == 61 * 60 // 2 - 60 for point in points)
    assert points[0]["threshold"] < points[1]["threshold"]
    expected = all_pairs(result.people.known.vectors, result.people.known.labels).at_fmrs((0.1, 0.05))
    assert [point["threshold"] for point in points] == [point.threshold for point in expected]
    assert [(one["fmr"], "support nothing below" in one["why"]) for one in kept["unsupported"]] == [(1e-5, True)]
    assert kept["failures_to_acquire"] == [1, 61]
    assert kept["measured_on"] == "61 photographs of 21 people in people"
    assert kept["speed"]["processor"] == "a processor, 2 threads"
    assert kept["speed"]["embedding_ms"] >= 0.0
    assert "view2" not in kept
    assert result.embedded.embedder_id == EMBEDDER


@pytest.mark.parametrize(
    ("people", "said"),
    [((1, 4), "holds 4 photographs of one person"), ((5, 1), "5 people, one each"), ((0, 0), "nothing")],
)
def test_people_who_give_no_pairs_are_refused_before_the_work(photographs, people, said):
    photographs.root.mkdir()
    photographs.fill(*people)
    with pytest.raises(InputError, match=said):
        photographs.measure()
    assert (photographs.keeper.kept, photographs.networks.n_embedded) == ([], 0)


def test_an_fmr_asked_for_that_is_not_supported_keeps_nothing_and_names_those_that_are(photographs):
    photographs.fill(20)
    with pytest.raises(
        InputError, match=r"FMR 1e-05 cannot be supported: 1710 comparisons .* supported are FMR 0.1, 0.05"
    ) as caught:
        photographs.measure(must_all=True)
    assert caught.value.context == {"n_non_mated": 1710, "n_people": 20}
    assert photographs.keeper.kept == []


def test_too_few_comparisons_for_any_point(photographs):
    photographs.fill(3, 2)
    with pytest.raises(
        InputError, match=r"12 comparisons of two people \(3 people\) are there, the smallest FMR that they support is none"
    ):
        photographs.measure(options=replace(ASKED, fmrs=(0.1, 0.01)))
    assert photographs.keeper.kept == []


@pytest.mark.parametrize("at", ["check", "keep"])
def test_what_cannot_be_kept_is_an_error(photographs, at):
    photographs.fill(20)
    error = UnknownEmbedderError("there is no added model") if at == "check" else FileWriteError("disk full")
    photographs.keeper = Keeper(error, at=at)
    with pytest.raises(type(error)):
        photographs.measure()
    assert photographs.keeper.kept == []
    assert (photographs.networks.n_embedded == 0) == (at == "check")


def test_pairs_of_one_person_under_two_names_are_left_out(photographs, tmp_path):
    photographs.fill(20)
    twin = np.eye(DIM)[5]
    photographs.add("Joe", 1, twin)
    photographs.add("Joseph", 1, twin)
    (tmp_path / "left_out.txt").write_text("Joe\tJoseph\n\n")
    left_out = read_left_out(tmp_path / "left_out.txt")
    assert left_out == (("Joe", "Joseph"),)
    whole = photographs.measure()
    result = photographs.measure(CalibrationData(photographs.root, left_out=left_out))
    assert whole.people.pairs.non_mated.total - result.people.pairs.non_mated.total == 1
    assert whole.people.pairs.worst_false_matches[0].score > 0.99 > result.people.pairs.worst_false_matches[0].score


@pytest.mark.parametrize("text", ["Joe Joseph", "Joe\tJoe", "Joe\t", "a\tb\tc"])
def test_a_malformed_list_of_those_left_out_names_the_line(tmp_path, text):
    file = tmp_path / "left_out.txt"
    file.write_text(f"a\tb\n{text}\n")
    with pytest.raises(InputError, match=r"left_out\.txt, line 2"):
        read_left_out(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_left_out(tmp_path / "none.txt")


def test_a_list_of_pairs_adds_the_accuracy_and_its_people_no_comparisons(photographs, tmp_path):
    photographs.fill(24)
    (tmp_path / "people.txt").write_text("20\n" + "".join(f"P{one:02d}\t3\n" for one in range(20)))
    lines = ["2\t2"]
    for fold in (0, 20):
        names = [f"P{fold + one:02d}" for one in range(4)]
        lines += [f"{names[0]}\t1\t2", f"{names[1]}\t1\t2", f"{names[0]}\t1\t{names[2]}\t1", f"{names[1]}\t2\t{names[3]}\t1"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    data = CalibrationData(photographs.root, tmp_path / "people.txt", tmp_path / "pairs.txt")
    result = photographs.measure(data)
    assert (len(result.embedded), result.people.pairs.n_people, result.people.pairs.n_photographs) == (66, 20, 60)
    (kept,) = photographs.keeper.kept
    assert kept["view2"]["accuracy"] == pytest.approx(100 * result.accuracy.accuracy.mean)
    assert result.accuracy.accuracy.total.total == 8
    assert kept["operating_points"][0]["n_people"] == 20


def test_a_list_with_holes_is_refused_before_the_work(photographs, tmp_path):
    photographs.fill(20)
    (tmp_path / "people.txt").write_text("2\nP01\t3\nP02\t4\n")
    with pytest.raises(InputError, match="1 of 7 photographs are not in"):
        photographs.measure(CalibrationData(photographs.root, tmp_path / "people.txt"))
    assert (photographs.keeper.kept, photographs.networks.n_embedded) == ([], 0)


def test_supported_points_are_told_from_the_others(photographs):
    result = photographs.fill(20).measure()
    kept, others = supported_points(result.people.pairs, (0.5, 1e-4), must_all=False)
    assert [point.fmr for point in kept] == [0.5]
    assert [point.fmr for point in others] == [1e-4]


def test_the_report_is_a_card_with_pictures(photographs):
    photographs.fill(20)
    text = render_report(model_report(photographs.measure(), "<b>mine", when=WHEN)).replace("&nbsp;", " ")
    for part in (
        "Embedder &lt;b&gt;mine",
        "DET",
        "Both errors over the threshold",
        "ms a crop",
        "a processor, 2 threads",
        "support nothing",
    ):
        assert part in text
    assert "<b>mine" not in text


def listed(photographs, n_apart):
    """Write a CSV of all mated pairs of neighbours and some pairs of two people."""
    lines = ["a,b,same"]
    people = sorted(path.name for path in photographs.root.iterdir())
    lines += [f"people/{one}/{one}_0001.jpg,people/{one}/{one}_0002.jpg,1" for one in people]
    apart = [(one, other) for place, one in enumerate(people) for other in people[place + 1 :]][:n_apart]
    lines += [f"people/{one}/{one}_0001.jpg,people/{other}/{other}_0001.jpg,0" for one, other in apart]
    file = photographs.root.parent / "pairs.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def by_pairs(photographs):
    nets = photographs.networks
    embed = EmbedPhotographs(FacePipeline(nets.decode, nets, nets.align, nets, min_face_px=20), {})
    return CalibratePairs(EvaluatePairs(embed), nets, photographs.keeper, processor="a processor")


def test_pairs_alone_give_the_points_that_they_support(photographs):
    file = listed(photographs.fill(20), 150)
    result = by_pairs(photographs)(file, options=ASKED)
    (kept,) = photographs.keeper.kept
    assert [point["fmr"] for point in kept["operating_points"]] == [0.1]
    assert [one["fmr"] for one in kept["unsupported"]] == [0.05, 1e-5]
    assert kept["operating_points"][0]["n_non_mated"] == 150
    assert kept["measured_on"] == "170 pairs in pairs.csv"
    scores = np.sort(result.measured.trials.non_mated_scores())
    assert scores[-16] < kept["operating_points"][0]["threshold"] <= scores[-15]
    text = render_report(pairs_model_report(result, "mine", when=WHEN))
    assert "170 pairs in pairs.csv" in text
    assert "DET" in text


@pytest.mark.parametrize(("n_apart", "must_all", "said"), [(150, True, "supported are FMR 0.1"), (5, False, "supported is none")])
def test_pairs_that_support_too_little_keep_nothing(photographs, n_apart, must_all, said):
    file = listed(photographs.fill(20), n_apart)
    with pytest.raises(InputError, match=f"{n_apart} pairs of two people are there, {said}"):
        by_pairs(photographs)(file, options=ASKED, must_all=must_all)
    assert photographs.keeper.kept == []
