"""An embedder that nobody measured: it compares, searches and enrolls where told to, and decides nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesearch import FaceSearch
from facesearch.core.decision import UnmeasuredPoints
from facesearch.core.errors import InputError, UncalibratedEmbedderError
from facesearch.embedding.description import Description
from facesearch.embedding.library import ModelLibrary
from facesearch.inference import create_engine
from tests.model_files import save_onnx

SAYS = "facesearch models calibrate mine --images DIR"


@pytest.fixture
def people(tmp_path: Path) -> FaceSearch:
    library = ModelLibrary(tmp_path / "models", lambda: create_engine(threads=1))
    said = Description(alignment="arcface-112", channels="rgb", mean=(127.5,) * 3, scale=(128.0,) * 3, licence="MIT")
    library.add(save_onnx(tmp_path / "mine.onnx"), "mine", said)
    return FaceSearch(tmp_path / "data", models_dir=tmp_path / "models", cache_dir=tmp_path / "cache", embedder="mine")


def test_it_compares_searches_and_enrolls_but_decides_nothing(
    people: FaceSearch, astronaut: np.ndarray, hopper: np.ndarray
) -> None:
    with people as faces:
        assert [card.name for card in faces.models.list()] == ["mine", "mobilenet-128"]
        assert faces.compare(faces.template(astronaut), faces.template(astronaut)) == pytest.approx(1.0, abs=1e-5)
        assert faces.search(astronaut)[0].candidates == ()
        with pytest.raises(UncalibratedEmbedderError, match=f"{SAYS}.*allow duplicates and mismatches"):
            faces.enroll(astronaut, "Eileen Collins")
        faces.enroll(astronaut, "Eileen Collins", allow_duplicate=True)
        faces.enroll(hopper, "Grace Hopper", allow_duplicate=True)
        with pytest.raises(UncalibratedEmbedderError, match="allow duplicates and mismatches"):
            faces.enroll(astronaut[40:], "Eileen Collins", allow_duplicate=True)
        assert faces.enroll(astronaut[40:], "Eileen Collins", allow_duplicate=True, allow_mismatch=True).identity.label
        (found,) = faces.search(astronaut, 2)
        assert [(one.rank, one.label) for one in found.candidates] == [(1, "Eileen Collins"), (2, "Grace Hopper")]
        assert found.candidates[0].score > found.candidates[1].score
        assert found.n_templates == 3
        for undecided in (
            lambda: faces.identify(astronaut),
            lambda: faces.verify(astronaut, hopper),
            lambda: faces.verify_identity(astronaut, "Grace Hopper"),
            lambda: list(faces.operating_points),
        ):
            with pytest.raises(UncalibratedEmbedderError, match=SAYS):
                undecided()


def test_a_folder_is_refused_before_any_of_it_is_enrolled(people: FaceSearch, astronaut: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "folder" / "Eileen Collins").mkdir(parents=True)
    Image.fromarray(astronaut).save(tmp_path / "folder" / "Eileen Collins" / "one.png")
    with people as faces:
        with pytest.raises(UncalibratedEmbedderError, match=f"{SAYS}.*allow duplicates and mismatches"):
            faces.enroll_folder(tmp_path / "folder")
        assert faces.list() == ()
        assert faces.enroll_folder(tmp_path / "folder", allow_mismatch=True).n_enrolled == 1


def test_people_are_removed_and_erased(people: FaceSearch, astronaut: np.ndarray, hopper: np.ndarray) -> None:
    with people as faces:
        faces.enroll(astronaut, "Eileen Collins", allow_duplicate=True)
        faces.enroll(hopper, "Grace Hopper", allow_duplicate=True)
        assert faces.remove("Eileen Collins", erase=True) == 1
        assert faces.remove("Grace Hopper") == 1
        assert faces.list() == ()


def test_once_measured_it_decides(people: FaceSearch, astronaut: np.ndarray, tmp_path: Path) -> None:
    points = [{"fmr": rate, "threshold": threshold, "n_non_mated": 10**6} for rate, threshold in ((1e-2, 0.5), (1e-6, 0.9))]
    people.models.write_figures("mine", {"single": {"operating_points": points, "measured_on": "my people"}})
    again = FaceSearch(settings=people.settings)
    with again as faces:
        faces.enroll(astronaut, "Eileen Collins")
        assert faces.identify(astronaut)[0].label == "Eileen Collins"
        assert faces.verify(astronaut, astronaut[40:]).operating_point.embedder_id == faces.embedder_id


def test_a_rate_that_makes_no_sense_is_said_first() -> None:
    points = UnmeasuredPoints(UncalibratedEmbedderError("nobody measured it"))
    with pytest.raises(InputError, match="FMR must lie in"):
        points.at_fmr(2.0)
    with pytest.raises(InputError, match="FPIR must lie in"):
        points.at_fpir(0.0, 5)
    with pytest.raises(UncalibratedEmbedderError, match="nobody measured it"):
        points.at_fpir(0.01, 5)
