"""Twenty thousand requests of every kind leave the service as large as it was."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.load import ask, multipart, request
from tests.server_process import ServerProcess, enroll, identified, jpeg

N_REQUESTS = 20_000
N_WARM = 3_000
"""After so many, every thread has its buffers and every cache is full."""

GROWTH_MB = 30.0
"""Less than 2 kB a request: a photograph that stayed would be a hundred times that."""


def mixed(photo: bytes, other: bytes) -> list[bytes]:
    """Return a round of requests: mostly decisions, some of which are refused."""
    two, two_body = multipart({"face_a": "largest", "face_b": "largest"}, [("photo_a", photo), ("photo_b", other)])
    one, one_body = multipart({}, [("photo", photo)])
    broken, broken_body = multipart({}, [("photo", photo[: len(photo) // 3])])
    verify = request("POST", "/v1/verify", {"Content-Type": two}, two_body)
    identify = request("POST", "/v1/collections/default/identify", {"Content-Type": one}, one_body)
    detect = request("POST", "/v1/detect", {"Content-Type": one}, one_body)
    return [
        verify,
        identify,
        detect,
        identify,
        request("GET", "/v1/collections/default/identities?limit=10", {}),
        request("POST", "/v1/detect", {"Content-Type": broken}, broken_body),
        request("POST", "/v1/verify", {"Content-Type": "application/json"}, b'{"photo_a": "file:///etc/passwd"}'),
        request("GET", "/v1/nowhere", {}),
        request("GET", "/metrics", {}),
    ]


def come_and_go(server: ServerProcess, photo: np.ndarray, stop: threading.Event, done: list[int]) -> None:
    """Enroll people and erase them again, one after the other."""
    with server.client() as client:
        while not stop.is_set():
            answer = enroll(client, f"guest {len(done)}", jpeg(photo, f"guest {len(done)}"))
            if answer.status_code != 201:
                continue
            identity = answer.json()["identity"]["identity_id"]
            erase = "true" if len(done) % 50 == 0 else "false"
            assert client.delete(f"/v1/collections/default/identities/{identity}", params={"erase": erase}).is_success
            done.append(identity)
            stop.wait(0.05)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_stays_flat_over_twenty_thousand_requests(
    tmp_path: Path, astronaut: np.ndarray, hopper: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    head, other = astronaut[40:200, 150:310], hopper[80:440:2, 130:430:2]
    with ServerProcess(tmp_path / "data", "--log-format", "text", "--queue-limit", "64") as server:
        server.wait_until("/readyz")
        with server.client() as client:
            assert enroll(client, "Eileen Collins", jpeg(head)).status_code == 201
            assert enroll(client, "Grace Hopper", jpeg(other)).status_code == 201
        requests = mixed(jpeg(head), jpeg(other))
        stop, guests = threading.Event(), []
        guest = threading.Thread(target=come_and_go, args=(server, head, stop, guests))
        guest.start()
        try:
            warm = ask(server.port, requests, clients=8, n=N_WARM)
            sizes = [server.resident_mb()]
            statuses = warm.statuses
            while sum(statuses.values()) < N_REQUESTS:
                statuses += ask(server.port, requests, clients=8, n=2_000).statuses
                sizes.append(server.resident_mb())
        finally:
            stop.set()
            guest.join(60)
        n_asked = sum(statuses.values()) + 2 * len(guests)
        with capsys.disabled():
            told = ", ".join(f"{size:.0f}" for size in sizes)
            print(f"\n{n_asked} requests, statuses {dict(sorted(statuses.items()))}, {len(guests)} people came and went: {told} MB")
        assert n_asked >= N_REQUESTS
        assert set(statuses) <= {200, 404, 422, 503}
        assert statuses[200] >= 0.6 * N_REQUESTS
        assert len(guests) >= 50
        assert max(sizes[1:]) - sizes[0] < GROWTH_MB
        with server.client() as client:
            assert identified(client, jpeg(other)) == ["Grace Hopper"]
            found = client.get("/v1/collections/default/identities").json()["items"]
            assert {one["label"] for one in found} == {"Eileen Collins", "Grace Hopper"}
            assert client.get("/readyz").json()["ready"]
        assert server.terminate() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url + "/healthz")
