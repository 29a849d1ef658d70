"""Lists in pages: a limit, and a cursor that says where the next page begins.

A cursor is opaque, belongs to one list with its filters, and is refused when it was altered. It is no secret: it tells what its
holder has just read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from facesearch.core.errors import InputError

Item = TypeVar("Item")

MAX_LIMIT = 500
DEFAULT_LIMIT = 50

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=4000, description="`next_cursor` of the page before; leave it out for the first.")]

_CHECK_BYTES = 8


def paged(
    found: Sequence[Item], limit: int, about: Sequence[object], position_of: Callable[[Item], str | int]
) -> tuple[list[Item], str | None]:
    """Return a page and the cursor of the next one.

    Args:
        found: One item more than the limit where there are more.
        limit: Items of a page.
        about: The list and its filters; a cursor of another list is refused.
        position_of: What the next page goes on after.
    """
    page = list(found[:limit])
    return page, cursor_of(about, position_of(page[-1])) if len(found) > limit else None


def cursor_of(about: Sequence[object], position: str | int) -> str:
    """Return the cursor of the page after a position."""
    data = json.dumps(position, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_check(about, data) + data).rstrip(b"=").decode()


def text_position(about: Sequence[object], cursor: str | None) -> str:
    """Return the text that a cursor goes on after, empty for the first page.

    Raises:
        InputError: It was altered, or belongs to another list or other filters.
    """
    position = _position(about, cursor) if cursor else ""
    if not isinstance(position, str):
        raise _refused()
    return position


def number_position(about: Sequence[object], cursor: str | None) -> int:
    """Return the number that a cursor goes on after, 0 for the first page; raises as ``text_position``."""
    position = _position(about, cursor) if cursor else 0
    if not isinstance(position, int):
        raise _refused()
    return position


def _position(about: Sequence[object], cursor: str) -> Any:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, data = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        is_whole = base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == cursor  # spare bits of the last character are zero
        if not (is_whole and hmac.compare_digest(check, _check(about, data))):
            raise _refused()
        return json.loads(data)
    except (binascii.Error, UnicodeError, ValueError) as exc:
        raise _refused() from exc


def _check(about: Sequence[object], data: bytes) -> bytes:
    text = json.dumps([str(one) for one in about], ensure_ascii=True).encode()
    return hashlib.sha256(b"facesearch-cursor-1\n" + text + b"\n" + data).digest()[:_CHECK_BYTES]


def _refused() -> InputError:
    return InputError("the cursor is none of this list; begin at the first page again")
