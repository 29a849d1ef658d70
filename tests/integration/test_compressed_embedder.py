"""An embedder of shorter templates from its making to its decisions, by the commands that people type."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from facesearch.cli.main import execute
from facesearch.embedding.kept_figures import KeptFigures
from facesearch.embedding.library import ModelLibrary
from facesearch.inference import create_engine

N_PEOPLE = 14
"""Of LFW: as many as an operating point at FMR 1e-1 needs pairs of, and a few more."""


@pytest.fixture
def home(tmp_path: Path, network_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for models and galleries."""
    for name, folder in (("DATA", tmp_path / "data"), ("MODELS", tmp_path / "models"), ("CACHE", network_cache)):
        monkeypatch.setenv(f"FACESEARCH_{name}_DIR", str(folder))
    monkeypatch.setenv("FACESEARCH_THREADS", "1")
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Return the exit code of a command and what it wrote."""
    capsys.readouterr()
    code = execute([str(one) for one in arguments])
    return code, *capsys.readouterr()


def photographs(folder: Path, name: str, pixels: np.ndarray) -> list[Path]:
    """Write six photographs of one person, each made of the same one."""
    whole = Image.fromarray(pixels)
    made = [whole, ImageOps.mirror(whole), whole.rotate(8, expand=True), ImageEnhance.Brightness(whole).enhance(0.7)]
    made += [whole.convert("L").convert("RGB"), whole.resize((whole.width * 3 // 5, whole.height * 3 // 5))]
    (folder / name).mkdir(parents=True)
    for number, picture in enumerate(made):
        picture.save(folder / name / f"{number}.png")
    return sorted((folder / name).iterdir())


def test_a_compressed_embedder_decides_once_it_has_thresholds(
    home: Path, astronaut: np.ndarray, hopper: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    eileen, grace = (photographs(home / "people", name, one) for name, one in (("Eileen", astronaut), ("Grace", hopper)))
    code, out, _ = ran(capsys, "models", "compress", "mobilenet-128", "--dim", "3", "--images", home / "people", "-o", "short")
    assert code == 0
    assert "3 numbers" in out
    assert "learnt of 12 faces" in out
    assert "models calibrate short --images DIR" in out
    use = ("--embedder", "short")
    code, _, err = ran(capsys, *use, "verify", eileen[0], eileen[2])
    assert code == 5
    assert "models calibrate short" in err
    source = json.loads(ran(capsys, "models", "show", "short", "--json")[1])["source"]
    assert source.startswith("mobilenet-128@")
    assert source.endswith("brought from 128 to 3 numbers by components of 12 faces")

    point = {"fmr": 1e-2, "threshold": 0.7, "n_non_mated": 5000, "n_people": 100, "n_people_pairs": 4950}
    figures = KeptFigures(ModelLibrary(home / "models", lambda: create_engine(threads=1)), "short", is_flipped=False)
    figures.keep({"operating_points": [point], "measured_on": "photographs of a test"})
    assert ran(capsys, *use, "verify", eileen[0], eileen[2])[0] == 0
    assert ran(capsys, *use, "verify", eileen[0], grace[0])[0] == 1
    for photo, label in ((eileen[0], "Eileen"), (grace[0], "Grace")):
        assert ran(capsys, *use, "enroll", photo, label, "--allow-duplicate")[0] == 0
    code, out, _ = ran(capsys, *use, "identify", grace[4], "--json")
    assert code == 0
    document = json.loads(out)
    (face,) = document["faces"]
    assert face["label"] == "Grace"
    assert face["embedder_id"].startswith("short@")


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_way_on_people_of_lfw(home: Path, lfw_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = {line.split("\t")[0] for line in (lfw_folder / "peopleDevTrain.txt").read_text().splitlines()[1:]}
    people = [one for one in sorted((lfw_folder / "images").iterdir()) if one.name in named and len(list(one.iterdir())) == 3]
    for folder, some in (("learn", people[:N_PEOPLE]), ("measure", people[N_PEOPLE : 2 * N_PEOPLE])):
        (home / folder).mkdir()
        for person in some:
            (home / folder / person.name).symlink_to(person)
    use = ("--embedder", "short")
    assert ran(capsys, "models", "compress", "mobilenet-128", "--dim", "10", "--images", home / "learn", "-o", "short")[0] == 0
    code, out, _ = ran(capsys, "models", "calibrate", "short", "--images", home / "measure", "--fmr", "0.1", "--json")
    assert code == 0
    assert json.loads(out)["n_people"] == N_PEOPLE
    strangers = people[2 * N_PEOPLE : 2 * N_PEOPLE + 4]
    for person in strangers:
        assert (
            ran(capsys, *use, "enroll", sorted(person.iterdir())[0], person.name, "--face", "central", "--allow-duplicate")[0] == 0
        )
    verified = [ran(capsys, *use, "verify", *sorted(person.iterdir())[:2], "--face", "central", "--json") for person in strangers]
    assert sum(code == 0 for code, _, _ in verified) >= 3
    found = [ran(capsys, *use, "identify", sorted(person.iterdir())[1], "--json") for person in strangers]
    named_so = [[face["label"] for face in json.loads(out)["faces"]] for _, out, _ in found]
    assert sum(person.name in labels for person, labels in zip(strangers, named_so, strict=True)) >= 3
