"""An enrolled person named by label or by id.

Labels are what people type; ids stay when somebody is renamed, and are no personal data: the service's addresses hold them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from facesearch.core.errors import PreconditionFailedError, UnknownIdentityError
from facesearch.core.identity import Identity, checked_label
from facesearch.core.protocols import StoreReader

Who = str | int
"""A label, or an identity id."""


def person_of(reader: StoreReader, collection: str, who: Who) -> Identity:
    """Return a person of a collection.

    Raises:
        UnknownCollectionError: There is no such collection.
        UnknownIdentityError: Nobody in it has this label or id.
    """
    if isinstance(who, str):
        return reader.identity(collection, checked_label(who))
    owner = reader.collection(collection)
    found = reader.identities_by_id([who]).get(who)
    if found is None or found.collection != owner.name:
        raise UnknownIdentityError(f"nobody in collection {owner.name!r} has the id {who}", identity_id=who, collection=owner.name)
    return found


def version_of(identity: Identity, template_ids: Iterable[int]) -> str:
    """Return what changes whenever a person's label, tags or templates do: 32 hex digits."""
    about = [identity.identity_id, identity.label, list(identity.tags), sorted(template_ids)]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def require_version(reader: StoreReader, identity: Identity, wanted: str | None) -> None:
    """Raise unless a person is still as somebody saw it.

    Args:
        reader: The transaction in which the person is about to be changed.
        identity: The person.
        wanted: The version seen; None asks for nothing.

    Raises:
        PreconditionFailedError: The person was changed since.
    """
    if wanted is None:
        return
    if wanted != version_of(identity, (one.template_id for one in reader.templates_of(identity.identity_id))):
        raise PreconditionFailedError(
            f"identity {identity.identity_id} was changed since version {wanted[:40]!r} was read; read it again",
            identity_id=identity.identity_id,
        )
