"""Parameters of addresses that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from facesearch.api.schemas.base import MAX_ID

CollectionPath = Annotated[str, Path(min_length=1, max_length=200, description="The collection's name.")]
IdentityPath = Annotated[int, Path(ge=1, le=MAX_ID, description="The person's id.")]
TemplatePath = Annotated[int, Path(ge=1, le=MAX_ID, description="The face's template id.")]
