"""The Python client of the service: typed calls over HTTP; needs the extra ``client`` and nothing of the library.

``Client`` waits, ``AsyncClient`` is for ``asyncio``. A photograph is bytes, a path (read here) or an open file; a refusal is an
exception of ``facesearch.client.errors``, named by its code.
"""

from facesearch.client.async_client import AsyncClient
from facesearch.client.bulk import Labelled, enroll_many, go_on
from facesearch.client.calls import Retries
from facesearch.client.client import Client
from facesearch.client.errors import ApiError, ConnectionFailedError

__all__ = ["ApiError", "AsyncClient", "Client", "ConnectionFailedError", "Labelled", "Retries", "enroll_many", "go_on"]
