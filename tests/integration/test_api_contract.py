"""The service does what its OpenAPI document says: requests made from the document, answers held against it.

Photographs and archives are put in by hand, since no schema can describe one; everything else is Schemathesis' invention.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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
schemathesis.serializer.alias("application/zip", "application/octet-stream")
ACCEPTANCE, REJECTION = CHECKS.get_one("positive_data_acceptance"), CHECKS.get_one("negative_data_rejection")
PHOTOGRAPHS = ("photo", "photo_a", "photo_b", "photos", "img", "img1", "img2", "file")
GUARDED = ("/v1/", "/deepface/", "/api/")
MUST_BE_TAKEN = {
    "post /v1/collections/{collection}/import",
    "post /deepface/represent",
    "post /deepface/verify",
    "post /api/v1/recognition/recognize",
    "get /api/v1/recognition/subjects",
}
"""Operations that need something put in by hand: a test that sends it wrongly must not pass by refusals."""

ARCHIVE, FILE = "application/zip", "application/octet-stream"


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
    assert len(found) >= 45
    return found


@pytest.fixture(scope="module")
def archive(api: Api) -> bytes:
    """An exported collection."""
    for person in range(3):
        assert api.enroll(f"person {person}", person, collection="moved").status_code == 201
    return api.ask("GET", "/v1/collections/moved/export").content


@dataclass(frozen=True)
class Real:
    """What is there to be asked about and sent, beside what is made up."""

    people: list[int]
    photo: bytes
    archive: bytes
    job: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.photo).hexdigest()

    @classmethod
    def of(cls, api: Api, archive: bytes) -> Real:
        """Return it; what earlier requests removed is made again."""
        for person in range(3):
            api.enroll(f"person {person}", person)
        listed = api.ask("GET", "/v1/collections/default/identities", params={"limit": 5}).json()["items"]
        assert listed
        photo = api.networks.portrait_png("probe", 1, 0.9, photo=3)
        items = [{"digest": hashlib.sha256(photo).hexdigest(), "label": "person 1"}]
        job = api.ask("POST", "/v1/jobs", json={"collection": "default", "items": items})
        assert job.status_code == 202
        return cls([one["identity_id"] for one in listed], photo, archive, job.json()["job_id"])

    def put_into(self, case: Any, number: int) -> None:
        """Put photographs and archives where they belong, and, most of the time, people, a collection and a job that exist."""
        if isinstance(case.body, dict):
            one = base64.b64encode(self.photo).decode() if case.media_type == "application/json" else self.photo
            for name in PHOTOGRAPHS:
                if name in case.body:
                    case.body[name] = [one] if isinstance(case.body[name], list) else one
        elif case.media_type in (ARCHIVE, FILE):
            case.body = self.archive if case.media_type == ARCHIVE else self.photo
        known = {"identity_id": self.people[number % len(self.people)], "job_id": self.job, "digest": self.digest}
        if not case.path.endswith("/import"):  # there, a collection that exists has the labels of the archive already
            known["collection"] = "default"
        for name, value in known.items():
            if name in case.path_parameters and number % 4:
                case.path_parameters[name] = value
        for fields in (case.query, case.body):
            if isinstance(fields, dict) and "collection" in fields and number % 4:
                fields["collection"] = "default"


def check(api: Api, operation: Any, real: Real | None, n_examples: int) -> Counter[int]:
    """Send an operation made-up requests and check every answer; return how often each status was answered.

    They are as they should be where there is something ``real`` to put in, else each is wrong in something.
    """
    mode = GenerationMode.POSITIVE if real else GenerationMode.NEGATIVE
    auth = {"Authorization": f"Bearer {api.every}", "X-API-Key": api.every}
    answered: Counter[int] = Counter()

    @seed(20)
    @settings(
        max_examples=n_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if real:
            real.put_into(case, answered.total())
        response = case.call(headers=auth)
        answered[response.status_code] += 1
        # What no schema can say (a name nobody has, a box that is none) may be refused; what the schema says may not.
        is_semantic = response.status_code == 422 and "errors" not in response.json()["context"]
        if real:
            assert response.status_code != 422 or is_semantic, response.text
        excluded = [ACCEPTANCE] if is_semantic else []
        # A body with bytes put in by hand counts as one that breaks its schema.
        case.validate_response(response, excluded_checks=[*excluded, REJECTION] if real else excluded)

    ask()
    return answered


def well_formed(api: Api, operations: list[Any], archive: bytes, n_examples: int) -> None:
    """Check every operation with requests as they should be."""
    found = {f"{one.method} {one.path}": check(api, one, Real.of(api, archive), n_examples) for one in operations}
    assert len(found) == len(operations)
    taken = {name for name, answered in found.items() if any(status < 400 for status in answered)}
    assert taken >= MUST_BE_TAKEN
    assert len(taken) >= 0.6 * len(found), f"refused: {sorted(set(found) - taken)}"


def malformed(api: Api, operations: list[Any], n_examples: int) -> None:
    """Check every operation with requests that are wrong in something."""
    chosen = [one for one in operations if one.path.startswith(GUARDED)]
    assert len(chosen) == len(operations) - 3  # what watches the service takes nothing that could be wrong
    found = {f"{one.method} {one.path}": check(api, one, None, n_examples) for one in chosen}
    assert len(found) == len(chosen)
    assert all(any(status >= 400 for status in found[name]) for name in MUST_BE_TAKEN)


def test_answers_are_as_described(api: Api, operations: list[Any], archive: bytes) -> None:
    well_formed(api, operations, archive, 3)


def test_refusals_are_as_described(api: Api, operations: list[Any]) -> None:
    malformed(api, operations, 3)


@pytest.mark.slow
def test_many_answers_are_as_described(api: Api, operations: list[Any], archive: bytes) -> None:
    well_formed(api, operations, archive, 30)


@pytest.mark.slow
def test_many_refusals_are_as_described(api: Api, operations: list[Any]) -> None:
    malformed(api, operations, 30)


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
