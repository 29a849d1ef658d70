"""A browser for the page's tests, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # while it lives, an event loop runs in this thread, and no other test could start one
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine; skips where it or playwright is absent. Nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the extra dev has it")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on the PATH: install the package chromium")
    # As root, in a container, Chromium starts only without its own sandbox.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as started:
        flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a camera that shows a test card
        opened = started.chromium.launch(executable_path=str(Path(found)), args=[*flags, *(["--no-sandbox"] if is_root else [])])
        yield opened
        opened.close()
