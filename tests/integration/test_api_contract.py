"""The service does what its OpenAPI document says: requests made from the document, answers held against it.

Photographs are put in by hand, since no schema can describe one; everything else is Schemathesis' invention.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.api_world import Api

pytestmark = pytest.mark.filterwarnings("ignore")  # the tool's own test client is deprecated

load_all_checks()
ACCEPTANCE = CHECKS.get_one("positive_data_acceptance")
PHOTOGRAPHS = ("photo", "photo_a", "photo_b", "photos")
KINDS = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder: Path = tmp_path_factory.mktemp("contract")
    made = Api(folder, requests_per_minute=None)
    yield made
    made.close()


@pytest.fixture(scope="module")
def operations(api: Api) -> list[Any]:
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", api.app)
    found = [one.ok() for one in schema.get_all_operations()]
    assert len(found) >= 33
    return found


def people_of(api: Api) -> list[int]:
    """Return people to ask about; what earlier requests removed is enrolled again."""
    for person in range(3):
        api.enroll(f"person {person}", person)
    listed = api.ask("GET", "/v1/collections/default/identities", params={"limit": 5}).json()["items"]
    assert listed
    return [one["identity_id"] for one in listed]


def check(api: Api, operation: Any, mode: GenerationMode, n_examples: int) -> int:
    """Send an operation made-up requests and check every answer; return how many were sent."""
    people, photo = people_of(api), api.networks.portrait_png("probe", 1, 0.9, photo=3)
    auth = {"Authorization": f"Bearer {api.every}", "X-API-Key": api.every}
    n_sent = 0

    @seed(20)
    @settings(
        max_examples=n_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal n_sent
        n_sent += 1
        if mode is GenerationMode.POSITIVE:
            make_sensible(case, people, photo, n_sent)
        response = case.call(headers=auth)
        # What no schema can say (a name nobody has, a box that is none) may be refused; what the schema says may not.
        is_semantic = response.status_code == 422 and "errors" not in response.json()["context"]
        case.validate_response(response, excluded_checks=[ACCEPTANCE] if is_semantic else [])

    ask()
    return n_sent


def make_sensible(case: Any, people: list[int], photo: bytes, number: int) -> None:
    """Put a photograph where one belongs, and, most of the time, people and a collection that exist."""
    if isinstance(case.body, dict):
        one = base64.b64encode(photo).decode() if case.media_type == "application/json" else photo
        for name in PHOTOGRAPHS:
            if name in case.body:
                case.body[name] = [one] if isinstance(case.body[name], list) else one
    if "collection" in case.path_parameters and number % 3:
        case.path_parameters["collection"] = "default"
    if "identity_id" in case.path_parameters and number % 4:
        case.path_parameters["identity_id"] = people[number % len(people)]


OURS = ("/v1/me", "/v1/keys", "/v1/collections", "/v1/verify", "/v1/detect", "/v1/templates", "/v1/compare", "/v1/models")


def asked(operations: list[Any], prefixes: tuple[str, ...]) -> list[Any]:
    """Return operations by path; the import takes an archive, which nothing can make up."""
    found = [one for one in operations if one.path.startswith(prefixes) and not one.path.endswith("/import")]
    assert len(found) >= 20
    return found


@pytest.mark.parametrize("mode", KINDS, ids=lambda mode: mode.value)
def test_answers_are_as_described(api: Api, operations: list[Any], mode: GenerationMode) -> None:
    for operation in asked(operations, OURS):
        assert check(api, operation, mode, 3) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", KINDS, ids=lambda mode: mode.value)
def test_many_answers_are_as_described(api: Api, operations: list[Any], mode: GenerationMode) -> None:
    for operation in asked(operations, (*OURS, "/v1/operating-points", "/v1/audit")):
        assert check(api, operation, mode, 30) >= 1


def test_every_operation_is_described_for_people_and_programs(api: Api) -> None:
    document = api.ask("GET", "/v1/openapi.json", key=None).json()
    assert document["openapi"].startswith("3.1")
    paths = {path: one for path, one in document["paths"].items() if path.startswith("/v1/")}
    operations = [one for path in paths.values() for one in path.values()]
    assert len(operations) >= 33
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    for one in operations:
        assert one["operationId"].isidentifier()
        assert one.get("description") or one.get("summary")
        for kind, body in one.get("requestBody", {}).get("content", {}).items():
            schema = body["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
            is_exemplified = "example" in body or "examples" in body or "examples" in schema or kind != "application/json"
            assert is_exemplified, f"{one['operationId']} has no example of its body"
