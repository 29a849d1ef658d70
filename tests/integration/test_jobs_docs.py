"""The commands of docs/jobs.md do what they say, against a service behind a real socket."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.live_service import LiveService

PAGE = Path(__file__).resolve().parents[2] / "docs" / "jobs.md"
SHELL = shutil.which("bash")


@pytest.mark.skipif(SHELL is None or shutil.which("curl") is None, reason="needs bash and curl")
def test_the_commands_of_the_page_work(tmp_path: Path):
    job, exchange = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "data").mkdir()
    service = LiveService(tmp_path / "data")
    (tmp_path / "ada.jpg").write_bytes(service.api.networks.portrait_png("ada", 0))
    head = f"set -eu\nURL={service.url}\nKEY={service.key()}\n"
    asked = subprocess.run([str(SHELL), "-c", head + job], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert '"receipt":"held"' in asked.stdout
    deadline = time.monotonic() + 30
    while not service.api.world.faces.list(tags=["staff"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [one.label for one in service.api.world.faces.list(tags=["staff"])] == ["Ada"]
    moved = subprocess.run([str(SHELL), "-c", head + exchange], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(moved.stdout) == {"collection": "copy", "n_identities": 1, "n_templates": 1, "n_pictures": 0}
    assert [one.label for one in service.api.world.faces.list(collection="copy")] == ["Ada"]
    service.close()
