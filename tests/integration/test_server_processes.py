"""The service as real processes: its end, its limits, several over one database, and what a killed one leaves behind."""

from __future__ import annotations

import json
import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from facesearch import FaceSearch
from facesearch.bootstrap import Parts
from facesearch.service.audit import AuditLog
from facesearch.settings import Settings
from tests.server_process import ServerProcess, enroll, identified, jpeg, verify

SMALL = slice(20, 260), slice(120, 360)
"""The astronaut's head in her photograph: a small one is quick."""

ROUNDS = 5
WITHIN_S = 1.0
"""Seconds from the answer to an enrolment through one process until another one finds the person."""


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray) -> np.ndarray:
    return astronaut[SMALL]


@pytest.fixture(scope="module")
def large(astronaut: np.ndarray) -> bytes:
    """A photograph that is worked on for a while."""
    return jpeg(np.tile(astronaut, (5, 5, 1)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    variables = {"FACESEARCH_SERVER_BODY_TIMEOUT_S": "0.5"}
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", variables=variables) as running:
        yield running.wait_until("/readyz")


def test_it_lives_is_ready_counts_and_logs_without_labels(server: ServerProcess, face: np.ndarray, hopper: np.ndarray) -> None:
    photo, other = jpeg(face), jpeg(hopper)
    with server.client() as client:
        assert client.get("/healthz").json()["status"] == "ok"
        assert client.get("/readyz").json() == {"ready": True, "model": "ready", "database": "ready", "index": "ready"}
        assert enroll(client, "Eileen Collins", photo).status_code == 201
        assert identified(client, photo) == ["Eileen Collins"]
        found = verify(client, photo, other).json()
        assert not found["is_match"]
        counts = client.get("/metrics").text
    assert 'facesearch_decisions_total{kind="verify",outcome="no_match"} 1.0' in counts
    assert 'facesearch_decisions_total{kind="identify",outcome="match"} 1.0' in counts
    assert "Collins" not in counts
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    asked = [line for line in lines if line["logger"] == "facesearch.request"]
    assert [line["route"] for line in asked if line["status"] == 200 and line["method"] == "POST"] == [
        "/v1/collections/{collection}/identify",
        "/v1/verify",
    ]
    assert all({"request_id", "route", "status", "ms", "key_id"} <= set(line) for line in asked)
    assert "Collins" not in server.log()
    assert f"{abs(found['score']):.4f}"[1:] not in server.log()


def test_a_body_that_does_not_come_is_not_waited_for(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = "POST /v1/verify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(f"{head}Content-Length: 5000\r\n\r\n--x\r\n".encode())
        answer = ""
        while '"code"' not in answer and (piece := connection.recv(65536)):
            answer += piece.decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert '"code":"slow_body"' in answer


def timed(client: httpx.Client, photo: bytes) -> tuple[list[str | None], float]:
    """Return who is on a photograph, and how many seconds it took to be told."""
    began = time.monotonic()
    return identified(client, photo), time.monotonic() - began


def test_a_person_enrolled_through_one_process_is_found_through_another_within_a_second(
    server: ServerProcess, face: np.ndarray, hopper: np.ndarray
) -> None:
    woman, man = jpeg(face), jpeg(hopper)
    found_s: list[float] = []
    with ServerProcess(server.folder, "--log-format", "text") as other, server.client() as here:
        other.wait_until("/readyz")
        with other.client() as there:
            searches = [timed(there, man) for _ in range(ROUNDS)]
            assert [who for who, _ in searches] == [[None]] * ROUNDS
            for number in range(ROUNDS):
                answer = enroll(here, f"Grace Hopper {number}", man)
                assert answer.status_code == 201
                who, took_s = timed(there, man)  # the very next search: whatever of the other process's was late would be missing
                assert who == [f"Grace Hopper {number}"]
                found_s.append(took_s)
                identity = answer.json()["identity"]["identity_id"]
                assert there.delete(f"/v1/collections/default/identities/{identity}").status_code in (200, 204)
                assert identified(here, man) == [None]
            assert set(identified(there, woman)) <= {"Eileen Collins", None}
            assert there.get("/readyz").json()["ready"]
    # A search alone takes seconds on a machine with other things to do, and that is not the promise's matter.
    search_s = statistics.median(took_s for _, took_s in searches)
    assert statistics.median(found_s) <= WITHIN_S + search_s, f"found after {found_s} s; a search alone takes {search_s:.2f} s"


def running(client: httpx.Client) -> float:
    """Return how many requests are worked on."""
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("facesearch_work_running ")).split()[1])


def test_a_full_queue_refuses_and_an_end_by_sigterm_finishes_what_was_begun(tmp_path: Path, face: np.ndarray, large: bytes) -> None:
    def detect() -> httpx.Response:
        return httpx.post(f"{server.url}/v1/detect", files={"photo": large}, timeout=120)

    with ServerProcess(tmp_path / "data", "--threads", "1", "--queue-limit", "1") as server, ThreadPoolExecutor(10) as pool:
        server.wait_until("/readyz")
        with server.client() as client:
            assert enroll(client, "Eileen Collins", jpeg(face)).status_code == 201
            assert identified(client, jpeg(face)) == ["Eileen Collins"]
            answers = [one.result(120) for one in [pool.submit(detect) for _ in range(10)]]
            refused = [one for one in answers if one.status_code == 503]
            assert len(refused) >= 1
            assert [one.status_code for one in answers if one not in refused] == [200] * (10 - len(refused))
            for one in refused:
                assert one.json()["code"] == "overloaded"
                assert int(one.headers["Retry-After"]) >= 1
            assert f"facesearch_work_refused_total {float(len(refused))}" in client.get("/metrics").text
            begun = pool.submit(detect)
            for _ in range(2000):
                if running(client):
                    break
            assert not begun.done()
        server.process.terminate()
        assert begun.result(120).status_code == 200
        assert server.process.wait(60) == 0, server.log()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url + "/healthz")
        assert list((tmp_path / "data" / "index").glob("*")), "no snapshot was saved"
        assert "Traceback" not in server.log()


class Load:
    """Clients that enroll and delete until the server is gone, and what it acknowledged."""

    def __init__(self, server: ServerProcess, photo: np.ndarray, first: int) -> None:
        self._server = server
        self._pixels = photo
        self._numbers = iter(range(first, first + 100_000))
        self._lock = threading.Lock()
        self.enrolled: set[str] = set()
        self.deleted: set[str] = set()
        self.n_asked = 0

    def run(self) -> None:
        with self._server.client() as client:
            try:
                while True:
                    self._one(client)
            except httpx.TransportError:
                return

    def _one(self, client: httpx.Client) -> None:
        with self._lock:
            number = next(self._numbers)
            self.n_asked += 1
        label = f"person {number}"
        answer = enroll(client, label, jpeg(self._pixels, label))
        if answer.status_code != 201:
            assert answer.status_code == 503, answer.text
            return
        with self._lock:
            self.enrolled.add(label)
        if number % 4:
            return
        identity = answer.json()["identity"]["identity_id"]
        with self._lock:
            self.enrolled.discard(label)  # from here on it may be there or not, until the deletion is acknowledged
        if client.delete(f"/v1/collections/default/identities/{identity}").is_success:
            with self._lock:
                self.deleted.add(label)


def check_what_is_left(folder: Path, loads: list[Load]) -> int:
    """Assert that nothing acknowledged is lost and nothing half-written; return how many people are there."""
    enrolled = set.union(*(load.enrolled for load in loads))
    deleted = set.union(*(load.deleted for load in loads))
    parts = Parts(Settings(data_dir=folder))
    report = AuditLog(parts.store, folder / "audit.key", folder / "audit.head").verify()
    assert report.is_sound, report.problem
    assert report.n_entries >= len(enrolled) + 2 * len(deleted)
    parts.store.close()
    with FaceSearch(folder) as faces:
        people = {person.label for person in faces.list()}
        assert enrolled <= people, f"acknowledged and lost: {sorted(enrolled - people)}"
        assert not deleted & people, f"deleted and back: {sorted(deleted & people)}"
        for label in people:
            assert len(faces.show(label).templates) == 1, f"{label} is half-written"
        (status,) = [one for one in faces.index_status() if one.collection == "default"]
        assert status.is_in_step
        assert status.n_indexed == len(people)
    return len(people)


def killed_rounds(folder: Path, face: np.ndarray, n_rounds: int) -> tuple[int, int]:
    """Kill a server under load so many times; return how much was asked and how much was acknowledged."""
    chance = random.Random(12)
    loads: list[Load] = []
    for number in range(n_rounds):
        with ServerProcess(folder, "--log-format", "text") as server:
            server.wait_until("/readyz")
            load = Load(server, face, number * 100_000)
            loads.append(load)
            with ThreadPoolExecutor(4) as pool:
                clients = [pool.submit(load.run) for _ in range(4)]
                deadline = time.monotonic() + 60
                while len(load.enrolled) < 8 and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(chance.uniform(0.0, 0.4))
                server.kill()
                for client in clients:
                    client.result(120)
        assert len(load.enrolled) >= 8
        check_what_is_left(folder, loads)
    return sum(load.n_asked for load in loads), sum(len(load.enrolled) + 2 * len(load.deleted) for load in loads)


def test_a_kill_under_load_loses_nothing_acknowledged(tmp_path: Path, face: np.ndarray) -> None:
    asked, acknowledged = killed_rounds(tmp_path / "data", face, 1)
    assert asked > 0
    assert acknowledged >= 8


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_under_load_lose_nothing_acknowledged(tmp_path: Path, face: np.ndarray) -> None:
    asked, acknowledged = killed_rounds(tmp_path / "data", face, 20)
    assert acknowledged >= 20 * 8
    print(f"20 kills: {asked} enrolments asked for, {acknowledged} changes acknowledged, none lost")


@pytest.mark.slow
def test_two_workers_behind_one_port_answer_alike_and_count_together(tmp_path: Path, face: np.ndarray) -> None:
    photo = jpeg(face)
    with ServerProcess(tmp_path / "data", "--workers", "2") as server:
        server.wait_until("/readyz")
        with server.client() as client:
            assert enroll(client, "Eileen Collins", photo).status_code == 201
        for _ in range(20):  # a connection each, so that either process answers some
            with server.client() as client:
                assert identified(client, photo) == ["Eileen Collins"]
        with server.client() as client:
            counts = client.get("/metrics").text
        assert 'facesearch_decisions_total{kind="identify",outcome="match"} 20.0' in counts
        warmed = [line for line in server.log().splitlines() if "warmed up" in line]
        assert len(warmed) == 2
        assert server.terminate() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url + "/healthz")
