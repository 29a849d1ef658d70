"""Fetching a model: from a server on this machine that behaves in every way servers do."""

from __future__ import annotations

import bz2
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from facesearch.core.errors import (
    CheckpointDigestError,
    FaceSearchError,
    FileWriteError,
    ModelFetchError,
    ModelLicenceError,
    ModelTakenError,
    UnknownEmbedderError,
)
from facesearch.embedding.adding import file_failures
from facesearch.embedding.fetch import Wanted, fetch
from facesearch.embedding.library import ModelLibrary
from facesearch.embedding.recipes import load_recipe, recipe_names, to_fetch
from facesearch.inference import create_engine

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does, and what was asked of it."""

    content: bytes = CONTENT
    kind: str = "application/octet-stream"
    status: int = 200
    stops_after: list[int] = field(default_factory=list)  # bytes of the first, second, … answer
    has_length: bool = True
    length: int | None = None
    knows_ranges: bool = True
    ranges: list[str | None] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
            if start >= len(server.content):
                self.send_error(416)
                return
            body = server.content[start:]
            self.send_response(206 if start else server.status)
            self.send_header("Content-Type", server.kind)
            if server.has_length:
                self.send_header("Content-Length", str(len(body) if server.length is None else server.length))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
            self.end_headers()
            self.wfile.write(body[: server.stops_after.pop(0)] if server.stops_after else body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    server.address = f"http://127.0.0.1:{http.server_port}/file"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def fetched(server: Server, folder: Path, **changes: object) -> Path:
    values = {"address": server.address, "sha256": SHA256, "file": "net.onnx", "n_bytes": len(CONTENT), **changes}
    return fetch(Wanted(**values), folder, writing=file_failures)


def test_a_file_arrives_whole_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(Server()) as server:
        path = fetch(
            Wanted(server.address, SHA256, "net.onnx", len(CONTENT)),
            tmp_path,
            advance=lambda done, of: told.append((done, of)),
            writing=file_failures,
        )
    assert path.read_bytes() == CONTENT
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_server_that_stops_half_way_is_asked_for_the_rest(tmp_path: Path) -> None:
    with serving(Server(stops_after=[100_000, 50_000])) as server:
        assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_that_keeps_stopping_is_given_up_and_the_next_try_goes_on(tmp_path: Path) -> None:
    with serving(Server(stops_after=[100_000, 0, 0, 0])) as server:
        with pytest.raises(ModelFetchError, match=r"stopped at 100000 of 1024000 bytes after 100000 bytes, which are kept"):
            fetched(server, tmp_path)
        assert len(server.ranges) == 3
        server.stops_after.clear()
        assert fetched(server, tmp_path).read_bytes() == CONTENT
        assert server.ranges[-1] == "bytes=100000-"


def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    with serving(Server(stops_after=[100_000], knows_ranges=False)) as server:
        assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / f"{SHA256}.part").write_bytes(CONTENT + b"more")
    with serving(Server()) as server:
        assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (Server(content=b"<html>Sign in</html>", kind="text/html; charset=utf-8"), "web page"),
        (Server(status=404), "answered 404"),
        (Server(content=CONTENT[:-1]), "offers 1023999 bytes, the published file has 1024000"),
        (Server(content=CONTENT + b"x", has_length=False), "more than the 1024000 bytes"),
    ],
    ids=["html", "404", "shorter", "longer"],
)
def test_what_is_not_the_file_is_refused_with_the_way_out(tmp_path: Path, server: Server, told: str) -> None:
    with serving(server), pytest.raises(ModelFetchError, match=told) as caught:
        fetched(server, tmp_path)
    for said in (server.address, SHA256, "facesearch models add FILE"):
        assert said in caught.value.message
    assert not (tmp_path / "net.onnx").exists()


def test_another_file_of_the_right_length_is_thrown_away(tmp_path: Path) -> None:
    with serving(Server(content=CONTENT[::-1])) as server, pytest.raises(CheckpointDigestError, match=SHA256):
        fetched(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_connection_at_all_is_one_clear_error(tmp_path: Path) -> None:
    with serving(Server()) as server:
        pass
    with pytest.raises(ModelFetchError, match="could not be fetched: no connection") as caught:
        fetched(server, tmp_path)
    for said in (server.address, SHA256, "facesearch models add FILE"):
        assert said in caught.value.message


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    with pytest.raises(ModelFetchError, match="http and https are"):
        fetch(Wanted(f"file://{tmp_path}/net.onnx", SHA256, "net.onnx"), tmp_path / "to", writing=file_failures)


def test_a_full_disk_is_said_and_nothing_is_taken_for_whole(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(Server()) as server:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
            with pytest.raises(FileWriteError, match="cannot be written"):
                fetched(server, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not (tmp_path / "net.onnx").exists()
        assert fetched(server, tmp_path).read_bytes() == CONTENT


def packed_zip(member: str = "pack/net.onnx", n: int = 1) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(n):
            archive.writestr(f"{place}/{member}", CONTENT)
        archive.writestr("other.onnx", b"other")
    return stream.getvalue()


@pytest.mark.parametrize(("content", "member"), [(packed_zip(), "net.onnx"), (bz2.compress(CONTENT), "bz2")], ids=["zip", "bz2"])
def test_a_packed_file_is_unpacked(tmp_path: Path, content: bytes, member: str) -> None:
    with serving(Server(content=content)) as server:
        assert fetched(server, tmp_path, member=member).read_bytes() == CONTENT
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize(
    ("content", "member", "error", "told"),
    [
        (packed_zip(), "absent.onnx", ModelFetchError, "0 files called absent.onnx"),
        (packed_zip(n=2), "net.onnx", ModelFetchError, "2 files called net.onnx"),
        (b"no archive", "net.onnx", ModelFetchError, "not the archive that was published"),
        (bz2.compress(CONTENT)[:-50], "bz2", ModelFetchError, "not the archive that was published"),
        (bz2.compress(bytes(50_000_000)), "bz2", CheckpointDigestError, SHA256),
    ],
    ids=["absent", "twice", "junk", "cut", "bomb"],
)
def test_archives_that_hold_something_else(tmp_path: Path, content, member, error, told) -> None:
    with serving(Server(content=content)) as server, pytest.raises(error, match=told):
        fetched(server, tmp_path, member=member)
    assert not (tmp_path / "net.onnx").exists()


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models", lambda: create_engine(threads=1))


def refusals(library: ModelLibrary, address: str) -> Iterator[tuple[Callable[[], object], type[FaceSearchError], str]]:
    yield lambda: library.fetch("w600k_mbf", address=address), ModelLicenceError, "non-commercial research.*--accept-licence"
    yield lambda: library.fetch("nobody"), UnknownEmbedderError, "no recipe 'nobody', only dlib"
    yield lambda: library.fetch("sface", "mobilenet-128", address=address), ModelTakenError, "'mobilenet-128' is taken"
    yield lambda: library.fetch("facenet-vggface2"), ModelFetchError, "never published.*models add FILE --recipe facenet-vggface2"


def test_what_cannot_be_added_is_not_downloaded(library: ModelLibrary) -> None:
    with serving(Server()) as server:
        cases = list(refusals(library, server.address))
        assert len(cases) == 4
        for call, error, told in cases:
            with pytest.raises(error, match=told):
                call()
    assert server.ranges == []
    assert not library.folder.exists()


def test_a_file_is_fetched_by_one_at_a_time(library: ModelLibrary) -> None:
    def try_again_meanwhile(_done: int, _of: int | None) -> None:
        with pytest.raises(ModelFetchError, match=r"sface_2021dec\.onnx is being fetched into .* already: wait"):
            library.fetch("sface", address=server.address)
        tried.append(True)
        raise KeyboardInterrupt

    tried: list[bool] = []
    with serving(Server(has_length=False)) as server:
        with pytest.raises(KeyboardInterrupt):
            library.fetch("sface", address=server.address, advance=try_again_meanwhile)
        assert tried == [True]
        assert len(server.ranges) == 1, "nobody asked the server meanwhile"
        with pytest.raises(ModelFetchError, match="the server stopped at 1024000 of 38696353"):
            library.fetch("sface", address=server.address)


def test_a_file_that_is_too_short_on_a_server_that_does_not_say_so_is_given_up(tmp_path: Path) -> None:
    with serving(Server(has_length=False)) as server:
        wanted = Wanted(server.address, SHA256, "net.onnx", len(CONTENT) + 1)
        with pytest.raises(ModelFetchError, match="the server stopped at 1024000 of 1024001"):
            fetch(wanted, tmp_path, writing=file_failures)
    assert server.ranges == [None, "bytes=1024000-", None]


def test_a_fetch_that_fails_adds_nothing(library: ModelLibrary) -> None:
    with serving(Server()) as server, pytest.raises(ModelFetchError, match="the published file has 38696353"):
        library.fetch("sface", address=server.address)
    assert [card.name for card in library.list()] == ["mobilenet-128"]


def test_every_recipe_is_complete() -> None:
    names = recipe_names()
    assert names == ("dlib", "facenet-casia-webface", "facenet-vggface2", "glintr100", "sface", "w600k_mbf", "w600k_r50")
    for name in names:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.licence
        assert len(recipe.licence_terms) > 40
        for file in recipe.files:
            assert file.sha256 is None or len(file.sha256) == 64
            assert file.description.missing() == []
            assert file.description.crop(None).crop_px in (112, 150, 160)
    digests = [file.sha256 for name in names for file in load_recipe(name).files if file.sha256]
    assert len(set(digests)) == len(digests) == 6


@pytest.mark.parametrize("name", ["sface", "w600k_mbf", "w600k_r50", "glintr100", "dlib"])
def test_a_recipe_with_a_digest_knows_where_its_file_is(name: str) -> None:
    wanted = to_fetch(load_recipe(name), None)
    assert wanted.address.startswith("https://")
    assert wanted.n_bytes is not None
    mirror = to_fetch(load_recipe(name), "http://127.0.0.1/plain")
    assert (mirror.address, mirror.member, mirror.sha256) == ("http://127.0.0.1/plain", None, wanted.sha256)
