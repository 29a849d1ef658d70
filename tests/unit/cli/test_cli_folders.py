"""``index-folder``, and ``identify`` of many photographs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from facesearch.cli.output import progress
from facesearch.core.errors import ImageDecodeError, NoFaceError
from facesearch.service.enroll_folder import FileOutcome, FolderReport
from facesearch.service.identify_many import PhotographAnswer
from tests.cli_fakes import identification


def picture_files(folder: str, *names: str) -> None:
    for name in names:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_index_folder_hands_on_what_was_asked(cli, service):
    picture_files("people", "Ada/1.jpg")
    options = ("--face", "largest", "--allow-mismatch", "--allow-low-quality", "--keep", "crop", "--retry-failures")
    assert cli("index-folder", "people", *options).code == 0
    (call,) = service.calls
    assert call == (
        "enroll_folder",
        ("people",),
        {
            "labels_csv": None,
            "face": "largest",
            "allow_mismatch": True,
            "quality_gate": "off",
            "keep": "crop",
            "retry_failures": True,
        },
    )


def test_index_folder_prints_what_enroll_of_a_folder_prints(cli):
    assert cli("index-folder", ".", "--json").json == cli("enroll", ".", "--json").json


def test_files_known_from_an_earlier_run_are_counted(cli, service):
    known = FileOutcome(Path("Ada/1.jpg"), "Ada", "duplicate_template", "is there", is_known=True)
    service.answers["enroll_folder"] = FolderReport((known, FileOutcome(Path("Ada/2.jpg"), "Ada", "enrolled", template_id=2)))
    ran = cli("index-folder", ".")
    assert ran.code == 0
    assert "is there" not in ran.out
    assert ran.out.splitlines()[-1] == (
        "1 of 2 files enrolled in default, 1 were there already; 1 had been done with before and were not looked at again"
    )


@pytest.mark.parametrize("report", ["r.txt", "nowhere/r.csv"])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(cli, service, report):
    assert cli("index-folder", ".", "--report", report).code == 2
    assert service.calls == []


def test_ctrl_c_says_how_far_it_came_and_keeps_the_report(cli, service, monkeypatch):
    picture_files("people", *(f"Ada/{n}.jpg" for n in range(5)))

    def interrupted(folder, *, on_outcome, **_):
        on_outcome(FileOutcome(Path(folder) / "Ada" / "0.jpg", "Ada", "enrolled", template_id=1))
        on_outcome(FileOutcome(Path(folder) / "Ada" / "1.jpg", "Ada", "no_face", "why"))
        raise KeyboardInterrupt

    monkeypatch.setattr(service, "enroll_folder", interrupted)
    ran = cli("index-folder", "people", "--report", "r.json")
    assert (ran.code, ran.out) == (130, "")
    first = next(line for line in ran.err.splitlines() if line)
    assert first == "interrupted: 2 of 5 files done, 1 of them enrolled now; the same command goes on from there"
    document = json.loads(Path("r.json").read_text())
    assert (document["n_files"], document["is_complete"]) == (2, False)
    assert not Path("r.json.part").exists()


def test_identify_takes_several_photographs_and_folders(cli, service):
    picture_files("party", "b.jpg", "a.png", "notes.txt", ".c.jpg")
    ran = cli("identify", "x.jpg", "party", "-k", "3", "--tag", "crew", "--json")
    assert ran.code == 0
    ((name, (given, k), asked),) = service.calls
    assert (name, given, k) == ("identify_many", ["x.jpg", str(Path("party/a.png")), str(Path("party/b.jpg"))], 3)
    assert asked == {"tags": ["crew"], "fpir": None, "fmr": None, "operating_point": None}
    assert ran.json["n_recognised"] == 3
    first = ran.json["photos"][0]
    assert set(first) == {"photo", "width", "height", "error", "n_recognised", "faces"}
    assert (first["photo"], first["width"], first["height"], first["error"]) == ("x.jpg", 80, 100, None)
    assert first["faces"][0]["label"] == "Ada"


def test_an_answer_a_line_and_an_error_a_line(cli, service):
    answers = [
        PhotographAnswer(0, "a.jpg", (80, 100), (identification(0.8, 0.1), identification(0.1)), None),
        PhotographAnswer(1, "b.jpg", None, (), NoFaceError("b.jpg: no face")),
    ]
    service.answers["identify_many"] = answers
    ran = cli("identify", "a.jpg", "b.jpg")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("a.jpg: face 0 at 10,20,60,90: Ada")
    assert "unknown" in lines[1]
    assert lines[2] == "b.jpg: no face"


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([PhotographAnswer(0, "a", (1, 1), (identification(0.1),), None), PhotographAnswer(1, "b", None, (), NoFaceError("n"))], 1),
        ([PhotographAnswer(n, "a", None, (), ImageDecodeError("n")) for n in range(2)], 2),
    ],
)
def test_exit_codes_of_many(cli, service, answers, code):
    service.answers["identify_many"] = answers
    assert cli("identify", "a.jpg", "b.jpg").code == code


@pytest.mark.parametrize("arguments", [("a.jpg", "b.jpg", "--roi", "0,0,9,9"), ("a.jpg", "b.jpg", "--draw", "o.png"), ("empty",)])
def test_what_many_cannot_do_is_said(cli, service, arguments):
    Path("empty").mkdir()
    ran = cli("identify", *arguments)
    assert (ran.code, ran.out) == (2, "")


def test_progress_writes_lines_where_there_is_no_terminal(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress("enrolling", lines_every_s=10.0) as advance:
        for done in range(0, 301, 50):
            now = 100.0 + done / 10
            advance(done, 1_000)
    assert capsys.readouterr().err.splitlines() == [
        "enrolling: 100 of 1,000, 90 s left, 10/s",
        "enrolling: 200 of 1,000, 80 s left, 10/s",
        "enrolling: 300 of 1,000, 70 s left, 10/s",
    ]
