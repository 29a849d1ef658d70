"""Enrolment of many labelled photographs that are no files of a folder: in groups that are written together.

It remembers nothing between runs: see ``enroll_folder`` for files, and ``bulk_enroll`` for jobs of the service.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from facesearch.core.errors import FaceSearchError
from facesearch.core.face import Detection
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.service.enroll import Enroll, Enrollment, EnrollmentChecks, FaceToEnroll
from facesearch.service.enroll_folder import GROUP_FACES, GROUP_S
from facesearch.service.faces import FaceChoice
from facesearch.service.pipeline import FacePipeline, ImageSource, PictureMaker, Streamed

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPhotograph(Generic[Key]):
    """A photograph, and whose it is.

    Attributes:
        key: The caller's name for it.
        photo: The photograph.
        label: The person.
        tags: For the person.
    """

    key: Key
    photo: ImageSource
    label: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PhotographOutcome(Generic[Key]):
    """What became of one photograph.

    Attributes:
        key: The caller's name for it.
        enrollment: What was stored, which stays so; None where there is an error.
        error: Why nothing was, or None.
    """

    key: Key
    enrollment: Enrollment | None
    error: FaceSearchError | None


class EnrollMany:
    """Enrolls many photographs with the outcomes of one after the other.

    Args:
        pipeline: Makes templates.
        enroll: Stores them.
        make_picture: Makes what is kept of a photograph.
    """

    def __init__(self, pipeline: FacePipeline, enroll: Enroll, make_picture: PictureMaker) -> None:
        self._pipeline = pipeline
        self._enroll = enroll
        self._make_picture = make_picture

    def __call__(
        self,
        photographs: Iterable[LabelledPhotograph[Key]],
        *,
        collection: str,
        face: FaceChoice = "only",
        keep: Keep = Keep.NONE,
        checks: EnrollmentChecks = EnrollmentChecks(),  # noqa: B008 - frozen, without state
        n_workers: int | None = None,
    ) -> Generator[PhotographOutcome[Key], None, None]:
        """Yield what became of each photograph, in order; what is yielded as enrolled is on the disk.

        Ended early, it drops the open group.

        Args:
            photographs: What to enroll; read lazily.
            collection: Where to.
            face: Which face of each photograph.
            keep: Which picture is stored beside each template.
            checks: What is waved through.
            n_workers: Threads that look for faces; None for one more than there are processors.

        Raises:
            UncalibratedEmbedderError: Nobody measured the embedder, and mismatches are not allowed; nothing was done.
            StoreError: The database failed; what was yielded before is enrolled.
            ModelError: A network failed; likewise.
        """
        self._enroll.require_checks(checks)

        def picture(source: ImageSource, image: Image, detection: Detection) -> KeptPicture | None:
            return self._make_picture(keep, source, image, detection)

        streamed = self._pipeline.stream(
            ((one, one.photo) for one in photographs),
            face,
            n_workers=n_workers,
            keep_picture=None if keep is Keep.NONE else picture,
        )
        with closing(streamed):
            group: list[Streamed[LabelledPhotograph[Key]]] = []
            began = time.monotonic()
            for one in streamed:
                group.append(one)
                if len(group) >= GROUP_FACES or time.monotonic() - began >= GROUP_S:
                    yield from self._written(group, collection, checks)
                    group, began = [], time.monotonic()
            yield from self._written(group, collection, checks)

    def _written(
        self, group: list[Streamed[LabelledPhotograph[Key]]], collection: str, checks: EnrollmentChecks
    ) -> list[PhotographOutcome[Key]]:
        """Write the faces of a group and return what became of every photograph of it."""
        faces = [FaceToEnroll(one.face, one.key.label, one.picture, one.key.tags) for one in group if one.face is not None]
        results = iter(self._enroll.group(faces, collection=collection, checks=checks).outcomes if faces else ())
        outcomes = []
        for one in group:
            result = next(results) if one.face is not None else one.error
            if isinstance(result, Enrollment):
                outcomes.append(PhotographOutcome(one.key.key, result, None))
            else:
                outcomes.append(PhotographOutcome(one.key.key, None, result))
        return outcomes
