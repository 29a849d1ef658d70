"""A collection's embedders on each database: noted, and templates of a second one hung on enrolled faces and taken away."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from facesearch.core.embedder_use import EmbedderUse, NamedEmbedder
from facesearch.core.errors import UnknownCollectionError
from facesearch.core.identity import ChangeKind
from tests.store_builders import EMBEDDER, OTHER_EMBEDDER, new_face

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
OLD, NEW = NamedEmbedder("old", EMBEDDER), NamedEmbedder("new", OTHER_EMBEDDER)


def vector(n, dim=8):
    made = np.zeros(dim, dtype=np.float32)
    made[n % dim] = 1
    return made


@pytest.fixture
def people(store):
    """Ada with two faces and Bob with one; returns their ids, and the ids of the templates."""
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        bob = writer.add_identity("default", "Bob").identity_id
        made = [writer.add_face(owner, new_face(n, digest=f"d{n}")).template_id for n, owner in enumerate((ada, ada, bob), start=1)]
    return ada, bob, made


def hang(store, *numbers):
    """Give faces, by number, a template of the new embedder; return the new ids."""
    with store.writing() as writer:
        lacking = writer.faces_lacking("default", OTHER_EMBEDDER, having=EMBEDDER)
        chosen = [one.face_id for one in lacking if one.image_digest in {f"d{n}" for n in numbers}]
        return writer.add_templates("default", OTHER_EMBEDDER, [(key, vector(n)) for n, key in enumerate(chosen)], enrolled_at=NOW)


def test_a_collection_has_no_embedder_of_its_own_until_one_is_noted(store):
    with store.reading() as reader:
        assert reader.embedder_use("default") is None
        assert reader.embedder_use("no such") is None
    for use in (EmbedderUse(OLD, NEW, True), EmbedderUse(NEW, OLD), EmbedderUse(NEW)):
        with store.writing() as writer:
            writer.set_embedder_use("default", use)
        with store.reading() as reader:
            assert reader.embedder_use("default") == use
            assert reader.embedder_uses() == {"default": use}
    with store.writing() as writer:
        writer.ensure_collection("other")
        writer.set_embedder_use("other", EmbedderUse(OLD))
        assert writer.embedder_uses() == {"default": use, "other": EmbedderUse(OLD)}
        writer.set_embedder_use("other", None)
        writer.set_embedder_use("default", None)
        assert writer.embedder_use("default") is None
        assert writer.embedder_uses() == {}
        with pytest.raises(UnknownCollectionError):
            writer.set_embedder_use("no such", None)


def test_what_is_noted_goes_with_the_collection(store):
    with store.writing() as writer:
        writer.set_embedder_use("default", EmbedderUse(OLD, NEW, True))
        writer.remove_collection("default")
        writer.ensure_collection("default")
        assert writer.embedder_use("default") is None


def test_faces_lacking_a_template_are_named_in_pages(store, people):
    ada, bob, made = people
    with store.reading() as reader:
        lacking = reader.faces_lacking("default", OTHER_EMBEDDER, having=EMBEDDER)
        assert [(one.template_id, one.identity_id, one.label, one.image_digest) for one in lacking] == [
            *((made[0], ada, "Ada", "d1"), (made[1], ada, "Ada", "d2"), (made[2], bob, "Bob", "d3"))
        ]
        assert lacking[0].detection.box == new_face(1).provenance.detection.box
        assert lacking[0].source == new_face(1).provenance.source
        paged = reader.faces_lacking("default", OTHER_EMBEDDER, having=EMBEDDER, after=made[0], limit=1)
        assert [one.template_id for one in paged] == [made[1]]
        assert reader.count_lacking("default", OTHER_EMBEDDER, having=EMBEDDER) == 3
        assert reader.people_without("default", OTHER_EMBEDDER, having=EMBEDDER) == {ada, bob}
        assert reader.count_lacking("default", EMBEDDER, having=OTHER_EMBEDDER) == 0


def test_templates_hang_on_the_same_faces_and_never_twice(store, people):
    ada, bob, made = people
    (second,) = hang(store, 2)
    with store.reading() as reader:
        assert [one.template_id for one in reader.faces_lacking("default", OTHER_EMBEDDER, having=EMBEDDER)] == [made[0], made[2]]
        assert reader.people_without("default", OTHER_EMBEDDER, having=EMBEDDER) == {bob}
        assert reader.templates_of_face(second) == reader.templates_of_face(made[1]) == (made[1], second)
        assert reader.templates_of_face(4711) == ()
        changes = reader.changes_since("default", 3)
        assert [(one.template_id, one.kind) for one in changes] == [(second, ChangeKind.ADD)]
        assert np.array_equal(reader.template_batch([second], OTHER_EMBEDDER).vectors[0], vector(0))
        assert reader.face_summaries([ada])[ada].n_faces == 2
    with store.writing() as writer:
        faces = [one.face_id for one in writer.faces_lacking("default", "third@000000000000", having=EMBEDDER)]
        given = [(key, vector(n)) for n, key in enumerate((*faces, 4711))]
        assert len(writer.add_templates("default", OTHER_EMBEDDER, given, enrolled_at=NOW)) == 2
        assert writer.add_templates("default", OTHER_EMBEDDER, given, enrolled_at=NOW) == ()
        assert writer.collection("default").revision == 6
        writer.ensure_collection("else")
        assert writer.add_templates("else", "third@000000000000", given, enrolled_at=NOW) == ()


def test_the_former_templates_are_forgotten_of_those_who_have_the_new(store, people):
    _, bob, made = people
    (second,) = hang(store, 2)
    with store.writing() as writer:
        assert writer.remove_templates_of("default", EMBEDDER, of_people_with=OTHER_EMBEDDER, limit=1) == 1
        assert writer.templates_of_face(made[0]) == ()  # the face has no other template: it is gone with its photograph
        assert writer.faces_of_image("default", "d1", EMBEDDER) == ()
        assert writer.remove_templates_of("default", EMBEDDER, of_people_with=OTHER_EMBEDDER, limit=10) == 1
        assert writer.remove_templates_of("default", EMBEDDER, of_people_with=OTHER_EMBEDDER, limit=10) == 0
        assert writer.templates_of_face(second) == (second,)
        assert [one.template_id for one in writer.templates_of(bob)] == [made[2]]
        assert [one.kind for one in writer.changes_since("default", 4)] == [ChangeKind.REMOVE] * 2
        assert writer.remove_templates_of("default", EMBEDDER, limit=10) == 1
        assert writer.embedder_counts("default") == {OTHER_EMBEDDER: 1}
