"""What the commands print: JSON of documented shape, text for people, and nothing else on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.decision import OperatingPoint, Verification
from facesearch.core.errors import ImageDecodeError
from facesearch.evaluation.one_to_one import verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.enroll import Enrollment
from facesearch.service.enroll_folder import FileOutcome, FolderReport
from facesearch.service.evaluate_lfw import AcquisitionFailure, LfwEvaluation
from facesearch.service.evaluate_people import EvaluationOptions
from tests.cli_fakes import EMBEDDER, GOOD_FACE, identification, person, stored
from tests.conftest import ROOT

FACE_JSON = {
    "box": [10.0, 20.0, 60.0, 90.0],
    "landmarks": [[20.0, 40.0], [50.0, 40.0], [35.0, 55.0], [25.0, 70.0], [45.0, 70.0]],
    "detection_score": 0.99,
}
QUALITY_JSON = {
    "score": round(GOOD_FACE.score, 4),
    "face_px": 50.0,
    "detail_px": 40.0,
    "acuity": 12.0,
    "sharpness": 0.1,
    "yaw": 0.1,
    "pitch": 0.0,
    "roll": 2.0,
    "brightness": 0.5,
    "dark_share": 0.0,
    "bright_share": 0.0,
    "visible": 0.5,
    "detection_score": 0.99,
    "reasons": [],
}
POINT_JSON = {
    "threshold": 0.4,
    "fmr": 1e-4,
    "n_non_mated": 1_000_000,
    "embedder_id": EMBEDDER,
    "operating_point": None,
    "in_sample": False,
}
UNCALIBRATED_JSON = {
    "is_rejected": False,
    "floor": None,
    "probability": None,
    "log_likelihood_ratio": None,
    "llr_clamp": None,
    "llr_is_clamped": None,
    "prior": None,
}
SAVED_JSON = {
    "name": "office",
    "embedder_id": EMBEDDER,
    "kind": "fpir",
    "rate": 0.01,
    "threshold": 0.45,
    "n_non_mated": 4000,
    "n_person_pairs": 900,
    "n_templates": 500,
    "fusion": "mean",
    "data_digest": "ab" * 32,
    "source": "the office",
    "in_sample": True,
    "created_at": "2026-01-02T03:04:05+00:00",
}
SAID_JSON = {
    "feedback_id": 3,
    "collection": "default",
    "kind": "not_this_person",
    "identity_id": 1,
    "label": "Ada",
    "score": 0.6,
    "floor": 0.6,
    "image_digest": "cd" * 32,
    "box": [10.0, 20.0, 60.0, 90.0],
    "embedder_id": EMBEDDER,
    "by": "Zoë",
    "created_at": "2026-01-02T03:04:05+00:00",
}
CALIBRATION_JSON = {
    "embedder_id": EMBEDDER,
    "method": "logistic",
    "prior": 0.5,
    "knots": [-1.0, 1.0],
    "llrs": [-20.0, 20.0],
    "clamp": [-5.0, 9.0],
    "n_mated": 100,
    "n_non_mated": 9000,
    "n_people": 60,
    "data_digest": "ab" * 32,
    "source": "60 people",
    "created_at": "2026-01-02T03:04:05+00:00",
}
CHECK_JSON = {
    "cllr": 0.02,
    "min_cllr": 0.01,
    "cllr_uncalibrated": 0.8,
    "cllr_prior_only": 1.0,
    "n_mated": 50,
    "n_non_mated": 4000,
    "reliability": [{"stated": 0.9, "observed": 0.91, "observed_interval": None, "n_mated": 40, "n_non_mated": 4}],
}
PERSON_JSON = {
    "identity_id": 1,
    "label": "Ada",
    "collection": "default",
    "tags": ["x"],
    "enrolled_at": "2026-01-02T03:04:05+00:00",
}
ENROLLED_JSON = {
    **PERSON_JSON,
    "template_id": 7,
    "embedder_id": EMBEDDER,
    "is_new_identity": True,
    "possible_duplicate": None,
    **FACE_JSON,
    "quality": {"face_px": 50.0},
}
CANDIDATES_JSON = [
    {"rank": 1, "identity_id": 1, "label": "Ada", "template_id": 10, "score": 0.75, "squared_distance": 0.5, "floor": None},
    {"rank": 2, "identity_id": 2, "label": "Bob", "template_id": 11, "score": 0.25, "squared_distance": 1.5, "floor": None},
]
EXCHANGE_JSON = {"file": "x.fsc", "collection": "default", "n_identities": 1, "n_templates": 2, "n_pictures": 0}

DOCUMENTED = {
    ("detect", "a.jpg"): {
        "photos": [{"photo": "a.jpg", "width": 80, "height": 100, "faces": [{**FACE_JSON, "quality": QUALITY_JSON}], "error": None}]
    },
    ("verify", "a.jpg", "b.jpg"): {
        "photo": "a.jpg",
        "other_photo": "b.jpg",
        "is_match": True,
        "score": 0.75,
        "squared_distance": 0.5,
        **POINT_JSON,
        "fmr_supported": True,
        "reason": "match",
        "label": None,
        **UNCALIBRATED_JSON,
        "faces": [FACE_JSON, FACE_JSON],
    },
    ("verify", "a.jpg", "--identity", "Ada"): {
        "photo": "a.jpg",
        "other_photo": None,
        "is_match": True,
        "score": 0.75,
        "squared_distance": 0.5,
        **POINT_JSON,
        "fmr_supported": True,
        "reason": "match",
        "label": "Ada",
        **UNCALIBRATED_JSON,
        "faces": [FACE_JSON],
    },
    ("identify", "a.jpg"): {
        "photo": "a.jpg",
        "width": 80,
        "height": 100,
        "collection": "default",
        "n_recognised": 1,
        "faces": [
            {
                **FACE_JSON,
                "is_match": True,
                "label": "Ada",
                "identity_id": 1,
                "reason": "match",
                **POINT_JSON,
                "fpir": 0.01,
                "fpir_supported": True,
                "n_templates": 25,
                "n_rejected": 0,
                "candidates": CANDIDATES_JSON,
            }
        ],
    },
    ("enroll", "a.jpg", "Ada"): {"collection": "default", "enrollments": [ENROLLED_JSON]},
    ("enroll-all", "a.jpg", "--label", "Ada", "--label", "-"): {"collection": "default", "enrollments": [ENROLLED_JSON]},
    ("enroll", "."): {
        "collection": "default",
        "n_files": 1,
        "n_enrolled": 1,
        "counts": {"enrolled": 1},
        "is_complete": True,
        "outcomes": [
            {"path": "Ada/1.jpg", "label": "Ada", "status": "enrolled", "message": "", "template_id": 3, "other_label": None}
        ],
    },
    ("identities", "list"): {
        "collection": "default",
        "identities": [PERSON_JSON, {**PERSON_JSON, "identity_id": 2, "label": "Bob", "tags": []}],
    },
    ("identities", "show", "Ada"): {
        **PERSON_JSON,
        "templates": [
            {
                "template_id": 7,
                "embedder_id": EMBEDDER,
                "source": "ada.jpg",
                "image_digest": "ab" * 32,
                "enrolled_at": "2026-01-02T03:04:05+00:00",
                **FACE_JSON,
                "quality": {"face_px": 50.0},
                "picture": {"kind": "crop", "n_bytes": 4},
            }
        ],
    },
    ("identities", "rename", "Ada", "Eve"): {**PERSON_JSON, "label": "Eve"},
    ("identities", "tag", "Ada", "x"): PERSON_JSON,
    ("identities", "merge", "Bob", "Ada", "--yes"): PERSON_JSON,
    ("identities", "remove", "Ada", "--erase", "-y"): {"collection": "default", "label": "Ada", "n_templates": 2, "erased": True},
    ("identities", "export", "x.fsc"): EXCHANGE_JSON,
    ("identities", "import", "x.fsc"): EXCHANGE_JSON,
    ("collections", "list"): {
        "collections": [{"name": "default", "revision": 2, "n_identities": 1, "n_templates": 2, "embedders": {EMBEDDER: 2}}]
    },
    ("operating-points", "list"): {"operating_points": [SAVED_JSON]},
    ("operating-points", "show", "office"): SAVED_JSON,
    ("operating-points", "remove", "office"): SAVED_JSON,
    ("feedback", "not-this-person", "a.jpg", "Ada"): SAID_JSON,
    ("feedback", "is-this-person", "a.jpg", "Ada"): SAID_JSON,
    ("feedback", "list"): {"collection": "default", "feedback": [SAID_JSON]},
    ("feedback", "remove", "3"): SAID_JSON,
    ("calibrate", "--enrolled"): {**CALIBRATION_JSON, "held_out": [CHECK_JSON], "warnings": []},
    ("calibrate", "--show"): {"calibrations": [CALIBRATION_JSON]},
    ("calibrate", "--remove"): {"removed": True},
    ("collections", "add", "default"): {"name": "default", "revision": 2},
    ("collections", "remove", "default", "--yes"): {"name": "default"},
}


@pytest.mark.parametrize("arguments", DOCUMENTED)
def test_json_has_the_documented_shape(cli, service, arguments):
    service.answers["identify"] = (identification(0.75, 0.25),)
    ran = cli(*arguments, "--json")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.json == DOCUMENTED[arguments]


@pytest.mark.parametrize("arguments", DOCUMENTED)
def test_text_says_something_and_nothing_but_results_is_on_stdout(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 0
    assert ran.out.strip()
    assert ran.err == ""
    assert "\x1b" not in ran.out
    assert not any(line.endswith(" ") for line in ran.out.splitlines())


def keys(shape):
    if isinstance(shape, dict):
        yield from shape
        for value in shape.values():
            yield from keys(value)
    elif isinstance(shape, list):
        for value in shape:
            yield from keys(value)


def test_the_documentation_names_every_key():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    wanted = set(keys(list(DOCUMENTED.values()))) - {EMBEDDER}
    assert len(wanted) > 40
    assert [key for key in sorted(wanted) if f'"{key}"' not in text and f"`{key}`" not in text] == []


def test_photo_that_cannot_be_read_does_not_stop_the_others(cli, service):
    service.answers["decode"] = {"bad.jpg": ImageDecodeError("bad.jpg is empty", source="bad.jpg")}
    ran = cli("detect", "bad.jpg", "a.jpg", "--json")
    assert ran.code == 2
    bad, good = ran.json["photos"]
    error = {"code": "image_undecodable", "message": "bad.jpg is empty", "context": {"source": "bad.jpg"}}
    assert bad == {"photo": "bad.jpg", "width": None, "height": None, "faces": [], "error": error}
    assert good["faces"] == [{**FACE_JSON, "quality": QUALITY_JSON}]
    assert ran.err == "error: bad.jpg is empty\n"


def test_no_face_is_an_answer(cli, service):
    service.answers["detect"] = ()
    ran = cli("detect", "a.jpg")
    assert (ran.code, ran.out) == (0, "a.jpg: no faces in 80×100 pixels\n")


def test_options_reach_the_library(cli, service):
    cli("identify", "a.jpg", "-k", "3", "--fpir", "0.05", "--tag", "x", "--tag", "y", "--roi", "1,2,30,40")
    name, args, options = service.calls[-1]
    assert (name, args[1]) == ("identify", 3)
    assert options == {"tags": ["x", "y"], "roi": (1.0, 2.0, 30.0, 40.0), "fpir": 0.05, "fmr": None, "operating_point": None}
    cli("verify", "a.jpg", "b.jpg", "--face", "1", "--fmr", "1e-3")
    assert service.calls[-1] == ("verify", ("a.jpg", "b.jpg"), {"face": 1, "fmr": 1e-3, "operating_point": None})
    cli("verify", "a.jpg", "b.jpg", "--operating-point", "office")
    assert service.calls[-1][2]["operating_point"] == "office"
    cli("identify", "a.jpg", "--operating-point", "office")
    assert service.calls[-1][2]["operating_point"] == "office"
    cli("feedback", "not-this-person", "a.jpg", "Ada", "--face", "1", "--by", "Zoë", "--raise-threshold")
    assert service.calls[-1] == ("reject", ("a.jpg", "Ada"), {"face": 1, "by": "Zoë", "raise_threshold": True})
    cli("calibrate", "people", "--method", "isotonic", "--prior", "0.01")
    assert service.calls[-1] == ("calibrate", (Path("people"),), {"method": "isotonic", "prior": 0.01})
    cli(
        "enroll",
        "a.jpg",
        "Ada",
        "--new",
        "--allow-mismatch",
        "--allow-duplicate",
        "--keep",
        "crop",
        "--tag",
        "x",
        "--face",
        "largest",
    )
    assert service.calls[-1] == (
        "enroll",
        ("a.jpg", "Ada"),
        {
            "tags": ["x"],
            "face": "largest",
            "roi": None,
            "new": True,
            "allow_mismatch": True,
            "allow_duplicate": True,
            "quality_gate": None,
            "keep": "crop",
        },
    )
    cli("enroll-all", "a.jpg", "--label", "Ada", "--label", "-")
    assert service.calls[-1][1] == ("a.jpg", ["Ada", None])
    cli("identities", "import", "x.fsc")
    assert service.calls[-1][2] == {"collection": None}
    cli("identities", "import", "x.fsc", "-c", "team")
    assert service.calls[-1][2] == {"collection": "team"}


def test_photo_from_standard_input(cli, service):
    assert cli("verify", "-", "b.jpg", stdin=b"\xff\xd8 bytes").code == 0
    assert service.calls[-1][1] == (b"\xff\xd8 bytes", "b.jpg")


def test_verify_says_score_threshold_rate_and_evidence(cli, service):
    service.answers["verify"] = Verification(0.25, OperatingPoint(0.5, 1e-6, EMBEDDER, 1_234, is_supported=False))
    out = cli("verify", "a.jpg", "b.jpg", "--fmr", "1e-9").out
    assert out.startswith("no match: score 0.2500 is below the threshold 0.5000\n")
    for part in ("1.5000", "FMR 1e-06", "one stranger in 1,000,000", "1,234 comparisons", "too few", EMBEDDER):
        assert part in out


def test_unknown_is_said_plainly(cli, service):
    service.answers["identify"] = (identification(0.25), identification())
    out = cli("identify", "a.jpg").out
    assert "face 0 at 10,20,60,90: unknown (best score 0.2500 is below the threshold 0.4000)" in out
    assert "face 1 at 10,20,60,90: unknown (nobody to compare with is enrolled)" in out
    assert "decided at FPIR 0.01 among 25 templates" in out


def test_possible_duplicate_is_warned_of_on_stderr(cli, service):
    service.answers["enroll"] = Enrollment(person(), stored(), True, "Bob")
    ran = cli("enroll", "a.jpg", "Ada", "--allow-duplicate", "--json")
    assert ran.err == "warning: Ada may be the same person as Bob\n"
    assert ran.json["enrollments"][0]["possible_duplicate"] == "Bob"


def outcome(status, template_id=None):
    return FileOutcome(Path("Ada/1.jpg"), "Ada", status, "" if status == "enrolled" else "why not", template_id)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((outcome("enrolled", 1), outcome("no_face")), 0),
        ((outcome("duplicate_template"), outcome("no_face")), 0),
        ((outcome("no_face"), outcome("image_undecodable")), 3),
    ],
)
def test_folder_is_0_when_a_file_is_in_the_gallery_afterwards_else_3(cli, service, outcomes, code):
    service.answers["enroll_folder"] = FolderReport(outcomes)
    ran = cli("enroll", ".", "--report", "r.csv")
    assert ran.code == code
    assert "why not" in ran.out
    rows = Path("r.csv").read_text().splitlines()
    assert rows[0] == "path,label,status,message,template_id,other_label"
    assert len(rows) == 3


def test_folder_report_as_json_is_what_json_prints(cli):
    ran = cli("enroll", ".", "--report", "r.json", "--json")
    assert json.loads(Path("r.json").read_text()) == ran.json


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("identities", "remove", "Ada"), "remove"),
        (("identities", "merge", "Bob", "Ada"), "merge"),
        (("collections", "remove", "default"), "remove_collection"),
    ],
)
def test_destructive_commands_do_nothing_where_nobody_can_answer(cli, service, arguments, call):
    ran = cli(*arguments, stdin=b"y\n")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert service.calls == []
    assert cli(*arguments, "--yes").code == 0
    assert [name for name, *_ in service.calls] == [call]


def test_export_replaces_a_file_only_when_told_to(cli, service):
    Path("x.fsc").write_text("precious")
    assert cli("identities", "export", "x.fsc").code == 2
    assert service.calls == []
    assert cli("identities", "export", "x.fsc", "--yes").code == 0


def evaluation():
    trials = VerificationTrials(np.array([0.9, 0.1, 0.8, np.nan]), np.array([True, False] * 2), np.array([0, 0, 1, 1]))
    failure = AcquisitionFailure("Ada/Ada_0001.jpg", "no_face", "no face")
    return LfwEvaluation(EMBEDDER, verification_report(trials), (failure,), 6, 2.0)


def test_evaluation_names_the_failures(cli, service):
    service.answers["evaluate_lfw"] = evaluation()
    arguments = ("evaluate", "lfw", "--images", "lfw", "--pairs", "pairs.txt")
    ran = cli(*arguments)
    assert (ran.code, ran.err) == (0, "")
    for part in (EMBEDDER, "accuracy", "3.0 a second", "Ada/Ada_0001.jpg", "no_face"):
        assert part in ran.out
    asked = {"people_file": None, "options": EvaluationOptions()}
    assert service.calls[-1] == ("evaluate_lfw", (Path("lfw"), Path("pairs.txt")), asked)
    document = cli(*arguments, "--json").json
    assert document["failures_to_acquire"] == [{"path": "Ada/Ada_0001.jpg", "code": "no_face", "message": "no face"}]
    assert document["n_photographs"] == 6


def test_doctor_reports_a_library_that_cannot_be_imported(cli, library):
    library.fake.answers["parts"] = ImportError("libGL.so.1: cannot open shared object file")
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert ran.json["is_well"] is False
    failed = [check for check in ran.json["checks"] if check["status"] == "failed"]
    assert [(check["name"], check["code"]) for check in failed] == [("library", "engine_error")]
    assert "libGL" in failed[0]["detail"]


def test_models_are_listed_and_shown(cli):
    models = cli("models", "list", "--json").json["models"]
    assert [model["name"] for model in models] == ["mobilenet-128"]
    told = "int8 (engine fake, precision auto)"
    assert cli("models", "show", "mobilenet-128", "--json").json == {**models[0], "computed_in": told}
    shown = cli("models", "show").out
    assert "Licence" in shown
    assert shown.endswith(f"Computed here in {told}.\n")
    assert cli("models", "show", "nonsense").code == 5
