"""Collections, people, their faces, enrolment and feedback, as requests and answers have them.

Vectors are in none of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from facesearch.api.schemas import examples
from facesearch.api.schemas.base import Answer, Body, BoxValues, CollectionName, Count, Id, Label, Score, Tag
from facesearch.api.schemas.faces import Face

NextCursor = Annotated[str | None, Field(description="Where the next page begins; null on the last.")]


class Collection(Answer):
    """A collection in numbers."""

    model_config = examples.shown(examples.COLLECTION)

    name: str
    revision: Annotated[Count, Field(description="Changes made to its templates.")]
    n_identities: Count
    n_templates: Count
    embedders: Annotated[dict[str, int], Field(description="Templates by embedder.")]


class CollectionPage(Answer):
    """A page of collections by name."""

    model_config = examples.shown(examples.page(examples.COLLECTION))

    items: list[Collection]
    next_cursor: NextCursor


class NewCollection(Body):
    """A collection to make."""

    model_config = examples.shown({"name": "visitors"})

    name: CollectionName


class Identity(Answer):
    """A person of a collection."""

    model_config = examples.shown(examples.PERSON)

    identity_id: Id
    label: str
    collection: str
    tags: list[str]
    enrolled_at: datetime
    n_faces: Count
    thumbnail_template_id: Annotated[Id | None, Field(description="A template with a kept picture; null where none was kept.")]


class IdentityPage(Answer):
    """A page of people by label."""

    model_config = examples.shown(examples.page(examples.PERSON))

    items: list[Identity]
    next_cursor: NextCursor


class IdentityChange(Body):
    """What to change of a person; what is left out stays."""

    model_config = examples.shown({"label": "Ada Lovelace", "tags": ["staff", "london"]})

    label: Label | None = None
    tags: Annotated[list[Tag] | None, Field(max_length=100, description="All tags from now on.")] = None


class MergeInto(Body):
    """Whom to give everything to."""

    model_config = examples.shown({"into": 7})

    into: Annotated[Id, Field(description="The identity that stays.")]


class KeptPicture(Answer):
    """What was kept of a face's photograph."""

    model_config = examples.shown(examples.KEPT_PICTURE)

    kind: Literal["crop", "photo"]
    n_bytes: Count


class EnrolledFace(Face):
    """Where one of a person's templates came from; without the vector."""

    model_config = examples.shown(examples.ENROLLED_FACE)

    template_id: Id
    embedder_id: str
    source: Annotated[str, Field(description="Where the photograph came from, where that is known.")]
    image_digest: Annotated[str, Field(description="SHA-256 of the photograph.")]
    enrolled_at: datetime
    quality: Annotated[dict[str, float], Field(description="Figures measured at enrolment.")]
    picture: KeptPicture | None


class FacePage(Answer):
    """A page of a person's faces by template id."""

    model_config = examples.shown(examples.page(examples.ENROLLED_FACE))

    items: list[EnrolledFace]
    next_cursor: NextCursor


class Enrollment(Face):
    """A face that was enrolled."""

    model_config = examples.shown(examples.ENROLLMENT)

    identity_id: Id
    label: str
    collection: str
    tags: list[str]
    enrolled_at: datetime
    template_id: Id
    embedder_id: str
    is_new_identity: Annotated[bool, Field(description="Whether the person began with this face.")]
    possible_duplicate: Annotated[str | None, Field(description="Somebody else whom the face could be taken for.")]
    quality: dict[str, float]
    photo: Annotated[Count, Field(description="Place of the photograph in the request, from 0.")]


class EnrollmentFailure(Answer):
    """A photograph that could not be enrolled."""

    model_config = examples.shown(examples.ENROLLMENT_FAILURE)

    photo: Annotated[Count, Field(description="Place of the photograph in the request, from 0.")]
    name: Annotated[str, Field(description="What the request calls the file; empty where it does not.")]
    code: str
    message: str
    context: dict[str, object]


class Enrolled(Answer):
    """What became of the photographs of an enrolment."""

    model_config = examples.shown(examples.ENROLLED)

    identity: Identity
    enrollments: Annotated[list[Enrollment], Field(description="At least one.")]
    failures: list[EnrollmentFailure]


class Feedback(Answer):
    """What somebody said of a face and an enrolled person."""

    model_config = examples.shown(examples.FEEDBACK)

    feedback_id: Id
    collection: str
    kind: Literal["not_this_person", "is_this_person"]
    identity_id: Id
    label: str
    score: Score
    floor: Annotated[Score | None, Field(description="Scores up to this one no longer make anybody this person.")]
    image_digest: str
    box: BoxValues
    embedder_id: str
    by: Annotated[str, Field(description="Id of the key that said so.")]
    created_at: datetime


class FeedbackPage(Answer):
    """A page of what was said in a collection, oldest first."""

    model_config = examples.shown(examples.page(examples.FEEDBACK))

    items: list[Feedback]
    next_cursor: NextCursor
