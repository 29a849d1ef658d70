"""The figures that networks are chosen by, and which rates so many people support."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.training.validation import MIN_FALSE_PAIRS, validated


@pytest.mark.parametrize(
    ("n_people", "fmrs"),
    [(2, [1e-2]), (8, [1e-2]), (141, [1e-2]), (142, [1e-2, 1e-3]), (447, [1e-2, 1e-3]), (448, [1e-2, 1e-3, 1e-4])],
)
def test_rates_are_those_that_the_people_support_and_one_in_a_hundred_always(n_people: int, fmrs: list[float]) -> None:
    labels = np.repeat(np.arange(n_people), 2)
    vectors = normalised(np.random.default_rng(1).normal(size=(labels.size, 4)).astype(np.float32))
    found = validated(vectors, SimpleNamespace(labels=labels))
    assert [fmr for fmr, _ in found.tar] == fmrs
    assert (found.figure_fmr, found.figure) == found.tar[-1]
    assert (found.n_people, found.n_mated_people, found.n_crops) == (n_people, n_people, 2 * n_people)
    n_pairs = n_people * (n_people - 1) / 2
    assert all(fmr * n_pairs >= MIN_FALSE_PAIRS for fmr in fmrs[1:])
