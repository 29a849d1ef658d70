"""Keys, the audit log, embedders and operating points, as requests and answers have them.

A key's secret is in one answer only: that of the request that made it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, Strict

from facesearch.api.schemas import examples
from facesearch.api.schemas.base import WHOLE, Answer, Body, CollectionName, Count, Rate, Score
from facesearch.api.schemas.people import NextCursor

ScopeName = Literal["read", "verify", "identify", "enroll", "templates", "admin"]


class Key(Answer):
    """What is known of an API key; without its secret."""

    model_config = examples.shown(examples.KEY)

    key_id: Annotated[str, Field(description="Public; what the audit log calls its holder.")]
    name: str
    scopes: list[ScopeName]
    collections: Annotated[list[str] | None, Field(description="The only collections it may touch; null for all.")]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: Annotated[int | None, Field(description="Null for the service's own limit.")]


class KeyPage(Answer):
    """A page of keys, oldest first."""

    model_config = examples.shown(examples.page(examples.KEY))

    items: list[Key]
    next_cursor: NextCursor


class NewKey(Answer):
    """A key just made."""

    model_config = examples.shown(examples.NEW_KEY)

    key: Key
    text: Annotated[str, Field(description="What its holder sends; shown here and never again.")]


class KeyToMake(Body):
    """An API key to make."""

    model_config = examples.shown({"name": "front desk", "scopes": ["identify", "read"], "collections": ["visitors"]})

    name: Annotated[str, Field(min_length=1, max_length=200, description="For people; need not be unique.")]
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=20, description="What it allows; none implies another.")]
    collections: Annotated[
        list[CollectionName] | None, Field(min_length=1, max_length=1000, description="The only ones it may touch; null for all.")
    ] = None
    expires_at: Annotated[AwareDatetime, Strict(False)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000), WHOLE] | None = None


class KeyToRotate(Body):
    """How a key is exchanged for a new one."""

    model_config = examples.shown({"grace_s": 3600})

    grace_s: Annotated[float, Field(ge=0, le=31_536_000, description="Seconds for which the old key still works.")] = 0


class Limits(Answer):
    """What one request may hold."""

    model_config = examples.shown(examples.LIMITS)

    max_body_bytes: int
    max_photos_per_request: int
    max_faces: int
    request_timeout_s: float
    requests_per_minute: Annotated[int | None, Field(description="Of this key; null for any number.")]


class Me(Answer):
    """Who asks, and what they may."""

    model_config = examples.shown(examples.ME)

    keys: Annotated[Literal["required", "off"], Field(description="Whether the service asks for keys at all.")]
    key_id: str
    name: str
    scopes: list[ScopeName]
    collections: Annotated[list[str] | None, Field(description="The only collections it may touch; null for all.")]
    expires_at: datetime | None
    limits: Limits


class AuditEntry(Answer):
    """What was decided or changed, as ids and numbers."""

    model_config = examples.shown(examples.AUDIT_ENTRY)

    number: Annotated[int, Field(ge=1, description="Without gaps.")]
    at: datetime
    action: str
    actor: Annotated[str, Field(description="Id of an API key, `cli`, or `local` where keys are off.")]
    outcome: str
    collection_id: int | None
    identity_ids: list[int]
    template_ids: list[int]
    subject: Annotated[str, Field(description="Id of anything else it was about: a key, a job.")]
    threshold: float | None
    fmr: float | None
    fpir: float | None
    embedder_id: str
    score: float | None
    request_id: str


class AuditPage(Answer):
    """A page of the audit log, newest first; read, not verified."""

    model_config = examples.shown(examples.page(examples.AUDIT_ENTRY))

    items: list[AuditEntry]
    next_cursor: NextCursor


class AuditReport(Answer):
    """What looking the whole log through found."""

    model_config = examples.shown(examples.AUDIT_REPORT)

    is_whole: Annotated[bool, Field(description="Whether no entry was altered, dropped or exchanged.")]
    n_rows: Annotated[Count, Field(description="Entries that follow on from each other, up to the first fault.")]
    last_number: Count
    head_number: Annotated[int | None, Field(description="The entry that the head outside the database names.")]
    n_after_head: Annotated[Count, Field(description="Entries of a process that was killed before it could write the head.")]
    reason: Annotated[str, Field(description="What is wrong; empty where nothing is.")]
    number: Annotated[int | None, Field(description="The entry that it is about.")]


class Model(Answer):
    """An embedder that is installed."""

    model_config = examples.shown(examples.MODEL)

    name: str
    version: int
    embedder_id: str
    sha256: str
    format: str
    dim: int
    crop_px: int
    alignment: str
    licence: str
    licence_terms: str | None
    source: str | None
    is_calibrated: Annotated[bool, Field(description="Whether it has thresholds; without, it compares and does not decide.")]
    precisions: list[str]
    lfw: Annotated[dict[str, Any], Field(description="Figures by way of embedding: `single`, `flip`.")]
    card: Annotated[str, Field(description="The model card for people, Markdown.")]


class Models(Answer):
    """The embedders that are installed, and the one in use."""

    model_config = examples.shown(examples.MODELS)

    items: list[Model]
    in_use: Annotated[str, Field(description="Embedder id.")]


class OperatingPoint(Answer):
    """A threshold with the error rate it was set for."""

    model_config = examples.shown(examples.OPERATING_POINT)

    threshold: Score
    fmr: Rate
    n_non_mated: Annotated[Count, Field(description="Comparisons of different people behind it.")]


class SavedPoint(Answer):
    """A threshold that an operator measured."""

    model_config = examples.shown(examples.SAVED_POINT)

    name: str
    embedder_id: str
    kind: Literal["fmr", "fpir"]
    rate: Rate
    threshold: Score
    n_non_mated: Count
    n_person_pairs: Count
    n_templates: int | None
    fusion: str
    data_digest: str
    source: str
    in_sample: bool
    created_at: datetime


class ScoreHistograms(Answer):
    """How scores are spread, mated and non-mated, every person weighing the same."""

    model_config = examples.shown(examples.SCORE_HISTOGRAMS)

    measured_on: str
    n_people: Count
    n_mated: Count
    n_non_mated: Count
    start: float
    width: float
    mated: list[float]
    non_mated: list[float]


class OperatingPoints(Answer):
    """What can be decided at."""

    model_config = examples.shown(examples.OPERATING_POINTS)

    embedder_id: str
    points: Annotated[list[OperatingPoint], Field(description="From the loosest; empty where nobody measured the embedder.")]
    saved: Annotated[list[SavedPoint], Field(description="Those of the embedder in use, by name.")]
    score_histograms: Annotated[ScoreHistograms | None, Field(description="For showing where a score lies; decides nothing.")]
