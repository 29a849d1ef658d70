"""Photographs of a request, with the fields beside them: files of a multipart body, or base64 in JSON.

Only bytes that were sent are ever decoded. A path or an address where a photograph should be is refused, so that the service
neither reads a file of its own nor asks another server for one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool

from facesearch.api.context import context_of
from facesearch.api.multipart import Part, is_multipart, parts_of
from facesearch.core.errors import BodyTooLargeError, InputError, UnsupportedMediaTypeError

MAX_FIELDS = 100
"""Most parts of a body that are no photographs."""

_PLACE = re.compile(r"\s*+(?:[A-Za-z][A-Za-z0-9+.-]*+:|\\\\|~|\.{0,2}/(?!9j/))")
"""What begins like a path or an address. Base64 may begin with ``/``: every JPEG's does, as ``/9j/``."""

FILE_SHOWN = "(the bytes of the file)"
"""What stands for a photograph in the example of a form."""

_DATA_URL = re.compile(r"data:image/[A-Za-z0-9.+-]+;base64,")


class Fields(BaseModel):
    """The fields of a request with photographs; one subclass a route."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


F = TypeVar("F", bound=Fields)
F_co = TypeVar("F_co", bound=Fields, covariant=True)


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph as it was sent.

    Attributes:
        data: Its encoded bytes.
        name: What the sender calls it; for the answer only, never stored.
    """

    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sent(Generic[F_co]):
    """What a request holds.

    Attributes:
        photos: Photographs by field.
        fields: Everything else.
    """

    photos: Mapping[str, tuple[Photograph, ...]]
    fields: F_co

    def one(self, name: str = "photo") -> bytes:
        """Return the bytes of the one photograph of a field."""
        return self.photos[name][0].data


class PhotoBody(Generic[F]):
    """The body of a route that takes photographs: how it is read, and how it is described.

    Args:
        fields: The model of its fields.
        photos: Names of the fields that hold one photograph each.
        several: Name of a field that may hold several; in JSON a list, with an ``s`` behind the name.
        examples: Fields of an example for the description, without photographs.
    """

    def __init__(
        self, fields: type[F], *, photos: Sequence[str] = (), several: str | None = None, examples: Mapping[str, Any] | None = None
    ) -> None:
        self._fields = fields
        self._photos = tuple(photos)
        self._several = several
        self._examples = dict(examples or {})

    async def read(self, request: Request) -> Sent[F]:
        """Return what a request holds; a dependency of the route.

        Raises:
            UnsupportedMediaTypeError: Neither multipart nor JSON.
            BodyTooLargeError: Too many photographs or fields.
            InputError: A photograph is missing, or is no photograph but a path or an address.
            RequestValidationError: A field is wrong.
        """
        content_type = request.headers.get("content-type", "")
        limit = context_of(request).settings.max_photos_per_request
        body = await request.body()
        if is_multipart(content_type):
            return await run_in_threadpool(self._from_parts, body, content_type, limit)
        if content_type.partition(";")[0].strip().lower() == "application/json":
            return await run_in_threadpool(self._from_json, body, limit)
        raise UnsupportedMediaTypeError(
            f"a body of type {content_type.partition(';')[0][:100] or 'unknown'!r} is not read; send multipart/form-data with "
            "files, or application/json with base64"
        )

    def openapi(self) -> dict[str, Any]:
        """Return the description of the body for ``openapi_extra``."""
        schema = self._fields.model_json_schema(ref_template="#/components/schemas/{model}")
        properties, required = dict(schema.get("properties", {})), list(schema.get("required", ()))
        file = {"type": "string", "format": "binary", "description": "The photograph's file."}
        text = {"type": "string", "contentEncoding": "base64", "description": "The photograph's file in base64."}
        many = {"type": "array", "minItems": 1}
        in_form: dict[str, Any] = dict.fromkeys(self._photos, file)
        in_json: dict[str, Any] = dict.fromkeys(self._photos, text)
        if self._several is not None:
            in_form[self._several] = {**many, "items": file, "description": "One or several files under this name."}
            in_json[f"{self._several}s"] = {**many, "items": text, "description": "One or several photographs."}
        content = {}
        for kind, photos in (("multipart/form-data", in_form), ("application/json", in_json)):
            own = {
                "type": "object",
                "title": f"{self._fields.__name__}{'Form' if photos is in_form else ''}",
                "properties": {**photos, **(_in_form(properties) if photos is in_form else properties)},
                "required": [*photos, *required],
                "additionalProperties": False,
            }
            content[kind] = {"schema": own}
        sample = base64.b64encode(b"\xff\xd8\xff\xe0...").decode()
        photos_in_json = {name: [sample] if name not in self._photos else sample for name in in_json}
        content["application/json"]["example"] = {**photos_in_json, **self._examples}
        parts = {name: [FILE_SHOWN] if name == self._several else FILE_SHOWN for name in in_form}
        content["multipart/form-data"]["example"] = {**parts, **self._examples}
        return {"requestBody": {"required": True, "content": content}}

    def _from_parts(self, body: bytes, content_type: str, limit: int) -> Sent[F]:
        photos: dict[str, list[Photograph]] = {}
        texts: dict[str, list[str]] = {}
        for part in parts_of(body, content_type, max_parts=limit + MAX_FIELDS):
            if part.name in (*self._photos, self._several):
                photos.setdefault(part.name, []).append(_photograph_of(part))
            else:
                texts.setdefault(part.name, []).append(_text_of(part))
        return Sent(self._checked(photos, limit), _validated(self._fields, texts))

    def _from_json(self, body: bytes, limit: int) -> Sent[F]:
        try:
            document = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            raise InputError("the body is no JSON that can be read") from exc
        if not isinstance(document, dict):
            raise InputError("the body is a JSON object, with a member for each field")
        photos: dict[str, list[Photograph]] = {}
        for name in self._photos:
            if name in document:
                photos[name] = [_decoded(document.pop(name), name)]
        if self._several is not None and (several := f"{self._several}s") in document:
            given = document.pop(several)
            if not isinstance(given, list):
                raise InputError(f"{several} is a list of photographs in base64")
            if len(given) > limit:
                raise _too_many(len(given), limit)
            photos[self._several] = [_decoded(one, f"{several}.{place}") for place, one in enumerate(given)]
        try:
            fields = self._fields.model_validate_json(json.dumps(document), strict=True)
        except ValidationError as exc:
            raise _located(exc) from exc
        return Sent(self._checked(photos, limit), fields)

    def _checked(self, photos: Mapping[str, Sequence[Photograph]], limit: int) -> dict[str, tuple[Photograph, ...]]:
        for name in self._photos:
            n_photos = len(photos.get(name, ()))
            if n_photos != 1:
                raise InputError(f"one photograph is needed as {name!r}, {n_photos} were sent", field=name)
        if self._several is not None and not photos.get(self._several):
            raise InputError(f"at least one photograph is needed as {self._several!r}", field=self._several)
        n_all = sum(map(len, photos.values()))
        if n_all > limit:
            raise _too_many(n_all, limit)
        return {name: tuple(own) for name, own in photos.items()}


def _in_form(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of fields as a form holds them: a box is one text there, and nothing is null."""
    found = {name: _without_null(schema) for name, schema in properties.items()}
    if "roi" in found:
        number = r"[0-9]+(\.[0-9]+)?"
        found["roi"] = {
            "type": "string",
            "pattern": f"^{number}(,{number}){{3}}$",
            "description": "The box `x1,y1,x2,y2` in pixels.",
        }
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without null among its alternatives, and without it as the default."""
    kept = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    if "anyOf" not in kept:
        return kept
    alternatives = [one for one in kept.pop("anyOf") if one != {"type": "null"}]
    return {**kept, **alternatives[0]} if len(alternatives) == 1 else {**kept, "anyOf": alternatives}


def _validated(model: type[F], texts: Mapping[str, list[str]]) -> F:
    """Return the fields of a form: texts, several under one name only where the model wants a list."""
    values: dict[str, Any] = {}
    for name, given in texts.items():
        field = model.model_fields.get(name)
        is_list = field is not None and _is_list(field.annotation)
        if is_list:
            values[name] = given
        elif len(given) > 1:
            raise InputError(f"the field {name[:100]!r} was sent {len(given)} times", field=name[:100])
        else:
            values[name] = given[0].split(",") if name == "roi" else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise _located(exc) from exc


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list


def _located(exc: ValidationError) -> RequestValidationError:
    return RequestValidationError(
        [{**one, "loc": ("body", *one["loc"])} for one in exc.errors(include_url=False, include_input=False)]
    )


def _photograph_of(part: Part) -> Photograph:
    if part.filename is None:
        raise InputError(
            f"{part.name!r} is a photograph: send the file itself (a part with a filename), or base64 in JSON; paths and addresses "
            "are not followed",
            field=part.name,
        )
    return Photograph(part.data, part.filename[:200])


def _text_of(part: Part) -> str:
    if part.filename is not None:
        raise InputError(f"{part.name[:100]!r} is no photograph of this request: send it without a filename", field=part.name[:100])
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InputError(f"the field {part.name[:100]!r} is not UTF-8", field=part.name[:100]) from exc


def _decoded(value: object, name: str) -> Photograph:
    return Photograph(decoded_base64(value, name))


def decoded_base64(value: object, name: str) -> bytes:
    """Return the bytes of a photograph in base64, with or without ``data:image/…;base64,`` before it.

    Args:
        value: What was sent.
        name: The field, for messages.

    Raises:
        InputError: No text, a path or an address, or no base64.
    """
    if not isinstance(value, str):
        raise InputError(f"{name} is a photograph in base64, not {type(value).__name__}", field=name)
    prefix = _DATA_URL.match(value)
    if prefix is None and _PLACE.match(value):
        raise InputError(
            f"{name} is a path or an address; these are not followed: send the photograph itself in base64", field=name
        )
    try:
        return base64.b64decode(value[prefix.end() if prefix else 0 :], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InputError(f"{name} is no base64", field=name) from exc


def _too_many(n_photos: int, limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"{n_photos} photographs in one request, the limit is {limit}", n_photos=n_photos, max_photos=limit)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
