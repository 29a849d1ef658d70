"""The version of a database's schema: told, checked and raised by the migrations.

It defines no table (``tables``) and no step (``migrations/versions``). Alembic is imported only by the functions that migrate or
compare: the check made when a store opens needs one query.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from facesearch.core.errors import SchemaVersionError, StoreError
from facesearch.store import access_tables  # noqa: F401 - its tables belong to the schema
from facesearch.store.engine import DEFAULT_BUSY_TIMEOUT_S, location_of, make_engine, open_transaction, parsed_url, sqlite_file
from facesearch.store.faults import database_errors
from facesearch.store.tables import Base, table_names

if TYPE_CHECKING:
    from alembic.config import Config

HEAD_REVISION = "0005"
"""The revision this release works with. Revisions are four-digit numbers that only rise, so older and newer can be told apart."""

_VERSION = table("alembic_version", column("version_num"))


def head() -> str:
    """Return the newest revision among the migrations that came with this release."""
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory.from_config(migration_config()).get_current_head()
    if revision is None:
        raise StoreError(f"there are no migrations in {_script_folder()}; install facesearch again")
    return revision


def current(url: str) -> str | None:
    """Return the revision of a database's schema, or None for one without facesearch's tables; makes no file.

    Raises:
        SettingsError: The URL is not one of a supported database.
        StoreError: The database failed.
    """
    parsed = parsed_url(url)
    path = sqlite_file(parsed)
    where = location_of(parsed)
    with database_errors(where):
        is_absent = path is not None and not path.exists()
    if is_absent:
        return None
    engine = make_engine(parsed, busy_timeout_s=DEFAULT_BUSY_TIMEOUT_S)
    try:
        with open_transaction(engine, where, is_writing=False, busy_timeout_s=DEFAULT_BUSY_TIMEOUT_S) as connection:
            return found_revision(connection, where)
    finally:
        engine.dispose()


def upgrade(url: str, *, busy_timeout_s: float = DEFAULT_BUSY_TIMEOUT_S) -> None:
    """Bring a database to this release's schema, made first where there is none; does nothing to one that is there.

    All steps are one transaction, and processes take turns: two that start on the same new database both succeed.

    Raises:
        SettingsError: The URL is not one of a supported database.
        SchemaVersionError: The database is of a newer facesearch.
        StoreError: The database failed.
    """
    from alembic import command

    parsed = parsed_url(url)
    where = location_of(parsed)
    with database_errors(where):
        engine = make_engine(parsed, busy_timeout_s=busy_timeout_s, create=True, for_migration=True)
    with open_transaction(engine, where, is_writing=True, busy_timeout_s=busy_timeout_s) as connection:
        found = found_revision(connection, where)
        if found == HEAD_REVISION:
            return
        if found is not None and found > HEAD_REVISION:
            raise SchemaVersionError(_newer(where, found), found=found, expected=HEAD_REVISION)
        with database_errors(where):
            command.upgrade(migration_config(connection), "head")
        _require_sound_references(connection, where)


def check(url: str) -> None:
    """Raise unless a database has exactly this release's tables. Tables of other programs beside them are allowed.

    Raises:
        SettingsError: The URL is not one of a supported database.
        SchemaVersionError: The schema is older, newer or absent.
        StoreError: The version is right but a table differs from the models; or the database failed.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    parsed = parsed_url(url)
    where = location_of(parsed)
    path = sqlite_file(parsed)
    with database_errors(where):
        is_absent = path is not None and not path.exists()
    if is_absent:
        raise SchemaVersionError(_absent(where), found=None, expected=HEAD_REVISION)
    engine = make_engine(parsed, busy_timeout_s=DEFAULT_BUSY_TIMEOUT_S)
    try:
        with open_transaction(engine, where, is_writing=False, busy_timeout_s=DEFAULT_BUSY_TIMEOUT_S) as connection:
            require_current(connection, where)
            with database_errors(where):
                options = {"include_name": _is_ours, "compare_type": True}
                differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    finally:
        engine.dispose()
    if differences:
        raise StoreError(
            f"{where} differs from its own version's tables; restore it from a backup: {differences[0]}", database=where
        )


def found_revision(connection: Connection, where: str) -> str | None:
    """Return the revision that a database says it has, or None for one without facesearch's tables.

    Raises:
        SchemaVersionError: Tables of facesearch's names, but no version.
        StoreError: The database failed.
    """
    with database_errors(where):
        present = set(inspect(connection).get_table_names())
        row = connection.execute(select(_VERSION.c.version_num)).first() if _VERSION.name in present else None
    if row is not None:
        return str(row[0])
    strangers = sorted(present.intersection(table_names()))
    if strangers:
        raise SchemaVersionError(
            f"{where} has tables {', '.join(strangers)} but no version of facesearch's schema; name another database", found=None
        )
    return None


def require_current(connection: Connection, where: str) -> None:
    """Raise unless a database's schema has this release's version.

    Raises:
        SchemaVersionError: It is older, newer or absent; says what to do.
    """
    found = found_revision(connection, where)
    if found == HEAD_REVISION:
        return
    if found is None:
        message = _absent(where)
    elif found < HEAD_REVISION:
        message = (
            f"{where} has the schema {found} of an older facesearch, this one needs {HEAD_REVISION}: run `facesearch db upgrade`"
        )
    else:
        message = _newer(where, found)
    raise SchemaVersionError(message, found=found, expected=HEAD_REVISION)


def migration_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, built in code so that an installed package migrates too.

    Args:
        connection: Inside a transaction; None where only the scripts are read.
    """
    from alembic.config import Config

    config = Config()
    # A percent sign would be read as an interpolation.
    config.set_main_option("script_location", str(_script_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _script_folder() -> Path:
    """Return the folder of migrations: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError("the migrations that came with facesearch are missing; install it again")


def _require_sound_references(connection: Connection, where: str) -> None:
    """Check what SQLite's foreign keys, off while tables are rebuilt, would have refused."""
    if connection.dialect.name != "sqlite":
        return
    with database_errors(where):
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise StoreError(f"{where} has a row of {broken[0]} without its {broken[2]}; nothing was changed", table=broken[0])


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in table_names()


def _absent(where: str) -> str:
    return f"{where} has no tables of facesearch: run `facesearch db upgrade`"


def _newer(where: str, found: str) -> str:
    return f"{where} has the schema {found} of a newer facesearch, this one knows {HEAD_REVISION}: upgrade facesearch"
