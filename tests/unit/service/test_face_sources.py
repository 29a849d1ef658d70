"""Enrolled faces cut out again: where from, in which order, and what is told when nothing is left."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.embedder_use import LackingFace
from facesearch.core.errors import ImageDecodeError, InputError, LowQualityFaceError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.service.face_sources import FaceSources, LostFace, files_by_digest
from tests.world import LANDMARKS, face_at

ALIGNMENT = Alignment("fake-8", 8, LANDMARKS / 100 * 8)
FACE = face_at(10, 10, 50)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def face(source="", data=b"photo"):
    return LackingFace(7, 3, 1, "Ada", sha(data), str(source), FACE)


def kept(data=b"kept"):
    return KeptPicture(Keep.CROP, data, tuple((float(x), float(y)) for x, y in FACE.landmarks), FACE.box)


class Cutter:
    """Decodes what does not begin with ``bad`` and says what it cut a face out of."""

    def __init__(self):
        self.cut = []

    def decode(self, path):
        data = Path(path).read_bytes()
        if data.startswith(b"bad"):
            raise ImageDecodeError("it is damaged")
        return Image(np.zeros((9, 9, 3), dtype=np.uint8), sha(data), path)

    def align(self, image, detections, alignment):
        assert detections == (FACE,)
        self.cut.append(image.source)
        return (FaceCrop(np.zeros((8, 8, 3), dtype=np.uint8), FACE),)

    def cut_kept(self, picture, alignment):
        if picture.data.startswith(b"bad"):
            raise LowQualityFaceError("no face in it")
        self.cut.append("kept")
        return FaceCrop(np.zeros((8, 8, 3), dtype=np.uint8), FACE)

    def sources(self, by_digest=None):
        return FaceSources(self.decode, self.align, self.cut_kept, by_digest=by_digest)


@pytest.fixture
def cutter():
    return Cutter()


def test_a_kept_picture_comes_first_then_the_file_then_the_folders(cutter, tmp_path):
    here, there = tmp_path / "here.jpg", tmp_path / "there.jpg"
    there.write_bytes(b"photo")
    here.write_bytes(b"photo")
    sources = cutter.sources({sha(b"photo"): str(there)})
    assert isinstance(sources.crop(face(here), kept(), ALIGNMENT), FaceCrop)
    assert isinstance(sources.crop(face(here), None, ALIGNMENT), FaceCrop)
    assert isinstance(sources.crop(face(here), kept(b"bad"), ALIGNMENT), FaceCrop)
    here.write_bytes(b"another photograph")
    assert isinstance(sources.crop(face(here), None, ALIGNMENT), FaceCrop)
    assert isinstance(sources.crop(face(""), None, ALIGNMENT), FaceCrop)
    assert cutter.cut == ["kept", str(here), str(here), str(there), str(there)]


def test_a_relative_path_says_where_it_was_looked_for(cutter, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"photo")
    monkeypatch.chdir(tmp_path)
    assert isinstance(cutter.sources().crop(face("a.jpg"), None, ALIGNMENT), FaceCrop)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    lost = cutter.sources().crop(face("a.jpg"), None, ALIGNMENT)
    assert isinstance(lost, LostFace)
    assert (lost.reason, lost.detail.endswith(f"'a.jpg' was looked for in {tmp_path / 'elsewhere'}")) == ("gone", True)


def test_another_picture_under_the_name_is_not_taken(cutter, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"another photograph")
    lost = cutter.sources().crop(face(path), None, ALIGNMENT)
    assert isinstance(lost, LostFace)
    assert (lost.reason, cutter.cut) == ("gone", [])
    assert lost.as_dict()["label"] == "Ada"


def test_what_is_damaged_is_told(cutter, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"bad")
    for lost, said in (
        (cutter.sources().crop(face(path), None, ALIGNMENT), f"{path}: it is damaged"),
        (cutter.sources().crop(face(), kept(b"bad"), ALIGNMENT), "the kept picture: no face in it"),
    ):
        assert isinstance(lost, LostFace)
        assert (lost.reason, lost.detail) == ("unusable", said)


@pytest.mark.parametrize("source", ["", "\0", "x" * 5000, ".", "/dev/null"])
def test_a_source_that_is_no_file_is_no_error(cutter, source):
    lost = cutter.sources().crop(face(source), None, ALIGNMENT)
    assert isinstance(lost, LostFace)
    assert lost.reason == "gone"


def test_folders_are_searched_by_content(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "2.jpg").write_bytes(b"photo")
    (tmp_path / "b" / "1.jpg").write_bytes(b"photo")
    (tmp_path / "b" / "3.jpg").write_bytes(b"not wanted")
    os.mkfifo(tmp_path / "b" / "pipe")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = files_by_digest([tmp_path], {sha(b"photo")}.__contains__)
    assert found == {sha(b"photo"): str(tmp_path / "b" / "1.jpg")}
    with pytest.raises(InputError, match="no folder"):
        files_by_digest([tmp_path / "b" / "1.jpg"], lambda _: True)
