"""A gallery moved from one embedder to another while it is searched: re-embedded, verified, switched, taken back."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.embedder_use import EmbedderUse
from facesearch.core.errors import (
    IncompatibleTemplatesError,
    InputError,
    MigrationError,
    OperatingPointError,
    TemplateFormatError,
)
from facesearch.core.template import TemplateBatch
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.service import migration_copy
from facesearch.service.facade import FaceSearchService
from tests.migration_world import NEW, OLD, THIRD, TwoModels
from tests.world import DIM, World, face_at, person_vector

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def two(tmp_path):
    models = TwoModels(tmp_path / "data", tmp_path / "photos")
    yield models
    models.close()


def templates(models):
    """Return every template as (label, embedder, digest, vector), sorted."""
    with models.store.reading() as reader:
        found = [
            (person.label, one.template.embedder_id, one.provenance.image_digest, one.template.vector.tobytes())
            for person in reader.identities("default")
            for one in reader.templates_of(person.identity_id)
        ]
    return sorted(found)


def test_a_gallery_is_moved_verified_and_searched_with_the_new_embedder(two):
    two.enroll(8)
    probe = two.make(3, 99)
    before = two.faces.identify(probe)[0]
    assert (before.label, before.operating_point.embedder_id) == ("P03", OLD.embedder_id)
    told = []
    done = two.migration.to(NEW, collection="default", on_progress=lambda n, total: told.append((n, total)))
    assert (done.n_embedded, done.lost, done.left_behind) == (24, (), ())
    assert told == [(16, 24), (24, 24)]
    assert (done.verified.n_templates, len(done.verified.judged)) == (24, 8)
    assert all(one.is_found_before and one.is_found_after and one.is_itself for one in done.verified.checks)
    assert all(one.own_after == pytest.approx(one.own_before, abs=1e-5) for one in done.verified.checks)
    assert two.counts() == {OLD.embedder_id: 24, NEW.embedder_id: 24}
    assert two.current == NEW
    after = two.faces.identify(probe)[0]
    assert (after.label, after.operating_point.embedder_id, after.n_templates) == ("P03", NEW.embedder_id, 24)
    assert after.candidates[0].score == pytest.approx(before.candidates[0].score, abs=1e-5)
    assert two.faces.verify_identity(probe, "P03").is_match
    assert two.faces.verify_identity(probe, "P03").operating_point.embedder_id == NEW.embedder_id
    assert [one.label for one in two.faces.search(probe, 1)[0].candidates] == ["P03"]
    assert [one.faces[0].label for one in two.faces.identify_many([probe])] == ["P03"]
    found = two.faces.find_faces(probe)  # found before anybody said in which collection
    assert found[0].template.embedder_id == OLD.embedder_id
    assert two.faces.identify(found)[0].label == "P03"
    (status,) = two.faces.index_status()
    assert (status.n_indexed, status.is_in_step) == (24, True)


def test_what_is_enrolled_after_the_switch_is_of_the_new_embedder(two):
    two.enroll(3)
    two.migration.to(NEW, collection="default")
    made = two.faces.enroll(two.make(9, 0), "P09")
    assert made.template.template.embedder_id == NEW.embedder_id
    assert two.who(two.make(9, 1)) == "P09"
    two.faces.enroll(two.make(4, 0), "P04", collection="another")  # a new collection is of the settings' embedder
    with two.store.reading() as reader:
        assert reader.embedder_counts("another") == {OLD.embedder_id: 1}


def test_it_is_taken_back_with_what_was_enrolled_since(two):
    two.enroll(4)
    before = templates(two)
    two.migration.to(NEW, collection="default")
    two.faces.enroll(two.make(9, 0), "P09")
    back = two.migration.back(collection="default")
    assert (two.current, back.n_embedded, back.lost) == (OLD, 1, ())
    assert two.who(two.make(9, 1)) == "P09"
    assert two.faces.identify(two.make(2, 50))[0].operating_point.embedder_id == OLD.embedder_id
    assert [one for one in templates(two) if one[1] == OLD.embedder_id and one[0] != "P09"] == before
    again = two.migration.to(NEW, collection="default")
    assert (again.n_embedded, two.current) == (0, NEW)
    assert two.migration.forget_former(collection="default") == 13
    assert two.counts() == {NEW.embedder_id: 13}
    with pytest.raises(MigrationError, match="no former embedder"):
        two.migration.back(collection="default")
    assert two.who(two.make(2, 51)) == "P02"


def test_kept_pictures_need_no_photograph(two):
    two.enroll(3, keep="crop")
    shutil.rmtree(two.photos)
    done = two.migration.to(NEW, collection="default")
    assert (done.n_embedded, done.lost) == (9, ())
    assert two.who(two.make(1, 70)) == "P01"


def test_photographs_are_found_elsewhere_by_their_content(two, tmp_path):
    two.enroll(3)
    moved = tmp_path / "moved" / "deeper"
    shutil.move(two.photos, moved)
    with pytest.raises(MigrationError, match=r"none of the 9 faces.*--photos DIR"):
        two.migration.to(NEW, collection="default")
    assert two.who(str(moved / "P01" / "0.jpg")) == "P01"
    with pytest.raises(InputError, match="no folder"):
        two.migration.to(NEW, collection="default", photos=[tmp_path / "none"])
    done = two.migration.to(NEW, collection="default", photos=[tmp_path / "moved"])
    assert (done.n_embedded, done.lost, two.current) == (9, (), NEW)


def test_people_without_photographs_are_listed_and_stay_searchable_until_removed(two):
    two.enroll(6)
    shutil.rmtree(two.photos / "P04")
    two.photo(5, 0).write_bytes(b"another picture by now")
    probe, other = two.make(4, 99), two.make(1, 99)
    two.photo(4, 99).parent.mkdir(exist_ok=True)
    done = two.migration.to(NEW, collection="default")
    assert done.left_behind == ("P04",)
    assert sorted((one.face.label, one.reason) for one in done.lost) == [*[("P04", "gone")] * 3, ("P05", "unusable")]
    assert sorted(done.lost[0].as_dict()) == sorted(
        ["label", "identity_id", "source", "image_digest", "template_id", "reason", "detail"]
    )
    left = two.faces.identify(probe)[0]
    assert (left.label, left.operating_point.embedder_id, left.n_templates) == ("P04", OLD.embedder_id, 3)
    here = two.faces.identify(other)[0]
    assert (here.label, here.operating_point.embedder_id) == ("P01", NEW.embedder_id)
    # Two searches share the rate: each is decided at half of it, and the answer says what was asked for.
    assert here.fpir == 1e-2
    assert here.operating_point.fmr == two.new.points.at_fpir(0.5e-2, 14).fmr
    assert here.operating_point.fmr < two.new.points.at_fpir(1e-2, 14).fmr
    assert two.who(two.make(7, 99)) is None
    assert two.faces.identify(probe, fmr=1e-3)[0].operating_point.fmr == 1e-3
    assert two.faces.verify_identity(probe, "P04").is_match
    assert two.faces.verify_identity(other, "P01").operating_point.embedder_id == NEW.embedder_id
    assert [one.faces[0].label for one in two.faces.identify_many([probe, other])] == ["P04", "P01"]
    assert not two.faces.verify_identity(other, "P04").is_match
    with pytest.raises(OperatingPointError):
        two.faces.identify(probe, operating_point="office")

    assert two.migration.forget_former(collection="default") == 15  # of everybody else, the lost photograph of P05 too
    assert two.counts() == {OLD.embedder_id: 3, NEW.embedder_id: 14}
    assert two.who(probe) == "P04"
    two.faces.remove("P04")
    assert two.who(probe) is None
    assert two.faces.identify(other)[0].operating_point.fmr == two.new.points.at_fpir(1e-2, 14).fmr


def test_somebody_left_behind_catches_up_by_a_new_photograph(two):
    two.enroll(3)
    shutil.rmtree(two.photos / "P02")
    two.migration.to(NEW, collection="default")
    assert two.migration.state("default").n_left_behind == 1
    two.faces.enroll(two.make(2, 10), "P02")
    assert two.migration.state("default").n_left_behind == 0
    assert two.faces.identify(two.make(2, 11))[0].operating_point.embedder_id == NEW.embedder_id


def test_removing_a_face_or_a_person_takes_both_templates(two):
    two.enroll(3)
    two.migration.to(NEW, collection="default")
    with two.store.reading() as reader:
        person = reader.identity("default", "P01").identity_id
        chosen = reader.template_batch_of((person,), NEW.embedder_id).template_ids.tolist()[0]
    two.faces.remove_face("P01", chosen)
    assert two.counts() == {OLD.embedder_id: 8, NEW.embedder_id: 8}
    two.faces.remove("P02", erase=True)
    assert two.counts() == {OLD.embedder_id: 5, NEW.embedder_id: 5}
    two.migration.back(collection="default")
    assert two.who(two.make(2, 50)) is None


def test_what_was_said_of_a_photograph_is_still_said_after_the_switch(two):
    two.enroll(3)
    probe = two.make(1, 60)
    two.faces.reject(probe, "P01", raise_threshold=True)
    assert two.who(probe) is None
    two.migration.to(NEW, collection="default")
    assert two.who(probe) is None
    # A score of the former embedder raises no threshold of the new one.
    assert all(one.floor is None for one in two.faces.identify(two.make(1, 61))[0].candidates)


def test_a_model_that_knows_nobody_is_not_switched_to(two, monkeypatch):
    two.enroll(24, 2)
    two.new.networks.blur = 1.0
    with pytest.raises(MigrationError, match=r"of 24 sampled people .* 24 are found .* --accept-worse"):
        two.migration.to(NEW, collection="default")
    assert two.current == OLD
    assert two.migration.state("default").use.is_copying
    assert two.who(two.make(3, 40)) == "P03"
    scrubbed = []
    monkeypatch.setattr(two.store, "scrub", lambda: scrubbed.append(two.counts()))
    assert two.migration.abandon(collection="default") == 48
    assert scrubbed == [{OLD.embedder_id: 48}]  # nothing of what was deleted stays in the file
    assert two.counts() == {OLD.embedder_id: 48}
    with pytest.raises(MigrationError, match="nothing to abandon"):
        two.migration.abandon(collection="default")
    assert two.migration.to(NEW, collection="default", accept_worse=True).state.use.current == NEW


def test_a_damaged_vector_stops_the_switch(two, monkeypatch):
    monkeypatch.setattr(migration_copy, "GROUP_FACES", 16)
    two.enroll(7)
    make = two.new.networks.embed

    def embed(crops):
        if len(crops) < 16:  # the second batch: the first one is stored by now
            raise RuntimeError("the machine went down")
        return make(crops)

    two.new.networks.embed = embed
    with pytest.raises(RuntimeError):
        two.migration.to(NEW, collection="default")
    two.new.networks.embed = make
    half = np.full(64, 0.0625, dtype="<f4").tobytes()
    with sqlite3.connect(two.old.folder / "gallery.db") as database:
        changed = database.execute("UPDATE templates SET vector = ? WHERE embedder_id = ? AND id % 4 = 0", (half, NEW.embedder_id))
        assert changed.rowcount == 4
    database.close()
    with pytest.raises(TemplateFormatError, match=r"has norm 0\.5, a template has unit norm"):
        two.migration.to(NEW, collection="default")
    assert two.current == OLD
    assert two.who(two.make(3, 77)) == "P03"


def swapped(index):
    """Return an index that holds the last photographs of two people under each other's ids."""
    whole = index.templates_of(range(1, 9))
    order = np.arange(len(whole))
    order[[5, 8]] = [8, 5]
    return index_of(replace(whole, vectors=whole.vectors[order]))


def lacking(index):
    """Return an index without one template."""
    whole = index.templates_of(range(1, 9))
    rows = np.arange(len(whole)) != 4
    return index_of(TemplateBatch(whole.template_ids[rows], whole.identity_ids[rows], whole.vectors[rows], NEW.embedder_id))


def index_of(batch):
    index = GalleryIndexFactory(NEW.embedder_id, DIM).empty(len(batch))
    index.add(batch, revision=10**6)
    return index


@pytest.mark.parametrize(("damaged", "told"), [(swapped, "2 of 8 .* do not find themselves"), (lacking, "holds 23 .* 24")])
def test_an_index_that_is_not_what_was_stored_stops_the_switch(two, damaged, told):
    two.enroll(8)
    synced = two.new.indexes.synced

    def damaged_synced(reader, collection):
        owner, index = synced(reader, collection)
        return owner, damaged(index)

    two.new.indexes.synced = damaged_synced
    with pytest.raises(MigrationError, match=told):
        two.migration.to(NEW, collection="default", accept_worse=True)  # worse is accepted, damage is not
    two.new.indexes.synced = synced
    assert two.current == OLD
    assert two.who(two.make(3, 77)) == "P03"
    assert two.migration.to(NEW, collection="default").n_embedded == 0


@pytest.mark.parametrize(
    "changed",
    [EmbedderUse(OLD), EmbedderUse(OLD, THIRD, is_copying=True), EmbedderUse(THIRD, NEW), EmbedderUse(NEW, OLD)],
    ids=["abandoned", "on its way elsewhere", "from elsewhere", "switched already"],
)
def test_a_collection_that_another_process_moved_before_the_switch_is_left_as_it_is(two, changed):
    two.enroll(3)
    save = two.new.indexes.save

    def save_and_move():
        save()
        with two.store.writing() as writer:
            writer.set_embedder_use("default", changed)

    two.new.indexes.save = save_and_move
    with pytest.raises(MigrationError, match="moved by somebody else meanwhile: nothing was switched"):
        two.migration.to(NEW, collection="default")
    with two.store.reading() as reader:
        assert reader.embedder_use("default") == changed


def test_a_way_begun_is_finished_or_abandoned_before_another(two):
    two.enroll(3)
    with pytest.raises(MigrationError, match="already"):
        two.migration.to(OLD, collection="default")
    two.new.networks.embed = lambda crops: (_ for _ in ()).throw(RuntimeError("the machine went down"))
    with pytest.raises(RuntimeError):
        two.migration.to(NEW, collection="default")
    del two.new.networks.embed
    with pytest.raises(MigrationError, match="--abandon"):
        two.migration.to(THIRD, collection="default")
    with pytest.raises(MigrationError, match="no former embedder"):
        two.migration.forget_former(collection="default")
    two.migration.to(NEW, collection="default")
    with pytest.raises(MigrationError, match="--forget-old"):
        two.migration.to(THIRD, collection="default")


def test_a_collection_of_another_embedder_names_the_way_out(two, tmp_path):
    two.enroll(2)
    stranger = World(two.old.folder, networks=two.new.networks, store=two.store)
    with pytest.raises(IncompatibleTemplatesError, match="gallery migrate --to"):
        stranger.faces.identify(two.make(1, 30))


def test_another_process_follows_the_switch(two):
    """Another process: objects of its own over the same database, made before the switch and asked on both sides of it."""
    two.enroll(4)
    other = TwoModels(two.old.folder, two.photos)
    other.old.networks.faces.update(two.old.networks.faces)
    probe = two.make(3, 90)
    other.old.networks.faces.update(two.old.networks.faces)
    assert other.faces.identify(probe)[0].operating_point.embedder_id == OLD.embedder_id
    two.migration.to(NEW, collection="default")
    followed = other.faces.identify(probe)[0]
    assert (followed.label, followed.operating_point.embedder_id) == ("P03", NEW.embedder_id)
    two.migration.back(collection="default")
    assert other.faces.identify(probe)[0].operating_point.embedder_id == OLD.embedder_id
    other.close()


def test_searches_and_enrolments_go_on_meanwhile(two):
    two.enroll(10)
    two.new.networks.seconds_a_face = 0.01
    probes = [(two.make(person, 80), f"P{person:02d}") for person in range(10)]
    late = [(two.make(person, 0), f"P{person:02d}") for person in range(10, 14)]
    seen, wrong, over = set(), [], threading.Event()

    def search():
        while not over.is_set():
            for photo, label in probes:
                answer = two.faces.identify(photo)[0]
                seen.add(answer.operating_point.embedder_id)
                if answer.label != label:
                    wrong.append((label, answer.label))

    def enroll():
        for photo, label in late:
            two.faces.enroll(photo, label)
            time.sleep(0.05)

    threads = [threading.Thread(target=search), threading.Thread(target=enroll)]
    for thread in threads:
        thread.start()
    done = two.migration.to(NEW, collection="default")
    threads[1].join()
    for photo, label in probes:
        assert two.who(photo) == label
    time.sleep(0.05)
    over.set()
    threads[0].join()
    assert wrong == []
    assert seen == {OLD.embedder_id, NEW.embedder_id}
    # Whatever was enrolled before the switch was taken along, what came after it is of the new embedder.
    assert two.counts()[NEW.embedder_id] == 34
    assert done.left_behind == ()
    assert [two.who(photo) for photo, _ in late] == [label for _, label in late]


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_face_enrolled_between_the_last_look_and_the_switch_is_taken_along(two, is_gone):
    two.enroll(4)
    save, late = two.new.indexes.save, []

    def save_and_enroll():
        save()
        if not late:
            late.append(two.make(9, 0))
            two.faces.enroll(late[0], "P09")
            if is_gone:
                two.photo(9, 0).unlink()

    two.new.indexes.save = save_and_enroll
    done = two.migration.to(NEW, collection="default")
    assert len(late) == 1
    assert (done.n_embedded, done.left_behind) == ((12, ("P09",)) if is_gone else (13, ()))
    assert two.who(two.make(9, 1)) == "P09"


def run_child(folder: Path, photos: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.interrupted_migration", str(folder), str(photos), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_and_equals_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(migration_copy, "GROUP_FACES", 16)
    clean = TwoModels(tmp_path / "clean", tmp_path / "photos")
    clean.enroll(20)
    clean.migration.to(NEW, collection="default")
    expected = templates(clean)
    clean.close()

    models = TwoModels(tmp_path / "data", tmp_path / "photos")
    models.enroll(20)
    child = run_child(tmp_path / "data", tmp_path / "photos", 0.02)
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if int(line.split()[0]) >= 32:
                break
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    n_made = models.counts()[NEW.embedder_id]
    assert 16 <= n_made < 60
    assert models.current == OLD
    assert models.migration.state("default").use.is_copying
    assert models.migration.state("default").n_lacking == 60 - n_made
    assert models.who(models.make(3, 77)) == "P03"
    done = models.migration.to(NEW, collection="default")
    assert done.n_embedded == 60 - n_made
    assert templates(models) == expected
    assert models.who(models.make(3, 77)) == "P03"
    models.close()


def test_a_face_that_vanishes_meanwhile_is_no_trouble(two, monkeypatch):
    monkeypatch.setattr(migration_copy, "GROUP_FACES", 4)
    two.enroll(4)
    make, calls = two.new.networks.embed, []

    def embed(crops):
        if not calls:
            two.faces.remove("P00", erase=True)
        calls.append(len(crops))
        return make(crops)

    two.new.networks.embed = embed
    done = two.migration.to(NEW, collection="default")
    assert done.n_embedded == 9
    assert two.counts() == {OLD.embedder_id: 9, NEW.embedder_id: 9}


def test_several_faces_of_one_photograph_keep_their_places(two):
    path = two.photos / "group.jpg"
    faces = [(face_at(20 + 130 * n, 50, 100), person_vector(n, 0.9, n)) for n in range(3)]
    two.faces.enroll_all(two.old.networks.file(path, *faces), ["A", "B", None])
    two.migration.to(NEW, collection="default")
    assert [one.label for one in two.faces.identify(str(path))] == ["A", "B", None]
    assert isinstance(two.faces, FaceSearchService)
