"""The wheel, installed into a clean environment and used from an empty folder: what a stranger gets from `pip install`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "facesearch" / "web"

Run = Callable[..., subprocess.CompletedProcess[str]]


def checked(arguments: list[str | Path], **options: object) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300, **options)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    checked([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT])
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == 1
    return wheels[0]


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel, and the dependencies of this one without installing them again."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    # First the wheel, while the environment is empty: pip would otherwise find this checkout's own installation.
    checked([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel])
    packages = Path(checked([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    # The folder goes to the end of sys.path and its own .pth files are not read, so an editable installation does not count.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the installed command in an empty folder with a home of its own."""
    home, empty = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("empty")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FACESEARCH_", "XDG_", "PYTEST"))}
    variables = kept | {"HOME": str(home), "PATH": f"{environment / 'bin'}{os.pathsep}{kept['PATH']}"}

    def run(*arguments: str | Path, program: str = "facesearch") -> subprocess.CompletedProcess[str]:
        command = [environment / "bin" / program, *arguments]
        return subprocess.run(command, cwd=empty, env=variables, capture_output=True, text=True, check=False, timeout=300)

    return run


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, hopper: np.ndarray) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photographs")
    pictures = {"astronaut": astronaut, "mirrored": astronaut[:, ::-1], "hopper": hopper}
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, path in paths.items():
        PilImage.fromarray(np.ascontiguousarray(pictures[name])).save(path)
    return paths


def test_the_wheel_carries_what_it_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        entry_points = next(name for name in names if name.endswith(".dist-info/entry_points.txt"))
        described = archive.read(metadata).decode()
        commands = archive.read(entry_points).decode()
    code = {f"facesearch/{path.relative_to(ROOT / 'facesearch').as_posix()}" for path in (ROOT / "facesearch").rglob("*.py")}
    steps = {f"facesearch/_migrations/versions/{path.name}" for path in (ROOT / "migrations" / "versions").glob("*.py")}
    assert len(code) > 50
    assert steps
    models = {
        f"facesearch/models/{name}"
        for name in (
            "mobilenet-128.safetensors",
            "mobilenet-128.int8.safetensors",
            "mobilenet-128.json",
            "mobilenet-128.md",
            "NOTICE",
        )
    }
    models |= {f"facesearch/models/recipes/{path.name}" for path in (ROOT / "facesearch" / "models" / "recipes").glob("*.json")}
    assert "facesearch/models/recipes/sface.json" in models
    page = {f"facesearch/web/{path.relative_to(WEB).as_posix()}" for path in WEB.rglob("*") if path.is_file()}
    assert {"facesearch/web/index.html", "facesearch/web/js/app.js", "facesearch/web/icons/sprite.svg"} <= page
    library = {"facesearch/detection/native/cascade.so", "facesearch/gallery/native/beam.so"}
    assert wheel.name.endswith(f"-py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}.whl")
    needed = code | steps | models | library | page | {"facesearch/py.typed", "facesearch/_migrations/env.py"}
    assert needed <= names, sorted(needed - names)
    strays = {name for name in names - needed if not name.startswith("facesearch/_migrations/") and ".dist-info/" not in name}
    assert strays == set()
    assert not [name for name in names if "test" in name.lower() or name.endswith(".pyc")]
    assert "License-Expression: Apache-2.0" in described
    assert "License-File: facesearch/models/NOTICE" in described
    assert "facesearch = facesearch.cli.main:run" in commands


def test_the_checkout_is_out_of_reach(run: Run, environment: Path) -> None:
    asked = run("-c", "import facesearch; print(facesearch.__file__)", program="python")
    assert asked.returncode == 0, asked.stderr
    assert Path(asked.stdout.strip()).is_relative_to(environment)


def test_the_main_path_works_from_an_empty_folder(run: Run, photographs: dict[str, Path]) -> None:
    upgraded = run("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr

    enrolled = run("enroll", photographs["astronaut"], "Eileen Collins", "--json")
    assert enrolled.returncode == 0, enrolled.stderr
    assert json.loads(enrolled.stdout)

    same = run("verify", photographs["astronaut"], photographs["mirrored"])
    assert same.returncode == 0, same.stderr
    other = run("verify", photographs["astronaut"], photographs["hopper"])
    assert other.returncode == 1, other.stderr

    found = run("identify", photographs["mirrored"], "--json")
    assert found.returncode == 0, found.stderr
    assert "Eileen Collins" in found.stdout
    unknown = run("identify", photographs["hopper"], "--json")
    assert unknown.returncode == 1, unknown.stderr

    well = run("doctor")
    assert well.returncode == 0, well.stdout + well.stderr
    assert "compiled, for" in well.stdout
