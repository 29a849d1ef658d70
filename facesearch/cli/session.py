"""What one command line works with: its settings and the way to the library.

It opens nothing itself: settings are built, and the library imported, by the first command that needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from socket import socket

    from facesearch.bootstrap import Parts
    from facesearch.core.image import Image
    from facesearch.embedding.card import EmbedderCard
    from facesearch.embedding.library import ModelLibrary
    from facesearch.server_settings import ServerSettings
    from facesearch.service.access_desk import AccessDesk
    from facesearch.service.evaluation import Evaluation
    from facesearch.service.facade import FaceSearchService
    from facesearch.settings import Settings

STDIN = "-"
"""The name of a photograph that is read from standard input."""


class Library:
    """The way from settings to the library's objects, imported when first asked for."""

    def parts(self, settings: Settings) -> Parts:
        """Return the objects of these settings."""
        from facesearch.bootstrap import Parts

        return Parts(settings)

    def service(self, settings: Settings) -> FaceSearchService:
        """Return the library's front."""
        from facesearch.bootstrap import FaceSearch

        return FaceSearch(settings=settings)

    def decode(self, settings: Settings, photo: str | bytes) -> Image:
        """Return a decoded photograph."""
        return self.parts(settings).decode(photo)

    def models(self, settings: Settings) -> ModelLibrary:
        """Return the embedders that are installed."""
        return self.parts(settings).models

    def computed_in(self, settings: Settings, card: EmbedderCard) -> str:
        """Return what an embedder's network is computed in under these settings, in words, without loading it."""
        from facesearch.core.errors import EngineError, SettingsError
        from facesearch.embedding.networks import network_spec

        try:
            engine = self.parts(settings).engine
            return f"{engine.precision_of(network_spec(card))} (engine {engine.name}, precision {engine.precision})"
        except (EngineError, SettingsError) as exc:
            return f"nothing: {exc.message}"

    def evaluation(self, settings: Settings) -> Evaluation:
        """Return what measures error rates."""
        return self.parts(settings).evaluation

    def access(self, settings: Settings, server: ServerSettings) -> AccessDesk:
        """Return what looks after API keys, and the audit log."""
        from facesearch.service.access_desk import AccessDesk
        from facesearch.service.api_keys import ApiKeys
        from facesearch.service.audit import AuditLog

        store = self.parts(settings).store
        audit = AuditLog(store, server.audit_key(settings), server.audit_head(settings))
        return AccessDesk(ApiKeys(store), audit, store.close)

    def n_api_keys(self, settings: Settings) -> int:
        """Return how many API keys there are, of any kind."""
        from facesearch.service.api_keys import ApiKeys

        store = self.parts(settings).store
        try:
            return len(ApiKeys(store).list())
        finally:
            store.close()

    def serve(self, server: ServerSettings, bound: socket, variables: Mapping[str, str]) -> None:
        """Answer requests on a bound socket until a signal ends it; see ``server_process.run_server``."""
        from facesearch.cli.server_process import run_server

        run_server(server, bound, variables)


@dataclass
class Session:
    """One command line.

    Attributes:
        library: The way to the library.
        overrides: Settings given as options.
        config: Settings file given as an option.
    """

    library: Library = field(default_factory=Library)
    overrides: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None
    _has_read_stdin: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings: defaults < file < environment < options.

        Raises:
            SettingsError: One of them is wrong.
        """
        from facesearch.settings import Settings

        with self._config_named():
            return Settings(**self.overrides)

    def server_settings(self, **overrides: Any) -> ServerSettings:
        """Return the service's settings: defaults < file < environment < options.

        Args:
            **overrides: Options by name.

        Raises:
            SettingsError: One of them is wrong.
        """
        from facesearch.server_settings import ServerSettings

        with self._config_named():
            return ServerSettings(**overrides)

    def access(self) -> AccessDesk:
        """Return what looks after API keys, and the audit log; a context manager.

        Raises:
            SettingsError: A setting is wrong.
        """
        return self.library.access(self.settings, self.server_settings())

    @contextmanager
    def _config_named(self) -> Iterator[None]:
        """Name the settings file of the options to whatever is built in the block."""
        from facesearch.settings import CONFIG_VARIABLE

        if self.config is None:
            yield
            return
        before = os.environ.get(CONFIG_VARIABLE)
        os.environ[CONFIG_VARIABLE] = str(self.config)
        try:
            yield
        finally:
            if before is None:
                del os.environ[CONFIG_VARIABLE]
            else:
                os.environ[CONFIG_VARIABLE] = before

    @property
    def collection(self) -> str:
        """The collection that the command works on."""
        return self.settings.collection

    def service(self) -> FaceSearchService:
        """Return the library's front; a context manager."""
        return self.library.service(self.settings)

    def photo(self, name: str) -> str | bytes:
        """Return a photograph to hand on: its path, or the bytes of standard input for ``-``.

        Raises:
            InputError: Standard input was asked for twice.
        """
        if name != STDIN:
            return name
        if self._has_read_stdin:
            raise InputError("standard input (-) can be read only once: name a file for the other photograph")
        self._has_read_stdin = True
        # One byte past the limit is enough for the decoder to refuse it with its own message.
        return sys.stdin.buffer.read(self.settings.max_image_bytes + 1)

    def decode(self, name: str) -> Image:
        """Return a decoded photograph."""
        return self.library.decode(self.settings, self.photo(name))


def session_of(context: typer.Context) -> Session:
    """Return the session of a command."""
    session = context.obj
    if not isinstance(session, Session):
        raise TypeError("the app is run through facesearch.cli.main.execute, which makes the session")
    return session
