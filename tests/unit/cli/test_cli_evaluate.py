"""``evaluate folder`` and ``evaluate pairs``: what is asked for reaches the library, and reports are refused before the work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.face import Detection
from facesearch.core.records import PointKind, SavedPoint
from facesearch.service.evaluate_folder import FolderEvaluation
from facesearch.service.evaluate_people import EvaluationOptions, evaluate_people
from facesearch.service.evaluation import Evaluation
from facesearch.service.evaluation_data import KnownPeople
from facesearch.service.photograph_lists import Attributes
from facesearch.service.photographs import AcquisitionFailure, EmbeddedPhotographs
from tests.cli_fakes import EMBEDDER, FACE, WHEN

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def measured():
    """Twelve people with three photographs each, one of them named as nobody should be."""
    rng = np.random.default_rng(0)
    names = [SCRIPT, *(f"person {number}" for number in range(11))]
    labels = np.repeat(names, 3)
    vectors = np.repeat(rng.normal(size=(12, 16)), 3, axis=0) + 0.5 * rng.normal(size=(36, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    paths = tuple(Path(label.replace("/", "_")) / f"{row}.jpg" for row, label in enumerate(labels.tolist()))
    failure = AcquisitionFailure("nobody/1.jpg", "no_face", "no face found")
    detections: tuple[Detection, ...] = (FACE,) * 36
    embedded = EmbeddedPhotographs(EMBEDDER, paths, vectors, np.arange(36), detections, ("ab",) * 36, (failure,), 2.0, 4)
    options = EvaluationOptions(fmrs=(0.1, 1e-4), attributes=Attributes("side", by_label={SCRIPT: EVIL_GROUP, names[1]: "left"}))
    return FolderEvaluation(embedded, evaluate_people(KnownPeople(paths, labels, vectors), options))


EVIL_GROUP = "<b>right"


def test_a_folder_is_printed_with_groups_and_warnings(cli, service, measured):
    service.answers["evaluate_folder"] = measured
    ran = cli("evaluate", "folder", "photographs")
    assert ran.code == 0
    for part in (EMBEDDER, "all pairs of 36", "at FMR 0.1", "open set, 12 people", "nobody/1.jpg", EVIL_GROUP, "too small to say"):
        assert part in ran.out
    assert "warning: FMR 0.0001: 594 comparisons support nothing below" in ran.err
    asked = {"options": EvaluationOptions(face="largest")}
    assert service.calls == [("evaluate_folder", (Path("photographs"),), asked)]


def test_a_folder_as_json(cli, service, measured):
    service.answers["evaluate_folder"] = measured
    document = cli("evaluate", "folder", "photographs", "--json").json
    assert document["n_people"] == 12
    assert [point["fmr"] for point in document["all_pairs"]["points"]] == [0.1, 1e-4]
    assert document["saved"] == []


def test_options_reach_the_library(cli, service, measured, tmp_path):
    service.answers["evaluate_pairs"] = None
    (tmp_path / "a.csv").write_text("label,light\nAda,dark\n")
    (tmp_path / "trained.txt").write_text("Bob\n")
    arguments = ("--fmr", "1e-3,0.1", "--fmr", "1e-2", "--face", "2", "--cache", "kept")
    groups = ("--by", "light", "--attributes", "a.csv", "--trained-on", "trained.txt")
    cli("evaluate", "pairs", "pairs.csv", *arguments, *groups)
    ((name, (listed,), asked),) = service.calls
    assert (name, listed) == ("evaluate_pairs", Path("pairs.csv"))
    chosen = asked["options"]
    assert (chosen.fmrs, chosen.face, chosen.cache) == ((0.1, 1e-2, 1e-3), 2, Path("kept"))
    assert (chosen.attributes.by_label, chosen.trained_on) == ({"Ada": "dark"}, {"Bob"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("folder", "x", "--report", "out.pdf"), "a report is an .html file"),
        (("pairs", "x", "--report", "none/out.html"), "there is no folder none"),
        (("folder", "x", "--by", "light"), "--by COLUMN and --attributes FILE go together"),
        (("folder", "x", "--by", "light", "--attributes", "none.csv"), "none.csv cannot be read"),
        (("folder", "x", "--fmr", "often"), "not 'often'"),
        (("folder", "x", "--fmr", "0"), "must lie in (0, 1]"),
        (("folder", "x", "--save", " "), "name of operating points"),
        (("lfw", "--images", "x", "--pairs", "pairs.txt", "--save", "a"), "need the list of people"),
        (("lfw", "--images", "x", "--pairs", "pairs.txt", "--pairs-only", "--by", "a", "--attributes", "x"), "cannot be read"),
        (("lfw", "--images", "x", "--pairs", "pairs.txt", "--pairs-only", "--people", "a"), "--pairs-only measures no people"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(cli, service, arguments, said):
    ran = cli("evaluate", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert service.calls == []


def test_a_report_is_written_and_escapes_every_label(cli, service, measured, tmp_path):
    real = Evaluation(None, None, None, lambda path, detection: None, None)
    service.answers["evaluate_folder"] = measured
    service.answers["report"] = real.report(measured, Path("photographs"), when=WHEN)
    ran = cli("evaluate", "folder", "photographs", "--report", "out.html")
    assert (ran.code, "report: out.html" in ran.err) == (0, True)
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>right" not in text
    assert "&lt;script&gt;alert(1)" in text
    for part in ("Worst false matches", "Groups", "DET", "FNIR over FPIR", "Failures to acquire", "no picture", "594"):
        assert part in text


def test_points_that_the_evidence_supports_are_saved(measured):
    kept = []

    class Points:
        def save(self, points):
            kept.extend(points)
            return tuple(points)

    saved = Evaluation(None, None, None, lambda path, detection: None, Points).save("office", measured, Path("photographs"))
    assert saved == tuple(kept)
    assert [point.name for point in saved if point.kind is PointKind.FMR] == ["office-fmr-0.1"]
    assert all(isinstance(point, SavedPoint) and point.is_in_sample and point.source == "photographs" for point in saved)


def test_a_report_that_cannot_be_written_is_an_error_of_its_own(cli, service, measured, tmp_path):
    (tmp_path / "out.html").mkdir()
    service.answers["evaluate_folder"] = measured
    ran = cli("evaluate", "folder", "photographs", "--report", "out.html", "--json")
    assert ran.code == 6
    assert json.loads(ran.err.splitlines()[-1])["error"]["code"] == "file_write"
