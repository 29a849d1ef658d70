"""The schema's version on each database: made, told, checked, refused, taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, PrimaryKeyConstraint, create_engine, inspect, make_url

from facesearch.core.errors import SchemaVersionError, StoreError
from facesearch.store import schema
from facesearch.store.engine import parsed_url
from facesearch.store.sql import SqlStore
from facesearch.store.tables import Base, table_names


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(parsed_url(url))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_the_constant_is_the_newest_migration():
    assert schema.head() == schema.HEAD_REVISION
    assert re.fullmatch(r"\d{4}", schema.HEAD_REVISION)


def test_upgrading_makes_exactly_the_models_tables(empty_url):
    assert schema.current(empty_url) is None
    schema.upgrade(empty_url)
    assert schema.current(empty_url) == schema.HEAD_REVISION
    schema.check(empty_url)
    with connected(empty_url) as connection:
        assert set(inspect(connection).get_table_names()) == {*table_names(), "alembic_version"}
    schema.upgrade(empty_url)
    schema.check(empty_url)


def test_constraints_have_the_models_names(empty_url):
    schema.upgrade(empty_url)
    with connected(empty_url) as connection:
        inspector = inspect(connection)
        for table in Base.metadata.sorted_tables:
            made = {one["name"] for one in inspector.get_unique_constraints(table.name)}
            made |= {one["name"] for one in inspector.get_foreign_keys(table.name)}
            made |= {one["name"] for one in inspector.get_indexes(table.name) if not one.get("duplicates_constraint")}
            named = [one for one in table.constraints if not isinstance(one, PrimaryKeyConstraint)]  # SQLite's have no name
            expected = {str(one.name) for one in named} | {str(one.name) for one in table.indexes}
            assert made == expected


def test_every_foreign_key_leads_an_index():
    for table in Base.metadata.sorted_tables:
        leading = {next(iter(index.columns)).name for index in table.indexes}
        leading |= {
            next(iter(one.columns)).name for one in table.constraints if hasattr(one, "columns") and not hasattr(one, "elements")
        }
        for key in table.foreign_keys:
            assert key.parent.name in leading, f"{table.name}.{key.parent.name} has no index"


def test_downgrading_takes_every_table_away(empty_url):
    from alembic import command

    schema.upgrade(empty_url)
    with connected(empty_url) as connection:
        command.downgrade(schema.migration_config(connection), "base")
    with connected(empty_url) as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    schema.upgrade(empty_url)
    schema.check(empty_url)


@pytest.mark.parametrize(("revision", "advice"), [("0000", "facesearch db upgrade"), ("9999", "newer facesearch")])
def test_another_version_is_refused_with_what_to_do(empty_url, revision, advice):
    schema.upgrade(empty_url)
    with connected(empty_url) as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    store = SqlStore(empty_url)
    for refused in (lambda: schema.check(empty_url), lambda: store.reading().__enter__(), lambda: store.writing().__enter__()):
        with pytest.raises(SchemaVersionError, match=advice) as caught:
            refused()
        assert caught.value.context["found"] == revision
    if revision == "9999":
        with pytest.raises(SchemaVersionError, match=advice):
            schema.upgrade(empty_url)


def test_a_database_without_tables_is_made_only_when_allowed(empty_url):
    strict = SqlStore(empty_url, create=False)
    with pytest.raises(StoreError, match="facesearch db upgrade"):
        strict.reading().__enter__()
    with pytest.raises(SchemaVersionError, match="facesearch db upgrade"):
        schema.check(empty_url)
    assert schema.current(empty_url) is None
    assert empty_url.startswith("postgresql") or not Path(str(make_url(empty_url).database)).exists()
    made = SqlStore(empty_url)
    with made.reading() as reader:
        assert reader.collections() == ()
    made.close()
    with strict.reading() as reader:
        assert reader.collections() == ()
    strict.close()


def test_tables_of_our_names_without_a_version_are_left_alone(empty_url):
    with connected(empty_url) as connection:
        connection.exec_driver_sql("CREATE TABLE identities (surname TEXT)")
    with pytest.raises(SchemaVersionError, match="identities"):
        SqlStore(empty_url).reading().__enter__()
    with pytest.raises(SchemaVersionError, match="identities"):
        schema.upgrade(empty_url)


def test_tables_of_others_are_no_matter(empty_url):
    with connected(empty_url) as connection:
        connection.exec_driver_sql("CREATE TABLE invoices (id INTEGER PRIMARY KEY)")
    store = SqlStore(empty_url)
    with store.writing() as writer:
        writer.add_collection("default")
    store.close()
    schema.check(empty_url)


def test_a_changed_table_is_noticed(empty_url):
    schema.upgrade(empty_url)
    with connected(empty_url) as connection:
        connection.exec_driver_sql("ALTER TABLE identities ADD COLUMN nickname TEXT")
    with pytest.raises(StoreError, match="nickname"):
        schema.check(empty_url)


def test_a_step_that_fails_leaves_the_database_as_it_was(empty_url):
    with connected(empty_url) as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        # The first of the migration's indexes exists already, so creating it fails after several tables were made.
        connection.exec_driver_sql("CREATE INDEX ix_images_collection_id_digest ON parent (id)")
    with pytest.raises(StoreError, match="ix_images_collection_id_digest"):
        schema.upgrade(empty_url)
    assert schema.current(empty_url) is None
    with connected(empty_url) as connection:
        assert inspect(connection).get_table_names() == ["parent"]
