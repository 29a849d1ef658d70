"""A collection as one file over the service: out, in, refused, abandoned, and never on the disk."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.api import streaming
from facesearch.core.access import Scope
from facesearch.core.errors import OverloadedError, UnknownCollectionError
from facesearch.core.identity import Keep
from tests.api_world import Api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path)
    for place in range(3):
        assert made.enroll(f"Person {place}", place).status_code == 201
    made.ask("POST", "/v1/collections", json={"name": "copy"})
    yield made
    made.close()


def exported(api: Api) -> bytes:
    answer = api.ask("GET", "/v1/collections/default/export")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    return answer.content


def imported(api: Api, data: bytes, **named: object):
    return api.ask("POST", "/v1/collections/copy/import", content=data, headers={"Content-Type": "application/zip"}, **named)


def test_what_goes_out_comes_in(api: Api, tmp_path: Path):
    data = exported(api)
    answer = imported(api, data)
    assert answer.json() == {"collection": "copy", "n_identities": 3, "n_templates": 3, "n_pictures": 0}
    api.world.faces.export_collection(tmp_path / "a", collection="default")
    with zipfile.ZipFile(io.BytesIO(data)) as over, zipfile.ZipFile(tmp_path / "a") as by_file:
        assert over.namelist() == by_file.namelist()
        assert all(over.read(name) == by_file.read(name) for name in over.namelist())
    said = [one.event.action for one in api.context.audit.rows(0, 100)]
    assert said[-2:] == ["collection.export", "collection.import"]


def test_pictures_of_more_than_the_operator_keeps_stay_outside(api: Api):
    for place, keep in enumerate(("crop", "photo")):
        api.world.faces.enroll(api.networks.portrait(f"kept {place}", 10 + place), f"Kept {place}", collection="default", keep=keep)
    data = exported(api)
    assert imported(api, data).json()["n_pictures"] == 0  # of this world's service, which keeps none
    assert api.world.faces.import_collection(io.BytesIO(data), collection="whole").n_pictures == 2
    assert api.world.faces.import_collection(io.BytesIO(data), collection="crops", keep=Keep.CROP).n_pictures == 1


def test_what_cannot_be_read_is_the_caller_s_fault_and_changes_nothing(api: Api):
    data = exported(api)
    for wrong in (b"", b"no archive", data[:-30], data.replace(b'"label":"Person 1"', b'"label":"Person 2"')):
        answer = imported(api, wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input"), answer.text
    assert imported(api, data).status_code == 200
    again = imported(api, data)
    assert (again.status_code, again.json()["code"]) == (409, "label_taken")
    assert api.world.faces.collection("copy").n_templates == 3
    made = api.ask("POST", "/v1/collections/new/import", content=data, headers={"Content-Type": "application/zip"})
    assert made.json()["collection"] == "new"
    assert api.ask("GET", "/v1/collections/none/export").json()["code"] == "unknown_collection"


def test_vectors_leave_and_enter_only_with_their_scope(api: Api):
    almost = api.key(*(one for one in Scope if one is not Scope.TEMPLATES))
    assert api.ask("GET", "/v1/collections/default/export", key=almost).status_code == 403
    assert imported(api, exported(api), key=almost).status_code == 403
    assert imported(api, exported(api), key=api.key(Scope.TEMPLATES)).status_code == 403
    other = api.key(Scope.TEMPLATES, collections=["copy"])
    assert api.ask("GET", "/v1/collections/default/export", key=other).status_code == 404


def test_a_stream_hands_on_errors_and_ends_when_nobody_listens():
    closed: list[str] = []

    def pieces(n: int, fault: Exception | None = None) -> Iterator[bytes]:
        try:
            for place in range(n):
                yield bytes([place])
            if fault is not None:
                raise fault
        finally:
            closed.append("closed")

    async def run() -> None:
        whole = [piece async for piece in await streaming.streamed(lambda: pieces(20))]
        assert whole == [bytes([place]) for place in range(20)]
        with pytest.raises(UnknownCollectionError):
            await streaming.streamed(lambda: pieces(0, UnknownCollectionError("none")))
        broken = await streaming.streamed(lambda: pieces(2, UnknownCollectionError("gone")))
        with pytest.raises(UnknownCollectionError):
            async for _ in broken:
                pass
        under_way = [await streaming.streamed(lambda: pieces(50)) for _ in range(streaming.MAX_STREAMS)]
        with pytest.raises(OverloadedError):
            await streaming.streamed(lambda: pieces(1))
        for one in under_way:
            await anext(one)
            await one.aclose()
        for _ in range(500):
            if len(closed) == 3 + streaming.MAX_STREAMS:
                break
            await asyncio.sleep(0.01)
        assert len(closed) == 3 + streaming.MAX_STREAMS

    asyncio.run(run())
