"""Which index a gallery gets, and the settings it is made with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import SettingsError
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from tests.gallery_oracle import DIM, EMBEDDER, people


def factory(**options) -> GalleryIndexFactory:
    return GalleryIndexFactory(EMBEDDER, DIM, IndexOptions(**options))


@pytest.mark.parametrize(("expected", "kind"), [(0, "exact"), (4999, "exact"), (5000, "hnsw"), (10**6, "hnsw")])
def test_auto_chooses_by_size(expected: int, kind: str) -> None:
    assert factory(exact_below=5000).empty(expected).kind == kind


@pytest.mark.parametrize(("dim", "limit"), [(128, 20_000), (512, 5_000)])
def test_the_limit_goes_by_the_length_of_the_vectors(dim: int, limit: int) -> None:
    maker = GalleryIndexFactory(EMBEDDER, dim, IndexOptions())
    assert [maker.empty(n).kind for n in (0, limit - 1, limit)] == ["exact", "exact", "hnsw"]
    assert maker.fits(maker.empty(0), limit)
    assert not maker.fits(maker.empty(0), 2 * limit)


def test_a_gallery_hovering_at_the_limit_keeps_its_index() -> None:
    maker = factory(exact_below=5000)
    index, n_changes = maker.empty(0), 0
    for expected in [*range(4000, 5900, 100), *[4500, 5500] * 5, 6100, *[4500, 5500] * 5, 3900]:
        if not maker.fits(index, expected):
            index, n_changes = maker.empty(expected), n_changes + 1
    assert (n_changes, index.kind) == (2, "exact")
    assert maker.fits(maker.empty(5000), 5000)
    assert maker.fits(maker.empty(4999), 4999)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_a_kind_that_was_chosen_is_kept_at_any_size(kind: str) -> None:
    maker, other = factory(kind=kind), factory(kind="hnsw" if kind == "exact" else "exact")
    for expected in (0, 10**6):
        assert maker.empty(expected).kind == kind
        assert maker.fits(maker.empty(expected), expected)
        assert not maker.fits(other.empty(expected), expected)


def test_ef_is_kept_in_the_manifest_and_set_after_load(tmp_path: Path) -> None:
    index = factory(kind="hnsw", m=8, ef_construction=50, ef=77).empty(0)
    index.add(people(np.random.default_rng(1), 100), revision=1)
    index.save(tmp_path)
    graph = json.loads((tmp_path / "manifest.json").read_text())["graph"]
    assert graph == {"m": 8, "ef_construction": 50, "ef": 77, "churn": 0}
    assert factory(ef=77).load(tmp_path)._graph.ef == 77
    wider = factory(ef=200, m=32).load(tmp_path)
    assert (wider._graph.ef, wider._graph.m) == (200, 8)
    wider.rebuild()
    assert (wider._graph.ef, wider._graph.m) == (200, 32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "flat"},
        {"m": 1},
        {"m": 513},
        {"ef": 0},
        {"ef_construction": 4},
        {"exact_below": -1},
        {"threads": -1},
        {"m": True},
        {"ef": 1.5},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        IndexOptions(**wrong)
