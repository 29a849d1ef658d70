"""Drawn faces show box, points and caption wherever they lie; pictures are written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch.core.errors import FileWriteError, InputError
from facesearch.core.face import Detection
from facesearch.imaging.decode import decode_image
from facesearch.imaging.draw import KNOWN_COLOUR, UNKNOWN_COLOUR, draw_faces, save_picture

ROOT = Path(__file__).resolve().parents[3]

LANDMARKS = np.array([[205.0, 101.7], [246.8, 103.7], [224.7, 129.0], [201.7, 139.2], [245.3, 141.9]])
FACE = Detection((178, 60, 272, 186), LANDMARKS, 0.99)


def grey_photograph(height: int = 400, width: int = 400):
    return decode_image(np.full((height, width, 3), 128, dtype=np.uint8))


def share_of(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((pixels == colour).all(axis=2).mean())


def contrast_with_white(colour: tuple[int, int, int]) -> float:
    """WCAG 2.2, definitions of relative luminance and contrast ratio."""
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ (0.2126, 0.7152, 0.0722) + 0.05))


def test_known_and_unknown_faces_have_their_colours():
    for is_known, ours, other in ((True, KNOWN_COLOUR, UNKNOWN_COLOUR), (False, UNKNOWN_COLOUR, KNOWN_COLOUR)):
        drawn = draw_faces(grey_photograph(), [(FACE, "Somebody", is_known)])
        assert share_of(drawn, ours) > 0.01
        assert share_of(drawn, other) == 0


def test_captions_can_be_read():
    assert contrast_with_white(KNOWN_COLOUR) >= 4.5
    assert contrast_with_white(UNKNOWN_COLOUR) >= 4.5
    drawn = draw_faces(grey_photograph(), [(FACE, "Somebody", True)])
    tab = drawn[38:56, 178:260]
    assert share_of(tab, KNOWN_COLOUR) > 0.4
    assert 0.02 < float((tab.min(axis=2) > 220).mean()) < 0.4


def test_box_and_points_lie_where_the_detection_says():
    drawn = draw_faces(grey_photograph(), [(FACE, "", True)])
    changed = (drawn != 128).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert abs(rows[0] - 60) <= 5
    assert abs(rows[-1] - 186) <= 5
    assert abs(columns[0] - 178) <= 5
    assert abs(columns[-1] - 272) <= 5
    for x, y in LANDMARKS:
        assert drawn[round(y), round(x)].min() > 240
    assert not changed[150:170, 190:260].any()


def test_the_photograph_is_left_as_it_was():
    photograph = grey_photograph()
    drawn = draw_faces(photograph, [(FACE, "Somebody", True)])
    assert (photograph.pixels == 128).all()
    assert drawn.shape == photograph.pixels.shape
    np.testing.assert_array_equal(draw_faces(photograph, []), photograph.pixels)


def test_lines_grow_with_the_photograph():
    def frame(factor: int) -> float:
        face = Detection(tuple(value * factor for value in FACE.box), LANDMARKS * factor, 0.9)
        return float(
            (draw_faces(grey_photograph(400 * factor, 400 * factor), [(face, "Somebody", True)]) != 128).any(axis=2).mean()
        )

    assert frame(4) == pytest.approx(frame(1), rel=0.4)


@pytest.mark.parametrize(
    "caption",
    [
        "日本語 Ünïcode Ω",
        "emoji 🙂👩‍🚀",
        "two\nlines\ttab",
        "nul \0 byte",
        "lone \ud800 surrogate",
        "עברית عربى",
        "x" * 10_000,
        " ",
        "…",
    ],
)
def test_any_caption_can_be_drawn(caption):
    drawn = draw_faces(grey_photograph(), [(FACE, caption, False)])
    assert share_of(drawn, UNKNOWN_COLOUR) > 0.005


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (30, 30)])
@pytest.mark.parametrize(
    "box",
    [(-50, -50, 20, 20), (0, 0, 1, 1), (10, -400, 90, 5000), (-1e9, -1e9, 1e9, 1e9), (900, 900, 950, 960), (0.2, 0.2, 0.4, 0.4)],
)
def test_any_box_on_any_photograph_can_be_drawn(size, box):
    drawn = draw_faces(grey_photograph(*size), [(Detection(box, LANDMARKS, 0.5), "a caption", True)])
    assert drawn.shape == (*size, 3)


def test_a_caption_without_room_above_goes_inside_the_box():
    top = Detection((100, 2, 200, 120), LANDMARKS - 60, 0.9)
    drawn = draw_faces(grey_photograph(), [(top, "Somebody", True)])
    assert share_of(drawn[6:20, 105:150], KNOWN_COLOUR) > 0.3


# --- files


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.JPEG"])
def test_pictures_are_written_in_the_format_of_their_ending(tmp_path, astronaut, name):
    save_picture(astronaut, tmp_path / name)
    with PilImage.open(tmp_path / name) as picture:
        assert picture.format == ("PNG" if name == "a.png" else "JPEG")
        assert np.abs(np.asarray(picture).astype(int) - astronaut).mean() < 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.bmp", "a", "a.txt"])
def test_other_endings_are_refused(tmp_path, astronaut, name):
    with pytest.raises(InputError, match=r"\.png, \.jpg, \.jpeg"):
        save_picture(astronaut, tmp_path / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path, astronaut):
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "missing" / "a.png", "No such file or directory"),
        (tmp_path / "file" / "a.png", "Not a directory"),
        ("nul\0.png", "null byte"),
    ):
        with pytest.raises(FileWriteError, match=reason):
            save_picture(astronaut, path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(FileWriteError, match=r"folder\.png cannot be written"):
        save_picture(astronaut, tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_full_disk_leaves_the_older_picture_and_no_rubbish(tmp_path, astronaut):
    """The largest file that the process may write stands in for the space that is left."""
    path = tmp_path / "result.png"
    save_picture(astronaut[:8, :8], path)
    before = path.read_bytes()
    code = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from facesearch.core.errors import FileWriteError\n"
        "from facesearch.imaging.draw import save_picture\n"
        "noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n"
        "    save_picture(noise, sys.argv[1])\n"
        "except FileWriteError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "result.png cannot be written: File too large" in done.stdout
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.png"]


def test_a_picture_too_wide_for_a_jpeg_is_refused_in_plain_words(tmp_path):
    wide = np.zeros((2, 65_501, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"at most 65,500 pixels a side, this picture 65,501: use \.png"):
        save_picture(wide, tmp_path / "wide.jpg")
    save_picture(wide, tmp_path / "wide.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wide.png"]
