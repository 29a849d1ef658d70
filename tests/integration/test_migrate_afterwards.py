"""What comes after a collection was moved to another embedder: faces tried again, and enrolments that were begun before."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from facesearch.core.embedder_use import EmbedderUse
from facesearch.core.errors import IncompatibleTemplatesError, InputError, MigrationError, UnknownEmbedderError
from facesearch.core.jobs import JobState, NewJobItem
from facesearch.service import bulk_enroll
from facesearch.service.enroll_many import LabelledPhotograph
from facesearch.service.job_records import JobRecords
from tests.migration_world import NEW, OLD, TwoModels


@pytest.fixture
def two(tmp_path):
    models = TwoModels(tmp_path / "data", tmp_path / "photos")
    yield models
    models.close()


def test_faces_left_behind_are_tried_again_after_the_switch(two, tmp_path):
    two.enroll(4)
    shutil.move(two.photos / "P02", tmp_path / "away" / "P02")
    two.photo(3, 1).rename(tmp_path / "away" / "single.jpg")
    done = two.migration.to(NEW, collection="default")
    assert (done.n_embedded, done.left_behind, len(done.lost)) == (8, ("P02",), 4)
    again = two.migration.to(NEW, collection="default")
    assert (again.n_embedded, again.left_behind, len(again.lost)) == (0, ("P02",), 4)
    found = two.migration.to(NEW, collection="default", photos=[tmp_path / "away"])
    assert (found.n_embedded, found.left_behind, found.lost) == (4, (), ())
    assert (found.state.use.current, found.state.use.other, found.state.use.is_copying) == (NEW, OLD, False)
    assert two.faces.identify(two.make(2, 9))[0].operating_point.embedder_id == NEW.embedder_id
    assert two.counts() == {OLD.embedder_id: 12, NEW.embedder_id: 12}
    assert two.migration.forget_former(collection="default") == 12
    with pytest.raises(MigrationError, match="already"):
        two.migration.to(NEW, collection="default")


@pytest.mark.parametrize("of_several", [False, True])
def test_an_enrolment_begun_before_the_switch_ends_with_the_new_embedder(two, of_several):
    two.enroll(3)
    late = two.make(9, 0)
    embed = two.old.networks.embed

    def switch_meanwhile(*asked):
        two.old.networks.embed = embed
        two.migration.to(NEW, collection="default")
        return embed(*asked)

    two.old.networks.embed = switch_meanwhile
    enrolled = two.faces.enroll_all(late, ["P09"])[0] if of_several else two.faces.enroll(late, "P09", tags=iter(["guest"]))
    assert enrolled.template.template.embedder_id == NEW.embedder_id
    assert enrolled.identity.tags == (() if of_several else ("guest",))
    assert two.counts() == {OLD.embedder_id: 9, NEW.embedder_id: 10}
    assert two.migration.state("default").n_left_behind == 0


def test_many_enrolments_stop_at_the_switch_and_go_on_with_the_new_embedder(two, monkeypatch):
    monkeypatch.setattr("facesearch.service.enroll_many.GROUP_FACES", 1)
    two.enroll(3)
    wanted = [LabelledPhotograph(person, two.make(person, 0), f"P{person:02d}") for person in range(10, 14)]
    outcomes = two.faces.enroll_many(wanted, n_workers=1)
    assert next(outcomes).enrollment is not None
    two.migration.to(NEW, collection="default")
    with pytest.raises(IncompatibleTemplatesError, match=rf"moved from {OLD.embedder_id} to {NEW.embedder_id}.*again"):
        list(outcomes)
    assert two.counts() == {OLD.embedder_id: 10, NEW.embedder_id: 10}
    codes = [one.error.code if one.error is not None else "" for one in two.faces.enroll_many(wanted, n_workers=1)]
    assert codes == ["duplicate_template", "", "", ""]
    assert two.migration.state("default").n_left_behind == 0


def test_a_collection_whose_model_is_gone_is_moved_only_uncompared(two):
    two.enroll(3)
    two.migration.to(NEW, collection="default")
    two.gone.add(NEW)
    with pytest.raises(MigrationError, match=rf"{NEW.embedder_id}, which is gone from here.*--accept-worse"):
        two.migration.back(collection="default")
    assert two.current == NEW
    done = two.migration.back(collection="default", accept_worse=True)
    assert (two.current, done.n_embedded, done.verified.n_templates, done.verified.judged) == (OLD, 0, 9, ())
    assert two.who(two.make(1, 40)) == "P01"


def test_an_import_goes_by_the_embedder_of_the_collection(two, tmp_path):
    two.enroll(3)
    two.faces.export_collection(tmp_path / "old.faces")
    two.migration.to(NEW, collection="default")
    two.migration.forget_former(collection="default")
    two.faces.export_collection(tmp_path / "new.faces")
    for person in range(3):
        two.faces.remove(f"P{person:02d}")
    with pytest.raises(IncompatibleTemplatesError, match=rf"templates of {OLD.embedder_id}, .*'default' .* {NEW.embedder_id}"):
        two.faces.import_collection(tmp_path / "old.faces")
    two.faces.import_collection(tmp_path / "new.faces")
    assert two.who(two.make(1, 40)) == "P01"
    with pytest.raises(IncompatibleTemplatesError, match=rf"templates of {NEW.embedder_id}, .*'fresh' .* {OLD.embedder_id}"):
        two.faces.import_collection(tmp_path / "new.faces", collection="fresh")
    assert [one.collection.name for one in two.faces.collections()] == ["default"]


def test_the_same_weights_are_found_under_another_name(two, monkeypatch):
    two.enroll(3)
    elsewhere = replace(NEW, name="/moved/model.safetensors")
    monkeypatch.setattr(two.new.networks, "embed", lambda crops: (_ for _ in ()).throw(RuntimeError("the machine went down")))
    with pytest.raises(RuntimeError):
        two.migration.to(NEW, collection="default")
    monkeypatch.undo()
    assert two.migration.to(elsewhere, collection="default").n_embedded == 9
    assert two.migration.state("default").use == EmbedderUse(elsewhere, OLD)
    assert two.migration.to(NEW, collection="default").n_embedded == 0
    assert two.migration.state("default").use == EmbedderUse(NEW, OLD)
    two.migration.forget_former(collection="default")
    two.migration.to(elsewhere, collection="default")
    assert two.migration.state("default").use == EmbedderUse(elsewhere)
    with pytest.raises(MigrationError, match="already"):
        two.migration.to(elsewhere, collection="default")


@pytest.mark.parametrize("is_switched", [True, False])
def test_nothing_is_deleted_half_where_a_model_is_gone(two, is_switched):
    two.enroll(3)
    if not is_switched:
        two.new.indexes.save = lambda: (_ for _ in ()).throw(RuntimeError("the machine went down"))
    with contextlib.suppress(RuntimeError):
        two.migration.to(NEW, collection="default")
    two.gone.add(two.current)
    delete = two.migration.forget_former if is_switched else two.migration.abandon
    with pytest.raises(UnknownEmbedderError):
        delete(collection="default")
    assert two.counts() == {OLD.embedder_id: 9, NEW.embedder_id: 9}
    assert two.migration.state("default").use.other is not None


def test_a_job_that_the_switch_overtakes_goes_on_by_itself(two, monkeypatch):
    monkeypatch.setattr(bulk_enroll, "RETRY_S", 0.0)
    two.enroll(3)
    photographs = [Path(two.make(person, 0)).read_bytes() for person in range(10, 13)]
    jobs = JobRecords(two.store)
    bulk = bulk_enroll.BulkEnroll(two.faces, jobs, lambda events: None, max_bytes=1000, max_items=100)
    monkeypatch.setattr(bulk, "_start", lambda: None)
    items = [NewJobItem(hashlib.sha256(data).hexdigest(), f"Person {place}") for place, data in enumerate(photographs)]
    job_id = bulk.submit("default", "key", items, bulk_enroll.BulkOptions()).job_id
    bulk.receive(job_id, photographs)
    embed = two.old.networks.embed

    def switch_meanwhile(crops):
        two.old.networks.embed = embed
        two.migration.to(NEW, collection="default")
        return embed(crops)

    two.old.networks.embed = switch_meanwhile
    while bulk.work_once():
        pass
    assert jobs.get(job_id).state is JobState.DONE
    assert two.counts() == {OLD.embedder_id: 9, NEW.embedder_id: 12}


def test_a_run_that_another_process_abandoned_leaves_no_templates_behind(two):
    two.enroll(3)
    embed = two.new.networks.embed

    def abandoned_meanwhile(crops):
        two.new.networks.embed = embed
        two.migration.abandon(collection="default")
        return embed(crops)

    two.new.networks.embed = abandoned_meanwhile
    with pytest.raises(MigrationError, match="abandoned"):
        two.migration.to(NEW, collection="default")
    assert two.counts() == {OLD.embedder_id: 9}
    assert two.migration.to(NEW, collection="default").n_embedded == 9


def test_a_folder_that_is_not_there_begins_no_move(two, tmp_path):
    two.enroll(1)
    with pytest.raises(InputError, match="is no folder"):
        two.migration.to(NEW, collection="default", photos=[tmp_path, tmp_path / "nonesuch"])
    assert two.migration.state("default").use == EmbedderUse(OLD)


def test_the_enrolment_of_a_folder_stops_at_the_switch_and_the_same_call_goes_on(two, tmp_path, monkeypatch):
    monkeypatch.setattr("facesearch.service.enroll_folder.GROUP_FACES", 1)
    folder = two.photos
    for person in range(4):
        two.make(person, 0)
    told = []

    def switch_after_the_first(outcome):
        told.append(outcome.status)
        if len(told) == 1:
            two.migration.to(NEW, collection="default")

    with pytest.raises(IncompatibleTemplatesError, match="run it again"):
        two.faces.enroll_folder(folder, on_outcome=switch_after_the_first)
    assert told == ["enrolled"]
    report = two.faces.enroll_folder(folder)
    assert [one.status for one in report.outcomes] == ["duplicate_template", "enrolled", "enrolled", "enrolled"]
    assert two.counts() == {OLD.embedder_id: 1, NEW.embedder_id: 4}
