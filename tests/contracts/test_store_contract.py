"""What every identity store promises, on each database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from facesearch.core.errors import (
    EnrollmentError,
    InputError,
    LabelError,
    LabelTakenError,
    StoreError,
    UnknownCollectionError,
    UnknownIdentityError,
)
from facesearch.core.identity import ChangeKind, GalleryChange, Keep
from facesearch.core.protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.store.sql import SqlStore
from tests.store_builders import DIM, EMBEDDER, ENROLLED_AT, OTHER_EMBEDDER, new_face, picture, vector


def enroll(
    store: IdentityStore, label: str, *seeds: int, tags: tuple[str, ...] = (), collection: str = "default"
) -> tuple[int, list[int]]:
    with store.writing() as writer:
        identity = writer.add_identity(collection, label, tags)
        return identity.identity_id, [writer.add_face(identity.identity_id, new_face(seed)).template_id for seed in seeds]


def kinds(changes: tuple[GalleryChange, ...] | None) -> list[tuple[int, ChangeKind]]:
    assert changes is not None
    return [(change.template_id, change.kind) for change in changes]


def test_it_is_an_identity_store(store):
    as_store: IdentityStore = store
    with as_store.reading() as reader:
        as_reader: StoreReader = reader
        assert as_reader.counts("default") == (0, 0)
    with as_store.writing() as writer:
        as_writer: StoreWriter = writer
        assert as_writer.ensure_collection("default").revision == 0


def test_a_face_reads_back_as_it_was_stored(store):
    face = new_face(7, kept=picture(7))
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada", ["maths", "club", "maths"])
        added = writer.add_face(ada.identity_id, face)
    with store.reading() as reader:
        assert reader.identity("default", "Ada") == ada
        (found,) = reader.templates_of(ada.identity_id)
        kept = reader.picture_of(found.template_id)
    assert ada.tags == ("club", "maths")
    assert (found.template_id, found.identity_id) == (added.template_id, ada.identity_id)
    assert found.template.embedder_id == EMBEDDER
    np.testing.assert_array_equal(found.template.vector, face.template.vector)
    assert not found.template.vector.flags.writeable
    told, given = found.provenance, face.provenance
    assert (told.image_digest, told.source, dict(told.quality)) == (given.image_digest, given.source, dict(given.quality))
    assert told.detection.box == given.detection.box
    assert told.detection.score == given.detection.score
    np.testing.assert_array_equal(told.detection.landmarks, given.detection.landmarks)
    assert told.enrolled_at == ENROLLED_AT
    assert told.enrolled_at.tzinfo == UTC
    assert kept == face.picture


def test_times_keep_their_moment_and_those_without_a_zone_are_refused(store):
    tokyo = datetime(2024, 3, 1, 8, 59, 58, 123456, tzinfo=timezone(timedelta(hours=9)))
    with store.writing() as writer:
        writer.add_identity("default", "Imported", enrolled_at=tokyo)
        with pytest.raises(InputError, match="time zone"):
            writer.add_identity("default", "Naive", enrolled_at=datetime(2024, 3, 1))
    before = datetime.now(UTC)
    enroll(store, "Now")
    with store.reading() as reader:
        assert reader.identity("default", "Imported").enrolled_at == ENROLLED_AT
        assert before <= reader.identity("default", "Now").enrolled_at <= datetime.now(UTC)
        assert reader.counts("default") == (2, 0)


def test_labels_of_any_script_are_kept(store):
    labels = ["Zoë/été", "王小明", "👩‍🔬", "O'Brien; DROP TABLE identities", "100%_\\", "ﬀ", "x" * 200]
    ids = [enroll(store, label, 1)[0] for label in labels]
    with store.reading() as reader:
        assert [reader.identity("default", label).identity_id for label in labels] == ids
        assert [[one.label for one in reader.identities("default", contains=label)] for label in labels] == [
            [one] for one in labels
        ]


def test_a_label_is_found_in_any_normal_form(store):
    identity_id, _ = enroll(store, "Zoe\u0308", 1)
    with store.reading() as reader:
        assert reader.identity("default", "Zo\u00eb").identity_id == identity_id


def test_bad_labels_are_refused(store):
    with store.writing() as writer:
        for label in ("", "  ", "a\0b", "x" * 10_000, "\ud800"):
            with pytest.raises(LabelError):
                writer.add_identity("default", label)
    with store.reading() as reader:
        assert reader.counts("default") == (0, 0)


def test_a_taken_label_is_refused_and_the_transaction_goes_on(store):
    enroll(store, "Ada", 1)
    with store.writing() as writer:
        grace = writer.add_identity("default", "Grace")
        with pytest.raises(LabelTakenError, match="Ada"):
            writer.add_identity("default", "Ada")
        with pytest.raises(LabelTakenError, match="Ada"):
            writer.rename_identity(grace.identity_id, "Ada")
        with pytest.raises(LabelTakenError, match="default"):
            writer.add_collection("default")
        writer.add_collection("other")
        writer.add_identity("other", "Ada")
        assert writer.rename_identity(grace.identity_id, "Grace") == grace
        renamed = writer.rename_identity(grace.identity_id, "Grace H.")
    with store.reading() as reader:
        assert reader.identity("default", "Grace H.") == renamed
        with pytest.raises(UnknownIdentityError, match="Grace"):
            reader.identity("default", "Grace")
        assert [one.name for one in reader.collections()] == ["default", "other"]
        uids = {one.uid for one in reader.collections()}
        assert len(uids) == 2
        assert {len(uid) for uid in uids} == {32}


def test_what_is_unknown_is_an_error(store):
    with store.writing() as writer:
        for ask in (
            lambda: writer.collection("nowhere"),
            lambda: writer.identity("nowhere", "Ada"),
            lambda: writer.identities("nowhere"),
            lambda: writer.counts("nowhere"),
            lambda: writer.embedder_counts("nowhere"),
            lambda: writer.faces_of_image("nowhere", "0", EMBEDDER),
            lambda: writer.template_batches("nowhere", EMBEDDER),
            lambda: writer.changes_since("nowhere", 0),
            lambda: writer.add_identity("nowhere", "Ada"),
            lambda: writer.remove_collection("nowhere"),
            lambda: writer.prune_changes("nowhere", 1),
        ):
            with pytest.raises(UnknownCollectionError, match="nowhere"):
                ask()
        for change in (
            lambda: writer.rename_identity(4711, "Ada"),
            lambda: writer.set_tags(4711, ["a"]),
            lambda: writer.add_face(4711, new_face(1)),
            lambda: writer.remove_identity(4711),
            lambda: writer.merge_identities(4711, 4712),
            lambda: writer.move_template(4711, 4712),
            lambda: writer.remove_template(4711),
        ):
            with pytest.raises(UnknownIdentityError, match="4711"):
                change()
        assert writer.identities_by_id([4711]) == {}
        assert writer.templates_of(4711) == ()
        assert writer.picture_of(4711) is None


def test_identities_come_in_code_point_order_and_in_pages(store):
    labels = ["a", "B", "b", "Z", "é", "z", "_", "%", "王", "😀", "ab", "a b", "ａ"]
    for label in labels:
        enroll(store, label)
    with store.reading() as reader:
        assert [one.label for one in reader.identities("default")] == sorted(labels)
        pages, after = [], ""
        while page := reader.identities("default", after=after, limit=4):
            pages.append(len(page))
            after = page[-1].label
        assert pages == [4, 4, 4, 1]
        assert after == sorted(labels)[-1]
        assert reader.identities("default", limit=0) == ()
        with pytest.raises(ValueError, match="-1"):
            reader.identities("default", limit=-1)


def test_contains_ignores_case_and_takes_wildcards_literally(store):
    for label in ["ÉTÉ 1", "été 2", "Straße", "100%", "1000", "a_b", "axb", "ΑΣ"]:
        enroll(store, label)
    with store.reading() as reader:

        def found(text: str) -> list[str]:
            return [one.label for one in reader.identities("default", contains=text)]

        assert found("Été") == ["ÉTÉ 1", "été 2"]
        assert found("STRASSE") == ["Straße"]
        assert found("0%") == ["100%"]
        assert found("A_B") == ["a_b"]
        assert found("ας") == ["ΑΣ"]
        assert found("\0") == []
        assert [one.label for one in reader.identities("default", contains="É", limit=1, after="ÉTÉ 1")] == ["été 2"]


def test_tags_select_identities_that_carry_all_of_them(store):
    enroll(store, "1", tags=("red", "green"))
    enroll(store, "2", tags=("red",))
    enroll(store, "3", tags=("RED", "green"))
    enroll(store, "4", tags=("dark red", 'quo"te', "naïve", "50%"))
    with store.reading() as reader:

        def carrying(*tags: str) -> list[str]:
            return [one.label for one in reader.identities("default", tags=tags)]

        assert carrying("red") == ["1", "2"]
        assert carrying("green", "red") == ["1"]
        assert carrying("RED") == ["3"]
        assert carrying('quo"te', "naïve") == ["4"]
        assert carrying("50%") == ["4"]
        assert carrying("5_%") == []
    with store.writing() as writer:
        two = writer.identity("default", "2")
        assert writer.set_tags(two.identity_id, ["blue"]).tags == ("blue",)
    with store.reading() as reader:
        assert [one.label for one in reader.identities("default", tags=["red"])] == ["1"]


def test_several_templates_hang_on_one_face_and_one_photograph(store):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        bob = writer.add_identity("default", "Bob").identity_id
        first = writer.add_face(ada, new_face(1, digest="d", kept=picture(1)))
        again = writer.add_face(ada, new_face(1, digest="d", kept=picture(1), embedder_id=OTHER_EMBEDDER))
        beside = writer.add_face(bob, new_face(2, digest="d", source="same file, other name"))
    with store.reading() as reader:
        assert len({first.template_id, again.template_id, beside.template_id}) == 3
        assert reader.faces_of_image("default", "d", EMBEDDER) == (
            (first.template_id, "Ada", first.provenance.detection.box),
            (beside.template_id, "Bob", beside.provenance.detection.box),
        )
        assert [one[0] for one in reader.faces_of_image("default", "d", OTHER_EMBEDDER)] == [again.template_id]
        assert reader.faces_of_image("default", "e", EMBEDDER) == ()
        assert reader.picture_of(again.template_id) == picture(1)
        assert reader.picture_of(beside.template_id) is None
        assert [one.provenance.source for one in reader.templates_of(bob)] == ["same file, other name"]
        assert reader.counts("default") == (2, 3)
        assert reader.counts("default", OTHER_EMBEDDER) == (2, 1)
        assert reader.embedder_counts("default") == {EMBEDDER: 2, OTHER_EMBEDDER: 1}
    with store.writing() as writer:
        writer.remove_template(first.template_id)
        assert writer.picture_of(again.template_id) == picture(1)
        assert [one.template_id for one in writer.templates_of(ada)] == [again.template_id]


def test_equal_faces_with_other_pictures_keep_their_own(store):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        bare = writer.add_face(ada, new_face(1)).template_id
        kept = writer.add_face(ada, new_face(1, kept=picture(5, kind=Keep.PHOTO), embedder_id=OTHER_EMBEDDER)).template_id
    with store.reading() as reader:
        assert reader.picture_of(bare) is None
        assert reader.picture_of(kept) == picture(5, kind=Keep.PHOTO)


def test_every_change_raises_the_revision_and_is_remembered(store):
    ada, (a1, a2) = enroll(store, "Ada", 1, 2)
    bob, (b1,) = enroll(store, "Bob", 3)
    with store.writing() as writer:
        assert writer.merge_identities(ada, bob) == (a1, a2)
        writer.remove_template(a1)
        assert writer.remove_identity(bob, erase=True) == (a2, b1)
    with store.reading() as reader:
        changes = reader.changes_since("default", 0)
        assert reader.collection("default").revision == 8
        assert changes is not None
        assert [change.revision for change in changes] == list(range(1, 9))
        assert kinds(changes) == [
            *((a1, ChangeKind.ADD), (a2, ChangeKind.ADD), (b1, ChangeKind.ADD)),
            *((a1, ChangeKind.MOVE), (a2, ChangeKind.MOVE), (a1, ChangeKind.REMOVE)),
            *((a2, ChangeKind.ERASE), (b1, ChangeKind.ERASE)),
        ]
        assert reader.changes_since("default", 6) == changes[6:]
        assert reader.changes_since("default", 8) == ()
        assert reader.changes_since("default", 9) is None


def test_pruned_history_is_told_apart_from_no_changes(store):
    enroll(store, "Ada", 1, 2, 3)
    with store.writing() as writer:
        writer.prune_changes("default", 2)
    with store.reading() as reader:
        assert reader.changes_since("default", 0) is None
        assert reader.changes_since("default", 1) is None
        assert [change.revision for change in reader.changes_since("default", 2) or ()] == [3]
        assert reader.changes_since("default", 3) == ()
    with store.writing() as writer:
        writer.prune_changes("default", 3)
        assert writer.changes_since("default", 2) is None
        assert writer.changes_since("default", 3) == ()


def test_merging_unites_templates_and_tags(store):
    ada, moved = enroll(store, "Ada", 1, 2, tags=("x", "y"))
    bob, own = enroll(store, "Bob", 3, tags=("y", "z"))
    enroll(store, "Cyd", 4)
    with store.writing() as writer:
        writer.merge_identities(ada, bob)
    with store.reading() as reader:
        assert [one.label for one in reader.identities("default")] == ["Bob", "Cyd"]
        assert reader.identity("default", "Bob").tags == ("x", "y", "z")
        assert [one.template_id for one in reader.templates_of(bob)] == [*moved, *own]
        batch = reader.template_batch(moved, EMBEDDER)
        assert batch.identity_ids.tolist() == [bob, bob]


def test_merging_with_oneself_or_across_collections_is_refused(store):
    ada, _ = enroll(store, "Ada", 1)
    with store.writing() as writer:
        writer.add_collection("other")
    eve, _ = enroll(store, "Eve", 2, collection="other")
    with store.writing() as writer:
        with pytest.raises(EnrollmentError, match="itself"):
            writer.merge_identities(ada, ada)
        with pytest.raises(EnrollmentError, match="one collection"):
            writer.merge_identities(ada, eve)


def test_moving_a_face_takes_all_its_templates_and_its_picture_along(store):
    ada, (own, a1) = enroll(store, "Ada", 9, 1)
    with store.writing() as writer:
        a2 = writer.add_face(ada, new_face(1, embedder_id=OTHER_EMBEDDER)).template_id
        a3 = writer.add_face(ada, new_face(2, kept=picture(2))).template_id
    bob, (b1,) = enroll(store, "Bob", 3)
    with store.writing() as writer:
        assert writer.move_template(a2, bob) == (a1, a2)
        assert writer.move_template(a3, bob) == (a3,)
        assert writer.move_template(b1, bob) == ()
    with store.reading() as reader:
        assert [one.template_id for one in reader.templates_of(ada)] == [own]
        assert [one.template_id for one in reader.templates_of(bob)] == [a1, a2, a3, b1]
        assert reader.picture_of(a3) == picture(2)
        assert kinds(reader.changes_since("default", 5)) == [(one, ChangeKind.MOVE) for one in (a1, a2, a3)]
        assert reader.collection("default").revision == 8


def test_moving_to_another_collection_or_to_nobody_is_refused(store):
    _, (a1,) = enroll(store, "Ada", 1)
    with store.writing() as writer:
        writer.add_collection("other")
    eve, _ = enroll(store, "Eve", 2, collection="other")
    with store.writing() as writer:
        with pytest.raises(EnrollmentError, match="within its collection"):
            writer.move_template(a1, eve)
        with pytest.raises(UnknownIdentityError, match="4712"):
            writer.move_template(a1, 4712)
        assert writer.collection("default").revision == 1


def test_removing_leaves_nothing_of_the_person_and_everything_of_others(store):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        bob = writer.add_identity("default", "Bob").identity_id
        gone = [
            writer.add_face(ada, new_face(seed, digest=digest, kept=picture(seed))).template_id
            for seed, digest in [(1, "own"), (2, "both")]
        ]
        stays = writer.add_face(bob, new_face(3, digest="both", kept=picture(3))).template_id
        assert writer.remove_identity(ada) == tuple(gone)
    with store.reading() as reader:
        assert [one.label for one in reader.identities("default")] == ["Bob"]
        assert [reader.picture_of(one) for one in gone] == [None, None]
        assert reader.picture_of(stays) == picture(3)
        assert reader.template_batch([*gone, stays], EMBEDDER).template_ids.tolist() == [stays]
        assert row_counts(store) == {
            "collections": 1,
            "identities": 1,
            "images": 1,
            "faces": 1,
            "templates": 1,
            "pictures": 1,
            "gallery_changes": 5,
            "operating_points": 0,
            "calibrations": 0,
            "feedback": 0,
            "videos": 0,
            "video_tracks": 0,
            "embedder_uses": 0,
            **dict.fromkeys(SERVICE_TABLES, 0),
        }


def test_removing_a_template_removes_its_face_and_photograph_but_not_the_person(store):
    ada, (only,) = enroll(store, "Ada", 1)
    with store.writing() as writer:
        writer.remove_template(only)
        assert writer.identity("default", "Ada").identity_id == ada
        assert writer.counts("default") == (1, 0)
    counts = row_counts(store)
    assert (counts["images"], counts["faces"], counts["templates"]) == (0, 0, 0)


def test_removing_a_collection_removes_everything_in_it(store):
    with store.writing() as writer:
        writer.add_collection("other")
    enroll(store, "Ada", 1, 2, collection="other")
    enroll(store, "Ada", 3)
    with store.writing() as writer:
        old = writer.collection("other")
        writer.remove_collection("other")
    assert row_counts(store) == {
        "collections": 1,
        "identities": 1,
        "images": 1,
        "faces": 1,
        "templates": 1,
        "pictures": 0,
        "gallery_changes": 1,
        "operating_points": 0,
        "calibrations": 0,
        "feedback": 0,
        "videos": 0,
        "video_tracks": 0,
        "embedder_uses": 0,
        **dict.fromkeys(SERVICE_TABLES, 0),
    }
    with store.writing() as writer:
        anew = writer.add_collection("other")
    assert anew.collection_id > old.collection_id
    assert anew.uid != old.uid
    assert anew.revision == 0


SERVICE_TABLES = ("api_keys", "rate_buckets", "idempotency_keys", "audit_log", "jobs", "job_items")


def row_counts(store: SqlStore) -> dict[str, int]:
    from sqlalchemy import func, select

    from facesearch.store.tables import Base

    with store.reading() as reader:
        return {
            table.name: int(reader._session.rows(select(func.count()).select_from(table))[0][0])
            for table in Base.metadata.sorted_tables
        }


def test_ids_are_never_used_again(store):
    ada, templates = enroll(store, "Ada", 1, 2)
    with store.writing() as writer:
        writer.remove_identity(ada)
    anew, others = enroll(store, "Ada", 1, 2)
    assert anew > ada
    assert min(others) > max(templates)


def test_batches_hold_every_template_once_in_order(store):
    people = {enroll(store, f"p{seed}", seed)[0]: seed for seed in range(23)}
    with store.writing() as writer:
        writer.add_face(next(iter(people)), new_face(99, embedder_id=OTHER_EMBEDDER, dim=8))
        writer.remove_identity(writer.identity("default", "p10").identity_id)
    with store.reading() as reader:
        for size in (1, 5, 11, 22, 100):
            batches = list(reader.template_batches("default", EMBEDDER, size=size))
            assert [len(batch) for batch in batches] == [size] * (22 // size) + [22 % size] * (22 % size > 0)
            ids = np.concatenate([batch.template_ids for batch in batches])
            owners = np.concatenate([batch.identity_ids for batch in batches])
            vectors = np.concatenate([batch.vectors for batch in batches])
            assert (np.diff(ids) > 0).all()
            assert vectors.shape == (22, DIM)
            np.testing.assert_array_equal(vectors, np.stack([vector(people[int(owner)]) for owner in owners]))
        assert [len(batch) for batch in reader.template_batches("default", OTHER_EMBEDDER)] == [1]
        assert list(reader.template_batches("default", "nobody@000000000000")) == []
        with pytest.raises(ValueError, match="0"):
            reader.template_batches("default", EMBEDDER, size=0)


def test_a_batch_of_named_templates_leaves_out_what_is_gone_or_of_another_embedder(store):
    _, ids = enroll(store, "Ada", *range(30))
    with store.writing() as writer:
        ada = writer.identity("default", "Ada").identity_id
        other = writer.add_face(ada, new_face(50, embedder_id=OTHER_EMBEDDER)).template_id
        writer.remove_template(ids[3])
    with store.reading() as reader:
        batch = reader.template_batch([other, *reversed(ids), 4711, *ids, *range(100_000, 101_000)], EMBEDDER)
        assert batch.template_ids.tolist() == ids[:3] + ids[4:]
        assert len(reader.template_batch([], EMBEDDER)) == 0
        assert len(reader.template_batch([4711], EMBEDDER)) == 0


def test_an_error_in_the_block_rolls_everything_back(store):
    def half_enroll() -> None:
        with store.writing() as writer:
            ada = writer.add_identity("default", "Ada")
            writer.add_face(ada.identity_id, new_face(1))
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        half_enroll()
    with store.reading() as reader:
        assert reader.counts("default") == (0, 0)
        assert reader.collection("default").revision == 0


def test_values_that_cannot_be_stored_are_refused(store):
    with pytest.raises(InputError), store.writing() as writer:
        writer.faces_of_image("default", "\ud800", EMBEDDER)
    face = new_face(1)
    bad = type(face)(face.template, type(face.provenance)("d", "s", face.provenance.detection, ENROLLED_AT, {"blur": float("nan")}))
    with pytest.raises(InputError, match="blur"), store.writing() as writer:
        writer.add_face(writer.add_identity("default", "Ada").identity_id, bad)
    with pytest.raises(InputError, match="crop"), store.writing() as writer:
        writer.add_face(writer.add_identity("default", "Ada").identity_id, new_face(1, kept=picture(1, kind=Keep.NONE)))
    with store.reading() as reader:
        assert reader.counts("default") == (0, 0)


def test_a_file_name_that_is_no_text_is_kept_as_far_as_it_is_one(store):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        writer.add_face(ada, new_face(1, source="caf\udce9.jpg"))
        writer.add_face(ada, new_face(2, source="a\0b" + "x" * 5_000))
    with store.reading() as reader:
        assert [one.provenance.source for one in reader.templates_of(ada)] == ["caf?.jpg", "a?b" + "x" * 5_000]


def test_a_reader_keeps_its_picture_while_others_write(store):
    enroll(store, "Ada", 1)
    with store.reading() as reader:
        assert reader.counts("default") == (1, 1)
        thread = threading.Thread(target=enroll, args=(store, "Bob", 2))
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive()
        assert reader.counts("default") == (1, 1)
        assert [len(batch) for batch in reader.template_batches("default", EMBEDDER)] == [1]
    with store.reading() as reader:
        assert reader.counts("default") == (2, 2)


def test_threads_take_turns_and_lose_nothing(store):
    failures: list[Exception] = []

    def work(name: str) -> None:
        try:
            for number in range(8):
                with store.writing() as writer:
                    before = writer.counts("default")[0]
                    identity = writer.add_identity("default", f"{name}-{number}")
                    writer.add_face(identity.identity_id, new_face(number))
                    assert writer.counts("default")[0] == before + 1
        except Exception as exc:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.reading() as reader:
        assert reader.counts("default") == (32, 32)
        assert len(reader.changes_since("default", 0) or ()) == 32


def test_a_writer_waits_for_another_and_gives_up_after_the_busy_timeout(store, store_url):
    impatient = SqlStore(store_url, busy_timeout_s=0.2)
    with impatient.reading() as reader:
        assert reader.counts("default") == (0, 0)
    with store.writing() as writer:
        writer.add_identity("default", "Ada")
        with pytest.raises(StoreError, match="stayed locked"), impatient.writing():
            pytest.fail("two writers at once")
    with impatient.writing() as writer:
        writer.add_identity("default", "Bob")
        assert writer.counts("default") == (2, 0)
    impatient.close()


def test_a_transaction_that_ended_answers_no_more(store):
    with store.reading() as reader:
        batches = reader.template_batches("default", EMBEDDER)
    with pytest.raises(StoreError, match="ended"):
        reader.counts("default")
    with pytest.raises(StoreError, match="ended"):
        list(batches)


def test_several_may_scrub_at_once(store):
    with store.writing() as writer:
        writer.ensure_collection("default")

    def change_and_scrub(number: int) -> None:
        for step in range(12):
            with store.writing() as writer:
                writer.add_identity("default", f"{number} {step}")
            store.scrub()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change_and_scrub, range(8)))
    with store.reading() as reader:
        assert len(reader.identities("default")) == 96


def test_scrubbing_and_closing_keep_what_is_enrolled(store):
    ada, _ = enroll(store, "Ada", 1)
    enroll(store, "Bob", 2)
    with store.writing() as writer:
        writer.remove_identity(ada)
    store.scrub()
    store.close()
    store.close()
    with store.reading() as reader:
        assert [one.label for one in reader.identities("default")] == ["Bob"]
