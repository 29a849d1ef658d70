"""Whether templates that were made for another embedder hold up: counted, measured, and tried on a sample of people.

It reads only; whether a collection is switched is decided in ``migrate``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facesearch.core.errors import MigrationError
from facesearch.core.identity import Identity
from facesearch.core.protocols import GalleryIndex, StoreReader
from facesearch.core.template import Template, TemplateBatch

SAMPLE_PEOPLE = 200
"""People that are searched for: at 95 % found the standard error is 1.5 points, and it takes seconds."""

SAMPLE_SEED = 20260301
"""Fixed, so that a second look sees the same people."""

SELF_SCORE = 0.99
"""Least score of a stored template with itself, whatever compact format it is held in."""

NORM_TOLERANCE = 0.02
"""Most that the length of a stored vector may differ from 1, likewise."""

MAX_LOSS = 0.05
"""Largest share of sampled people that were found and may be found no longer; more is a model that does not fit these pictures."""

MIN_JUDGED = 20
"""Sampled people with two photographs below which the share that is found says too little to refuse anything."""


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """One sampled person, searched for by the last template under each embedder: as a rule that of one photograph.

    Attributes:
        label: The person.
        own_before: Best score against the person's other templates under the former embedder; None without another photograph.
        other_before: Best score against anybody else; None where there is nobody else.
        own_after: As ``own_before`` under the new embedder.
        other_after: As ``other_before`` likewise.
        is_itself: Whether the newly made template finds itself in the new index.
    """

    label: str
    own_before: float | None
    other_before: float | None
    own_after: float | None
    other_after: float | None
    is_itself: bool

    @property
    def is_judged(self) -> bool:
        """Whether the person has another photograph under both embedders, so that being found means something."""
        return self.own_before is not None and self.own_after is not None

    @property
    def is_found_before(self) -> bool:
        """Whether the person comes first under the former embedder."""
        return _is_first(self.own_before, self.other_before)

    @property
    def is_found_after(self) -> bool:
        """Whether the person comes first under the new one."""
        return _is_first(self.own_after, self.other_after)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked of the new templates.

    Attributes:
        n_templates: Templates of the new embedder, each of them read and measured.
        checks: The sampled people, by label.
    """

    n_templates: int
    checks: tuple[SpotCheck, ...]

    @property
    def judged(self) -> tuple[SpotCheck, ...]:
        """The sampled people with another photograph."""
        return tuple(one for one in self.checks if one.is_judged)

    def require_itself(self) -> None:
        """Raise where a sampled template does not find itself.

        Raises:
            MigrationError: Its index does not hold what was stored.
        """
        lost = [one.label for one in self.checks if not one.is_itself]
        if lost:
            raise MigrationError(
                f"{len(lost)} of {len(self.checks)} sampled templates of the new embedder do not find themselves "
                f"(first: {lost[0]!r}): nothing was switched; run `facesearch gallery migrate --abandon` and begin anew"
            )

    def require_no_loss(self) -> None:
        """Raise where too many people who were found are found no longer; others who are found instead do not make up for them.

        Raises:
            MigrationError: More than ``MAX_LOSS`` of the sampled people are lost.
        """
        judged = self.judged
        before, after = sum(one.is_found_before for one in judged), sum(one.is_found_after for one in judged)
        n_lost = sum(one.is_found_before and not one.is_found_after for one in judged)
        if len(judged) >= MIN_JUDGED and n_lost > MAX_LOSS * len(judged):
            raise MigrationError(
                f"of {len(judged)} sampled people with several photographs {before} are found by the embedder in use, {n_lost} of "
                f"whom the new one no longer finds (it finds {after} in all): nothing was switched; add --accept-worse to switch "
                "all the same, or --abandon to forget it",
                n_judged=len(judged),
                n_found_before=before,
                n_found_after=after,
                n_lost=n_lost,
            )


def verified(
    reader: StoreReader, collection: str, before: tuple[GalleryIndex, str] | None, after: tuple[GalleryIndex, str]
) -> Verified:
    """Return what reading every new template, and searching for a sample of people, showed.

    Args:
        reader: One transaction, no older than the indexes.
        collection: Its name.
        before: Index and id of the embedder in use; None where it cannot be had: nobody is judged then.
        after: Index and id of the new one.

    Raises:
        MigrationError: A vector is not of unit length, or the index holds another number than the database.
        TemplateFormatError: A stored vector is damaged.
    """
    n_templates, sampled = _read_all(reader, collection, after[1])
    if len(after[0]) != n_templates:
        raise MigrationError(f"the new index holds {len(after[0])} templates, the database {n_templates}: nothing was switched")
    people = reader.identities_by_id(sampled)
    checks = [_checked(reader, one, before, after) for one in people.values()]
    return Verified(n_templates, tuple(sorted(checks, key=lambda one: one.label)))


def _read_all(reader: StoreReader, collection: str, embedder_id: str) -> tuple[int, Sequence[int]]:
    """Return the number of templates, and sampled people who have any: a reservoir, in bounded memory."""
    chance = random.Random(SAMPLE_SEED)  # noqa: S311 - a sample, no secret
    n_templates, n_people = 0, 0
    sampled: list[int] = []
    last = -1
    for batch in reader.template_batches(collection, embedder_id):
        norms = np.linalg.norm(batch.vectors, axis=1)
        if not (np.abs(norms - 1.0) <= NORM_TOLERANCE).all():  # NaN compares as False
            raise MigrationError(f"a stored vector of {embedder_id} is not of length 1: nothing was switched")
        n_templates += len(batch)
        for person in batch.identity_ids.tolist():
            if person == last:
                continue  # photographs of a person mostly follow each other: nobody is to be sampled for having many
            last = person
            n_people += 1
            if len(sampled) < SAMPLE_PEOPLE:
                sampled.append(person)
            elif (place := chance.randrange(n_people)) < SAMPLE_PEOPLE:
                sampled[place] = person
    return n_templates, sampled


def _checked(
    reader: StoreReader, person: Identity, before: tuple[GalleryIndex, str] | None, after: tuple[GalleryIndex, str]
) -> SpotCheck:
    made = reader.template_batch_of((person.identity_id,), after[1])
    own_after, other_after = _scores(made, after[0])
    own_before = other_before = None
    if before is not None:
        own_before, other_before = _scores(reader.template_batch_of((person.identity_id,), before[1]), before[0])
    last = Template(made.vectors[-1], after[1])
    near = after[0].search(last, 1)
    # A twin of the photograph may come first: what counts is that nothing comes before the template by more than rounding.
    own = after[0].scores_of(last, [int(made.template_ids[-1])]).get(int(made.template_ids[-1]), -1.0)
    is_itself = bool(near) and own >= SELF_SCORE and near[0].score <= own + 1.0 - SELF_SCORE
    return SpotCheck(person.label, own_before, other_before, own_after, other_after, is_itself)


def _scores(own: TemplateBatch, index: GalleryIndex) -> tuple[float | None, float | None]:
    """Return the best scores of a person's last template against the person's others and against everybody else."""
    if not len(own):
        return None, None
    vector = own.vectors[-1]
    best_own = float(np.clip((own.vectors[:-1] @ vector).max(), -1.0, 1.0)) if len(own) > 1 else None
    person = int(own.identity_ids[-1])
    near = [one.score for one in index.search(Template(vector, own.embedder_id), 2) if one.identity_id != person]
    return best_own, (near[0] if near else None)


def _is_first(own: float | None, other: float | None) -> bool:
    return own is not None and (other is None or own > other)
