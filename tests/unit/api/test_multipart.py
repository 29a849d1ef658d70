"""Multipart bodies in memory: every byte comes back, as the standard library's e-mail parser reads it too."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.api.multipart import Part, is_multipart, parts_of
from facesearch.core.errors import BodyTooLargeError, InputError

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_-äß日", min_size=1, max_size=12)
DATA = st.one_of(
    st.binary(max_size=200), st.sampled_from([b"", b"\r\n", b"--x", b"\r\n--x--\r\n", b"\r", b"-" * 50, b"\r\n--" * 20])
)


def encoded(files: list[tuple[str, tuple[str, bytes]]], fields: dict[str, str]) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x/", files=files, data=fields)
    return request.read(), request.headers["content-type"]


def obvious(body: bytes, content_type: str) -> list[tuple[str, str | None, bytes]]:
    """Read a body with the parser of e-mails."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    return [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


@given(st.lists(st.tuples(NAMES, st.tuples(NAMES, DATA)), min_size=1, max_size=6), st.dictionaries(NAMES, NAMES, max_size=4))
def test_parts_come_back_as_they_were_sent(files: list[tuple[str, tuple[str, bytes]]], fields: dict[str, str]) -> None:
    found = parts_of(*encoded(files, fields))
    sent = [Part(name, None, value.encode()) for name, value in fields.items()]
    sent += [Part(name, filename, data) for name, (filename, data) in files]
    assert list(found) == sent


@given(st.lists(st.binary(max_size=100).filter(lambda data: b"\r" not in data and b"\n" not in data), min_size=1, max_size=5))
def test_the_slow_parser_agrees(files: list[bytes]) -> None:
    body, content_type = encoded([(f"f{number}", (f"n{number}", data)) for number, data in enumerate(files)], {})
    found = [(part.name, part.filename, part.data) for part in parts_of(body, content_type)]
    assert found == obvious(body, content_type)


@given(st.binary(max_size=300))
def test_no_body_raises_anything_else(body: bytes) -> None:
    try:
        parts_of(body, "multipart/form-data; boundary=x")
        parts_of(b"--x\r\n" + body + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    except InputError:
        pass


def test_the_number_of_parts_is_limited() -> None:
    body, content_type = encoded([("f", ("n", b""))] * 6, {})
    assert len(parts_of(body, content_type, max_parts=6)) == 6
    with pytest.raises(BodyTooLargeError, match="more than 5 parts"):
        parts_of(body, content_type, max_parts=5)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 300}"]
)
def test_a_boundary_is_needed(kind: str) -> None:
    with pytest.raises(InputError):
        parts_of(b"--x\r\n\r\n--x--", kind)


@pytest.mark.parametrize(
    ("kind", "is_form"),
    [("multipart/form-data; boundary=x", True), ("Multipart/Form-Data", True), ("multipart/mixed", False), ("", False)],
)
def test_forms_are_told_from_other_bodies(kind: str, is_form: bool) -> None:
    assert is_multipart(kind) is is_form
