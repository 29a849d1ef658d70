"""Fixtures that every room's tests share: the packaged photographs and the place of the data sets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A loaded machine must not turn a slow example into a failure: time is a matter for benchmarks.
settings.register_profile("facesearch", deadline=None)
settings.load_profile("facesearch")

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path | None:
    """Return the folder of photographs for measuring, or None where there is none."""
    for candidate in (os.environ.get("FACESEARCH_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    return None


def _data_part(part: str) -> Path:
    folder = data_folder()
    if folder is None or not (folder / part).is_dir():
        pytest.skip(f"no {part} photographs: set FACESEARCH_DATA to a folder that holds {part}/")
    return folder / part


@pytest.fixture(scope="session")
def lfw_folder() -> Path:
    """The LFW folder (images/, pairs.txt, …); skips where it is absent."""
    return _data_part("lfw")


@pytest.fixture(scope="session")
def cmu_folder() -> Path:
    """The CMU+MIT face folder; skips where it is absent."""
    return _data_part("cmu_faces")


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """RGB uint8 (512, 512, 3): one face."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """RGB uint8 (600, 512, 3): one face."""
    import matplotlib.cbook as cbook
    from PIL import Image as PilImage

    with cbook.get_sample_data("grace_hopper.jpg") as stream, PilImage.open(stream) as picture:
        return np.ascontiguousarray(picture.convert("RGB"))


@pytest.fixture(scope="session")
def cat() -> np.ndarray:
    """RGB uint8 (300, 451, 3): no human face."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.chelsea())
