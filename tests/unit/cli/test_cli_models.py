"""The commands that add, show, verify and remove models."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from facesearch.cli.main import execute
from tests.model_files import save_onnx

SAID = shlex.split("--alignment arcface-112 --channels rgb --mean 127.5 --scale 128,128,128 --licence MIT --name mine")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in ("data", "models", "cache"):
        monkeypatch.setenv(f"FACESEARCH_{name.upper()}_DIR", str(tmp_path / name))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = execute([str(one) for one in arguments], log_folder=tmp_path)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_model_from_adding_to_removing(run, tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "mine.onnx")
    code, out, err = run("models", "add", file)
    assert (code, out) == (5, "")
    assert "--alignment arcface-112|facenet-160" in err
    code, out, err = run("models", "add", file, *SAID)
    assert code == 0, err
    assert out.startswith("added mine@")
    assert "facesearch models calibrate mine --images DIR" in out
    assert "trying it out on two pictures" in err
    code, out, _ = run("models", "list")
    assert code == 0
    assert "not calibrated" in out
    code, out, _ = run("models", "show", "mine", "--json")
    card = json.loads(out)
    assert (code, card["dim"], card["licence"], card["is_calibrated"]) == (0, 4, "MIT", False)
    assert run("models", "verify", "mine")[0] == 0
    code, _, err = run("models", "remove", "mine")
    assert (code, "add --yes" in err) == (2, True)
    assert run("models", "remove", "mine", "--yes")[0] == 0
    code, _, err = run("--embedder", "mine", "models", "show")
    assert (code, "no embedder 'mine'" in err) == (5, True)
    code, _, err = run("models", "show", "sface")
    assert "there is a recipe for it: facesearch models fetch sface" in err


def test_a_model_with_a_damaged_card_can_be_removed(run, tmp_path: Path) -> None:
    assert run("models", "add", save_onnx(tmp_path / "mine.onnx"), *SAID)[0] == 0
    (tmp_path / "models" / "mine" / "card.json").write_text("{")
    code, out, err = run("models", "list")
    assert (code, "facesearch models remove mine" in err, "mobilenet-128@" in out) == (5, True, True)
    code, out, err = run("models", "remove", "mine", "--yes")
    assert (code, out, err) == (0, "removed mine\n", "")
    assert run("models", "list")[0] == 0


def test_one_changed_file_does_not_keep_the_others_from_being_verified(run, tmp_path: Path) -> None:
    for number, name in enumerate(("mine", "yours")):
        file = save_onnx(tmp_path / f"{name}.onnx", output=f"vector{number}")
        assert run("models", "add", file, *SAID[:-1], name)[0] == 0
        file.unlink()
    changed = next((tmp_path / "models" / "mine").glob("*.onnx"))
    changed.chmod(0o600)
    changed.write_bytes(changed.read_bytes() + b"x")
    code, out, err = run("models", "verify")
    assert (code, out.count("is unchanged")) == (5, 2)
    assert "their card says" in err
    assert "facesearch models remove mine" in err
    (tmp_path / "models" / "yours" / "card.json").write_text("{")
    code, out, err = run("models", "verify")
    assert (code, out.count("is unchanged")) == (5, 1)
    assert "models remove mine" in err
    assert "models remove yours" in err
    assert run("models", "add", save_onnx(tmp_path / "third.onnx", output="third"), *SAID[:-1], "third")[0] == 0


def test_recipes_and_licences(run) -> None:
    code, out, _ = run("models", "list", "--recipes", "--json")
    recipes = json.loads(out)["recipes"]
    assert code == 0
    assert [one["name"] for one in recipes if not one["is_open"]] == ["glintr100", "w600k_mbf", "w600k_r50"]
    code, _, err = run("models", "fetch", "w600k_mbf", "--from", "http://127.0.0.1:9/none", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (5, "licence_not_accepted")
    code, _, err = run("models", "fetch", "sface", "--from", "http://127.0.0.1:9/none")
    assert code == 5
    assert "could not be fetched: no connection" in err


def test_points_that_are_no_points(run, tmp_path: Path) -> None:
    code, _, err = run("models", "add", save_onnx(tmp_path / "a.onnx"), *SAID, "--points", "1,2 3,x", "--input-px", 112)
    assert code == 5
    assert "points cannot be" in err
