"""The client says what the service says: generated modules are not stale, and the generator knows the forms of schemas."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from facesearch.api.generate_client import client_sources, service_document, stale_modules
from facesearch.api.openapi_operations import operations_of
from facesearch.api.openapi_types import class_name, docstring, models_source, type_of
from facesearch.client import AsyncClient, Client


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return service_document()


def test_the_client_is_not_stale(document: dict[str, Any]):
    assert stale_modules(document) == [], "run python -m facesearch.api.generate_client"


def test_a_change_of_the_service_makes_it_stale(document: dict[str, Any], tmp_path: Path):
    assert len(stale_modules(document, tmp_path)) == 4
    changed = {**document, "paths": {**document["paths"]}}
    del changed["paths"]["/v1/verify"]
    assert set(stale_modules(changed)) >= {"client.py", "async_client.py"}


def test_every_operation_is_a_method_of_both_clients(document: dict[str, Any]):
    names = [one.name for one in operations_of(document)]
    assert len(names) == len(set(names)) > 30
    for name in names:
        assert inspect.isfunction(getattr(Client, name)), name
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name)), name
        assert str(inspect.signature(getattr(Client, name))) == str(inspect.signature(getattr(AsyncClient, name)))


def test_calls_of_other_services_are_left_out(document: dict[str, Any]):
    paths = [one.path for one in operations_of(document)]
    assert not [path for path in paths if path.startswith(("/deepface", "/api/"))]
    assert "/deepface/verify" in document["paths"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "Any"),
        (True, "Any"),
        ({"type": "string"}, "str"),
        ({"type": "string", "format": "date-time"}, "datetime"),
        ({"type": "string", "format": "binary"}, "Photograph"),
        ({"type": "string", "contentMediaType": "application/octet-stream"}, "Photograph"),
        ({"type": "string", "contentEncoding": "base64"}, "str"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "int | None"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"enum": ["a", 1]}, "Literal['a', 1]"),
        ({"const": "a"}, "Literal['a']"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Face"}}, "list[Face]"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]}, "tuple[float, str]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"type": "object"}, "dict[str, Any]"),
    ],
)
def test_schemas_become_types(schema: Any, expected: str):
    assert type_of(schema) == expected


def test_models_bring_what_they_are_made_of_and_nothing_else():
    schemas = {
        "Page": {
            "type": "object",
            "properties": {"items": {"type": "array", "items": {"$ref": "#/x/Item"}}},
            "required": ["items"],
        },
        "Item": {"type": "object", "properties": {"class": {"type": "string"}, "n": {"type": "integer", "default": 3}}},
        "Colour": {"enum": ["red", "blue"], "description": "A colour."},
        "Unused": {"type": "object", "properties": {}},
    }
    source = models_source(schemas, ["Page", "Colour"])
    ast.parse(source)
    assert "Unused" not in source
    assert "items: list[Item]" in source
    assert "class_: str | None = Field(None, alias='class')" in source
    assert "n: int = 3" in source
    assert "Colour: TypeAlias = Literal['red', 'blue']" in source


def test_names_of_generic_models_are_identifiers():
    assert class_name("#/components/schemas/Page_Item_") == "PageItem"
    assert class_name("#/components/schemas/Page[Item]") == "PageItem"


def test_a_first_line_is_a_sentence_that_fits():
    told = docstring("Do this and " + "that, and " * 20 + "more.\n\nAnother paragraph.", [], heading="", indent=8)
    lines = told.splitlines()
    assert max(map(len, lines)) <= 132
    assert lines[0].strip().endswith(".")
    assert "Another paragraph." in told
    with pytest.raises(ValueError, match="no place to end"):
        docstring("word" * 60, [], heading="", indent=8)


def test_two_arguments_of_one_name_are_refused():
    operation = {
        "operationId": "x",
        "parameters": [{"in": "path", "name": "a", "required": True, "schema": {}}, {"in": "query", "name": "a", "schema": {}}],
        "responses": {"204": {}},
    }
    with pytest.raises(ValueError, match="same name"):
        client_sources({"paths": {"/x/{a}": {"get": operation}}})
