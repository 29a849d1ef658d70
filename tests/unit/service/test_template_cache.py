"""Templates on disk: what was kept comes back, and nothing damaged, touched or of other settings ever does."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
import pytest

from facesearch.core.quality import Quality
from facesearch.service.template_cache import CachedOutcome, FileStamp, TemplateCache, file_digest
from tests.world import face_at, person_vector

RECIPE = {"embedder": "fake", "min_face_px": 20}


@pytest.fixture
def photo(tmp_path):
    def make(name, data=b"picture"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


def outcome(path, person=0):
    return CachedOutcome(file_digest(path), face_at(3, 4, 50, 0.75), person_vector(person).astype(np.float32))


def kept_in(folder, *paths, recipe=RECIPE):
    with TemplateCache(folder, recipe) as cache:
        for number, path in enumerate(paths):
            cache.add(FileStamp.of(path), outcome(path, number))
        return cache.path


def found_in(folder, path, recipe=RECIPE):
    with TemplateCache(folder, recipe) as cache:
        return cache.find(FileStamp.of(path))


@pytest.mark.timeout(20)  # nobody ever writes into the pipe: opening it waits for good
def test_a_pipe_has_no_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert file_digest(tmp_path / "pipe.jpg") == ""


def test_what_was_kept_comes_back_exactly(tmp_path, photo):
    path = photo("a.jpg")
    kept_in(tmp_path / "c", path)
    found, given = found_in(tmp_path / "c", path), outcome(path)
    assert found.digest == given.digest
    np.testing.assert_array_equal(found.vector, given.vector)
    assert found.detection.box == given.detection.box
    assert found.detection.score == given.detection.score
    assert found.quality is None
    np.testing.assert_array_equal(found.detection.landmarks, given.detection.landmarks)


def test_the_quality_is_kept_exactly(tmp_path, photo):
    path = photo("a.jpg")
    quality = Quality(61.5, 40.25, 1 / 3, 0.1, -0.2, 0.05, -3.0, 0.5, 0.01, 0.02, 0.7, 0.99)
    with TemplateCache(tmp_path / "c", RECIPE) as cache:
        cache.add(FileStamp.of(path), replace(outcome(path), quality=quality))
    found = found_in(tmp_path / "c", path)
    assert found.quality == quality
    assert found.detection.box == outcome(path).detection.box


def test_failures_are_kept_too(tmp_path, photo):
    path = photo("a.jpg")
    with TemplateCache(tmp_path / "c", RECIPE) as cache:
        cache.add(FileStamp.of(path), CachedOutcome(file_digest(path), code="no_face", message="no face in a.jpg"))
    found = found_in(tmp_path / "c", path)
    assert (found.code, found.message, found.vector) == ("no_face", "no face in a.jpg", None)


def test_other_settings_see_nothing(tmp_path, photo):
    path = photo("a.jpg")
    kept_in(tmp_path / "c", path)
    assert found_in(tmp_path / "c", path, {**RECIPE, "min_face_px": 40}) is None


def test_a_changed_file_is_read_again(tmp_path, photo):
    path = photo("a.jpg", b"before")
    kept_in(tmp_path / "c", path)
    path.write_bytes(b"after!")  # of the same size
    os.utime(path, ns=(1, 1))
    assert found_in(tmp_path / "c", path) is None


def test_a_touched_or_renamed_file_is_known_by_its_bytes(tmp_path, photo):
    path = photo("a.jpg")
    kept_in(tmp_path / "c", path)
    os.utime(path, ns=(1, 1))
    assert found_in(tmp_path / "c", path) is not None
    moved = path.rename(tmp_path / "b.jpg")
    assert found_in(tmp_path / "c", moved) is not None
    with TemplateCache(tmp_path / "c", RECIPE) as cache:
        assert len(cache) == 2  # the new name is noted, so that the bytes are read once


def test_every_torn_tail_is_ignored_and_cut_off(tmp_path, photo):
    first, second, third = photo("a.jpg", b"1"), photo("b.jpg", b"2"), photo("c.jpg", b"3")
    whole = kept_in(tmp_path / "c", first).stat().st_size
    file = kept_in(tmp_path / "c", first, second)
    content = file.read_bytes()
    file.unlink()
    file = kept_in(tmp_path / "c", first, second)
    content = file.read_bytes()
    assert len(content) > whole
    for length in range(whole, len(content), 37):
        file.write_bytes(content[:length])
        assert found_in(tmp_path / "c", first) is not None
        assert found_in(tmp_path / "c", second) is None
        kept_in(tmp_path / "c", third)
        assert found_in(tmp_path / "c", third) is not None


def test_no_damaged_byte_changes_a_template(tmp_path, photo):
    path = photo("a.jpg")
    file = kept_in(tmp_path / "c", path)
    content, given = file.read_bytes(), outcome(path)
    n_lost = 0
    for place in range(0, len(content), 11):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        found = found_in(tmp_path / "c", path)
        n_lost += found is None
        if found is not None:
            np.testing.assert_array_equal(found.vector, given.vector)
    assert n_lost == len(range(0, len(content), 11))


def test_a_second_process_reads_and_does_not_write(tmp_path, photo, caplog):
    first, second = photo("a.jpg", b"1"), photo("b.jpg", b"2")
    kept_in(tmp_path / "c", first)
    with TemplateCache(tmp_path / "c", RECIPE) as writer:
        with caplog.at_level(logging.WARNING, "facesearch"), TemplateCache(tmp_path / "c", RECIPE) as reader:
            assert reader.find(FileStamp.of(first)) is not None
            reader.add(FileStamp.of(second), outcome(second))
        writer.add(FileStamp.of(second), outcome(second, 5))
    assert "another process" in caplog.text
    np.testing.assert_array_equal(found_in(tmp_path / "c", second).vector, outcome(second, 5).vector)


def test_a_folder_that_cannot_be_made_costs_a_warning_only(tmp_path, photo, caplog):
    path = photo("a.jpg")
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING, "facesearch"):
        kept_in(tmp_path / "file" / "c", path)
    assert "cannot be kept" in caplog.text


def test_names_that_are_no_utf8_are_kept(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    path.write_bytes(b"picture")
    kept_in(tmp_path / "c", path)
    assert found_in(tmp_path / "c", path) is not None
