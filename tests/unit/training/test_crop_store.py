"""The store of crops: what is written comes back, whatever was cut off is written again, and damage is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.errors import CropStoreError, InputError
from facesearch.training.cleaned_list import CleanedList, PersonDecision, PersonFinding, RowDecision, RowFinding
from facesearch.training.crop_manifest import MANIFEST
from facesearch.training.crop_store import ROWS, CropRow, CropStore, read_failures
from facesearch.training.crop_writer import STAMP_BYTES, STAMPS, CropWriter
from facesearch.training.prepare_source import name_in
from tests.crop_files import ALIGNMENT, CROP_BYTES, write_store
from tests.world import face_at

PEOPLE = ("Ben", "Ada", "Ben", "Cleo", "Ada", "Ben", "Dora")


def pixels_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", [(name, pixels_of(n)) for n, name in enumerate(PEOPLE)], crops_per_part=3)


def test_what_was_written_comes_back(folder: Path):
    store = CropStore.open(folder)
    assert len(store) == len(PEOPLE)
    assert store.people == ("Ada", "Ben", "Cleo", "Dora")
    assert [store.people[label] for label in store.labels] == list(PEOPLE)
    assert store.counts.tolist() == [2, 3, 1, 1]
    assert store.alignment.name == "fake-8"
    assert np.array_equal(store.alignment.points, ALIGNMENT.points)
    assert sorted(path.name for path in folder.glob("crops-*.bin")) == ["crops-0000.bin", "crops-0001.bin", "crops-0002.bin"]
    for number in range(len(PEOPLE)):
        assert np.array_equal(store.crop(number), pixels_of(number))
    assert np.array_equal(store.crops([6, 0, 3]), np.stack([pixels_of(n) for n in (6, 0, 3)]))
    assert not store.crop(0).flags.writeable
    assert store.damaged() == []
    assert store.rows[4].detection.box == face_at(0, 0, 50).box
    assert np.array_equal(store.rows[4].detection.landmarks, face_at(0, 0, 50).landmarks)


def test_a_subset_counts_its_own_people(folder: Path):
    store = CropStore.open(folder)
    part = store.subset([6, 1])
    assert (part.people, part.labels.tolist(), len(part)) == (("Ada", "Dora"), [1, 0], 2)
    assert np.array_equal(part.crop(0), pixels_of(6))
    again = part.subset(np.array([False, True]))
    assert np.array_equal(again.crop(0), pixels_of(1))
    assert store.of_people(["Ben", "Nobody"]).paths == ("Ben/0.jpg", "Ben/2.jpg", "Ben/5.jpg")


def rows_of(n: int) -> list[tuple[CropRow, np.ndarray | None]]:
    rows: list[tuple[CropRow, np.ndarray | None]] = []
    for number in range(n):
        pixels = pixels_of(number)
        if number % 4 == 3:
            rows.append((CropRow(f"P/{number}.jpg", "P", code="no_face", message="nobody"), None))
        else:
            row = CropRow(f"P/{number}.jpg", "P", face_at(0, 0, 9), f"{number:064x}", crc32(pixels.tobytes()))
            rows.append((row, pixels))
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


@settings(max_examples=20)  # each waits for the disk some thirty times
@given(data=st.data())
def test_whatever_a_crash_leaves_the_store_ends_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    """Pixels are on the disk before rows: a crash leaves any part of the last group's pixels, or all, and any part of its rows."""
    rows, group, per_part = rows_of(17), 2, 3
    about = {"source": {"name": "x", "digest": ""}}
    clean, cut = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("cut")
    with CropWriter(clean, ALIGNMENT, {}, group=group, crops_per_part=per_part) as writer:
        for start in range(0, len(rows), group):
            writer.add(rows[start : start + group])
        writer.finish(about)
    n_groups = data.draw(st.integers(0, len(rows) // group))
    with CropWriter(cut, ALIGNMENT, {}, group=group, crops_per_part=per_part) as writer:
        for start in range(0, n_groups * group, group):
            writer.add(rows[start : start + group])
    torn_rows = b"".join(row.as_line() for row, _ in rows[n_groups * group :][:group])
    torn_rows = torn_rows[: data.draw(st.integers(0, len(torn_rows)))]
    n_extra = 2 * CROP_BYTES if torn_rows else data.draw(st.integers(0, 2 * CROP_BYTES))
    n_crops = sum(crop is not None for _, crop in rows[: n_groups * group])
    extra = np.random.default_rng(5).integers(0, 256, n_extra, dtype=np.uint8).tobytes()
    if torn_rows:  # then the pixels are all there
        extra = b"".join(crop.tobytes() for _, crop in rows[n_groups * group :][:group] if crop is not None)
    room = (per_part - n_crops % per_part) * CROP_BYTES
    for part, piece in ((n_crops // per_part, extra[:room]), (n_crops // per_part + 1, extra[room:])):
        if piece:
            with (cut / f"crops-{part:04d}.bin").open("ab") as stream:
                stream.write(piece)
    with (cut / ROWS).open("ab") as stream:
        stream.write(torn_rows)
    with CropWriter(cut, ALIGNMENT, {}, group=group, crops_per_part=per_part) as writer:
        n_done = len(writer.done)
        assert n_done % group == 0
        assert n_groups * group <= n_done <= n_groups * group + group
        for start in range(n_done, len(rows), group):
            writer.add(rows[start : start + group])
        writer.finish(about)
    assert contents(cut) == contents(clean)
    assert CropStore.open(cut).damaged() == []
    assert len(read_failures(cut)) == 4


def test_rows_whose_pixels_were_lost_are_done_again(tmp_path: Path):
    with CropWriter(tmp_path / "store", ALIGNMENT, {}, crops_per_part=3) as writer:
        writer.add(rows_of(8))
    os.truncate(tmp_path / "store" / "crops-0001.bin", 2 * CROP_BYTES)
    with CropWriter(tmp_path / "store", ALIGNMENT, {}, crops_per_part=3) as writer:
        # Rows 3 and 7 are failures: the sixth crop, which is gone, was row 6.
        assert [row.path for row in writer.done] == [f"P/{n}.jpg" for n in range(6)]
        writer.add(rows_of(8)[6:])
        writer.finish({"source": {"name": "x", "digest": ""}})
    assert CropStore.open(tmp_path / "store").damaged() == []


def test_an_unfinished_store_says_how_to_go_on(tmp_path: Path):
    with CropWriter(tmp_path / "store", ALIGNMENT, {}) as writer:
        writer.add(rows_of(2))
    with pytest.raises(CropStoreError, match="was interrupted; run the same `facesearch train prepare` again"):
        CropStore.open(tmp_path / "store")


def test_another_recipe_or_alignment_is_refused_with_both_values(tmp_path: Path):
    CropWriter(tmp_path / "store", ALIGNMENT, {"min_face_px": 20}).close()
    with pytest.raises(CropStoreError, match=r"another recipe \(min_face_px 20, now 40\)"):
        CropWriter(tmp_path / "store", ALIGNMENT, {"min_face_px": 40})
    CropWriter(tmp_path / "store", ALIGNMENT, {"min_face_px": 20}).close()


def test_one_process_writes_at_a_time(tmp_path: Path):
    with CropWriter(tmp_path / "store", ALIGNMENT, {}), pytest.raises(InputError, match="another process is writing"):
        CropWriter(tmp_path / "store", ALIGNMENT, {})
    CropWriter(tmp_path / "store", ALIGNMENT, {}).close()


def test_a_folder_of_something_else_is_neither_written_nor_removed(tmp_path: Path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds letters.txt and is no store"):
        CropWriter(tmp_path, ALIGNMENT, {})
    with pytest.raises(InputError, match=r"holds letters.txt and is no store"):
        CropWriter(tmp_path, ALIGNMENT, {}, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]
    (tmp_path / MANIFEST).write_text('{"name": "my web page"}')
    with pytest.raises(CropStoreError, match="not the manifest of a store"):
        CropWriter(tmp_path, ALIGNMENT, {}, restart=True)
    assert {path.name for path in tmp_path.iterdir()} == {"letters.txt", MANIFEST}


@pytest.mark.parametrize("is_damaged", [False, True])
def test_beginning_anew_removes_the_store_and_nothing_else(folder: Path, is_damaged: bool):
    (folder / "notes.txt").write_text("mine")
    (folder / "run").mkdir()
    (folder / "run" / "crops-0000.bin").write_text("mine too")
    if is_damaged:  # the message about it says --restart
        (folder / MANIFEST).write_text(json.dumps({**json.loads((folder / MANIFEST).read_text()), "alignment": None}))
    with CropWriter(folder, ALIGNMENT, {"other": 1}, crops_per_part=3, restart=True) as writer:
        assert (writer.done, writer.is_complete) == ([], False)
        left = sorted(path.name for path in folder.iterdir())
        assert left == [".lock", MANIFEST, "notes.txt", ROWS, "run", STAMPS]
        writer.add(rows_of(1))
        writer.finish({"source": {"name": "x", "digest": ""}})
    assert len(CropStore.open(folder)) == 1
    assert (folder / "run" / "crops-0000.bin").read_text() == "mine too"


def test_a_store_that_somebody_writes_is_not_removed(folder: Path):
    with CropWriter(folder, ALIGNMENT, {"release": "test"}), pytest.raises(InputError, match="another process is writing"):
        CropWriter(folder, ALIGNMENT, {"release": "test"}, restart=True)
    assert len(CropStore.open(folder)) == len(PEOPLE)


def test_stamps_stay_beside_their_rows_whatever_a_crash_leaves(tmp_path: Path):
    stamps = [bytes([number]) * STAMP_BYTES for number in range(1, 5)]
    nothing = bytes(STAMP_BYTES)
    with CropWriter(tmp_path / "store", ALIGNMENT, {}, group=2) as writer:
        writer.add(rows_of(2), stamps[:2])
    for change, expected in (
        (lambda file: file.write_bytes(file.read_bytes() + b"torn"), stamps[:2]),
        (Path.unlink, [nothing] * 2),
    ):
        change(tmp_path / "store" / STAMPS)
        with CropWriter(tmp_path / "store", ALIGNMENT, {}, group=2) as writer:
            assert (len(writer.done), writer.stamps()) == (2, expected)
    with CropWriter(tmp_path / "store", ALIGNMENT, {}, group=2) as writer:
        writer.add(rows_of(4)[2:], stamps[2:])
        writer.finish({"source": {"name": "x", "digest": ""}})
    digest = CropStore.open(tmp_path / "store").digest
    with CropWriter(tmp_path / "store", ALIGNMENT, {}) as writer:
        assert writer.stamps() == [nothing, nothing, *stamps[2:]]
    (tmp_path / "store" / STAMPS).unlink()
    with CropWriter(tmp_path / "store", ALIGNMENT, {}) as writer:
        assert writer.stamps() == [nothing] * 4
    assert CropStore.open(tmp_path / "store").digest == digest


def test_a_flipped_byte_of_a_crop_is_found(folder: Path):
    part = folder / "crops-0001.bin"
    damaged = bytearray(part.read_bytes())
    damaged[CROP_BYTES + 7] ^= 1
    part.write_bytes(damaged)
    assert CropStore.open(folder).damaged() == [4]


@pytest.mark.parametrize("file", ["crops-0001.bin", ROWS, MANIFEST])
def test_damaged_files_are_said_by_name(folder: Path, file: str):
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:-5])
    with pytest.raises(CropStoreError, match=file):
        CropStore.open(folder)
    (folder / file).unlink()
    with pytest.raises(CropStoreError):
        CropStore.open(folder)


def test_other_versions_and_other_documents_are_refused(folder: Path, tmp_path: Path):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(CropStoreError, match="of version 99, this release reads 1"):
        CropStore.open(folder)
    (folder / MANIFEST).write_text("[]")
    with pytest.raises(CropStoreError, match="not the manifest"):
        CropStore.open(folder)
    with pytest.raises(CropStoreError, match="train prepare"):
        CropStore.open(tmp_path / "nowhere")


def changed(part: str, value: object):
    return lambda manifest: {**manifest, part: value}


@pytest.mark.parametrize(
    "change",
    [
        *(lambda manifest, name=name: {key: value for key, value in manifest.items() if key != name} for name in (
            "is_complete", "alignment", "recipe", "crops_per_part", "source", "parts", "rows",
        )),
        changed("parts", []),
        changed("parts", {"n_crops": 3}),
        changed("crops_per_part", 0),
        changed("crops_per_part", "3"),
        lambda manifest: {**manifest, "parts": [{**part, "file": f"../store/{part['file']}"} for part in manifest["parts"]]},
        lambda manifest: {**manifest, "parts": [{**part, "n_crops": "x"} for part in manifest["parts"]]},
        lambda manifest: {**manifest, "alignment": {**manifest["alignment"], "crop_px": -8}},
    ],
)  # fmt: skip
def test_a_manifest_that_lacks_something_is_said(folder: Path, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(change(manifest)))
    with pytest.raises(CropStoreError):
        CropStore.open(folder).crop(0)


def test_names_in_another_encoding_come_back(tmp_path: Path):
    name = os.fsdecode(b"Jos\xe9")
    store = CropStore.open(write_store(tmp_path / "store", [(name, pixels_of(0)), ("Zoë", pixels_of(1))]))
    assert set(store.people) == {name, "Zoë"}


def found_for(store: CropStore, rows: tuple[RowFinding, ...], people: tuple[PersonFinding, ...] = ()) -> CleanedList:
    return CleanedList(store.digest, "fake@000000000000", {"own_fmr": 0.01}, rows, people, {"n": 1})


def test_a_cleaned_list_leaves_out_and_names_anew(folder: Path, tmp_path: Path):
    store = CropStore.open(folder)
    rows = (
        RowFinding(0, "Ben/0.jpg", "Ben", RowDecision.DROPPED, "x"),
        RowFinding(1, "Ada/1.jpg", "Ada", RowDecision.MOVED, "x", to="Cleo", own_score=0.1, other_score=0.9),
        RowFinding(2, "Ben/2.jpg", "Ben", RowDecision.FLAGGED, "x"),
        RowFinding(5, "Ben/5.jpg", "Ben", RowDecision.MOVED, "x", to="Dora"),
    )
    people = (
        PersonFinding("Cleo", PersonDecision.MERGED, "Ada", "x", 0.8, 2),
        PersonFinding("Dora", PersonDecision.EXCLUDED, "D of lfw", "x", 0.8, 2),
        PersonFinding("Ben", PersonDecision.FLAGGED, "Ada", "x", 0.8, 2),
    )
    found = found_for(store, rows, people)
    found.write(tmp_path / "cleaned.json")
    assert CleanedList.read(tmp_path / "cleaned.json") == found
    assert found.counts == {
        "crops_dropped": 1,
        "crops_moved": 2,
        "crops_flagged": 1,
        "people_merged": 1,
        "people_flagged": 1,
        "people_excluded": 1,
    }
    kept = CropStore.open(folder, cleaned=tmp_path / "cleaned.json")
    # Row 5 went to Dora, who is excluded; row 1 to Cleo, who is Ada; row 0 is dropped.
    assert kept.paths == ("Ada/1.jpg", "Ben/2.jpg", "Cleo/3.jpg", "Ada/4.jpg")
    assert [kept.people[label] for label in kept.labels] == ["Ada", "Ben", "Ada", "Ada"]
    assert np.array_equal(kept.crop(1), pixels_of(2))
    assert len(CropStore.open(folder)) == len(PEOPLE)


def test_who_is_merged_with_somebody_excluded_is_excluded_too(folder: Path):
    store = CropStore.open(folder)
    people = (
        PersonFinding("Ada", PersonDecision.MERGED, "Ben", "x", 0.8, 2),
        PersonFinding("Ben", PersonDecision.EXCLUDED, "B of lfw", "x", 0.8, 2),
        PersonFinding("Cleo", PersonDecision.EXCLUDED, "C of lfw", "x", 0.8, 2),
        PersonFinding("Cleo", PersonDecision.MERGED, "Dora", "x", 0.8, 2),
    )
    assert store.cleaned(found_for(store, (), people)).people == ("Dora",)


def test_labels_merged_in_a_circle_end_somewhere(folder: Path):
    store = CropStore.open(folder)
    people = tuple(PersonFinding(a, PersonDecision.MERGED, b, "x", 0.8, 2) for a, b in (("Ada", "Ben"), ("Ben", "Ada")))
    assert len(store.cleaned(found_for(store, (), people))) == len(PEOPLE)


def test_a_list_of_another_store_is_refused(folder: Path, tmp_path: Path):
    other = CropStore.open(write_store(tmp_path / "other", [("Ada", pixels_of(9))]))
    found_for(other, ()).write(tmp_path / "cleaned.json")
    with pytest.raises(CropStoreError, match=f"is of store {other.digest[:12]}"):
        CropStore.open(folder, cleaned=tmp_path / "cleaned.json")


def test_a_list_that_leaves_nothing_is_an_error(folder: Path, tmp_path: Path):
    store = CropStore.open(folder)
    rows = tuple(RowFinding(n, path, "x", RowDecision.DROPPED, "x") for n, path in enumerate(store.paths))
    found_for(store, rows).write(tmp_path / "cleaned.json")
    with pytest.raises(CropStoreError, match="holds no crop that"):
        CropStore.open(folder, cleaned=tmp_path / "cleaned.json")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "facesearch-cleaned", "version": 2}', '{"format": "facesearch-cleaned", "version": 1}']
)
def test_a_damaged_list_is_said(tmp_path: Path, text: str):
    (tmp_path / "cleaned.json").write_text(text)
    with pytest.raises(CropStoreError, match="cleaned"):
        CleanedList.read(tmp_path / "cleaned.json")


def test_a_photograph_has_one_name_however_it_is_written(tmp_path: Path) -> None:
    for folder in ("people/Ada", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "people" / "linked").symlink_to(tmp_path / "elsewhere")
    root = tmp_path / "people"
    for written in ("Ada/1.jpg", "Ada/../Ada/1.jpg", "./Ada/1.jpg"):
        assert name_in(root, root / written) == "Ada/1.jpg"
    upwards = root / ".." / "people"
    assert name_in(upwards, upwards / "Ada" / "1.jpg") == "Ada/1.jpg"
    assert name_in(upwards, upwards / "linked" / "1.jpg") == "linked/1.jpg"
