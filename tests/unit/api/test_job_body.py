"""The body of a job is read piece by piece as it would be at once: the same job, the same refusals."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.api.job_body import SLICE, JobToMake, job_to_make
from facesearch.core.errors import InputError


def read(body: bytes, content_type: str = "application/json") -> JobToMake:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "headers": [(b"content-type", content_type.encode())]}
    return asyncio.run(job_to_make(Request(scope, receive)))


def item(number: int, **changes: Any) -> dict[str, Any]:
    return {"digest": f"{number:064x}", "label": f"person {number}", **changes}


def body_of(items: Any, **members: Any) -> bytes:
    return json.dumps({"collection": "default", "items": items, **members}).encode()


@pytest.mark.parametrize("n_items", [1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE])
def test_every_item_is_read_in_its_order(n_items: int) -> None:
    job = read(body_of([item(number, tags=["staff"], name=f"{number}.jpg") for number in range(n_items)], options={"keep": "crop"}))
    assert [one.digest for one in job.items] == [f"{number:064x}" for number in range(n_items)]
    assert [one.name for one in job.items] == [f"{number}.jpg" for number in range(n_items)]
    assert {one.tags for one in job.items} == {("staff",)}
    assert (job.collection, job.options.keep, job.options.face) == ("default", "crop", "only")


@pytest.mark.parametrize("place", [0, SLICE - 1, SLICE, 2 * SLICE + 7])
def test_a_wrong_item_is_named_by_its_place(place: int) -> None:
    items = [item(number) for number in range(3 * SLICE)]
    items[place]["digest"] = "x"
    with pytest.raises(RequestValidationError) as caught:
        read(body_of(items))
    assert [one["loc"] for one in caught.value.errors()] == [("body", "items", place, "digest")]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"[]", ("body",)),
        (b"null", ("body",)),
        (b'{"items": []}', ("body", "collection")),
        (b'{"collection": "a"}', ("body", "items")),
        (body_of([]), ("body", "items")),
        (body_of({}), ("body", "items")),
        (body_of("x"), ("body", "items")),
        (body_of([7]), ("body", "items", 0)),
        (body_of([item(1)], surplus=1), ("body", "surplus")),
        (body_of([item(1)], options={"face": "none"}), ("body", "options", "face", "literal['only','largest','central']")),
        (body_of([item(1, label=7)]), ("body", "items", 0, "label")),
    ],
)
def test_what_is_no_job_is_refused_with_its_place(body: bytes, place: tuple[str | int, ...]) -> None:
    with pytest.raises(RequestValidationError) as caught:
        read(body)
    assert place in [one["loc"] for one in caught.value.errors()]


WHOLE = body_of([item(1), item(2)], options={"face": "largest"}).decode()


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b" ",
            b"{",
            b"}",
            b'{"items"',
            b'{"items": [',
            b'{"items": [}',
            b'{"items": [1,]}',
            b"{1: 2}",
            b'{"a": 1,}',
            b"\xff{}",
        ),
        *(b'{"a" 1}', b'{"a": NaN}', b"NaN", b"[" * 100_000, b'{"items": ' + b"[" * 100_000, b'{"items": [1 2]}', b"{,}"),
        *(WHOLE[:-1].encode(), WHOLE.encode() + b"}", WHOLE.encode() + b"{}", WHOLE.replace("},", "}", 1).encode()),
    ],
    ids=lambda body: body[-20:].decode("latin-1"),
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises((InputError, RequestValidationError)) as caught:
        read(body)
    with pytest.raises((ValueError, RecursionError)):
        json.loads(body, parse_constant=lambda name: int(name))
    if not isinstance(caught.value, InputError):  # an item that is none may come before the fault of the text
        assert caught.value.errors()[0]["loc"][:2] == ("body", "items")


def test_a_body_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="application/json"):
        read(WHOLE.encode(), "text/plain")


SPACE = st.text(" \t\r\n", max_size=2)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_order_and_spaces_do_not_matter(data: st.DataObject) -> None:
    members = json.loads(WHOLE)
    names = data.draw(st.permutations([*members, "items"]))  # of two lists of items the last one counts
    separators = (f"{data.draw(SPACE)},{data.draw(SPACE)}", f"{data.draw(SPACE)}:{data.draw(SPACE)}")
    parts = [f"{json.dumps(name)}{separators[1]}{json.dumps(members[name], separators=separators)}" for name in names]
    space = data.draw(SPACE)
    assert read(f"{space}{{{space}{separators[0].join(parts)}{space}}}{space}".encode()) == read(WHOLE.encode())
