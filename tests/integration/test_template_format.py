"""Galleries that hold templates in less space, through the database, the index and its snapshot."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.compact import TemplateFormat, quantised, restored
from facesearch.core.template import Template
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery import GalleryIndexes
from facesearch.store.sql import SqlStore
from tests.store_builders import DIM, EMBEDDER, new_face, vector

COLLECTION = "default"


def opened(folder: Path, template_format: TemplateFormat) -> tuple[SqlStore, GalleryIndexes]:
    store = SqlStore(f"sqlite:///{folder / 'g.db'}", template_format=template_format)
    factory = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions(template_format=template_format))
    return store, GalleryIndexes(store, factory, embedder_id=EMBEDDER, folder=folder / "index")


def enrolled(store: SqlStore, *seeds: int) -> None:
    with store.writing() as writer:
        for seed in seeds:
            writer.ensure_collection(COLLECTION)
            person = writer.add_identity(COLLECTION, f"P{seed}")
            writer.add_face(person.identity_id, new_face(seed))


def stored_lengths(folder: Path) -> list[int]:
    with sqlite3.connect(folder / "g.db") as connection:
        found = [row[0] for row in connection.execute("SELECT length(vector) FROM templates ORDER BY id")]
    connection.close()
    return found


@pytest.mark.parametrize(("template_format", "kind"), [("int8", "exact"), ("binary", "binary")])
def test_a_gallery_changes_its_form_without_enrolling_again(tmp_path: Path, template_format: TemplateFormat, kind: str) -> None:
    store, indexes = opened(tmp_path, "f32")
    enrolled(store, 1, 2)
    with store.reading() as reader:
        assert indexes.synced(reader, COLLECTION)[1].kind == "exact"
    indexes.save()

    store, indexes = opened(tmp_path, template_format)
    enrolled(store, 3)
    assert stored_lengths(tmp_path) == [4 * DIM, 4 * DIM, DIM + 1]
    with store.reading() as reader:
        _, index = indexes.synced(reader, COLLECTION)
        assert (index.kind, len(index)) == (kind, 3)
        for seed in (1, 2, 3):
            best = index.search(Template(vector(seed), EMBEDDER), 1)[0]
            held = restored(quantised(vector(seed)[None]))[0]
            assert best.template_id == seed
            assert best.score == pytest.approx(float(held @ vector(seed)), abs=1e-6)
        (kept,) = reader.templates_of(3)
        np.testing.assert_array_equal(kept.template.vector, restored(quantised(vector(3)[None]))[0])
    indexes.save()

    # Started again, the snapshot of this form is found and belongs to this database.
    _, again = opened(tmp_path, template_format)
    with store.reading() as reader:
        assert again.synced(reader, COLLECTION)[1].kind == kind
        assert again.status(reader, COLLECTION).snapshot_revision is not None

    # And back: what was written as bytes stays rounded and is found.
    store, indexes = opened(tmp_path, "f32")
    with store.reading() as reader:
        _, index = indexes.synced(reader, COLLECTION)
        assert [index.search(Template(vector(seed), EMBEDDER), 1)[0].template_id for seed in (1, 2, 3)] == [1, 2, 3]


def test_a_snapshot_of_bytes_belongs_to_vectors_with_few_large_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbers = np.full(512, 0.45 / 127, dtype=np.float32)
    numbers[7] = 1.0
    uneven = Template(numbers / np.float32(np.linalg.norm(numbers)), EMBEDDER)
    held = restored(quantised(uneven.vector[None]))[0]
    assert float(held @ uneven.vector) < 0.9999  # far from itself as bytes
    with SqlStore(f"sqlite:///{tmp_path / 'g.db'}").writing() as writer:
        writer.ensure_collection(COLLECTION)
        face = dataclasses.replace(new_face(1), template=uneven)
        writer.add_face(writer.add_identity(COLLECTION, "P1").identity_id, face)

    def synced() -> int | None:
        store = SqlStore(f"sqlite:///{tmp_path / 'g.db'}", template_format="int8")
        factory = GalleryIndexFactory(EMBEDDER, 512, IndexOptions(template_format="int8"))
        indexes = GalleryIndexes(store, factory, embedder_id=EMBEDDER, folder=tmp_path / "index")
        with store.reading() as reader:
            indexes.synced(reader, COLLECTION)
            revision = indexes.status(reader, COLLECTION).snapshot_revision
        indexes.save()
        return revision

    assert synced() is None
    assert synced() is not None
    assert "restored from a backup" not in caplog.text
