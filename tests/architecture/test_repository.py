"""What may lie in the repository: no photographs of people, no large files but the weights, nothing of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
WEIGHTS = {".safetensors", ".pt", ".pth", ".onnx", ".bin", ".dat", ".h5"}
MAX_BYTES = 500_000
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/\w")


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files git tracks; skips outside a checkout (a source archive)."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: nothing says which files belong to the repository")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip(f"git does not list the files: {listing.stderr.strip()}")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    assert len(files) > 60
    return [file for file in files if file.is_file()]


def test_there_are_no_pictures(tracked: list[Path]) -> None:
    assert [file for file in tracked if file.suffix.lower() in PICTURES] == []


def test_weights_are_those_of_the_models_folder(tracked: list[Path]) -> None:
    weights = [file.relative_to(ROOT).as_posix() for file in tracked if file.suffix in WEIGHTS]
    # The second holds no weights but what makes bytes of the first's: 66 KB of ranges.
    assert weights == ["facesearch/models/mobilenet-128.int8.safetensors", "facesearch/models/mobilenet-128.safetensors"]


def test_nothing_else_is_large(tracked: list[Path]) -> None:
    large = {
        file.relative_to(ROOT).as_posix(): file.stat().st_size
        for file in tracked
        if file.stat().st_size > MAX_BYTES and file.suffix not in WEIGHTS
    }
    assert large == {}


def test_no_file_names_a_place_of_one_machine(tracked: list[Path]) -> None:
    places = {}
    for file in tracked:
        data = file.read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            if MACHINE_PATHS.search(line):
                places[f"{file.relative_to(ROOT)}:{number}"] = line.strip()
    assert places == {}


def test_every_package_folder_has_a_purpose_written_down(tracked: list[Path]) -> None:
    packages = [file for file in tracked if file.name == "__init__.py" and ROOT / "facesearch" in file.parents]
    assert len(packages) >= 6
    for file in packages:
        assert file.read_text("utf-8").lstrip().startswith('"""'), f"{file.relative_to(ROOT)} has no docstring"


def test_no_module_is_a_drawer(tracked: list[Path]) -> None:
    drawers = {"utils.py", "util.py", "common.py", "helpers.py", "constants.py", "misc.py"}
    assert [file for file in tracked if file.name in drawers] == []
