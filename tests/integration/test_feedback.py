"""What people said of answers is used by every later answer, listed, and taken back; it never makes a match easier."""

from __future__ import annotations

import pytest

from facesearch.core.decision import Reason
from facesearch.core.errors import DuplicatePersonError, UnknownCollectionError, UnknownFeedbackError, UnknownIdentityError
from facesearch.core.fusion import Fusion
from facesearch.core.records import FeedbackKind
from tests.world import World, face_at, person_vector


@pytest.fixture(params=list(Fusion))
def world(request, tmp_path):
    made = World(tmp_path, fusion=request.param)
    portrait = made.networks.portrait
    for label, person in (("Ada", 0), ("Eve", 1)):
        for photo in (0, 1):
            made.faces.enroll(portrait(f"{label}{photo}.jpg", person, 0.95, photo), label)
    yield made
    made.close()


def answer(world, photo, k=5):
    (one,) = world.faces.identify(photo, k)
    return one


def test_a_rejected_pair_never_returns_for_that_photograph(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    assert answer(world, photo).label == "Ada"
    said = world.faces.reject(photo, "Ada", by="Zoë")
    assert (said.label, said.said.kind, said.said.by) == ("Ada", FeedbackKind.NOT_THIS_PERSON, "Zoë")
    for _ in range(2):
        now = answer(world, photo, 1)
        assert [one.label for one in now.candidates] == ["Eve"]
        assert (now.label, now.n_rejected, now.candidates[0].rank) == (None, 1, 1)
    compared = world.faces.verify_identity(photo, "Ada")
    assert compared.score >= compared.threshold
    assert (compared.is_match, compared.reason) == (False, Reason.REJECTED)


def test_other_photographs_of_the_person_still_match(world):
    world.faces.reject(world.networks.portrait("probe.jpg", 0, 0.8, 5), "Ada")
    other = world.networks.portrait("other.jpg", 0, 0.8, 6)
    assert answer(world, other).label == "Ada"
    assert world.faces.verify_identity(other, "Ada").is_match


def test_the_photograph_saved_again_is_still_rejected(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    world.faces.reject(photo, "Ada")
    again = world.networks.portrait("saved-again.png", 0, 0.8, 5)  # other bytes, the same vector
    assert world.networks.photos[photo].digest != world.networks.photos[again].digest
    assert answer(world, again).label is None


def test_a_rejected_pair_does_not_return_as_a_duplicate_person(world):
    twin = world.networks.portrait("twin.jpg", 0, 0.8, 5)
    with pytest.raises(DuplicatePersonError, match="Ada"):
        world.faces.enroll(twin, "Twin")
    world.faces.reject(twin, "Ada")
    assert world.faces.enroll(twin, "Twin").possible_duplicate is None
    with pytest.raises(DuplicatePersonError, match="Ada"):
        world.faces.enroll(world.networks.portrait("other.jpg", 0, 0.8, 6), "Other")


def test_another_face_of_the_same_photograph_is_not_rejected(world):
    group = world.networks.photo(
        "group.jpg",
        (face_at(10, 10, 100, 0.99), person_vector(0, 0.8, 5)),
        (face_at(200, 200, 100, 0.98), person_vector(0, 0.8, 9)),
    )
    world.faces.reject(group, "Ada", face=0)
    first, second = world.faces.identify(group)
    assert (first.label, second.label) == (None, "Ada")


def test_everybody_rejected_is_a_reason_of_its_own(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    for label in ("Ada", "Eve"):
        world.faces.reject(photo, label)
    now = answer(world, photo)
    assert (now.candidates, now.reason, now.n_rejected) == ((), Reason.REJECTED, 2)


def test_what_was_said_last_counts_and_removing_it_takes_it_back(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    rejected = world.faces.reject(photo, "Ada")
    confirmed = world.faces.confirm(photo, "Ada")
    assert answer(world, photo).label == "Ada"
    assert [one.feedback_id for one in world.faces.feedback()] == [rejected.feedback_id, confirmed.feedback_id]
    assert world.faces.remove_feedback(confirmed.feedback_id).label == "Ada"
    assert answer(world, photo).label is None
    world.faces.remove_feedback(rejected.feedback_id)
    assert answer(world, photo).label == "Ada"
    assert world.faces.feedback() == ()


def test_confirming_makes_nothing_a_match(world):
    photo = world.networks.portrait("faint.jpg", 0, 0.2, 5)
    before = answer(world, photo)
    assert before.label is None
    world.faces.confirm(photo, "Ada")
    assert answer(world, photo).label is None
    assert answer(world, photo).threshold == before.threshold


def test_a_raised_threshold_is_only_ever_stricter(world):
    wrong = world.networks.portrait("wrong.jpg", 0, 0.7, 5)
    faint, strong = world.networks.portrait("faint.jpg", 0, 0.65, 6), world.networks.portrait("strong.jpg", 0, 0.95, 7)
    assert answer(world, faint).label == answer(world, strong).label == "Ada"
    said = world.faces.reject(wrong, "Ada", raise_threshold=True)
    assert said.said.floor == said.said.score
    now = answer(world, faint)
    assert now.label is None
    assert now.threshold_of(now.candidates[0]) > said.said.score > now.threshold
    assert not world.faces.verify_identity(faint, "Ada").is_match
    assert answer(world, strong).label == "Ada"
    # A floor far below the operating point's threshold changes nothing.
    world.faces.remove_feedback(said.feedback_id)
    world.faces.reject(world.networks.portrait("low.jpg", 0, 0.1, 8), "Ada", raise_threshold=True)
    low = answer(world, faint)
    assert low.label == "Ada"
    assert low.threshold_of(low.candidates[0]) == low.threshold


def test_the_highest_of_several_floors_counts(world):
    for number, likeness in enumerate((0.7, 0.5)):
        world.faces.reject(world.networks.portrait(f"wrong{number}.jpg", 0, likeness, 5 + number), "Ada", raise_threshold=True)
    assert answer(world, world.networks.portrait("faint.jpg", 0, 0.65, 8)).label is None


def test_feedback_goes_with_the_person_and_follows_a_merge(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    world.faces.reject(photo, "Ada")
    world.faces.merge("Ada", "Eve")
    assert [one.label for one in world.faces.feedback()] == ["Eve"]
    assert answer(world, photo).label is None
    world.faces.remove("Eve", erase=True)
    assert world.faces.feedback() == ()


def test_feedback_about_nobody_is_refused(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    with pytest.raises(UnknownIdentityError, match="Bob"):
        world.faces.reject(photo, "Bob")
    with pytest.raises(UnknownCollectionError):
        world.faces.reject(photo, "Ada", collection="nowhere")
    with pytest.raises(UnknownFeedbackError):
        world.faces.remove_feedback(99)
    assert world.faces.feedback() == ()


def test_feedback_of_one_collection_says_nothing_of_another(world):
    photo = world.networks.portrait("probe.jpg", 0, 0.8, 5)
    world.faces.enroll(world.networks.portrait("ada-too.jpg", 0, 0.95, 3), "Ada", collection="other")
    world.faces.reject(photo, "Ada", collection="other")
    assert answer(world, photo).label == "Ada"
    (other,) = world.faces.identify(photo, collection="other")
    assert other.label is None


def test_a_floor_goes_with_the_rejection_that_set_it(world):
    photo = world.networks.portrait("again.jpg", 0, 0.8, 9)
    before = world.faces.identify(photo)[0]
    assert before.label == "Ada"
    world.faces.reject(photo, "Ada", raise_threshold=True)
    assert world.faces.identify(photo)[0].label is None
    world.faces.confirm(photo, "Ada")
    assert world.faces.identify(photo)[0].label == "Ada"
    world.faces.reject(photo, "Ada", raise_threshold=True)
    assert world.faces.identify(photo)[0].label is None
