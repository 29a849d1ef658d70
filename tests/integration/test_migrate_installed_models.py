"""A gallery moved between two embedders that are really installed, through the objects that commands and the service use."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesearch import FaceSearch
from facesearch.bootstrap import Parts
from facesearch.cli.doctor import gallery_checks
from facesearch.core.embedder_use import EmbedderUse
from facesearch.core.errors import IncompatibleTemplatesError, UncalibratedEmbedderError, UnknownEmbedderError
from facesearch.embedding.description import Description
from facesearch.embedding.library import ModelLibrary
from facesearch.inference import create_engine
from facesearch.server_parts import ServerParts
from facesearch.server_settings import ServerSettings
from facesearch.settings import Settings
from tests.model_files import save_onnx


@pytest.fixture
def settings(tmp_path: Path, network_cache: Path) -> Settings:
    """Settings with a second, unmeasured embedder, ``mine``."""
    library = ModelLibrary(tmp_path / "models", lambda: create_engine(threads=1))
    said = Description(alignment="arcface-112", channels="rgb", mean=(127.5,) * 3, scale=(128.0,) * 3, licence="MIT")
    library.add(save_onnx(tmp_path / "mine.onnx"), "mine", said)
    # Converting a network takes most of a test's time: once for all that share the cache.
    places = {"models_dir": tmp_path / "models", "data_dir": tmp_path / "data", "cache_dir": network_cache}
    return Settings(**places, embedder="mine", threads=1)


def test_a_gallery_of_an_added_model_is_moved_to_the_shipped_one(
    settings: Settings, astronaut: np.ndarray, hopper: np.ndarray, tmp_path: Path
) -> None:
    for name, pixels in (("eileen.png", astronaut), ("grace.png", hopper)):
        Image.fromarray(pixels).save(tmp_path / name)
    serving = ServerParts(settings, ServerSettings())  # a service that was there before, and stays
    asked = serving.faces
    with FaceSearch(settings=settings) as faces:
        faces.enroll(tmp_path / "eileen.png", "Eileen Collins", allow_duplicate=True, keep="crop")
        faces.enroll(tmp_path / "grace.png", "Grace Hopper", allow_duplicate=True)
    assert asked.search(astronaut)[0].candidates[0].label == "Eileen Collins"
    (tmp_path / "eileen.png").unlink()  # a crop of it was kept

    parts = Parts(settings)
    with pytest.raises(UnknownEmbedderError):
        parts.other_embedder("no such")
    done = parts.migration.to(parts.other_embedder("mobilenet-128"), collection="default")
    assert (done.n_embedded, done.lost) == (2, ())
    assert done.state.use.current.name == done.state.use.current.embedder_id  # these weights, not the newest of the name
    parts.store.close()

    assert not serving.embedders.made()
    serving.watch.look()
    (prepared,) = serving.embedders.made()
    assert isinstance(prepared, ServerParts)
    assert prepared._lazy_embedder.is_loaded
    (answer,) = asked.identify(astronaut)
    assert serving.embedders.made() == (prepared,)  # which the first request used
    assert answer.label == "Eileen Collins"
    assert answer.operating_point.embedder_id.startswith("mobilenet-128@")
    # The kept crop is a JPEG of the face: as good as the photograph, not the same to the last digit.
    assert answer.candidates[0].score > 0.98
    (other,) = asked.identify(hopper)
    assert other.label == "Grace Hopper"
    assert other.candidates[0].score > 0.9999
    with FaceSearch(settings=settings) as faces:  # whose setting names the other one
        checkup = faces.gallery_doctor.examine("default")
    assert checkup.embedder_id == answer.operating_point.embedder_id
    assert (checkup.n_templates, checkup.index.is_in_step) == (2, True)
    with FaceSearch(settings=settings.model_copy(update={"embedder": "mobilenet-128"})) as plain:
        assert plain.identify(hopper)[0].candidates == other.candidates
    asked.close()


def test_a_model_that_nobody_measured_does_not_take_the_place_of_one_that_decides(
    settings: Settings, hopper: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(hopper).save(tmp_path / "grace.png")
    shipped = settings.model_copy(update={"embedder": "mobilenet-128"})
    with FaceSearch(settings=shipped) as faces:
        faces.enroll(tmp_path / "grace.png", "Grace Hopper")
    parts = Parts(shipped)
    with pytest.raises(UncalibratedEmbedderError, match="models calibrate mine"):
        parts.migration.to(parts.other_embedder("mine"), collection="default")
    assert parts.migration.state("default").use.other is None
    parts.store.close()
    with FaceSearch(settings=settings) as other, pytest.raises(IncompatibleTemplatesError, match="gallery migrate --to"):
        other.search(hopper)
    # Once it was moved, the doctor asks for the index that answers, whatever the setting says.
    mine = Parts(settings)
    with mine.store.writing() as writer:
        writer.set_embedder_use("default", EmbedderUse(parts.named_embedder))
    assert "1 templates, in step" in dict(gallery_checks(mine))["index of default"]()
    mine.store.close()


def test_a_model_taken_away_is_named_with_the_ways_out(settings: Settings, hopper: np.ndarray) -> None:
    mine = Parts(settings).named_embedder
    shipped = Parts(settings.model_copy(update={"embedder": "mobilenet-128"}))
    with shipped.store.writing() as writer:
        writer.ensure_collection("default")
        writer.set_embedder_use("default", EmbedderUse(mine))
    shutil.rmtree(settings.models_dir / "mine")
    with pytest.raises(UnknownEmbedderError, match=rf"{mine.embedder_id}.*models add.*migrate --back .*--accept-worse"):
        shipped.embedders.current("default")
    shipped.store.close()
