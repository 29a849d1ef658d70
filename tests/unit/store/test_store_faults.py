"""A database that cannot be used gives one clear error of the house, and loses nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from facesearch.core.errors import FaceSearchError, LabelTakenError, SchemaVersionError, SettingsError, StoreError
from facesearch.store import schema
from facesearch.store.engine import location_of, parsed_url
from facesearch.store.sql import SqlStore
from facesearch.store.tables import CollectionRow, IdentityRow
from tests.store_builders import ENROLLED_AT, new_face, picture

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(f"sqlite:///{path}", busy_timeout_s=0.2)
    with opened.writing() as writer:
        writer.add_collection("default")
    yield opened
    opened.close()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Permissions do not hold for root, so give them up for a test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def open_and_read(path: Path, **options: object) -> None:
    store = SqlStore(f"sqlite:///{path}", busy_timeout_s=0.2, **options)
    try:
        with store.reading() as reader:
            reader.collections()
    finally:
        store.close()


def test_a_folder_given_as_file(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        open_and_read(tmp_path)


def test_a_file_given_as_folder(path):
    path.write_text("in the way")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_and_read(path / "gallery.db")


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip file, say" * 100, b"x" * 50_000])
def test_a_file_that_is_no_database_is_named_and_kept(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"gallery\.db is not a SQLite database"):
        open_and_read(path)
    assert path.read_bytes() == content


def test_a_damaged_database(store, path):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        for seed in range(40):
            writer.add_face(ada, new_face(seed, dim=128))
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged; restore it from a backup"):
        open_and_read(path)


def test_a_database_of_another_program(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE faces (who TEXT)")
    connection.close()
    with pytest.raises(SchemaVersionError, match="faces"):
        open_and_read(path)


def test_an_absent_database_is_not_made_where_that_is_not_wanted(path):
    with pytest.raises(StoreError, match="facesearch db upgrade"):
        open_and_read(path, create=False)
    assert not path.exists()


def test_a_new_database_and_its_folder_are_for_their_owner_only(tmp_path):
    new = tmp_path / "not" / "there yet %20 +&" / "gallery #1.db"
    open_and_read(new)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    with sqlite3.connect(new) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_folder_that_cannot_be_written(shared_folder, ordinary_user):
    with pytest.raises(StoreError, match="give write permission"):
        open_and_read(shared_folder / "new" / "gallery.db")
    with pytest.raises(StoreError, match="give write permission"):
        open_and_read(shared_folder / "gallery.db")
    assert list(shared_folder.iterdir()) == []


def test_a_database_that_cannot_be_written(shared_folder, request):
    path = shared_folder / "gallery.db"
    open_and_read(path)
    for file in shared_folder.iterdir():
        file.chmod(0o444)
    request.getfixturevalue("ordinary_user")
    store = SqlStore(f"sqlite:///{path}", busy_timeout_s=0.2)
    with pytest.raises(StoreError, match=r"gallery\.db (is read-only|cannot be opened)"):
        store.writing().__enter__()
    store.close()


def test_a_locked_database(store, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="stayed locked by another process") as caught:
        store.writing().__enter__()
    assert caught.value.context["code"] == "SQLITE_BUSY"
    with store.reading() as reader:
        assert reader.counts("default") == (0, 0)
    other.execute("ROLLBACK")
    other.close()
    with store.writing() as writer:
        writer.add_identity("default", "Ada")


def test_a_full_disk_keeps_nothing_of_the_change(store):
    def enroll_until_full() -> None:
        with store.writing() as writer:
            ada = writer.add_identity("default", "Ada").identity_id
            writer._session._connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes the present size instead
            for seed in range(50):
                writer.add_face(ada, new_face(seed, kept=picture(seed, 50_000)))

    with pytest.raises(StoreError, match="no space is left") as caught:
        enroll_until_full()
    assert caught.value.__cause__ is not None
    with store.reading() as reader:
        assert reader.counts("default") == (0, 0)
        assert reader.collection("default").revision == 0


def test_an_error_that_was_swallowed_is_not_committed(store):
    # SQLite ends the transaction by itself when the disk is full; what follows would be committed statement by statement.
    def go_on_after_an_error() -> None:
        with store.writing() as writer:
            ada = writer.add_identity("default", "Ada").identity_id
            writer._session._connection.exec_driver_sql("PRAGMA max_page_count = 1")
            with pytest.raises(StoreError, match="no space"):
                writer.add_face(ada, new_face(1, kept=picture(1, 500_000)))
            writer._session._connection.exec_driver_sql("PRAGMA max_page_count = 100000")
            with pytest.raises(StoreError, match="nothing of the transaction was kept"):
                writer.add_identity("default", "Half")

    with pytest.raises(StoreError, match="nothing of the transaction was kept"):
        go_on_after_an_error()
    with store.reading() as reader:
        assert reader.counts("default") == (0, 0)


def test_a_violated_constraint_is_a_taken_label(store):
    ada = {"collection_id": 1, "label": "Ada", "tags": [], "enrolled_at": ENROLLED_AT}
    with store.writing() as writer:
        writer.add_identity("default", "Ada")
    for statement in (insert(IdentityRow).values(ada), insert(CollectionRow).values(name="default", revision=0, uid="0" * 32)):
        with pytest.raises(LabelTakenError), store.writing() as writer:
            writer._session.insert(statement)


def test_a_damaged_row_is_named(store, path):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        template_id = writer.add_face(ada, new_face(1)).template_id
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE templates SET vector = substr(vector, 1, 10)")
    connection.close()
    with store.reading() as reader:
        for read in (
            lambda: reader.templates_of(ada),
            lambda: list(reader.template_batches("default", new_face(1).template.embedder_id)),
        ):
            with pytest.raises(FaceSearchError, match=f"template {template_id} has 10 bytes") as caught:
                read()
            assert caught.value.code == "template_format"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:hunter2@db/x", "not supported; use sqlite"),
        ("postgresql+asyncpg://root:hunter2@db/x", "not supported"),
        ("oracle+cx://u:hunter2@h", "not supported"),
        ("gallery.db", "cannot be read"),
        ("", "cannot be read"),
        ("://hunter2", "cannot be read"),
        ("sqlite://", "name a file"),
        ("sqlite://host/a.db", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///a.db?mode=ro", "no question mark"),
        ("sqlite:///who?/a.db", "no question mark"),
    ],
)
def test_urls_that_cannot_be_used_are_refused_at_once(url, message):
    with pytest.raises(SettingsError, match=message) as caught:
        SqlStore(url)
    assert "hunter2" not in str(caught.value)


def test_passwords_never_show():
    url = "postgresql://ada:hunter2@127.0.0.1:1/faces?password=hunter2"
    assert "hunter2" not in location_of(parsed_url(url))
    store = SqlStore(url, busy_timeout_s=0.1)
    assert "hunter2" not in store.location
    with pytest.raises(StoreError, match=r"'faces' on 127\.0\.0\.1 cannot be reached") as caught:
        store.reading().__enter__()
    assert "hunter2" not in f"{caught.value} {caught.value.context} {caught.value.__cause__}"


def test_a_missing_driver_names_the_extra():
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from facesearch.core.errors import StoreError\n"
        "from facesearch.store.sql import SqlStore\n"
        "try:\n    SqlStore('postgresql://localhost/x').reading().__enter__()\n"
        "except StoreError as exc:\n    print(exc)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert "pip install 'facesearch[postgresql]'" in done.stdout


def test_opening_a_store_that_is_there_imports_no_alembic(store, path):
    script = (
        f"import sys\nfrom facesearch.store.sql import SqlStore\nwith SqlStore('sqlite:///{path}').reading() as reader:\n"
        "    print([one.name for one in reader.collections()], 'alembic' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert done.stdout == "['default'] False\n"


def test_making_a_store_connects_to_nothing(path):
    SqlStore(f"sqlite:///{path}").close()
    assert not path.exists()
    assert schema.current(f"sqlite:///{path}") is None
    assert not path.exists()
