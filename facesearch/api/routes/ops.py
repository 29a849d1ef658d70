"""What a machine asks that watches the service: does the process live, can it answer, what did it count.

Open to everybody who reaches the address; nothing personal is in the answers.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from facesearch.api.context import context_of
from facesearch.version import __version__

router = APIRouter(tags=["Operation"])


class Alive(BaseModel):
    """The process answers."""

    status: str = Field("ok", examples=["ok"])
    version: str = Field(examples=["1.0.0"])


class Ready(BaseModel):
    """Whether the service can answer, part by part: ``ready``, or what is the matter."""

    ready: bool = Field(examples=[True])
    model: str = Field(description="ready, loading, or an error's code", examples=["ready"])
    database: str = Field(description="ready (it can be written), slow, or an error's code", examples=["ready"])
    index: str = Field(description="ready (in step with the database), behind, slow, or an error's code", examples=["ready"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", operation_id="is_alive", summary="Does the process live?")
async def is_alive() -> Alive:
    """Answer as long as the process does; looks at nothing else."""
    return Alive(status="ok", version=__version__)


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    operation_id="is_ready",
    summary="Can the service answer?",
    responses={200: {"model": Ready}, 503: {"model": Ready, "description": "Not now."}},
)
async def is_ready(request: Request) -> Response:
    """Say whether the networks are loaded, the database can be written and the indexes are in step with it."""
    health = context_of(request).health
    if health is None:
        return JSONResponse(Ready(ready=True, model="ready", database="ready", index="ready").model_dump())
    found = await run_in_threadpool(health.check)
    said = Ready(ready=found.is_ready, model=found.model, database=found.database, index=found.index)
    return JSONResponse(said.model_dump(), status_code=200 if found.is_ready else 503)


@router.get(
    "/metrics",
    operation_id="read_metrics",
    summary="Counts for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_metrics(request: Request) -> Response:
    """Return all counts in Prometheus' text format."""
    context = context_of(request)
    counts = context.pool.counts
    context.metrics.work(counts.running, counts.waiting)
    return Response(await run_in_threadpool(context.metrics.text), media_type=context.metrics.content_type)
