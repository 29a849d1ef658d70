"""The quality gate on the command line: what is asked for, what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facesearch.core.errors import LowQualityFaceError
from tests.cli_fakes import GOOD_FACE


@pytest.mark.parametrize(
    ("arguments", "gate"),
    [
        ((), None),
        (("--quality-gate", "strict"), "strict"),
        (("--allow-low-quality",), "off"),
        (("--allow-low-quality", "--quality-gate", "off"), "off"),
    ],
)
@pytest.mark.parametrize("command", [("enroll", "a.jpg", "Ada"), ("enroll", "."), ("enroll-all", "a.jpg", "--label", "Ada")])
def test_the_gate_asked_for_reaches_the_library(cli, service, command, arguments, gate):
    assert cli(*command, *arguments).code == 0
    assert service.calls[-1][2]["quality_gate"] == gate


def test_asking_for_a_gate_and_waving_it_through_is_a_contradiction(cli, service):
    ran = cli("enroll", "a.jpg", "Ada", "--quality-gate", "strict", "--allow-low-quality")
    assert ran.code == 2
    assert "contradict" in ran.err
    assert service.calls == []


def test_a_refused_face_is_bad_input_and_says_why(cli, service):
    service.answers["enroll"] = LowQualityFaceError("too_small: face_px 9, at least 13 needed", reasons=["too_small"])
    ran = cli("enroll", "a.jpg", "Ada")
    assert ran.code == 2
    assert "at least 13 needed" in ran.err


def test_detect_names_the_reasons(cli, service):
    service.answers["qualities"] = (replace(GOOD_FACE, visible=0.01),)
    assert "occluded" in cli("detect", "a.jpg").out
    shown = cli("detect", "a.jpg", "--json").json["photos"][0]["faces"]
    assert [face["quality"]["reasons"] for face in shown] == [["occluded"]]


def test_a_face_that_cannot_be_aligned_has_no_quality(cli, service):
    service.answers["qualities"] = (None,)
    assert "cannot be aligned" in cli("detect", "a.jpg").out
    shown = cli("detect", "a.jpg", "--json").json["photos"][0]["faces"]
    assert [face["quality"] for face in shown] == [None]
