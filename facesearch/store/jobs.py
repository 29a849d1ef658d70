"""Jobs of the service and their items inside one transaction.

It works nothing off: see ``facesearch.service.job_records``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, insert, or_, select, update

from facesearch.core.errors import InputError, StoreError, UnknownCollectionError, UnknownJobError
from facesearch.core.identity import checked_label
from facesearch.core.jobs import DELETED, ItemOutcome, ItemState, Job, JobItem, JobState, NewJob, NewJobItem
from facesearch.store import codec
from facesearch.store.access_tables import JobItemRow, JobRow
from facesearch.store.session import Session, chunks
from facesearch.store.tables import CollectionRow

_NO_DIGEST = "0" * 64
ROWS_AT_ONCE = 2000
"""Items of a new job that are written at once."""

_FINAL = tuple(state.value for state in JobState if state.is_final)


class JobsReader:
    """What ``facesearch.core.access_protocols.AccessReader`` asks about jobs, on one open transaction."""

    _session: Session

    def job(self, job_id: str) -> Job:
        """Return a job with its counts.

        Raises:
            UnknownJobError: There is none of this id.
            StoreError: The stored row is damaged.
        """
        row = self._session.first(_jobs().where(JobRow.job_id == job_id))
        if row is None:
            raise _unknown(job_id)
        return self._with_counts([row])[0]

    def jobs(
        self, *, collections: Iterable[str] | None = None, made_by: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        """Return jobs with their counts, newest first.

        Args:
            collections: Only those of these collections; None for all.
            made_by: Only those that this API key asked for.
            before: Only those behind this job in the list (paging); one that is gone ends the list.
            limit: At most so many.

        Raises:
            StoreError: A stored row is damaged.
        """
        statement = _jobs().order_by(JobRow.id.desc()).limit(limit)
        if collections is not None:
            names = [checked_label(one, what="collection name") for one in collections]
            statement = statement.where(CollectionRow.name.in_(names))
        if made_by is not None:
            statement = statement.where(JobRow.made_by == made_by)
        if before is not None:
            statement = statement.where(JobRow.id < select(JobRow.id).where(JobRow.job_id == before).scalar_subquery())
        return tuple(self._with_counts(self._session.rows(statement)))

    def job_items(self, job_id: str, *, after: int = -1, limit: int = 100, state: ItemState | None = None) -> tuple[JobItem, ...]:
        """Return items by number, those above ``after``, at most ``limit``; only those in a state where one is given.

        Raises:
            UnknownJobError: There is no such job.
            StoreError: A stored row is damaged.
        """
        statement = _items().where(JobItemRow.job_row == self._row_of(job_id), JobItemRow.number > after)
        if state is not None:
            statement = statement.where(JobItemRow.state == state.value)
        return tuple(_item(row) for row in self._session.rows(statement.order_by(JobItemRow.number).limit(limit)))

    def waiting_digests(self, job_id: str, *, after: int = -1, limit: int = 100, now: datetime) -> tuple[tuple[int, str], ...]:
        """Return ``(number, digest)`` of the items that wait and that nobody holds, by number.

        Raises:
            UnknownJobError: There is no such job.
        """
        statement = select(JobItemRow.number, JobItemRow.digest).where(
            JobItemRow.job_row == self._row_of(job_id),
            JobItemRow.number > after,
            JobItemRow.state == ItemState.WAITING.value,
            _is_free(JobItemRow, now),
        )
        rows = self._session.rows(statement.order_by(JobItemRow.number).limit(limit))
        return tuple((row.number, row.digest) for row in rows)

    def _row_of(self, job_id: str) -> int:
        row = self._session.first(select(JobRow.id).where(JobRow.job_id == job_id))
        if row is None:
            raise _unknown(job_id)
        return int(row.id)

    def _with_counts(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[Job]:
        counts: dict[int, dict[ItemState, int]] = {row.id: dict.fromkeys(ItemState, 0) for row in rows}
        for chunk in chunks(counts):
            statement = select(JobItemRow.job_row, JobItemRow.state, func.count().label("n")).where(JobItemRow.job_row.in_(chunk))
            for row in self._session.rows(statement.group_by(JobItemRow.job_row, JobItemRow.state)):
                counts[row.job_row][ItemState(row.state)] = row.n
        return [_job(row, counts[row.id]) for row in rows]


class JobsWriter(JobsReader):
    """What ``facesearch.core.access_protocols.AccessWriter`` changes about jobs, on one open writing transaction."""

    def add_job(self, job: NewJob, items: Sequence[NewJobItem]) -> Job:
        """Store a new job, queued, with its items.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        name = checked_label(job.collection, what="collection name")
        owner = self._session.first(select(CollectionRow.id).where(CollectionRow.name == name))
        if owner is None:
            raise UnknownCollectionError(f"there is no collection {name!r}", collection=name)
        created_at = codec.encode_moment(job.created_at)
        row = self._session.insert(
            insert(JobRow).values(
                job_id=job.job_id,
                collection_id=owner.id,
                kind=job.kind,
                state=JobState.QUEUED.value,
                made_by=job.made_by,
                options=dict(job.options),
                created_at=created_at,
                updated_at=created_at,
                error_code="",
                error_message="",
                leased_by="",
            )
        )
        # In parts: the rows of all at once are a million small objects, and other threads wait for each round of the collector.
        for start in range(0, len(items), ROWS_AT_ONCE):
            part = items[start : start + ROWS_AT_ONCE]
            self._session.run(insert(JobItemRow), [_item_values(row, number, item) for number, item in enumerate(part, start)])
        return self.job(job.job_id)

    def set_job_state(self, job_id: str, state: JobState, *, now: datetime, error_code: str = "", error_message: str = "") -> Job:
        """Change how far a job is; a final state lets go of its leases.

        Raises:
            UnknownJobError: There is no such job.
        """
        row = self._row_of(job_id)
        error = {"error_code": error_code, "error_message": codec.encode_source(error_message)}
        values = {"state": state.value, "updated_at": codec.encode_moment(now), **error}
        self._session.run(update(JobRow).where(JobRow.id == row).values(**values))
        if state.is_final:
            self._session.run(update(JobRow).where(JobRow.id == row).values(leased_by="", leased_until=None))
            self._session.run(update(JobItemRow).where(JobItemRow.job_row == row).values(leased_by="", leased_until=None))
        return self.job(job_id)

    def lease_job(self, job_id: str, owner: str, until: datetime, *, now: datetime) -> bool:
        """Take or prolong a job's lease; False where another has it, or the job is gone or over."""
        statement = select(JobRow.id).where(JobRow.job_id == job_id, JobRow.state.not_in(_FINAL), _is_free_for(JobRow, owner, now))
        row = self._session.first(statement)
        if row is None:
            return False
        values = {"leased_by": owner, "leased_until": codec.encode_moment(until)}
        self._session.run(update(JobRow).where(JobRow.id == row.id).values(**values))
        return True

    def release_job(self, job_id: str, owner: str) -> None:
        """Give up a job's lease and those of its items, where ``owner`` has them; nothing happens where the job is gone."""
        row = self._session.first(select(JobRow.id).where(JobRow.job_id == job_id))
        if row is None:
            return
        for table, place in ((JobRow, JobRow.id), (JobItemRow, JobItemRow.job_row)):
            released = update(table).where(place == row.id, table.leased_by == owner)
            self._session.run(released.values(leased_by="", leased_until=None))

    def leasable_job(self, kind: str, *, now: datetime) -> str | None:
        """Return the id of the oldest job of a kind that is not over and that nobody has a lease of, or None."""
        statement = select(JobRow.job_id).where(JobRow.kind == kind, JobRow.state.not_in(_FINAL), _is_free(JobRow, now))
        row = self._session.first(statement.order_by(JobRow.id).limit(1))
        return None if row is None else str(row.job_id)

    def lease_items(
        self, job_id: str, owner: str, until: datetime, *, now: datetime, digests: Iterable[str] | None = None, limit: int = 100
    ) -> tuple[JobItem, ...]:
        """Take or prolong the leases of waiting items, those of some photographs or of any, by number, and return them.

        Items that another has a lease of are left out.

        Raises:
            UnknownJobError: There is no such job.
            StoreError: A stored row is damaged.
        """
        row = self._row_of(job_id)
        statement = _items().where(
            JobItemRow.job_row == row, JobItemRow.state == ItemState.WAITING.value, _is_free_for(JobItemRow, owner, now)
        )
        statement = statement.order_by(JobItemRow.number).limit(limit)
        if digests is None:
            found = list(self._session.rows(statement))
        else:
            found = [one for chunk in chunks(digests) for one in self._session.rows(statement.where(JobItemRow.digest.in_(chunk)))]
            found = sorted(found, key=lambda one: int(one.number))[:limit]
        values = {"leased_by": owner, "leased_until": codec.encode_moment(until)}
        for chunk in chunks(one.number for one in found):
            leased = update(JobItemRow).where(JobItemRow.job_row == row, JobItemRow.number.in_(chunk))
            self._session.run(leased.values(**values))
        return tuple(_item(one) for one in found)

    def set_item_outcomes(self, job_id: str, outcomes: Sequence[ItemOutcome], *, now: datetime) -> None:
        """Write down what became of items that wait; those with an outcome keep theirs.

        Raises:
            UnknownJobError: There is no such job.
        """
        row = self._row_of(job_id)
        for one in outcomes:
            if one.state is ItemState.WAITING:
                raise InputError(f"waiting is no outcome of item {one.number}")
            waiting = (JobItemRow.job_row == row, JobItemRow.number == one.number, JobItemRow.state == ItemState.WAITING.value)
            self._session.run(
                update(JobItemRow)
                .where(*waiting)
                .values(
                    state=one.state.value,
                    identity_id=one.identity_id,
                    template_id=one.template_id,
                    error_code=one.error_code,
                    error_message=codec.encode_source(one.error_message),
                    leased_by="",
                    leased_until=None,
                )
            )
        self._session.run(update(JobRow).where(JobRow.id == row).values(updated_at=codec.encode_moment(now)))

    def forget_job_items(self, collection: str, label: str, identity_id: int) -> None:
        """Forget who the items of a person were, and their photographs' digests and names; those that wait stay as they are.

        Raises:
            LabelError: The label or the collection's name is not allowed.
        """
        name = checked_label(collection, what="collection name")
        jobs = select(JobRow.id).join(CollectionRow, CollectionRow.id == JobRow.collection_id).where(CollectionRow.name == name)
        is_theirs = or_(JobItemRow.identity_id == identity_id, JobItemRow.label == checked_label(label))
        over = (JobItemRow.job_row.in_(jobs), JobItemRow.state != ItemState.WAITING.value, is_theirs)
        forgotten = {"label": DELETED, "digest": _NO_DIGEST, "tags": [], "name": codec.encode_source(""), "error_message": ""}
        self._session.run(update(JobItemRow).where(*over).values(**forgotten))
        # An item that says whom a face resembles names somebody else's label.
        told = (JobItemRow.job_row.in_(jobs), JobItemRow.error_message.contains(label, autoescape=True))
        self._session.run(update(JobItemRow).where(*told).values(error_message=""))

    def remove_job(self, job_id: str) -> None:
        """Delete a job with its items; nothing happens where there is none."""
        self._session.run(delete(JobRow).where(JobRow.job_id == job_id))

    def remove_jobs(self, before: datetime) -> None:
        """Delete the jobs that were last changed before a moment."""
        self._session.run(delete(JobRow).where(JobRow.updated_at < codec.encode_moment(before)))


def _is_free(table: type[JobRow] | type[JobItemRow], now: datetime) -> ColumnElement[bool]:
    return or_(table.leased_by == "", table.leased_until.is_(None), table.leased_until <= codec.encode_moment(now))


def _is_free_for(table: type[JobRow] | type[JobItemRow], owner: str, now: datetime) -> ColumnElement[bool]:
    return or_(table.leased_by == owner, _is_free(table, now))


def _unknown(job_id: str) -> UnknownJobError:
    return UnknownJobError(f"there is no job {job_id!r}; jobs are forgotten a week after their last change", job_id=job_id)


def _jobs() -> Select[*tuple[Any, ...]]:
    n_items = select(func.count()).select_from(JobItemRow).where(JobItemRow.job_row == JobRow.id)
    columns = (
        *(JobRow.id, JobRow.job_id, JobRow.kind, JobRow.state, JobRow.made_by, JobRow.options, JobRow.created_at),
        *(JobRow.updated_at, JobRow.error_code, JobRow.error_message, JobRow.leased_by, JobRow.leased_until),
        *(CollectionRow.name.label("collection"), n_items.scalar_subquery().label("n_items")),
    )
    return select(*columns).join(CollectionRow, CollectionRow.id == JobRow.collection_id)


def _job(row: Row[*tuple[Any, ...]], counts: dict[ItemState, int]) -> Job:
    about = NewJob(row.job_id, row.kind, row.collection, row.made_by, MappingProxyType(dict(row.options)), row.created_at)
    try:
        state = JobState(row.state)
    except ValueError as exc:
        raise StoreError(f"the stored job {row.job_id} is damaged: {exc}", job_id=row.job_id) from exc
    return Job(
        about=about,
        state=state,
        updated_at=row.updated_at,
        n_items=row.n_items,
        counts=MappingProxyType(counts),
        error_code=row.error_code,
        error_message=row.error_message,
        leased_by=row.leased_by,
        leased_until=row.leased_until,
    )


def _items() -> Select[*tuple[Any, ...]]:
    columns = (
        *(JobItemRow.number, JobItemRow.digest, JobItemRow.label, JobItemRow.tags, JobItemRow.name, JobItemRow.state),
        *(JobItemRow.identity_id, JobItemRow.template_id, JobItemRow.error_code, JobItemRow.error_message),
    )
    return select(*columns)


def _item(row: Row[*tuple[Any, ...]]) -> JobItem:
    try:
        what = NewJobItem(row.digest, row.label, tuple(row.tags), row.name)
        state = ItemState(row.state)
    except (InputError, ValueError) as exc:
        raise StoreError(f"the stored item {row.number} of a job is damaged: {exc}", number=row.number) from exc
    return JobItem(row.number, what, state, row.identity_id, row.template_id, row.error_code, row.error_message)


def _item_values(job_row: int, number: int, item: NewJobItem) -> dict[str, object]:
    return {
        "job_row": job_row,
        "number": number,
        "digest": item.digest,
        "label": item.label,
        "tags": list(item.tags),
        "name": codec.encode_source(item.name),
        "state": ItemState.WAITING.value,
        "error_code": "",
        "error_message": "",
        "leased_by": "",
    }
