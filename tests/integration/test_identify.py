"""Verification and identification through the façade."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.core.decision import Reason
from facesearch.core.errors import (
    IncompatibleTemplatesError,
    InputError,
    NoFaceError,
    UnknownCollectionError,
    UnknownIdentityError,
)
from facesearch.core.fusion import Fusion
from tests.world import FakeNetworks, World, face_at, person_vector


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def best_of(tmp_path: Path):
    world = World(tmp_path, fusion=Fusion.BEST)
    yield world
    world.close()


def crowd(world: World, n: int = 10) -> None:
    for person in range(n):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person}", tags=[f"group {person % 2}"])


def test_verify_decides_at_the_rate_asked_for(world: World):
    a, b = world.networks.portrait("a", 0), world.networks.portrait("b", 0, 0.40)
    strict, loose = world.faces.verify(a, b), world.faces.verify(a, b, fmr=1e-3)
    assert (strict.is_match, loose.is_match) == (False, True)
    assert (strict.operating_point.fmr, loose.operating_point.fmr) == (1e-4, 1e-3)
    assert strict.score == pytest.approx(0.40, abs=1e-6)
    assert len(strict.detections) == 2


def test_more_photographs_of_a_person_demand_a_higher_score(best_of: World):
    world = best_of
    probe = world.networks.portrait("probe", 0)
    world.faces.enroll(world.networks.portrait("a0", 0, 0.9, photo=1), "Ada")
    one = world.faces.verify_identity(probe, "Ada").threshold
    for number in range(9):
        world.faces.enroll(world.networks.portrait(f"a{number + 1}", 0, 0.9, photo=number + 2), "Ada")
    ten = world.faces.verify_identity(probe, "Ada").threshold
    assert (one, ten) == (pytest.approx(0.43), pytest.approx(0.48))  # FMR 1e-4, then 1e-4 / 10


def test_verify_against_nobody_is_an_error(world: World):
    world.faces.enroll(world.networks.portrait("a1", 0), "Ada")
    with pytest.raises(UnknownIdentityError, match="Eve"):
        world.faces.verify_identity(world.networks.portrait("probe", 0), "Eve")
    with pytest.raises(UnknownCollectionError, match="staff"):
        world.faces.verify_identity(world.networks.portrait("probe", 0), "Ada", collection="staff")


def test_identify_names_the_person_and_shows_the_others(world: World):
    crowd(world)
    answer = world.faces.identify(world.networks.portrait("probe", 3, 0.7), k=4)[0]
    assert (answer.label, answer.reason, answer.n_templates, answer.fpir) == ("person 3", Reason.MATCH, 10, 1e-2)
    assert [candidate.rank for candidate in answer.candidates] == [1, 2, 3, 4]
    assert answer.candidates[0].score == pytest.approx(0.7, abs=1e-6)
    assert answer.threshold == pytest.approx(0.37)  # FMR = 1e-2 / 10


def test_a_stranger_is_unknown(world: World):
    crowd(world)
    answer = world.faces.identify(world.networks.portrait("stranger", 20))[0]
    assert (answer.label, answer.is_match, answer.reason) == (None, False, Reason.BELOW_THRESHOLD)
    assert len(answer.candidates) == 5


def test_the_threshold_grows_with_the_gallery(world: World):
    probe = world.networks.portrait("probe", 0, 0.35)
    crowd(world, 1)
    assert world.faces.identify(probe)[0].label == "person 0"
    for person in range(1, 12):
        world.faces.enroll(world.networks.portrait(f"more {person}", person), f"more {person}")
    assert world.faces.identify(probe)[0].label is None
    assert world.faces.identify(probe, fmr=1e-2)[0].label == "person 0"


def test_an_unsupported_rate_is_answered_and_said(world: World):
    crowd(world)
    answer = world.faces.identify(world.networks.portrait("probe", 0), fpir=1e-6)[0]
    assert (answer.fpir_supported, answer.threshold) == (False, 0.55)
    assert world.faces.identify(world.networks.portrait("probe", 0))[0].fpir_supported


def test_tags_narrow_the_search_and_its_threshold(world: World):
    crowd(world)
    probe = world.networks.portrait("probe", 3)
    inside = world.faces.identify(probe, tags=["group 1"])[0]
    outside = world.faces.identify(probe, tags=["group 0"])[0]
    nobody = world.faces.identify(probe, tags=["group 0", "group 1"])[0]
    assert (inside.label, inside.n_templates) == ("person 3", 5)
    assert (outside.label, outside.n_templates, len(outside.candidates)) == (None, 5, 5)
    assert (nobody.reason, nobody.n_templates) == (Reason.EMPTY_GALLERY, 0)


def test_every_face_gets_an_answer(world: World):
    crowd(world)
    photo = world.networks.photo(
        "group",
        (face_at(0, 0, 90, 0.9), person_vector(2)),
        (face_at(100, 0, 90, 0.99), person_vector(20)),
        (face_at(200, 0, 90, 0.95), person_vector(5)),
    )
    assert [one.label for one in world.faces.identify(photo)] == [None, "person 5", "person 2"]
    assert [one.label for one in world.faces.identify(photo, roi=(150, 0, 400, 400))] == ["person 5"]


def test_k_counts_people_not_templates(world: World):
    for number in range(20):
        world.faces.enroll(world.networks.portrait(f"a{number}", 0, 0.99, photo=number), "Ada")
    crowd_of_two = world.networks.portrait("b", 1), world.networks.portrait("c", 2)
    for number, photo in enumerate(crowd_of_two):
        world.faces.enroll(photo, f"other {number}")
    found = world.faces.identify(world.networks.portrait("probe", 0), k=3)[0].candidates
    assert found[0].label == "Ada"
    assert len(found) == 3


def test_an_empty_gallery_is_no_error(world: World):
    answer = world.faces.identify(world.networks.portrait("probe", 0))[0]
    assert (answer.candidates, answer.reason, answer.n_templates) == ((), Reason.EMPTY_GALLERY, 0)
    assert world.faces.list() == ()


def test_a_misspelt_collection_is_an_error(world: World):
    crowd(world, 1)
    with pytest.raises(UnknownCollectionError, match="staf"):
        world.faces.identify(world.networks.portrait("probe", 0), collection="staf")


def test_collections_do_not_see_each_other(world: World):
    world.faces.enroll(world.networks.portrait("a", 0), "Ada", collection="one")
    world.faces.enroll(world.networks.portrait("b", 1), "Eve", collection="two")
    probe = world.networks.portrait("probe", 0)
    assert world.faces.identify(probe, collection="one")[0].label == "Ada"
    assert world.faces.identify(probe, collection="two")[0].label is None


@pytest.mark.parametrize("k", [0, -1, 1.5, None, True, 10_001])
def test_a_k_out_of_range_is_refused(world: World, k: object):
    with pytest.raises(InputError, match="k must be"):
        world.faces.identify(world.networks.portrait("probe", 0), k=k)


def test_rates_are_checked_before_any_work(world: World):
    photo = world.networks.portrait("probe", 0)
    for rates in ({"fpir": 0.0}, {"fmr": 2.0}, {"fpir": 1e-2, "fmr": 1e-4}):
        with pytest.raises(InputError):
            world.faces.identify(photo, **rates)
    assert world.networks.n_embedded == 0


def test_no_face_is_an_error_not_an_answer(world: World):
    with pytest.raises(NoFaceError):
        world.faces.identify(world.networks.photo("cat"))


def test_a_gallery_of_another_embedder_is_refused(world: World, tmp_path: Path):
    crowd(world, 1)
    world.close()
    other = World(tmp_path, networks=FakeNetworks("newer@222222222222"))
    probe = other.networks.portrait("probe", 0)
    for act in (
        lambda: other.faces.identify(probe),
        lambda: other.faces.enroll(probe, "Joe"),
        lambda: other.faces.verify_identity(probe, "person 0"),
    ):
        with pytest.raises(IncompatibleTemplatesError, match=r"fake@000000000000.*newer@222222222222"):
            act()
    other.close()
