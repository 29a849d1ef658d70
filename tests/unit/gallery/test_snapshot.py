"""Snapshots: any damage is noticed before hnswlib sees a byte, and a failed write leaves the old one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesearch.core.errors import FileWriteError, GalleryFormatError, IncompatibleTemplatesError
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from tests.gallery_oracle import DIM, EMBEDDER, batch_of, empty_index, people, probe, unit

N = 120
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def factory(kind: str = "hnsw") -> GalleryIndexFactory:
    return GalleryIndexFactory(EMBEDDER, DIM, IndexOptions(kind=kind))


@pytest.fixture(scope="module", params=["exact", "hnsw"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a snapshot with freed rows; tests copy it."""
    folder = tmp_path_factory.mktemp(request.param)
    index = empty_index(request.param)
    index.add(people(np.random.default_rng(3), N), revision=12)
    index.remove([4, 5], revision=14)
    index.save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a full disk: writes fail in the kernel, for hnswlib's too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def manifest_with(folder: Path, **changes: object) -> None:
    """Write the manifest with changed fields and a checksum that fits them."""
    fields = json.loads((folder / "manifest.json").read_text())
    fields |= changes
    del fields["sha256"]
    fields["sha256"] = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(fields, sort_keys=True, indent=1) + "\n")


def test_the_copy_loads(copy: Path) -> None:
    manifest_with(copy)
    index = factory().load(copy)
    assert index is not None
    assert (len(index), index.revision) == (N - 2, 14)


@PROPERTY
@given(data=st.data())
def test_any_flipped_bit_is_noticed(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    names = sorted(path.name for path in saved.iterdir())
    assert len(names) in (3, 4)
    name = data.draw(st.sampled_from(names))
    damaged = bytearray((saved / name).read_bytes())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    folder = tmp_path / "flipped"
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(damaged)
    with pytest.raises(GalleryFormatError):
        factory().load(folder)


@PROPERTY
@given(data=st.data())
def test_any_missing_or_added_end_is_noticed(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in saved.iterdir())))
    whole = (saved / name).read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    folder = tmp_path / "cut"
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(data.draw(st.sampled_from([whole[:cut], whole + b"\0", whole + b"\n"])))
    with pytest.raises(GalleryFormatError):
        factory().load(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@PROPERTY
@given(data=st.data())
def test_fields_of_the_wrong_type_are_noticed_even_with_a_fitting_checksum(
    saved: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "typed"
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    fields = json.loads((folder / "manifest.json").read_text())
    name = data.draw(st.sampled_from(sorted(set(fields) - {"sha256", "embedder_id", "revision"})))
    value = data.draw(JSON.filter(lambda value: value != fields[name]))
    manifest_with(folder, **{name: value})
    with pytest.raises(GalleryFormatError):
        factory().load(folder)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 60_000, b"{}" + b" " * 70_000, b'{"a": 1, "a": 2}'])
def test_a_manifest_that_is_none(copy: Path, raw: bytes) -> None:
    (copy / "manifest.json").write_bytes(raw)
    with pytest.raises(GalleryFormatError):
        factory().load(copy)


@pytest.mark.parametrize("name", ["../rows-14-00000000.npy", "/etc/passwd", "rows-14-00000000.npy/../x", "manifest.json", 7, None])
def test_files_outside_the_folder_are_not_read(copy: Path, name: object) -> None:
    files = json.loads((copy / "manifest.json").read_text())["files"]
    (copy.parent / "rows-14-00000000.npy").write_bytes((copy / files["rows"]["name"]).read_bytes())
    files["rows"]["name"] = name
    manifest_with(copy, files=files)
    with pytest.raises(GalleryFormatError, match="names no proper file for rows"):
        factory().load(copy)


def test_a_template_id_that_occurs_twice_is_noticed_even_with_fitting_checksums(copy: Path) -> None:
    files = json.loads((copy / "manifest.json").read_text())["files"]
    path = copy / files["rows"]["name"]
    rows = np.load(path)
    present = np.flatnonzero(rows[0] >= 0)
    assert len(present) == N - 2
    rows[0, present[3]] = rows[0, present[-1]]
    np.save(path, rows)
    files["rows"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest_with(copy, files=files)
    with pytest.raises(GalleryFormatError, match=f"{N - 2} rows hold only {N - 3} different template ids"):
        factory().load(copy)


def test_a_missing_file_is_noticed(copy: Path) -> None:
    names = [path.name for path in copy.iterdir() if path.name != "manifest.json"]
    assert len(names) in (2, 3)
    for name in names:
        kept = (copy / name).read_bytes()
        (copy / name).unlink()
        with pytest.raises(GalleryFormatError):
            factory().load(copy)
        (copy / name).write_bytes(kept)
    assert factory().load(copy) is not None


def test_no_manifest_is_no_snapshot(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    assert factory().load(copy) is None
    assert factory().load(copy / "nowhere") is None


def test_a_folder_that_cannot_be_opened_is_no_readable_snapshot(tmp_path: Path) -> None:
    with pytest.raises(GalleryFormatError, match="cannot be read"):
        factory().load(tmp_path / ("n" * 300))  # the superuser may open any folder but none of such a name


def test_a_later_format_version_is_named(copy: Path) -> None:
    manifest_with(copy, version=3)
    with pytest.raises(GalleryFormatError, match="format version 3, this release reads versions 1 and 2"):
        factory().load(copy)


def test_another_embedder_or_length_is_named(copy: Path) -> None:
    with pytest.raises(IncompatibleTemplatesError, match=EMBEDDER):
        GalleryIndexFactory("other@000000000000", DIM).load(copy)
    with pytest.raises(IncompatibleTemplatesError, match=f"{DIM}-d, templates are 64-d"):
        GalleryIndexFactory(EMBEDDER, 64).load(copy)


def test_a_new_snapshot_replaces_the_old_and_leftovers(copy: Path) -> None:
    index = factory().load(copy)
    assert index is not None
    (copy / "vectors-3-0123abcd.npy").write_bytes(b"left by a crash")
    (copy / "manifest-3-0123abcd.tmp").write_bytes(b"left by a crash")
    (copy / "notes.txt").write_text("somebody's")
    before = {path.name for path in copy.iterdir()}
    index.advance(15)
    index.save(copy)
    after = {path.name for path in copy.iterdir()}
    assert after & before == {"manifest.json", "notes.txt"}
    assert len(after) == len(before) - 2
    again = factory().load(copy)
    assert again is not None
    assert again.revision == 15


@pytest.mark.parametrize("limit", [0, 100, 1000, 5000, 20_000, 40_000])
def test_a_full_disk_leaves_the_old_snapshot(copy: Path, limit: int) -> None:
    index = factory().load(copy)
    assert index is not None
    index.add(batch_of(range(9000, 9400), range(9000, 9400), unit(np.random.default_rng(1), 400)), revision=99)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with file_size_limit(limit), pytest.raises(FileWriteError):
        index.save(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    old = factory().load(copy)
    assert old is not None
    assert old.revision == 14


def test_a_full_disk_in_the_middle_of_the_graph(tmp_path: Path) -> None:
    """hnswlib itself reports nothing when its last bytes are lost."""
    index = empty_index("hnsw")
    index.add(people(np.random.default_rng(3), N), revision=1)
    index.save(tmp_path)
    sizes = {path.name.partition("-")[0]: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["graph"] > sizes["vectors"] + 1
    index.advance(2)
    with file_size_limit(sizes["graph"] - 1), pytest.raises(FileWriteError, match=r"only \d+ of \d+ bytes"):
        index.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_a_write_error(copy: Path) -> None:
    index = factory().load(copy)
    assert index is not None
    copy.chmod(0o555)
    try:
        with pytest.raises(FileWriteError):
            index.save(copy)
        assert factory().load(copy) is not None
    finally:
        copy.chmod(0o755)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_searches_go_on_while_a_save_and_a_change_wait_for_the_disk(kind: str, tmp_path: Path) -> None:
    index = empty_index(kind)
    batch = people(np.random.default_rng(3), 40)
    index.add(batch, revision=1)
    found: list[int] = []
    threads = [
        threading.Thread(target=index.save, args=(tmp_path,)),
        threading.Thread(target=lambda: index.remove([40], revision=2)),
        threading.Thread(target=lambda: found.append(len(index.search(probe(batch.vectors[0]), 3)))),
    ]
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # a slow disk: the save waits for it
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        threads[2].join(5.0)
        assert found == [3]
    finally:
        os.close(handle)
        for thread in threads:
            thread.join()
    assert (len(index), index.revision) == (39, 2)


KILLED = """
import sys
from pathlib import Path
import numpy as np
from facesearch.gallery.factory import GalleryIndexFactory
from tests.gallery_oracle import DIM, EMBEDDER
folder = Path(sys.argv[1])
index = GalleryIndexFactory(EMBEDDER, DIM).load(folder)
print("ready", flush=True)
for revision in range(index.revision + 1, 10**9):
    index.advance(revision)
    index.save(folder)
"""


def test_a_process_killed_while_it_saves_leaves_a_snapshot(copy: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    revisions = []
    for wait_s in (0.05, 0.083, 0.121):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(copy)], cwd=root, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(wait_s)
            process.kill()
        index = factory().load(copy)
        assert index is not None
        assert index.search(probe(people(np.random.default_rng(3), N).vectors[50]), 1)[0].template_id == 51
        revisions.append(index.revision)
    assert revisions == sorted(revisions)
    index.save(copy)
    assert len(list(copy.iterdir())) in (3, 4)


def test_nobody_else_may_look_into_a_new_folder(tmp_path: Path) -> None:
    empty_index("exact").save(tmp_path / "index" / "one")
    assert (tmp_path / "index" / "one").stat().st_mode & 0o077 == 0
