"""What is no picture, or too large a one, gives one clear error of the house's tree and allocates nothing."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from facesearch.core.errors import ImageDecodeError, ImageTooLargeError, InputError
from facesearch.core.image import Image
from facesearch.imaging.decode import DecodeLimits, decode_image
from facesearch.imaging.headers import declared_size, format_of

ROOT = Path(__file__).resolve().parents[3]

SMALL_BYTES = 1_000_000
"""More than any header needs, far less than a picture of 50,000×50,000 pixels."""


def encode(picture: PilImage.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def noise(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


# --- files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageDecodeError, match=r"nobody\.jpg: there is no such file"):
        decode_image(tmp_path / "nobody.jpg")


def test_a_directory_is_no_picture(tmp_path):
    with pytest.raises(ImageDecodeError, match="is a directory"):
        decode_image(tmp_path)


@pytest.mark.timeout(20)  # nobody ever writes into the pipe: opening it waits for good
def test_pipes_sockets_and_devices_are_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has an end at 108 characters
    os.mkfifo("pipe.jpg")
    Path("link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        for name, kind in (("pipe", "a named pipe"), ("link", "a named pipe"), ("socket", "a socket")):
            with pytest.raises(ImageDecodeError, match=rf"{name}\.jpg is {kind}, not a picture file"):
                decode_image(f"{name}.jpg")
    with pytest.raises(ImageDecodeError, match="/dev/zero is a device"):
        decode_image("/dev/zero")


def test_what_the_shell_holds_open_is_read_like_standard_input():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as stream:
        stream.write(encode(PilImage.fromarray(noise()), "PNG"))
        stream.close()
        assert decode_image(f"/dev/fd/{reading}").height == 40


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(ImageDecodeError, match=r"empty\.jpg is empty"):
        decode_image(path)
    with pytest.raises(ImageDecodeError, match="is empty"):
        decode_image(b"")


def test_text_named_jpg_is_called_text(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("Dear diary, today… this is no photograph.")
    with pytest.raises(ImageDecodeError, match=r"notes\.jpg is no picture: it holds text \('Dear diary"):
        decode_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_says_so(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    path.chmod(0)
    with pytest.raises(ImageDecodeError, match="no permission"):
        decode_image(path)


def test_permission_refused_while_reading_says_so():
    class Refused(io.RawIOBase):
        name = "secret.jpg"

        def read(self, size=-1):
            raise PermissionError(13, "Permission denied")

    with pytest.raises(ImageDecodeError, match=r"secret\.jpg: no permission"):
        decode_image(Refused())


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000, "/dev/null/photo.jpg"])
def test_paths_that_cannot_be_are_input_errors(path):
    with pytest.raises(ImageDecodeError):
        decode_image(path)


def test_a_file_opened_as_text_or_closed_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    with path.open() as stream, pytest.raises(ImageDecodeError, match="binary mode"):
        decode_image(stream)
    with pytest.raises(ImageDecodeError, match="closed file"):
        decode_image(stream)


@pytest.mark.parametrize("source", [None, 7, 3.5, ["a.jpg"], {"path": 1}])
def test_other_things_are_refused_with_what_is_expected(source):
    with pytest.raises(ImageDecodeError, match="a photograph is bytes, a path"):
        decode_image(source)


@pytest.mark.parametrize("text", ["a" * 511 + "é", "日本語" * 400, "<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_any_text_is_called_text(text):
    with pytest.raises(ImageDecodeError, match="it holds text"):
        decode_image(text.encode())


def test_a_telephones_heic_says_what_to_do():
    with pytest.raises(ImageDecodeError, match="HEIC photograph, which needs to be saved as JPEG"):
        decode_image(b"\0\0\0\x24ftypheic" + bytes(40))


def test_unknown_bytes_are_shown():
    with pytest.raises(ImageDecodeError, match="begins with the bytes 00 01 02"):
        decode_image(bytes(range(200)))
    with pytest.raises(ImageDecodeError, match="is no picture"):
        decode_image(b"\xff\xd8")


# --- truncated and damaged

FORMATS = {
    "baseline": ("JPEG", {"quality": 80}),
    "progressive": ("JPEG", {"quality": 80, "progressive": True}),
    "restarts": ("JPEG", {"quality": 80, "restart_marker_blocks": 2}),
    "grey": ("JPEG", {"quality": 80}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {"quality": 80}),
    "TIFF": ("TIFF", {}),
    "LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "BMP": ("BMP", {}),
    "PPM": ("PPM", {}),
    "GIF": ("GIF", {}),
    "AVIF": ("AVIF", {"quality": 80}),
}


def sample(name: str) -> bytes:
    kind, options = FORMATS[name]
    picture = PilImage.fromarray(noise())
    return encode(picture.convert("L") if name == "grey" else picture, kind, **options)


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_never_gives_half_a_picture(name):
    data = sample(name)
    whole = decode_image(data).pixels
    cuts = sorted({1, 2, 3, 11, 12, 30, *np.linspace(4, len(data) - 1, 80).astype(int).tolist()})
    refused = 0
    for cut in cuts:
        try:
            pixels = decode_image(data[:cut]).pixels
        except ImageDecodeError:
            refused += 1
            continue
        # Only what follows the pixels (PNG's end chunk, a GIF's trailer) may be missing.
        np.testing.assert_array_equal(pixels, whole, err_msg=f"{name} cut at {cut} of {len(data)}")
    assert refused >= len(cuts) - 3


def test_a_truncated_jpeg_says_truncated(tmp_path, astronaut):
    data = encode(PilImage.fromarray(astronaut), "JPEG", quality=90)
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageDecodeError, match=r"half\.jpg: the JPEG data are truncated"):
        decode_image(path)


def test_a_download_whose_tail_is_zeros_is_truncated(astronaut):
    data = encode(PilImage.fromarray(astronaut), "JPEG", quality=90)
    with pytest.raises(ImageDecodeError, match="truncated"):
        decode_image(data[:20_000] + bytes(len(data) - 20_000))


def test_a_lazy_pillow_picture_that_is_truncated_gives_the_same_error():
    data = sample("baseline")
    picture = PilImage.open(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(ImageDecodeError, match="truncated"):
        decode_image(picture)


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_give_a_picture_or_a_decode_error_and_nothing_else(name):
    data = sample(name)
    rng = np.random.default_rng(11)
    limits = DecodeLimits(max_pixels=1_000_000)
    outcomes = []
    for _ in range(150):
        damaged = bytearray(data)
        # Most formats keep what can break them in the first bytes.
        span = len(data) if rng.random() < 0.5 else min(120, len(data))
        for at in rng.integers(4, span, rng.integers(1, 4)):
            damaged[at] = rng.integers(0, 256)
        try:
            outcomes.append(decode_image(bytes(damaged), limits=limits))
        except (ImageDecodeError, ImageTooLargeError) as exc:
            outcomes.append(exc)
    assert len(outcomes) == 150
    assert any(isinstance(outcome, InputError) for outcome in outcomes) or name in ("BMP", "PPM", "grey")


@given(st.binary(max_size=300), st.sampled_from(sorted(FORMATS)), st.integers(4, 40))
@settings(max_examples=150, deadline=None)
def test_any_bytes_behind_a_signature_are_an_input_error_or_a_picture(tail, name, keep):
    data = _SAMPLES[name][:keep] + tail
    try:
        image = decode_image(data, limits=DecodeLimits(max_pixels=100_000))
    except InputError:
        return
    assert isinstance(image, Image)


_SAMPLES = {name: sample(name) for name in FORMATS}


def test_nothing_is_written_to_stderr(tmp_path):
    """In a process of its own: C libraries write past Python's ``sys.stderr``."""
    data = _SAMPLES["baseline"]
    damaged = bytearray(data)
    middle = len(data) * 2 // 3
    damaged[middle : middle + 20] = bytes(range(20))
    cases = [bytes(damaged), data[:-2] + b"abcdef" + data[-2:], data[:middle], _SAMPLES["LZW"][:900], _SAMPLES["PNG"][:900]]
    for number, case in enumerate(cases):
        (tmp_path / str(number)).write_bytes(case)
    code = (
        "import sys\n"
        "from facesearch.core.errors import ImageDecodeError\n"
        "from facesearch.imaging.decode import decode_image\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        decode_image(path); print('decoded')\n"
        "    except ImageDecodeError:\n"
        "        print('refused')\n"
    )
    paths = [str(tmp_path / str(number)) for number in range(len(cases))]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["decoded", "decoded", "refused", "refused", "refused"]
    assert done.stderr == ""


# --- too large


def png_header(width: int, height: int, *, chunks: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def resized_header(kind: str, size: int) -> bytes:
    """A small valid file whose header is changed to declare ``size × size`` pixels."""
    if kind == "PNG":
        return png_header(size, size)
    picture = PilImage.fromarray(noise())
    if kind == "JPEG":
        data = bytearray(encode(picture, "JPEG"))
        at = data.index(b"\xff\xc0")
        struct.pack_into(">HH", data, at + 5, size, size)
    elif kind == "GIF":
        data = bytearray(encode(picture, "GIF"))
        struct.pack_into("<HH", data, 6, size, size)
    elif kind == "BMP":
        data = bytearray(encode(picture, "BMP"))
        struct.pack_into("<ii", data, 18, size, size)
    elif kind == "TIFF":
        data = bytearray(encode(picture, "TIFF"))
        (ifd,) = struct.unpack_from("<I", data, 4)
        for entry in range(struct.unpack_from("<H", data, ifd)[0]):
            (tag,) = struct.unpack_from("<H", data, ifd + 2 + 12 * entry)
            if tag in (256, 257):
                struct.pack_into("<HII", data, ifd + 2 + 12 * entry + 2, 4, 1, size)
    else:
        data = bytearray(b"P6 %d %d 255\n" % (size, size))
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
def test_a_header_of_50000_by_50000_allocates_no_picture(kind):
    data = resized_header(kind, 50_000)
    decode_image(sample("baseline"))
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageTooLargeError, match="50000×50000 = 2,500,000,000 pixels, the limit is 100,000,000"):
                decode_image(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < SMALL_BYTES


def test_a_tiff_of_16_by_16_pixels_in_a_tile_of_20000_by_20000_is_refused():
    """A tile is decoded whole: with a gigabyte of zeros behind it this took a gigabyte for 256 pixels."""
    body = zlib.compress(bytes(256))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 20_000, 323: 20_000, 324: 8, 325: len(body)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = 8 + len(body) + len(body) % 2
    data = b"II*\0" + struct.pack("<I", start) + body.ljust(start - 8, b"\0") + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(ImageTooLargeError, match="a tile of the picture is 20000×20000"):
        decode_image(data)


def test_bombs_allocate_nothing_outside_python_either(tmp_path):
    """``tracemalloc`` does not see what C libraries allocate: the process's address space is bounded here instead."""
    gif = bytearray(resized_header("GIF", 60_000))
    animated = png_header(40_000, 40_000, chunks=struct.pack(">I", 8) + b"acTL" + struct.pack(">II", 2, 0) + bytes(4))
    webp = b"RIFF" + struct.pack("<I", 60) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\x00\x40\0" * 2 + bytes(40)
    for number, data in enumerate((bytes(gif), animated, webp)):
        (tmp_path / str(number)).write_bytes(data)
    code = (
        "import resource, sys\n"
        "from facesearch.core.errors import ImageTooLargeError\n"
        "from facesearch.imaging.decode import decode_image\n"
        "import PIL.GifImagePlugin, PIL.PngImagePlugin, PIL.WebPImagePlugin\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000,) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        decode_image(path); print('decoded')\n"
        "    except ImageTooLargeError:\n"
        "        print('too large')\n"
    )
    paths = [str(tmp_path / str(number)) for number in range(3)]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.split("\n")[:3] == ["too large"] * 3, done.stderr


def test_pillows_own_limit_neither_interferes_nor_warns(monkeypatch):
    """Ours allows more than Pillow's, which stays as the application set it."""
    monkeypatch.setattr(PilImage, "MAX_IMAGE_PIXELS", 100)
    for name in ("baseline", "progressive", "PNG", "GIF", "BMP", "PPM", "AVIF"):
        assert decode_image(_SAMPLES[name]).pixels.shape == noise().shape, name
    assert PilImage.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("name", ["TIFF", "LZW", "WebP"])
def test_where_pillow_insists_on_its_limit_nobody_is_warned(name, monkeypatch):
    """Pillow's TIFF and WebP readers ask for its limit by themselves and refuse at twice its value."""
    monkeypatch.setattr(PilImage, "MAX_IMAGE_PIXELS", 40 * 56 - 1)
    assert decode_image(_SAMPLES[name]).pixels.shape == noise().shape
    monkeypatch.setattr(PilImage, "MAX_IMAGE_PIXELS", 100)
    try:
        assert decode_image(_SAMPLES[name]).pixels.shape == noise().shape
    except ImageTooLargeError as exc:
        assert "MAX_IMAGE_PIXELS" in str(exc)  # noqa: PT017 -- older Pillow lets WebP pass


def test_the_limit_of_pixels_is_a_setting_and_inclusive():
    data = _SAMPLES["PNG"]
    assert decode_image(data, limits=DecodeLimits(max_pixels=40 * 56)).width == 56
    for source in (data, noise(), PilImage.fromarray(noise())):
        with pytest.raises(ImageTooLargeError, match=r"56×40 = 2,240 pixels, the limit is 2,239; .*max_image_pixels"):
            decode_image(source, limits=DecodeLimits(max_pixels=40 * 56 - 1))


def test_the_limit_of_bytes_holds_for_every_source(tmp_path):
    data = _SAMPLES["PNG"]
    path = tmp_path / "big.png"
    path.write_bytes(data)
    limits = DecodeLimits(max_bytes=len(data) - 1)
    for source in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        with pytest.raises(ImageTooLargeError, match=f"bytes, the limit is {len(data) - 1:,}; .*max_image_bytes"):
            decode_image(source, limits=limits)
    assert decode_image(path, limits=DecodeLimits(max_bytes=len(data))).width == 56


def test_an_endless_file_object_is_read_one_byte_past_the_limit():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            part = bytes(min(size, 4096))
            self.given += len(part)
            return part

    stream = Endless()
    with pytest.raises(ImageTooLargeError):
        decode_image(stream, limits=DecodeLimits(max_bytes=10_000))
    assert stream.given == 10_001


# --- arrays


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((8, 8, 3), np.nan), "NaN or infinity"),
        (np.full((8, 8, 3), np.inf, dtype=np.float32), "NaN or infinity"),
        (np.zeros((8, 8, 3), dtype=np.float32), "scale floats to 0–255"),
        (np.zeros((8, 8, 3), dtype=np.uint16), "not uint16"),
        (np.zeros((8, 8, 3), dtype=bool), "not bool"),
        (np.zeros((3, 8, 8), dtype=np.uint8), "channels last"),
        (np.zeros((8, 8, 2), dtype=np.uint8), r"\(8, 8, 2\)"),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), r"\(2, 8, 8, 3\)"),
        (np.zeros(8, dtype=np.uint8), r"\(8,\)"),
        (np.zeros((0, 8, 3), dtype=np.uint8), "no pixels"),
        (np.array(5, dtype=np.uint8), r"\(\)"),
        (np.array([["a"]]), "not <U1"),
    ],
)
def test_arrays_of_a_wrong_kind_say_what_is_expected(array, reason):
    with pytest.raises(ImageDecodeError, match=r"an array must be uint8 RGB of shape \(height, width, 3\)") as caught:
        decode_image(array)
    assert caught.match(reason)


# --- headers


def test_headers_say_format_and_size():
    picture = PilImage.fromarray(noise())
    for kind, options, name in (
        ("PNG", {}, "PNG"),
        ("GIF", {}, "GIF"),
        ("WEBP", {"lossless": True}, "WebP"),
        ("WEBP", {"quality": 50}, "WebP"),
        ("WEBP", {"quality": 50, "exif": b"Exif\0\0II*\0"}, "WebP"),
    ):
        data = encode(picture, kind, **options)
        assert format_of(data) == name
        assert declared_size(data) == (56, 40)
        assert all(declared_size(data[:cut]) in (None, (56, 40)) for cut in range(60))
    assert declared_size(_SAMPLES["baseline"]) is None
    assert format_of(b"%PDF-1.7") is None


def test_a_gif_frame_larger_than_its_screen_counts():
    data = bytearray(encode(PilImage.fromarray(noise()), "GIF"))
    struct.pack_into("<HH", data, 6, 1, 1)
    assert declared_size(bytes(data)) == (56, 40)
