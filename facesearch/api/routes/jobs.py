"""Bulk jobs: what is to be enrolled is said first, the photographs follow; progress, outcomes, cancelling, going on."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response, status

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.bulk import bulk_of
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.job_body import JOB_BODY, JobToMake, job_to_make
from facesearch.api.paging import DEFAULT_LIMIT, Cursor, Limit, number_position, paged, text_position
from facesearch.api.parameters import new_collection
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.jobs import (
    Job,
    JobItem,
    JobItemPage,
    JobPage,
    MissingPage,
    MissingPhotograph,
    ReceivedPhotograph,
    ReceivedPhotographs,
)
from facesearch.core.access import Scope
from facesearch.core.errors import InputError, UnknownJobError
from facesearch.core.identity import Keep
from facesearch.core.jobs import ItemState
from facesearch.core.jobs import Job as StoredJob
from facesearch.core.jobs import JobItem as StoredItem
from facesearch.service.bulk_enroll import BulkEnroll, BulkOptions
from facesearch.service.bulk_enroll import ReceivedPhotograph as Received

router = guarded_router(tag="jobs")

JobPath = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The job's id.")]
DigestPath = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the photograph's bytes, in small hex digits.")]
Enroller = Annotated[Caller, Depends(require(Scope.ENROLL))]
Sender = Annotated[Caller, Depends(require(Scope.ENROLL, repeatable=False))]
"""Who sends photographs: the same one sent twice is one by its digest, and an answer kept over a restart would be wrong."""

_LIST = ("jobs",)
"""What a cursor of the list of jobs belongs to."""


class JobPhotos(Fields):
    """Nothing beside the photographs."""


_PHOTOS = PhotoBody(JobPhotos, several="photo")
_RAW: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The photograph's file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/jobs", status_code=status.HTTP_202_ACCEPTED, operation_id="create_job", openapi_extra=JOB_BODY)
async def create_job(
    request: Request, response: Response, caller: Enroller, body: Annotated[JobToMake, Depends(job_to_make)]
) -> Job:
    """Say which photographs will be enrolled, and whose they are.

    The collection is made where there is none. The photographs themselves are sent afterwards, in any order and several at once;
    they are kept in memory only: after a restart of the service the job lists those still missing.
    """
    collection = new_collection(body.collection)
    caller.check_collection(collection)

    def make(context: ServerContext, bulk: BulkEnroll) -> StoredJob:
        _check_keep(body.options, context.faces.keep)
        made = bulk.submit(collection, caller.key.key_id, body.items, body.options)
        context.audit.append(_change(context, caller, "job.create", made))
        return made

    made = await in_pool(request, make, context_of(request), bulk_of(request.app))
    response.headers["Location"] = f"/v1/jobs/{made.job_id}"
    return _job(made)


@router.get("/jobs", operation_id="list_jobs")
async def list_jobs(request: Request, caller: Enroller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> JobPage:
    """Return the jobs of the collections that the key may touch, newest first."""
    after = text_position(_LIST, cursor)
    records = context_of(request).jobs
    found = await in_pool(request, records.list, collections=caller.key.collections, before=after or None, limit=limit + 1)
    page, following = paged(found, limit, _LIST, lambda one: one.job_id)
    return JobPage(items=[_job(one) for one in page], next_cursor=following)


@router.get("/jobs/{job_id}", operation_id="get_job")
async def get_job(request: Request, caller: Enroller, job_id: JobPath) -> Job:
    """Return how far a job is."""
    return _job(await in_pool(request, _own, context_of(request), caller, job_id))


@router.get("/jobs/{job_id}/items", operation_id="list_job_items")
async def list_job_items(
    request: Request,
    caller: Enroller,
    job_id: JobPath,
    state: ItemState | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> JobItemPage:
    """Return what became of a job's photographs, by their place in the job; of one state only where it is given."""
    about = ("job items", job_id, state or "")
    after = number_position(about, cursor) - 1

    def read(context: ServerContext) -> tuple[StoredItem, ...]:
        _own(context, caller, job_id)
        return context.jobs.items(job_id, after=after, limit=limit + 1, state=state)

    page, following = paged(await in_pool(request, read, context_of(request)), limit, about, lambda one: one.number + 1)
    return JobItemPage(items=[_item(one) for one in page], next_cursor=following)


@router.get("/jobs/{job_id}/missing", operation_id="list_missing_photos")
async def list_missing_photos(
    request: Request, caller: Enroller, job_id: JobPath, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> MissingPage:
    """Return the photographs that a job still waits for: never sent, or lost with a process that was ended.

    What a killed process held is missing some 20 seconds later.
    """
    about = ("missing photographs", job_id)
    after = number_position(about, cursor) - 1

    def read(context: ServerContext) -> tuple[tuple[int, str], ...]:
        _own(context, caller, job_id)
        return context.jobs.missing(job_id, after=after, limit=limit + 1)

    page, following = paged(await in_pool(request, read, context_of(request)), limit, about, lambda one: one[0] + 1)
    return MissingPage(items=[MissingPhotograph(number=number, digest=digest) for number, digest in page], next_cursor=following)


@router.post(
    "/jobs/{job_id}/photos", status_code=status.HTTP_202_ACCEPTED, operation_id="send_job_photos", openapi_extra=_PHOTOS.openapi()
)
async def send_job_photos(
    request: Request, caller: Sender, job_id: JobPath, sent: Annotated[Sent[JobPhotos], Depends(_PHOTOS.read)]
) -> ReceivedPhotographs:
    """Send photographs of a job; each is known by the SHA-256 of its bytes."""
    return await _received(request, caller, job_id, [one.data for one in sent.photos["photo"]])


@router.put(
    "/jobs/{job_id}/photos/{digest}",
    status_code=status.HTTP_202_ACCEPTED,
    operation_id="put_job_photo",
    openapi_extra=_RAW,
)
async def put_job_photo(request: Request, caller: Sender, job_id: JobPath, digest: DigestPath) -> ReceivedPhotographs:
    """Send one photograph of a job as it is; its bytes must have the digest of the address."""
    data = await request.body()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise InputError(f"the body of {len(data):,} bytes has the SHA-256 {found}, not {digest}", digest=found)
    return await _received(request, caller, job_id, [data])


@router.post("/jobs/{job_id}/cancel", operation_id="cancel_job")
async def cancel_job(request: Request, caller: Enroller, job_id: JobPath) -> Job:
    """End a job: what is enrolled stays, nothing more is."""
    return await _changed(request, caller, job_id, "job.cancel")


@router.post("/jobs/{job_id}/resume", operation_id="resume_job")
async def resume_job(request: Request, caller: Enroller, job_id: JobPath) -> Job:
    """Let a cancelled or failed job go on; it waits for the photographs that are missing."""
    return await _changed(request, caller, job_id, "job.resume")


@router.delete("/jobs/{job_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="delete_job")
async def delete_job(request: Request, caller: Enroller, job_id: JobPath) -> Response:
    """Forget a job with its labels and outcomes; what it enrolled stays."""

    def remove(context: ServerContext, bulk: BulkEnroll) -> None:
        job = _own(context, caller, job_id)
        bulk.forget(job_id)
        context.audit.append(_change(context, caller, "job.delete", job))

    await in_pool(request, remove, context_of(request), bulk_of(request.app))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _check_keep(options: BulkOptions, most: Keep) -> None:
    """Raise where a job asks for more of a photograph than the operator keeps: what is stored of people is not for keys to say."""
    if options.keep is not None and not most.permits(Keep(options.keep)):
        raise InputError(
            f"keep is {options.keep!r}, but this service keeps at most {most.value!r}: leave it out, or ask for less",
            field="options.keep",
            most=most.value,
        )


async def _changed(request: Request, caller: Caller, job_id: str, action: str) -> Job:
    def run(context: ServerContext, bulk: BulkEnroll) -> StoredJob:
        _own(context, caller, job_id)
        job = bulk.cancel(job_id) if action == "job.cancel" else bulk.resume(job_id)
        context.audit.append(_change(context, caller, action, job))
        return job

    return _job(await in_pool(request, run, context_of(request), bulk_of(request.app)))


async def _received(request: Request, caller: Caller, job_id: str, photographs: list[bytes]) -> ReceivedPhotographs:
    bulk = bulk_of(request.app)

    def receive(context: ServerContext) -> tuple[tuple[Received, ...], StoredJob]:
        _own(context, caller, job_id)
        receipts = bulk.receive(job_id, photographs)
        return receipts, context.jobs.get(job_id)

    receipts, job = await in_pool(request, receive, context_of(request))
    photos = [ReceivedPhotograph(digest=one.digest, receipt=one.receipt.value) for one in receipts]
    return ReceivedPhotographs(photos=photos, n_free_bytes=bulk.held.n_free_bytes, job=_job(job))


def _own(context: ServerContext, caller: Caller, job_id: str) -> StoredJob:
    """Return a job; to a key that may not touch its collection there is no such job."""
    job = context.jobs.get(job_id)
    if not caller.key.may_touch(job.about.collection):
        raise UnknownJobError(f"there is no job {job_id!r}; jobs are forgotten a week after their last change", job_id=job_id)
    return job


def _change(context: ServerContext, caller: Caller, action: str, job: StoredJob) -> Any:
    return change(caller, action, collection_id=context.faces.collection_id(job.about.collection), subject=job.job_id)


def _job(job: StoredJob) -> Job:
    return Job(
        job_id=job.job_id,
        kind=job.about.kind,
        collection=job.about.collection,
        state=job.state.value,
        made_by=job.about.made_by,
        created_at=job.about.created_at,
        updated_at=job.updated_at,
        n_items=job.n_items,
        n_waiting=job.counts[ItemState.WAITING],
        n_done=job.counts[ItemState.DONE],
        n_failed=job.counts[ItemState.FAILED],
        code=job.error_code,
        message=job.error_message,
    )


def _item(item: StoredItem) -> JobItem:
    return JobItem(
        number=item.number,
        digest=item.what.digest,
        label=item.what.label,
        tags=list(item.what.tags),
        name=item.what.name,
        state=item.state.value,
        identity_id=item.identity_id,
        template_id=item.template_id,
        code=item.error_code,
        message=item.error_message,
    )
