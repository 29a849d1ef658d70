"""What the templates made for another embedder are checked for, each check by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from facesearch.core.errors import MigrationError
from facesearch.core.identity import Identity
from facesearch.core.protocols import GalleryIndex
from facesearch.core.template import TemplateBatch
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.service.migration_checks import MAX_LOSS, MIN_JUDGED, SpotCheck, Verified, verified
from tests.world import DIM, EMBEDDER, person_vector

N_PEOPLE = 5
N_EACH = 3


class FakeReader:
    """Hands out templates as they are; the real store would refuse damaged ones before they are measured."""

    def __init__(self, batch: TemplateBatch) -> None:
        self.batch = batch

    def template_batches(self, collection: str, embedder_id: str) -> Iterator[TemplateBatch]:
        yield self.batch

    def template_batch_of(self, identity_ids: Iterable[int], embedder_id: str) -> TemplateBatch:
        return taken(self.batch, np.isin(self.batch.identity_ids, list(identity_ids)))

    def identities_by_id(self, identity_ids: Iterable[int]) -> dict[int, Identity]:
        enrolled_at = datetime(2026, 3, 1, tzinfo=UTC)
        return {one: Identity(one, f"P{one}", "default", (), enrolled_at) for one in identity_ids}


def taken(batch: TemplateBatch, rows: np.ndarray) -> TemplateBatch:
    return TemplateBatch(batch.template_ids[rows], batch.identity_ids[rows], batch.vectors[rows], EMBEDDER)


def templates() -> TemplateBatch:
    """Return the templates of people P0, P1, …: 1, 2, 3 are P0's, 4, 5, 6 P1's."""
    people = np.repeat(np.arange(N_PEOPLE), N_EACH)
    vectors = np.stack([person_vector(person, 0.9, photo) for photo, person in enumerate(people.tolist())])
    return TemplateBatch(np.arange(len(people)) + 1, people, vectors, EMBEDDER)


def index_of(batch: TemplateBatch) -> GalleryIndex:
    index = GalleryIndexFactory(EMBEDDER, DIM).empty(len(batch))
    index.add(batch, revision=1)
    return index


def checked(stored: TemplateBatch, index: GalleryIndex) -> Verified:
    return verified(FakeReader(stored), "default", (index_of(templates()), EMBEDDER), (index, EMBEDDER))


def test_what_is_stored_and_indexed_as_it_was_made_holds_up() -> None:
    found = checked(templates(), index_of(templates()))
    assert (found.n_templates, [one.label for one in found.judged]) == (15, ["P0", "P1", "P2", "P3", "P4"])
    assert all(one.is_itself and one.is_found_before and one.is_found_after for one in found.checks)
    found.require_itself()
    found.require_no_loss()


@pytest.mark.parametrize("length", [0.9, 1.1, np.nan])
def test_one_vector_of_another_length_is_refused(length: float) -> None:
    made = templates()
    lengths = np.ones((len(made), 1), dtype=np.float32)
    lengths[7] = length
    damaged = TemplateBatch(made.template_ids, made.identity_ids, made.vectors * lengths, EMBEDDER)
    with pytest.raises(MigrationError, match=rf"a stored vector of {EMBEDDER} is not of length 1: nothing was switched"):
        checked(damaged, index_of(made))


@pytest.mark.parametrize("n_indexed", [14, 16])
def test_an_index_of_another_number_of_templates_is_refused(n_indexed: int) -> None:
    made = templates()
    index = index_of(made)
    if n_indexed < len(made):
        index.remove([5], revision=2)
    else:
        index.add(TemplateBatch(np.array([16]), np.array([99]), person_vector(20)[None], EMBEDDER), revision=2)
    with pytest.raises(MigrationError, match=rf"index holds {n_indexed} templates, the database 15: nothing was switched"):
        checked(made, index)


def test_templates_that_the_index_holds_under_each_others_ids_do_not_find_themselves() -> None:
    made = templates()
    order = np.arange(15)
    order[[5, 8]] = [8, 5]  # the last photographs of P1 and P2
    found = checked(made, index_of(TemplateBatch(made.template_ids, made.identity_ids, made.vectors[order], EMBEDDER)))
    assert [one.label for one in found.checks if not one.is_itself] == ["P1", "P2"]
    with pytest.raises(MigrationError, match=r"2 of 5 sampled templates .* do not find themselves \(first: 'P1'\)"):
        found.require_itself()


def test_a_copy_of_the_photograph_under_another_name_is_no_damage() -> None:
    made = templates()
    vectors = made.vectors.copy()
    vectors[2] = vectors[14]
    twins = TemplateBatch(made.template_ids, made.identity_ids, vectors, EMBEDDER)
    checked(twins, index_of(twins)).require_itself()


def counted(n_kept: int = 0, n_lost: int = 0, n_gained: int = 0, n_never: int = 0, n_single: int = 0) -> Verified:
    """Return what was seen of so many people: found before and after, before only, after only, never, with one photograph only."""
    found, missed = (0.7, 0.2), (0.2, 0.7)
    people = [
        *[(*found, *found)] * n_kept,
        *[(*found, *missed)] * n_lost,
        *[(*missed, *found)] * n_gained,
        *[(*missed, *missed)] * n_never,
        *[(None, 0.2, None, 0.2)] * n_single,
    ]
    return Verified(len(people), tuple(SpotCheck(f"P{n}", *scores, True) for n, scores in enumerate(people)))


def test_one_person_in_twenty_may_be_lost_and_no_more() -> None:
    assert (MAX_LOSS, MIN_JUDGED) == (0.05, 20)
    counted(n_kept=38, n_lost=2).require_no_loss()
    with pytest.raises(
        MigrationError, match=r"of 40 .* 40 are found .* 3 of whom the new one no longer finds \(it finds 37 in all\)"
    ):
        counted(n_kept=37, n_lost=3).require_no_loss()


def test_people_found_anew_do_not_make_up_for_those_found_no_longer() -> None:
    with pytest.raises(MigrationError, match=r"of 40 .* 20 are found .* 20 of whom the new one no longer finds") as caught:
        counted(n_lost=20, n_gained=20).require_no_loss()
    assert caught.value.context == {"n_judged": 40, "n_found_before": 20, "n_found_after": 20, "n_lost": 20}
    counted(n_kept=2, n_gained=38).require_no_loss()
    counted(n_never=40).require_no_loss()


def test_of_fewer_than_twenty_people_nothing_is_concluded() -> None:
    counted(n_lost=19, n_single=100).require_no_loss()  # who has one photograph only is not found with either
    with pytest.raises(MigrationError):
        counted(n_lost=20).require_no_loss()
