"""The command line as people run it: processes of their own, real photographs, real networks, a database on disk."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as PilImage
from PIL import ImageEnhance

from tests.conftest import ROOT

TIMEOUT_S = 300


@pytest.fixture(scope="module")
def place(tmp_path_factory, astronaut, hopper, cat):
    """A folder of photographs: two people, one of them twice, both in one picture, and a cat."""
    folder = tmp_path_factory.mktemp("photographs")
    first, other = PilImage.fromarray(astronaut), PilImage.fromarray(hopper)
    first.save(folder / "astronaut.jpg", quality=95)
    ImageEnhance.Brightness(first.rotate(6)).enhance(0.8).save(folder / "astronaut again.jpg", quality=90)
    other.save(folder / "hopper.jpg", quality=95)
    both = PilImage.new("RGB", (1024, 600))
    both.paste(first, (0, 0))
    both.paste(other, (512, 0))
    both.save(folder / "both.jpg", quality=95)
    PilImage.fromarray(cat).save(folder / "cat.png")
    return folder


@pytest.fixture(scope="module")
def command(place):
    """Run ``python cli.py …`` in the folder of photographs, and expect an exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACESEARCH_")}
    environment |= {"FACESEARCH_DATA_DIR": str(place / "gallery"), "FACESEARCH_CACHE_DIR": str(place / "cache")}
    environment["XDG_STATE_HOME"] = str(place / "state")

    def start(*arguments, python=(), **options):
        line = [sys.executable, *python, str(ROOT / "cli.py"), *arguments]
        return subprocess.Popen(line, cwd=place, env=environment | options.pop("env", {}), **options)

    def run(*arguments, expect=0, stdin=b"", **options):
        process = start(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        out, err = process.communicate(stdin, timeout=TIMEOUT_S)
        assert process.returncode == expect, (arguments, out, err)
        return out.decode(), err.decode()

    run.start = start
    return run


@pytest.fixture(scope="module")
def gallery(command):
    """The astronaut enrolled as Eileen, with an awkward tag."""
    document = json.loads(command("enroll", "astronaut.jpg", "Eileen [bold]", "--tag", "crew", "--json")[0])
    assert [one["label"] for one in document["enrollments"]] == ["Eileen [bold]"]


def test_verify_two_photographs(command, place):
    out, err = command("verify", "astronaut.jpg", "astronaut again.jpg", "--json")
    assert err == ""
    answer = json.loads(out)
    assert answer["is_match"] is True
    assert answer["score"] >= answer["threshold"]
    out, _ = command("verify", "-", "hopper.jpg", expect=1, stdin=(place / "astronaut.jpg").read_bytes())
    assert out.startswith("no match: score ")


def test_warm_verify_imports_neither_torch_nor_alembic_and_makes_no_gallery(command, place, tmp_path):
    command("verify", "astronaut.jpg", "hopper.jpg", expect=1)
    elsewhere = {"FACESEARCH_DATA_DIR": str(tmp_path / "none")}
    _, err = command("verify", "astronaut.jpg", "hopper.jpg", expect=1, python=("-X", "importtime"), env=elsewhere)
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "facesearch.service.verify" in imported
    assert not imported & {"torch", "alembic", "sqlalchemy", "sklearn", "scipy", "matplotlib", "rich", "hypothesis"}
    assert not (tmp_path / "none").exists()


def test_identify_knows_the_one_and_not_the_other(command, gallery, place):
    out, err = command("identify", "both.jpg", "--draw", "drawn.jpg", "--json")
    assert err == "drawn: drawn.jpg\n"
    faces = json.loads(out)["faces"]
    assert len(faces) == 2
    assert sorted(str(face["label"]) for face in faces) == ["Eileen [bold]", "None"]
    with PilImage.open(place / "drawn.jpg") as drawn:
        assert drawn.size == (1024, 600)
    out, _ = command("identify", "hopper.jpg", expect=1)
    assert "unknown" in out


def test_verify_against_an_enrolled_person(command, gallery):
    assert "match with Eileen [bold]" in command("verify", "astronaut again.jpg", "--identity", "Eileen [bold]")[0]
    assert command("verify", "hopper.jpg", "--identity", "Nobody", expect=3)[0] == ""


def test_bad_photographs_are_2(command):
    for name in ("cat.png", "nothing.jpg"):
        out, err = command("identify", name, expect=2)
        assert out == ""
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1


def test_people_and_database(command, gallery):
    assert "Eileen [bold]" in command("identities", "list")[0]
    database = json.loads(command("db", "check", "--json")[0])
    assert (database["revision"], database["is_current"]) == (database["head"], True)


def test_doctor_is_well(command, gallery):
    document = json.loads(command("doctor", "--rebuild-index", "--json")[0])
    assert document["is_well"] is True
    states = {check["name"]: check["status"] for check in document["checks"]}
    for name in ("detector weights", "embedder", "cache", "engine", "database", "index of default"):
        assert states[name] == "ok"


def test_database_of_a_newer_release_is_6_and_doctor_says_so(command, tmp_path):
    there = {"FACESEARCH_DATA_DIR": str(tmp_path)}
    command("db", "upgrade", env=there)
    with sqlite3.connect(tmp_path / "facesearch.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "9999" in command("identities", "list", expect=6, env=there)[1]
    out, _ = command("doctor", "--json", expect=6, env=there)
    failed = [check for check in json.loads(out)["checks"] if check["status"] == "failed"]
    assert [(check["name"], check["code"]) for check in failed] == [("database", "schema_version")]


def test_doctor_names_a_wrong_database_url(command):
    out, _ = command("doctor", "--json", "--database-url", "carrier-pigeon://x", expect=2)
    failed = [check for check in json.loads(out)["checks"] if check["status"] == "failed"]
    assert [(check["name"], check["code"]) for check in failed] == [("database", "bad_settings")]


@pytest.mark.data
def test_evaluate_lfw_on_some_pairs(command, lfw_folder, tmp_path):
    lines = (lfw_folder / "pairs.txt").read_text().splitlines()[1:]
    some = [line for start in (0, 300, 600, 900) for line in lines[start : start + 2]]
    (tmp_path / "pairs.txt").write_text("\n".join(["2\t2", *some, ""]))
    arguments = ("evaluate", "lfw", "--images", str(lfw_folder / "images"), "--pairs", str(tmp_path / "pairs.txt"))
    document = json.loads(command(*arguments, "--json")[0])
    assert (document["n_pairs"], document["accuracy"]["total"]) == (8, 8)


def heeding_ctrl_c() -> None:
    """Undo what a shell does to commands it starts in the background: they ignore Ctrl-C, and so do all their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_is_130(command):
    pipe = subprocess.PIPE
    process = command.start("detect", "-", stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=heeding_ctrl_c)
    # More than a pipe holds: once it is written, the command is reading, and waits for the rest.
    process.stdin.write(b"\0" * 2**20)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out, err) == (130, b"", b"error: interrupted\n")


def test_a_pipe_among_photographs_is_a_failure_and_holds_nothing_up(command, place, tmp_path):
    for name in ("Ada", "Ben"):
        (tmp_path / "people" / name).mkdir(parents=True)
        (tmp_path / "people" / name / "1.jpg").write_bytes((place / "astronaut.jpg").read_bytes())
        os.mkfifo(tmp_path / "people" / name / "2.jpg")
    people, elsewhere = str(tmp_path / "people"), {"FACESEARCH_DATA_DIR": str(tmp_path / "data")}
    out, _ = command("index-folder", people, "--json", env=elsewhere)
    assert json.loads(out)["counts"]["image_undecodable"] == 2
    out, _ = command("train", "prepare", people, "-o", str(tmp_path / "crops"), "--json")
    assert [one["message"] for one in json.loads(out)["failures"]] == [
        f"{name}/2.jpg is a named pipe, not a picture file" for name in ("Ada", "Ben")
    ]
    _, err = command("verify", str(tmp_path / "people" / "Ada" / "2.jpg"), "hopper.jpg", expect=2)
    assert "is a named pipe, not a picture file" in err


def test_closed_pipe_is_quiet(command):
    reading, writing = os.pipe()
    os.close(reading)
    process = command.start("models", "list", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (141, b"")


def test_closed_streams_end_with_the_right_code_all_the_same(command):
    for closed, arguments, code in ((">&-", "models list", 0), ("2>&-", "nonsense", 2), ("<&-", "identities remove Ada", 2)):
        line = f'"{sys.executable}" "{ROOT / "cli.py"}" {arguments} {closed}'
        assert subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=TIMEOUT_S, check=False).returncode == code


def test_full_disk_behind_stdout_is_6(command):
    with Path("/dev/full").open("wb") as full:
        process = command.start("models", "list", stdout=full, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (6, b"error: standard output cannot be written: No space left on device\n")


def test_ascii_terminal_gets_escapes_and_json_stays_json(command):
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    out, _ = command("collections", "add", "Zoë", "--json", env=plain)
    assert json.loads(out)["name"] == "Zoë"
    assert "Zo\\xeb" in command("collections", "list", env=plain)[0]
