"""The service with its real networks, keys and socket: every example of ``docs/rest.md`` as its reader would run it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image as PilImage

from facesearch.api.app import create_app, routers
from facesearch.api.metrics import Metrics
from facesearch.api.routing import GuardedRoute
from facesearch.api.server import make_context
from facesearch.core.access import Scope
from facesearch.server_parts import ServerParts
from facesearch.server_settings import ServerSettings
from facesearch.settings import Settings

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "rest.md"
SHELL = shutil.which("bash")


def examples() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block for block in blocks if block.startswith("curl")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, hopper: np.ndarray) -> Iterator[tuple[Path, str, str]]:
    """A folder with photographs, the address of a running service, and a key for it."""
    folder: Path = tmp_path_factory.mktemp("rest")
    picture = PilImage.fromarray(hopper)
    picture.save(folder / "grace-1.jpg", quality=92)
    picture.transpose(PilImage.Transpose.FLIP_LEFT_RIGHT).resize((384, 450)).save(folder / "grace-2.jpg", quality=85)
    parts = ServerParts(Settings(data_dir=folder / "data", threads=2), ServerSettings())
    context = make_context(parts, Metrics())
    server = uvicorn.Server(uvicorn.Config(create_app(context), port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield folder, f"http://127.0.0.1:{port}", context.keys.create("reader", Scope).text
    finally:
        server.should_exit = True
        thread.join(30)
        context.pool.close()
        context.faces.close()


@pytest.mark.skipif(SHELL is None or shutil.which("curl") is None, reason="needs bash and curl")
def test_the_examples_work_as_written(place: tuple[Path, str, str]) -> None:
    folder, url, key = place
    commands = examples()
    assert len(commands) == 8
    answers = []
    for command in commands:
        script = f"set -eu\nURL={url}\nKEY={key}\n{command.replace('curl -sS', 'curl -sS --fail-with-body --max-time 60', 1)}"
        run = subprocess.run([SHELL, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
        answers.append(json.loads(run.stdout) if run.stdout else None)
    enrolled, verified, identified, against, detected, listed, changed, deleted = answers
    assert enrolled["identity"]["label"] == "Grace Hopper"
    assert verified["is_match"] is True
    assert verified["fmr"] == 1e-4
    assert all(one["quality"]["score"] > 0.5 for one in verified["faces"])
    assert identified["faces"][0]["label"] == "Grace Hopper"
    assert (identified["width"], identified["height"]) == (384, 450)
    assert against["is_match"] is True
    assert len(detected["faces"]) == 1
    assert [one["label"] for one in listed["items"]] == ["Grace Hopper"]
    assert changed["tags"] == ["cobol", "navy"]
    assert deleted is None


def test_the_guide_names_every_route_with_its_scope() -> None:
    told = dict(re.findall(r"^\| `([A-Z]+ /v1/[^`]*)` \| `?(\w+)`? \|", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    routes = [route for router in routers() for route in router.routes if isinstance(route, GuardedRoute)]
    actual = {
        f"{method} {route.path_format}": "+".join(sorted(route.guard.scopes)) or "any"
        for route in routes
        for method in route.methods or ()
    }
    elsewhere = ("/v1/jobs", "/deepface", "/api/", "/export", "/import")
    ours = {name: scope for name, scope in actual.items() if not any(part in name for part in elsewhere)}
    assert len(ours) >= 32
    assert told == ours
