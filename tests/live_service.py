"""The service of ``tests.api_world`` behind a real socket, for tests that speak HTTP to it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import uvicorn

from facesearch.core.access import Scope
from tests.api_world import Api

START_S = 30


class LiveService:
    """A server on a free port of this machine, on a thread of its own.

    Args:
        folder: Where the database and the audit log's files go.
        **settings: Of the service.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.api = Api(folder, **settings)
        config = uvicorn.Config(
            self.api.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False, ws="none", loop="asyncio"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the service did not start")
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def key(self, *scopes: Scope, **options: Any) -> str:
        """Return the text of a new key, of every scope where none is named."""
        return self.api.key(*(scopes or tuple(Scope)), **options)

    def close(self) -> None:
        """Stop."""
        self._server.should_exit = True
        self._thread.join()
        self.api.close()
