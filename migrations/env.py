"""Runs the migrations on the connection it is handed.

It reads no file and opens no connection: ``facesearch.store.schema`` builds the configuration, begins the transaction and takes the
writers' turn. To write a migration, change ``facesearch/store/tables.py``, add ``versions/<next number>_<what>.py`` (its docstring
says why), raise ``schema.HEAD_REVISION``, and let the tests compare the two.
"""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError

from facesearch.store.tables import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise CommandError("migrations run through facesearch.store.schema, which hands them a connection")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter a table in place: batch mode rebuilds it.
    render_as_batch=True,
    compare_type=True,
    # Every step runs in the caller's transaction; a failed one leaves the database as it was.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
