"""A real ``facesearch serve`` in a process of its own, and clients that ask it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from PIL import Image as PilImage

ROOT = Path(__file__).resolve().parents[1]
RUN = "from facesearch.cli.main import run; run()"
START_S = 600.0
"""A busy machine must not turn a slow start into a failure; how long it takes is the benchmark's matter."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def jpeg(pixels: np.ndarray, comment: str = "") -> bytes:
    """Return a photograph; a comment makes another file, with another digest, of the same pixels."""
    stream = BytesIO()
    PilImage.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", quality=92)
    data = stream.getvalue()
    if not comment:
        return data
    text = comment.encode()
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


class ServerProcess:
    """``facesearch serve`` over a data folder, without keys.

    Args:
        folder: Its data folder.
        options: Of the command line.
        variables: Of its environment, beside those of this process that do not set facesearch up.
    """

    def __init__(self, folder: Path, *options: str, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FACESEARCH_", "PROMETHEUS_"))}
        kept |= {"FACESEARCH_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT), **(variables or {})}
        self._log_file = (folder / f"server-{self.port}.log").open("wb+")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error::ResourceWarning",
                "-c",
                RUN,
                "serve",
                "--port",
                str(self.port),
                "--keys",
                "off",
                *options,
            ],
            cwd=folder,
            env=kept,
            stdout=self._log_file,
            stderr=self._log_file,
        )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_until(self, path: str = "/healthz") -> ServerProcess:
        """Wait for a 200."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            try:
                if httpx.get(self.url + path, timeout=60).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"no 200 of {path} within {START_S} s: {self.log()}")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)

    def log(self) -> str:
        self._log_file.flush()
        return Path(self._log_file.name).read_text(encoding="utf-8", errors="replace")

    def terminate(self) -> int:
        """End it by SIGTERM and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_S)

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log_file.close()

    def resident_mb(self) -> float:
        statm = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def enroll(client: httpx.Client, label: str, photo: bytes, collection: str = "default") -> httpx.Response:
    """Ask for an enrolment that is refused for nothing but a broken server."""
    return client.post(
        f"/v1/collections/{collection}/identities",
        data={"label": label, "face": "largest", "allow_duplicate": "true", "allow_mismatch": "true"},
        files={"photo": ("photo.jpg", photo, "image/jpeg")},
    )


def identified(client: httpx.Client, photo: bytes, collection: str = "default") -> list[str | None]:
    """Return the labels of a photograph's faces."""
    answer = client.post(f"/v1/collections/{collection}/identify", files={"photo": ("photo.jpg", photo, "image/jpeg")})
    assert answer.status_code == 200, answer.text
    return [face["label"] for face in answer.json()["faces"]]


def verify(client: httpx.Client, a: bytes, b: bytes) -> httpx.Response:
    files = {"photo_a": ("a.jpg", a, "image/jpeg"), "photo_b": ("b.jpg", b, "image/jpeg")}
    return client.post("/v1/verify", data={"face_a": "largest", "face_b": "largest"}, files=files)
