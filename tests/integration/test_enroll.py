"""Enrolment through the façade: real store and index, known faces."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from facesearch.core.errors import (
    DuplicatePersonError,
    DuplicateTemplateError,
    EnrollmentError,
    IdentityMismatchError,
    InputError,
    LabelError,
    LabelTakenError,
    NoFaceError,
    SeveralFacesError,
)
from tests.world import World, face_at, person_vector


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


def labels(world: World) -> list[str]:
    return [person.label for person in world.faces.list()]


def test_a_new_label_makes_a_person(world: World):
    done = world.faces.enroll(world.networks.portrait("a1", 0), "Ada", tags=["crew"])
    assert (done.identity.label, done.identity.tags, done.is_new_identity, done.possible_duplicate) == (
        "Ada",
        ("crew",),
        True,
        None,
    )
    shown = world.faces.show("Ada")
    assert [one.template_id for one in shown.templates] == [done.template.template_id]
    origin = shown.templates[0].provenance
    assert (origin.source, origin.detection.box, origin.quality["face_px"]) == ("a1", (100, 100, 220, 220), 120.0)


def test_a_known_label_gains_a_template_and_tags(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0, 0.9), "Ada", tags=["crew"])
    done = world.faces.enroll(world.networks.portrait("a2", 0, 0.9, photo=1), "Ada", tags=["pilot"])
    assert (done.is_new_identity, done.identity.tags) == (False, ("crew", "pilot"))
    assert len(world.faces.show("Ada").templates) == 2


def test_new_refuses_a_known_label(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0), "Ada")
    with pytest.raises(LabelTakenError, match="Ada"):
        world.faces.enroll(world.networks.portrait("a2", 0, 0.9), "Ada", new=True)
    assert len(world.faces.show("Ada").templates) == 1


def test_another_person_under_a_known_label_is_refused(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0), "Ada")
    stranger = world.networks.portrait("b1", 1)
    with pytest.raises(IdentityMismatchError, match=r"no photograph of 'Ada'"):
        world.faces.enroll(stranger, "Ada")
    assert len(world.faces.show("Ada").templates) == 1
    world.faces.enroll(stranger, "Ada", allow_mismatch=True)
    assert len(world.faces.show("Ada").templates) == 2


def test_a_mismatch_is_measured_against_the_nearest_photograph(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0), "Ada")
    world.faces.enroll(world.networks.portrait("b1", 1), "Ada", allow_mismatch=True)
    world.faces.enroll(world.networks.portrait("b2", 1, 0.5, photo=1), "Ada")
    assert len(world.faces.show("Ada").templates) == 3


def test_the_same_face_of_the_same_photograph_is_refused(world: World):
    photo = world.networks.portrait("a1", 0)
    world.faces.enroll(photo, "Ada")
    for label in ("Ada", "Eve"):
        with pytest.raises(DuplicateTemplateError, match="already, as 'Ada'"):
            world.faces.enroll(photo, label)
    assert labels(world) == ["Ada"]


def test_two_faces_of_one_photograph_are_two_templates(world: World):
    photo = world.networks.photo("both", (face_at(0, 0, 100), person_vector(0)), (face_at(200, 0, 100, 0.9), person_vector(1)))
    world.faces.enroll(photo, "Ada", face=0)
    world.faces.enroll(photo, "Eve", face=1)
    assert labels(world) == ["Ada", "Eve"]


def test_a_person_under_a_second_label_is_refused(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0), "Ada")
    again = world.networks.portrait("a2", 0, 0.9)
    with pytest.raises(DuplicatePersonError, match="'Ada'") as caught:
        world.faces.enroll(again, "Eve")
    assert caught.value.context == {"label": "Eve", "other_label": "Ada"}
    assert labels(world) == ["Ada"]
    assert world.faces.enroll(again, "Eve", allow_duplicate=True).possible_duplicate == "Ada"
    assert labels(world) == ["Ada", "Eve"]


def test_the_duplicate_threshold_follows_the_rate(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0), "Ada")
    world.faces.enroll(world.networks.portrait("b1", 0, 0.36), "Eve")  # FPIR 1e-3 against one template: threshold 0.37
    with pytest.raises(DuplicatePersonError):
        world.faces.enroll(world.networks.portrait("c1", 0, 0.5, photo=3), "Joe")


@pytest.mark.parametrize(("choice", "label"), [("largest", "big"), ("central", "middle"), (0, "sure"), (1, "big"), (2, "middle")])
def test_which_face_is_meant(world: World, choice: object, label: str):
    people = {"big": 0, "middle": 1, "sure": 2}
    photo = world.networks.photo(
        "three",
        (face_at(0, 0, 150, 0.9), person_vector(people["big"])),
        (face_at(170, 170, 60, 0.8), person_vector(people["middle"])),
        (face_at(300, 300, 90, 0.99), person_vector(people["sure"])),
    )
    reference = world.networks.portrait("reference", people[label])
    assert world.faces.compare(world.faces.template(photo, face=choice), world.faces.template(reference)) == pytest.approx(1.0)


def test_several_faces_are_never_guessed_at(world: World):
    photo = world.networks.photo("both", (face_at(0, 0, 100), person_vector(0)), (face_at(200, 0, 100, 0.9), person_vector(1)))
    with pytest.raises(SeveralFacesError, match="2 faces") as caught:
        world.faces.enroll(photo, "Ada")
    assert caught.value.context["boxes"] == [[0, 0, 100, 100], [200, 0, 300, 100]]
    with pytest.raises(InputError, match="face 2 was asked for"):
        world.faces.enroll(photo, "Ada", face=2)
    world.faces.enroll(photo, "Ada", roi=(150, 0, 400, 200))
    assert labels(world) == ["Ada"]


@pytest.mark.parametrize("choice", ["best", -1, 1.0, None, True])
def test_an_unknown_choice_of_face_is_refused(world: World, choice: object):
    with pytest.raises(InputError, match="face must be"):
        world.faces.enroll(world.networks.portrait("a1", 0), "Ada", face=choice)


def test_a_photograph_without_a_face_says_how_small_it_looked(world: World):
    with pytest.raises(NoFaceError, match="at least 20 pixels"):
        world.faces.enroll(world.networks.photo("empty"), "Ada")


@pytest.mark.parametrize("label", ["", "x" * 10_000, "a\0b"])
def test_bad_labels_store_nothing(world: World, label: str):
    with pytest.raises(LabelError):
        world.faces.enroll(world.networks.portrait("a1", 0), label)
    with pytest.raises(LabelError):
        world.faces.enroll(world.networks.portrait("a2", 0), "Ada", tags=[label])
    assert world.faces.list() == ()


@pytest.mark.parametrize("label", ["a/b", "../../etc", "Ada 🚀", "Robert'); DROP TABLE identities;--", "%", "[bold]x[/bold]"])
def test_odd_labels_are_just_labels(world: World, label: str):
    world.faces.enroll(world.networks.portrait("a1", 0), label)
    assert world.faces.show(label).identity.label == label


def test_enroll_all_is_all_or_nothing(world: World):
    world.faces.enroll(world.networks.portrait("b0", 1), "Bob")
    photo = world.networks.photo(
        "three",
        (face_at(0, 0, 100, 0.99), person_vector(0)),
        (face_at(120, 0, 100, 0.98), person_vector(1)),
        (face_at(240, 0, 100, 0.97), person_vector(2)),
    )
    with pytest.raises(DuplicatePersonError):
        world.faces.enroll_all(photo, ["Ada", "Ben", None])
    assert labels(world) == ["Bob"]
    done = world.faces.enroll_all(photo, ["Ada", None, "Joe"])
    assert [one.identity.label for one in done] == ["Ada", "Joe"]
    with pytest.raises(InputError, match="3 faces were found, 1 labels given"):
        world.faces.enroll_all(photo, ["Ada"])
    with pytest.raises(InputError, match="same label"):
        world.faces.enroll_all(photo, ["X", "X", None])


@pytest.mark.parametrize(("keep", "kind"), [("none", None), ("crop", "crop"), ("photo", "photo")])
def test_what_is_kept(world: World, keep: str, kind: str | None):
    done = world.faces.enroll(world.networks.portrait("a1", 0), "Ada", keep=keep)
    kept = world.faces.picture(done.template.template_id)
    assert (kept.kind if kept else None) == kind


def test_an_unknown_way_to_keep_is_refused(world: World):
    with pytest.raises(InputError, match="none, crop, photo"):
        world.faces.enroll(world.networks.portrait("a1", 0), "Ada", keep="all")


def test_threads_enroll_without_loss(world: World):
    photos = [world.networks.portrait(f"p{number}", number) for number in range(24)]
    failures: list[Exception] = []

    def work(part: int) -> None:
        for number in range(part, 24, 4):
            try:
                world.faces.enroll(photos[number], f"person {number:02d}")
            except EnrollmentError as exc:
                failures.append(exc)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(world.faces.list()) == 24
    for number, photo in enumerate(photos):
        assert world.faces.identify(photo)[0].label == f"person {number:02d}"


def test_two_threads_with_the_same_person_make_one(world: World):
    photos = [world.networks.portrait(f"p{number}", 0, 0.95, photo=number) for number in range(8)]
    outcomes: list[str] = []

    def work(number: int) -> None:
        try:
            world.faces.enroll(photos[number], f"label {number}")
            outcomes.append("enrolled")
        except DuplicatePersonError:
            outcomes.append("refused")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["enrolled"] + ["refused"] * 7
    assert len(world.faces.list()) == 1
