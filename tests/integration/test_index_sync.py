"""Index and database: caught up, rebuilt, never trusted beyond the database; and what a kill -9 leaves behind."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from facesearch.core.errors import FileWriteError
from facesearch.service import gallery as gallery_module
from tests.conftest import ROOT
from tests.world import World


def crowd(world: World, first: int, last: int) -> None:
    for person in range(first, last):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person:02d}")


def found(world: World, person: int) -> str | None:
    return world.faces.identify(world.networks.portrait(f"probe {person}", person, 0.9))[0].label


def snapshot_of(folder: Path) -> Path:
    (only,) = (folder / "index").iterdir()
    return only


def test_a_snapshot_is_loaded_and_caught_up(tmp_path: Path):
    world = World(tmp_path, kind="hnsw")
    crowd(world, 0, 10)
    world.close()
    manifest = snapshot_of(tmp_path) / "manifest.json"
    before = manifest.read_bytes()
    second = World(tmp_path, networks=world.networks, kind="hnsw")
    crowd(second, 10, 12)
    second.faces.remove("person 03")
    assert [found(second, person) for person in (0, 3, 11)] == ["person 00", None, "person 11"]
    status = second.faces.index_status()[0]
    assert (status.is_in_step, status.n_indexed, status.index_revision, status.snapshot_revision) == (True, 11, 13, 10)
    second.close()
    assert manifest.read_bytes() == before  # three changes are no reason to write a snapshot anew


@pytest.mark.parametrize("damage", ["cut", "gone", "garbage"])
def test_a_damaged_snapshot_is_rebuilt_with_a_warning(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture):
    world = World(tmp_path, kind="hnsw")
    crowd(world, 0, 10)
    world.close()
    victim = max(snapshot_of(tmp_path).iterdir(), key=lambda path: path.stat().st_size)
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-7])
    elif damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(b"\xa5" * victim.stat().st_size)
    second = World(tmp_path, networks=world.networks, kind="hnsw")
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        assert [found(second, person) for person in range(10)] == [f"person {person:02d}" for person in range(10)]
    assert "rebuilt from the database" in caplog.text
    second.close()
    third = World(tmp_path, networks=world.networks, kind="hnsw")
    caplog.clear()
    assert found(third, 4) == "person 04"
    assert caplog.text == ""
    third.close()


def test_a_missing_snapshot_is_rebuilt_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    world = World(tmp_path)
    crowd(world, 0, 10)
    world.close()
    shutil.rmtree(tmp_path / "index")
    second = World(tmp_path, networks=world.networks)
    assert found(second, 7) == "person 07"
    assert caplog.text == ""
    second.close()


def test_the_snapshot_of_another_database_is_not_taken(tmp_path: Path):
    world = World(tmp_path)
    crowd(world, 0, 5)
    world.close()
    for leftover in tmp_path.glob("gallery.db*"):
        leftover.unlink()
    second = World(tmp_path, networks=world.networks)
    for person in range(5, 10):  # as many changes as before: the revisions agree, the people do not
        second.faces.enroll(second.networks.portrait(f"new {person}", person), f"person {person:02d}")
    assert [found(second, person) for person in (0, 7)] == [None, "person 07"]
    second.close()


def test_a_database_restored_to_an_earlier_state_wins(tmp_path: Path):
    world = World(tmp_path)
    crowd(world, 0, 5)
    world.close()
    shutil.copy(tmp_path / "gallery.db", tmp_path / "backup.db")
    second = World(tmp_path, networks=world.networks)
    crowd(second, 5, 10)
    second.faces.rebuild_index()
    second.close()
    for leftover in tmp_path.glob("gallery.db*"):
        leftover.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "gallery.db")
    third = World(tmp_path, networks=world.networks)
    assert [found(third, person) for person in (2, 7)] == ["person 02", None]
    assert third.faces.index_status()[0].is_in_step
    third.close()


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
@pytest.mark.parametrize("n_later", [2, 5])
def test_a_restored_database_that_caught_up_with_the_snapshot_wins(tmp_path: Path, caplog, kind: str, n_later: int):
    world = World(tmp_path, kind=kind)
    crowd(world, 0, 5)
    world.close()
    shutil.copy(tmp_path / "gallery.db", tmp_path / "backup.db")
    later = World(tmp_path, kind=kind, networks=world.networks)
    crowd(later, 5, 7)
    later.faces.rebuild_index()
    later.close()
    shutil.copytree(tmp_path / "index", tmp_path / "index of later")
    for leftover in tmp_path.glob("gallery.db*"):
        leftover.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "gallery.db")
    restored = World(tmp_path, kind=kind, networks=world.networks)
    crowd(restored, 10, 10 + n_later)  # from another machine, say, whose snapshots lie elsewhere
    restored.close()
    shutil.rmtree(tmp_path / "index")
    shutil.move(tmp_path / "index of later", tmp_path / "index")
    with closing(World(tmp_path, kind=kind, networks=world.networks)) as again:
        assert [found(again, person) for person in (0, 5, 6, 10, 11)] == ["person 00", None, None, "person 10", "person 11"]
        assert again.faces.index_status()[0].is_in_step
    assert "restored from a backup" in caplog.text


def test_history_that_was_forgotten_means_rebuilding(tmp_path: Path):
    world = World(tmp_path)
    crowd(world, 0, 5)
    other = World(tmp_path, networks=world.networks)
    assert found(other, 1) == "person 01"
    crowd(world, 5, 10)
    with world.store.writing() as writer:
        writer.prune_changes("default", 8)
    assert found(other, 7) == "person 07"
    assert other.faces.index_status()[0].is_in_step
    world.close()
    other.close()


def test_a_growing_gallery_changes_to_hnsw(tmp_path: Path):
    world = World(tmp_path, exact_below=8)
    crowd(world, 0, 4)
    assert (found(world, 1), world.faces.index_status()[0].kind) == ("person 01", "exact")
    crowd(world, 4, 20)
    assert (found(world, 15), world.faces.index_status()[0].kind) == ("person 15", "hnsw")
    world.close()


def test_a_snapshot_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "index").write_text("a file where the folder should be")
    world = World(tmp_path)
    crowd(world, 0, 3)
    world.close()
    assert "the index snapshot was not written" in caplog.text
    (tmp_path / "index").unlink()


def test_erasing_where_the_snapshot_cannot_be_written_is_an_error(tmp_path: Path):
    world = World(tmp_path)
    crowd(world, 0, 3)
    (tmp_path / "index").write_text("a file where the folder should be")
    with pytest.raises(FileWriteError):
        world.faces.remove("person 01", erase=True)
    assert [person.label for person in world.faces.list()] == ["person 00", "person 02"]
    (tmp_path / "index").unlink()
    world.close()


def test_two_processes_follow_each_other(tmp_path: Path):
    one = World(tmp_path)
    two = World(tmp_path, networks=one.networks)
    for person in range(0, 10, 2):
        one.faces.enroll(one.networks.portrait(f"one {person}", person), f"person {person:02d}")
        assert found(two, person) == f"person {person:02d}"
        two.faces.enroll(one.networks.portrait(f"two {person}", person + 1), f"person {person + 1:02d}")
        assert found(one, person + 1) == f"person {person + 1:02d}"
    one.close()
    two.close()


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from tests.world import World
    from facesearch.service.gallery import GalleryIndexes

    point, folder = sys.argv[1], Path(sys.argv[2])
    world = World(folder, kind="hnsw")
    for person in range(10):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person:02d}")
    world.indexes.save()
    for person in range(10, 14):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person:02d}")
    if point == "after commit":        # 4 commits that neither index nor snapshot has seen
        os.kill(os.getpid(), signal.SIGKILL)
    if point == "inside transaction":
        with world.store.writing() as writer:
            writer.add_identity("default", "half")
            os.kill(os.getpid(), signal.SIGKILL)
    if point == "inside snapshot":
        real = os.replace
        def dying(source, target, **options):
            if str(target).endswith("manifest.json"):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(source, target, **options)
        os.replace = dying
        Path.replace = lambda self, target: dying(self, target)
        world.indexes.purge("default")
    print("was not killed")
    """
)


@pytest.mark.parametrize("point", ["after commit", "inside transaction", "inside snapshot"])
def test_a_killed_process_leaves_whole_people_and_a_usable_index(tmp_path: Path, point: str):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    world = World(tmp_path, kind="hnsw")
    assert [person.label for person in world.faces.list()] == [f"person {person:02d}" for person in range(14)]
    assert [found(world, person) for person in range(14)] == [f"person {person:02d}" for person in range(14)]
    status = world.faces.index_status()[0]
    assert (status.is_in_step, status.n_indexed) == (True, 14)
    world.close()


def test_the_lag_that_makes_a_snapshot_worth_writing(tmp_path: Path):
    world = World(tmp_path)
    crowd(world, 0, 20)
    world.close()
    manifest = snapshot_of(tmp_path) / "manifest.json"
    before = manifest.read_bytes()
    second = World(tmp_path, networks=world.networks)
    for _ in range(gallery_module.SNAPSHOT_LAG_MIN // 2):
        second.faces.remove("person 00")
        second.faces.enroll("enrolled 0", "person 00")
    second.close()
    assert manifest.read_bytes() != before


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_collection_deleted_while_its_snapshot_is_written_stays_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_made_anew: bool
):
    first = World(tmp_path)
    crowd(first, 0, 3)
    other = World(tmp_path, networks=first.networks)
    other.faces.identify(first.networks.portrait("probe", 1))
    uid = first.faces.collections()[0].collection.uid
    write = other.indexes._saved

    def deleted_first(collection):
        first.faces.remove_collection("default")
        if is_made_anew:
            first.faces.add_collection("default")
        return write(collection)

    monkeypatch.setattr(other.indexes, "_saved", deleted_first)
    other.faces.close()
    assert list(tmp_path.rglob(f"{uid}-*")) == []
    first.close()
