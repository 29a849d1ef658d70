"""Every kind of bad input: a clear error of the house's tree, and nothing lost or half done."""

from __future__ import annotations

import io
import os
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch import FaceSearch, FaceSearchError
from facesearch.core import errors
from facesearch.embedding.registry import SHIPPED_MODELS
from tests.conftest import ROOT


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    PilImage.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")


@pytest.fixture
def with_ada(faces: FaceSearch, astronaut) -> FaceSearch:
    faces.enroll(astronaut, "Ada")
    return faces


def unharmed(faces: FaceSearch) -> bool:
    return [(one.n_identities, one.n_templates) for one in faces.collections()] == [(1, 1)]


def bad_pictures(folder: Path, astronaut: np.ndarray, cat: np.ndarray) -> dict[str, tuple[object, type[FaceSearchError], str]]:
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    jpeg = encoded(astronaut, "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    small = np.asarray(PilImage.fromarray(astronaut).resize((48, 48)))
    decode, none = errors.ImageDecodeError, errors.NoFaceError
    return {
        "missing file": (folder / "missing.jpg", decode, "missing.jpg"),
        "directory": (folder, decode, "folder|directory"),
        "empty file": (folder / "empty.jpg", decode, "empty"),
        "text": (folder / "text.jpg", decode, "no picture"),
        "truncated": (folder / "cut.jpg", decode, "truncated"),
        "bomb": (png_header(50_000, 50_000), errors.ImageTooLargeError, "50,?000"),
        "one pixel": (np.zeros((1, 1, 3), np.uint8), none, "1×1"),
        "animated gif": (
            encoded(cat, "GIF", save_all=True, append_images=[PilImage.fromarray(cat[::-1])]),
            none,
            "no face",
        ),
        "cat": (cat, none, "no face"),
        "face below the limit": (small, none, "at least 20 pixels"),
        "two faces": (np.hstack([astronaut, astronaut]), errors.SeveralFacesError, "2 faces"),
        "float array": (astronaut / 255.0, decode, "uint8"),
        "nan array": (np.full((9, 9, 3), np.nan), decode, "uint8"),
        "wrong shape": (np.zeros((9, 9, 7), np.uint8), decode, "9, 9, 7"),
        "none": (None, decode, "not None"),
        "number": (7, decode, "int"),
    }


NAMES = [
    "missing file", "directory", "empty file", "text", "truncated", "bomb", "one pixel", "animated gif", "cat",
    "face below the limit", "two faces", "float array", "nan array", "wrong shape", "none", "number",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bad_pictures(with_ada: FaceSearch, astronaut, cat, tmp_path: Path, name: str):
    pictures = bad_pictures(tmp_path, astronaut, cat)
    assert sorted(pictures) == sorted(NAMES)
    source, kind, pattern = pictures[name]
    for act in (
        lambda: with_ada.enroll(source, "Eve"),
        lambda: with_ada.verify(source, astronaut),
        lambda: with_ada.verify(astronaut, source),
    ):
        with pytest.raises(kind, match=pattern) as caught:
            act()
        assert caught.value.exit_code == 2
    assert unharmed(with_ada)


@pytest.mark.parametrize("name", ["cmyk", "16-bit", "grey", "palette", "rgba", "exif 6"])
def test_unusual_pictures_are_read(with_ada: FaceSearch, astronaut, name: str):
    picture = PilImage.fromarray(astronaut)
    stream = io.BytesIO()
    if name == "cmyk":
        picture.convert("CMYK").save(stream, "JPEG", quality=95)
    elif name == "16-bit":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        PilImage.fromarray(grey).save(stream, "PNG")
    elif name == "grey":
        picture.convert("L").save(stream, "PNG")
    elif name == "palette":
        picture.quantize(256).save(stream, "PNG")
    elif name == "rgba":
        picture.convert("RGBA").save(stream, "PNG")
    else:
        exif = PilImage.Exif()
        exif[0x0112] = 6  # to be turned by 90° clockwise to stand upright
        picture.transpose(PilImage.Transpose.ROTATE_90).save(stream, "JPEG", quality=95, exif=exif)
    answer = with_ada.identify(stream.getvalue())[0]
    assert (answer.label, answer.candidates[0].score > 0.8) == ("Ada", True)


@pytest.mark.parametrize(
    ("act", "kind", "exit_code"),
    [
        (lambda f, p: f.enroll(p, ""), errors.LabelError, 2),
        (lambda f, p: f.enroll(p, "x" * 10_000), errors.LabelError, 2),
        (lambda f, p: f.enroll(p, "a\0b"), errors.LabelError, 2),
        (lambda f, p: f.show("Eve"), errors.UnknownIdentityError, 3),
        (lambda f, p: f.verify_identity(p, "Eve"), errors.UnknownIdentityError, 3),
        (lambda f, p: f.remove("Eve"), errors.UnknownIdentityError, 3),
        (lambda f, p: f.enroll(p[:, ::-1].copy(), "Ada", new=True), errors.LabelTakenError, 3),
        (lambda f, p: f.enroll(p, "Ada"), errors.DuplicateTemplateError, 3),
        (lambda f, p: f.enroll(p[:, ::-1].copy(), "Eve"), errors.DuplicatePersonError, 3),
        (lambda f, p: f.identify(p, collection="nowhere"), errors.UnknownCollectionError, 3),
    ],
)
def test_bad_labels_and_names(with_ada: FaceSearch, astronaut, act, kind: type[FaceSearchError], exit_code: int):
    with pytest.raises(kind) as caught:
        act(with_ada, astronaut)
    assert caught.value.exit_code == exit_code
    assert unharmed(with_ada)


@pytest.mark.parametrize("label", ["a/b", "Ada 👩🏽‍🚀", "..", "%s{0}$(x)"])
def test_odd_labels_are_labels(faces: FaceSearch, astronaut, label: str):
    faces.enroll(astronaut, label)
    assert faces.identify(astronaut)[0].label == label


def test_another_person_under_a_label(with_ada: FaceSearch, hopper):
    with pytest.raises(errors.IdentityMismatchError):
        with_ada.enroll(hopper, "Ada")
    assert unharmed(with_ada)


def test_a_gallery_of_another_embedder(with_ada: FaceSearch, astronaut, network_cache: Path):
    with FaceSearch(with_ada.settings.data_dir, cache_dir=network_cache, flip_average=True) as flipped:
        with pytest.raises(errors.IncompatibleTemplatesError, match=r"mobilenet-128@\w{12}, this process runs .*\+flip"):
            flipped.identify(astronaut)
        with pytest.raises(errors.IncompatibleTemplatesError):
            flipped.compare(flipped.template(astronaut), with_ada.template(astronaut))
    assert unharmed(with_ada)


def test_a_corrupted_checkpoint(tmp_path: Path, network_cache: Path, astronaut):
    from facesearch.bootstrap import Parts
    from facesearch.embedding.embedder import create_embedder

    models = tmp_path / "models"
    shutil.copytree(SHIPPED_MODELS, models)
    weights = models / "mobilenet-128.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with FaceSearch(tmp_path / "data", cache_dir=network_cache) as faces, pytest.raises(errors.CheckpointDigestError) as caught:
        create_embedder("mobilenet-128", Parts(faces.settings).engine, models_folder=models)
    assert caught.value.exit_code == 5


def test_an_unknown_embedder(tmp_path: Path):
    with pytest.raises(errors.UnknownEmbedderError, match="mobilenet-128"):
        FaceSearch(tmp_path, embedder="resnet-9000")


def test_a_database_of_a_newer_schema(with_ada: FaceSearch, network_cache: Path):
    folder = with_ada.settings.data_dir
    with_ada.close()
    with sqlite3.connect(folder / "facesearch.db") as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    with FaceSearch(folder, cache_dir=network_cache) as newer, pytest.raises(errors.SchemaVersionError, match="newer") as caught:
        newer.list()
    assert caught.value.exit_code == 6


def test_a_database_that_is_none(tmp_path: Path):
    (tmp_path / "facesearch.db").write_text("not a database, but long enough to look like a file of some kind " * 40)
    with FaceSearch(tmp_path) as faces, pytest.raises(errors.StoreError):
        faces.list()


WITHOUT_PRIVILEGE = textwrap.dedent(
    """
    import sys
    from facesearch import FaceSearch
    from facesearch.core.errors import FaceSearchError
    try:
        with FaceSearch(sys.argv[1], cache_dir=sys.argv[2]) as faces:
            print(faces.enroll(sys.argv[3], "Eve").identity.label)
    except FaceSearchError as exc:
        print(exc.code, exc.message)
    """
)


def run_without_privilege(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run as a user whom permissions bind: root may write anywhere unless it gives that capability up."""
    command = [sys.executable, "-c", WITHOUT_PRIVILEGE, *map(str, arguments)]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write anywhere, and setpriv (util-linux) is not there to give that up")
        command = [setpriv, "--bounding-set=-dac_override", "--inh-caps=-dac_override", *command]
    return subprocess.run(
        command, cwd="/", env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )


def test_a_read_only_folder(tmp_path: Path, network_cache: Path, astronaut, faces: FaceSearch):
    faces.template(astronaut)  # fills the cache of networks
    photo = tmp_path / "astronaut.png"
    photo.write_bytes(encoded(astronaut))
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    done = run_without_privilege(locked, network_cache, photo)
    assert done.stdout.startswith("store_error"), done.stdout + done.stderr
    assert str(locked) in done.stdout
    assert list(locked.iterdir()) == []


def test_a_read_only_cache_is_no_obstacle(tmp_path: Path, astronaut):
    photo = tmp_path / "astronaut.png"
    photo.write_bytes(encoded(astronaut))
    data, cache = tmp_path / "open", tmp_path / "cache"
    data.mkdir()
    cache.mkdir()
    cache.chmod(0o555)
    done = run_without_privilege(data, cache, photo)
    assert done.stdout == "Eve\n", done.stdout + done.stderr
    assert done.stderr.count("\n") <= 1, done.stderr
    assert list(cache.iterdir()) == []


FULL = textwrap.dedent(
    """
    import resource, signal, sys
    from facesearch import FaceSearch
    from facesearch.core.errors import FaceSearchError

    with FaceSearch(sys.argv[1], cache_dir=sys.argv[2]) as faces:
        faces.list()
        faces.template(sys.argv[3])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails like one on a full disk
        limit = int(sys.argv[4])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        for act in (lambda: faces.enroll(sys.argv[3], "Eve", keep="photo"), lambda: faces.export_collection(sys.argv[5])):
            try:
                act()
                print("done")
            except FaceSearchError as exc:
                print(exc.code, exc.exit_code)
    """
)


def test_a_full_disk(with_ada: FaceSearch, tmp_path: Path, network_cache: Path, hopper):
    photo = tmp_path / "hopper.png"
    photo.write_bytes(encoded(hopper))
    data = with_ada.settings.data_dir
    with_ada.close()
    target = tmp_path / "export.facesearch"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(data), str(network_cache), str(photo), "1000", str(target)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == ["store_error 6", "file_write 6"], done.stdout + done.stderr
    assert not target.exists()
    with FaceSearch(data, cache_dir=network_cache) as again:
        assert unharmed(again)


def test_the_limit_on_bytes_is_a_setting(tmp_path: Path, network_cache: Path, astronaut):
    with (
        FaceSearch(tmp_path, cache_dir=network_cache, max_image_bytes=1000) as faces,
        pytest.raises(errors.ImageTooLargeError, match=r"1,?000"),
    ):
        faces.detect(encoded(astronaut))


def test_a_bomb_allocates_nothing(faces: FaceSearch):
    faces.detect(np.zeros((64, 64, 3), np.uint8))  # loads the networks first
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.ImageTooLargeError):
        faces.detect(png_header(50_000, 50_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kB; the picture would take 7.5 GB
