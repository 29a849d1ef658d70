"""The numbers that lists of people show, from every kind of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from facesearch.core.identity import FaceSummary, Keep, KeptPicture
from facesearch.store.sql import SqlStore
from tests.store_builders import new_face

PICTURE = KeptPicture(Keep.CROP, b"jpeg", ((1.0, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.0)), (0.0, 0.0, 4.0, 4.0))


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    made = SqlStore(store_url)
    yield made
    made.close()


def test_people_are_summed_up_by_face_with_their_oldest_picture(store: SqlStore) -> None:
    with store.writing() as writer:
        writer.add_collection("people")
        ada, bob, nobody = (writer.add_identity("people", label).identity_id for label in ("Ada", "Bob", "Nobody"))
        writer.add_face(ada, new_face(1))
        second = writer.add_face(ada, new_face(2, kept=PICTURE)).template_id
        writer.add_face(ada, new_face(3, kept=PICTURE))
        writer.add_face(ada, new_face(3, kept=PICTURE, embedder_id="other@000000000000"))  # the same face, another embedder
        writer.add_face(bob, new_face(4))
    with store.reading() as reader:
        found = reader.face_summaries([ada, bob, nobody, 10**9])
        slow = {
            who: FaceSummary(len({one.provenance.image_digest for one in reader.templates_of(who)}), pictured)
            for who, pictured in ((ada, second), (bob, None))
        }
    assert found == slow
    assert found[ada].n_faces == 3
    with store.reading() as reader:
        assert reader.face_summaries([]) == {}
        assert len(reader.face_summaries(range(1, 3000))) >= 2
