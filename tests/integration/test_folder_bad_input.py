"""Folders as they are found in the world: links, unreadable parts, odd names, empty and half-written files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image as PilImage

from facesearch.core.errors import InputError
from facesearch.service.labelled_folder import LabelledFolder
from tests.world import World, face_at, person_vector

NOBODY = 65_534


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Give up the superuser's right to read everything while the block runs."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="fs-folder-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def put(world: World, path: Path, person: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode("utf-8", "surrogateescape"))
    world.networks.photo(str(path), (face_at(0, 0, 100), person_vector(person, 0.9, photo=len(world.networks.photos))))


def entries(folder: Path) -> list[tuple[str, str, bool]]:
    return [(one.path.name, one.label, bool(one.problem)) for one in LabelledFolder(folder)]


def test_an_unreadable_label_is_named_and_the_rest_goes_on(open_folder: Path):
    for label in ("Ada", "Ben", "Eve"):
        (open_folder / label).mkdir()
        (open_folder / label / "1.jpg").write_bytes(b"x")
    (open_folder / "Ben").chmod(0)
    with as_an_ordinary_user():
        found = entries(open_folder)
    (open_folder / "Ben").chmod(0o755)
    assert found == [("1.jpg", "Ada", False), ("Ben", "Ben", True), ("1.jpg", "Eve", False)]


def test_an_unreadable_label_is_an_outcome(world: World, tmp_path: Path):
    def vanishing():
        for one in LabelledFolder(tmp_path / "people"):
            if one.label == "Ada":
                shutil.rmtree(tmp_path / "people" / "Ben")
            yield one

    put(world, tmp_path / "people" / "Ada" / "1.jpg", 0)
    put(world, tmp_path / "people" / "Ben" / "1.jpg", 1)
    put(world, tmp_path / "people" / "Eve" / "1.jpg", 2)
    enrolment = world.faces._services.enrolment
    report = enrolment.enroll_folder(vanishing(), collection="default")
    assert [(one.label, one.status) for one in report.outcomes] == [
        ("Ada", "enrolled"),
        ("Ben", "unreadable_folder"),
        ("Eve", "enrolled"),
    ]
    assert "No such file" in report.outcomes[1].message


def test_links_that_lead_back_or_nowhere(world: World, tmp_path: Path):
    root = tmp_path / "people"
    put(world, root / "Ada" / "1.jpg")
    (root / "Ada" / "up").symlink_to(root, target_is_directory=True)
    (root / "Ada" / "up.jpg").symlink_to(root, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to("self")
    (root / "Ada" / "self.jpg").symlink_to("self.jpg")
    (root / "Ada" / "gone.jpg").symlink_to("nowhere.jpg")
    report = world.faces.enroll_folder(root)
    assert [(one.path.name, one.status) for one in report.outcomes] == [
        ("1.jpg", "enrolled"),
        ("gone.jpg", "image_undecodable"),
        ("self.jpg", "image_undecodable"),
    ]


def test_names_in_another_encoding_are_enrolled_and_reported(world: World, tmp_path: Path):
    root = tmp_path / "people"
    name = os.fsdecode(b"caf\xe9.jpg")
    put(world, root / "Ada" / name, 0)
    put(world, root / os.fsdecode(b"Jos\xe9") / "1.jpg", 1)
    report = world.faces.enroll_folder(root)
    assert [(one.path.name, one.status) for one in report.outcomes] == [(name, "enrolled"), ("1.jpg", "bad_label")]
    assert [one.is_known for one in world.faces.enroll_folder(root).outcomes] == [True, False]


def test_other_files_and_deeper_folders_are_left_out(world: World, tmp_path: Path):
    root = tmp_path / "people"
    for name in ("Ada/1.JPG", "Ada/2.jpeg", "Ada/3.PNG"):
        put(world, root / name)
    for name in ("Ada/notes.txt", "Ada/deeper/4.jpg", "Ada/.hidden.jpg", ".dot/5.jpg", "6.jpg", "Ada/jpg"):
        put(world, root / name)
    assert [name for name, *_ in entries(root)] == ["1.JPG", "2.jpeg", "3.PNG"]


@pytest.mark.parametrize("content", [(), ("Ada/notes.txt",), ("1.jpg",)])
def test_a_folder_without_pictures_says_what_is_expected(world: World, tmp_path: Path, content: tuple[str, ...]):
    root = tmp_path / "people"
    root.mkdir()
    for name in content:
        put(world, root / name)
    with pytest.raises(InputError, match="holds nothing to enroll: expected <label>/<picture>"):
        world.faces.enroll_folder(root)


def test_empty_and_half_written_files_are_failures_of_their_own(tmp_path: Path):
    from facesearch.imaging.decode import decode_image
    from facesearch.service.pipeline import FacePipeline
    from tests.world import FakeNetworks

    root = tmp_path / "people" / "Ada"
    root.mkdir(parents=True)
    PilImage.effect_noise((300, 300), 60).convert("RGB").save(root / "whole.jpg")
    data = (root / "whole.jpg").read_bytes()
    (root / "half.jpg").write_bytes(data[: len(data) // 2])
    (root / "empty.jpg").write_bytes(b"")
    networks = FakeNetworks()
    networks.detect_batch = lambda images: tuple(() for _ in images)
    pipeline = FacePipeline(decode_image, networks, networks.align, networks, min_face_px=20)
    found = {path.name: one.error for path in sorted(root.iterdir()) for one in pipeline.stream([(path, path)])}
    assert {name: error.code for name, error in found.items()} == {
        "empty.jpg": "image_undecodable",
        "half.jpg": "image_undecodable",
        "whole.jpg": "no_face",
    }
    assert "0 bytes" in found["empty.jpg"].message


def test_a_csv_is_read_to_its_end_before_anything_is_enrolled(world: World, tmp_path: Path):
    put(world, tmp_path / "people" / "a.jpg")
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,Ada\n../b.jpg,Ben\n")
    with pytest.raises(InputError, match=r"line 3.*outside"):
        world.faces.enroll_folder(tmp_path / "people", labels_csv=tmp_path / "labels.csv")
    assert world.faces.list() == ()


@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_report_is_written_as_the_run_goes_on(tmp_path: Path, suffix: str, is_cut: bool):
    from facesearch.cli.folder_report import FolderReportFile
    from facesearch.service.folder_report import FileOutcome

    place = tmp_path / f"report.{suffix}"
    place.write_text("an older report")
    report = FolderReportFile(place, "default")
    name = os.fsdecode(b'caf\xe9, "quoted".jpg')
    outcomes = [
        FileOutcome(Path("Ada") / name, "Ada", "enrolled", template_id=3),
        FileOutcome(Path("b.jpg"), "Ben", "no_face", "why"),
    ]
    try:
        with report.writing():
            for one in outcomes:
                report.add(one)
            part = place.with_name(f"{place.name}.part").read_text()
            assert "no_face" in part
            assert place.read_text() == "an older report"
            if is_cut:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert is_cut
    assert list(tmp_path.iterdir()) == [place]
    if suffix == "csv":
        with place.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["path"], row["status"], row["template_id"]) for row in rows] == [
            ('Ada/caf\\udce9, "quoted".jpg', "enrolled", "3"),
            ("b.jpg", "no_face", ""),
        ]
    else:
        document = json.loads(place.read_text())
        assert [one["status"] for one in document["outcomes"]] == ["enrolled", "no_face"]
        assert (document["n_files"], document["n_enrolled"], document["is_complete"]) == (2, 1, not is_cut)
