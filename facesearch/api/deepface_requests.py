"""Requests as deepface's API takes them: photographs in base64 or as files, and options that are taken, or mean nothing here.

What is answered is ``facesearch.api.routes.deepface``'s matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from facesearch.api.context import context_of
from facesearch.api.multipart import is_multipart, parts_of
from facesearch.api.photographs import FILE_SHOWN, MAX_FIELDS, decoded_base64
from facesearch.core.errors import InputError, UnsupportedMediaTypeError

COSINE, EUCLIDEAN, EUCLIDEAN_L2, ANGULAR = "cosine", "euclidean", "euclidean_l2", "angular"
METRICS = (COSINE, EUCLIDEAN, EUCLIDEAN_L2, ANGULAR)
"""Deepface's measures of distance; vectors here are of unit length, so that both Euclidean ones are the same."""

_PHOTOS = ("img", "img1", "img2", "img_path", "img1_path", "img2_path")
_MAX_FACES = 10_000


def distance_of(score: float, metric: str) -> float:
    """Return a cosine similarity as one of deepface's distances; a lower one is more alike."""
    if metric == COSINE:
        return 1.0 - score
    if metric == ANGULAR:
        return math.acos(max(-1.0, min(1.0, score))) / math.pi
    return math.sqrt(max(0.0, 2.0 - 2.0 * score))


@dataclass(frozen=True, slots=True)
class DeepfaceRequest:
    """A request of deepface's kind.

    Attributes:
        photos: Encoded photographs by name.
        options: Everything else, as it was sent.
    """

    photos: Mapping[str, bytes]
    options: Mapping[str, Any]

    def photo(self, *names: str) -> bytes:
        """Return the photograph that has one of these names.

        Raises:
            InputError: There is none.
        """
        for name in names:
            if name in self.photos:
                return self.photos[name]
        raise InputError(f"a photograph is needed as {names[0]!r}: base64 in JSON, or a file of a form", field=names[0])

    @property
    def metric(self) -> str:
        """The measure of distance asked for.

        Raises:
            InputError: It is none of ``METRICS``.
        """
        given = self.options.get("distance_metric", COSINE)
        if given not in METRICS:
            raise InputError(
                f"distance_metric must be one of {', '.join(METRICS)}, not {str(given)[:50]!r}", field="distance_metric"
            )
        return str(given)

    def count(self, name: str, *, most: int = _MAX_FACES) -> int | None:
        """Return a number of things, at least 1, or None where none was sent.

        Raises:
            InputError: It is none.
        """
        given = self.options.get(name)
        if given is None:
            return None
        try:
            value = int(given) if isinstance(given, str) else given
        except ValueError:
            value = None
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InputError(f"{name} is a whole number from 1 to {most}, not {str(given)[:50]!r}", field=name)
        return value

    def flag(self, name: str) -> bool:
        """Return whether something is asked for."""
        return self.options.get(name) in (True, "true", "True", "1", 1)

    def text(self, name: str) -> str | None:
        """Return a text, or None where none was sent.

        Raises:
            InputError: It is none.
        """
        given = self.options.get(name)
        if given is not None and not isinstance(given, str):
            raise InputError(f"{name} is a text", field=name)
        return given


async def deepface_request(request: Request) -> DeepfaceRequest:
    """Return what a request of deepface's kind holds; a dependency of its routes.

    Raises:
        InputError: The body cannot be read, or a photograph is a path or an address.
        UnsupportedMediaTypeError: It is neither JSON nor a form with files.
    """
    content_type = request.headers.get("content-type", "")
    body = await request.body()
    if is_multipart(content_type):
        limit = context_of(request).settings.max_photos_per_request + MAX_FIELDS
        return await run_in_threadpool(_from_form, body, content_type, limit)
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return await run_in_threadpool(_from_json, body)
    raise UnsupportedMediaTypeError("send application/json with photographs in base64, or multipart/form-data with files")


def _from_form(body: bytes, content_type: str, max_parts: int) -> DeepfaceRequest:
    photos: dict[str, bytes] = {}
    options: dict[str, Any] = {}
    for part in parts_of(body, content_type, max_parts=max_parts):
        if part.filename is not None and part.name in _PHOTOS:
            photos[part.name] = part.data
            continue
        try:
            text = part.data.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise InputError(f"the field {part.name[:100]!r} is not UTF-8", field=part.name[:100]) from exc
        if part.name in _PHOTOS:
            photos[part.name] = decoded_base64(text, part.name)
        else:
            options[part.name] = text
    return DeepfaceRequest(photos, options)


def _from_json(body: bytes) -> DeepfaceRequest:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InputError("the body is no JSON that can be read") from exc
    if not isinstance(document, dict):
        raise InputError("the body is a JSON object")
    photos = {name: decoded_base64(document.pop(name), name) for name in _PHOTOS if name in document}
    return DeepfaceRequest(photos, document)


def described(photos: tuple[str, ...], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description of a route's body for ``openapi_extra``.

    Args:
        photos: Names of the photographs.
        options: Schemas of the options that mean something here.
    """
    as_text = {"type": "string", "contentEncoding": "base64", "description": "The photograph's file, `data:image/…;base64,…`."}
    as_file = {"type": "string", "format": "binary", "description": "The photograph's file."}
    content: dict[str, dict[str, Any]] = {}
    for kind, photo in (("application/json", as_text), ("multipart/form-data", as_file)):
        properties = {**dict.fromkeys(photos, photo), **options}
        content[kind] = {"schema": {"type": "object", "properties": properties, "required": list(photos)}}
    content["application/json"]["example"] = dict.fromkeys(photos, "data:image/jpeg;base64,/9j/4A==")
    content["multipart/form-data"]["example"] = dict.fromkeys(photos, FILE_SHOWN)
    return {"requestBody": {"required": True, "content": content}}
