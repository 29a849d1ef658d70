"""Folders enrolled in groups: the outcomes and the gallery of one file after the other."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import FaceSearchError, StoreError
from facesearch.service import enroll_folder
from facesearch.service.file_journal import FileJournal, JournalEntry
from facesearch.service.template_cache import FileStamp
from tests.world import World, face_at, person_vector

N_FILES = 90


def random_files(folder: Path, seed: int) -> list[tuple[Path, str, list[tuple]]]:
    """Return files with labels and faces: right and wrong labels, people under two labels, copies, nobody and two people."""
    rng = np.random.default_rng(seed)
    files = []
    for number in range(N_FILES):
        label = f"{int(rng.integers(12)):02d}"
        person = int(label) if rng.random() < 0.8 else int(rng.integers(16))
        likeness = float(rng.choice([0.2, 0.5, 0.7, 0.9]))
        faces = [(face_at(10, 10, 100), person_vector(person, likeness, int(rng.integers(30))))]
        kind = rng.random()
        if kind < 0.05:
            faces = []
        elif kind < 0.1:
            faces.append((face_at(200, 200, 90, 0.8), person_vector(1)))
        files.append((folder / label / f"{number:03d}.jpg", label, faces))
    return sorted(files)


def make(world: World, files: list[tuple[Path, str, list[tuple]]], seed: int) -> None:
    """Write the files, some of them as copies of the one before: the same photograph under another name, or another label."""
    rng = np.random.default_rng(seed)
    last = None
    for path, _, faces in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"stands for a picture")
        if last is not None and rng.random() < 0.1:
            world.networks.photos[str(path)] = world.networks.photos[last]
        else:
            world.networks.photo(str(path), *faces)
            last = str(path)


def gallery(world: World) -> list[tuple]:
    """Return everything enrolled but the moments."""
    return [
        (person.label, one.template_id, one.provenance.image_digest, one.template.vector.tolist())
        for person in world.faces.list()
        for one in world.faces.show(person.label).templates
    ]


def one_by_one(world: World, files: list[tuple[Path, str, list[tuple]]]) -> list[tuple]:
    """The slow twin: every file in a transaction of its own."""
    outcomes = []
    for path, label, _ in files:
        try:
            done = world.faces.enroll(str(path), label, allow_duplicate=True)
        except FaceSearchError as exc:
            outcomes.append((path.name, exc.code, None, None, exc.message))
            continue
        status = "enrolled" if done.possible_duplicate is None else "possible_duplicate"
        outcomes.append((path.name, status, done.template.template_id, done.possible_duplicate, None))
    return outcomes


def told(outcomes: list) -> list[tuple]:
    return [
        (one.path.name, one.status, one.template_id, one.other_label, None if one.is_enrolled else one.message) for one in outcomes
    ]


@pytest.mark.parametrize(("seed", "n_group", "kind"), [(1, 64, "exact"), (2, 7, "hnsw")])
def test_groups_have_the_outcomes_of_one_after_the_other(tmp_path: Path, monkeypatch, seed: int, n_group: int, kind: str):
    monkeypatch.setattr(enroll_folder, "GROUP_FACES", n_group)
    monkeypatch.setattr(enroll_folder, "GROUP_S", 60.0)
    files = random_files(tmp_path / "people", seed)
    results = []
    for name in ("slow", "grouped"):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, kind=kind)
        try:
            make(world, files, seed)
            is_slow = name == "slow"
            outcomes = one_by_one(world, files) if is_slow else told(world.faces.enroll_folder(tmp_path / "people").outcomes)
            results.append((outcomes, gallery(world)))
        finally:
            world.close()
    (slow, slow_gallery), (grouped, grouped_gallery) = results
    assert len(slow) == N_FILES
    statuses = {status for _, status, *_ in slow}
    assert statuses >= {"enrolled", "possible_duplicate", "identity_mismatch", "duplicate_template", "no_face", "several_faces"}
    assert grouped == slow
    assert grouped_gallery == slow_gallery


def test_one_face_that_cannot_be_written_keeps_no_other_out(tmp_path: Path, monkeypatch):
    world = World(tmp_path)
    try:
        for number in range(3):
            path = tmp_path / "people" / f"P{number}" / "1.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x")
            world.networks.portrait(str(path), number)
        bad = world.networks.photos[str(tmp_path / "people" / "P1" / "1.jpg")]

        class NotANumber:
            """A quality that no database takes, which shows only when it is written."""

            def shortfalls(self, _gate):
                return ()

            def figures(self):
                return {"sharpness": float("nan")}

        wanted = world.networks.faces[bad.digest][0][1].astype(np.float32)

        def meter(crop, _alignment):
            is_bad = bool((world.networks.crops[crop.pixels.tobytes()] == wanted).all())
            return NotANumber() if is_bad else None

        monkeypatch.setattr(world.pipeline, "_meter", meter)
        report = world.faces.enroll_folder(tmp_path / "people")
        assert [(one.label, one.status) for one in report.outcomes] == [("P0", "enrolled"), ("P1", "bad_input"), ("P2", "enrolled")]
        assert [person.label for person in world.faces.list()] == ["P0", "P2"]
    finally:
        world.close()


class FailingStore:
    """A store whose nth writing transaction fails at its end."""

    def __init__(self, store, n_sound: int) -> None:
        self._store = store
        self._left = n_sound

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def writing(self):
        self._left -= 1
        if self._left < 0:
            raise StoreError("no space is left for the database; nothing of the change was kept")
        return self._store.writing()


def test_a_failing_database_stops_the_run_and_keeps_what_was_told_of(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(enroll_folder, "GROUP_FACES", 4)
    world = World(tmp_path)
    try:
        for number in range(20):
            path = tmp_path / "people" / f"P{number:02d}" / "1.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x")
            world.networks.portrait(str(path), number)
        enroll = world.faces._services.enrolment.enroll
        monkeypatch.setattr(enroll, "_store", FailingStore(world.store, 2))
        seen = []
        with pytest.raises(StoreError, match="no space is left"):
            world.faces.enroll_folder(tmp_path / "people", on_outcome=seen.append)
        assert [one.status for one in seen] == ["enrolled"] * 8
        assert [person.label for person in world.faces.list()] == [f"P{n:02d}" for n in range(8)]
        monkeypatch.undo()
        assert world.faces.enroll_folder(tmp_path / "people").counts == {"enrolled": 12, "duplicate_template": 8}
    finally:
        world.close()


def test_what_a_second_run_knows_is_not_looked_at_again(tmp_path: Path):
    world = World(tmp_path)
    try:
        root = tmp_path / "people"
        files = random_files(root, 5)
        make(world, files, 5)
        first = world.faces.enroll_folder(root)
        before, n_embedded = gallery(world), world.networks.n_embedded
        second = world.faces.enroll_folder(root)
        assert world.networks.n_embedded == n_embedded
        assert second.n_known == N_FILES
        again = {"enrolled": "duplicate_template", "possible_duplicate": "duplicate_template"}
        assert [one.status for one in second.outcomes] == [again.get(one.status, one.status) for one in first.outcomes]
        assert gallery(world) == before
    finally:
        world.close()


@pytest.fixture
def small(tmp_path: Path):
    """A world with a folder of an enrolled, an empty, a mismatched and a copied photograph."""
    world = World(tmp_path)
    root = tmp_path / "people"
    (root / "Ada").mkdir(parents=True)
    for name in ("1", "2", "3", "4"):
        (root / "Ada" / f"{name}.jpg").write_bytes(name.encode())
    networks = world.networks
    networks.portrait(str(root / "Ada" / "1.jpg"), 0)
    networks.photo(str(root / "Ada" / "2.jpg"))
    networks.portrait(str(root / "Ada" / "3.jpg"), 1)
    networks.photos[str(root / "Ada" / "4.jpg")] = networks.photos[str(root / "Ada" / "1.jpg")]
    statuses = [one.status for one in world.faces.enroll_folder(root).outcomes]
    assert statuses == ["enrolled", "no_face", "identity_mismatch", "duplicate_template"]
    yield world, root
    world.close()


def run(world: World, root: Path, **asked) -> list[tuple[str, bool]]:
    return [(one.status, one.is_known) for one in world.faces.enroll_folder(root, **asked).outcomes]


def test_a_removed_person_is_enrolled_again(small):
    world, root = small
    world.faces.remove("Ada")
    assert run(world, root) == [("enrolled", False), ("no_face", True), ("identity_mismatch", False), ("duplicate_template", False)]


def test_a_collection_made_anew_knows_nothing(small):
    world, root = small
    world.faces.remove_collection("default")
    assert run(world, root) == [
        ("enrolled", False),
        ("no_face", False),
        ("identity_mismatch", False),
        ("duplicate_template", False),
    ]


def test_a_database_restored_from_a_backup_is_believed_more_than_the_journal(small):
    world, root = small
    gallery_db = world.folder / "gallery.db"
    (root / "Bob").mkdir()
    for name in ("5", "6"):
        (root / "Bob" / f"{name}.jpg").write_bytes(name.encode())
    world.networks.portrait(str(root / "Bob" / "5.jpg"), 2)
    world.networks.photos[str(root / "Bob" / "6.jpg")] = world.networks.photos[str(root / "Bob" / "5.jpg")]
    before = [("duplicate_template", True), ("no_face", True), ("identity_mismatch", True), ("duplicate_template", True)]
    with closing(sqlite3.connect(":memory:")) as saved:
        with closing(sqlite3.connect(gallery_db)) as database:
            database.backup(saved)
        assert run(world, root) == [*before, ("enrolled", False), ("duplicate_template", False)]
        number = world.faces.show("Bob").templates[0].template_id
        world.close()
        with closing(sqlite3.connect(gallery_db)) as database:
            saved.backup(database)
    shutil.rmtree(world.folder / "index", ignore_errors=True)
    restored = World(world.folder, networks=world.networks)
    try:
        restored.networks.portrait("cy", 3)
        assert restored.faces.enroll("cy", "Cy").template.template_id == number
        assert run(restored, root) == [*before, ("enrolled", False), ("duplicate_template", False)]
        assert run(restored, root) == [*before, ("duplicate_template", True), ("duplicate_template", True)]
        assert {person.label for person in restored.faces.list()} == {"Ada", "Bob", "Cy"}
    finally:
        restored.close()


def test_failures_are_retried_when_asked(small):
    world, root = small
    world.networks.portrait(str(root / "Ada" / "2.jpg"), 0, 0.9)
    known = [("duplicate_template", True), ("no_face", True), ("identity_mismatch", True), ("duplicate_template", True)]
    assert run(world, root) == known
    retried = [("duplicate_template", True), ("enrolled", False), ("identity_mismatch", False), ("duplicate_template", True)]
    assert run(world, root, retry_failures=True) == retried


def test_a_changed_file_is_looked_at_again(small):
    world, root = small
    world.networks.portrait(str(root / "Ada" / "2.jpg"), 0, 0.9)
    (root / "Ada" / "2.jpg").write_bytes(b"another size")
    assert run(world, root)[1] == ("enrolled", False)


def test_a_mismatch_is_waved_through_when_asked(small):
    world, root = small
    assert run(world, root, allow_mismatch=True)[2] == ("enrolled", False)


def test_another_choice_of_face_is_looked_at_anew(small):
    world, root = small
    assert run(world, root, face="largest") == [
        ("duplicate_template", False),
        ("no_face", False),
        ("identity_mismatch", False),
        ("duplicate_template", False),
    ]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 300])
def test_a_damaged_journal_costs_time_only(small, content: bytes, caplog):
    world, root = small
    (world.folder / "enrolled-files.journal").write_bytes(content)
    for leftover in world.folder.glob("enrolled-files.journal-*"):
        leftover.unlink()
    expected = [("duplicate_template", False), ("no_face", False), ("identity_mismatch", False), ("duplicate_template", False)]
    assert run(world, root) == expected
    assert ("damaged and begun anew" in caplog.text) == bool(content)
    assert [is_known for _, is_known in run(world, root)] == [True] * 4


def test_a_journal_damaged_behind_its_first_page_is_begun_anew(tmp_path: Path, caplog):
    path = tmp_path / "journal"
    stamps = [FileStamp(f"/people/{number}.jpg", 1, number) for number in range(200)]
    entries = [(stamp, JournalEntry("no_face", "x" * 100)) for stamp in stamps]
    with closing(FileJournal(path, {})) as journal:
        journal.add("scope", entries)
    first_page, rest = path.read_bytes()[:4096], path.read_bytes()[4096:]
    assert len(rest) > 4096
    path.write_bytes(first_page + b"\x7f" * len(rest))
    with closing(FileJournal(path, {})) as journal:
        assert journal.find("scope", stamps) == [None] * 200
        journal.add("scope", entries)
        assert journal.find("scope", stamps) == [entry for _, entry in entries]
    assert "damaged and begun anew" in caplog.text


def test_a_journal_whose_path_cannot_be_looked_at_costs_time_only(tmp_path: Path, caplog):
    with closing(FileJournal(tmp_path / ("x" * 300) / "journal", {})) as journal:
        assert journal.find("scope", [FileStamp("/people/1.jpg", 1, 1)]) == [None]
    assert "a second run looks at every file again" in caplog.text


def test_a_journal_that_cannot_be_made_costs_time_only(small, caplog):
    world, root = small
    for leftover in world.folder.glob("enrolled-files.journal*"):
        leftover.unlink()
    (world.folder / "enrolled-files.journal").mkdir()
    assert [is_known for _, is_known in run(world, root)] == [False] * 4
    assert "a second run looks at every file again" in caplog.text


def test_the_journal_names_nobody_and_is_its_owner_s(small):
    world, _ = small
    files = list(world.folder.glob("enrolled-files.journal*"))
    assert files
    kept = b"".join(file.read_bytes() for file in files)
    assert b"no_face" in kept
    assert b"Ada" not in kept
    assert b"people" not in kept
    assert (world.folder / "enrolled-files.journal").stat().st_mode & 0o077 == 0
