"""Errors as RFC 9457 problem bodies with the house's stable codes.

The service's only translation of errors; it raises none.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from facesearch.core.errors import FaceSearchError, InputError
from facesearch.service.shapes import plain

logger = logging.getLogger("facesearch.api")

MEDIA_TYPE = "application/problem+json"

_TOLD_AT_503 = frozenset({"overloaded", "request_timeout"})
"""Codes of server errors whose message is for the caller; those of others may name files and addresses of the server."""

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
"""Codes of the framework's own refusals, beside those of the house's errors."""

_FORMS = frozenset({"int", "float", "str", "bool", "none"})
"""Names that the validator gives to the forms of a value that may have several."""

_MAX_ERRORS = 20
"""Most faults of one request's fields that are listed."""


class ProblemResponse(JSONResponse):
    """A problem body."""

    media_type = MEDIA_TYPE


def problem(status: int, code: str, detail: str, request_id: str, context: Mapping[str, Any] | None = None) -> ProblemResponse:
    """Return a problem body.

    Args:
        status: HTTP status.
        code: The house's stable code.
        detail: A sentence for a person.
        request_id: The request's id, which the server's log has too.
        context: Plain values for programs.
    """
    known = dict(context or {})
    headers = {}
    if "retry_after_s" in known:
        headers["Retry-After"] = str(max(1, math.ceil(float(known["retry_after_s"]))))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="facesearch"'
    body = {
        "type": f"urn:facesearch:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": request_id,
        "code": code,
        "context": known,
    }
    return ProblemResponse(body, status_code=status, headers=headers)


def problem_of(error: FaceSearchError, request_id: str) -> ProblemResponse:
    """Return an error of the house's as a problem body; a server's own fault is told without its details, which are logged."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in _TOLD_AT_503:
        logger.error("request %s failed (%s): %s", request_id, error.code, error.message, exc_info=error)
        detail = "the service cannot do this at the moment; its log says why, under the request's id"
        retry = {"retry_after_s": error.context["retry_after_s"]} if "retry_after_s" in error.context else {}
        return problem(error.status, error.code, detail, request_id, retry)
    return problem(error.status, error.code, error.message, request_id, plain(error.context))


def unexpected_problem(request_id: str) -> ProblemResponse:
    """Return the problem body of an error that nobody foresaw; the log has it."""
    detail = "the service failed; its log says where, under the request's id"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, FaceSearchError.code, detail, request_id)


def validation_problem(errors: list[dict[str, Any]], request_id: str) -> ProblemResponse:
    """Return what is wrong with a request's fields: where and what, never the values, which may be personal."""
    found = [{"field": _place(one["loc"]), "message": str(one["msg"])} for one in errors[:_MAX_ERRORS]]
    first = found[0] if found else {"field": "body", "message": "unreadable"}
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"{first['field']}: {first['message']}{more}"
    return problem(InputError.status, InputError.code, detail, request_id, {"errors": found})


def _place(loc: Iterable[Any]) -> str:
    """Return where a fault is; which of several allowed forms a value failed to have is left out."""
    return ".".join(str(part) for part in loc if "[" not in str(part) and str(part) not in _FORMS)


def request_id_of(request: Request) -> str:
    """Return the id that the request was given."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def add_problem_handlers(app: FastAPI) -> None:
    """Make an application answer every error with a problem body."""

    async def of_house(request: Request, exc: Exception) -> ProblemResponse:
        if not isinstance(exc, FaceSearchError):
            raise exc
        return problem_of(exc, request_id_of(request))

    async def of_fields(request: Request, exc: Exception) -> ProblemResponse:
        if not isinstance(exc, RequestValidationError):
            raise exc
        return validation_problem(list(exc.errors()), request_id_of(request))

    async def of_framework(request: Request, exc: Exception) -> ProblemResponse:
        if not isinstance(exc, HTTPException):
            raise exc
        code = _CODES.get(exc.status_code) or _code_of_status(exc.status_code)
        answer = problem(exc.status_code, code, str(exc.detail), request_id_of(request))
        answer.headers.update(exc.headers or {})
        return answer

    app.add_exception_handler(FaceSearchError, of_house)
    app.add_exception_handler(RequestValidationError, of_fields)
    app.add_exception_handler(HTTPException, of_framework)


def _code_of_status(status: int) -> str:
    return re.sub(r"[^a-z]+", "_", HTTPStatus(status).phrase.lower())
