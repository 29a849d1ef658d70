"""Whether bytes contain other bytes, in each database's own SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class Contains(FunctionElement[bool]):
    """``Contains(column, wanted)``: true where the bytes ``wanted`` are somewhere in those of the column."""

    type = Boolean()
    inherit_cache = True


@compiles(Contains)
def _in_standard_sql(element: Contains, compiler: SQLCompiler, **options: Any) -> str:
    held, wanted = (compiler.process(one, **options) for one in element.clauses)
    return f"(position({wanted} IN {held}) > 0)"


@compiles(Contains, "sqlite")
def _in_sqlite(element: Contains, compiler: SQLCompiler, **options: Any) -> str:
    held, wanted = (compiler.process(one, **options) for one in element.clauses)
    return f"(instr({held}, {wanted}) > 0)"
