"""Frames come by the container's clock, upright, as far as the file can be read; whatever is no video is refused in plain words."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import ImageTooLargeError, InputError, VideoDecodeError
from facesearch.imaging.sources import DecodeLimits
from facesearch.imaging.video import VideoFile, video_digest
from tests.video_files import cut, index_first, number_of, numbered, sound_only, timed, turned, without_frames, write_video

TIME_TOLERANCE_S = 2e-3
"""OpenCV gives milliseconds."""


@pytest.fixture
def film(tmp_path) -> Path:
    """50 frames at 25 a second."""
    return write_video(tmp_path / "film.mp4", numbered(50))


def sampled(path: Path, rate: float) -> tuple[list[float], list[int], object]:
    with VideoFile(path) as video:
        frames = [(frame.time_s, number_of(frame.image.pixels)) for frame in video.frames(rate)]
        return [time_s for time_s, _ in frames], [number for _, number in frames], video.reading


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_frames_are_sampled_by_time(tmp_path, suffix):
    path = write_video(tmp_path / f"film{suffix}", numbered(50))
    times, numbers, reading = sampled(path, 5.0)
    assert numbers == list(range(0, 50, 5))
    assert times == pytest.approx([0.2 * step for step in range(10)], abs=TIME_TOLERANCE_S)
    assert (reading.n_frames, reading.n_sampled, reading.is_cut) == (50, 10, False)
    assert reading.end_s == pytest.approx(49 / 25, abs=TIME_TOLERANCE_S)
    assert sampled(path, 3.0)[1] == [0, 9, 17, 25, 34, 42]  # the first frame of each third of a second
    assert sampled(path, 1000.0)[1] == list(range(50))
    assert sampled(path, 0.1)[1] == [0]


def test_the_info_is_the_containers_and_the_files(film):
    with VideoFile(film) as video:
        info = video.info
    assert (info.width, info.height, info.fps, info.n_frames) == (96, 64, 25.0, 50)
    assert info.duration_s == pytest.approx(2.0)
    assert info.source == str(film)
    assert info.digest == video_digest(film)


def test_a_frames_digest_is_the_same_for_the_same_frame_alone(film, tmp_path):
    other = write_video(tmp_path / "other.mp4", numbered(50)[::-1])
    digests = []
    for path, rate in ((film, 5.0), (film, 12.5), (other, 5.0)):
        with VideoFile(path) as video:
            digests.append([frame.image.digest for frame in video.frames(rate)])
    assert len(digests[0]) == len(set(digests[0])) == 10
    assert digests[0][2] == digests[1][5]
    assert not set(digests[0]) & set(digests[2])


def test_a_changing_frame_rate_changes_no_time(film):
    timed(film, [(20, 1), (10, 5), (20, 1)])  # 0.8 s of 25 frames a second, 2 s of 5, 0.8 s of 25
    times, numbers, reading = sampled(film, 5.0)
    assert numbers == [0, 5, 10, 15, *range(20, 30), 30, 35, 40, 45]
    assert times == pytest.approx([0.2 * step for step in range(18)], abs=TIME_TOLERANCE_S)
    assert not reading.is_cut
    assert reading.end_s == pytest.approx(2.8 + 19 / 25, abs=TIME_TOLERANCE_S)


def test_a_last_frame_shown_for_long_is_no_cut_video(film):
    timed(film, [(49, 1), (1, 250)])
    reading = sampled(film, 5.0)[2]
    assert (reading.n_frames, reading.is_cut) == (50, False)


def test_a_turned_video_comes_upright(film):
    before = [frame.image.pixels for frame in VideoFile(film).frames(5.0)]
    after_file = VideoFile(turned(film))
    after = [frame.image.pixels for frame in after_file.frames(5.0)]
    assert len(before) == len(after) == 10
    assert (after_file.info.width, after_file.info.height) == (64, 96)
    for wide, tall in zip(before, after, strict=True):
        assert np.array_equal(np.rot90(wide, -1), tall)


def test_a_file_cut_in_its_last_group_of_pictures_gives_what_is_there(film):
    times, numbers, reading = sampled(cut(index_first(film), 0.9), 25.0)
    assert reading.is_cut
    assert 5 < reading.n_frames < 50
    whole = len(numbers) - 2  # the frame that the cut went through is made up by the decoder
    assert numbers[:whole] == list(range(whole))
    assert reading.n_sampled == len(times)


def test_an_index_before_the_pictures_alone_changes_nothing(film):
    before = sampled(film, 5.0)
    assert sampled(index_first(film), 5.0) == before


def test_a_cut_avi_gives_what_is_there(tmp_path):
    path = cut(write_video(tmp_path / "film.avi", numbered(50)), 0.5)
    _, numbers, reading = sampled(path, 25.0)
    assert reading.is_cut
    assert 10 < reading.n_frames < 40
    assert numbers[:10] == list(range(10))


def test_frames_are_found_again_by_their_times(tmp_path):
    path = write_video(tmp_path / "long.avi", [numbered(57)[number % 57] for number in range(1000)])
    with VideoFile(path) as video:
        there = {frame.time_s: number_of(frame.image.pixels) for frame in video.frames(5.0)}
    assert len(there) == 200
    wanted = [sorted(there)[place] for place in (0, 1, 99, 100, 199)]  # near ones, and ones worth a seek
    with VideoFile(path) as video:
        found = list(video.frames_at([*wanted[::-1], 99.0]))
    assert [frame.time_s for frame in found] == pytest.approx(wanted, abs=TIME_TOLERANCE_S)
    assert [number_of(frame.image.pixels) for frame in found] == [there[one] for one in wanted]


def test_frames_are_found_again_in_a_video_of_a_changing_rate(film):
    timed(film, [(10, 1), (30, 25), (10, 1)])
    with VideoFile(film) as video:
        there = {frame.time_s: number_of(frame.image.pixels) for frame in video.frames(25.0)}
    assert max(there) > 30
    with VideoFile(film) as video:
        found = {frame.time_s: number_of(frame.image.pixels) for frame in video.frames_at(list(there)[::12])}
    assert len(found) == 5
    assert found == {one: there[one] for one in found}


def test_frames_can_be_asked_for_once(film):
    with VideoFile(film) as video:
        next(video.frames(5.0))
        with pytest.raises(VideoDecodeError, match="open the video again"):
            video.frames(5.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e6])
def test_a_wrong_rate_is_refused(film, rate):
    with VideoFile(film) as video, pytest.raises(InputError, match="frames looked at a second"):
        video.frames(rate)


def test_a_video_of_too_many_pixels_is_refused_before_a_frame_is_read(film):
    with pytest.raises(ImageTooLargeError, match="96×64"):
        VideoFile(film, limits=DecodeLimits(max_pixels=6000))


def no_video(folder: Path, kind: str) -> Path:
    path = folder / "film.mp4"
    if kind == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16_000))
        return path
    contents = {
        "text": b"This is a letter.\n" * 100,
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(5000),
        "playlist": b"ffconcat version 1.0\nfile film.avi\n",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "head alone": b"\x00\x00\x00\x18ftypisom" + bytes(12),
        "matroska head alone": b"\x1aE\xdf\xa3" + bytes(100),
    }
    path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "is no video"),
        ("empty", "0 bytes"),
        ("noise", "is no video"),
        ("playlist", "is no video"),
        ("picture", "is no video"),
        ("sound", "is no video"),
        ("head alone", "holds no video that can be read"),
        ("matroska head alone", "holds no video that can be read"),
    ],
)
def test_what_is_no_video_is_refused_in_plain_words(tmp_path, kind, message):
    path = no_video(tmp_path, kind)
    with pytest.raises(VideoDecodeError, match=message) as refused:
        VideoFile(path)
    assert str(path) in refused.value.message


def test_text_in_a_file_that_ffmpeg_would_draw_is_refused(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(b"This is a letter.\n" * 100)
    with pytest.raises(VideoDecodeError, match="is no video"):
        VideoFile(path)


def test_a_video_whose_index_was_never_written_is_refused(film):
    with pytest.raises(VideoDecodeError, match="cut before its index was written"):
        VideoFile(cut(film, 0.8))


def test_nothing_is_written_to_stderr_past_the_logger(film):
    cut(film, 0.8)
    code = (
        "import sys\nfrom facesearch.core.errors import VideoDecodeError\nfrom facesearch.imaging.video import VideoFile\n"
        "try:\n    VideoFile(sys.argv[1])\nexcept VideoDecodeError:\n    print('refused')"
    )
    # A process of its own: FFmpeg asks how much it may say only once, and this one has written a video already.
    done = subprocess.run([sys.executable, "-c", code, str(film)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_sound_without_pictures_is_refused(film):
    with pytest.raises(VideoDecodeError, match="sound only"):
        VideoFile(sound_only(film))


def test_a_video_without_frames_is_refused(film):
    with (
        pytest.raises(VideoDecodeError, match=r"no frame that can be read|holds no video"),
        VideoFile(without_frames(film)) as video,
    ):
        list(video.frames(5.0))


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(VideoDecodeError, match="no such file"):
        VideoFile(tmp_path / "none.mp4")
    with pytest.raises(VideoDecodeError, match="is a folder"):
        VideoFile(tmp_path)
    with pytest.raises(VideoDecodeError, match="cannot be read"):
        VideoFile("a\0b.mp4")
    with pytest.raises(VideoDecodeError, match="cannot be read"):
        VideoFile(tmp_path / ("n" * 300))


def test_names_that_ffmpeg_would_take_apart_are_plain_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.mp4", "film%03d.mp4", "Größe – 1.mp4", "-i.mp4"):
        made = write_video(tmp_path / "made.mp4", numbered(5))
        made.rename(tmp_path / name)
        with VideoFile(name) as video:
            assert len(list(video.frames(25.0))) == 5, name
