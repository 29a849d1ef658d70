"""What every model of the client has: fields of a newer service are kept, and the answer's ETag is there.

The models themselves are written by ``facesearch.api.generate_client``.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PrivateAttr


class ApiModel(BaseModel):
    """An answer of the service, or a part of one. Fields that this client does not know yet are kept as they came."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    _etag: str | None = PrivateAttr(default=None)

    @property
    def etag(self) -> str | None:
        """The version of what was answered, for ``if_match``; None where the answer carried none."""
        return self._etag

    def with_etag(self, etag: str | None) -> None:
        """Remember the version of the answer."""
        self._etag = etag
