"""``evaluate robustness``: what is asked for reaches the library, and its answer is printed with counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.evaluate_robustness import DamagePoint, DamageRates, RobustnessEvaluation
from facesearch.service.photographs import EmbeddedPhotographs
from tests.cli_fakes import EMBEDDER, FACE


@pytest.fixture
def measured(service):
    vectors = np.eye(4, dtype=np.float32)
    paths = tuple(Path(f"{name}/1.jpg") for name in "abcd")
    embedded = EmbeddedPhotographs(EMBEDDER, paths, vectors, np.arange(4), (FACE,) * 4, ("ab",) * 4, (), 2.0, 0)
    point = DamagePoint(1e-3, 0.37, WeightedRate(0.5, 3, 6, 2), WeightedRate(0.0, 0, 20, 6, "pairs of people"), False)
    rows = tuple(DamageRates(name, "what", Rate(lost, 4), (point,)) for name, lost in (("none", 0), ("motion", 1)))
    result = RobustnessEvaluation(embedded, 4, 2, rows, ("FMR 0.001: too few",))
    asked = []

    def measure(images, *, on_progress, **options):
        on_progress(1, 4)
        asked.append((images, options))
        return result

    service.answers["parts"] = SimpleNamespace(robustness=measure)
    return asked


def test_the_card_is_printed_with_counts_and_warnings(cli, measured):
    ran = cli("evaluate", "robustness", "--images", "photographs")
    assert ran.code == 0
    for part in ("4 photographs of 4 people", "motion", "25.00 % (1/4)", "50.00 % (3/6 of 2 people)", "0.00 % (0/20"):
        assert part in ran.out
    assert "warning: FMR 0.001: too few" in ran.err
    options = EvaluationOptions(fmrs=(1e-3, 1e-4), face="largest")
    assert measured == [(Path("photographs"), {"options": options, "pairs_file": None, "people_file": None, "names": ()})]


def test_lists_and_damages_reach_the_library(cli, measured, tmp_path):
    arguments = (
        "--people",
        "people.txt",
        "--damage",
        "motion, grey",
        "--damage",
        "jpeg-10",
        "--fmr",
        "0.01",
        "--report",
        "out.html",
    )
    document = cli("evaluate", "robustness", "--images", "x", *arguments, "--json").json
    assert [row["damage"] for row in document["damages"]] == ["none", "motion"]
    ((_, asked),) = measured
    assert (asked["people_file"], asked["names"]) == (Path("people.txt"), ("motion", "grey", "jpeg-10"))
    assert (asked["options"].fmrs, asked["options"].face) == ((0.01,), "central")
    assert "Robustness on x" in (tmp_path / "out.html").read_text()


def test_a_report_that_cannot_be_is_refused_first(cli, measured):
    ran = cli("evaluate", "robustness", "--images", "x", "--report", "out.pdf")
    assert (ran.code, measured) == (2, [])
