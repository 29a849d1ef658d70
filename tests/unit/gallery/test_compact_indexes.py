"""Indexes that hold templates as bytes or bits: the answers of a loop over what they hold, and nothing left of who is removed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.compact import quantised, restored
from facesearch.core.errors import GalleryFormatError, SettingsError
from facesearch.core.protocols import GalleryIndex
from facesearch.core.template import TemplateBatch
from facesearch.gallery.columns import MIN_CANDIDATES, BitColumn, ByteColumn, FloatColumn, VectorColumn, n_candidates
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from tests.gallery_oracle import DIM, EMBEDDER, SCORE_TOLERANCE, ModelGallery, batch_of, people, probe, unit

N = 240
K = 5
FORMS = [("int8", "exact"), ("int8", "hnsw"), ("binary", "auto")]


def factory(form: tuple[str, str]) -> GalleryIndexFactory:
    return GalleryIndexFactory(EMBEDDER, DIM, IndexOptions(template_format=form[0], kind=form[1], threads=1))


@pytest.fixture(params=FORMS, ids=[" ".join(form) for form in FORMS])
def form(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


def as_held(batch: TemplateBatch) -> TemplateBatch:
    """Return a batch whose vectors bytes hold exactly."""
    return batch_of(batch.template_ids, batch.identity_ids, restored(quantised(batch.vectors)))


def assert_answers(index: GalleryIndex, model: ModelGallery, vectors: np.ndarray) -> None:
    assert len(vectors) >= 3
    for vector in vectors:
        found, wanted = index.search(probe(vector), K), model.search(vector, K)
        assert [one.identity_id for one in found] == [one.identity_id for one in wanted]
        np.testing.assert_allclose([one.score for one in found], [one.score for one in wanted], atol=SCORE_TOLERANCE)


def test_an_index_answers_as_a_loop_through_additions_and_removals(form: tuple[str, str], tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    batch = as_held(people(rng, N))
    index, model = factory(form).empty(N), ModelGallery()
    index.add(batch, revision=1)
    model.add(batch)
    assert_answers(index, model, batch.vectors[::40])
    again = as_held(batch_of([3, 4, N + 1], [900, 901, 902], unit(rng, 3)))
    index.add(again, revision=2)
    model.add(again)
    index.remove([1, 2, 10**9], revision=3)
    for gone in (1, 2):
        del model.rows[gone]
    assert len(index) == len(model.rows) == N - 1
    assert_answers(index, model, np.concatenate([again.vectors, batch.vectors[:4], unit(rng, 3)]))
    many = index.search_many([probe(vector) for vector in batch.vectors[:9]], K)
    assert many == tuple(index.search(probe(vector), K) for vector in batch.vectors[:9])
    among = frozenset([5, 9, 900])
    assert [one.identity_id for one in index.search(probe(batch.vectors[20]), K, among=among)] == [
        one.identity_id for one in model.search(batch.vectors[20], K, among)
    ]
    held = index.templates_of([900])
    np.testing.assert_array_equal(held.vectors, again.vectors[:1])
    assert index.scores_of(probe(again.vectors[0]), [3])[3] == pytest.approx(1.0, abs=1e-6)
    index.save(tmp_path)
    loaded = factory(form).load(tmp_path)
    assert loaded is not None
    assert (loaded.kind, loaded.revision, len(loaded)) == (index.kind, 3, N - 1)
    assert_answers(loaded, model, again.vectors)


def test_a_snapshot_of_another_form_is_left_to_be_built_anew(tmp_path: Path) -> None:
    forms = [("f32", "exact"), *FORMS]
    for number, form in enumerate(forms):
        index = factory(form).empty(N)
        index.add(as_held(people(np.random.default_rng(1), 20)), revision=1)
        index.save(tmp_path / str(number))
        for other in forms:
            loaded = factory(other).load(tmp_path / str(number))
            assert (loaded is not None) == (other[0] == form[0])
    versions = [json.loads((tmp_path / str(number) / "manifest.json").read_bytes())["version"] for number in range(4)]
    assert versions == [1, 2, 2, 2]


def test_bytes_are_a_quarter_of_a_snapshot(tmp_path: Path) -> None:
    batch = people(np.random.default_rng(1), 400)
    sizes = []
    for form in (("f32", "exact"), ("int8", "exact"), ("binary", "auto")):
        index = factory(form).empty(N)
        index.add(batch, revision=1)
        index.save(tmp_path / form[0])
        sizes.append(next((tmp_path / form[0]).glob("vectors-*.npy")).stat().st_size - 128)
    assert sizes == [400 * DIM * 4, 400 * DIM, 400 * DIM]


def test_a_form_that_contradicts_the_kind_is_damage(tmp_path: Path) -> None:
    index = factory(("int8", "exact")).empty(N)
    index.add(people(np.random.default_rng(1), 20), revision=1)
    index.save(tmp_path)
    file = tmp_path / "manifest.json"
    fields = json.loads(file.read_bytes())
    for change in ({"template_format": "f64"}, {"template_format": "binary"}, {"template_format": "f32"}, {"version": 1}):
        from facesearch.gallery.snapshot import _manifest_bytes

        file.write_bytes(_manifest_bytes({**{name: value for name, value in fields.items() if name != "sha256"}, **change}))
        with pytest.raises(GalleryFormatError):
            factory(("int8", "exact")).load(tmp_path)


def test_bits_choose_nearly_everybody_and_nobody_who_is_gone() -> None:
    rng = np.random.default_rng(8)
    dim, n = 128, 6000
    batch = people(rng, n, dim=dim, noise=0.6)
    assert n_candidates(n, K) == MIN_CANDIDATES < n // 2
    made = GalleryIndexFactory(EMBEDDER, dim, IndexOptions(template_format="binary", threads=1))
    exact = GalleryIndexFactory(EMBEDDER, dim, IndexOptions(template_format="int8", kind="exact", threads=1))
    index, oracle = made.empty(n), exact.empty(n)
    gone = list(range(1, 401))
    for one in (index, oracle):
        one.add(batch, revision=1)
        one.remove(gone, revision=2)
    asked = [probe(vector) for vector in normalised(batch.vectors[500:900:2] + 0.5 * unit(rng, 200, dim))]
    found, wanted = index.search_many(asked, 1), oracle.search_many(asked, 1)
    assert len(found) == 200
    assert sum(a == b for a, b in zip(found, wanted, strict=True)) >= 198
    of_gone = index.search_many([probe(vector) for vector in batch.vectors[:50]], K)
    assert {one.template_id for line in of_gone for one in line}.isdisjoint(gone)
    assert all(len(line) == K for line in of_gone)


@pytest.mark.parametrize(
    ("n_rows", "k", "n"), [(100, 5, 512), (12_800, 5, 512), (100_000, 5, 4000), (100_000, 100, 6400), (10_000_000, 5, 400_000)]
)
def test_bits_choose_one_row_in_25_and_64_a_person_but_never_fewer_than_512(n_rows: int, k: int, n: int) -> None:
    assert n_candidates(n_rows, k) == n


def test_more_people_than_candidates_hold_are_still_found() -> None:
    # One person with most of the templates: the nearest by bits are all theirs.
    rng = np.random.default_rng(2)
    centre = unit(rng, 1, 128)
    vectors = np.concatenate([normalised(centre + 0.2 * unit(rng, 3000, 128)), unit(rng, 3, 128)])
    index = GalleryIndexFactory(EMBEDDER, 128, IndexOptions(template_format="binary")).empty(3003)
    index.add(batch_of(np.arange(3003), [1] * 3000 + [2, 3, 4], vectors), revision=1)
    assert {one.identity_id for one in index.search(probe(centre[0]), 4)} == {1, 2, 3, 4}


@pytest.mark.parametrize("column", [FloatColumn, ByteColumn, BitColumn])
def test_cleared_rows_hold_nothing(column: type) -> None:
    vectors = unit(np.random.default_rng(1), 6)
    rows = np.arange(6)
    made: VectorColumn = column(np.zeros((0, DIM), dtype=np.float32 if column is FloatColumn else np.int8))
    made.resize(6)
    made.put(rows, vectors)
    assert made.holds(rows, vectors).all()
    assert not made.holds(rows, vectors[::-1]).any()
    np.testing.assert_allclose(made.scores(vectors[:2], None, 6), vectors[:2] @ made.take(rows).T, atol=1e-6)
    np.testing.assert_allclose(made.scores(vectors[:2], rows[3:], 6), vectors[:2] @ made.take(rows[3:]).T, atol=1e-6)
    made.clear(rows[2:4])
    assert not made.stored(6)[2:4].any()
    assert not made.take(rows[2:4]).any()
    if isinstance(made, BitColumn):
        assert not made._words[2:4].any()
        assert made._words[0].any()


def test_bits_go_with_no_other_index() -> None:
    with pytest.raises(SettingsError, match="leave index at auto"):
        IndexOptions(template_format="binary", kind="hnsw")
    with pytest.raises(SettingsError, match="one of f32, int8, binary, not 'int4'"):
        IndexOptions(template_format="int4")
