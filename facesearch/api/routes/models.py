"""What the service decides with: embedders and operating points."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from facesearch.api.access import Caller, require
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.service import Model, Models, OperatingPoint, OperatingPoints, SavedPoint, ScoreHistograms
from facesearch.core.access import Scope
from facesearch.core.errors import OperatingPointError, UncalibratedEmbedderError
from facesearch.embedding.card import EmbedderCard
from facesearch.service.shapes import saved_point_shape

router = guarded_router(tag="models")

_FLIP = "+flip"
"""End of an embedder id whose vectors are averaged over a crop and its mirror image."""


@router.get("/models", operation_id="list_models")
async def list_models(request: Request, caller: Annotated[Caller, Depends(require(Scope.READ))]) -> Models:
    """Return the embedders that are installed, by name."""

    def read(context: ServerContext) -> Models:
        in_use = context.faces.embedder_id
        return Models(items=[_model(one) for one in context.models.list()], in_use=in_use.removesuffix(_FLIP))

    return await in_pool(request, read, context_of(request))


@router.get("/operating-points", operation_id="list_operating_points")
async def list_operating_points(request: Request, caller: Annotated[Caller, Depends(require(Scope.READ))]) -> OperatingPoints:
    """Return what can be decided at: the thresholds of the embedder in use, saved ones, and how its scores are spread."""

    def read(context: ServerContext) -> OperatingPoints:
        faces = context.faces
        try:
            points = [
                OperatingPoint(threshold=one.threshold, fmr=one.fmr, n_non_mated=one.n_non_mated) for one in faces.operating_points
            ]
        except (UncalibratedEmbedderError, OperatingPointError):
            points = []
        saved = [one for one in faces.saved_points() if one.embedder_id == faces.embedder_id]
        return OperatingPoints(
            embedder_id=faces.embedder_id,
            points=points,
            saved=[SavedPoint.model_validate(saved_point_shape(one)) for one in saved],
            score_histograms=_histograms(context),
        )

    return await in_pool(request, read, context_of(request))


def _histograms(context: ServerContext) -> ScoreHistograms | None:
    embedder_id = context.faces.embedder_id
    way = "flip" if embedder_id.endswith(_FLIP) else "single"
    card = next((one for one in context.models.list() if one.embedder_id() == embedder_id.removesuffix(_FLIP)), None)
    shares = card.score_shares.get(way) if card is not None else None
    return None if shares is None else ScoreHistograms.model_validate(shares.as_dict())


def _model(card: EmbedderCard) -> Model:
    known: dict[str, Any] = {**card.as_dict(), "card": card.text()}
    return Model.model_validate({name: known[name] for name in Model.model_fields})
