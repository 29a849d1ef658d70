"""The service over the small world of ``tests.world``: real routes, keys, store and index, known faces, no sockets.

``Api`` asks the application as a client would; its photographs are real PNG files whose faces are known.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Coroutine
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image as PilImage

from facesearch.api.app import create_app
from facesearch.api.bulk import close_bulk
from facesearch.api.context import ServerContext
from facesearch.api.metrics import Metrics
from facesearch.api.work import WorkPool
from facesearch.core.access import Scope
from facesearch.core.face import Detection
from facesearch.core.image import Image
from facesearch.embedding.library import ModelLibrary
from facesearch.imaging.decode import DecodeLimits, decode_image
from facesearch.server_settings import ServerSettings
from facesearch.service.api_keys import ApiKeys
from facesearch.service.audit import AuditLog
from facesearch.service.idempotency import IdempotencyKeys
from facesearch.service.job_records import JobRecords
from facesearch.service.rate_limits import RateLimits
from tests.world import FakeNetworks, World, face_at, person_vector

LIMITS = DecodeLimits(max_bytes=8 * 2**20, max_pixels=2_000_000)


class ApiNetworks(FakeNetworks):
    """Networks that know the faces of encoded photographs; the decoder is the real one, with its limits."""

    def png(self, name: str, *faces: tuple[Detection, np.ndarray], size: int = 64) -> bytes:
        """Return a photograph as a PNG file of random pixels with known faces."""
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
        stream = BytesIO()
        PilImage.fromarray(pixels).save(stream, "PNG")
        data = stream.getvalue()
        self.faces[hashlib.sha256(data).hexdigest()] = tuple(sorted(faces, key=lambda face: -face[0].score))
        return data

    def portrait_png(self, name: str, person: int, likeness: float = 1.0, photo: int = 0) -> bytes:
        """Return a photograph of one person as a PNG file."""
        return self.png(name, (face_at(10, 10, 40), person_vector(person, likeness, photo)))

    def decode(self, source: object) -> Image:
        if isinstance(source, bytes):
            image = decode_image(source, limits=LIMITS)
            self.faces.setdefault(image.digest, ())
            return image
        return super().decode(source)


class Api:
    """An application over a world, and a way to ask it.

    Args:
        folder: Where the database and the audit log's files go.
        **settings: Of the service.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.networks = ApiNetworks()
        self.world = World(folder, networks=self.networks)
        self.settings = ServerSettings(**settings)
        store = self.world.store
        self.metrics = Metrics(version="test")
        self.context = ServerContext(
            faces=self.world.faces,
            models=ModelLibrary(folder / "models", _no_engine),
            settings=self.settings,
            keys=ApiKeys(store),
            rates=RateLimits(store),
            idempotency=IdempotencyKeys(store),
            audit=AuditLog(store, folder / "audit.key", folder / "audit.head"),
            jobs=JobRecords(store),
            pool=WorkPool(4, 64),
            metrics=self.metrics,
        )
        self.app = create_app(self.context)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://127.0.0.1"
        )
        self._key_text = ""

    def key(self, *scopes: Scope | str, **options: Any) -> str:
        """Return the text of a new key."""
        return self.context.keys.create("test", scopes, **options).text

    @property
    def every(self) -> str:
        """The text of a key with every scope."""
        if not self._key_text:
            self._key_text = self.key(*Scope)
        return self._key_text

    def ask(self, method: str, path: str, *, key: str | None = "every", **named: Any) -> httpx.Response:
        """Return the answer to a request.

        Args:
            method: ``"GET"``, ….
            path: Below the root.
            key: Text of an API key; every scope's by default, None for no key.
            **named: For ``httpx``.
        """
        headers = dict(named.pop("headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {self.every if key == 'every' else key}")
        return self.run(self._client.request(method, path, headers=headers, **named))

    def run(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine of the application's loop returns."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(60)

    def leave(self, begun: threading.Event, method: str, path: str, **named: Any) -> bool:
        """Ask, and cancel the request once it has begun, as a server that ends does; return whether it was cancelled."""
        headers = {"Authorization": f"Bearer {self.every}", **named.pop("headers", {})}

        async def asked() -> bool:
            task = asyncio.create_task(self._client.request(method, path, headers=headers, **named))
            await asyncio.to_thread(begun.wait, 20)
            task.cancel()
            await asyncio.wait({task})
            return task.cancelled()

        return bool(self.run(asked()))

    def enroll(self, label: str, person: int, *, collection: str = "default", photo: int = 0, **fields: Any) -> httpx.Response:
        """Enroll a photograph of a person; photographs of one person differ by ``photo``."""
        data = self.networks.portrait_png(f"{label}-{person}-{photo}", person, likeness=0.9, photo=photo)
        return self.ask(
            "POST",
            f"/v1/collections/{collection}/identities",
            files=[("photo", ("p.png", data))],
            data={"label": label, **fields},
        )

    def close(self) -> None:
        """Stop."""
        close_bulk(self.app)
        self.run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.context.pool.close()
        self.world.close()


def _no_engine() -> Any:
    raise AssertionError("no test of the routes tries a model out")
