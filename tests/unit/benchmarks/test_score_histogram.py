"""The counting behind the page's scale, on a few vectors that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.score_histogram import compared, histograms, shares
from facesearch.embedding.score_shares import parse_score_shares
from facesearch.evaluation.histogram import ScoreHistogram


def test_every_person_weighs_the_same_and_failures_have_no_bin(tmp_path):
    people = tmp_path / "people.txt"
    people.write_text("3\nAnn\t3\nBob\t2\nCid\t1\n")
    east, north = np.eye(2, dtype=np.float32)
    paths = ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0001.jpg", "Bob/Bob_0002.jpg", "Cid/Cid_0001.jpg"]
    vectors = np.stack([east, east, north, -north, north])  # Ann's third photograph has no template
    found = histograms(compared(vectors, paths, people, []))
    told = parse_score_shares({"single": found})["single"]
    assert (told.n_people, told.n_mated, told.n_non_mated) == (3, 4, 11)
    assert (told.start, told.start + told.width * len(told.mated)) == (-1.0, 1.0)
    # Ann's one pair with a score (1) and Bob's one (-1): Ann has three pairs, of which each weighs a third.
    assert told.mated[-1] == pytest.approx(0.25, abs=1e-3)
    assert told.mated[0] == pytest.approx(0.75, abs=1e-3)
    # Ann against anybody is 0; Bob against Cid is 1 once and -1 once.
    assert told.non_mated[64] == pytest.approx((2 / 3 + 2 / 3) / (2 / 3 + 2 / 3 + 1), abs=1e-3)
    assert told.non_mated[0] == told.non_mated[-1]


def test_the_score_one_is_in_the_last_bin_and_nothing_is_lost():
    held = ScoreHistogram()
    held.add([1.0, 0.999, -1.0, 0.0])
    found = shares(held, bits=2)
    assert found == [0.25, 0.0, 0.25, 0.5]
