"""Several photographs of a person as one score, from the façade down to the index."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.fusion import Fusion
from facesearch.service import fused_search
from tests.world import DIM, World, face_at, person_vector


def mean_score(vectors: list[np.ndarray], probe: np.ndarray) -> float:
    total = np.sum(vectors, axis=0)
    return float(total @ probe / np.linalg.norm(total))


@pytest.fixture(params=list(Fusion), ids=str)
def world(tmp_path: Path, request: pytest.FixtureRequest):
    world = World(tmp_path, fusion=request.param)
    world.fusion = request.param
    yield world
    world.close()


def test_a_person_of_several_photographs_has_one_score(world: World):
    weak, good = person_vector(0, 0.6, 1), person_vector(0, 0.9, 2)
    world.faces.enroll(world.networks.photo("a1", (face_at(10, 10, 28, score=0.5), weak)), "Ada")
    world.faces.enroll(world.networks.photo("a2", (face_at(10, 10, 112, score=1.0), good)), "Ada")
    probe = person_vector(0)
    wanted = {
        Fusion.BEST: 0.9,
        Fusion.MEAN: mean_score([weak, good], probe),
        Fusion.QUALITY: mean_score([weak * 0.125, good], probe),  # a quarter of the size, half the detector's score
    }[world.fusion]
    name = world.networks.portrait("probe", 0)
    verified, (identified,) = world.faces.verify_identity(name, "Ada"), world.faces.identify(name)
    assert verified.score == pytest.approx(wanted, abs=1e-6)
    assert identified.candidates[0].score == pytest.approx(wanted, abs=1e-6)
    assert identified.n_templates == 2


def test_the_threshold_counts_templates_for_best_of_and_three_a_person_at_most_for_a_mean(tmp_path: Path):
    thresholds = {}
    for fusion in (Fusion.BEST, Fusion.MEAN):
        folder = tmp_path / fusion
        folder.mkdir()
        world = World(folder, fusion=fusion)
        for number in range(10):
            world.faces.enroll(world.networks.portrait(f"a{number}", 0, 0.9, photo=number), "Ada")
        name = world.networks.portrait("probe", 0)
        (identified,) = world.faces.identify(name, fpir=1e-2)
        thresholds[fusion] = (identified.operating_point.fmr, world.faces.verify_identity(name, "Ada").operating_point.fmr)
        world.close()
    assert thresholds[Fusion.BEST] == (pytest.approx(1e-3), pytest.approx(1e-5))
    assert thresholds[Fusion.MEAN] == (pytest.approx(1e-2 / 3), pytest.approx(1e-4 / 3))


@pytest.mark.parametrize("n_fetched", [1, 64])
def test_fused_search_finds_what_scoring_everybody_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_fetched: int):
    monkeypatch.setattr(fused_search, "FETCHED_MIN", n_fetched)
    monkeypatch.setattr(fused_search, "FETCHED_PER_WANTED", 1)
    world = World(tmp_path, fusion=Fusion.MEAN)
    rng = np.random.default_rng(5)
    people: dict[str, list[np.ndarray]] = {}
    for person in range(25):
        own = rng.normal(size=DIM)
        for number in range(rng.integers(1, 5)):
            vector = normalised(own + 0.6 * rng.normal(size=DIM))
            photo = world.networks.photo(f"{person}-{number}", (face_at(100, 100, 120), vector))
            world.faces.enroll(photo, f"p{person}", allow_duplicate=True, allow_mismatch=True)
            people.setdefault(f"p{person}", []).append(vector)
    for number in range(20):
        probe = normalised(rng.normal(size=DIM))
        name = world.networks.photo(f"probe {number}", (face_at(100, 100, 120), probe))
        (answer,) = world.faces.identify(name, k=4)
        oracle = sorted(((mean_score(vectors, probe), label) for label, vectors in people.items()), reverse=True)[:4]
        sure = len(oracle) if n_fetched > len(people) else 1  # of few people fetched only the first is promised
        assert [one.label for one in answer.candidates][:sure] == [label for _, label in oracle][:sure]
        assert [one.score for one in answer.candidates][:sure] == pytest.approx([score for score, _ in oracle][:sure], abs=1e-5)
    world.close()


def test_what_changes_in_the_gallery_changes_the_score(tmp_path: Path):
    world = World(tmp_path, fusion=Fusion.MEAN)
    name = world.networks.portrait("probe", 0)

    def scores() -> dict[str, float]:
        return {one.label: one.score for one in world.faces.identify(name)[0].candidates}

    first, second = person_vector(0, 0.6, 1), person_vector(0, 0.9, 2)
    world.faces.enroll(world.networks.portrait("a1", 0, 0.6, photo=1), "Ada")
    told = [scores()]
    world.faces.enroll(world.networks.portrait("a2", 0, 0.9, photo=2), "Ada")
    told.append(scores())
    with world.store.writing() as writer:
        ada = writer.identity("default", "Ada")
        bob = writer.add_identity("default", "Bob")
        moved = writer.templates_of(ada.identity_id)[1].template_id
        writer.move_template(moved, bob.identity_id)
    told.append(scores())
    with world.store.writing() as writer:
        writer.remove_template(moved)
    told.append(scores())
    assert told[0] == {"Ada": pytest.approx(0.6, abs=1e-6)}
    assert told[1] == {"Ada": pytest.approx(mean_score([first, second], person_vector(0)), abs=1e-6)}
    assert told[2] == {"Ada": pytest.approx(0.6, abs=1e-6), "Bob": pytest.approx(0.9, abs=1e-6)}
    assert told[3] == {"Ada": pytest.approx(0.6, abs=1e-6)}
    assert all(before != after for before, after in pairwise(told))
    world.faces.remove("Ada", erase=True)
    assert scores() == {}
    world.close()
