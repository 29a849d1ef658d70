"""Calibration end to end: no probability before, prior and clamp with it, for single comparisons only, until it is removed."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.calibration import CalibrationMethod
from facesearch.core.errors import InputError, UnknownCollectionError
from tests.world import DIM, World, face_at

N_PEOPLE = 24


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("world"))
    rng = np.random.default_rng(1)
    for person in range(N_PEOPLE):
        own = rng.normal(size=DIM)
        for photo in range(2):
            vector = normalised(own + 0.45 * rng.normal(size=DIM))
            name = made.networks.photo(f"{person}-{photo}.jpg", (face_at(100, 100, 120), vector))
            made.faces.enroll(name, f"P{person}", allow_duplicate=True, allow_mismatch=True)
    yield made
    made.close()


@pytest.fixture
def world(enrolled):
    enrolled.faces.remove_calibration()
    return enrolled


def test_there_is_no_probability_before_and_after(world):
    assert world.faces.verify("0-0.jpg", "0-1.jpg").probability is None
    outcome = world.faces.calibrate(prior=0.01)
    assert outcome.calibration.source == "48 templates of 24 people enrolled in default"
    assert outcome.calibration.embedder_id == world.faces.embedder_id
    same, different = world.faces.verify("0-0.jpg", "0-1.jpg"), world.faces.verify("0-0.jpg", "1-0.jpg")
    assert same.calibration == outcome.calibration
    assert same.calibration.prior == 0.01
    assert different.probability < 0.01 < same.probability
    assert different.log_likelihood_ratio < 0 < same.log_likelihood_ratio
    least, greatest = outcome.calibration.clamp
    assert least <= different.log_likelihood_ratio <= same.log_likelihood_ratio <= greatest
    assert world.faces.calibrations() == (outcome.calibration,)
    assert world.faces.remove_calibration() is True
    assert world.faces.verify("0-0.jpg", "0-1.jpg").probability is None
    assert world.faces.remove_calibration() is False


@pytest.mark.parametrize("method", CalibrationMethod)
def test_it_is_checked_on_people_left_out(world, method):
    outcome = world.faces.calibrate(method=str(method))
    assert (outcome.calibration.method, outcome.warnings) == (method, ())
    assert len(outcome.held_out) == 2
    for one in outcome.held_out:
        assert one.check.cllr < one.check.uncalibrated < one.check.prior_only
        assert sum(bin_.n_mated for bin_ in one.bins) == one.check.n_mated == N_PEOPLE // 2
    assert sum(one.check.n_non_mated for one in outcome.held_out) == 2 * (N_PEOPLE // 2) * (N_PEOPLE // 2 - 1) // 2 * 4


def test_only_a_single_comparison_gets_one(world):
    world.faces.calibrate()
    assert world.faces.verify_identity("0-0.jpg", "P0").probability is None  # two photographs, fused
    (answer,) = world.faces.identify("0-0.jpg")
    assert not hasattr(answer, "probability")
    assert answer.candidates
    assert not any(hasattr(one, "probability") for one in answer.candidates)


def test_a_folder_is_calibrated_on_and_halves_too_small_are_said(world, tmp_path):
    folder = tmp_path / "people"
    for person in range(6):
        (folder / f"P{person}").mkdir(parents=True)
        for photo in range(2):
            path = folder / f"P{person}" / f"{photo}.jpg"
            path.write_bytes(f"{person}-{photo}".encode())
            world.networks.photos[str(path)] = world.networks.photos[f"{person}-{photo}.jpg"]
    outcome = world.faces.calibrate(folder)
    assert outcome.calibration.source == "12 photographs of 6 people in people"
    assert outcome.held_out == ()
    assert "half of them are too few" in outcome.warnings[0]


def test_one_person_is_refused_and_nothing_is_stored(world):
    for photo in (0, 1):
        world.faces.enroll(f"0-{photo}.jpg", "Solo", collection="solo")
    with pytest.raises(InputError, match="at least two people"):
        world.faces.calibrate(collection="solo")
    world.faces.add_collection("empty")
    with pytest.raises(InputError, match="nothing to calibrate on"):
        world.faces.calibrate(collection="empty")
    with pytest.raises(UnknownCollectionError):
        world.faces.calibrate(collection="nowhere")
    assert world.faces.calibrations() == ()


@pytest.mark.parametrize(("option", "value"), [("method", "magic"), ("prior", 0.0), ("prior", float("nan"))])
def test_wrong_options_are_refused(world, option, value):
    with pytest.raises(InputError):
        world.faces.calibrate(**{option: value})
