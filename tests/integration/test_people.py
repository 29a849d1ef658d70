"""Looking after who is enrolled, and what erasing leaves behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import InputError, LabelTakenError, StoreError, UnknownCollectionError, UnknownIdentityError
from tests.world import FakeNetworks, World, person_vector


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


def enroll(world: World, label: str, person: int, photo: int = 0, **options: object):
    name = f"{label} {person} {photo}"
    return world.faces.enroll(world.networks.portrait(name, person, 0.9, photo=photo), label, **options)


def labels(world: World, **options: object) -> list[str]:
    return [person.label for person in world.faces.list(**options)]


def test_list_filters_and_pages(world: World):
    for number, label in enumerate(["ada", "Bea", "Ängström", "Zoë"]):
        enroll(world, label, number, tags=["even"] if number % 2 == 0 else ["odd"])
    assert labels(world) == ["Bea", "Zoë", "ada", "Ängström"]
    assert labels(world, contains="ÄNG") == ["Ängström"]
    assert labels(world, tags=["odd"]) == ["Bea", "Zoë"]
    assert labels(world, limit=2) == ["Bea", "Zoë"]
    assert labels(world, after="Zoë") == ["ada", "Ängström"]
    with pytest.raises(InputError, match="limit"):
        world.faces.list(limit=0)


def test_rename_keeps_everything_else(world: World):
    before = enroll(world, "Ada", 0, tags=["crew"])
    after = world.faces.rename("Ada", "Ada Lovelace")
    assert (after.identity_id, after.tags) == (before.identity.identity_id, ("crew",))
    assert world.faces.identify(world.networks.portrait("probe", 0))[0].label == "Ada Lovelace"
    enroll(world, "Eve", 1)
    with pytest.raises(LabelTakenError, match="Eve"):
        world.faces.rename("Ada Lovelace", "Eve")
    with pytest.raises(UnknownIdentityError, match="Ada"):
        world.faces.rename("Ada", "X")


def test_merge_unites_templates_and_tags(world: World):
    enroll(world, "Ada", 0, tags=["crew"])
    enroll(world, "A. Lovelace", 0, photo=1, tags=["poet"], allow_duplicate=True)
    world.faces.identify(world.networks.portrait("warm", 0))
    merged = world.faces.merge("A. Lovelace", "Ada")
    assert (merged.label, merged.tags, labels(world)) == ("Ada", ("crew", "poet"), ["Ada"])
    assert len(world.faces.show("Ada").templates) == 2
    found = world.faces.identify(world.networks.portrait("probe", 0, 0.95, photo=1))[0]
    assert ([one.label for one in found.candidates], found.n_templates) == (["Ada"], 2)
    with pytest.raises(InputError, match="itself"):
        world.faces.merge("Ada", "Ada")


def test_tags_are_replaced(world: World):
    enroll(world, "Ada", 0, tags=["a"])
    assert world.faces.tag("Ada", ["b", "c"]).tags == ("b", "c")


def test_a_removed_person_is_found_no_more(world: World):
    enroll(world, "Ada", 0)
    enroll(world, "Ada", 0, photo=1)
    enroll(world, "Eve", 1)
    probe = world.networks.portrait("probe", 0)
    assert world.faces.identify(probe)[0].label == "Ada"
    assert world.faces.remove("Ada") == 2
    assert world.faces.identify(probe)[0].label is None
    assert labels(world) == ["Eve"]
    with pytest.raises(UnknownIdentityError):
        world.faces.remove("Ada")


def test_a_removed_person_can_be_enrolled_again_under_new_ids(world: World):
    first = enroll(world, "Ada", 0)
    world.faces.remove("Ada")
    second = enroll(world, "Ada", 0)
    assert second.identity.identity_id > first.identity.identity_id
    assert second.template.template_id > first.template.template_id


def bytes_on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holding(folder: Path, needle: bytes) -> list[str]:
    return sorted(name for name, content in bytes_on_disk(folder).items() if needle in content)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_erased_vectors_and_crops_are_nowhere_on_disk(tmp_path: Path, kind: str):
    world = World(tmp_path, kind=kind)
    for person in range(20):
        enroll(world, f"person {person:02d}", person, keep="crop")
    needle = person_vector(3, 0.9).astype("<f4").tobytes()
    crop = f"crop:{world.networks.photos['person 03 3 0'].digest}".encode()
    world.faces.close()
    assert len(holding(tmp_path, needle)) >= 2  # the database and the snapshot: the search below can find something
    assert len(holding(tmp_path, crop)) >= 1
    world = World(tmp_path, networks=world.networks, kind=kind)
    assert world.faces.identify(world.networks.portrait("probe", 3))[0].label == "person 03"
    world.faces.remove("person 03", erase=True)
    assert holding(tmp_path, needle) == []
    assert holding(tmp_path, crop) == []
    world.faces.close()
    assert holding(tmp_path, needle) == []


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_another_process_does_not_bring_erased_vectors_back(tmp_path: Path, kind: str):
    first = World(tmp_path, kind=kind)
    for person in range(20):
        enroll(first, f"person {person:02d}", person)
    other = World(tmp_path, networks=first.networks, kind=kind)
    probe = first.networks.portrait("probe", 3)
    assert other.faces.identify(probe)[0].label == "person 03"  # its index is in memory now
    first.faces.remove("person 03", erase=True)
    first.faces.close()
    other.faces.close()  # has something to save: it never wrote a snapshot itself
    assert holding(tmp_path, person_vector(3, 0.9).astype("<f4").tobytes()) == []


def test_what_was_said_of_an_erased_person_s_photograph_goes_too(world: World, tmp_path: Path):
    enroll(world, "Eve", 1)
    enroll(world, "Ada", 0)
    photo, other = world.networks.portrait("mistaken", 0, 0.9, photo=5), world.networks.portrait("other", 2, 0.9, photo=6)
    world.faces.reject(photo, "Eve", raise_threshold=True)
    kept = world.faces.reject(other, "Eve")
    world.faces.enroll(photo, "Ada")
    needle = person_vector(0, 0.9, 5).astype("<f4").tobytes()
    assert holding(tmp_path, needle) != []
    world.faces.remove("Ada", erase=True)
    assert [one.feedback_id for one in world.faces.feedback()] == [kept.feedback_id]
    world.faces.close()
    assert holding(tmp_path, needle) == []


@contextmanager
def somebody_reading(world: World):
    """Keep the database from being scrubbed; the store does not wait long for it."""
    world.store._busy_timeout_s = 0.2
    with closing(sqlite3.connect(world.folder / "gallery.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM templates").fetchall()
        yield


@pytest.mark.parametrize("what", ["person", "collection"])
def test_snapshots_forget_also_where_the_database_cannot_be_scrubbed(tmp_path: Path, what: str):
    world = World(tmp_path)
    for person in range(3):
        enroll(world, f"person {person}", person)
    world.faces.close()
    needle = person_vector(1, 0.9).astype("<f4").tobytes()
    assert any(name.startswith("index") for name in holding(tmp_path, needle))
    world = World(tmp_path, networks=world.networks)
    faces = world.faces
    remove = partial(faces.remove, "person 1", erase=True) if what == "person" else partial(faces.remove_collection, "default")
    with somebody_reading(world), pytest.raises(StoreError, match="scrub again"):
        remove()
    assert not any(name.startswith("index") for name in holding(tmp_path, needle))
    world.close()


def test_erasing_reaches_the_snapshots_of_other_embedders(tmp_path: Path):
    world = World(tmp_path)
    for person in range(3):
        enroll(world, f"person {person}", person)
    world.faces.close()
    needle = person_vector(1, 0.9).astype("<f4").tobytes()
    assert any(name.startswith("index") for name in holding(tmp_path, needle))
    other = World(tmp_path, networks=FakeNetworks("fake@111111111111"))
    assert other.faces.remove("person 1", erase=True) == 1
    other.close()
    assert holding(tmp_path, needle) == []
    again = World(tmp_path, networks=world.networks)
    assert again.faces.identify(world.networks.portrait("probe", 2))[0].label == "person 2"
    again.close()


def test_without_erase_the_rows_are_gone_all_the_same(world: World, tmp_path: Path):
    enroll(world, "Ada", 0)
    enroll(world, "Eve", 1)
    world.faces.remove("Ada")
    needle = person_vector(0, 0.9).astype("<f4").tobytes()
    assert [name for name in holding(tmp_path, needle) if name.startswith("gallery.db")] == []


def test_collections_are_made_listed_and_removed(world: World, tmp_path: Path):
    world.faces.add_collection("empty")
    enroll(world, "Ada", 0, collection="staff")
    world.faces.identify(world.networks.portrait("probe", 0), collection="staff")
    summaries = {one.collection.name: (one.n_identities, one.n_templates) for one in world.faces.collections()}
    assert summaries == {"empty": (0, 0), "staff": (1, 1)}
    with pytest.raises(LabelTakenError, match="staff"):
        world.faces.add_collection("staff")
    uid = next(one.collection.uid for one in world.faces.collections() if one.collection.name == "staff")
    world.indexes.save()
    assert list((tmp_path / "index").glob(f"{uid}-*"))
    world.faces.remove_collection("staff")
    assert not list((tmp_path / "index").glob(f"{uid}-*"))
    with pytest.raises(UnknownCollectionError):
        world.faces.list(collection="staff")
    enroll(world, "Eve", 1, collection="staff")
    assert world.faces.identify(world.networks.portrait("p2", 0), collection="staff")[0].label is None


def test_unit_vectors_of_the_needle_are_what_is_stored(world: World):
    done = enroll(world, "Ada", 0)
    stored = world.faces.show("Ada").templates[0].template.vector
    assert np.array_equal(stored, done.template.template.vector)
    assert stored.tobytes() == person_vector(0, 0.9).astype("<f4").tobytes()
