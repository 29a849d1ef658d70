"""The table's shortcut for rows that a graph found: few vectors are read, and the answer is that of reading all of them."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.gallery.table import TemplateTable
from tests.gallery_oracle import DIM, EMBEDDER, batch_of, unit

N = 400
K = 5
ROUNDS = 200


def table_of(vectors: np.ndarray, owners: np.ndarray) -> TemplateTable:
    table = TemplateTable(EMBEDDER, DIM)
    table.put(batch_of(range(1, len(vectors) + 1), owners, vectors))
    return table


def found_rows(vectors: np.ndarray, probe: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows by rising float32 distance as a graph does, and the distances."""
    distances = np.float32(1.0) - vectors @ probe
    rows = np.argsort(distances, kind="stable")[:n]
    return rows.astype(np.int64), distances[rows]


@pytest.mark.parametrize("n_people", [60, 12])
def test_the_nearest_rows_hold_the_best_of_all_rows(n_people: int) -> None:
    """With 60 people the first rows are enough; with 12 it has to look further for the fifth."""
    rng = np.random.default_rng(5)
    vectors, owners = unit(rng, N), rng.integers(1, n_people, size=N)
    table = table_of(vectors, owners)
    for probe in unit(rng, ROUNDS):
        rows, distances = found_rows(vectors, probe, 50)
        assert table.best_near(probe, rows, distances, K) == table.best(probe, rows, K)


def test_rows_beyond_the_answer_are_not_read() -> None:
    rng = np.random.default_rng(8)
    vectors = unit(rng, N)
    table = table_of(vectors, np.arange(N) + 1)
    probe = unit(rng, 1)[0]
    rows, distances = found_rows(vectors, probe, 50)
    expected = table.best(probe, rows, K)
    table.columns[2][rows[K + 5 :]] = np.nan
    assert table.best_near(probe, rows, distances, K) == expected


def test_distances_wrong_by_rounding_change_nothing() -> None:
    """Eight people whose scores are closer than float32 tells apart: their order by distance is chance."""
    rng = np.random.default_rng(6)
    n_swapped = 0
    for _ in range(ROUNDS):
        probe = unit(rng, 1)[0]
        vectors = np.concatenate([np.repeat(unit(rng, 1), 8, axis=0), unit(rng, 20)])
        vectors[:8] += rng.normal(scale=1e-7, size=(8, DIM)).astype(np.float32)
        table = table_of(vectors, np.arange(len(vectors)) + 1)
        rows = np.concatenate([rng.permutation(8), 8 + rng.permutation(20)]).astype(np.int64)
        distances = np.float32(1.0) - vectors[rows] @ probe
        distances[:8] = np.sort(distances[:8])
        distances[8:] = np.sort(np.abs(distances[8:])) + distances[7] + np.float32(0.1)
        best = table.best(probe, rows[:8], K)
        n_swapped += best != table.best(probe, rows[:K], K)
        assert table.best_near(probe, rows, distances, K) == best
    assert n_swapped > ROUNDS // 2


def test_fewer_identities_than_wanted_are_all_there() -> None:
    rng = np.random.default_rng(7)
    vectors = unit(rng, 30)
    table = table_of(vectors, np.arange(30) % (K - 1) + 1)
    probe = unit(rng, 1)[0]
    rows, distances = found_rows(vectors, probe, 30)
    assert len(table.best_near(probe, rows, distances, K)) == K - 1
