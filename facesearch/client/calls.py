"""One call of the service: how it is sent, when it is sent again, and what is made of the answer. Sends nothing itself.

The synchronous and the asynchronous client share it.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from facesearch.client.base import ApiModel
from facesearch.client.errors import ERRORS, ApiError, UnexpectedAnswerError
from facesearch.client.photographs import Photograph, upload_of

Answer = TypeVar("Answer")

_UNAVAILABLE = 503
_NOT_BEGUN = "overloaded"
_RETRIED = frozenset({429, _UNAVAILABLE})
"""Answers that say "not now": nothing was done, and the same request may be sent again."""

_CONFLICT = 409
"""Answered to a repetition while the first request is still worked on, with ``Retry-After`` then."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What fails before a call is sent."""

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and how patiently, a call is sent again.

    Attributes:
        max_retries: Times a call is sent again at most; 0 for never.
        max_wait_s: Longest wait before one of them, in seconds: a service that asks for more gets the error raised.
        first_wait_s: Wait before the first where the service names none; doubled each time, and spread by chance.
    """

    max_retries: int = 4
    max_wait_s: float = 30.0
    first_wait_s: float = 0.2

    def wait_s(self, n_before: int, retry_after: str | None) -> float | None:
        """Return how long to wait before the next try, or None where there is to be none.

        Args:
            n_before: Times the call was sent again already.
            retry_after: The answer's ``Retry-After`` in seconds, where it had one.
        """
        if n_before >= self.max_retries:
            return None
        wanted = self.first_wait_s * 2.0**n_before * random.uniform(0.5, 1.0)  # noqa: S311 - spreads tries, hides nothing
        if retry_after is not None:
            try:
                wanted = max(wanted, float(retry_after))
            except ValueError:  # a date: services behind some proxies
                return None
        return wanted if wanted <= self.max_wait_s else None


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One call.

    Attributes:
        method: HTTP method.
        path: Below the service's address, with ``{name}`` for each of ``at``.
        answer: Type of the answer: a model, or anything pydantic reads; ``bytes`` for a file, None for no content.
        at: Values of the path.
        query: Values of the query; None ones are left out, sequences repeated.
        headers: Further headers; None ones are left out.
        json: JSON body, None values left out; None for none.
        form: Fields of a multipart body; None ones are left out, sequences repeated.
        photographs: Parts of a multipart body that are photographs.
        content: A body as it is.
        content_type: Its media type.
        is_sent_once: Whether it is not sent again after a connection that broke: the service keeps no answer for it.
    """

    method: str
    path: str
    answer: Any
    at: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str | None] = field(default_factory=dict)
    json: Mapping[str, object] | None = None
    form: Mapping[str, object] | None = None
    photographs: Mapping[str, Photograph | Sequence[Photograph] | None] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str = "application/octet-stream"
    is_sent_once: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return what ``httpx`` is called with; photographs are read from their paths here, once for all tries."""
        path = self.path.format_map({name: quote(str(value), safe="") for name, value in self.at.items()})
        headers = {name: value for name, value in self.headers.items() if value is not None}
        if self.method in _WRITES:
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        made: dict[str, Any] = {"method": self.method, "url": path.lstrip("/"), "params": _texts(self.query), "headers": headers}
        if self.json is not None:
            made["json"] = {name: _plain(value) for name, value in self.json.items() if value is not None}
        elif self.form is not None or self.photographs:
            made["files"] = [*_parts(self.form or {}), *_uploads(self.photographs)]
        elif self.content is not None:
            made["content"] = self.content
            headers["Content-Type"] = self.content_type
        return made


def wait_before_retry(
    call: Call[Any], retries: Retries, n_before: int, answer: httpx.Response | httpx.TransportError
) -> float | None:
    """Return how long to wait before a call is sent again, or None where it is not.

    A connection that broke is tried again too: writes carry an idempotency key, so that none is done twice. Where the service keeps
    no answer, it is only if nothing can have reached the service, or the service says that it did not begin.
    """
    if isinstance(answer, httpx.TransportError):
        is_safe = not call.is_sent_once or isinstance(answer, _NOT_SENT)
        return retries.wait_s(n_before, None) if is_safe else None
    if call.is_sent_once and answer.status_code == _UNAVAILABLE and problem_of(answer).code != _NOT_BEGUN:
        return None
    retry_after = answer.headers.get("Retry-After")
    is_busy = answer.status_code in _RETRIED or (answer.status_code == _CONFLICT and retry_after is not None)
    return retries.wait_s(n_before, retry_after) if is_busy else None


def read_answer(call: Call[Answer], response: httpx.Response) -> Answer:
    """Return what a call answered.

    Raises:
        ApiError: The service answered with a problem; the class says which.
        UnexpectedAnswerError: What came is not what the service answers.
    """
    if not response.is_success:
        raise problem_of(response)
    if call.answer is None:
        return None  # type: ignore[return-value]
    if call.answer is bytes:
        return response.content  # type: ignore[return-value]
    try:
        made = _adapter(call.answer).validate_json(response.content)
    except ValidationError as exc:
        raise UnexpectedAnswerError(
            f"{call.method} {call.path}: the answer is not of the expected form ({exc.error_count()} faults)",
            status=response.status_code,
        ) from exc
    if isinstance(made, ApiModel):
        made.with_etag(response.headers.get("ETag"))
    return made  # type: ignore[no-any-return]


def problem_of(response: httpx.Response) -> ApiError:
    """Return a problem body as an exception; of the class that its code names."""
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = f"the service answered {response.status_code} without a problem body"
        return UnexpectedAnswerError(text, status=response.status_code)
    code = str(body.get("code", ""))
    kind = ERRORS.get(code, ApiError)
    context = body.get("context")
    return kind(
        str(body.get("detail") or body.get("title") or f"the service answered {response.status_code}"),
        status=response.status_code,
        code=code,
        context=context if isinstance(context, dict) else {},
        request_id=response.headers.get("X-Request-ID"),
    )


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    made = _ADAPTERS.get(kind)
    if made is None:
        made = _ADAPTERS[kind] = TypeAdapter(kind)
    return made


def _texts(values: Mapping[str, object]) -> list[tuple[str, str]]:
    texts: list[tuple[str, str]] = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            texts += [(name, _text(one)) for one in value]
        else:
            texts.append((name, _text(value)))
    return texts


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parts(form: Mapping[str, object]) -> list[tuple[str, tuple[None, str]]]:
    return [(name, (None, text)) for name, text in _texts(form)]


def _uploads(photographs: Mapping[str, Photograph | Sequence[Photograph] | None]) -> list[tuple[str, tuple[str, bytes, str]]]:
    uploads = []
    for name, given in photographs.items():
        if given is None:
            continue
        several: Sequence[Photograph] = given if isinstance(given, list | tuple) else [cast("Photograph", given)]
        uploads += [(name, upload_of(one, name=name)) for one in several]
    return uploads


def _plain(value: object) -> object:
    """Return a value as JSON holds it."""
    if isinstance(value, ApiModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
