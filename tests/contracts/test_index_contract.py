"""What every ``GalleryIndex`` promises, run over each implementation."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import FileWriteError, IncompatibleTemplatesError, TemplateFormatError
from facesearch.core.protocols import GalleryIndex
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from tests.gallery_oracle import DIM, EMBEDDER, ModelGallery, assert_same_answer, batch_of, empty_index, people, probe, unit

SCORE_TIGHT = 1e-12
"""Scores are float64 sums of exact products."""

N = 800
"""Templates: enough that searches for up to 10 identities go through the graph."""


@pytest.fixture(params=["exact", "hnsw"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def batch(rng: np.random.Generator) -> TemplateBatch:
    return people(rng, N)


@pytest.fixture
def model(batch: TemplateBatch) -> ModelGallery:
    model = ModelGallery()
    model.add(batch)
    return model


@pytest.fixture
def index(kind: str, batch: TemplateBatch) -> GalleryIndex:
    index = empty_index(kind)
    index.add(batch, revision=7)
    return index


def reloaded(index: GalleryIndex, folder: Path) -> GalleryIndex:
    index.save(folder)
    again = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions(kind=index.kind)).load(folder)
    assert again is not None
    return again


def test_an_empty_index_answers_with_nobody(kind: str, rng: np.random.Generator) -> None:
    index = empty_index(kind)
    someone = probe(unit(rng, 1)[0])
    assert (len(index), index.revision, index.kind, index.dim, index.embedder_id) == (0, 0, kind, DIM, EMBEDDER)
    assert index.search(someone, 3) == ()
    assert index.search_many([someone, someone], 3) == ((), ())
    assert index.search_many([], 3) == ()
    assert index.search(someone, 3, among=[1]) == ()
    assert index.scores_of(someone, [1]) == {}
    assert index.count() == index.count([1]) == 0
    index.add(batch_of([], [], np.zeros((0, DIM), np.float32)), revision=2)
    index.remove([5], revision=3)
    index.move([5], 6, revision=4)
    index.purge()
    assert (len(index), index.revision) == (0, 4)


def test_search_is_the_loop_over_everybody(index: GalleryIndex, model: ModelGallery, batch: TemplateBatch, rng) -> None:
    probes = [probe(vector) for vector in np.concatenate([batch.vectors[:20], unit(rng, 5)])]
    assert len(index) == N
    assert index.revision == 7
    for k in (1, 3, 10):
        answers = index.search_many(probes, k)
        assert len(answers) == 25
        for someone, answer in zip(probes, answers, strict=True):
            assert_same_answer(answer, model.search(someone.vector, k))
            assert index.search(someone, k) == answer


def test_k_beyond_everybody_returns_everybody_once(index: GalleryIndex, model: ModelGallery, batch: TemplateBatch) -> None:
    answer = index.search(probe(batch.vectors[0]), 10_000)
    assert len(answer) == N // 4
    assert_same_answer(answer, model.search(batch.vectors[0], 10_000))


def test_k_counts_people_however_many_templates_one_has(kind: str, rng: np.random.Generator) -> None:
    crowd = people(rng, 3000)
    famous = crowd.vectors[0] + 0.05 * unit(rng, 500)
    famous = (famous / np.linalg.norm(famous, axis=1, keepdims=True)).astype(np.float32)
    index, model = empty_index(kind), ModelGallery()
    for part in (crowd, batch_of(np.arange(5001, 5501), np.full(500, 9999), famous)):
        index.add(part, revision=1)
        model.add(part)
    answer = index.search(probe(famous[0]), 4)
    assert len({near.identity_id for near in answer}) == 4
    assert_same_answer(answer, model.search(famous[0], 4))
    assert index.search_many([probe(famous[0])], 4) == (answer,)


@pytest.mark.parametrize("n_wanted", [1, 3, 60, 150])
def test_a_search_among_some_sees_only_them(index: GalleryIndex, model: ModelGallery, batch: TemplateBatch, n_wanted: int) -> None:
    wanted = set(range(10, 10 + n_wanted))
    someone = probe(batch.vectors[0])
    answer = index.search(someone, 5, among=wanted)
    assert len(answer) == min(5, n_wanted)
    assert_same_answer(answer, model.search(someone.vector, 5, wanted))
    assert index.search_many([someone], 5, among=wanted) == (answer,)
    assert index.count(wanted) == 4 * n_wanted


def test_a_search_among_nobody_or_strangers_finds_nobody(index: GalleryIndex, batch: TemplateBatch) -> None:
    assert index.search(probe(batch.vectors[0]), 5, among=[]) == ()
    assert index.search(probe(batch.vectors[0]), 5, among=[-1, 10**12]) == ()
    assert index.count([]) == 0
    assert index.count() == N


def test_equal_scores_come_by_ascending_template_id(kind: str, rng: np.random.Generator) -> None:
    crowd, twin = people(rng, 1000), unit(rng, 1)
    ids = [9007, 9003, 9001, 9005, 9002]
    index = empty_index(kind)
    index.add(crowd, revision=1)
    index.add(batch_of(ids, [70, 30, 10, 50, 20], np.repeat(twin, 5, axis=0)), revision=2)
    answer = index.search(probe(twin[0]), 5)
    assert [near.template_id for near in answer] == sorted(ids)
    assert len({near.score for near in answer}) == 1
    index.move(ids, 10, revision=3)
    assert index.search(probe(twin[0]), 1)[0].template_id == 9001


def test_scores_stay_within_their_range(kind: str) -> None:
    vector = np.full(3, 3**-0.5, dtype=np.float32) * np.float32(1.0005)
    index = empty_index(kind, dim=3)
    index.add(TemplateBatch(np.array([1, 2]), np.array([1, 2]), np.stack([vector, -vector]), EMBEDDER), revision=1)
    same, opposite = index.search(probe(vector), 2)
    assert (same.score, opposite.score) == (1.0, -1.0)
    assert index.scores_of(probe(vector), [2, 1]) == {1: 1.0, 2: -1.0}


def test_scores_of_named_templates(index: GalleryIndex, batch: TemplateBatch) -> None:
    scores = index.scores_of(probe(batch.vectors[4]), [1, 5, 9, 10**9])
    assert set(scores) == {1, 5, 9}
    expected = batch.vectors[[0, 4, 8]].astype(np.float64) @ batch.vectors[4].astype(np.float64)
    np.testing.assert_allclose([scores[key] for key in (1, 5, 9)], expected, rtol=0, atol=SCORE_TIGHT)


def test_removed_templates_never_return(index: GalleryIndex, model: ModelGallery, batch: TemplateBatch) -> None:
    gone = list(range(1, N + 1, 3))
    index.remove([*gone, 10**9], revision=8)
    index.remove(gone, revision=8)
    assert (len(index), index.revision) == (N - len(gone), 8)
    for key in gone:
        del model.rows[key]
    for vector in batch.vectors[:60]:
        assert_same_answer(index.search(probe(vector), 3), model.search(vector, 3))
    assert index.scores_of(probe(batch.vectors[0]), gone) == {}


def test_freed_rows_do_not_stand_before_people_unlike_the_probe(kind: str, rng: np.random.Generator) -> None:
    axis = np.eye(1, DIM, dtype=np.float32)
    vectors = axis + 0.3 * unit(rng, 500)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    index, model = empty_index(kind), ModelGallery()
    index.add(batch_of(range(1, 501), range(1, 501), vectors), revision=1)
    model.add(batch_of(range(101, 501), range(101, 501), vectors[100:]))
    index.remove(range(1, 101), revision=2)
    assert_same_answer(index.search(probe(-axis[0]), 2), model.search(-axis[0], 2))
    assert_same_answer(index.search(probe(-axis[0]), 30), model.search(-axis[0], 30))


def test_everybody_can_go_and_come_back(index: GalleryIndex, batch: TemplateBatch) -> None:
    index.remove(range(1, N + 1), revision=8)
    assert (len(index), index.search(probe(batch.vectors[0]), 3)) == (0, ())
    index.add(batch, revision=9)
    assert len(index) == N
    assert index.search(probe(batch.vectors[100]), 1)[0].template_id == 101


def test_adding_again_replaces(index: GalleryIndex, model: ModelGallery, batch: TemplateBatch, rng: np.random.Generator) -> None:
    index.add(batch, revision=7)
    changed = batch_of([1, 2, 3], [500, 501, 502], unit(rng, 3))
    index.add(changed, revision=8)
    model.add(changed)
    assert len(index) == N
    for vector in np.concatenate([batch.vectors[:8], changed.vectors]):
        assert_same_answer(index.search(probe(vector), 3), model.search(vector, 3))


def test_moved_templates_belong_to_another(index: GalleryIndex, batch: TemplateBatch) -> None:
    index.search(probe(batch.vectors[0]), 1, among=[77])
    index.move([1, 2, 10**9], 77, revision=9)
    assert index.revision == 9
    assert index.search(probe(batch.vectors[0]), 1)[0].identity_id == 77
    assert index.search(probe(batch.vectors[0]), 1, among=[77])[0].template_id == 1


def test_advance_moves_only_the_revision(index: GalleryIndex) -> None:
    index.advance(40)
    assert (index.revision, len(index)) == (40, N)


def test_large_ids_are_kept(kind: str, rng: np.random.Generator, tmp_path: Path) -> None:
    largest = 2**63 - 1
    index = empty_index(kind)
    vectors = unit(rng, 2)
    index.add(batch_of([largest, 0], [largest, 0], vectors), revision=largest)
    again = reloaded(index, tmp_path)
    assert again.revision == largest
    assert [near.template_id for near in again.search(probe(vectors[0]), 2)] == [largest, 0]


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [
        ([1, 1], np.eye(2, DIM, dtype=np.float32)),
        ([-1, 1], np.eye(2, DIM, dtype=np.float32)),
        ([1, 2], 2 * np.eye(2, DIM, dtype=np.float32)),
        ([1, 2], np.full((2, DIM), np.nan, dtype=np.float32)),
    ],
    ids=["repeated id", "negative id", "not of unit norm", "not a number"],
)
def test_a_bad_batch_is_refused_and_nothing_changes(index: GalleryIndex, ids: list[int], vectors: np.ndarray) -> None:
    with pytest.raises(TemplateFormatError):
        index.add(batch_of(ids, [1, 2], vectors), revision=9)
    assert (len(index), index.revision) == (N, 7)


def test_another_embedder_or_length_is_refused(index: GalleryIndex, rng: np.random.Generator) -> None:
    stranger = Template(unit(rng, 1)[0], "other@000000000000")
    short = Template(unit(rng, 1, 8)[0], EMBEDDER)
    for wrong in (stranger, short):
        with pytest.raises(IncompatibleTemplatesError):
            index.search(wrong, 1)
        with pytest.raises(IncompatibleTemplatesError):
            index.search_many([wrong], 1)
        with pytest.raises(IncompatibleTemplatesError):
            index.scores_of(wrong, [1])
        with pytest.raises(IncompatibleTemplatesError):
            index.add(TemplateBatch(np.array([1]), np.array([1]), wrong.vector[None], wrong.embedder_id), revision=1)


def test_k_below_one_is_refused(index: GalleryIndex, batch: TemplateBatch) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        index.search(probe(batch.vectors[0]), 0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search_many([probe(batch.vectors[0])], -1)


def test_a_snapshot_is_the_index(index: GalleryIndex, batch: TemplateBatch, tmp_path: Path, rng: np.random.Generator) -> None:
    index.remove([5, 6, 7], revision=8)
    again = reloaded(index, tmp_path / "new" / "folder")
    assert (again.kind, again.revision, len(again), again.embedder_id) == (index.kind, 8, N - 3, EMBEDDER)
    for vector in batch.vectors[:40]:
        assert again.search(probe(vector), 3) == index.search(probe(vector), 3)
    newcomers = batch_of([5001, 5002, 5003, 5004, 5005], [600] * 5, unit(rng, 5))
    again.add(newcomers, revision=9)
    assert len(again) == N + 2
    for row, vector in enumerate(newcomers.vectors):
        assert again.search(probe(vector), 1)[0].template_id == 5001 + row


def test_an_empty_index_can_be_saved(kind: str, tmp_path: Path, batch: TemplateBatch) -> None:
    again = reloaded(empty_index(kind), tmp_path)
    assert len(again) == 0
    again.add(batch, revision=1)
    assert again.search(probe(batch.vectors[3]), 1)[0].template_id == 4


def test_erased_vectors_are_in_no_file(index: GalleryIndex, batch: TemplateBatch, tmp_path: Path) -> None:
    index.save(tmp_path)
    gone = list(range(1, 13))
    index.remove(gone, revision=8)
    index.purge()
    index.save(tmp_path)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    present = [vector.tobytes() in data for vector in batch.vectors]
    assert present == [key not in gone for key in range(1, N + 1)]
    assert index.search(probe(batch.vectors[0]), 1)[0].template_id not in gone
    newcomer = batch_of([7001], [7001], batch.vectors[:1])
    index.add(newcomer, revision=9)
    assert index.search(probe(batch.vectors[0]), 1)[0].template_id == 7001


def test_erasing_most_of_a_gallery_leaves_the_rest(
    index: GalleryIndex, model: ModelGallery, batch: TemplateBatch, tmp_path: Path
) -> None:
    gone = range(1, 701)
    index.remove(gone, revision=8)
    index.purge()
    index.save(tmp_path)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [vector.tobytes() in data for vector in batch.vectors] == [False] * 700 + [True] * 100
    for key in gone:
        del model.rows[key]
    assert_same_answer(index.search(probe(batch.vectors[0]), 25), model.search(batch.vectors[0], 25))


def test_a_folder_that_cannot_be_made_is_a_write_error(index: GalleryIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileWriteError, match="could not be written"):
        index.save(tmp_path / "file")
    with pytest.raises(FileWriteError):
        index.save(tmp_path / "file" / "below")


def test_searches_and_changes_at_once(kind: str, rng: np.random.Generator, tmp_path: Path) -> None:
    fixed, coming = people(rng, 600), unit(rng, 600)
    index = empty_index(kind)
    index.add(fixed, revision=1)
    failures: list[str] = []
    n_searches = [0]
    is_over = threading.Event()

    def search() -> None:
        turn = 0
        while not is_over.is_set():
            row = turn % 600
            someone = probe(fixed.vectors[row])
            answers = (index.search(someone, 2), *index.search_many([someone], 2))
            failures.extend(f"row {row}: {answer}" for answer in answers if len(answer) != 2 or answer[0].template_id != row + 1)
            turn += 1
            n_searches[0] += 1

    searchers = [threading.Thread(target=search) for _ in range(3)]
    for thread in searchers:
        thread.start()
    try:
        for step in range(20):
            rows = np.arange(step * 30, step * 30 + 30)
            index.add(batch_of(rows + 10_001, rows + 10_001, coming[rows]), revision=step)
            index.move((rows + 10_001)[:5], 20_000, revision=step)
            index.remove((rows + 10_001)[:20], revision=step)
            if step % 7 == 0:
                index.purge()
                index.save(tmp_path)
    finally:
        is_over.set()
        for thread in searchers:
            thread.join()
    assert failures == []
    assert n_searches[0] > 20
    assert len(index) == 600 + 200


def test_the_templates_of_people_are_handed_out(index: GalleryIndex, batch: TemplateBatch) -> None:
    wanted = set(batch.identity_ids[:9].tolist())
    removed = int(batch.template_ids[0])
    index.remove([removed], revision=8)
    expected = {
        key: (owner, vector.tobytes())
        for key, owner, vector in zip(batch.template_ids.tolist(), batch.identity_ids.tolist(), batch.vectors, strict=True)
        if owner in wanted and key != removed
    }
    found = index.templates_of([*wanted, 10**9])
    assert len(found) == len(expected) > 3
    for key, owner, vector in zip(found.template_ids.tolist(), found.identity_ids.tolist(), found.vectors, strict=True):
        assert expected[key] == (owner, vector.tobytes())
    assert len(index.templates_of([])) == 0


@pytest.mark.parametrize("most_each", [1, 2, 3, None])
def test_templates_are_counted_up_to_so_many_of_each_person(
    index: GalleryIndex, batch: TemplateBatch, most_each: int | None
) -> None:
    owners = batch.identity_ids.tolist()
    for step, removed in enumerate((None, int(batch.template_ids[0]), int(batch.template_ids[1]))):
        if removed is not None:
            index.remove([removed], revision=8 + step)
            owners.pop(0)
        some = {owners[0], owners[-1], 10**9}
        for among in (None, some):
            counts = Counter(owner for owner in owners if among is None or owner in among)
            assert len(counts) >= 1
            expected = sum(min(count, most_each or count) for count in counts.values())
            assert index.count(among, most_each=most_each) == expected
