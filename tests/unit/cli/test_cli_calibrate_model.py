"""``models calibrate``: what is asked for reaches the library, and points are printed with the comparisons behind them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.service.calibrate_model import CALIBRATED_FMRS, CalibrationData, ModelCalibration
from facesearch.service.embedder_speed import Speed
from facesearch.service.evaluate_people import EvaluationOptions, PeopleEvaluation
from facesearch.service.evaluation_data import KnownPeople
from facesearch.service.evaluation_intervals import RateIntervals
from facesearch.service.photographs import EmbeddedPhotographs
from tests.cli_fakes import EMBEDDER, FACE, FakeLibrary


class Measuring(FakeLibrary):
    """Remembers which embedder was asked for."""

    def parts(self, settings):
        self.settings = settings
        return super().parts(settings)


@pytest.fixture
def library():
    return Measuring()


@pytest.fixture
def measured(library):
    rng = np.random.default_rng(0)
    labels = np.repeat([f"P{one}" for one in range(12)], 3)
    vectors = np.repeat(rng.normal(size=(12, 16)), 3, axis=0) + 0.5 * rng.normal(size=(36, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    paths = tuple(Path(label) / f"{row}.jpg" for row, label in enumerate(labels.tolist()))
    embedded = EmbeddedPhotographs(EMBEDDER, paths, vectors, np.arange(36), (FACE,) * 36, ("ab",) * 36, (), 2.0, 0)
    pairs = all_pairs(vectors, labels)
    known = KnownPeople(paths, labels, vectors)
    people = PeopleEvaluation(
        known, pairs, pairs.at_fmrs((0.1,)), (RateIntervals(),), pairs.at_fmrs((0.1,)), None, (), ("a warning",)
    )
    result = ModelCalibration(embedded, people, pairs.at_fmrs((1e-5,)), None, Speed(2.5, "a processor", 18.0), "36 photographs")
    asked = []

    def measure(data, *, on_progress, **options):
        on_progress(1, 36)
        asked.append((data, options))
        return result

    library.fake.answers["parts"] = SimpleNamespace(calibrate_model=measure)
    return asked


def test_the_points_are_printed_with_what_is_behind_them(cli, library, measured):
    ran = cli("models", "calibrate", "mine", "--images", "photographs")
    assert ran.code == 0
    for part in ("calibrated", EMBEDDER, "594", "of 12 people", "2.50 ms a crop, 18.0 photographs a second", "a processor"):
        assert part in ran.out
    assert "no point for FMR 1e-05: 594 comparisons support nothing below" in ran.err
    assert "warning: a warning" in ran.err
    options = {"options": EvaluationOptions(fmrs=CALIBRATED_FMRS, face="largest"), "must_all": False}
    assert measured == [(CalibrationData(Path("photographs")), options)]
    assert library.settings.embedder == "mine"


def test_lists_and_rates_reach_the_library(cli, measured, tmp_path):
    (tmp_path / "same.txt").write_text("Joe\tJoseph\n")
    lists = ("--people", "people.txt", "--pairs", "pairs.txt", "--left-out", "same.txt")
    document = cli("models", "calibrate", "mine", "--images", "x", *lists, "--fmr", "0.1", "--report", "out.html", "--json").json
    assert [point["fmr"] for point in document["all_pairs"]["points"]] == [0.1]
    ((data, asked),) = measured
    assert data == CalibrationData(Path("x"), Path("people.txt"), Path("pairs.txt"), (("Joe", "Joseph"),))
    assert (asked["options"].fmrs, asked["options"].face, asked["must_all"]) == ((0.1,), "central", True)
    assert "Embedder mine" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "takes --images DIR"),
        (("--pairs", "pairs.txt"), "takes --images DIR"),
        (("--pairs", "a.csv", "--images", "x"), "leave --images"),
    ],
)
def test_photographs_named_twice_or_not_at_all_are_refused(cli, measured, arguments, said):
    ran = cli("models", "calibrate", "mine", *arguments)
    assert (ran.code, said in ran.err, measured) == (2, True, [])


def test_a_csv_of_pairs_is_measured_as_such(cli, library):
    def refuse(pairs, *, options, must_all, **_):
        raise InputError(f"{pairs} {options.face} {must_all}")

    library.fake.answers["parts"] = SimpleNamespace(calibrate_on_pairs=refuse)
    ran = cli("models", "calibrate", "mine", "--pairs", "pairs.csv")
    assert "pairs.csv largest False" in ran.err


def test_an_error_is_the_command_lines_error(cli, library, measured):
    def refuse(data, **_):
        raise InputError("FMR 1e-05 cannot be supported")

    library.fake.answers["parts"] = SimpleNamespace(calibrate_model=refuse)
    ran = cli("models", "calibrate", "mine", "--images", "x")
    assert (ran.code, "cannot be supported" in ran.err) == (2, True)
