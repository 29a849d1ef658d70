"""Spoilt probes against a sound gallery, beside a slow loop over every pair."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.evaluation.cross_pairs import cross_pairs

BIN = 2.0**-15
SHARE_TOLERANCE = 1e-9


def looped(probes, gallery, ids, threshold):
    """Count matches pair by pair, each person (and pair of people) weighing the same."""
    sizes = {one: list(ids).count(one) for one in ids}
    mated = {one: [0, 0] for one, size in sizes.items() if size > 1}
    apart = {}
    for i, own in enumerate(ids):
        for j, other in enumerate(ids):
            if i == j:
                continue
            is_match = bool(probes[i] @ gallery[j] >= threshold)  # NaN is no match
            held = mated[own] if own == other else apart.setdefault(frozenset((own, other)), [0, 0])
            held[0] += is_match
            held[1] += 1
    assert mated
    assert apart
    shares = [np.mean([hits / total for hits, total in group.values()]) for group in (mated, apart)]
    return shares, [sum(hits for hits, _ in group.values()) for group in (mated, apart)]


@pytest.fixture
def photographs():
    rng = np.random.default_rng(5)
    ids = np.array(["a", "b", "a", "c", "b", "a", "d", "c"])
    centres = {one: rng.normal(size=6) for one in "abcd"}
    gallery = np.array([centres[one] + 0.4 * rng.normal(size=6) for one in ids])
    probes = gallery + 0.8 * rng.normal(size=gallery.shape)
    return [(one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in (probes, gallery)], ids


@pytest.mark.parametrize("block", [1, 3, 256])
@pytest.mark.parametrize("steps", [-16000, 0, 8000, 20000])
def test_both_rates_equal_those_of_a_loop(photographs, block, steps):
    (probes, gallery), ids = photographs
    probes[2], gallery[4] = np.nan, np.nan
    threshold = steps * BIN
    found = cross_pairs(probes, gallery, ids, block=block)
    shares, counts = looped(probes, gallery, ids, threshold)
    tar, false = found.tar(threshold), found.false_matches(threshold)
    assert [tar.count, false.count] == counts
    assert [tar.value, false.value] == pytest.approx(shares, abs=SHARE_TOLERANCE)
    assert (tar.total, false.total) == (10, 46)
    assert (tar.n_units, false.n_units) == (3, 6)
    assert (found.n_photographs, found.n_probe_failures) == (8, 1)


def test_a_photograph_is_never_compared_with_itself(photographs):
    (_, gallery), ids = photographs
    found = cross_pairs(gallery, gallery, ids)
    assert found.mated.count_at_or_above(1.0 - BIN) == 0
    assert found.mated.total == 10


def test_nobody_found_matches_nobody(photographs):
    (probes, gallery), ids = photographs
    found = cross_pairs(np.full_like(probes, np.nan), gallery, ids)
    assert (found.tar(-1.0).value, found.tar(-1.0).total, found.false_matches(-1.0).value) == (0.0, 10, 0.0)
    assert found.n_probe_failures == 8


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a"] * 8, "8 photographs of 1 people give 56 mated and 0 non-mated"),
        (list("abcdefgh"), "give 0 mated"),
        (["a", "b"], "the same"),
    ],
)
def test_what_gives_no_pairs_is_refused(photographs, ids, said):
    (probes, gallery), _ = photographs
    with pytest.raises(InputError, match=said):
        cross_pairs(probes, gallery, ids)
