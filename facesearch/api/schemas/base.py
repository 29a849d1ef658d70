"""What the models of answers and requests share, and the kinds of values that recur.

It describes no route's body: see the modules beside it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_ID = 2**63 - 1
"""Largest id of any database."""


def _whole(value: object) -> object:
    """Return a whole number that was written with a point as JSON has it: to a JSON schema, 7.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Id = Annotated[int, Field(ge=1, le=MAX_ID), WHOLE]
Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(ge=-1.0001, le=1.0001, description="Cosine similarity in [-1, 1]; higher is more alike.")]
BoxValues = Annotated[
    list[float], Field(min_length=4, max_length=4, description="`[x1, y1, x2, y2]` in pixels of the upright photograph.")
]
Roi = Annotated[
    tuple[float, float, float, float],
    Field(description="The box `[x1, y1, x2, y2]` in pixels that faces are looked for in."),
]
Label = Annotated[str, Field(min_length=1, max_length=200, description="A person's label, unique in its collection.")]
Tag = Annotated[str, Field(min_length=1, max_length=200)]
CollectionName = Annotated[str, Field(min_length=1, max_length=200, description="A collection's name.")]
FaceChoiceValue = Annotated[
    Literal["only", "largest", "central"] | Annotated[int, Field(ge=0, le=10_000), WHOLE],
    Field(
        description="Which face of a photograph: `only` (several are an error), `largest`, `central`, or an index from 0 by "
        "falling detection score."
    ),
]


class Answer(BaseModel):
    """A part of an answer: nothing but what is described here is ever in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Body(BaseModel):
    """A JSON body: nothing but what is described here is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FieldError(Answer):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:facesearch:error:no_face",
                    "title": "No face",
                    "status": 422,
                    "detail": "image 4f2c9d1a0b3e: no face of at least 20 pixels found in 640×480 pixels",
                    "instance": "5f0c1d2e3b4a59687766554433221100",
                    "code": "no_face",
                    "context": {"min_face_px": 20},
                }
            ]
        },
    )

    type: Annotated[str, Field(description="`urn:facesearch:error:` and the code.")]
    title: Annotated[str, Field(description="The code in words.")]
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="A sentence for a person.")]
    instance: Annotated[str, Field(description="The request's id, which the service's log has too.")]
    code: Annotated[str, Field(description="Stable; for programs.")]
    context: Annotated[dict[str, Any], Field(description="Plain values that belong to the code.")]
