"""`train prepare`: folders of people as they are found in the world become stores of crops, also after a kill or a full disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import CropStoreError, FileWriteError, InputError, ProtocolFileError
from facesearch.training import prepare as prepare_module
from facesearch.training.cleaned_list import CleanedList
from facesearch.training.crop_store import CropStore, read_failures
from facesearch.training.crop_writer import STAMPS
from tests.conftest import ROOT
from tests.crop_files import FileNetworks, make_people, prepare_of, put

N_FILES = 300


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return make_people(tmp_path / "people")


def test_a_folder_becomes_a_store_with_every_photograph_accounted_for(people: Path, tmp_path: Path):
    told = []
    report = prepare_of(FileNetworks())(people, tmp_path / "store", on_progress=lambda *at: told.append(at))
    store = CropStore.open(tmp_path / "store")
    assert (report.n_photographs, report.n_crops, report.n_people) == (N_FILES, len(store), 20)
    assert report.n_crops + len(report.failures) == N_FILES
    assert set(report.counts) == {"no_face", "image_undecodable", "low_quality_face"}
    assert [one.path for one in read_failures(tmp_path / "store")] == [one.path for one in report.failures]
    assert told[-1] == (N_FILES, N_FILES)
    for index in range(len(store)):
        person, photo = (int(word) for word in (people / store.paths[index]).read_text().split())
        assert store.people[store.labels[index]] == f"P{person:02d}"
        assert store.crop(index)[1, 1].tolist() == [person, photo, person]
    # Nothing in the store says where the folder lay, so that two machines make the same one.
    assert str(tmp_path).encode() not in b"".join(contents(tmp_path / "store").values())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_cut_short_ends_with_the_same_store(people: Path, tmp_path: Path, end: signal.Signals):
    prepare_of(FileNetworks())(people, tmp_path / "clean")
    command = [sys.executable, "-m", "tests.crop_files", str(people), str(tmp_path / "cut"), "0.01"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        told = [process.stdout.readline() for _ in range(2)]
        process.send_signal(end)
        told += process.stdout.readlines()
    assert process.returncode != 0
    assert told[0].strip() == str(prepare_module.GROUP)
    with pytest.raises(CropStoreError, match="interrupted"):
        CropStore.open(tmp_path / "cut")
    networks = FileNetworks()
    report = prepare_of(networks)(people, tmp_path / "cut")
    assert report.n_known >= 2 * prepare_module.GROUP
    assert networks.n_decoded == N_FILES - report.n_known
    assert contents(tmp_path / "cut") == contents(tmp_path / "clean")


def test_a_finished_store_is_not_made_again(people: Path, tmp_path: Path):
    first = prepare_of(FileNetworks())(people, tmp_path / "store")
    networks = FileNetworks()
    again = prepare_of(networks)(people, tmp_path / "store")
    assert (again.n_known, networks.n_decoded) == (N_FILES, 0)
    assert (again.n_crops, len(again.failures)) == (first.n_crops, len(first.failures))


@contextmanager
def files_at_most(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, which is how a test can have a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("n_bytes", [30_000, 1_000])
def test_a_full_disk_says_so_and_the_run_goes_on_when_there_is_room(people: Path, tmp_path: Path, n_bytes: int):
    prepare_of(FileNetworks())(people, tmp_path / "clean")
    with files_at_most(n_bytes), pytest.raises(FileWriteError, match=r"cannot be written.*the same command goes on") as caught:
        prepare_of(FileNetworks())(people, tmp_path / "full")
    assert caught.value.exit_code == 6
    report = prepare_of(FileNetworks())(people, tmp_path / "full")
    assert report.n_known >= (prepare_module.GROUP if n_bytes == 30_000 else 0)
    assert contents(tmp_path / "full") == contents(tmp_path / "clean")


def test_a_folder_that_changed_meanwhile_is_refused_by_name(people: Path, tmp_path: Path):
    prepare = prepare_of(FileNetworks())
    prepare(people, tmp_path / "store")
    put(people / "P00" / "00a.jpg", "0 99")
    with pytest.raises(CropStoreError, match=r"where P00/01.jpg of 'P00' came then, P00/00a.jpg of 'P00' comes now.*--restart"):
        prepare(people, tmp_path / "store")
    (people / "P00" / "00a.jpg").unlink()
    put(people / "P99" / "0.jpg", "9 9")
    with pytest.raises(CropStoreError, match="has photographs that"):
        prepare(people, tmp_path / "store")
    assert prepare(people, tmp_path / "store", restart=True).n_people == 21
    shutil.rmtree(people / "P99")
    with pytest.raises(CropStoreError, match="nothing comes now"):
        prepare(people, tmp_path / "store")


def as_it_was(path: Path, text: str, *, was_touched: bool = True) -> None:
    """Write other text into a file; its time of change stays where it was not touched."""
    before = path.stat()
    path.write_text(text, encoding="ascii")
    later = before.st_mtime_ns + was_touched * 10**9
    os.utime(path, ns=(later, later))


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_photograph_that_was_replaced_is_refused_by_name(people: Path, tmp_path: Path, is_finished: bool):
    prepare, store = prepare_of(FileNetworks()), tmp_path / "store"
    prepare(people, store)
    before = contents(store)
    if not is_finished:
        manifest = json.loads(before["manifest.json"])
        (store / "manifest.json").write_text(json.dumps(manifest | {"is_complete": False}))
    as_it_was(people / "P00" / "01.jpg", "7 77", was_touched=False)
    with pytest.raises(CropStoreError, match=r"P00/01.jpg had 3 bytes then, and has 4 now; .*--restart"):
        prepare(people, store)
    as_it_was(people / "P00" / "01.jpg", "7 7")
    with pytest.raises(CropStoreError, match=r"P00/01.jpg was changed since; .*--restart"):
        prepare(people, store)
    as_it_was(people / "P00" / "01.jpg", "0 1")
    failed = read_failures(store)[0].path
    text = (people / failed).read_text()
    as_it_was(people / failed, "1" * len(text))
    with pytest.raises(CropStoreError, match=f"{failed} was changed since"):
        prepare(people, store)
    as_it_was(people / failed, text)
    # Both have another time of change than they had, and the same bytes.
    assert prepare(people, store).n_known >= N_FILES - N_FILES % prepare_module.GROUP
    assert {name for name, data in contents(store).items() if data != before[name]} <= {STAMPS}


def test_a_store_that_tells_nothing_of_its_photographs_is_gone_on_with(people: Path, tmp_path: Path):
    prepare = prepare_of(FileNetworks())
    prepare(people, tmp_path / "store")
    (tmp_path / "store" / STAMPS).unlink()
    as_it_was(people / "P00" / "01.jpg", "7 77")
    assert prepare(people, tmp_path / "store").n_known == N_FILES


def test_a_listed_photograph_that_came_or_went_is_refused_by_name(tmp_path: Path):
    root = tmp_path / "pictures"
    there = put(root / "1.jpg", "1 1")
    listed = labels(root, ("1.jpg", "Ada"), ("2.jpg", "Ada"))
    prepare = prepare_of(FileNetworks())
    prepare(root, tmp_path / "store", labels_csv=listed)
    put(root / "2.jpg", "1 2")
    with pytest.raises(CropStoreError, match=r"2\.jpg was not there then, and is now"):
        prepare(root, tmp_path / "store", labels_csv=listed)
    there.unlink()
    with pytest.raises(CropStoreError, match=r"1\.jpg was there then, and is not now"):
        prepare(root, tmp_path / "store", labels_csv=listed)


def test_the_same_photographs_elsewhere_make_the_same_store(people: Path, tmp_path: Path):
    shutil.copytree(people, tmp_path / "more" / "people", copy_function=shutil.copyfile)
    prepare = prepare_of(FileNetworks())
    for root, store in ((people, "a"), (tmp_path / "more" / "people", "b")):
        prepare(root, tmp_path / store)
    a, b = (contents(tmp_path / name) for name in "ab")
    assert {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)} <= {STAMPS}
    assert CropStore.open(tmp_path / "a").digest == CropStore.open(tmp_path / "b").digest
    # A store that was begun with one copy goes on with the other.
    assert prepare(tmp_path / "more" / "people", tmp_path / "a").n_known == N_FILES


def test_beginning_anew_removes_a_list_of_other_crops_and_says_so(people: Path, tmp_path: Path):
    prepare, store = prepare_of(FileNetworks()), tmp_path / "store"
    prepare(people, store)
    found = CleanedList(CropStore.open(store).digest, "fake@0", {}, (), ())
    found.write(store / "cleaned.json")
    (store / "notes.txt").write_text("mine")
    assert prepare(people, store, restart=True).stale_list == ""
    assert CleanedList.read(store / "cleaned.json") == found
    put(people / "P99" / "0.jpg", "9 9")
    report = prepare(people, store, restart=True)
    assert "cleaned.json was made for other crops than these, and was removed" in " ".join(report.warnings)
    assert not (store / "cleaned.json").exists()
    assert (store / "notes.txt").read_text() == "mine"
    (store / "cleaned.json").write_text("{}")
    assert prepare(people, store, restart=True).stale_list == ""
    assert (store / "cleaned.json").read_text() == "{}"


@pytest.mark.parametrize("place", ["people", "people/crops", "people/P00/crops", "link/crops"])
@pytest.mark.parametrize("is_by_list", [False, True])
def test_a_store_among_the_photographs_is_refused(people: Path, tmp_path: Path, place: str, is_by_list: bool):
    (tmp_path / "link").symlink_to(people)
    listed = labels(people, ("P00/01.jpg", "Ada")) if is_by_list else None
    before = sorted(people.rglob("*"))
    for restart in (False, True):
        with pytest.raises(InputError, match="name a folder outside of it for the crops"):
            prepare_of(FileNetworks())(people, tmp_path / place, labels_csv=listed, restart=restart)
    assert sorted(people.rglob("*")) == before


@pytest.mark.parametrize("place", ["afile", "afile/store"])
def test_a_store_in_place_of_a_file_is_bad_input(people: Path, tmp_path: Path, place: str):
    put(tmp_path / "afile", "mine")
    with pytest.raises(InputError, match=r"no folder|a file in its place") as caught:
        prepare_of(FileNetworks())(people, tmp_path / place)
    assert caught.value.exit_code == 2
    assert "what was done is kept" not in str(caught.value)
    assert (tmp_path / "afile").read_text() == "mine"


def test_the_face_that_is_meant_can_be_chosen(tmp_path: Path):
    root = tmp_path / "people"
    put(root / "Ada" / "1.jpg", "two 3 1")
    prepare = prepare_of(FileNetworks())
    prepare(root, tmp_path / "largest")
    prepare(root, tmp_path / "second", face=1)
    sizes = [CropStore.open(tmp_path / name).crop(0)[0, 0, 2] for name in ("largest", "second")]
    assert sizes == [50, 30]
    assert prepare(root, tmp_path / "only", face="only").counts == {"several_faces": 1}
    with pytest.raises(InputError, match="face must be"):
        prepare(root, tmp_path / "x", face="biggest")
    with pytest.raises(CropStoreError, match=r"another recipe \(face 'largest', now 'central'\)"):
        prepare(root, tmp_path / "largest", face="central")


def test_one_person_people_of_one_photograph_and_empty_folders_are_warned_of(tmp_path: Path):
    root = tmp_path / "people"
    put(root / "Ada" / "1.jpg", "1 1")
    (root / "Nobody").mkdir()
    put(root / "Blank" / "1.jpg", "nobody")
    report = prepare_of(FileNetworks())(root, tmp_path / "store")
    assert report.people_without_crops == ("Blank", "Nobody")
    said = " ".join(report.warnings)
    for words in ("one person only", "nobody has two photographs", "2 labels have no usable photograph"):
        assert words in said


def test_a_folder_without_a_single_face_is_a_store_that_cannot_be_opened(tmp_path: Path):
    put(tmp_path / "people" / "Ada" / "1.jpg", "nobody")
    report = prepare_of(FileNetworks())(tmp_path / "people", tmp_path / "store")
    assert (report.n_crops, report.n_people, report.counts) == (0, 0, {"no_face": 1})
    with pytest.raises(CropStoreError, match="holds no crop"):
        CropStore.open(tmp_path / "store")


def labels(root: Path, *rows: tuple[str, str]) -> Path:
    return put(root.parent / "labels.csv", "file,label\n" + "".join(f"{file},{label}\n" for file, label in rows))


def test_a_label_file_and_a_folder_that_disagree(tmp_path: Path):
    root = tmp_path / "pictures"
    for name in ("1.jpg", "2.jpg", "more/3.jpg"):
        put(root / name, f"1 {name[-5]}")
    listed = labels(root, ("1.jpg", "Ada"), ("gone.jpg", "Ada"))
    report = prepare_of(FileNetworks())(root, tmp_path / "store", labels_csv=listed)
    assert (report.n_crops, report.counts) == (1, {"vanished": 1})
    assert (report.n_unlisted, report.unlisted) == (2, ("2.jpg", "more/3.jpg"))
    said = " ".join(report.warnings)
    assert "1 photographs that the list names are not there" in said
    assert "2 pictures of the folder are not in the label file (2.jpg, …)" in said
    with pytest.raises(ProtocolFileError, match=r"names 1\.jpg twice, as 'Ada' and as 'Ben'"):
        prepare_of(FileNetworks())(root, tmp_path / "x", labels_csv=labels(root, ("1.jpg", "Ada"), ("1.jpg", "Ben")))
    with pytest.raises(ProtocolFileError, match="none of the 1 photographs of the label file is in"):
        prepare_of(FileNetworks())(root, tmp_path / "x", labels_csv=labels(root, ("no.jpg", "Ada")))
    assert not (tmp_path / "x").exists()


def test_a_list_may_name_photographs_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "pictures"
    put(root / "a" / "1.jpg", "1 1")
    put(root / "2.jpg", "1 2")
    (root / "3.jpg").symlink_to("2.jpg")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    listed = labels(root, (str(root / "a" / "1.jpg"), "Ada"), ("2.jpg", "Ada"), (str(root / "3.jpg"), "Ben"))
    for number, folder in enumerate((Path("pictures"), root, Path("link"))):
        report = prepare_of(FileNetworks())(folder, tmp_path / f"store{number}", labels_csv=listed)
        assert (report.n_crops, report.n_unlisted) == (3, 0)
        assert CropStore.open(tmp_path / f"store{number}").paths == ("a/1.jpg", "2.jpg", "3.jpg")
    assert prepare_of(FileNetworks())(root, tmp_path / "store0", labels_csv=listed).n_known == 3
    twice = labels(root, ("2.jpg", "Ada"), (str(root / "2.jpg"), "Ben"))
    with pytest.raises(ProtocolFileError, match=r"names 2\.jpg twice"):
        prepare_of(FileNetworks())(Path("pictures"), tmp_path / "x", labels_csv=twice)


@pytest.mark.parametrize("label", ["", "  "])
def test_an_empty_label_is_refused_by_its_line(tmp_path: Path, label: str):
    root = tmp_path / "pictures"
    put(root / "1.jpg", "1 1")
    with pytest.raises(ProtocolFileError, match=r"labels\.csv, line 3: the label of 2\.jpg is empty") as caught:
        prepare_of(FileNetworks())(root, tmp_path / "store", labels_csv=labels(root, ("1.jpg", "Ada"), ("2.jpg", label)))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "store").exists()


def test_links_that_lead_nowhere_are_called_so(tmp_path: Path):
    root = tmp_path / "people"
    put(root / "Ada" / "1.jpg", "1 1")
    (root / "Ada" / "2.jpg").symlink_to("nowhere.jpg")
    report = prepare_of(FileNetworks())(root, tmp_path / "store")
    assert report.counts == {"vanished": 1}
    said = " ".join(report.warnings)
    assert "1 photographs are links that lead nowhere" in said
    assert "the list" not in said


def test_odd_names_come_back(tmp_path: Path):
    name = os.fsdecode(b"Jos\xe9")
    put(tmp_path / "people" / name / "1.jpg", "1 1")
    prepare_of(FileNetworks())(tmp_path / "people", tmp_path / "store")
    assert CropStore.open(tmp_path / "store").people == (name,)


@pytest.mark.data
def test_crops_are_those_of_the_pipeline(lfw_folder: Path, tmp_path: Path):
    """A crop of a store is to the last bit the one that serving makes of the photograph."""
    from facesearch.bootstrap import Parts
    from facesearch.imaging.align import align_faces
    from facesearch.settings import Settings

    root = tmp_path / "people"
    names = ("Abdullah_Gul", "Zhu_Rongji")
    for name in names:
        (root / name).mkdir(parents=True)
        for file in sorted((lfw_folder / "images" / name).glob("*.jpg"))[:4]:
            (root / name / file.name).symlink_to(file)
    parts = Parts(Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache"))
    parts.prepare_crops(root, tmp_path / "store", face="central")
    store = CropStore.open(tmp_path / "store")
    assert len(store) == 8
    for index, path in enumerate(store.paths):
        face = parts.pipeline.face(root / path, "central")
        crop = align_faces(parts.decode(root / path), (face.detection,), parts.card.alignment)[0]
        assert np.array_equal(store.crop(index), crop.pixels)
