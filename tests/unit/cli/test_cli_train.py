"""``train prepare`` and ``train clean``: what is asked for reaches the library, and its answer is printed with counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from facesearch.training.cleaned_list import CleanedList, RowDecision, RowFinding
from facesearch.training.crop_store import CropRow, CropStore
from facesearch.training.prepare import PrepareReport
from tests.crop_files import store_of_vectors


def report(n_crops: int = 3) -> PrepareReport:
    failures = tuple(CropRow(f"Ada/{n}.jpg", "Ada", code="no_face", message="nobody there") for n in range(25))
    return PrepareReport(Path("out"), 25 + n_crops, n_crops, 2, failures, min(1, n_crops), 0, ("Blank",), 4, ("x.jpg",))


@pytest.fixture
def preparing(service):
    asked = []

    def prepare(folder, store, *, on_progress, **options):
        on_progress(1, 3)
        asked.append((folder, store, options))
        return preparing.report

    preparing = SimpleNamespace(report=report(), asked=asked)
    service.answers["parts"] = SimpleNamespace(prepare_crops=prepare)
    return preparing


def test_what_was_prepared_is_told_with_counts(cli, preparing):
    ran = cli("train", "prepare", "people", "-o", "out")
    assert ran.code == 0
    for part in ("3 of 28 photographs are crops of 1 people in out, 2 of them in an earlier run", "1 have none", "no_face"):
        assert part in ran.out
    assert "… and 5 more" in ran.out
    assert ran.out.count("nobody there") == 20
    for warning in ("one person only", "1 labels have no usable photograph", "4 pictures of the folder are not in the label file"):
        assert f"warning: {warning}" in " ".join(ran.err.split("\n")) or warning in ran.err
    assert preparing.asked == [(Path("people"), Path("out"), {"labels_csv": None, "face": "largest", "restart": False})]


def test_options_reach_the_library_and_json_has_all_failures(cli, preparing):
    arguments = ("--labels", "labels.csv", "--face", "1", "--restart", "--json")
    document = cli("train", "prepare", "people", "-o", "out", *arguments).json
    assert preparing.asked[0][2] == {"labels_csv": Path("labels.csv"), "face": 1, "restart": True}
    assert document["n_crops"] == 3
    assert document["failures_by_code"] == {"no_face": 25}
    assert len(document["failures"]) == 25
    assert document["people_without_crops"] == ["Blank"]


def test_a_folder_without_a_crop_is_bad_input(cli, preparing):
    preparing.report = report(0)
    ran = cli("train", "prepare", "people", "-o", "out")
    assert ran.code == 2
    assert "none of the 25 photographs gave a crop" in ran.err


@pytest.fixture
def cleaning(service, tmp_path):
    folder = store_of_vectors(tmp_path / "store", [("Ada", 0)] * 3 + [("Ben", 1)])
    store = CropStore.open(folder)
    rows = (RowFinding(0, "Ada/0.jpg", "Ada", RowDecision.DROPPED, "unlike the others", own_score=0.1),)
    found = CleanedList(store.digest, "fake@0", {"own_fmr": 1e-5}, rows, (), {"n_crops": 4})
    asked = []

    def clean(path, *, on_progress, **options):
        on_progress("store", 1, 4)
        on_progress("lfw", 1, 9)
        asked.append((path, options))
        return store, found

    service.answers["parts"] = SimpleNamespace(clean_store=clean)
    return SimpleNamespace(folder=folder, asked=asked, found=found)


def test_what_was_cleaned_is_counted_and_the_list_written(cli, cleaning, tmp_path):
    ran = cli("train", "clean", str(cleaning.folder), "--against", "lfw", "--against", "more", "--sheet", "sheet.html")
    assert ran.code == 0
    for part in ("crops dropped", "crops kept", "people kept with one crop", "cleaned.json"):
        assert part in ran.out
    assert "report: sheet.html" in ran.err
    assert "unlike the others" in (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert CleanedList.read(cleaning.folder / "cleaned.json") == cleaning.found
    path, options = cleaning.asked[0]
    assert (path, options["against"], options["rule"].is_strict) == (cleaning.folder, (Path("lfw"), Path("more")), False)


def test_the_list_goes_where_it_is_wanted(cli, cleaning, tmp_path):
    document = cli("train", "clean", str(cleaning.folder), "-o", "list.json", "--strict", "--json").json
    assert document["counts"]["crops_dropped"] == 1
    assert (document["n_crops"], document["n_crops_kept"], document["n_people_kept_with_one_crop"]) == (4, 3, 1)
    assert CleanedList.read(tmp_path / "list.json") == cleaning.found
    assert cleaning.asked[0][1]["rule"].is_strict
    assert not (cleaning.folder / "cleaned.json").exists()


def test_a_list_takes_the_place_of_a_list_alone(cli, cleaning, tmp_path):
    """A file of the store, or a photograph, would be lost; the manifest's loss is the store's."""
    (tmp_path / "other.json").write_text('{"format": "something else"}', encoding="utf-8")
    manifest = cleaning.folder / "manifest.json"
    before = manifest.read_bytes()
    for file, told in (
        (manifest, "is no cleaned list"),
        (tmp_path / "other.json", "is no cleaned list"),
        (tmp_path / "face.jpg", "is a .json file"),
        (tmp_path / "absent" / "list.json", "there is no folder"),
    ):
        ran = cli("train", "clean", str(cleaning.folder), "-o", str(file))
        assert (ran.code, cleaning.asked) == (2, [])
        assert told in " ".join(ran.err.split())
    assert manifest.read_bytes() == before
    for _ in range(2):  # an older list may be replaced
        assert cli("train", "clean", str(cleaning.folder), "-o", "list.json").code == 0


def test_a_sheet_that_could_not_be_written_is_refused_before_the_work(cli, cleaning):
    ran = cli("train", "clean", str(cleaning.folder), "--sheet", "sheet.png")
    assert (ran.code, cleaning.asked) == (2, [])
