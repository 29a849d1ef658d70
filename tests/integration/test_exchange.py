"""One collection as one file: exact round trips, and damage that is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesearch.core.errors import (
    FileWriteError,
    GalleryFormatError,
    IncompatibleTemplatesError,
    InputError,
    LabelTakenError,
    UnknownCollectionError,
)
from tests.world import FakeNetworks, World


def filled(folder: Path) -> World:
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder)
    for person, label in enumerate(["Ada", "Łódź 🚀", "a/b"]):
        for photo in range(person + 1):
            name = world.networks.portrait(f"{person} {photo}", person, 0.9, photo=photo)
            world.faces.enroll(name, label, tags=["x", str(person)], keep="crop" if photo else "none")
    return world


@pytest.fixture
def exported(tmp_path: Path):
    world = filled(tmp_path / "source")
    file = tmp_path / "people.facesearch"
    summary = world.faces.export_collection(file)
    assert (summary.n_identities, summary.n_templates, summary.n_pictures) == (3, 6, 3)
    yield world, file
    world.close()


def test_a_round_trip_is_exact(exported, tmp_path: Path):
    source, file = exported
    (tmp_path / "target").mkdir()
    target = World(tmp_path / "target", networks=source.networks)
    summary = target.faces.import_collection(file)
    assert (summary.collection, summary.n_identities, summary.n_templates, summary.n_pictures) == ("default", 3, 6, 3)
    again = tmp_path / "again.facesearch"
    target.faces.export_collection(again)
    assert again.read_bytes() == file.read_bytes()
    for before, after in zip(source.faces.list(), target.faces.list(), strict=True):
        assert (before.label, before.tags, before.enrolled_at) == (after.label, after.tags, after.enrolled_at)
        old, new = source.faces.show(before.label).templates, target.faces.show(after.label).templates
        assert len(old) == len(new) > 0
        for a, b in zip(old, new, strict=True):
            assert np.array_equal(a.template.vector, b.template.vector)
            assert a.provenance.image_digest == b.provenance.image_digest
            assert a.provenance.detection.box == b.provenance.detection.box
            assert np.array_equal(a.provenance.detection.landmarks, b.provenance.detection.landmarks)
            assert dict(a.provenance.quality) == dict(b.provenance.quality)
            assert source.faces.picture(a.template_id) == target.faces.picture(b.template_id)
    probe = source.networks.portrait("probe", 2)
    assert target.faces.identify(probe)[0].label == "a/b"
    target.close()


def test_an_import_may_have_another_name(exported):
    world, file = exported
    world.faces.import_collection(file, collection="copy")
    assert [one.collection.name for one in world.faces.collections()] == ["copy", "default"]


def test_labels_that_exist_are_refused_and_nothing_is_imported(exported):
    world, file = exported
    with pytest.raises(LabelTakenError):
        world.faces.import_collection(file)
    assert [one.n_templates for one in world.faces.collections()] == [6]


def test_templates_of_another_embedder_are_refused(exported, tmp_path: Path):
    _, file = exported
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", networks=FakeNetworks("newer@222222222222"))
    with pytest.raises(IncompatibleTemplatesError, match=r"fake@000000000000.*newer@222222222222"):
        other.faces.import_collection(file)
    assert other.faces.collections() == ()
    other.close()


def test_what_cannot_be_read_or_written(exported, tmp_path: Path):
    world, file = exported
    with pytest.raises(InputError, match="no file"):
        world.faces.import_collection(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read"):
        world.faces.import_collection(tmp_path)
    with pytest.raises(FileWriteError, match="cannot be written"):
        world.faces.export_collection(tmp_path / "missing" / "x.facesearch")
    with pytest.raises(UnknownCollectionError):
        world.faces.export_collection(tmp_path / "x.facesearch", collection="nobody")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.facesearch", "source"]
    assert file.exists()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_byte_or_cut_is_noticed_or_harmless(exported, data: st.DataObject):
    world, file = exported
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    damaged = file.with_name("damaged")
    damaged.write_bytes(content)
    name = f"c{data.draw(st.integers(0, 10**9))}"
    try:
        world.faces.import_collection(damaged, collection=name)
    except GalleryFormatError:
        assert all(one.collection.name != name for one in world.faces.collections())
    else:
        # Bytes of the archive's own bookkeeping (times, attributes) carry nothing: then everything arrived unharmed.
        copy = file.with_name("copy")
        world.faces.export_collection(copy, collection=name)
        assert parts_of(copy, name) == parts_of(file, "default")
    for one in world.faces.collections():
        if one.collection.name != "default":
            world.faces.remove_collection(one.collection.name)


def parts_of(file: Path, name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        parts = {part: archive.read(part) for part in archive.namelist() if part != "manifest.json"}
        assert json.loads(archive.read("manifest.json"))["collection"] == name
    return parts


def rewritten(file: Path, **changes: object) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(stream, "w") as new:
        for part in old.namelist():
            content = old.read(part)
            if part == "manifest.json":
                content = json.dumps({**json.loads(content), **changes}).encode()
            new.writestr(part, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "format version 2, this release reads 1"),
        ({"format": "other"}, "no exported collection"),
        ({"n_templates": 7}, "names 7 templates"),
        ({"sha256": {}}, "damaged"),
        ({"dims": [63]}, "damaged"),
        ({"embedders": ["fake@000000000000"], "dims": "x"}, "damaged"),
    ],
)
def test_a_manifest_that_lies_is_refused(exported, changes: dict, problem: str):
    world, file = exported
    lying = file.with_name("lying")
    lying.write_bytes(rewritten(file, **changes))
    with pytest.raises(GalleryFormatError, match=problem):
        world.faces.import_collection(lying, collection="copy")
    assert [one.collection.name for one in world.faces.collections()] == ["default"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_parts_are_refused_before_they_are_read(exported, method: int):
    world, file = exported
    squeezed = file.with_name("squeezed")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(squeezed, "w", method) as new:
        for part in old.namelist():
            new.writestr(part, old.read(part))
    with pytest.raises(GalleryFormatError, match="compressed"):
        world.faces.import_collection(squeezed, collection="copy")
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = method  # the directory says so, the part is none
    squeezed.write_bytes(content)
    with pytest.raises(GalleryFormatError, match="compressed"):
        world.faces.import_collection(squeezed, collection="copy")


def test_a_small_file_cannot_fill_the_database(exported):
    world, file = exported
    with zipfile.ZipFile(file) as archive:
        first = sorted(part for part in archive.namelist() if part.startswith("pictures/"))[0]
        people = re.sub(rb"pictures/[0-9]+", first.encode(), archive.read("people.jsonl"))
        parts = {part: archive.read(part) for part in archive.namelist()} | {"people.jsonl": people}
    manifest = json.loads(parts["manifest.json"])
    manifest["sha256"]["people.jsonl"] = hashlib.sha256(people).hexdigest()
    parts["manifest.json"] = json.dumps(manifest).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    with pytest.raises(GalleryFormatError, match=f"{first} is the picture of two faces"):
        world.faces.import_collection(io.BytesIO(stream.getvalue()), collection="copy")
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\x01\x02")  # of the first part, which shall hold all that follow
    for place in (entry + 20, entry + 24):
        content[place : place + 4] = (entry - 200).to_bytes(4, "little")
    with pytest.raises(GalleryFormatError, match="overlap"):
        world.faces.import_collection(io.BytesIO(content), collection="copy")
    assert [one.collection.name for one in world.faces.collections()] == ["default"]


def test_an_export_is_its_owner_s_alone(exported):
    _, file = exported
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_streamed_export_holds_what_the_file_holds(exported, tmp_path: Path):
    source, file = exported
    pieces = list(source.faces.stream_collection())
    assert len(pieces) >= 1
    with zipfile.ZipFile(file) as a, zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as b:
        assert a.namelist() == b.namelist()
        assert len(a.namelist()) >= 4
        assert all(a.read(name) == b.read(name) for name in a.namelist())
    (tmp_path / "target").mkdir()
    target = World(tmp_path / "target", networks=source.networks)
    summary = target.faces.import_collection(io.BytesIO(b"".join(pieces)), collection="sent")
    assert (summary.collection, summary.n_identities, summary.n_templates, summary.n_pictures) == ("sent", 3, 6, 3)
    with pytest.raises(GalleryFormatError, match="what was sent is damaged"):
        target.faces.import_collection(io.BytesIO(b"".join(pieces)[:-40]), collection="broken")
    target.close()


def test_a_streamed_export_of_no_collection_fails_before_its_first_piece(exported):
    world, _ = exported
    with pytest.raises(UnknownCollectionError):
        next(world.faces.stream_collection(collection="nobody"))


def test_an_abandoned_streamed_export_ends_its_transaction(exported, monkeypatch: pytest.MonkeyPatch):
    world, _ = exported
    monkeypatch.setattr("facesearch.service.exchange._PIECE_BYTES", 1)
    pieces = world.faces.stream_collection()
    assert next(pieces)
    pieces.close()
    world.store.scrub()  # waits for readers to end
