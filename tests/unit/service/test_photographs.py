"""Many photographs: each has a template or a counted failure, and a second run embeds nothing again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from tests.world import FakeNetworks


class Photographs:
    """A folder of files whose faces the fake networks know, embedded with a cache."""

    def __init__(self, folder: Path, *, cache: bool = True) -> None:
        self.root = folder / "photographs"
        self.root.mkdir()
        self.networks = FakeNetworks()
        nets = self.networks
        pipeline = FacePipeline(nets.decode, nets, nets.align, nets, min_face_px=20)
        self.embed = EmbedPhotographs(pipeline, {"embedder": "fake"}, cache_dir=folder / "cache" if cache else None)

    def add(self, name: str, person: int | None, likeness: float = 0.9) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        if person is None:
            self.networks.photo(str(path))
        else:
            self.networks.portrait(str(path), person, likeness, photo=len(self.networks.photos))
        return Path(name)

    def __call__(self, *paths: Path, **asked):
        return self.embed(self.root, paths, **asked)


@pytest.fixture
def photographs(tmp_path):
    return Photographs(tmp_path)


def test_templates_and_failures_come_in_the_order_of_paths(photographs):
    b, a, empty = photographs.add("b.jpg", 1), photographs.add("a.jpg", 0), photographs.add("aa.jpg", None)
    seen = []
    done = photographs(b, a, empty, b, on_progress=lambda *counts: seen.append(counts))
    assert done.paths == (a, empty, b)
    assert done.acquired.tolist() == [0, 2]
    assert done.rows == {a: 0, b: 1}
    assert [(one.path, one.code) for one in done.failures] == [("aa.jpg", "no_face")]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(done.detections) == len(done.vectors) == 2


def test_a_second_run_embeds_nothing_and_says_the_same(photographs):
    paths = [photographs.add(f"{number}.jpg", number) for number in range(5)] + [photographs.add("x.jpg", None)]
    first = photographs(*paths)
    n_embedded = photographs.networks.n_embedded
    second = photographs(*paths)
    assert photographs.networks.n_embedded == n_embedded == 5
    assert (first.n_cached, second.n_cached) == (0, 6)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert (first.failures, first.digests, first.data_digest) == (second.failures, second.digests, second.data_digest)


def test_an_interrupted_run_goes_on_where_it_stopped(photographs):
    paths = [photographs.add(f"{number}.jpg", number % 20) for number in range(40)]

    def interrupt(n_done, _total):
        if n_done == 33:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        photographs(*paths, on_progress=interrupt)
    n_before = photographs.networks.n_embedded
    done = photographs(*paths)
    assert done.n_cached == 33
    assert photographs.networks.n_embedded == n_before + 7


def test_another_choice_of_face_is_another_cache(photographs):
    path = photographs.add("a.jpg", 0)
    photographs(path)
    assert photographs(path, face="largest").n_cached == 0


def test_a_vanished_file_is_a_counted_failure_and_not_kept(photographs):
    a, gone = photographs.add("a.jpg", 0), photographs.add("gone.jpg", 1)
    (photographs.root / gone).unlink()
    del photographs.networks.photos[str(photographs.root / gone)]
    done = photographs(a, gone)
    assert [(one.path, one.code) for one in done.failures] == [("gone.jpg", "vanished")]
    photographs.add("gone.jpg", 1)
    assert photographs(a, gone).failures == ()


def test_an_unreadable_file_is_tried_again(photographs):
    bad = photographs.add("bad.jpg", 0)
    known = photographs.networks.photos.pop(str(photographs.root / bad))
    assert photographs(bad).failures[0].code == "image_undecodable"
    photographs.networks.photos[str(photographs.root / bad)] = known
    assert photographs(bad).failures == ()


def test_without_a_cache_everything_is_read(tmp_path):
    photographs = Photographs(tmp_path, cache=False)
    path = photographs.add("a.jpg", 0)
    assert [photographs(path).n_cached, photographs(path).n_cached] == [0, 0]
    assert photographs(path, cache=tmp_path / "named").n_cached == 0
    assert photographs(path, cache=tmp_path / "named").n_cached == 1


def test_the_digest_is_of_names_and_bytes(photographs):
    a = photographs.add("a.jpg", 0)
    before = photographs(a).data_digest
    assert photographs(a, photographs.add("b.jpg", 1)).data_digest != before
    assert photographs(a).data_digest == before
