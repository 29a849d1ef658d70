"""What is printed of calibrated scores, saved points and feedback; a probability never stands alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from facesearch.core.decision import Verification
from tests.cli_fakes import EMBEDDER, FACE, POINT, calibration, identification, said, saved_point


def test_a_calibrated_answer_says_prior_and_clamp(cli, service):
    service.answers["verify"] = Verification(0.75, POINT, (FACE, FACE), calibration=calibration())
    ran = cli("verify", "a.jpg", "b.jpg")
    assert "ratio 9.00 (clamped); the calibration's counts support -5.00 to 9.00" in ran.out
    assert "probability       0.9999 of the same person, at a prior of 0.5" in ran.out
    assert "%" not in ran.out
    shape = cli("verify", "a.jpg", "b.jpg", "--json").json
    assert shape["log_likelihood_ratio"] == 9.0
    assert shape["llr_is_clamped"] is True
    assert (shape["llr_clamp"], shape["prior"]) == ([-5.0, 9.0], 0.5)


def test_without_a_calibration_nothing_is_said_of_probability(cli):
    assert "probability" not in cli("verify", "a.jpg", "b.jpg").out


def test_candidates_of_a_search_have_no_probability(cli):
    shape = cli("identify", "a.jpg", "--json").json
    assert len(shape["faces"][0]["candidates"]) == 2
    assert "probability" not in str(shape)


def test_a_rejected_pair_and_a_raised_threshold_are_said(cli, service):
    service.answers["verify_identity"] = Verification(0.75, POINT, (FACE,), "Ada", floor=0.8, is_rejected=True)
    ran = cli("verify", "a.jpg", "--identity", "Ada")
    assert ran.code == 1
    assert "no match with Ada: score 0.7500 is below the threshold 0.8000" in ran.out
    assert "somebody said that this face is not this person's" in ran.out
    assert "feedback on this person raised the threshold from 0.4000" in ran.out


def test_a_candidate_below_its_own_floor_is_unknown(cli, service):
    one = identification(0.8, 0.1)
    raised = replace(one, candidates=(replace(one.candidates[0], floor=0.9), one.candidates[1]))
    service.answers["identify"] = (raised,)
    ran = cli("identify", "a.jpg")
    assert ran.code == 1
    assert "is below the threshold 0.9000" in ran.out
    assert "below 0.9000, raised by feedback" in ran.out


def test_everybody_rejected_is_not_an_empty_gallery(cli, service):
    service.answers["identify"] = (replace(identification(), n_rejected=2),)
    ran = cli("identify", "a.jpg")
    assert "everybody near was rejected" in ran.out
    assert cli("identify", "a.jpg", "--json").json["faces"][0]["reason"] == "rejected"


def test_a_point_of_the_same_photographs_is_marked(cli, service):
    assert "in sample" in cli("operating-points", "show", "office").out
    service.answers["saved_point"] = saved_point(is_in_sample=False)
    assert "in sample" not in cli("operating-points", "show", "office").out
    point = saved_point().decision_point(501, fusion="mean")
    service.answers["identify"] = (replace(identification(0.8), operating_point=point),)
    assert "(office)" in (text := cli("identify", "a.jpg").out)
    assert "in sample; it was not measured for so many templates" in text


@pytest.mark.parametrize(
    "arguments", [(), ("people", "--enrolled"), ("--show", "--remove"), ("--enrolled", "--show")], ids=lambda one: " ".join(one)
)
def test_calibrate_wants_exactly_one_thing(cli, service, arguments):
    ran = cli("calibrate", *arguments)
    assert ran.code == 2
    assert service.calls == []


def test_feedback_says_what_it_changed(cli, service):
    assert "a score above 0.6000 is needed before anybody is Ada" in cli("feedback", "not-this-person", "a.jpg", "Ada").out
    service.answers["reject"] = said(floor=None)
    assert "needed" not in cli("feedback", "not-this-person", "a.jpg", "Ada").out
    assert EMBEDDER not in cli("feedback", "list").out


def test_calibrate_writes_a_report(cli, service):
    ran = cli("calibrate", "people", "--report", "out.html", "--json")
    assert ran.code == 0
    assert "report: out.html" in ran.err
    assert ran.json["held_out"][0]["reliability"][0]["observed_interval"] is None
    assert "Reliability diagram" in Path("out.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("people", "--report", "out.pdf"), ".html"),
        (("people", "--report", "no/out.html"), "no folder"),
        (("--show", "--report", "a.html"), "make none"),
    ],
)
def test_a_calibration_report_that_cannot_be_is_refused_first(cli, service, arguments, said):
    ran = cli("calibrate", *arguments)
    assert (ran.code, service.calls) == (2, [])
    assert said in ran.err
