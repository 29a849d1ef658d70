"""Every kind of picture that is sound becomes upright RGB uint8 with the right colours."""

from __future__ import annotations

import hashlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageOps

from facesearch.core.arrays import array_digest
from facesearch.core.errors import ImageDecodeError, ImageTooLargeError
from facesearch.core.image import Image
from facesearch.imaging.decode import DecodeLimits, decode_image, encoded_bytes, read_source

LOSSY = 24
"""Largest mean difference, in grey levels, of a small random-block picture after JPEG or WebP."""


def encode(picture: PilImage.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def blocks(width: int = 48, height: int = 32) -> np.ndarray:
    """Colourful 8×8 blocks: no symmetry, and JPEG keeps them."""
    rng = np.random.default_rng(5)
    return np.kron(rng.integers(0, 256, (height // 8, width // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {"irreversible": False}),
    ],
)
def test_lossless_formats_keep_every_pixel(kind, options):
    image = decode_image(encode(PilImage.fromarray(blocks()), kind, **options))
    assert image.pixels.dtype == np.uint8
    assert not image.pixels.flags.writeable
    np.testing.assert_array_equal(image.pixels, blocks())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("JPEG", {"quality": 95, "subsampling": 0, "restart_marker_rows": 1}),
        ("WEBP", {"quality": 95}),
        ("AVIF", {"quality": 95}),
    ],
)
def test_lossy_formats_keep_the_picture(kind, options):
    image = decode_image(encode(PilImage.fromarray(blocks()), kind, **options))
    assert mean_difference(image.pixels, blocks()) < LOSSY
    swapped = blocks()[:, :, ::-1]
    assert mean_difference(image.pixels, swapped) > 2 * LOSSY


def test_a_jpeg_has_the_very_pixels_that_pillow_gives(astronaut):
    data = encode(PilImage.fromarray(np.tile(astronaut, (2, 3, 1))), "JPEG", quality=90)
    expected = np.asarray(PilImage.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(data).pixels, expected)


# --- modes


def test_grey_is_the_same_in_all_three_channels():
    grey = blocks()[:, :, 0]
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100})):
        pixels = decode_image(encode(PilImage.fromarray(grey), kind, **options)).pixels
        assert pixels.shape == (*grey.shape, 3)
        assert np.ptp(pixels, axis=2).max() == 0
        assert mean_difference(pixels[:, :, 0], grey) < 2


def test_one_bit_is_black_and_white():
    bits = PilImage.fromarray(blocks()[:, :, 0] > 127)
    pixels = decode_image(encode(bits, "PNG")).pixels
    np.testing.assert_array_equal(pixels[:, :, 0], np.where(blocks()[:, :, 0] > 127, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparency_is_laid_over_white(mode, kind):
    picture = PilImage.fromarray(np.zeros((4, 6, 4), dtype=np.uint8)).convert(mode)
    alpha = PilImage.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 3, 4))
    alpha.putpixel((5, 3), 128)
    picture.putalpha(alpha)
    pixels = decode_image(encode(picture, kind)).pixels
    assert (pixels[:, :3] == 255).all()
    assert (pixels[:3, 3:] == 0).all()
    assert (pixels[3, 5] == 127).all()


def test_a_palette_keeps_its_colours_and_its_transparency():
    picture = PilImage.new("P", (4, 2), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((0, 0), 0)
    opaque = decode_image(encode(picture, "PNG")).pixels
    assert opaque[0, 0].tolist() == [10, 20, 30]
    assert opaque[1, 3].tolist() == [200, 100, 50]
    see_through = decode_image(encode(picture, "PNG", transparency=0)).pixels
    assert see_through[0, 0].tolist() == [255, 255, 255]
    assert see_through[1, 3].tolist() == [200, 100, 50]
    by_entry = decode_image(encode(picture, "PNG", transparency=bytes([0, 255]))).pixels
    assert by_entry[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bit_grey_is_scaled_not_cut_off():
    ramp = np.linspace(0, 65535, 256 * 8).astype(np.uint16).reshape(8, 256)
    expected = np.round(ramp / 257.0)
    for kind in ("PNG", "TIFF", "PPM"):
        pixels = decode_image(encode(PilImage.fromarray(ramp), kind)).pixels
        assert np.abs(pixels[:, :, 1] - expected).max() <= 1, kind
        assert pixels.max() == 255
        assert len(np.unique(pixels)) > 250


def test_sixteen_bit_rgb_is_scaled_not_cut_off():
    import cv2

    rng = np.random.default_rng(0)
    wide = rng.integers(0, 65536, (8, 16, 3), dtype=np.uint16)
    ok, data = cv2.imencode(".png", wide[:, :, ::-1])
    assert ok
    assert np.abs(decode_image(data.tobytes()).pixels - wide / 257.0).max() <= 1.01


def test_cmyk_jpegs_are_not_inverted():
    flat = PilImage.new("RGB", (16, 16), (200, 60, 40)).convert("CMYK")
    data = encode(flat, "JPEG", quality=95)
    assert b"Adobe" in data  # Pillow writes CMYK inverted, as Photoshop does
    assert np.abs(decode_image(data).pixels.astype(int) - (200, 60, 40)).max() < 12
    assert np.abs(decode_image(encode(flat, "TIFF")).pixels.astype(int) - (200, 60, 40)).max() < 12


def test_lab_and_ycbcr_tiffs_become_rgb():
    white = PilImage.new("LAB", (4, 4), (255, 128, 128))
    assert decode_image(encode(white, "TIFF")).pixels.min() > 245
    red = PilImage.new("RGB", (16, 16), (220, 30, 30)).convert("YCbCr")
    assert np.abs(decode_image(encode(red, "TIFF")).pixels.astype(int) - (220, 30, 30)).max() < 8
    assert np.abs(decode_image(red).pixels.astype(int) - (220, 30, 30)).max() < 8


def test_hsv_pictures_become_rgb():
    picture = PilImage.new("RGB", (4, 4), (220, 30, 30)).convert("HSV")
    assert np.abs(decode_image(picture).pixels.astype(int) - (220, 30, 30)).max() < 4


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_of_unknown_range_are_refused(mode):
    with pytest.raises(ImageDecodeError, match="unknown range"):
        decode_image(encode(PilImage.new(mode, (4, 4), 7), "TIFF"))


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_of_an_animation_the_first_frame_is_taken(kind, options):
    frames = [PilImage.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, loop=0, **options)
    assert getattr(PilImage.open(io.BytesIO(data)), "n_frames", 1) == 3
    pixels = decode_image(data).pixels
    assert pixels.shape == (8, 8, 3)
    assert (pixels == (250, 0, 0)).all()


def test_a_one_pixel_picture_is_a_picture():
    image = decode_image(encode(PilImage.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert image.pixels.tolist() == [[[1, 2, 3]]]


# --- EXIF


def turned(orientation: int) -> PilImage.Exif:
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_all_eight_orientations_come_out_upright(orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encode(PilImage.fromarray(blocks()), kind, exif=turned(orientation), **options)
    expected = np.asarray(ImageOps.exif_transpose(PilImage.open(io.BytesIO(data))).convert("RGB"))
    assert expected.shape == ((48, 32, 3) if orientation >= 5 else (32, 48, 3))
    image = decode_image(data)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.pixels.flags.c_contiguous


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_pillow_picture_is_turned_as_its_exif_says(orientation):
    data = encode(PilImage.fromarray(blocks()), "PNG", exif=turned(orientation))
    picture = PilImage.open(io.BytesIO(data))
    np.testing.assert_array_equal(decode_image(picture).pixels, decode_image(data).pixels)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(value):
    data = encode(PilImage.fromarray(blocks()), "PNG", exif=turned(value))
    np.testing.assert_array_equal(decode_image(data).pixels, blocks())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_costs_neither_the_picture_nor_a_warning(kind):
    exif = b"Exif\x00\x00" + turned(6).tobytes()[6:20] + b"\xff" * 6
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(PilImage.fromarray(blocks()), kind, exif=exif, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data).pixels.size == blocks().size


# --- sources


def test_every_source_gives_the_same_image(tmp_path):
    data = encode(PilImage.fromarray(blocks()), "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with path.open("rb") as stream:
        sources = [data, bytearray(data), memoryview(data), str(path), path, stream, io.BytesIO(data)]
        images = [decode_image(source) for source in sources]
    assert [image.digest for image in images] == [digest] * 7
    assert all((image.pixels == blocks()).all() for image in images)
    assert [image.source for image in images] == ["", "", "", str(path), str(path), str(path), ""]
    assert decode_image(images[0]) is images[0]
    assert decode_image(data, name="upload 7").source == "upload 7"


def test_arrays_and_pillow_pictures_have_the_digest_of_their_pixels():
    expected = array_digest(blocks())
    assert decode_image(blocks()).digest == expected
    assert decode_image(PilImage.fromarray(blocks())).digest == expected


def test_the_callers_array_stays_his():
    mine = blocks()
    image = decode_image(mine)
    mine[:] = 0
    assert image.pixels.max() > 0
    assert mine.flags.writeable


def test_grey_and_rgba_arrays_are_taken_too():
    grey = blocks()[:, :, 0]
    for array in (grey, grey[:, :, np.newaxis]):
        np.testing.assert_array_equal(decode_image(array).pixels, np.repeat(grey[:, :, np.newaxis], 3, axis=2))
    rgba = np.dstack([blocks(), np.full(grey.shape, 255, np.uint8)])
    np.testing.assert_array_equal(decode_image(rgba).pixels, blocks())
    np.testing.assert_array_equal(decode_image(blocks()[:, ::-2]).pixels, blocks()[:, ::-2])


def test_a_raw_stream_that_gives_little_at_a_time_is_read_to_its_end():
    class Slow(io.RawIOBase):
        def __init__(self, data):
            self.rest = data

        def readable(self):
            return True

        def read(self, size=-1):
            part, self.rest = self.rest[:100], self.rest[100:]
            return part

    data = encode(PilImage.fromarray(blocks()), "PNG")
    assert len(data) > 200
    np.testing.assert_array_equal(decode_image(Slow(data)).pixels, blocks())


def test_encoded_bytes_are_what_can_be_kept(tmp_path):
    data = encode(PilImage.fromarray(blocks()), "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    assert read_source(path) == (data, str(path))
    assert encoded_bytes(io.BytesIO(data)) == data
    picture = PilImage.fromarray(blocks())
    assert [encoded_bytes(source) for source in (blocks(), picture, decode_image(data))] == [None, None, None]
    with pytest.raises(ImageTooLargeError):
        encoded_bytes(path, DecodeLimits(max_bytes=10))


def test_threads_decode_side_by_side_without_warnings():
    exif = b"Exif\x00\x00" + turned(6).tobytes()[6:20] + b"\xff" * 6
    data = encode(PilImage.fromarray(blocks()), "JPEG", exif=exif)
    expected = decode_image(data).pixels
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(decode_image, [data] * 64))
    assert len(images) == 64
    assert all(isinstance(image, Image) and (image.pixels == expected).all() for image in images)


@pytest.mark.data
def test_lfw_photographs_have_pillows_pixels(lfw_folder: Path):
    paths = sorted((lfw_folder / "images").rglob("*.jpg"))[:40]
    assert len(paths) == 40
    for path in paths:
        with PilImage.open(path) as picture:
            np.testing.assert_array_equal(decode_image(path).pixels, np.asarray(picture.convert("RGB")))
