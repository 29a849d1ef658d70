"""Hostile uploads: whatever is sent, the answer is a problem body, memory stays bounded and nothing touches the disk."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_world import Api

BOUNDARY = "b0undary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder: Path = tmp_path_factory.mktemp("uploads")
    made = Api(folder, max_body_bytes=6 * 2**20, body_memory_bytes=12 * 2**20, body_timeout_s=0.5, requests_per_minute=None)
    yield made
    made.close()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few kilobytes that says it is huge and whose rows unpack to gigabytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = packer.compress(bytes(4 * 2**20)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """Return a PNG whose text block unpacks to 100 megabytes."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    text = b"Comment\x00\x00" + zlib.compress(bytes(100 * 2**20), 9)
    rows = zlib.compress(b"".join(b"\x00" + bytes(24) for _ in range(8)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"zTXt", text) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def hostile(api: Api) -> dict[str, bytes]:
    good = api.networks.portrait_png("good", 1)
    return {
        "bomb of pixels": png_bomb(60_000, 60_000),
        "bomb within the pixels": png_bomb(1000, 1000)[:2000],
        "truncated": good[: len(good) // 2],
        "header only": good[:33],
        "one byte": b"\x89",
        "empty": b"",
        "a page": b"<!doctype html><script>alert(1)</script>",
        "a page after a picture's magic": b"GIF89a" + b"<script>alert(1)</script>" * 100,
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "zip": b"PK\x03\x04" + bytes(500),
        "pdf": b"%PDF-1.7\n" + bytes(500),
        "a path": b"/etc/passwd",
        "an address": b"http://169.254.169.254/latest/meta-data/",
        "a file address": b"file:///etc/passwd",
        "noise": os.urandom(10_000),
        "a video": b"\x00\x00\x00\x18ftypmp42" + bytes(500),
        "a playlist": b"#EXTM3U\nfile:///etc/passwd\n",
    }


NAMES = ("bomb of pixels", "bomb within the pixels", "truncated", "header only", "one byte", "empty", "a page", "svg", "zip", "pdf")
MORE = ("a page after a picture's magic", "a path", "an address", "a file address", "noise", "a video", "a playlist")


@pytest.mark.parametrize("name", [*NAMES, *MORE])
@pytest.mark.parametrize("kind", ["multipart", "json"])
def test_what_is_no_photograph_is_refused(api: Api, name: str, kind: str) -> None:
    data = hostile(api)[name]
    if kind == "multipart":
        answer = api.ask("POST", "/v1/detect", files={"photo": ("p.png", data, "image/png")})
    else:
        answer = api.ask("POST", "/v1/detect", json={"photo": base64.b64encode(data).decode()})
    assert answer.status_code in (413, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in ("image_undecodable", "image_too_large")
    assert "root:" not in answer.text


def test_a_bomb_takes_no_memory(api: Api) -> None:
    bombs = (png_bomb(60_000, 60_000), text_bomb())
    assert max(map(len, bombs)) < 200_000
    tracemalloc.start()
    try:
        for data in bombs:
            api.ask("POST", "/v1/detect", files={"photo": ("p.png", data)})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * 2**20


@pytest.mark.parametrize(
    "place",
    [
        *("/etc/passwd", "./p.jpg", "../p.jpg", "~/p.jpg", "C:\\p.jpg", "\\\\server\\p.jpg", "http://x/p.jpg", "https://x/p.jpg"),
        *(
            "file:///etc/passwd",
            "FILE:/etc/passwd",
            "ftp://x/p",
            "s3://x/p",
            "data:text/html;base64,PGI+",
            " /etc/passwd",
            "gopher://x",
        ),
    ],
)
def test_paths_and_addresses_are_not_followed(api: Api, place: str) -> None:
    in_json = api.ask("POST", "/v1/detect", json={"photo": place})
    in_form = api.ask("POST", "/v1/detect", content=form(("photo", None, place.encode())), headers=FORM)
    for answer in (in_json, in_form):
        assert answer.status_code == 422
        assert "not followed" in answer.json()["detail"]


def test_a_polyglot_is_a_picture_and_nothing_else(api: Api) -> None:
    page = b"<script>alert(1)</script>"
    data = api.networks.portrait_png("polyglot", 1) + page
    answer = api.ask("POST", "/v1/detect", files={"photo": ("p.html", data, "text/html")})
    assert answer.status_code == 200
    assert page.decode() not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def form(*parts: tuple[str, str | None, bytes], end: bytes = b"--") -> bytes:
    body = b""
    for name, filename, data in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}".encode() + end + b"\r\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(form(*[(f"f{n}", None, b"") for n in range(10_000)]), 413, id="10,000 tiny parts"),
        pytest.param(form(*[("photo", "p.png", b"x") for _ in range(65)]), 422, id="65 photographs for one"),
        pytest.param(form(("photo", "p.png", b"x"), end=b""), 422, id="no end"),
        pytest.param(form(("photo", "p.png" + "x" * 100_000, b"x")), 422, id="a huge header"),
        pytest.param(form(("photo", "p.png", b"x")).replace(b"\r\n\r\n", b"\r\nX: y" * 50 + b"\r\n\r\n", 1), 422, id="50 headers"),
        pytest.param(form(("photo", "p.png", b"x")).replace(b"Content-Disposition", b"X-Other"), 422, id="a part without a name"),
        pytest.param(b"", 422, id="nothing"),
        pytest.param(b"\r\n" * 50_000, 422, id="line ends"),
        pytest.param(b"--" * 200_000, 422, id="dashes"),
        pytest.param(form(("photo", "p\xff.png", b"x")).replace(b"\xc3\xbf", b"\xff"), 422, id="a name that is no UTF-8"),
        pytest.param(form(("unknown", None, b"x")), 422, id="an unknown field"),
        pytest.param(form(("roi", None, b"1,2,3")), 422, id="half a box"),
    ],
)
def test_a_damaged_form_is_refused(api: Api, body: bytes, status: int) -> None:
    answer = api.ask("POST", "/v1/detect", content=body, headers=FORM)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"[]", b"null", b'"x"', b"{}", b'{"photo": null}', b'{"photo": 7}', b'{"photo": ["x"]}', b'{"photo": "%%%"}'),
        *(b"[" * 100_000, b'{"photo": NaN}', b"\xff\xfe", b'{"photo": "", "roi": [1e999, 0, 1, 1]}'),
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_damaged_json_is_refused(api: Api, body: bytes) -> None:
    answer = api.ask("POST", "/v1/detect", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].startswith("urn:facesearch:error:")


@pytest.mark.parametrize(
    "kind", ["text/plain", "image/png", "application/x-www-form-urlencoded", "", "multipart/mixed; boundary=x"]
)
def test_other_bodies_are_of_no_type_that_is_read(api: Api, kind: str) -> None:
    answer = api.ask("POST", "/v1/detect", content=b"x", headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == 415


def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(api: Api) -> None:
    n_sent = 0

    async def unannounced():
        nonlocal n_sent
        for _ in range(100):
            n_sent += 1
            yield b"x" * 2**20

    announced = api.ask("POST", "/v1/detect", content=b"x" * (7 * 2**20), headers=FORM)
    chunked = api.ask("POST", "/v1/detect", content=unannounced(), headers=FORM)
    assert [announced.status_code, chunked.status_code] == [413, 413]
    assert announced.json()["code"] == chunked.json()["code"] == "body_too_large"
    assert n_sent <= 8, "reading stops at the limit"


def test_a_body_that_comes_too_slowly_is_given_up(api: Api) -> None:
    async def slow():
        for _ in range(20):
            yield b"x"
            await asyncio.sleep(0.2)

    answer = api.ask("POST", "/v1/detect", content=slow(), headers=FORM)
    assert answer.status_code == 408
    assert answer.json()["code"] == "slow_body"


def test_bodies_together_are_limited(api: Api) -> None:
    async def both() -> list[int]:
        async def held():
            yield b"x" * (5 * 2**20)
            await asyncio.sleep(0.3)

        async def one() -> int:
            headers = {**FORM, "Authorization": f"Bearer {key}", "Content-Length": str(5 * 2**20)}
            return (await api._client.post("/v1/detect", content=held(), headers=headers)).status_code

        return list(await asyncio.gather(*(one() for _ in range(4))))

    key = api.every
    answers = api.run(both())
    assert answers.count(503) == 2, "two of five megabytes fit into twelve"
    assert api.ask("POST", "/v1/detect", files={"photo": ("p.png", api.networks.portrait_png("good", 1))}).status_code == 200


def test_nothing_that_is_sent_touches_the_disk(api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: opened.append("file"))
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda self: opened.append("spool"))
    photo = api.networks.portrait_png("large", 1) + bytes(4 * 2**20)
    assert api.ask("POST", "/v1/detect", files={"photo": ("p.png", photo)}).status_code == 200
    assert api.ask("POST", "/v1/detect", json={"photo": base64.b64encode(photo[: 3 * 2**20]).decode()}).status_code == 200
    assert opened == []
    assert list(tmp_path.iterdir()) == []


def test_the_file_name_is_echoed_at_most_and_never_kept(api: Api) -> None:
    secret = "patient-4711.png"
    files = [("photo", (secret, api.networks.portrait_png("named", 6))), ("photo", (secret, b"broken"))]
    answer = api.ask("POST", "/v1/collections/default/identities", files=files, data={"label": "Named"})
    assert answer.status_code == 201
    assert [one["name"] for one in answer.json()["failures"]] == [secret]
    identity_id = answer.json()["identity"]["identity_id"]
    kept = api.ask("GET", f"/v1/collections/default/identities/{identity_id}/faces")
    assert secret not in kept.text
    database = b"".join(file.read_bytes() for file in api.world.folder.glob("gallery.db*"))
    assert secret.encode() not in database


def test_json_beside_the_document_is_refused(api: Api) -> None:
    body = {"photo": base64.b64encode(api.networks.portrait_png("good", 1)).decode(), "path": "/etc/passwd"}
    answer = api.ask("POST", "/v1/detect", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "path" in answer.json()["detail"]
