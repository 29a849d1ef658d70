"""``evaluate`` on the real networks: photographs in, figures, report and saved points out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageEnhance

from facesearch.cli.main import execute
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def people(tmp_path_factory, astronaut, hopper, cat):
    """Two people, three photographs each, and a cat under a name of its own."""
    folder = tmp_path_factory.mktemp("people")
    for label, pixels in (("Eileen", astronaut), ("Grace", hopper)):
        (folder / label).mkdir()
        whole = PilImage.fromarray(pixels)
        for number, angle in enumerate((0, 5, -7)):
            ImageEnhance.Brightness(whole.rotate(angle)).enhance(1.0 - 0.1 * number).save(
                folder / label / f"{number}.jpg", quality=92
            )
    (folder / "Chelsea").mkdir()
    PilImage.fromarray(cat).save(folder / "Chelsea" / "0.png")
    return folder


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACESEARCH_DATA_DIR", str(tmp_path / "gallery"))

    def command(*arguments, expect=0):
        capsys.readouterr()
        code = execute(("evaluate", *map(str, arguments)), log_folder=tmp_path)
        out, err = capsys.readouterr()
        assert code == expect, err
        return out, err

    return command


def test_a_folder_end_to_end(run, people, tmp_path):
    arguments = ("folder", people, "--cache", tmp_path / "kept", "--fmr", "0.5", "--report", tmp_path / "out.html", "--json")
    first, second = (json.loads(run(*arguments)[0]) for _ in range(2))
    assert (first["n_photographs"], first["n_cached"], second["n_cached"]) == (7, 0, 7)
    assert [(one["path"], one["code"]) for one in first["failures_to_acquire"]] == [("Chelsea/0.png", "no_face")]
    (point,) = first["all_pairs"]["points"]
    assert (point["tar"]["count"], point["tar"]["total"]) == (6, 6)
    assert point["false_matches"]["total"] == 9 + 6
    assert first["all_pairs"] == second["all_pairs"]
    report = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert report.count("data:image/jpeg;base64,/9j/") >= 4


def test_pairs_end_to_end(run, people, tmp_path):
    lines = ["a,b,same"]
    lines += [f"{label}/{a}.jpg,{label}/{b}.jpg,same" for label in ("Eileen", "Grace") for a, b in ((0, 1), (1, 2))]
    lines += [f"Eileen/{a}.jpg,Grace/{b}.jpg,different" for a in range(3) for b in range(3)]
    (people / "pairs.csv").write_text("\n".join(lines) + "\n")
    out, _ = run(
        "pairs", people / "pairs.csv", "--cache", tmp_path / "kept", "--fmr", "0.5", "--report", tmp_path / "out.html", "--json"
    )
    (point,) = json.loads(out)["points"]
    assert (point["tar"]["count"], point["tar"]["total"], point["false_matches"]["total"]) == (4, 4, 9)
    assert np.isfinite(point["threshold"])
    assert "Worst false matches" in (tmp_path / "out.html").read_text(encoding="utf-8")


@pytest.mark.data
def test_lfw_people_of_a_small_list(run, lfw_folder, tmp_path):
    names = ["Abdullah_Gul", "Zico", "Adam_Sandler"]
    pairs = ["1", "Zico\t1\t2", "Zico\t1\tAdam_Sandler\t1"]
    (tmp_path / "pairs.txt").write_text("\n".join([*pairs, ""]))
    (tmp_path / "people.txt").write_text("\n".join(["3", *(f"{name}\t3" for name in names), ""]))
    document = json.loads(run("lfw", "--images", lfw_folder / "images", "--pairs", tmp_path / "pairs.txt", "--json")[0])
    assert (document["n_pairs"], document["n_people"], document["n_photographs"]) == (2, 3, 9)
    assert (document["all_pairs"]["n_mated"], document["open_set"]["n_gallery"]) == (9, 3)
    only = json.loads(run("lfw", "--images", lfw_folder / "images", "--pairs", tmp_path / "pairs.txt", "--pairs-only", "--json")[0])
    assert "all_pairs" not in only
    assert only["tar"] == document["tar"]


def test_the_documented_commands_are_there():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for part in ("evaluate folder DIR", "evaluate pairs CSV", "--by COLUMN", "--report", "--cache", "--save"):
        assert part in text
