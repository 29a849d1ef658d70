"""Many probes in one call: the answers of one photograph after the other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from facesearch.core.errors import FaceSearchError, InputError, OperatingPointError, UnknownCollectionError
from facesearch.core.fusion import Fusion
from facesearch.service import identify_many
from tests.world import World, face_at, person_vector

N_PROBES = 60


def enrolled(world: World) -> list[str]:
    """Enroll ten people with up to three photographs and return probes of them, of strangers, of groups and of nobody."""
    for person in range(10):
        for photo in range(1 + person % 3):
            world.faces.enroll(world.networks.portrait(f"e{person}-{photo}", person, 0.8, photo=photo), f"P{person}", tags=["crew"])
    probes = []
    for number in range(N_PROBES):
        if number % 9 == 4:
            probes.append(world.networks.photo(f"empty {number}"))
        elif number % 9 == 7:
            probes.append(f"missing {number}")
        elif number % 9 == 2:
            faces = [(face_at(100 * n, 0, 80, 0.9 - n / 10), person_vector(n + number % 12, 0.7, number)) for n in range(3)]
            probes.append(world.networks.photo(f"group {number}", *faces))
        else:
            probes.append(world.networks.portrait(f"p{number}", number % 14, 0.6, photo=number))
    return probes


def one_by_one(world: World, probes: list[str], **asked) -> list[object]:
    answers: list[object] = []
    for probe in probes:
        try:
            answers.append(world.faces.identify(probe, 4, **asked))
        except FaceSearchError as exc:
            answers.append(exc.message)
    return answers


@pytest.mark.parametrize(
    ("fusion", "asked"),
    [(Fusion.BEST, {}), (Fusion.MEAN, {}), (Fusion.QUALITY, {"fmr": 1e-3}), (Fusion.MEAN, {"tags": ["crew"], "fpir": 1e-1})],
)
def test_many_answers_are_those_of_one_after_the_other(tmp_path: Path, monkeypatch, fusion: Fusion, asked: dict):
    monkeypatch.setattr(identify_many, "GROUP_FACES", 7)
    world = World(tmp_path, fusion=fusion)
    try:
        probes = enrolled(world)
        world.faces.reject(probes[0], "P0")
        expected = one_by_one(world, probes, **asked)
        answers = list(world.faces.identify_many(probes, 4, **asked))
        assert [one.number for one in answers] == list(range(N_PROBES))
        assert [one.photo for one in answers] == probes
        found = [one.faces if one.error is None else one.error.message for one in answers]
        assert sum(one.n_recognised for one in answers) > 10
        assert sum(one.error is not None for one in answers) > 5
        assert found == expected
    finally:
        world.close()


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


def test_an_empty_gallery_and_no_photographs(world: World):
    probe = world.networks.portrait("p", 0)
    assert [one.faces[0].is_match for one in world.faces.identify_many([probe])] == [False]
    assert list(world.faces.identify_many([])) == []


def test_wrong_questions_are_refused_before_a_photograph_is_read(world: World):
    def never():
        raise AssertionError("read")
        yield

    for wrong in ({"k": 0}, {"fpir": 2.0}, {"fpir": 0.1, "fmr": 0.1}):
        with pytest.raises(InputError):
            world.faces.identify_many(never(), **wrong)
    with pytest.raises(OperatingPointError):
        world.faces.identify_many(never(), operating_point="none")


def test_a_missing_collection_ends_it_without_leaving_threads(world: World):
    probes = [world.networks.portrait(f"p{number}", 0, 0.9, photo=number) for number in range(200)]
    with pytest.raises(UnknownCollectionError):
        list(world.faces.identify_many(probes, collection="elsewhere"))
    assert not [one for one in threading.enumerate() if one.name.startswith("facesearch-stream")]


def test_photographs_are_read_as_answers_are_taken(world: World):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield world.networks.portrait(f"p{taken}", taken % 20)

    answers = world.faces.identify_many(endless())
    assert [next(answers).number for _ in range(3)] == [0, 1, 2]
    answers.close()
    assert taken < 1_000
