"""Streams of photographs: the answers of one after the other, without pixels, and an end that leaves nothing running."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from facesearch.core.arrays import array_digest
from facesearch.core.errors import EngineError, FaceSearchError, InputError, NoFaceError, SeveralFacesError
from facesearch.core.face import Detection
from facesearch.core.image import Image, ImageOrigin
from facesearch.service.pipeline import NO_WORK, STREAM_PX, FacePipeline
from tests.world import FakeNetworks, face_at, person_vector


def pipeline_of(networks: FakeNetworks) -> FacePipeline:
    return FacePipeline(networks.decode, networks, networks.align, networks, min_face_px=20)


def made(n_photos: int) -> tuple[FakeNetworks, list[str]]:
    networks = FakeNetworks()
    names = []
    for number in range(n_photos):
        if number % 7 == 3:
            names.append(networks.photo(f"empty {number}"))
        elif number % 7 == 5:
            names.append(f"missing {number}")
        elif number % 7 == 6:
            faces = [(face_at(10, 10, 80, 0.9), person_vector(1)), (face_at(200, 200, 90, 0.8), person_vector(2))]
            names.append(networks.photo(f"two {number}", *faces))
        else:
            names.append(networks.portrait(f"portrait {number}", number % 20, 0.9, photo=number))
    return networks, names


def one_by_one(pipeline: FacePipeline, name: str, choice: object) -> tuple[object, ...]:
    try:
        found = pipeline.face(name, choice)
    except FaceSearchError as exc:
        return (name, None, exc.code, exc.message)
    return (name, found.template.vector.tolist(), found.detection.box, found.image.digest)


@pytest.mark.parametrize("choice", ["only", "largest", 1])
@pytest.mark.parametrize("batch", [1, 5, 32])
def test_a_stream_says_what_one_after_the_other_says(choice: object, batch: int):
    networks, names = made(60)
    pipeline = pipeline_of(networks)
    expected = [one_by_one(pipeline, name, choice) for name in names]
    found = []
    for one in pipeline.stream(((name, name) for name in names), choice, batch=batch):
        if one.face is None:
            found.append((one.key, None, one.error.code, one.error.message))
        else:
            found.append((one.key, one.face.template.vector.tolist(), one.face.detection.box, one.face.image.digest))
    assert len(found) == 60
    assert found == expected


def test_all_faces_are_those_of_faces():
    networks, names = made(30)
    pipeline = pipeline_of(networks)
    streamed = list(pipeline.stream_faces(((name, name) for name in names), batch=4))
    assert [one.key for one in streamed] == names
    n_faces = [len(one.faces) for one in streamed]
    assert {0, 1, 2} == set(n_faces)
    for one in streamed:
        if one.error is not None:
            assert one.faces == ()
            continue
        expected = pipeline.faces(one.key)
        assert [face.detection.box for face in one.faces] == [face.detection.box for face in expected]
        np.testing.assert_array_equal([f.template.vector for f in one.faces], [f.template.vector for f in expected])


def test_nothing_streamed_holds_pixels():
    networks, names = made(8)
    streamed = [one for one in pipeline_of(networks).stream(((name, name) for name in names), "largest") if one.face is not None]
    assert len(streamed) == 6
    assert all(isinstance(one.face.image, ImageOrigin) for one in streamed)
    assert (streamed[0].face.image.width, streamed[0].face.image.name) == (400, "portrait 0")


def test_photographs_that_cannot_be_used_are_let_go_without_a_collector_of_cycles():
    networks = FakeNetworks()
    names = [networks.photo(f"empty {number}") for number in range(20)]
    opened: list[weakref.ref[np.ndarray]] = []

    def decode(source: object) -> Image:
        found = networks.decode(source)
        pixels = found.pixels.copy()
        pixels.setflags(write=False)
        opened.append(weakref.ref(pixels))
        return Image(pixels, found.digest, found.source)

    pipeline = FacePipeline(decode, networks, networks.align, networks, min_face_px=20)
    gc.collect()
    gc.disable()
    try:
        streamed = list(pipeline.stream((name, name) for name in names))
        assert [one.error.code for one in streamed] == ["no_face"] * 20
        assert [one() for one in opened] == [None] * 20
    finally:
        gc.enable()


def test_a_photograph_without_work_comes_back_at_its_place():
    networks, names = made(3)
    sources = [(0, names[0]), (1, NO_WORK), (2, names[1]), (3, NO_WORK)]
    found = [(one.key, one.face is None, one.error) for one in pipeline_of(networks).stream(sources)]
    assert found == [(0, False, None), (1, True, None), (2, False, None), (3, True, None)]


class BigPhotographs(FakeNetworks):
    """Photographs of a size of their own, counted while the detector holds them."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.most_at_once = 0

    def decode(self, source: object) -> Image:
        pixels = np.zeros((self.side, self.side, 3), dtype=np.uint8)
        pixels[0, 0, 0] = int(str(source))
        pixels.setflags(write=False)
        return Image(pixels, array_digest(pixels[:1]), str(source))

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        self.most_at_once = max(self.most_at_once, sum(image.width * image.height for image in images))
        return tuple(() for _ in images)


@pytest.mark.parametrize("side", [100, 1_500, 3_000])
def test_pixels_in_work_are_bounded_however_large_the_photographs(side: int):
    networks = BigPhotographs(side)
    streamed = list(pipeline_of(networks).stream(((n, n) for n in range(12)), n_workers=2))
    assert [one.error.code for one in streamed] == ["no_face"] * 12
    assert 0 < networks.most_at_once <= STREAM_PX + side * side


class FailingNetworks(FakeNetworks):
    """An embedder that fails at some photograph."""

    def embed(self, crops):
        if self.n_embedded >= 20:
            raise EngineError("the network failed")
        return super().embed(crops)


def test_the_failure_of_a_network_ends_the_stream_and_its_threads():
    networks = FailingNetworks()
    names = [networks.portrait(f"p{n}", n % 20, 0.9, photo=n) for n in range(200)]
    seen: list[str] = []
    stream = pipeline_of(networks).stream(((name, name) for name in names), batch=8, n_workers=2)
    with pytest.raises(EngineError, match="the network failed"):
        seen.extend(one.key for one in stream)
    assert seen == names[: len(seen)]
    assert 16 <= len(seen) < 64
    assert not [one for one in threading.enumerate() if one.name.startswith("facesearch-stream")]


def test_a_reader_that_goes_away_leaves_no_thread():
    networks, names = made(100)
    stream = pipeline_of(networks).stream(((name, name) for name in names), batch=4)
    assert next(stream).key == names[0]
    stream.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("facesearch-stream")]


def test_one_face_of_each_photograph_is_what_each_alone_gives():
    networks = FakeNetworks()
    pipeline = pipeline_of(networks)
    photographs = [networks.portrait(f"each {number}", number) for number in range(3)]
    one_by_one = [pipeline.face(one) for one in photographs]
    before = networks.n_embedded
    together = pipeline.face_each([(photographs[0], "only"), (one_by_one[1], "only"), (photographs[2], "largest")])
    assert networks.n_embedded == before + 2  # a face that was found already is not embedded again
    assert len(together) == 3
    for found, wanted in zip(together, one_by_one, strict=True):
        assert found.image.digest == wanted.image.digest
        assert np.array_equal(found.template.vector, wanted.template.vector)


def test_of_several_photographs_each_must_have_the_face_that_is_meant():
    networks, names = made(7)
    pipeline = pipeline_of(networks)
    with pytest.raises(SeveralFacesError):
        pipeline.face_each([(names[0], "only"), (names[6], "only")])
    with pytest.raises(NoFaceError):
        pipeline.face_each([(names[3], "only"), (names[0], "only")])
    with pytest.raises(InputError, match="face must be"):
        pipeline.face_each([(names[0], "only"), (names[1], "nearest")])
    assert pipeline.face_each([]) == ()
