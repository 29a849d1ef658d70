"""The real networks, loaded once for all integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.bootstrap import FaceSearch


@pytest.fixture(scope="session")
def network_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of converted networks, shared by the session."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def faces(tmp_path: Path, network_cache: Path):
    """A façade with the real networks and an empty gallery."""
    with FaceSearch(tmp_path / "data", cache_dir=network_cache) as faces:
        yield faces
