"""An application behind a real socket, in a thread of the test's own process."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import uvicorn

START_S = 30.0


class LiveServer:
    """Serves an ASGI application on a free port of this machine until it is closed.

    Args:
        app: The application; its lifespan is left alone, its owner closes what it opened.
    """

    def __init__(self, app: Any) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, lifespan="off", log_level="error", access_log=False, timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise TimeoutError(f"the server did not start within {START_S:g} s")
            time.sleep(0.02)

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
