"""Bulk jobs and exported collections, as requests and answers have them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from facesearch.api.schemas import examples
from facesearch.api.schemas.base import Answer, Body, CollectionName, Count, FaceChoiceValue, Id, Label, Tag
from facesearch.api.schemas.people import NextCursor
from facesearch.core.jobs import MAX_NAME_CHARS

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the photograph's bytes, in small hex digits.")]
JobId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="The job's id.")]


class NewJobItem(Body):
    """A photograph that will be sent, and whose it is."""

    model_config = examples.shown(examples.NEW_JOB_ITEM)

    digest: Digest
    label: Label
    tags: Annotated[list[Tag], Field(default_factory=list, max_length=100, description="Tags for the person.")]
    name: Annotated[str, Field(max_length=MAX_NAME_CHARS, description="What the photograph is called, for the answer only.")] = ""


class JobOptions(Body):
    """How the photographs of a job are enrolled."""

    model_config = examples.shown(examples.JOB_OPTIONS)

    face: FaceChoiceValue = "only"
    allow_mismatch: Annotated[bool, Field(description="Enroll a face that resembles none of the label's.")] = False
    allow_duplicate: Annotated[
        bool, Field(description="Enroll the face of somebody known under another label; the item says `possible_duplicate` then.")
    ] = True
    quality_gate: Annotated[
        Literal["off", "standard", "strict"] | None, Field(description="How usable a face must be; null for the service's setting.")
    ] = None
    keep: Annotated[
        Literal["none", "crop", "photo"] | None,
        Field(description="Which picture is kept, at most that of the service's setting; null for the setting."),
    ] = None


class NewJob(Body):
    """Photographs to enroll, which are sent afterwards."""

    model_config = examples.shown(examples.NEW_JOB)

    collection: CollectionName
    items: Annotated[list[NewJobItem], Field(min_length=1, description="One a photograph and person.")]
    kind: Annotated[Literal["enroll"], Field(description="What is done with the photographs.")] = "enroll"
    options: Annotated[JobOptions, Field(description="How the photographs are enrolled.")] = JobOptions()


class Job(Answer):
    """How far a job is."""

    model_config = examples.shown(examples.JOB)

    job_id: JobId
    kind: str
    collection: str
    state: Literal["queued", "running", "waiting_for_photos", "done", "cancelled", "failed"]
    made_by: Annotated[str, Field(description="Id of the key that asked for it.")]
    created_at: datetime
    updated_at: datetime
    n_items: Count
    n_waiting: Count
    n_done: Count
    n_failed: Count
    code: Annotated[str, Field(description="What ended it early; empty where nothing did.")]
    message: str


class JobPage(Answer):
    """A page of jobs, newest first."""

    model_config = examples.shown(examples.page(examples.JOB))

    items: list[Job]
    next_cursor: NextCursor


class JobItem(Answer):
    """What became of a photograph of a job."""

    model_config = examples.shown(examples.JOB_ITEM)

    number: Annotated[Count, Field(description="Its place in the job, from 0.")]
    digest: Digest
    label: str
    tags: list[str]
    name: str
    state: Literal["waiting", "done", "failed"]
    identity_id: Annotated[Id | None, Field(description="The person it was enrolled for; null where it was not.")]
    template_id: Annotated[Id | None, Field(description="What was stored; null where nothing was.")]
    code: Annotated[str, Field(description="Why it failed, or `possible_duplicate`; else empty.")]
    message: str


class JobItemPage(Answer):
    """A page of a job's photographs by number."""

    model_config = examples.shown(examples.page(examples.JOB_ITEM))

    items: list[JobItem]
    next_cursor: NextCursor


class MissingPhotograph(Answer):
    """A photograph that is still to be sent."""

    model_config = examples.shown(examples.MISSING_PHOTOGRAPH)

    number: Annotated[Count, Field(description="Place of its item in the job, from 0.")]
    digest: Digest


class MissingPage(Answer):
    """A page of the photographs that a job still waits for, by number."""

    model_config = examples.shown(examples.page(examples.MISSING_PHOTOGRAPH))

    items: list[MissingPhotograph]
    next_cursor: NextCursor


class ReceivedPhotograph(Answer):
    """What is done with a photograph that was sent."""

    model_config = examples.shown(examples.RECEIVED_PHOTOGRAPH)

    digest: Digest
    receipt: Annotated[
        Literal["held", "not_needed", "no_room"],
        Field(
            description="`held`: it will be worked off; `not_needed`: no item waits for it, or another process holds it; "
            "`no_room`: send it again later."
        ),
    ]


class ReceivedPhotographs(Answer):
    """What is done with photographs that were sent, in their order."""

    model_config = examples.shown(examples.RECEIVED_PHOTOGRAPHS)

    photos: list[ReceivedPhotograph]
    n_free_bytes: Annotated[Count, Field(description="Bytes of photographs for which there is still room.")]
    job: Job


class Imported(Answer):
    """What an import read."""

    model_config = examples.shown({"collection": "default", "n_identities": 7, "n_templates": 12, "n_pictures": 12})

    collection: str
    n_identities: Count
    n_templates: Count
    n_pictures: Count
