"""Many at once: what the store's batch calls promise is what their single twins do, on each database."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facesearch.core.errors import InputError, LabelTakenError, UnknownIdentityError
from facesearch.core.identity import NewFace
from tests.store_builders import EMBEDDER, OTHER_EMBEDDER, new_face, picture

N_FACES = 40


def faces_of(seed: int) -> list[NewFace]:
    """Return faces, some of them of one photograph, of one photograph under two names, kept and equal in all but the embedder."""
    rng = np.random.default_rng(seed)
    faces = []
    for number in range(N_FACES):
        digest = f"{int(rng.integers(25)):064x}"
        source = f"{digest[-2:]}-{int(rng.integers(2))}.jpg"
        faces.append(new_face(number, digest=digest, source=source, kept=picture(number) if number % 3 == 0 else None))
    return faces


def everything(store) -> dict[str, object]:
    """Return what can be read of the default collection, but the moments of its people."""
    with store.reading() as reader:
        people = reader.identities("default")
        templates = {one.label: reader.templates_of(one.identity_id) for one in people}
        return {
            "people": [(one.label, one.tags) for one in people],
            "templates": {
                label: [
                    (one.template.embedder_id, one.template.vector.tolist(), one.provenance.image_digest, one.provenance.source)
                    for one in own
                ]
                for label, own in templates.items()
            },
            "boxes": {label: [one.provenance.detection.box for one in own] for label, own in templates.items()},
            "pictures": {label: [reader.picture_of(one.template_id) for one in own] for label, own in templates.items()},
            "order": np.argsort([one.template_id for own in templates.values() for one in own]).tolist(),
            "revision": reader.collection("default").revision,
            "changes": [change.kind for change in reader.changes_since("default", 0) or ()],
        }


@pytest.mark.parametrize("has_other_embedder", [False, True])
def test_many_faces_are_stored_as_one_after_the_other(store, has_other_embedder: bool):
    faces = faces_of(1)
    owners = [f"P{number % 5}" for number in range(N_FACES)]
    states = []
    for is_bulk in (False, True):
        with store.writing() as writer:
            people = {label: writer.add_identity("default", label).identity_id for label in sorted(set(owners))}
            if has_other_embedder:  # the same faces, known by another network before: their rows are used again
                for label, face in list(zip(owners, faces, strict=True))[::2]:
                    writer.add_face(people[label], replace(face, template=replace(face.template, embedder_id=OTHER_EMBEDDER)))
            pairs = [(people[label], face) for label, face in zip(owners, faces, strict=True)]
            stored = writer.add_faces(pairs) if is_bulk else tuple(writer.add_face(*pair) for pair in pairs)
        assert [one.identity_id for one in stored] == [owner for owner, _ in pairs]
        assert [one.template_id for one in stored] == sorted(one.template_id for one in stored)
        with store.reading() as reader:
            for one, label in zip(stored, owners, strict=True):
                again = next(own for own in reader.templates_of(people[label]) if own.template_id == one.template_id)
                np.testing.assert_array_equal(again.template.vector, one.template.vector)
                assert (again.provenance.source, again.provenance.enrolled_at) == (
                    one.provenance.source,
                    one.provenance.enrolled_at,
                )
        states.append(everything(store))
        with store.writing() as writer:
            writer.remove_collection("default")
            writer.add_collection("default")
    assert len(states[0]["templates"]) == 5
    assert states[0] == states[1]


def test_no_faces_change_nothing(store):
    with store.writing() as writer:
        assert writer.add_faces([]) == ()
        assert writer.collection("default").revision == 0


def test_one_face_that_cannot_be_stored_stores_none(store):
    with store.writing() as writer:
        person = writer.add_identity("default", "Ada").identity_id
        good, bad = new_face(1), new_face(2)
        bad = replace(bad, provenance=replace(bad.provenance, quality={"blur": float("nan")}))
        with pytest.raises(InputError, match="blur"):
            writer.add_faces([(person, good), (person, bad)])
        with pytest.raises(UnknownIdentityError, match="999"):
            writer.add_faces([(person, good), (999, new_face(3))])
        with pytest.raises(InputError, match="one embedder"):
            writer.add_faces([(person, good), (person, new_face(4, embedder_id=OTHER_EMBEDDER))])
        assert writer.templates_of(person) == ()
        assert len(writer.add_faces([(person, good)])) == 1


def test_many_people_are_added_at_once(store):
    with store.writing() as writer:
        writer.add_identity("default", "Bob")
        made = writer.add_identities("default", [("Zoë", ("b", "a")), ("Ada", ())])
        assert [(one.label, one.tags) for one in made] == [("Zoë", ("a", "b")), ("Ada", ())]
        for people in ([("Eve", ()), ("Bob", ())], [("Eve", ()), ("Eve", ())]):
            with pytest.raises(LabelTakenError):
                writer.add_identities("default", people)
        assert [one.label for one in writer.identities("default")] == ["Ada", "Bob", "Zoë"]
        assert writer.add_identities("default", []) == ()
        assert writer.identities_by_label("default", ["Ada", "nobody", "Zoe\u0308"]) == {"Ada": made[1], "Zoë": made[0]}


def test_many_photographs_and_people_are_looked_up_at_once(store):
    faces = faces_of(2)
    with store.writing() as writer:
        people = [one.identity_id for one in writer.add_identities("default", [(f"P{n}", ()) for n in range(4)])]
        writer.add_faces([(people[number % 4], face) for number, face in enumerate(faces)])
        writer.add_face(people[0], new_face(99, embedder_id=OTHER_EMBEDDER))
    digests = {face.provenance.image_digest for face in faces}
    with store.reading() as reader:
        expected = {digest: reader.faces_of_image("default", digest, EMBEDDER) for digest in digests}
        assert len(expected) > 10
        assert reader.faces_of_images("default", [*digests, "f" * 64], EMBEDDER) == expected
        batch = reader.template_batch_of(people[:2], EMBEDDER)
        own = [one for key in people[:2] for one in reader.templates_of(key) if one.template.embedder_id == EMBEDDER]
        assert batch.template_ids.tolist() == [one.template_id for one in own]
        assert batch.identity_ids.tolist() == [one.identity_id for one in own]
        np.testing.assert_array_equal(batch.vectors, [one.template.vector for one in own])
        assert len(reader.template_batch_of([], EMBEDDER)) == 0
