"""Folders: every file gets an outcome, nothing stops the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.core.errors import InputError, ProtocolFileError
from facesearch.service.enroll_folder import labelled_files
from tests.world import World, face_at, person_vector


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "people"
    root.mkdir()
    return root


def place(world: World, folder: Path, name: str, *faces: tuple) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stands for a picture")
    if faces:
        world.networks.photo(str(path), *faces)
    return path


def test_each_kind_of_file_has_its_outcome(world: World, folder: Path):
    one = (face_at(0, 0, 100), person_vector(0))
    place(world, folder, "Ada/1.jpg", one)
    place(world, folder, "Ada/2.PNG", (face_at(0, 0, 100), person_vector(0, 0.8)))
    place(world, folder, "Ada/3.jpg", (face_at(0, 0, 100), person_vector(5)))
    place(world, folder, "Ben/1.jpg", one, (face_at(200, 0, 100, 0.9), person_vector(1)))
    place(world, folder, "Eve/1.jpg", (face_at(0, 0, 100), person_vector(0, 0.9, photo=1)))
    world.networks.photo(str(place(world, folder, "Joe/1.jpg")))
    place(world, folder, "Joe/2.jpg")
    place(world, folder, "Joe/notes.txt")
    place(world, folder, ".hidden/1.jpg", one)
    seen = []
    report = world.faces.enroll_folder(folder, on_outcome=seen.append)
    assert [(str(o.path.relative_to(folder)), o.status) for o in report.outcomes] == [
        ("Ada/1.jpg", "enrolled"),
        ("Ada/2.PNG", "enrolled"),
        ("Ada/3.jpg", "identity_mismatch"),
        ("Ben/1.jpg", "several_faces"),
        ("Eve/1.jpg", "possible_duplicate"),
        ("Joe/1.jpg", "no_face"),
        ("Joe/2.jpg", "image_undecodable"),
    ]
    assert seen == list(report.outcomes)
    double = report.outcomes[4]
    assert (double.label, double.other_label, double.is_enrolled) == ("Eve", "Ada", True)
    assert "'Eve'" in double.message
    assert "'Ada'" in double.message
    assert report.counts["enrolled"] == 2
    assert report.n_enrolled == 3
    assert [person.label for person in world.faces.list()] == ["Ada", "Eve"]


def test_a_second_run_adds_nothing(world: World, folder: Path):
    place(world, folder, "Ada/1.jpg", (face_at(0, 0, 100), person_vector(0)))
    place(world, folder, "Eve/1.jpg", (face_at(0, 0, 100), person_vector(1)))
    assert world.faces.enroll_folder(folder).counts == {"enrolled": 2}
    assert world.faces.enroll_folder(folder).counts == {"duplicate_template": 2}
    assert [len(world.faces.show(label).templates) for label in ("Ada", "Eve")] == [1, 1]


def test_a_csv_names_labels_and_tags(world: World, folder: Path):
    place(world, folder, "x.jpg", (face_at(0, 0, 100), person_vector(0)))
    place(world, folder, "sub/y.jpg", (face_at(0, 0, 100), person_vector(1)))
    table = folder / "labels.csv"
    table.write_text("\ufefffile,label,tags\nx.jpg,Ada,crew;pilot\nsub/y.jpg,Eve,\n", encoding="utf-8")
    assert world.faces.enroll_folder(folder, labels_csv=table).counts == {"enrolled": 2}
    assert [(p.label, p.tags) for p in world.faces.list()] == [("Ada", ("crew", "pilot")), ("Eve", ())]


def test_a_listed_file_that_is_missing_is_an_outcome(world: World, folder: Path):
    (folder / "labels.csv").write_text("file,label\ngone.jpg,Ada\n")
    assert world.faces.enroll_folder(folder, labels_csv=folder / "labels.csv").counts == {"image_undecodable": 1}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"name,label\nx.jpg,Ada\n", "column file"),
        (b"", "column file and label"),
        (b"file,label\n../x.jpg,Ada\n", "outside"),
        (b"file,label\n/etc/passwd,Ada\n", "outside"),
        (b"file,label\nx.jpg\n", "line 2"),
        (b"file,label\n\xff\xfe,Ada\n", "UTF-8"),
    ],
)
def test_a_csv_of_another_form_is_refused(folder: Path, content: bytes, problem: str):
    table = folder / "labels.csv"
    table.write_bytes(content)
    with pytest.raises(ProtocolFileError, match=problem):
        labelled_files(folder, labels_csv=table)


def test_folders_with_nothing_to_enroll_are_refused(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="nothing to enroll"):
        labelled_files(folder)
    with pytest.raises(InputError, match="no folder"):
        labelled_files(tmp_path / "missing")
    with pytest.raises(ProtocolFileError, match="cannot be read"):
        labelled_files(folder, labels_csv=folder / "missing.csv")


def test_a_loop_of_links_is_not_followed(world: World, folder: Path):
    place(world, folder, "Ada/1.jpg", (face_at(0, 0, 100), person_vector(0)))
    (folder / "Ada" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "Ada" / "self.jpg").symlink_to(folder / "Ada", target_is_directory=True)
    assert [file.path.name for file in labelled_files(folder)] == ["1.jpg"]


def test_a_link_that_leads_to_itself_is_one_file_s_failure(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nloop/a.jpg,Ada\n", encoding="utf-8")
    assert [one.label for one in labelled_files(tmp_path, labels_csv=labels)] == ["Ada"]
