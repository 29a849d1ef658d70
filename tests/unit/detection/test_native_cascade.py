"""The compiled cascade beside slow twins: torch's networks on whole levels, NumPy's suppression and the engine's cascade."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.errors import CheckpointDigestError
from facesearch.core.image import Image
from facesearch.detection import MtcnnDetector
from facesearch.detection.boxes import Rule, suppress_within
from facesearch.detection.engine_stages import EngineStages
from facesearch.detection.native_library import INTERFACE, LIBRARY, instruction_sets, load_library, suppress_natively
from facesearch.detection.native_stages import NativeStages
from facesearch.detection.networks import network_specs
from facesearch.detection.pyramid import levels_of
from facesearch.detection.sampling import AreaSampler, area_bins
from facesearch.detection.weights import PNET_DIGEST, read_weights, weights_folder
from facesearch.inference import create_engine
from hatch_build import compiler

SAME_SCORE = 1e-5
SAME_CORRECTION = 1e-5
SAME_PX = 0.01

LIBRARY_LOADED = load_library()
SETS = instruction_sets(LIBRARY_LOADED) if LIBRARY_LOADED is not None else []

needs_library = pytest.mark.skipif(LIBRARY_LOADED is None, reason=f"nothing was compiled: {LIBRARY} is missing")


@pytest.fixture(scope="module")
def torch_stages():
    engine = create_engine("torch")
    return EngineStages(tuple(engine.load(spec) for spec in network_specs()))


@pytest.fixture(scope="module", params=range(len(SETS)), ids=SETS)
def native(request):
    return NativeStages(LIBRARY_LOADED, threads=2, instructions=request.param)


@pytest.fixture(scope="module")
def best():
    return NativeStages(LIBRARY_LOADED, threads=2)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def every_cell(stages, photos, min_face_px=20):
    levels = [levels_of(*photo.shape[:2], min_face_px, 0.709) for photo in photos]
    return levels, stages.search(photos, levels).proposals(0.0)


def assert_same_cells(found, expected):
    assert len(found) == len(expected)
    for name in ("photo", "level", "row", "col"):
        assert np.array_equal(found[name], expected[name]), name
    assert np.abs(found["score"] - expected["score"]).max() < SAME_SCORE
    assert np.abs(found["correction"] - expected["correction"]).max() < SAME_CORRECTION


# Odd and even sides, level widths around one, two, three and more vectors, a single cell, and a wide strip.
@needs_library
@pytest.mark.parametrize("size", [(20, 20), (21, 22), (61, 87), (64, 130), (133, 90), (20, 700), (301, 23)])
def test_every_cell_of_every_level_equals_torch(native, torch_stages, size):
    pixels = noise(*size)
    levels, found = every_cell(native, [pixels])
    assert len(found) == sum(level.cells[0] * level.cells[1] for level in levels[0]) > 0
    assert_same_cells(found, every_cell(torch_stages, [pixels])[1])


@needs_library
def test_a_photographs_cells_equal_torch_on_whole_levels(best, astronaut):
    levels, found = every_cell(best, [astronaut])
    pnet = create_engine("torch").load(network_specs()[0])
    sampler = AreaSampler(astronaut)
    start = 0
    assert len(levels[0]) >= 8
    for level in levels[0]:
        whole = sampler.grid(area_bins(astronaut.shape[0], level.height), area_bins(astronaut.shape[1], level.width))
        scores, corrections = pnet.run(whole[None])
        here = found[start : start + scores.size]
        start += scores.size
        assert np.abs(here["score"].reshape(scores[0].shape) - scores[0]).max() < SAME_SCORE
        assert np.abs(here["correction"].T.reshape(corrections[0].shape) - corrections[0]).max() < SAME_CORRECTION
    assert start == len(found)


@needs_library
def test_levels_of_more_than_257_rows_a_pixel_do_not_overflow(best, torch_stages):
    white = np.full((3600, 40, 3), 255, np.uint8)
    white[1800:] = 128
    levels = [(levels_of(3600, 40, 20, 0.709)[0].__class__(12 / 3600, 12, 12),)]
    found, expected = (stages.search([white], levels).proposals(0.0) for stages in (best, torch_stages))
    assert len(found) == 1
    assert_same_cells(found, expected)


@needs_library
def test_bands_whose_running_sums_wrap_around_are_averaged_all_the_same(native):
    # 2,500 rows of 4,000 white pixels: their sum is beyond 31 bits, those of the twelve pixels made of them are not.
    long = np.broadcast_to(np.full((1, 4000, 3), 255, np.uint8), (30_000, 4000, 3))
    short = np.full((40, 40, 3), 255, np.uint8)
    level = levels_of(40, 40, 20, 0.709)[0].__class__(12 / 40, 12, 12)
    crops = [np.array([[0, 0, 0, *photo.shape[1::-1]]], dtype=np.int32) for photo in (long, short)]
    cells, scores = zip(
        *(
            ((search := native.search([photo], [(level,)])).proposals(0.0), search.refinements(crop)[0])
            for photo, crop in zip((long, short), crops, strict=True)
        ),
        strict=True,
    )
    assert_same_cells(*cells)
    assert abs(scores[0] - scores[1]).max() < SAME_SCORE


@needs_library
def test_the_threshold_lets_through_exactly_the_cells_that_reach_it(best, astronaut):
    _, found = every_cell(best, [astronaut])
    levels = [levels_of(*astronaut.shape[:2], 20, 0.709)]
    for threshold in (0.3, 0.6, float(np.sort(found["score"])[-5])):
        some = best.search([astronaut], levels).proposals(threshold)
        assert 0 < len(some) < len(found)
        assert some.tobytes() == found[found["score"] >= np.float32(threshold)].tobytes()


@needs_library
@pytest.mark.parametrize("seed", range(3))
def test_crops_of_any_size_equal_torch(native, torch_stages, seed):
    photos = [noise(90, 120, seed), noise(700, 80, seed + 9)]
    rng = np.random.default_rng(seed)
    rows = []
    for place, photo in enumerate(photos):
        height, width = photo.shape[:2]
        left, top = rng.integers(0, width - 1, 40), rng.integers(0, height - 1, 40)
        right, bottom = (rng.integers(low + 1, high + 1) for low, high in ((left, width), (top, height)))
        rows.append(np.stack([np.full(40, place), left, top, right, bottom], axis=1))
    crops = np.concatenate(rows).astype(np.int32)
    ours, theirs = (
        stages.search(photos, [levels_of(*p.shape[:2], 20, 0.709) for p in photos]) for stages in (native, torch_stages)
    )
    compared = 0
    for ask in ("refinements", "outputs"):
        for found, expected in zip(getattr(ours, ask)(crops), getattr(theirs, ask)(crops), strict=True):
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < SAME_SCORE
            compared += 1
    assert compared == 5


@needs_library
def test_results_depend_neither_on_threads_nor_on_company(astronaut, hopper):
    photos = [astronaut, hopper, astronaut[::2, ::2]]
    alone, many = (NativeStages(LIBRARY_LOADED, threads=n_threads) for n_threads in (1, 3))
    _, together = every_cell(many, photos)
    one_by_one = np.concatenate([every_cell(alone, [photo])[1] for photo in photos])
    assert {name: together[name].tobytes() for name in ("row", "col", "level", "score", "correction")} == {
        name: one_by_one[name].tobytes() for name in ("row", "col", "level", "score", "correction")
    }
    crops = np.array([[0, x, x, x + 30 + x % 50, x + 60] for x in range(100)], dtype=np.int32)
    levels = [levels_of(*astronaut.shape[:2], 20, 0.709)]
    batch = many.search([astronaut], levels).outputs(crops)
    single = [alone.search([astronaut], levels).outputs(crops[place : place + 1]) for place in range(100)]
    for output, parts in zip(batch, zip(*single, strict=True), strict=True):
        assert output.tobytes() == np.concatenate(parts).tobytes()


@needs_library
@pytest.mark.parametrize(
    "view",
    [np.s_[30:300, 100:401], np.s_[::2, :300], np.s_[::-1], np.s_[:, ::-1], np.s_[:, ::2], np.s_[:200, :200, ::-1]],
    ids=str,
)
def test_views_give_what_their_copies_give(best, astronaut, view):
    seen = astronaut[view]
    assert every_cell(best, [seen])[1].tobytes() == every_cell(best, [np.ascontiguousarray(seen)])[1].tobytes()


@needs_library
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (19, 19), (20, 20), (23, 3001)])
def test_a_photograph_of_any_shape_is_searched(size):
    detector = MtcnnDetector(create_engine("openvino"), threads=2)
    assert detector.detect(Image(noise(*size), "")) == ()


@needs_library
@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(0, 60),
    seed=st.integers(0, 2**31),
    rule=st.builds(
        Rule,
        st.sampled_from([0.3, 0.5, 0.7]),
        st.sampled_from(["union", "smaller"]),
        st.sampled_from([0.0, 1.0]),
        st.sampled_from(["first", "last"]),
    ),
)
def test_suppression_equals_numpys(n, seed, rule):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 40, (n, 2)).round(rng.integers(0, 3))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 30, (n, 2)).round(1)], axis=1).astype(np.float32)
    scores = rng.uniform(0.6, 1, n).round(1).astype(np.float32)  # many equal ones
    keys = np.sort(rng.integers(0, 4, n))
    found = suppress_natively(LIBRARY_LOADED, keys, boxes, scores, rule)
    assert found.tolist() == suppress_within(keys, boxes, scores, rule).tolist()


@needs_library
def test_a_crowd_of_boxes_is_suppressed_as_numpy_does():
    rng = np.random.default_rng(8)
    corners = rng.uniform(0, 400, (3000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 60, (3000, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0.6, 1, 3000).astype(np.float32)
    keys, rule = np.zeros(3000, np.int64), Rule(0.5)
    found = suppress_natively(LIBRARY_LOADED, keys, boxes, scores, rule)
    assert 100 < len(found) < 3000
    assert found.tolist() == suppress_within(keys, boxes, scores, rule).tolist()


def test_a_missing_library_leaves_the_work_to_the_engine_and_says_so_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert load_library(tmp_path / "cascade.so") is None
        assert load_library(tmp_path / "cascade.so") is None
    assert [("is missing" in record.message, "slower" in record.message) for record in caplog.records] == [(True, True)]


def test_a_damaged_library_leaves_the_work_to_the_engine_and_says_so(tmp_path, caplog):
    path = tmp_path / "cascade.so"
    path.write_bytes(b"no library")
    with caplog.at_level(logging.WARNING):
        assert load_library(path) is None
    assert len(caplog.records) == 1
    assert "does not load" in caplog.records[0].message


@pytest.mark.skipif(compiler() is None, reason="there is no compiler")
@pytest.mark.parametrize(("source", "told"), [("int facesearch_interface(void) { return 99; }", 99), ("int something;", 0)])
def test_a_library_of_another_version_leaves_the_work_to_the_engine_and_says_so(tmp_path, caplog, source, told):
    (tmp_path / "other.cpp").write_text(f'extern "C" {{ {source} }}', encoding="utf-8")
    path = tmp_path / "cascade.so"
    subprocess.run([*compiler(), "-shared", "-fPIC", str(tmp_path / "other.cpp"), "-o", str(path)], check=True)
    with caplog.at_level(logging.WARNING):
        assert load_library(path) is None
    assert len(caplog.records) == 1
    for part in (str(path), f"interface {told}, this one needs {INTERFACE}", "install facesearch again"):
        assert part in caplog.records[0].message


@needs_library
def test_a_process_may_end_while_its_daemon_threads_detect():
    code = (
        "import threading, time\nimport numpy as np\nfrom facesearch.core.image import Image\n"
        "from facesearch.detection import MtcnnDetector\nfrom facesearch.inference import create_engine\n"
        "detector = MtcnnDetector(create_engine('openvino'), threads=2)\n"
        "photo = Image(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8), '')\n"
        "detector.detect(photo)\n"
        "def go_on():\n    while True:\n        detector.detect(photo)\n"
        "for _ in range(3):\n    threading.Thread(target=go_on, daemon=True).start()\n"
        "time.sleep(0.3)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@needs_library
def test_both_ways_find_the_same_faces(astronaut, hopper):
    engine = create_engine("openvino", threads=2)
    photo = Image(np.ascontiguousarray(np.concatenate([astronaut, hopper[:512]], axis=1)), "")
    ours, theirs = (MtcnnDetector(engine, native=native, threads=2).detect(photo) for native in (True, False))
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(np.subtract(one.box, other.box)).max() < SAME_PX
        assert np.abs(one.landmarks - other.landmarks).max() < SAME_PX
        assert abs(one.score - other.score) < SAME_SCORE


def test_weights_read_without_torch_are_torchs():
    import io

    compared = 0
    for name, digest in (("pnet.pt", PNET_DIGEST),):
        ours = read_weights(None, name, digest)
        theirs = torch.load(io.BytesIO((weights_folder() / name).read_bytes()), map_location="cpu", weights_only=True)
        assert list(ours) == list(theirs)
        for key, tensor in theirs.items():
            assert ours[key].dtype == np.float32
            assert np.array_equal(ours[key], tensor.numpy())
            compared += 1
    assert compared == 13


def test_another_file_is_not_unpickled(tmp_path):
    (tmp_path / "pnet.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointDigestError):
        read_weights(tmp_path, "pnet.pt", PNET_DIGEST)


@needs_library
def test_the_compiled_detector_needs_neither_engine(tmp_path):
    code = (
        "import sys\nimport numpy as np\nfrom facesearch.core.image import Image\nfrom facesearch.detection import MtcnnDetector\n"
        "from facesearch.inference import create_engine\n"
        "MtcnnDetector(create_engine('openvino')).detect(Image(np.zeros((64, 64, 3), np.uint8), ''))\n"
        "print('torch' in sys.modules, 'openvino' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False", "False"]
