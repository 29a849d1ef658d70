"""What the README shows can be done as it stands there, and what it states is so."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch import Settings
from facesearch.core import errors
from facesearch.core.errors import FaceSearchError

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

Run = Callable[..., subprocess.CompletedProcess[str]]


def block(language: str) -> str:
    """Return the README's only block of a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


def section(title: str) -> str:
    """Return the text under a heading of the second level."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def run(tmp_path: Path, astronaut: np.ndarray, hopper: np.ndarray) -> Run:
    """Run Python in a folder that holds the README's photographs."""
    height = min(len(astronaut), len(hopper))
    photographs = {
        "collins.jpg": astronaut,
        "collins-2.jpg": astronaut[:, ::-1] // 2,
        "hopper.jpg": hopper,
        "hopper-2.jpg": hopper[:, ::-1],
        "group.jpg": np.hstack([astronaut[:height], hopper[:height]]),
        "people/Eileen Collins/1.jpg": astronaut[40:],
        "people/Grace Hopper/1.jpg": hopper[:, 40:],
    }
    for name, pixels in photographs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PilImage.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / name, quality=95)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FACESEARCH_")}
    variables |= {"PYTHONPATH": str(ROOT), "FACESEARCH_DATA_DIR": str(tmp_path / "data")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=300)

    return run


def test_the_library_lines_do_what_they_say(run: Run) -> None:
    done = run("-W", "error", "-c", block("python"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("True 0.")
    assert lines[0].endswith(" 0.4291 0.0001")
    assert {"Eileen Collins", "Grace Hopper"} == {
        label for label in ("Eileen Collins", "Grace Hopper") for line in lines[1:] if label in line
    }


def test_the_command_lines_do_what_they_say(run: Run, tmp_path: Path) -> None:
    commands = [shlex.split(line, comments=True) for line in block("sh").splitlines()]
    assert len(commands) == 10
    printed = {}
    for command in commands:
        assert command[0] == "facesearch"
        done = run(str(ROOT / "cli.py"), *command[1:])
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed[" ".join(command[1:3])] = done.stdout
    assert (tmp_path / "who.jpg").is_file()
    assert json.loads(printed["identify group.jpg"])["n_recognised"] == 2
    assert "Grace Hopper" in printed["identities list"]


def test_the_library_block_is_about_ten_lines() -> None:
    assert len([line for line in block("python").splitlines() if line.strip()]) <= 10
    ast.parse(block("python"))


def test_every_setting_is_in_the_table() -> None:
    named = set(
        re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in section("Settings").splitlines() if line.startswith("|")))
    )
    assert len(Settings.model_fields) >= 25
    assert named == set(Settings.model_fields)


def test_the_operating_points_are_those_of_the_model_card() -> None:
    card = json.loads((ROOT / "facesearch" / "models" / "mobilenet-128.json").read_text(encoding="utf-8"))
    points = card["lfw"]["single"]["operating_points"]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section("How to read scores and thresholds").splitlines()
        if line.startswith("| 1e-")
    ]
    assert len(rows) == len(points) == 5
    for row, point in zip(rows, points, strict=True):
        assert float(row[0]) == pytest.approx(point["fmr"])
        assert int(row[1].replace(",", "")) == round(1 / point["fmr"])
        assert float(row[2]) == point["threshold"]
        assert float(row[3].removesuffix(" %")) == pytest.approx(100 * point["tar"], abs=0.006)
        assert float(row[4]) == pytest.approx(point["fmr_check"], rel=0.006)
        assert float(row[5].removesuffix(" %")) == pytest.approx(100 * point["tar_check"], abs=0.006)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]*) \|$", section("When something is wrong"), re.MULTILINE)
    stated = {name: int(code) for code, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert stated == {
        error.__name__: error.exit_code for error in FaceSearchError.__subclasses__() if error.__module__ == errors.__name__
    }


def test_the_codes_in_the_table_exist() -> None:
    table = [line for line in section("When something is wrong").splitlines() if line.startswith("|") and line.count("|") == 4]
    named = {code for line in table for code in re.findall(r"`([a-z]+_[a-z_]+)`", line.split("|")[3])}
    assert len(named) >= 12
    known = {cls.code for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, FaceSearchError)}
    assert named <= known


def test_the_files_it_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) >= 4
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_goals_it_names_exist() -> None:
    goals = set(re.findall(r"`(?:time )?make ([a-z-]+)", README))
    assert len(goals) >= 5
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [goal for goal in goals if not re.search(rf"^{goal}:", makefile, re.MULTILINE)] == []


def test_no_figure_is_left_open() -> None:
    assert re.findall(r"\{\{\w+\}\}", README) == []
