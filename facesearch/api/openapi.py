"""What the OpenAPI document says beyond what FastAPI finds out by itself: keys, scopes, errors, headers.

Derived from the routes' guards, so that no route can be described as more open than it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from facesearch.api.problems import MEDIA_TYPE
from facesearch.api.repeats import HEADER, KEY_PATTERN
from facesearch.api.requests import REQUEST_ID
from facesearch.api.routing import GuardedRoute
from facesearch.api.schemas.base import Answer, Body, Problem
from facesearch.api.schemas.jobs import NewJob

DESCRIPTION = """Face recognition over HTTP: enroll people, verify two photographs (1:1) and identify faces (1:N).

Every request needs an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`, unless the service runs with keys off. Errors
are problem bodies (RFC 9457) with stable codes. Photographs are sent as files of a multipart body or in base64; paths and
addresses are refused. A score is a cosine similarity, not a percentage; a match is a score at or above the threshold that
belongs to the error rate asked for.
"""

_ALWAYS = (401, 403, 429, 500, 503, 504)
_WITH_BODY = (400, 408, 413)
_READ_BY_HAND = (NewJob,)
"""Bodies that FastAPI does not read, and so does not describe."""

_REFERENCE = "#/components/schemas/{model}"
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Make an application describe itself in full."""
    routes = tuple(_guarded(routers))

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version="3.1.0",
                description=DESCRIPTION,
                routes=app.routes,
                servers=[{"url": "/"}],
            )
            _complete(made, routes)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _guarded(routers: Iterable[APIRouter]) -> Iterator[GuardedRoute]:
    return (route for router in routers for route in router.routes if isinstance(route, GuardedRoute))


def _complete(document: dict[str, Any], routes: Iterable[GuardedRoute]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    schemas |= models_json_schema([(one, "validation") for one in _READ_BY_HAND], ref_template=_REFERENCE)[1]["$defs"]
    _restore_examples(schemas)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in a header of its own."},
    }
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete_operation(operation, route, method, schemas)


def _restore_examples(schemas: dict[str, Any]) -> None:
    """Put the examples back as the models have them: FastAPI drops every null from the document, also from what is shown."""
    for model in (*_below(Answer), *_below(Body)):
        extra = model.model_config.get("json_schema_extra")
        if model.__name__ in schemas and isinstance(extra, dict) and "examples" in extra:
            schemas[model.__name__]["examples"] = extra["examples"]


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _below(one)


def _complete_operation(operation: dict[str, Any], route: GuardedRoute, method: str, schemas: dict[str, Any]) -> None:
    guard = route.guard
    scopes = " and ".join(f"`{scope.value}`" for scope in sorted(guard.scopes)) or "any"
    operation["description"] = f"{operation.get('description', '').rstrip()}\n\nScope: {scopes}."
    operation["security"] = [{"bearer": []}, {"apiKey": []}]
    parameters = operation.setdefault("parameters", [])
    responses = operation["responses"]
    if guard.keeps_answers(method):
        parameters.append(
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": KEY_PATTERN},
                "description": "Chosen by the client; a second request with it gets the first one's answer, for 24 hours.",
            }
        )
    names = {one["name"] for one in parameters} | set(_body_names(operation, schemas))
    for status in _errors(operation, route, method, names):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    for status, response in responses.items():
        headers = response.setdefault("headers", {})
        headers[REQUEST_ID] = {"schema": {"type": "string"}, "description": "The request's id, which the service's log has too."}
        if status in ("429", "503"):
            headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds after which to ask again."}


def _body_names(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the fields that a body has."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        yield from schemas.get(schema.get("$ref", "").rpartition("/")[2], schema).get("properties", ())


def _errors(operation: dict[str, Any], route: GuardedRoute, method: str, names: set[str]) -> Iterator[int]:
    """Yield the statuses of the errors that an operation may end with, whose parameters and fields have these names."""
    yield from _ALWAYS
    if "requestBody" in operation:
        yield from _WITH_BODY
        if "multipart/form-data" in operation["requestBody"]["content"]:
            yield 415
    if names or "requestBody" in operation:
        yield 422
    # A kept answer that names somebody is forgotten with them, and asking for it is a 404 then.
    if "{" in route.path_format or "collection" in names or route.guard.keeps_answers(method):
        yield 404
    if "{collection}" in route.path_format or method in ("POST", "PATCH", "DELETE", "PUT"):
        yield 409
    if "if-match" in names:
        yield 412
