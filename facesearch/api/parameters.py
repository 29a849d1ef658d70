"""Parameters of addresses and headers that several routes have."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Header, Path

from facesearch.api.schemas.base import MAX_ID
from facesearch.core.errors import InputError, LabelError
from facesearch.core.identity import checked_label

CollectionPath = Annotated[str, Path(min_length=1, max_length=200, description="The collection's name.")]
IdentityPath = Annotated[int, Path(ge=1, le=MAX_ID, description="The person's id.")]
TemplatePath = Annotated[int, Path(ge=1, le=MAX_ID, description="The face's template id.")]
IfMatch = Annotated[
    str | None,
    Header(max_length=200, description="`ETag` of the person as it was read; the change is refused where it is another now."),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        max_length=2000, description="`ETag` of what the client has; the answer is a 304 without a body where it is the same now."
    ),
]
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What `If-None-Match` names is still what is there."}}
"""The answer to such a header, for the description of a route."""

_ETAG = re.compile(r'\s*"([\x21\x23-\x7e]*)"\s*')
_LISTED = re.compile(r'"([\x21\x23-\x7e]*)"')


def new_collection(name: str) -> str:
    """Return the name of a collection that may be made, in its normal form.

    Raises:
        LabelError: It is no name, or one that no address could hold: nobody could reach the collection again.
    """
    checked = checked_label(name, what="collection name")
    if "/" in checked or checked in (".", ".."):
        raise LabelError(f"the collection name {checked!r} cannot be part of an address: leave out '/'")
    return checked


def etag(version: str) -> str:
    """Return the ``ETag`` of a version."""
    return f'"{version}"'


def wanted_version(if_match: str | None) -> str | None:
    """Return the version that a header ``If-Match`` asks for; None where it asks for none.

    Raises:
        InputError: Neither one strong entity tag nor ``*``.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match)
    if found is None:
        raise InputError("If-Match is one ETag as it was received, quotes included, or *")
    return found[1]


def is_known(version: str, if_none_match: str | None) -> bool:
    """Return whether a header ``If-None-Match`` names a version; what is no entity tag names none (RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or version in _LISTED.findall(if_none_match)
