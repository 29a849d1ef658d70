from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.face import box_iou
from facesearch.detection.boxes import Rule, clipped_pixels, corrected, overlaps, squared, suppress


def random_boxes(n, seed, spread=60.0):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, spread, (n, 2))
    return np.concatenate([corners, corners + rng.uniform(1, 30, (n, 2))], axis=1).astype(np.float32)


def overlap_slowly(a, b, over, extra):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + extra)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + extra)
    areas = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (a, b)]
    shared = width * height
    return shared / (min(areas) if over == "smaller" else sum(areas) - shared)


def suppress_slowly(boxes, scores, threshold, over, extra, of_equals="first"):
    earlier = 1 if of_equals == "first" else -1
    waiting = sorted(range(len(boxes)), key=lambda place: (-scores[place], earlier * place))
    kept = []
    while waiting:
        best = waiting.pop(0)
        kept.append(best)
        waiting = [other for other in waiting if overlap_slowly(boxes[best], boxes[other], over, extra) <= threshold]
    return kept


@pytest.mark.parametrize("over", ["union", "smaller"])
@pytest.mark.parametrize("extra", [0.0, 1.0])
def test_overlaps_equal_the_slow_ones(over, extra):
    first, second = random_boxes(40, 1).astype(np.float64), random_boxes(30, 2).astype(np.float64)
    found = overlaps(first, second, over=over, extra_px=extra)
    expected = [[overlap_slowly(a, b, over, extra) for b in second] for a in first]
    assert found.shape == (40, 30)
    assert np.allclose(found, expected, atol=1e-12)


def test_plain_overlaps_are_the_cores_iou():
    boxes = random_boxes(30, 3).astype(np.float64)
    assert np.allclose(overlaps(boxes, boxes), [[box_iou(tuple(a), tuple(b)) for b in boxes] for a in boxes])


def test_boxes_without_area_overlap_nothing():
    point = np.array([[5.0, 5.0, 5.0, 5.0]])
    assert overlaps(point, point).tolist() == [[0.0]]


@pytest.mark.parametrize("n", [0, 1, 7, 255, 256, 257, 700])
@pytest.mark.parametrize("of_equals", ["first", "last"])
@pytest.mark.parametrize(("threshold", "over", "extra"), [(0.5, "union", 0.0), (0.7, "union", 0.0), (0.7, "smaller", 1.0)])
def test_suppression_equals_the_slow_one_across_block_borders(n, threshold, over, extra, of_equals):
    boxes = random_boxes(n, n, spread=40.0 + n / 4).astype(np.float64)
    scores = np.random.default_rng(n).uniform(0.6, 1, n).round(2)  # many equal ones
    kept = suppress(boxes, scores, Rule(threshold, over, extra, of_equals)).tolist()
    assert kept == suppress_slowly(boxes, scores, threshold, over, extra, of_equals)
    if n >= 255:
        assert len(kept) < n


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**31), st.sampled_from([0.3, 0.5, 0.7]))
def test_what_is_kept_does_not_overlap_and_what_goes_does(n, seed, threshold):
    boxes = random_boxes(n, seed, spread=30.0).astype(np.float64)
    scores = np.random.default_rng(seed).uniform(0, 1, n)
    kept = suppress(boxes, scores, Rule(threshold))
    shares = overlaps(boxes, boxes)
    assert (np.diff(scores[kept]) <= 0).all()
    for place in range(n):
        rivals = [other for other in kept if other != place and shares[place, other] > threshold]
        if place in kept:
            assert not rivals
        else:
            assert max(scores[rivals]) >= scores[place]


def test_corrections_are_shares_of_the_box():
    boxes = np.array([[10, 20, 29, 59]], dtype=np.float32)
    shares = np.array([[0.5, -0.25, 0.1, 0.0]], dtype=np.float32)
    assert np.allclose(corrected(boxes, shares, extra_px=1.0), [[20, 10, 31, 59]])
    assert np.allclose(corrected(boxes, shares, extra_px=0.0), [[19.5, 10.25, 30.9, 59]])


def test_squares_keep_the_middle_and_the_longer_side():
    boxes = random_boxes(50, 5)
    made = squared(boxes)
    sizes = made[:, 2:] - made[:, :2]
    assert made.shape == (50, 4)
    assert np.allclose(sizes[:, 0], sizes[:, 1], atol=1e-4)
    assert np.allclose(sizes[:, 0], (boxes[:, 2:] - boxes[:, :2]).max(axis=1), atol=1e-4)
    assert np.allclose(made[:, :2] + made[:, 2:], boxes[:, :2] + boxes[:, 2:], atol=1e-3)


def test_pixels_are_cut_towards_zero_and_to_the_image():
    boxes = np.array(
        [[1.9, 2.9, 10.9, 8.9], [-3.5, -0.5, 4.2, 5.8], [15.0, 3.0, 99.0, 99.0], [25.0, 1.0, 30.0, 9.0], [-9.0, -9.0, -2.0, 4.0]],
        dtype=np.float32,
    )
    found = clipped_pixels(boxes, 12, 20).tolist()
    assert found[:3] == [[0, 1, 10, 8], [0, 0, 4, 5], [14, 2, 20, 12]]
    assert found[3][2] <= found[3][0]
    assert found[4][2] <= found[4][0]


def test_boxes_of_any_size_stay_whole_numbers():
    boxes = np.array([[-1e30, -1e30, 1e30, 1e30]], dtype=np.float32)
    assert clipped_pixels(boxes, 12, 20).tolist() == [[0, 0, 20, 12]]
