"""Augmentation and the loader: what is done to a crop depends on seed and draw alone, and batches come in order."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from facesearch.training.augment import STRENGTHS, Augmentation, augmented, uniform_numbers
from facesearch.training.crop_store import CropStore
from facesearch.training.loader import BatchLoader
from facesearch.training.samplers import PeopleSampler
from tests.training_files import face_pixels, write_faces


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.stack([face_pixels(person, 0, noise=5.0) for person in range(6)])


def test_numbers_are_even_and_do_not_depend_on_each_other() -> None:
    numbers = uniform_numbers(3, np.arange(20_000), 12)
    assert numbers.shape == (20_000, 12)
    assert 0.0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1.0
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(numbers.T) - np.eye(12)).max() < 0.03
    assert np.abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.03
    assert not np.array_equal(numbers, uniform_numbers(4, np.arange(20_000), 12))


@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
def test_a_crop_is_changed_by_its_draw_and_not_by_its_batch(crops: np.ndarray, strength) -> None:
    kept = crops.copy()
    draws = np.array([5, 900, 3, 3, 70_000_000_000, 12])
    together = augmented(crops, draws, STRENGTHS[strength], seed=9)
    assert together.shape == crops.shape
    assert together.dtype == np.uint8
    for row in range(len(crops)):
        alone = augmented(crops[row : row + 1], draws[row : row + 1], STRENGTHS[strength], seed=9)
        np.testing.assert_array_equal(alone[0], together[row])
    np.testing.assert_array_equal(crops, kept)
    other = augmented(crops, draws + 1, STRENGTHS[strength], seed=9)
    assert all((other[row] != together[row]).any() for row in range(len(crops)))


def test_nothing_asked_is_nothing_done(crops: np.ndarray) -> None:
    same = augmented(crops, np.arange(6), STRENGTHS["none"])
    np.testing.assert_array_equal(same, crops)
    assert not np.shares_memory(same, crops)


def test_a_flip_is_the_mirror_image_and_comes_as_often_as_said(crops: np.ndarray) -> None:
    many = np.repeat(crops[:1], 400, axis=0)
    found = augmented(many, np.arange(400), Augmentation(flip=0.3))
    mirrored = np.abs(found.astype(int) - crops[0][:, ::-1].astype(int)).max(axis=(1, 2, 3)) == 0
    same = np.abs(found.astype(int) - crops[0].astype(int)).max(axis=(1, 2, 3)) == 0
    assert (mirrored | same).all()
    assert 0.2 < mirrored.mean() < 0.4


def test_shifts_and_turns_stay_within_their_range() -> None:
    picture = np.zeros((1, 112, 112, 3), np.uint8)
    picture[0, 54:58, 54:58] = 255
    many = np.repeat(picture, 200, axis=0)
    moved = augmented(many, np.arange(200), Augmentation(shift=0.1))[..., 0].astype(float)
    rows, columns = np.mgrid[:112, :112]
    total = moved.sum(axis=(1, 2))
    centres = np.stack([(moved * rows).sum(axis=(1, 2)) / total, (moved * columns).sum(axis=(1, 2)) / total], axis=1) - 55.5
    assert 10.0 < np.abs(centres).max() <= 11.3
    assert np.abs(centres.mean(axis=0)).max() < 1.5


def test_each_kind_of_change_does_something(crops: np.ndarray) -> None:
    kinds = {
        "turn_deg": 10.0, "zoom": 0.1, "brightness": 0.3, "contrast": 0.3, "tint": 0.3, "grey": 1.0, "blur": 1.0,
        "low_resolution": 1.0, "occlusion": 1.0,
    }  # fmt: skip
    assert len(kinds) == 9
    for name, value in kinds.items():
        how = dataclasses.replace(Augmentation(), **{name: value})
        changed = augmented(crops, np.arange(6), how)
        assert (changed != crops).any(axis=(1, 2, 3)).all(), name
    grey = augmented(crops, np.arange(6), Augmentation(grey=1.0))
    assert (grey[..., 0] == grey[..., 1]).all()


def test_batches_come_in_order_and_several_processes_make_what_one_makes(tmp_path: Path) -> None:
    store = CropStore.open(write_faces(tmp_path / "store", (3, 3, 3, 3, 3, 3)))
    sampler = PeopleSampler(store.labels, 4, 2, seed=1)

    def loader(rank: int = 0, world: int = 1) -> BatchLoader:
        return BatchLoader(store, sampler, STRENGTHS["strong"], seed=4, steps=range(3, 9), rank=rank, world=world)

    with loader() as whole:
        batches = list(whole)
    assert [batch.step for batch in batches] == [3, 4, 5, 6, 7, 8]
    for batch in batches:
        np.testing.assert_array_equal(batch.labels, store.labels[batch.rows])
        parts = [loader(rank, 2).make(batch.step) for rank in (0, 1)]
        np.testing.assert_array_equal(np.concatenate([part.pixels for part in parts]), batch.pixels)
        np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), batch.rows)
    assert whole.worked_s > 0


def test_an_error_that_nobody_expects_ends_training_and_not_the_thread_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CropStore.open(write_faces(tmp_path / "store", (2, 2, 2)))
    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda found: seen.append(str(found.exc_value)))

    class Broken(PeopleSampler):
        def batch(self, step: int) -> np.ndarray:
            raise LookupError(f"nobody in step {step}")

    with BatchLoader(store, Broken(store.labels, 2, 2), STRENGTHS["none"], seed=0, steps=range(3)) as loader:
        batches = iter(loader)
        with pytest.raises(RuntimeError, match="the thread that makes batches ended by an error of its own"):
            next(batches)
    assert seen == ["nobody in step 0"]


def test_leaving_early_ends_the_thread(tmp_path: Path) -> None:
    store = CropStore.open(write_faces(tmp_path / "store", (2, 2, 2)))
    with BatchLoader(store, PeopleSampler(store.labels, 2, 2), STRENGTHS["none"], seed=0, steps=range(10**6)) as loader:
        assert next(iter(loader)).step == 0
    assert "crops" not in [thread.name for thread in threading.enumerate()]
