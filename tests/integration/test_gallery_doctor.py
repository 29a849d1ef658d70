"""The gallery doctor on faults planted among made-up people, from finding them to putting them right and back again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from facesearch.core.decision import OperatingPoint, OperatingPoints
from facesearch.core.errors import IncompatibleTemplatesError, InputError, ProtocolFileError, UnknownCollectionError
from facesearch.service.exchange import Exchange
from facesearch.service.gallery_doctor import GalleryDoctor, Instruments
from facesearch.service.gallery_findings import Action, Finding, FindingKind, accepted, write_proposals
from tests.world import EMBEDDER, POINTS, World, face_at, person_vector

LIKENESS = 0.85
"""Two photographs of a person score 0.72, those of two people at most 0.28."""


@dataclass
class Clinic:
    """A gallery of ten people with four photographs each, and its doctor."""

    world: World
    doctor: GalleryDoctor
    folder: Path

    def enroll(self, name: str, person: int, label: str, *, photo: int, size: float = 120, score: float = 0.99) -> int:
        face = (face_at(100, 100, size, score), person_vector(person, LIKENESS, photo))
        photo_name = self.world.networks.photo(name, face)
        return self.world.faces.enroll(photo_name, label, allow_mismatch=True, allow_duplicate=True).template.template_id

    def found(self) -> list[tuple[FindingKind, bool, Action | None, str, int | None, str | None]]:
        return [
            (one.kind, one.is_probable, one.action, one.label, one.template_id, one.other_label)
            for one in self.doctor.examine("default").findings
        ]

    def labels(self) -> dict[str, list[int]]:
        shown = [self.world.faces.show(one.label) for one in self.world.faces.list()]
        return {one.identity.label: [template.template_id for template in one.templates] for one in shown}

    def proposals(self) -> Path:
        file = self.folder / "proposals.json"
        self.doctor.examine("default").write_proposals(file)
        return file


@pytest.fixture
def clinic(tmp_path: Path):
    world = World(tmp_path)
    clinic = Clinic(
        world,
        GalleryDoctor(world.store, lambda _: Instruments(world.indexes, Exchange(world.store, embedder_id=EMBEDDER), POINTS)),
        tmp_path,
    )
    for person in range(10):
        for number in range(4):
            clinic.enroll(f"{person}-{number}.jpg", person, f"p{person}", photo=person * 4 + number)
    yield clinic
    world.close()


def faulty(clinic: Clinic) -> dict[str, int]:
    """Plant one fault of each kind; return the template ids by what is wrong with them."""
    planted = {
        "wrong": clinic.enroll("wrong.jpg", 0, "p1", photo=28),
        "stranger": clinic.enroll("stranger.jpg", 25, "p5", photo=29),
        "copy": clinic.enroll("copy.jpg", 3, "p3", photo=12),
        "weak": clinic.enroll("weak.jpg", 4, "p4", photo=30, size=20, score=0.7),
    }
    for number in range(2):
        clinic.enroll(f"again-{number}.jpg", 2, "p2 again", photo=20 + number)
    return planted


def test_nothing_is_wrong_with_a_good_gallery(clinic: Clinic):
    checkup = clinic.doctor.examine("default")
    assert checkup.findings == ()
    assert (checkup.n_identities, checkup.n_templates, checkup.index.is_in_step) == (10, 40, True)


def test_each_planted_fault_is_found_and_nothing_else(clinic: Clinic):
    planted = faulty(clinic)
    assert clinic.found() == [
        (FindingKind.WRONG_LABEL, True, Action.MOVE, "p1", planted["wrong"], "p0"),
        (FindingKind.STRANGER, False, Action.SPLIT, "p5", planted["stranger"], None),
        (FindingKind.NEAR_IDENTICAL, True, Action.REMOVE, "p3", planted["copy"], "p3"),
        (FindingKind.DUPLICATE_PERSON, True, Action.MERGE, "p2 again", None, "p2"),
        (FindingKind.WEAK_TEMPLATE, True, None, "p4", planted["weak"], None),
    ]


def test_what_is_accepted_is_carried_out_and_can_be_undone(clinic: Clinic):
    planted = faulty(clinic)
    before = clinic.labels()
    backup = clinic.folder / "before.fsc"
    treated = clinic.doctor.apply(clinic.proposals(), collection="default", backup=backup)
    assert [(one.finding.action, one.is_done) for one in treated] == [
        (Action.MOVE, True),
        (Action.REMOVE, True),
        (Action.MERGE, True),
    ]
    after = clinic.labels()
    assert planted["wrong"] in after["p0"]
    assert planted["wrong"] not in after["p1"]
    assert "p2 again" not in after
    assert sorted(after["p2"]) == sorted(before["p2"] + before["p2 again"])
    assert {one for ids in before.values() for one in ids} - {one for ids in after.values() for one in ids} == {planted["copy"]}
    assert [kind for kind, *_ in clinic.found()] == [FindingKind.STRANGER, FindingKind.WEAK_TEMPLATE]
    clinic.world.faces.remove_collection("default")
    clinic.world.faces.import_collection(backup)
    clinic.world.faces.export_collection(clinic.folder / "restored.fsc")
    assert (clinic.folder / "restored.fsc").read_bytes() == backup.read_bytes()


def test_a_person_decides_what_is_accepted(clinic: Clinic):
    planted = faulty(clinic)
    file = clinic.proposals()
    document = json.loads(file.read_text())
    assert [one["accepted"] for one in document["proposals"]] == [True, False, True, True]
    for one in document["proposals"]:
        one["accepted"] = one["action"] == "split"
    file.write_text(json.dumps(document))
    before = clinic.labels()
    (treated,) = clinic.doctor.apply(file, collection="default", backup=None)
    assert treated.is_done
    after = clinic.labels()
    assert after.pop("p5 (not 1)") == [planted["stranger"]]
    assert {label: ids for label, ids in before.items() if label != "p5"} == {
        label: ids for label, ids in after.items() if label != "p5"
    }


def test_proposals_that_no_longer_fit_are_left_alone(clinic: Clinic):
    planted = faulty(clinic)
    file = clinic.proposals()
    clinic.world.faces.merge("p0", "p9")
    clinic.world.faces.rename("p2", "renamed")
    with clinic.world.store.writing() as writer:
        writer.remove_template(planted["copy"])
    before = clinic.labels()
    treated = clinic.doctor.apply(file, collection="default", backup=None)
    assert [(one.finding.action, one.is_done) for one in treated] == [
        (Action.MOVE, False),
        (Action.REMOVE, False),
        (Action.MERGE, True),
    ]
    assert "no longer enrolled" in treated[0].message
    assert "is gone" in treated[1].message
    after = clinic.labels()
    assert sorted(after["renamed"]) == sorted(before["renamed"] + before["p2 again"])
    assert {label: after[label] for label in ("p1", "p3", "p9")} == {label: before[label] for label in ("p1", "p3", "p9")}
    again = clinic.doctor.apply(file, collection="default", backup=None)
    assert not any(one.is_done for one in again)


def test_proposals_of_another_database_are_refused(clinic: Clinic, tmp_path: Path):
    faulty(clinic)
    file = clinic.proposals()
    (tmp_path / "elsewhere").mkdir()
    world = World(tmp_path / "elsewhere")  # people and templates have the same numbers there
    other = GalleryDoctor(world.store, lambda _: Instruments(world.indexes, Exchange(world.store, embedder_id=EMBEDDER), POINTS))
    for person in range(10):
        for number in range(4):
            world.faces.enroll(world.networks.portrait(f"{person}-{number}", person, 0.9, photo=number), f"q{person}")
    with pytest.raises(InputError, match="another collection called 'default'"):
        other.apply(file, collection="default", backup=None)
    assert len(world.faces.list()) == 10
    world.close()


def test_people_split_in_three_end_up_as_one(clinic: Clinic):
    for part in ("b", "c"):
        for number in range(2):
            clinic.enroll(f"{part}{number}.jpg", 6, f"p6{part}", photo=number + (28 if part == "b" else 30))
    treated = clinic.doctor.apply(clinic.proposals(), collection="default", backup=None)
    assert {one.finding.action for one in treated} == {Action.MERGE}
    assert sum(one.is_done for one in treated) == 2
    assert [label for label in clinic.labels() if label.startswith("p6")] == ["p6"]
    assert len(clinic.labels()["p6"]) == 8


def test_a_proposal_follows_the_person_into_whom_a_label_was_merged(clinic: Clinic):
    people = {one.label: one.identity_id for one in clinic.world.faces.list()}
    template_id = clinic.labels()["p3"][0]
    findings = [
        *(
            Finding(FindingKind.DUPLICATE_PERSON, True, Action.MERGE, people[a], a, other_identity_id=people[b], other_label=b)
            for a, b in (("p1", "p2"), ("p2", "p4"))
        ),
        Finding(
            *(FindingKind.WRONG_LABEL, True, Action.MOVE, people["p3"], "p3", template_id),
            other_identity_id=people["p1"],
            other_label="p1",
        ),
    ]
    file = clinic.folder / "proposals.json"
    uid = clinic.world.faces.collections()[0].collection.uid
    write_proposals(file, accepted(findings), collection="default", collection_uid=uid, embedder_id=EMBEDDER)
    treated = clinic.doctor.apply(file, collection="default", backup=None)
    assert [one.is_done for one in treated] == [True, True, True]
    assert template_id in clinic.labels()["p4"]
    assert len(clinic.labels()["p4"]) == 13


def test_one_wrong_photograph_does_not_make_the_right_ones_suspicious(clinic: Clinic):
    wrong = [clinic.enroll(f"w{number}.jpg", 7, "p8", photo=20 + number) for number in range(3)]
    found = clinic.found()
    assert Counter(kind for kind, *_ in found) == {FindingKind.WRONG_LABEL: 3}
    assert sorted(template_id for _, _, _, _, template_id, _ in found) == wrong


def test_single_photographs_are_no_probable_duplicates_where_the_evidence_ends(clinic: Clinic):
    loose = OperatingPoints(tuple(OperatingPoint(one.threshold, one.fmr, EMBEDDER, 1000) for one in POINTS if one.fmr >= 1e-3))
    clinic.enroll("alone.jpg", 9, "p9 alone", photo=20)
    told = [one for one in clinic.found() if one[0] is FindingKind.DUPLICATE_PERSON]
    assert told == [(FindingKind.DUPLICATE_PERSON, True, Action.MERGE, "p9 alone", None, "p9")]
    doctor = GalleryDoctor(
        clinic.world.store, lambda _: Instruments(clinic.world.indexes, Exchange(clinic.world.store, embedder_id=EMBEDDER), loose)
    )
    (doubtful,) = doctor.examine("default").findings
    assert (doubtful.kind, doubtful.is_probable, doubtful.is_accepted) == (FindingKind.DUPLICATE_PERSON, False, False)


def test_an_index_that_disagrees_is_told_and_rebuilt(clinic: Clinic):
    with clinic.world.store.reading() as reader:
        collection, index = clinic.world.indexes.synced(reader, "default")
        other = reader.identity("default", "p9").identity_id
    lost, moved = clinic.labels()["p0"][0], clinic.labels()["p1"][0]
    index.remove([lost], revision=collection.revision)
    index.move([moved], other, revision=collection.revision)
    checkup = clinic.doctor.examine("default")
    told = {(one.kind, one.template_id) for one in checkup.findings}
    assert {(FindingKind.MISSING_FROM_INDEX, lost), (FindingKind.WRONG_PERSON_IN_INDEX, moved)} <= told
    assert not checkup.index.is_in_step
    clinic.world.faces.rebuild_index()
    assert clinic.found() == []


def test_an_empty_collection_is_well_and_an_unknown_one_an_error(clinic: Clinic):
    clinic.world.faces.add_collection("empty")
    checkup = clinic.doctor.examine("empty")
    assert (checkup.findings, checkup.n_templates) == ((), 0)
    with pytest.raises(UnknownCollectionError, match="nowhere"):
        clinic.doctor.examine("nowhere")


def test_a_wrong_file_changes_nothing(clinic: Clinic):
    faulty(clinic)
    good = clinic.proposals().read_text()
    before = clinic.labels()
    file = clinic.folder / "bad.json"
    bad = {
        "no json": ("{", ProtocolFileError, "no file of proposals"),
        "a list": ("[]", ProtocolFileError, "no file of proposals"),
        "newer": (good.replace('"version": 1', '"version": 2'), ProtocolFileError, "version 2, this release reads 1"),
        "collection": (good.replace('"collection": "default"', '"collection": "staff"'), InputError, "'staff', not 'default'"),
        "embedder": (good.replace(EMBEDDER, "other@111111111111"), IncompatibleTemplatesError, "run the doctor again"),
        "action": (good.replace('"action": "merge"', '"action": "burn"'), ProtocolFileError, "proposal 4: 'burn'"),
        "accepted": (good.replace('"accepted": true', '"accepted": "yes"', 1), ProtocolFileError, "proposal 1: accepted"),
        "lacking": (good.replace('"template_id"', '"template"'), ProtocolFileError, "proposal 1: move needs template_id"),
        "number": (good.replace('"identity_id": ', '"identity_id": 0.'), ProtocolFileError, "proposal 1: identity_id"),
    }
    assert len(bad) == 9
    for text, error, message in bad.values():
        assert text != good
        file.write_text(text)
        with pytest.raises(error, match=message):
            clinic.doctor.apply(file, collection="default", backup=clinic.folder / "b.fsc")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ProtocolFileError):
        clinic.doctor.apply(file, collection="default", backup=None)
    with pytest.raises(InputError, match="cannot be read"):
        clinic.doctor.apply(clinic.folder / "absent.json", collection="default", backup=None)
    file.write_text(good)
    (clinic.folder / "there.fsc").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        clinic.doctor.apply(file, collection="default", backup=clinic.folder / "there.fsc")
    assert clinic.labels() == before
    assert (clinic.folder / "there.fsc").read_text() == "mine"
    assert not (clinic.folder / "b.fsc").exists()
