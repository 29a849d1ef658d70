"""Many photographs enrolled as one job of the service: sent as they are asked for, again where the service was restarted.

It keeps no photograph in memory that is a path: each is read when it is sent.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesearch.client.client import Client
from facesearch.client.errors import JobMemoryFullError, MissingPhotographsError
from facesearch.client.models import Job, JobOptions, NewJobItem
from facesearch.client.photographs import Photograph, upload_of

BATCH_PHOTOS = 16
"""Photographs of one request at most."""

BATCH_BYTES = 8 * 2**20
"""Bytes of photographs in one request at most, unless a single one has more."""

FINAL = frozenset({"done", "cancelled", "failed"})
"""States of a job in which nothing more happens."""

_NAME_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photograph, and whose it is.

    Attributes:
        photo: A path (read when it is sent), or bytes.
        label: The person.
        tags: For the person.
    """

    photo: bytes | str | os.PathLike[str]
    label: str
    tags: Sequence[str] = ()


def enroll_many(
    client: Client,
    collection: str,
    photographs: Iterable[Labelled],
    *,
    options: JobOptions | None = None,
    on_progress: Callable[[Job], None] | None = None,
    poll_s: float = 0.5,
) -> Job:
    """Enroll photographs as one job and return it when it is over; ``client.iter_job_items`` says what became of each.

    Interrupted, it leaves the job as it is: ``go_on`` finishes it.

    Args:
        client: Whom to ask.
        collection: Where to.
        photographs: What to enroll.
        options: How; None for the service's own ways.
        on_progress: Called with the job whenever it was looked at.
        poll_s: Seconds between two looks while nothing is to be sent.

    Raises:
        ApiError: The service refused, or could not be reached for long.
        MissingPhotographsError: A file was changed while its job was under way.
        OSError: A photograph cannot be read.
    """
    given = list(photographs)
    by_digest = {_digest_of(one.photo): one.photo for one in given}
    items = [
        NewJobItem(digest=_digest_of(one.photo), label=one.label, tags=list(one.tags), name=_name_of(one.photo)) for one in given
    ]
    job = client.create_job(collection, items, options=options)
    return _finished(client, job.job_id, by_digest, on_progress, poll_s)


def go_on(
    client: Client,
    job_id: str,
    photographs: Iterable[bytes | str | os.PathLike[str]],
    *,
    on_progress: Callable[[Job], None] | None = None,
    poll_s: float = 0.5,
) -> Job:
    """Finish a job that was begun before: send what it still misses of these photographs, and return it when it is over.

    Args:
        client: Whom to ask.
        job_id: The job; a cancelled or failed one is resumed.
        photographs: Those of the job, or some of them.
        on_progress: As in ``enroll_many``.
        poll_s: As in ``enroll_many``.

    Raises:
        ApiError: The service refused, or could not be reached for long.
        MissingPhotographsError: The job misses photographs, and none of these; or a file was changed meanwhile.
    """
    if client.get_job(job_id).state in ("cancelled", "failed"):
        client.resume_job(job_id)
    return _finished(client, job_id, {_digest_of(one): one for one in photographs}, on_progress, poll_s)


def _finished(
    client: Client,
    job_id: str,
    by_digest: Mapping[str, bytes | str | os.PathLike[str]],
    on_progress: Callable[[Job], None] | None,
    poll_s: float,
) -> Job:
    while True:
        job = client.get_job(job_id)
        if on_progress is not None:
            on_progress(job)
        if job.state in FINAL:
            return job
        missing = list(dict.fromkeys(one.digest for one in client.iter_missing_photos(job_id, limit=500)))
        known = {digest: by_digest[digest] for digest in missing if digest in by_digest}
        if missing and not known:
            raise MissingPhotographsError(f"job {job_id} misses {len(missing)} photographs that were not given")
        has_room = all(_has_room_after(client, job_id, batch) for batch in _batches(known))
        if not known or not has_room:
            time.sleep(poll_s)


def _has_room_after(client: Client, job_id: str, batch: Sequence[Photograph]) -> bool:
    """Send photographs and return whether the service has room for more of them."""
    try:
        return client.send_job_photos(job_id, batch).n_free_bytes > 0
    except JobMemoryFullError as exc:
        if "retry_after_s" not in exc.context:  # it never will
            raise
        return False


def _batches(photographs: Mapping[str, bytes | str | os.PathLike[str]]) -> Iterator[list[Photograph]]:
    """Yield photographs by digest, read, in batches that one request holds.

    Raises:
        MissingPhotographsError: A file was changed since its job was made: what the job waits for is nowhere any more.
    """
    batch: list[Photograph] = []
    n_bytes = 0
    for digest, one in photographs.items():
        data = upload_of(one)[1]
        if hashlib.sha256(data).hexdigest() != digest:
            raise MissingPhotographsError(f"{one!s} was changed since its job was made: the job waits for it as it was")
        if batch and (len(batch) == BATCH_PHOTOS or n_bytes + len(data) > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(data)
        n_bytes += len(data)
    if batch:
        yield batch


def _digest_of(photo: bytes | str | os.PathLike[str]) -> str:
    if isinstance(photo, bytes):
        return hashlib.sha256(photo).hexdigest()
    with Path(photo).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _name_of(photo: bytes | str | os.PathLike[str]) -> str:
    return "" if isinstance(photo, bytes) else Path(photo).name[:_NAME_CHARS]
