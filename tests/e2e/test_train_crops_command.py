"""`train prepare` and `train clean` as typed, through the real networks, on the packaged photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch.cli.main import execute
from facesearch.training.crop_store import CropStore


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACESEARCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FACESEARCH_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: str) -> dict:
        capsys.readouterr()
        code = execute([*arguments, "--json"], log_folder=tmp_path / "logs")
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out)

    return run


def test_from_photographs_to_a_cleaned_store(run, tmp_path: Path, astronaut: np.ndarray, hopper: np.ndarray, cat: np.ndarray):
    people = {"Eileen": [astronaut, astronaut[:, ::-1], astronaut[8:, 8:]], "Grace": [hopper, hopper[5:, 5:], hopper[:, ::-1]]}
    people["Eileen"] += [hopper[10:, :], cat]
    for person, pictures in people.items():
        (tmp_path / "people" / person).mkdir(parents=True)
        for number, pixels in enumerate(pictures):
            PilImage.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "people" / person / f"{number}.png")
    prepared = run("train", "prepare", "people", "-o", "crops")
    assert (prepared["n_crops"], prepared["n_people"], prepared["failures_by_code"]) == (7, 2, {"no_face": 1})
    cleaned = run("train", "clean", "crops", "--sheet", "sheet.html")
    assert cleaned["counts"]["crops_moved"] == 1
    store = CropStore.open("crops", cleaned=cleaned["list"])
    assert [path for path, label in zip(store.paths, store.labels, strict=True) if store.people[label] == "Grace"] == [
        "Eileen/3.png",
        "Grace/0.png",
        "Grace/1.png",
        "Grace/2.png",
    ]
    page = Path("sheet.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert run("train", "prepare", "people", "-o", "crops")["n_known"] == 8
