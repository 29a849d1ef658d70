"""What was deleted is nowhere in SQLite's files."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from facesearch.core.errors import StoreError
from facesearch.store.codec import encode_vector
from facesearch.store.sql import SqlStore
from tests.store_builders import new_face, picture


@pytest.fixture
def store(tmp_path):
    opened = SqlStore(f"sqlite:///{tmp_path}/gallery.db", busy_timeout_s=0.3)
    with opened.writing() as writer:
        writer.add_collection("default")
    yield opened
    opened.close()


def enroll(store: SqlStore, label: str, seed: int, n_bytes: int = 20_000) -> int:
    with store.writing() as writer:
        identity = writer.add_identity("default", label)
        writer.add_face(identity.identity_id, new_face(seed, dim=128, source=f"{label}.jpg", kept=picture(seed, n_bytes)))
        return identity.identity_id


def traces(label: str, seed: int, n_bytes: int = 20_000) -> dict[str, bytes]:
    face = new_face(seed, dim=128)
    data = picture(seed, n_bytes).data
    return {
        "vector": encode_vector(face.template.vector)[:64],
        "crop": data[-64:],
        "label": label.encode(),
        "digest": face.provenance.image_digest.encode(),
    }


def bytes_on_disk(folder: Path) -> bytes:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    assert "gallery.db" in [path.name for path in files]
    return b"".join(path.read_bytes() for path in files)


def found(folder: Path, wanted: dict[str, bytes]) -> set[str]:
    data = bytes_on_disk(folder)
    return {name for name, pattern in wanted.items() if pattern in data}


def test_a_removed_person_is_gone_from_every_file(store, tmp_path):
    ada = enroll(store, "Ada Lovelace", 11)
    enroll(store, "Grace Hopper", 12)
    assert found(tmp_path, traces("Ada Lovelace", 11)) == {"vector", "crop", "label", "digest"}
    with store.writing() as writer:
        writer.remove_identity(ada)
    assert found(tmp_path, traces("Ada Lovelace", 11)), "the write-ahead log should still hold what was deleted"
    store.scrub()
    assert found(tmp_path, traces("Ada Lovelace", 11)) == set()
    assert found(tmp_path, traces("Grace Hopper", 12)) == {"vector", "crop", "label", "digest"}


def test_another_open_store_is_no_obstacle(store, tmp_path):
    ada = enroll(store, "Ada Lovelace", 11)
    other = SqlStore(f"sqlite:///{tmp_path}/gallery.db")
    with other.reading() as reader:
        assert reader.counts("default") == (1, 1)
    with store.writing() as writer:
        writer.remove_identity(ada)
    store.scrub()
    assert found(tmp_path, traces("Ada Lovelace", 11)) == set()
    with other.reading() as reader:
        assert reader.counts("default") == (0, 0)
    other.close()


def test_a_reader_in_the_way_is_named_and_scrubbing_again_helps(store, tmp_path):
    ada = enroll(store, "Ada Lovelace", 11)
    with store.reading() as reader:
        assert reader.counts("default") == (1, 1)
        with store.writing() as writer:
            writer.remove_identity(ada)
        with pytest.raises(StoreError, match="scrub again"):
            store.scrub()
        assert reader.counts("default") == (1, 1)
    store.scrub()
    assert found(tmp_path, traces("Ada Lovelace", 11)) == set()


def test_no_trace_is_left_after_many_changes_of_many_sizes(store, tmp_path):
    # SQLite's secure delete zeroes freed cells, but a page that was rebalanced can keep copies of cells that moved to its sibling:
    # rare (some in a thousand rows), so the rewritten file is told by its lack of free pages as well.
    rng = random.Random(3)
    present: dict[int, tuple[str, int, int]] = {}
    gone: list[tuple[str, int, int]] = []
    for seed in range(1000, 1150):
        if present and rng.random() < 0.45:
            identity_id = rng.choice(sorted(present))
            with store.writing() as writer:
                writer.remove_identity(identity_id)
            gone.append(present.pop(identity_id))
        else:
            person = (f"{rng.getrandbits(160):040x}", seed, rng.choice([60, 300, 900, 2_000, 9_000]))
            present[enroll(store, *person)] = person
    store.scrub()
    assert len(gone) > 40
    assert len(present) > 10
    with sqlite3.connect(tmp_path / "gallery.db") as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()
    data = bytes_on_disk(tmp_path)
    assert [name for person in gone for name, pattern in traces(*person).items() if pattern in data] == []
    assert all(pattern in data for person in present.values() for pattern in traces(*person).values())
