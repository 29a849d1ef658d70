"""Whatever a client sends or gets has an example in the OpenAPI document, and each example is what its schema says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from facesearch.api.generate_client import service_document

METHODS = ("get", "put", "post", "patch", "delete")
SCORES = ("score", "threshold", "floor", "similarity")
"""Members that are cosine similarities, except in deepface's answers, where a threshold is a distance."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return service_document()


def media_types(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every body of a request and of an answer that is no error, with its place."""
    for path, item in document["paths"].items():
        for method in METHODS:
            operation = item.get(method, {})
            bodies = [("request", operation.get("requestBody", {}))]
            bodies += [(status, one) for status, one in operation.get("responses", {}).items() if status.startswith("2")]
            for place, body in bodies:
                for kind, media_type in body.get("content", {}).items():
                    yield f"{method} {path} {place} {kind}", media_type


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def reachable(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the object schemas that requests and answers are made of, by reference."""
    waiting = [reference for _, media_type in media_types(document) for reference in references(media_type)]
    found: dict[str, dict[str, Any]] = {}
    while waiting:
        reference = waiting.pop()
        if reference not in found:
            found[reference] = document["components"]["schemas"][reference.rsplit("/", 1)[-1]]
            waiting += references(found[reference])
    return {reference: schema for reference, schema in found.items() if schema.get("type") == "object"}


def examples_of(schema: dict[str, Any]) -> list[Any]:
    """Return the examples of an object: its own, or one made of its members'."""
    members = schema.get("properties", {})
    if "examples" not in schema and members and all("examples" in one for one in members.values()):
        return [{name: one["examples"][0] for name, one in members.items()}]
    return list(schema.get("examples", []))


def faults(document: dict[str, Any], schema: dict[str, Any], example: Any) -> list[str]:
    """Return what keeps an example from being what a schema describes."""
    whole = {**schema, "components": document["components"]}
    checker = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [f"{list(one.instance_path)}: {one.message}" for one in checker.iter_errors(example)]


def test_every_object_that_is_sent_or_answered_has_an_example_of_itself(document: dict[str, Any]) -> None:
    schemas = reachable(document)
    assert len(schemas) >= 60
    assert [reference for reference, schema in schemas.items() if not examples_of(schema)] == []
    wrong = {}
    for reference, schema in schemas.items():
        for example in examples_of(schema):
            if found := faults(document, {"$ref": reference}, example):
                wrong[reference] = found
    assert wrong == {}


def test_every_body_without_a_schema_of_its_own_has_an_example(document: dict[str, Any]) -> None:
    own = {place: one for place, one in media_types(document) if one["schema"].get("type") == "object"}
    assert len(own) >= 20
    assert [place for place, one in own.items() if "example" not in one] == []
    wrong = {place: found for place, one in own.items() if (found := faults(document, one["schema"], one["example"]))}
    assert wrong == {}


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for member, one in value.items():
            yield from numbers(one, member)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def pairs(value: Any, a: str, b: str) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        if a in value and b in value:
            yield value[a], value[b]
        for one in value.values():
            yield from pairs(one, a, b)
    elif isinstance(value, list):
        for one in value:
            yield from pairs(one, a, b)


def test_the_numbers_of_the_examples_can_be(document: dict[str, Any]) -> None:
    shown = [example for schema in reachable(document).values() for example in examples_of(schema)]
    scores = [number for one in shown for name, number in numbers(one) if name in SCORES]
    assert len(scores) >= 20
    assert all(-1 <= score <= 1 for score in scores)
    distances = [pair for one in shown for pair in pairs(one, "score", "squared_distance")]
    assert len(distances) >= 4
    assert all(distance == pytest.approx(2 - 2 * score, abs=1e-9) for score, distance in distances)
    decided = [one for one in shown if {"score", "threshold", "is_match"} <= set(one)]
    assert len(decided) >= 1
    assert all((one["score"] >= one["threshold"]) == one["is_match"] for one in decided)
    vectors = [
        vector for one in shown for vector, _ in (*pairs(one, "vector", "embedder_id"), *pairs(one, "embedding", "facial_area"))
    ]
    assert len(vectors) >= 4
    assert all(math.hypot(*vector) == pytest.approx(1) for vector in vectors)


def test_an_example_that_is_none_is_found_out(document: dict[str, Any]) -> None:
    reference = "#/components/schemas/Candidate"
    (candidate,) = examples_of(reachable(document)[reference])
    assert faults(document, {"$ref": reference}, candidate) == []
    assert faults(document, {"$ref": reference}, {**candidate, "score": 1.5})
    assert faults(document, {"$ref": reference}, {**candidate, "vector": []})
    assert faults(document, {"$ref": reference}, {name: value for name, value in candidate.items() if name != "label"})
    person = "#/components/schemas/Identity"
    (identity,) = examples_of(reachable(document)[person])
    assert faults(document, {"$ref": person}, {**identity, "enrolled_at": "yesterday"})
