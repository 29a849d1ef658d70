"""1:N for many photographs: who is in each of them, batched from decoding to the search.

The answers are those of one photograph after the other; see ``identify``. It stores nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from facesearch.core.decision import Identification
from facesearch.core.errors import FaceSearchError, InputError
from facesearch.service.found_face import FoundFace
from facesearch.service.free_memory import without_frames
from facesearch.service.pipeline import FacePipeline, ImageSource, StreamedFaces

GROUP_FACES = 128
"""Faces searched for at once, at least one photograph's: one search of many probes costs less than many searches."""

GROUP_S = 0.25
"""Seconds after which a group is searched for however small it is, so that answers to slow photographs do not wait."""


@dataclass(frozen=True, slots=True)
class PhotographAnswer:
    """Who is in one of many photographs.

    Attributes:
        number: The photograph's place among those given, from 0.
        photo: Its path, where it was one; else the first digits of its digest, empty where it could not be read.
        size: Width and height in pixels, None where no face was found.
        faces: One answer a face by falling detection score; empty where there is an error.
        error: Why there is no answer, or None.
    """

    number: int
    photo: str
    size: tuple[int, int] | None
    faces: tuple[Identification, ...]
    error: FaceSearchError | None

    @property
    def n_recognised(self) -> int:
        """Number of faces that are somebody."""
        return sum(one.is_match for one in self.faces)


Decide = Callable[[Sequence[FoundFace]], tuple[Identification, ...]]
"""Answers faces, in order."""


def identify_many(pipeline: FacePipeline, photos: Iterable[ImageSource], decide: Decide) -> Generator[PhotographAnswer, None, None]:
    """Yield an answer for each photograph, in order, with bounded memory.

    Args:
        pipeline: Makes templates.
        photos: Read lazily.
        decide: Says who faces are; called for the faces of several photographs at once.
    """
    names: dict[int, str] = {}

    def numbered() -> Iterable[tuple[int, ImageSource]]:
        for number, photo in enumerate(photos):
            names[number] = str(photo) if isinstance(photo, str) or hasattr(photo, "__fspath__") else ""
            yield number, photo

    with closing(pipeline.stream_faces(numbered())) as streamed:
        group: list[StreamedFaces[int]] = []
        n_faces, began = 0, time.monotonic()
        for one in streamed:
            group.append(one)
            n_faces += len(one.faces)
            if n_faces >= GROUP_FACES or time.monotonic() - began >= GROUP_S:
                yield from _answered(group, names, decide)
                group, n_faces, began = [], 0, time.monotonic()
        yield from _answered(group, names, decide)


def one_by_one(
    photos: Iterable[ImageSource], decide_photo: Callable[[ImageSource], tuple[Identification, ...]], pipeline: FacePipeline
) -> Generator[PhotographAnswer, None, None]:
    """Yield what ``identify_many`` would, for decisions that need a photograph's pixels; slower, one after the other.

    Args:
        photos: Read lazily.
        decide_photo: Says who is in a photograph.
        pipeline: Decodes.
    """
    for number, photo in enumerate(photos):
        name = str(photo) if isinstance(photo, str) or hasattr(photo, "__fspath__") else ""
        try:
            image = pipeline.decode(photo)
            name = name or image.name
            yield PhotographAnswer(number, name, (image.width, image.height), decide_photo(image), None)
        except InputError as exc:
            yield PhotographAnswer(number, name, None, (), without_frames(exc))


def _answered(
    group: Sequence[StreamedFaces[int]], names: dict[int, str], decide: Decide
) -> Generator[PhotographAnswer, None, None]:
    answers = decide([face for one in group for face in one.faces]) if any(one.faces for one in group) else ()
    first = 0
    for one in group:
        own = answers[first : first + len(one.faces)]
        first += len(one.faces)
        image = one.faces[0].image if one.faces else None
        name = names.pop(one.key) or (image.name if image is not None else "")
        size = (image.width, image.height) if image is not None else None
        yield PhotographAnswer(one.key, name, size, own, one.error)
