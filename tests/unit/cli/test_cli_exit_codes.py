"""Every way a command line can end, and what it leaves on stdout and stderr."""

from __future__ import annotations

import json

import pytest

from facesearch.cli.main import hoisted
from facesearch.core.decision import Verification
from facesearch.core.errors import (
    AccessError,
    EnrollmentError,
    FaceSearchError,
    GalleryError,
    InputError,
    ModelError,
    NoFaceError,
    ServiceError,
    SettingsError,
    StoreError,
    TemplateError,
    UnknownIdentityError,
)
from tests.cli_fakes import POINT, identification

HOUSE_CODES = {
    InputError: 2,
    SettingsError: 2,
    EnrollmentError: 3,
    TemplateError: 3,
    GalleryError: 4,
    ModelError: 5,
    StoreError: 6,
    AccessError: 7,
    ServiceError: 8,
}
"""Exit codes of the house plan, by branch of the tree."""


def error_classes(root=FaceSearchError):
    for kind in root.__subclasses__():
        yield kind
        yield from error_classes(kind)


ERRORS = sorted({kind for kind in error_classes() if kind.__module__.startswith("facesearch.")}, key=lambda kind: kind.__name__)


def test_the_tree_of_errors_was_found():
    assert len(ERRORS) >= 25
    assert set(HOUSE_CODES) <= set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS)
def test_each_error_ends_with_the_code_of_its_branch(cli, service, kind):
    service.answers["verify"] = kind("that went wrong", size=3)
    branch = next(base for base in kind.__mro__ if base in HOUSE_CODES)

    ran = cli("verify", "a.jpg", "b.jpg")

    assert ran.code == HOUSE_CODES[branch]
    assert ran.out == ""
    assert ran.err == "error: that went wrong\n"


def test_error_as_json_goes_to_stderr_and_stdout_stays_empty(cli, service):
    service.answers["verify_identity"] = UnknownIdentityError("no Ada", label="Ada", score=float("nan"), box=(1.5, float("inf")))

    ran = cli("verify", "a.jpg", "--identity", "Ada", "--json")

    assert ran.code == 3
    assert ran.out == ""
    context = {"label": "Ada", "score": "nan", "box": [1.5, "inf"]}
    assert json.loads(ran.err) == {"error": {"code": "unknown_identity", "message": "no Ada", "context": context}}


def test_match_is_0_and_no_match_is_1(cli, service):
    assert cli("verify", "a.jpg", "b.jpg").code == 0
    service.answers["verify"] = Verification(0.399, POINT)
    assert cli("verify", "a.jpg", "b.jpg").code == 1


def test_identify_is_0_when_one_face_of_several_is_recognised_and_1_when_none_is(cli, service):
    service.answers["identify"] = (identification(0.2), identification(0.8))
    assert cli("identify", "a.jpg").code == 0
    service.answers["identify"] = (identification(0.2), identification())
    assert cli("identify", "a.jpg").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify",),
        ("verify", "a.jpg", "b.jpg", "c.jpg"),
        ("verify", "a.jpg", "b.jpg", "--fmr", "often"),
        ("identify", "a.jpg", "-k", "many"),
        ("identities",),
        ("nonsense",),
        ("detect", "--nonsense", "a.jpg"),
        ("detect",),
        ("--min-face", "small", "detect", "a.jpg"),
    ],
)
def test_wrong_usage_is_2_with_a_message(cli, service, arguments):
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err
    assert service.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "a.jpg"),
        ("verify", "a.jpg", "b.jpg", "--identity", "Ada"),
        ("verify", "a.jpg", "b.jpg", "--face", "best"),
        ("verify", "-", "-"),
        ("detect", "a.jpg", "b.jpg", "--draw", "out.jpg"),
        ("detect", "a.jpg", "--roi", "1,2,3"),
        ("detect", "a.jpg", "--roi", "9,2,3,4"),
        ("detect", "a.jpg", "--roi", "1,2,nan,4"),
        ("enroll", "a.jpg"),
        ("enroll", "a.jpg", "Ada", "--labels-csv", "x.csv"),
        ("enroll", ".", "Ada"),
        ("enroll", ".", "--new"),
        ("enroll", ".", "--report", "x.xlsx"),
        ("enroll", ".", "--report", "no/such/folder/x.csv"),
        ("identities", "tag", "Ada"),
        ("identities", "tag", "Ada", "x", "--clear"),
        ("detect", "a.jpg", "--log-level", "loud"),
        ("detect", "a.jpg", "--min-face", "1"),
        ("detect", "a.jpg", "--engine", "abacus"),
        ("detect", "a.jpg", "--config", "no-such.toml"),
    ],
)
def test_wrong_values_are_2_with_a_message(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("error: ")


def test_usage_error_as_json(cli):
    ran = cli("verify", "--json")
    assert ran.code == 2
    assert json.loads(ran.err)["error"]["code"] == "bad_usage"


def test_unexpected_error_is_70_with_one_line_and_a_log_of_the_traceback(cli, service, tmp_path):
    service.answers["verify"] = ZeroDivisionError("surprise")

    ran = cli("verify", "a.jpg", "b.jpg")

    assert ran.code == 70
    assert ran.out == ""
    logs = list((tmp_path / "logs").iterdir())
    assert len(logs) == 1
    assert len(ran.err.splitlines()) == 1
    assert str(logs[0]) in ran.err
    assert "ZeroDivisionError: surprise" in logs[0].read_text()
    assert logs[0].stat().st_mode & 0o077 == 0


def test_unexpected_error_as_json_names_the_log(cli, service, tmp_path):
    service.answers["verify"] = RuntimeError("surprise")
    error = json.loads(cli("verify", "a.jpg", "b.jpg", "--json").err)["error"]
    assert error["code"] == "internal_error"
    assert error["context"]["log"] == str(next((tmp_path / "logs").iterdir()))


def test_unwritable_folder_of_logs_falls_back_to_another(cli, service, tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    service.answers["verify"] = RuntimeError("surprise")
    ran = cli("verify", "a.jpg", "b.jpg", "--json")
    assert ran.code == 70
    from pathlib import Path

    log = Path(json.loads(ran.err)["error"]["context"]["log"])
    assert "surprise" in log.read_text()
    log.unlink()


def test_ctrl_c_is_130(cli, service):
    service.answers["verify"] = KeyboardInterrupt()
    ran = cli("verify", "a.jpg", "b.jpg")
    assert ran.code == 130
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_closed_pipe_is_quiet_and_never_1(cli, service):
    service.answers["list"] = BrokenPipeError(32, "Broken pipe")
    ran = cli("identities", "list")
    assert ran.code == 141
    assert ran.out + ran.err == ""


def test_an_exit_of_a_library_shows_through_as_no_1(cli, service):
    service.answers["verify"] = SystemExit("bye")
    assert cli("verify", "a.jpg", "b.jpg").code == 70


def test_service_is_closed_whatever_happens(cli, service):
    service.answers["identify"] = NoFaceError("no face")
    assert cli("identify", "a.jpg").code == 2
    assert service.is_closed


def test_bare_command_line_prints_the_help(cli):
    ran = cli()
    assert ran.code == 0
    assert "identify" in ran.out


def test_version(cli):
    from facesearch.version import __version__

    assert cli("--version").out == f"facesearch {__version__}\n"


def test_global_options_may_stand_anywhere(cli, library, tmp_path):
    for arguments in (
        ("--data-dir", "d", "-c", "team", "--min-face", "40", "verify", "a.jpg", "b.jpg"),
        ("verify", "--data-dir=d", "a.jpg", "b.jpg", "--min-face", "40", "-c", "team"),
    ):
        assert cli(*arguments).code == 0
        assert (str(library.settings.data_dir), library.settings.collection, library.settings.min_face_px) == ("d", "team", 40)


def test_nothing_moves_across_two_dashes():
    arguments = ["enroll", "-c", "team", "a.jpg", "--", "--collection", "-c"]
    assert hoisted(arguments) == ["-c", "team", "enroll", "a.jpg", "--", "--collection", "-c"]
    assert hoisted(["enroll", "--collection"]) == ["--collection", "enroll"]


def test_config_names_the_settings_file_and_the_environment_is_left_as_it_was(cli, library, tmp_path, monkeypatch):
    monkeypatch.setenv("FACESEARCH_CONFIG", "elsewhere.toml")
    (tmp_path / "mine.toml").write_text('collection = "team"\n')
    assert cli("verify", "a.jpg", "b.jpg", "--config", "mine.toml").code == 0
    assert library.settings.collection == "team"
    import os

    assert os.environ["FACESEARCH_CONFIG"] == "elsewhere.toml"
