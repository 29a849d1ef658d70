"""The quality gate at enrolment: what is refused, waved through, stored and counted; the networks are fakes."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from facesearch.core.errors import InputError, LowQualityFaceError
from facesearch.core.quality import Quality, QualityGate
from facesearch.service.pipeline import FacePipeline
from facesearch.settings import Settings
from tests.world import World, face_at, person_vector

GOOD = Quality(
    **dict.fromkeys(("yaw", "pitch", "roll", "dark_share", "bright_share"), 0.0),
    **dict.fromkeys(("brightness", "visible", "sharpness"), 0.5),
    face_px=93.0,
    detail_px=46.0,
    acuity=17.0,
    detection_score=0.99,
)
FACES = {50.0: replace(GOOD, visible=0.01), 60.0: replace(GOOD, acuity=6.5)}
"""Quality by width of the face: hidden, a little blurred; any other is good."""


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.pipeline._meter = lambda crop, alignment: FACES.get(crop.detection.width, GOOD)
    yield made
    made.close()


def set_gate(world, gate):
    world.faces._services.enrolment.enroll._quality_gate = gate


def photo(world, name, person, size):
    return world.networks.photo(name, (face_at(100, 100, size), person_vector(person)))


def test_a_hidden_face_is_refused_with_reason_and_figures(world):
    set_gate(world, QualityGate.STANDARD)
    with pytest.raises(LowQualityFaceError, match=r"occluded: visible 0\.01, at least 0\.1 needed") as caught:
        world.faces.enroll(photo(world, "a", 0, 50.0), "ada")
    context = caught.value.context
    assert (context["reasons"], context["gate"]) == (["occluded"], "standard")
    assert context["shortfalls"][0]["measured"] == 0.01
    assert caught.value.code == "low_quality_face"
    assert world.faces.collections() == ()


def test_the_call_overrules_the_setting(world):
    set_gate(world, QualityGate.STRICT)
    done = world.faces.enroll(photo(world, "a", 0, 50.0), "ada", quality_gate="off")
    assert done.template.provenance.quality["visible"] == 0.01
    set_gate(world, QualityGate.OFF)
    world.faces.enroll(photo(world, "b", 1, 60.0), "bob", quality_gate="standard")
    with pytest.raises(LowQualityFaceError, match=r"blurred: acuity 6\.5, at least 8 needed"):
        world.faces.enroll(photo(world, "c", 2, 60.0), "eve", quality_gate="strict")


def test_what_was_measured_is_stored(world):
    world.faces.enroll(photo(world, "a", 0, 120.0), "ada")
    stored = dict(world.faces.show("ada").templates[0].provenance.quality)
    assert stored == {**GOOD.figures(), "face_px": 120.0}


def test_one_poor_face_of_several_stops_all_of_them(world):
    faces = [(face_at(x, 100, size), person_vector(who)) for who, (x, size) in enumerate(((10, 120.0), (200, 50.0)))]
    name = world.networks.photo("both", *faces)
    with pytest.raises(LowQualityFaceError):
        world.faces.enroll_all(name, ["ada", "bob"], quality_gate="standard")
    assert world.faces.collections() == ()
    assert len(world.faces.enroll_all(name, ["ada", "bob"], quality_gate="off")) == 2


def test_a_folder_counts_refused_files_and_goes_on(world, tmp_path):
    for number, size in enumerate((120.0, 50.0, 110.0)):
        path = tmp_path / "people" / f"p{number}" / "1.jpg"
        path.parent.mkdir(parents=True)
        path.touch()
        photo(world, str(path), number, size)
    report = world.faces.enroll_folder(tmp_path / "people", quality_gate="standard")
    assert report.counts == {"enrolled": 2, "low_quality_face": 1}
    assert "occluded" in next(one.message for one in report.outcomes if not one.is_enrolled)


def test_an_unknown_gate_is_bad_input(world):
    with pytest.raises(InputError, match="off, standard, strict, not 'lax'"):
        world.faces.enroll(photo(world, "a", 0, 120.0), "ada", quality_gate="lax")


def test_nobody_is_refused_as_a_probe(world):
    set_gate(world, QualityGate.STRICT)
    world.faces.enroll(photo(world, "a", 0, 120.0), "ada")
    found = world.faces.identify(photo(world, "poor", 0, 50.0))
    assert [one.label for one in found] == ["ada"]
    assert world.faces.verify("a", "poor").is_match


def test_qualities_come_in_order_and_none_where_a_face_cannot_be_aligned(world):
    name = world.networks.photo(
        "three",
        (face_at(10, 100, 50.0, 0.99), person_vector(0)),
        (face_at(100, 100, 0.5, 0.98), person_vector(1)),
        (face_at(200, 100, 60.0, 0.97), person_vector(2)),
    )
    faces = world.faces.detect(name)
    assert len(faces) == 3
    assert world.faces.qualities(name, faces) == (FACES[50.0], None, FACES[60.0])
    assert world.networks.n_embedded == 0


def test_without_a_meter_only_the_size_is_known(tmp_path):
    world = World(tmp_path)
    world.faces.enroll(world.networks.portrait("a", 0), "ada", quality_gate="strict")
    assert dict(world.faces.show("ada").templates[0].provenance.quality) == {"face_px": 120.0}
    world.close()


def test_the_door_is_on_by_default():
    assert Settings().quality_gate is QualityGate.STANDARD
    assert inspect.signature(FacePipeline).parameters["meter"].default is None
