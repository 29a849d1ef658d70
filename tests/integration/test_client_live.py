"""The client against a service behind a real socket: everything that people do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.client import ApiError, AsyncClient, Client, Labelled, Retries, enroll_many, go_on
from facesearch.client import errors as client_errors
from facesearch.client.models import Job, JobOptions
from facesearch.core.access import Scope
from tests.live_service import LiveService
from tests.world import face_at, person_vector


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    made = LiveService(tmp_path_factory.mktemp("live"), requests_per_minute=None)
    yield made
    made.close()


@pytest.fixture
def client(service: LiveService, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(service.url, service.key(), retries=Retries(first_wait_s=0.01)) as made:
        made.create_collection(request.node.name[:100])
        yield made


@pytest.fixture
def collection(request: pytest.FixtureRequest) -> str:
    return request.node.name[:100]


def portrait(service: LiveService, name: str, person: int, photo: int = 0) -> bytes:
    return service.api.networks.portrait_png(name, person, 0.9, photo)


def test_people_are_enrolled_verified_identified_and_looked_after(service: LiveService, client: Client, collection: str):
    ada, bob = (
        client.enroll_identity(collection, portrait(service, f"w{n}", n), label).identity for n, label in enumerate(("Ada", "Bob"))
    )
    assert client.get_collection(collection).n_identities == 2
    again = portrait(service, "w0 again", 0, photo=1)
    verified = client.verify_identity(collection, ada.identity_id, again)
    assert verified.is_match
    assert not client.verify_identity(collection, bob.identity_id, again).is_match
    assert client.verify_photos(portrait(service, "w0", 0), again).is_match
    (found,) = client.identify_faces(collection, again).faces
    assert (found.is_match, found.label, found.identity_id) == (True, "Ada", ada.identity_id)
    (unknown,) = client.identify_faces(collection, portrait(service, "stranger", 7)).faces
    assert (unknown.is_match, unknown.label) == (False, None)
    client.enroll_faces(collection, ada.identity_id, again)
    assert client.get_identity(collection, ada.identity_id).n_faces == 2
    faces = list(client.iter_faces(collection, ada.identity_id, limit=1))
    assert len(faces) == 2
    client.delete_face(collection, ada.identity_id, faces[0].template_id)
    assert [one.label for one in client.iter_identities(collection, limit=1)] == ["Ada", "Bob"]
    merged = client.merge_identities(collection, bob.identity_id, ada.identity_id)
    assert (merged.label, merged.n_faces) == ("Ada", 2)
    client.delete_identity(collection, ada.identity_id, erase=True)
    assert list(client.iter_identities(collection)) == []


def test_a_person_is_changed_only_as_seen(service: LiveService, client: Client, collection: str):
    ada = client.enroll_identity(collection, portrait(service, "e0", 0), "Ada").identity
    seen = client.get_identity(collection, ada.identity_id)
    assert seen.etag is not None
    renamed = client.update_identity(collection, ada.identity_id, label="Ada Lovelace", if_match=seen.etag)
    assert renamed.label == "Ada Lovelace"
    with pytest.raises(client_errors.PreconditionFailedError):
        client.update_identity(collection, ada.identity_id, label="Somebody", if_match=seen.etag)


def test_errors_have_the_library_s_names(service: LiveService, client: Client, collection: str):
    with pytest.raises(client_errors.UnknownCollectionError):
        client.get_collection("nowhere")
    with pytest.raises(client_errors.NoFaceError):
        client.enroll_identity(collection, service.api.networks.png("nobody"), "Ada")
    with pytest.raises(client_errors.ImageDecodeError):
        client.detect_faces(b"no photograph")
    with pytest.raises(client_errors.LabelTakenError):
        client.create_collection(collection)
    with pytest.raises(client_errors.UnauthorizedError), Client(service.url, "fs_x_y") as stranger:
        stranger.get_me()
    with pytest.raises(client_errors.ForbiddenError), Client(service.url, service.key(Scope.READ)) as reader:
        reader.create_collection("x")
    with pytest.raises(client_errors.ConnectionFailedError), Client("http://127.0.0.1:9", retries=Retries(0)) as nowhere:
        nowhere.is_alive()


def test_a_region_and_several_photographs(service: LiveService, client: Client, collection: str):
    two = service.api.networks.png(
        *("two", (face_at(5, 5, 20), person_vector(0)), (face_at(35, 35, 20), person_vector(1))), size=64
    )
    with pytest.raises(client_errors.SeveralFacesError) as refused:
        client.enroll_identity(collection, two, "Ada")
    assert len(refused.value.context["boxes"]) == 2
    enrolled = client.enroll_identity(collection, two, "Ada", roi=(0, 0, 30, 30), tag=["staff", "x"])
    assert enrolled.identity.tags == ["staff", "x"]
    (only,) = client.identify_faces(collection, two, roi=(0, 0, 30, 30)).faces
    assert only.label == "Ada"
    several = [portrait(service, f"s{n}", 1, photo=n) for n in range(3)]
    assert len(client.enroll_identity(collection, several, "Bob").enrollments) == 3


def test_many_paths_are_enrolled_as_a_job(service: LiveService, client: Client, collection: str, tmp_path: Path):
    photographs = []
    for place in range(20):
        file = tmp_path / f"{place}.png"
        file.write_bytes(portrait(service, f"j{place}", place))
        photographs.append(Labelled(file, f"Person {place:02}", ["bulk"]))
    photographs.append(Labelled(service.api.networks.png("nobody there"), "Nobody"))
    seen: list[Job] = []
    job = enroll_many(client, collection, photographs, options=JobOptions(face="largest"), on_progress=seen.append, poll_s=0.05)
    assert (job.state, job.n_done, job.n_failed) == ("done", 20, 1)
    assert len(seen) >= 2
    (failed,) = client.iter_job_items(job.job_id, state="failed")
    assert (failed.label, failed.code) == ("Nobody", "no_face")
    items = list(client.iter_job_items(job.job_id, limit=7))
    assert [one.name for one in items[:20]] == [f"{place}.png" for place in range(20)]
    assert len(list(client.iter_identities(collection, tag=["bulk"]))) == 20


def test_a_job_is_gone_on_with_after_it_was_cancelled(service: LiveService, client: Client, collection: str):
    photographs = [portrait(service, f"g{place}", place) for place in range(4)]

    def cancel(job: Job) -> None:
        if job.state == "waiting_for_photos" and job.n_done == 0:
            client.cancel_job(job.job_id)

    with pytest.raises(client_errors.JobOverError):
        enroll_many(client, collection, [Labelled(one, f"P{n}") for n, one in enumerate(photographs)], on_progress=cancel)
    (job,) = [one for one in client.iter_jobs() if one.collection == collection]
    assert job.state == "cancelled"
    with pytest.raises(client_errors.MissingPhotographsError, match="misses 4 photographs"):
        go_on(client, job.job_id, [b"another"])
    assert go_on(client, job.job_id, photographs, poll_s=0.05).n_done == 4


def test_a_collection_goes_out_and_comes_in_again(service: LiveService, client: Client, collection: str, tmp_path: Path):
    for place in range(3):
        client.enroll_identity(collection, portrait(service, f"x{place}", place), f"Person {place}")
    file = tmp_path / "people.facesearch"
    file.write_bytes(client.export_collection(collection))
    client.create_collection(f"{collection} copy")
    imported = client.import_collection(f"{collection} copy", file)
    assert (imported.n_identities, imported.n_templates) == (3, 3)
    (found,) = client.identify_faces(f"{collection} copy", portrait(service, "x1 again", 1, photo=3)).faces
    assert found.label == "Person 1"


def test_the_asynchronous_client_asks_at_once(service: LiveService, client: Client, collection: str):
    async def run() -> list[str]:
        async with AsyncClient(service.url, service.key(), retries=Retries(first_wait_s=0.01)) as asked:
            enrolled = await asyncio.gather(
                *(asked.enroll_identity(collection, portrait(service, f"a{n}", n), f"Person {n}") for n in range(8))
            )
            assert len({one.identity.identity_id for one in enrolled}) == 8
            with pytest.raises(ApiError):
                await asked.get_collection("nowhere")
            return [one.label async for one in asked.iter_identities(collection, limit=3)]

    assert asyncio.run(run()) == [f"Person {n}" for n in range(8)]


def test_a_rate_limit_is_waited_out(service: LiveService, collection: str, client: Client):
    with Client(service.url, service.key(requests_per_minute=60), retries=Retries(max_retries=8, max_wait_s=5)) as slow:
        for _ in range(62):
            assert slow.get_me().key_id is not None
