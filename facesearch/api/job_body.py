"""The body of a new job: a hundred thousand items, checked slice by slice on a thread.

Read at once it holds the interpreter, and with it every other request, for more than a second; between two slices others have
their turn, and only one slice is ever in memory as it was sent. It makes no job: see ``facesearch.service.bulk_enroll``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from facesearch.api.schemas.jobs import NewJob, NewJobItem
from facesearch.core.errors import InputError
from facesearch.core.jobs import NewJobItem as NewItem
from facesearch.service.bulk_enroll import BulkOptions

SLICE = 500
"""Items that are checked at once: some milliseconds of work."""

JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{NewJob.__name__}"}}},
    }
}
"""The body as the OpenAPI document has it."""

_ITEMS = "items"
_SLICES = TypeAdapter(list[NewJobItem])
_SPACE = re.compile(r"[ \t\n\r]*")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True, slots=True)
class JobToMake:
    """What a request for a job holds.

    Attributes:
        collection: The collection's name as it was sent.
        items: Photographs that will be sent, and whose they are.
        options: How they are enrolled.
    """

    collection: str
    items: tuple[NewItem, ...]
    options: BulkOptions


async def job_to_make(request: Request) -> JobToMake:
    """Return what a request for a job holds; a dependency of its route.

    Raises:
        InputError: The body is no JSON that can be read, or is not said to be any, or a label or tag is none.
        RequestValidationError: A field is wrong; of the items, those of the first slice that has wrong ones are told.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise InputError(f"a job is sent as application/json, not as {content_type[:100] or 'unknown'!r}")
    return await run_in_threadpool(_read, await request.body())


def _read(body: bytes) -> JobToMake:
    members: dict[str, Any] = {}
    items: list[NewItem] = []
    try:
        text = _Text(body.decode("utf-8"))
        if text.sign() != "{":
            _checked(NewJob.model_validate, text.whole())
        for name in text.names():
            if name == _ITEMS and text.sign() == "[":
                items, members[name] = [], []
                for some in text.slices():
                    items += map(_item, _checked(_SLICES.validate_python, some, len(items)))
                    members[name] = some[:1]  # the others are known to be right
            else:
                members[name] = text.value()
    except (ValueError, RecursionError) as exc:
        raise InputError("the body is no JSON that can be read") from exc
    job = _checked(NewJob.model_validate, members)
    return JobToMake(job.collection, tuple(items), BulkOptions(**job.options.model_dump()))


class _Text:
    """A JSON text that is read from the left, piece by piece: what breaks its grammar is a ``ValueError``.

    Args:
        text: The whole of it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def sign(self) -> str:
        """Return the next character that is no space, without going past it; empty at the end."""
        found = _SPACE.match(self._text, self._place)
        self._place = found.end() if found else self._place
        return self._text[self._place : self._place + 1]

    def take(self, signs: str) -> str:
        """Return the next character that is no space, which must be one of some, and go past it."""
        found = self.sign()
        if not found or found not in signs:
            raise ValueError(f"no JSON: {signs} is missing")
        self._place += 1
        return found

    def value(self) -> Any:
        """Return the next value and go past it."""
        self.sign()
        found, self._place = _DECODER.raw_decode(self._text, self._place)
        return found

    def whole(self) -> Any:
        """Return the value that the whole text is."""
        return json.loads(self._text, parse_constant=_refuse)

    def names(self) -> Iterator[str]:
        """Yield the names of an object that the rest of the text is; the caller takes the value of each."""
        self.take("{")
        is_over = self.sign() == "}" and self.take("}") == "}"
        while not is_over:
            name = self.value()
            if not isinstance(name, str):
                raise ValueError("no JSON: a name is a text")
            self.take(":")
            yield name
            is_over = self.take(",}") == "}"
        if self.sign():
            raise ValueError("no JSON: something follows")

    def slices(self) -> Iterator[list[Any]]:
        """Yield the elements of a list, ``SLICE`` at a time, and go past it."""
        self.take("[")
        is_over = self.sign() == "]" and self.take("]") == "]"
        some: list[Any] = []
        while not is_over:
            some.append(self.value())
            is_over = self.take(",]") == "]"
            if is_over or len(some) == SLICE:
                yield some
                some = []


def _checked(check: Any, value: Any, start: int | None = None) -> Any:
    """Return what a check makes of a value; ``start`` is the place of the first item where the value is a slice of them."""
    try:
        return check(value)
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_input=False)
        places = [one["loc"] if start is None else (_ITEMS, start + int(one["loc"][0]), *one["loc"][1:]) for one in found]
        raise RequestValidationError([{**one, "loc": ("body", *place)} for one, place in zip(found, places, strict=True)]) from exc


def _item(one: NewJobItem) -> NewItem:
    return NewItem(one.digest, one.label, tuple(one.tags), one.name)
