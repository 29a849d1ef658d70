"""Bulk enrolment from the client's side: a full memory is waited for, a file that was changed is told."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from facesearch.client import Client, Labelled, Retries, enroll_many
from facesearch.client.errors import JobMemoryFullError, MissingPhotographsError

JOB = {
    "job_id": "0" * 32,
    "kind": "enroll",
    "collection": "staff",
    "made_by": "k",
    "created_at": "2026-03-02T09:30:00+00:00",
    "updated_at": "2026-03-02T09:31:00+00:00",
    "n_items": 1,
    "n_failed": 0,
    "code": "",
    "message": "",
}


class Bulk:
    """A service with one job of one photograph, whose memory is full a few times."""

    def __init__(self, data: bytes, *, n_full: int = 0, **context: Any) -> None:
        self.digest = hashlib.sha256(data).hexdigest()
        self.n_full = n_full
        self.context = context
        self.n_sent = 0
        self.is_done = False

    def job(self) -> dict[str, Any]:
        return {
            **JOB,
            "state": "done" if self.is_done else "running",
            "n_waiting": int(not self.is_done),
            "n_done": int(self.is_done),
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path.endswith("/missing"):
            return httpx.Response(200, json={"items": [{"number": 0, "digest": self.digest}], "next_cursor": None})
        if request.method == "GET" or request.url.path == "/v1/jobs":
            return httpx.Response(200, json=self.job())
        self.n_sent += 1
        assert self.n_sent < 50
        if self.n_sent <= self.n_full:
            problem = {"code": "job_memory_full", "detail": "full", "context": self.context}
            return httpx.Response(429, json=problem, headers={"Retry-After": "1"} if self.context else {})
        self.is_done = hashlib.sha256(photo_in(request.content)).hexdigest() == self.digest
        answer = {"photos": [{"digest": self.digest, "receipt": "held"}], "n_free_bytes": 100, "job": self.job()}
        return httpx.Response(202, json=answer)


def photo_in(body: bytes) -> bytes:
    return body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0]


def client_of(service: Bulk) -> Client:
    return Client("http://service/", "k", transport=httpx.MockTransport(service), retries=Retries(max_retries=0))


def test_a_memory_that_others_fill_is_waited_for() -> None:
    service = Bulk(b"photograph", n_full=3, retry_after_s=1)
    assert enroll_many(client_of(service), "staff", [Labelled(b"photograph", "Ada")], poll_s=0.001).state == "done"
    assert service.n_sent == 4


def test_a_photograph_that_never_fits_is_told() -> None:
    service = Bulk(b"photograph", n_full=3)
    with pytest.raises(JobMemoryFullError):
        enroll_many(client_of(service), "staff", [Labelled(b"photograph", "Ada")], poll_s=0.001)


def test_a_file_that_was_changed_is_not_sent_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "ada.jpg"
    file.write_bytes(b"photograph")
    service = Bulk(b"photograph")
    with pytest.raises(MissingPhotographsError, match=r"ada\.jpg was changed"):
        enroll_many(client_of(service), "staff", [Labelled(file, "Ada")], on_progress=lambda _: file.write_bytes(b"another"))
    assert service.n_sent == 0
