"""The gallery doctor: looks a collection through for faults, and carries out what was accepted of its proposals.

It changes nothing by itself, and nothing without an export to go back to unless that was refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import count

import numpy as np

from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import InputError, LabelTakenError
from facesearch.core.identity import MAX_LABEL_CHARS, EnrolledTemplate, Identity, Provenance
from facesearch.core.paths import is_there
from facesearch.core.protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.core.quality import Quality
from facesearch.core.template import TemplateBatch
from facesearch.service.exchange import Exchange
from facesearch.service.gallery import GalleryIndexes, IndexStatus
from facesearch.service.gallery_examination import (
    DEFAULT_RULE,
    Duplicate,
    Examination,
    ExaminationRule,
    Misplaced,
    NearIdentical,
    examine,
    survey,
)
from facesearch.service.gallery_findings import Action, Finding, FindingKind, accepted, read_proposals, write_proposals

WEAK_DETECTION = 0.9
"""Detection score below which a template is called weak: of LFW's faces one in 5,000 scores less."""

WEAK_FACE_PX = 32
"""Shorter side of a face's box, in pixels, below which a template is called weak where no more is known of its quality."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """What the doctor found in one collection.

    Attributes:
        collection: Its name.
        collection_uid: What tells it from others of the name, in this database and in any other.
        embedder_id: The embedder whose templates were looked at.
        n_identities: People.
        n_templates: Templates looked at.
        index: How the index stands to the database.
        findings: Everything found; the probable ones with an action are accepted.
    """

    collection: str
    collection_uid: str
    embedder_id: str
    n_identities: int
    n_templates: int
    index: IndexStatus
    findings: tuple[Finding, ...]

    def write_proposals(self, file: str | os.PathLike[str]) -> int:
        """Write what can be done about the findings; return how many proposals."""
        return write_proposals(
            file, self.findings, collection=self.collection, collection_uid=self.collection_uid, embedder_id=self.embedder_id
        )


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of one accepted proposal.

    Attributes:
        finding: The proposal.
        is_done: Whether it was carried out.
        message: What was done, or why not.
    """

    finding: Finding
    is_done: bool
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Instruments:
    """What a collection is looked through with: that of the embedder that it is searched with.

    Attributes:
        indexes: What finds its people's neighbours.
        exchange: Writes the export to go back to.
        points: The embedder's operating points.
    """

    indexes: GalleryIndexes
    exchange: Exchange
    points: OperatingPoints


class GalleryDoctor:
    """Examines collections and carries out proposals.

    Args:
        store: Where people are.
        instruments_of: Returns what a collection is looked through with.
    """

    def __init__(self, store: IdentityStore, instruments_of: Callable[[str], Instruments]) -> None:
        self._store = store
        self._instruments_of = instruments_of

    def examine(self, collection: str, rule: ExaminationRule = DEFAULT_RULE) -> Checkup:
        """Look a collection through; see ``gallery_examination`` for what is looked for.

        Raises:
            UnknownCollectionError: There is no such collection.
            IncompatibleTemplatesError: Everything in it was enrolled with other embedders.
        """
        given = self._instruments_of(collection)
        with self._store.reading() as reader:
            found_in, index = given.indexes.synced(reader, collection)
            batch = _whole(reader, collection, index.embedder_id)
            status = given.indexes.status(reader, collection)
            people = {one.identity_id: one for one in reader.identities(collection)}
            enrolled = {
                one.template_id: one
                for identity_id in people
                for one in reader.templates_of(identity_id)
                if one.template.embedder_id == index.embedder_id
            }
            found = examine(batch, survey(batch, index), given.points, rule) if len(batch) else Examination((), (), (), (), ())
        findings = (*_of_examination(found, people, enrolled), *_weak(enrolled, people))
        return Checkup(collection, found_in.uid, index.embedder_id, len(people), len(batch), status, accepted(findings))

    def apply(
        self, proposals: str | os.PathLike[str], *, collection: str, backup: str | os.PathLike[str] | None
    ) -> tuple[Treated, ...]:
        """Carry out the accepted proposals of a file, each in a transaction of its own; what no longer fits is left alone.

        Args:
            proposals: The file.
            collection: What it is of.
            backup: Where the collection is exported to first: deleting the collection and importing that file undoes everything.
                None makes no export.

        Raises:
            InputError: The file cannot be used, or ``backup`` exists already.
            FileWriteError: The export cannot be written; nothing was changed.
        """
        given = self._instruments_of(collection)
        embedder_id = given.points.embedder_id
        with self._store.reading() as reader:
            uid = reader.collection(collection).uid
        read = read_proposals(proposals, collection=collection, collection_uid=uid, embedder_id=embedder_id)
        wanted = [one for one in read if one.is_accepted]
        if backup is not None:
            if is_there(backup):
                raise InputError(f"{backup} exists already: name another file for the export", path=str(backup))
            given.exchange.export(backup, collection=collection)
        merged: dict[int, int] = {}
        done = []
        for finding in wanted:
            with self._store.writing() as writer:
                done.append(_carried_out(writer, finding, merged, embedder_id))
        if any(one.is_done and one.finding.action is Action.REMOVE for one in done):
            self._store.scrub()
        return tuple(done)


def _whole(reader: StoreReader, collection: str, embedder_id: str) -> TemplateBatch:
    batches = list(reader.template_batches(collection, embedder_id))
    if not batches:
        return TemplateBatch(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 1), np.float32), embedder_id)
    return TemplateBatch(
        np.concatenate([one.template_ids for one in batches]),
        np.concatenate([one.identity_ids for one in batches]),
        np.concatenate([one.vectors for one in batches]),
        embedder_id,
    )


def _of_examination(
    found: Examination, people: Mapping[int, Identity], enrolled: Mapping[int, EnrolledTemplate]
) -> Iterator[Finding]:
    for misplaced in found.misplaced:
        yield _wrong_label(misplaced, people, enrolled)
    # Copies before people: a copy goes while both labels are still there.
    for copy in found.near_identical:
        yield _copy(copy, people, enrolled)
    for duplicate in found.duplicates:
        yield _duplicate(duplicate, people)
    indexed = ((FindingKind.MISSING_FROM_INDEX, found.missing), (FindingKind.WRONG_PERSON_IN_INDEX, found.misowned))
    for kind, template_ids in indexed:
        for template_id in template_ids:
            owner = people[enrolled[template_id].identity_id]
            source = enrolled[template_id].provenance.source
            detail = "run: facesearch gallery rebuild"
            yield Finding(kind, True, None, owner.identity_id, owner.label, template_id, source, detail=detail)


def _wrong_label(one: Misplaced, people: Mapping[int, Identity], enrolled: Mapping[int, EnrolledTemplate]) -> Finding:
    is_known = one.other_id is not None
    return Finding(
        kind=FindingKind.WRONG_LABEL if is_known else FindingKind.STRANGER,
        is_probable=is_known,
        action=Action.MOVE if is_known else Action.SPLIT,
        identity_id=one.identity_id,
        label=people[one.identity_id].label,
        template_id=one.template_id,
        source=enrolled[one.template_id].provenance.source,
        other_identity_id=one.other_id,
        other_label=people[one.other_id].label if one.other_id is not None else None,
        score=one.other_score,
        own_score=one.own_score,
    )


def _duplicate(one: Duplicate, people: Mapping[int, Identity]) -> Finding:
    counted = "1 comparison" if one.n_comparisons == 1 else f"{one.n_comparisons} comparisons"
    return Finding(
        kind=FindingKind.DUPLICATE_PERSON,
        is_probable=one.is_probable,
        action=Action.MERGE,
        identity_id=one.identity_id,
        label=people[one.identity_id].label,
        other_identity_id=one.other_id,
        other_label=people[one.other_id].label,
        score=one.score,
        detail=f"mean of {counted}",
    )


def _copy(one: NearIdentical, people: Mapping[int, Identity], enrolled: Mapping[int, EnrolledTemplate]) -> Finding:
    is_same_person = one.identity_id == one.other_id
    return Finding(
        kind=FindingKind.NEAR_IDENTICAL if is_same_person else FindingKind.SAME_PICTURE_TWO_LABELS,
        is_probable=True,
        action=Action.REMOVE if is_same_person else None,
        identity_id=one.identity_id,
        label=people[one.identity_id].label,
        template_id=one.template_id,
        source=enrolled[one.template_id].provenance.source,
        other_identity_id=one.other_id,
        other_label=people[one.other_id].label,
        other_template_id=one.other_template_id,
        score=one.score,
        detail=f"of {enrolled[one.other_template_id].provenance.source or f'template {one.other_template_id}'}",
    )


def _weak(enrolled: Mapping[int, EnrolledTemplate], people: Mapping[int, Identity]) -> Iterator[Finding]:
    for template_id, one in enrolled.items():
        reasons = weaknesses(one.provenance)
        if reasons:
            owner = people[one.identity_id]
            yield Finding(
                kind=FindingKind.WEAK_TEMPLATE,
                is_probable=True,
                action=None,
                identity_id=owner.identity_id,
                label=owner.label,
                template_id=template_id,
                source=one.provenance.source,
                detail=", ".join(reasons),
            )


def weaknesses(provenance: Provenance) -> tuple[str, ...]:
    """Return why a template is weak: what the standard gate says of its stored figures, else of its face's size and score."""
    figures = {one.name: provenance.quality.get(one.name) for one in fields(Quality)}
    known = {name: value for name, value in figures.items() if value is not None}
    if len(known) == len(figures):
        reasons = [str(reason) for reason in Quality(**known).reasons]
    else:
        side = min(provenance.detection.width, provenance.detection.height)
        reasons = ["too_small"] if side < WEAK_FACE_PX else []
    if provenance.detection.score < WEAK_DETECTION and "weak_detection" not in reasons:
        reasons.append("weak_detection")
    return tuple(reasons)


def _carried_out(writer: StoreWriter, finding: Finding, merged: dict[int, int], embedder_id: str) -> Treated:
    """Carry out one proposal if it still fits. ``merged`` says into whom people were merged by proposals before."""
    owner, other = (_alive(writer, one, merged) for one in (finding.identity_id, finding.other_identity_id))
    if owner is None or (other is None and finding.action in (Action.MOVE, Action.MERGE)):
        return Treated(finding, False, f"{finding.label if owner is None else finding.other_label!r} is no longer enrolled")
    if finding.action is Action.MERGE and other is not None:
        if owner.identity_id == other.identity_id:
            return Treated(finding, False, f"{finding.label!r} and {finding.other_label!r} are one already")
        writer.merge_identities(owner.identity_id, other.identity_id)
        merged[owner.identity_id] = other.identity_id
        return Treated(finding, True, f"merged {owner.label!r} into {other.label!r}")
    template_id = finding.template_id if finding.template_id is not None else -1
    if _owner_of(writer, template_id, embedder_id) != owner.identity_id:
        return Treated(finding, False, f"template {template_id} is gone or belongs to somebody else by now")
    if finding.action is Action.REMOVE:
        original = finding.other_template_id if finding.other_template_id is not None else -1
        if _owner_of(writer, original, embedder_id) != owner.identity_id:
            return Treated(finding, False, f"template {original}, of which {template_id} is a copy, is gone or somebody else's")
        for one in writer.templates_of_face(template_id):  # of every embedder, or a switch would bring the face back
            writer.remove_template(one)
        return Treated(finding, True, f"removed template {template_id} of {owner.label!r}")
    target = other if other is not None and finding.action is Action.MOVE else _split_off(writer, owner)
    writer.move_template(template_id, target.identity_id)
    return Treated(finding, True, f"moved template {template_id} from {owner.label!r} to {target.label!r}")


def _alive(reader: StoreReader, identity_id: int | None, merged: Mapping[int, int]) -> Identity | None:
    while identity_id is not None and identity_id in merged:
        identity_id = merged[identity_id]
    return None if identity_id is None else reader.identities_by_id((identity_id,)).get(identity_id)


def _owner_of(reader: StoreReader, template_id: int, embedder_id: str) -> int | None:
    owners = reader.template_batch((template_id,), embedder_id).identity_ids.tolist()
    return int(owners[0]) if owners else None


def _split_off(writer: StoreWriter, owner: Identity) -> Identity:
    """Make a label for a photograph that is somebody else's: ``<label> (not 1)`` or the first number that is free."""
    for number in count(1):
        ending = f" (not {number})"
        with suppress(LabelTakenError):
            return writer.add_identity(owner.collection, owner.label[: MAX_LABEL_CHARS - len(ending)] + ending, owner.tags)
    raise LabelTakenError(f"no label is free for a photograph of {owner.label!r}")
