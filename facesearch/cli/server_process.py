"""The service's processes: the socket, uvicorn, its workers, and their end.

The application itself is named to uvicorn by its import string: nothing of it is imported here.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from facesearch.core.errors import ServiceError, SettingsError

if TYPE_CHECKING:
    from uvicorn import Config

    from facesearch.server_settings import ServerSettings

APP = "facesearch.api.server:app_from_environment"
APP_OF_WORKER = "facesearch.api.server:app_of_worker"
HTTP = "facesearch.api.connections:TimedProtocol"
LOOP_OF_WORKER = "facesearch.api.fair_accept:new_loop"

NEEDED = ("fastapi", "httptools", "multipart", "prometheus_client", "python_multipart", "uvicorn")
"""Packages of the extra ``server``."""

BACKLOG = 512
"""Connections that wait to be accepted."""

MAX_CONNECTIONS = 800
"""Connections of a process: below the 1024 files that a process may have open by default, with room for databases."""

_COUNTS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def require_server_packages() -> None:
    """Raise where the extra ``server`` is not installed.

    Raises:
        SettingsError: A package is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"the service needs packages that are not installed ({', '.join(missing)}): pip install 'facesearch[server]'",
            missing=missing,
        )


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Raises:
        SettingsError: The address is in use, is not one of this machine, or may not be taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as exc:
        raise SettingsError(f"the address {host!r} is unknown: {exc.strerror or exc}", host=host) from exc
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as exc:
        bound.close()
        if exc.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} of {host} is in use: stop what listens there, or choose another with --port", host=host, port=port
            ) from exc
        raise SettingsError(f"{host}, port {port}, cannot be listened on: {exc.strerror}", host=host, port=port) from exc
    bound.set_inheritable(True)
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the address of a bound socket as a browser takes it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(settings: ServerSettings, bound: socket.socket, variables: Mapping[str, str]) -> None:
    """Answer requests until SIGTERM or Ctrl-C; requests in work are finished.

    Args:
        settings: The service's settings.
        bound: A bound socket; closed at the end.
        variables: What the processes find in their environment: settings given as options.

    Raises:
        FaceSearchError: The application could not be made.
        ServiceError: A worker could not start; it said why on standard error.
    """
    from uvicorn import Server

    config = _config(settings, variables)
    with bound, _signals_end_quietly():
        if settings.workers == 1:
            with suppress(KeyboardInterrupt):
                Server(config).run(sockets=[bound])
            return
        _run_workers(config, bound)


def _config(settings: ServerSettings, variables: Mapping[str, str]) -> Config:
    from uvicorn import Config

    os.environ.update(variables)
    return Config(
        APP if settings.workers == 1 else APP_OF_WORKER,
        factory=True,
        workers=settings.workers,
        loop="auto" if settings.workers == 1 else LOOP_OF_WORKER,
        http=HTTP,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout_s)),
    )


def _run_workers(config: Config, bound: socket.socket) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    counts = tempfile.mkdtemp(prefix="facesearch-counts-")
    os.environ[_COUNTS_VARIABLE] = counts
    try:

        class Supervisor(Multiprocess):
            def terminate_all(self) -> None:
                # Who comes now is refused at once; left open here, the socket would let them wait for nobody.
                bound.close()
                super().terminate_all()

        supervisor = Supervisor(config, sockets=[bound])
        with suppress(KeyboardInterrupt):
            supervisor.run()
    finally:
        shutil.rmtree(counts, ignore_errors=True)
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise ServiceError("a process of the service could not start; it said why above")


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Let SIGTERM be no more than what ends the server: uvicorn raises it again once it is done, which would end this process."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
