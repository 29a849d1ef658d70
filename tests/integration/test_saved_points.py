"""Operating points that were measured decide by name, with their evidence; those of another embedder never do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from facesearch.core.errors import IncompatibleTemplatesError, InputError, LabelError, OperatingPointError
from facesearch.core.records import PointKind, SavedPoint
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.one_to_many import fnir_at_fpir
from facesearch.evaluation.searches import search_trials
from facesearch.service.saved_points import Measured, fmr_points, fpir_points, point_name
from tests.world import EMBEDDER, World

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
FMR = SavedPoint(
    *("office", EMBEDDER, PointKind.FMR, 1e-3, 0.5, 60_000, 40, None, "best", "ab" * 32, "60 people"),
    is_in_sample=True,
    created_at=WHEN,
)
FPIR = replace(FMR, name="door", kind=PointKind.FPIR, rate=1e-2, n_templates=3, fusion="mean")
MEASURED = Measured(EMBEDDER, "ab" * 32, "made-up people")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    for person in range(3):
        made.faces.enroll(made.networks.portrait(f"{person}.jpg", person, 0.95), f"P{person}")
    yield made
    made.close()


def test_a_saved_fmr_decides_a_comparison(world):
    world.faces.save_points([FMR])
    near, far = world.networks.portrait("near.jpg", 0, 0.6, 1), world.networks.portrait("far.jpg", 0, 0.45, 2)
    for photo, is_match in ((near, True), (far, False)):
        answer = world.faces.verify_identity(photo, "P0", operating_point="office")
        assert (answer.is_match, answer.operating_point.name, answer.threshold) == (is_match, "office", 0.5)
    both = world.faces.verify("0.jpg", near, operating_point="office")
    assert both.operating_point.is_supported
    assert both.operating_point.is_in_sample
    assert both.operating_point.fmr == 1e-3


def test_a_saved_point_of_one_comparison_is_not_supported_for_several_photographs(world):
    world.faces.save_points([FMR])
    world.faces.enroll(world.networks.portrait("0b.jpg", 0, 0.95, 4), "P0")
    answer = world.faces.verify_identity(world.networks.portrait("near.jpg", 0, 0.6, 1), "P0", operating_point="office")
    assert not answer.operating_point.is_supported


def test_a_saved_fpir_holds_up_to_its_gallery(world):
    world.faces.save_points([FPIR])
    photo = world.networks.portrait("near.jpg", 0, 0.6, 1)
    (answer,) = world.faces.identify(photo, operating_point="door")
    assert (answer.threshold, answer.fpir, answer.fpir_supported) == (0.5, 1e-2, True)
    assert answer.operating_point.fmr == pytest.approx(1e-2 / 3)
    world.faces.enroll(world.networks.portrait("3.jpg", 3, 0.95), "P3")
    (answer,) = world.faces.identify(photo, operating_point="door")
    assert (answer.threshold, answer.fpir_supported) == (0.5, False)


def test_a_point_of_one_photograph_a_person_holds_for_any_fusion_rule(world):
    world.faces.save_points([replace(FPIR, fusion="single")])
    (answer,) = world.faces.identify(world.networks.portrait("near.jpg", 0, 0.6, 1), operating_point="door")
    assert answer.fpir_supported


def test_another_fusion_rule_is_not_supported(world):
    world.faces.save_points([replace(FPIR, fusion="best")])
    (answer,) = world.faces.identify(world.networks.portrait("near.jpg", 0, 0.6, 1), operating_point="door")
    assert not answer.fpir_supported


def test_a_search_at_a_saved_fmr_asks_for_no_fpir(world):
    world.faces.save_points([FMR])
    (answer,) = world.faces.identify(world.networks.portrait("near.jpg", 0, 0.6, 1), operating_point="office")
    assert (answer.fpir, answer.threshold, answer.label) == (None, 0.5, "P0")


def test_a_missing_point_names_what_to_run_and_what_there_is(world):
    with pytest.raises(OperatingPointError, match=r"none is saved.*evaluate folder DIR --save NAME"):
        world.faces.verify("0.jpg", "1.jpg", operating_point="office")
    world.faces.save_points([FMR])
    with pytest.raises(OperatingPointError, match="saved are 'office'"):
        world.faces.identify("0.jpg", operating_point="home")
    with pytest.raises(OperatingPointError):
        world.faces.remove_point("home")
    assert world.faces.remove_point("office") == FMR
    assert world.faces.saved_points() == ()


def test_a_point_of_another_embedder_is_refused_naming_both(world):
    other = replace(FMR, embedder_id="other@111111111111")
    with pytest.raises(IncompatibleTemplatesError, match=rf"other@111111111111.*{EMBEDDER}"):
        world.faces.save_points([other])
    with world.store.writing() as writer:
        writer.save_point(other)
    for use in (
        world.faces.saved_point,
        world.faces.remove_point,
        lambda name: world.faces.verify("0.jpg", "1.jpg", operating_point=name),
    ):
        with pytest.raises(IncompatibleTemplatesError, match=rf"other@111111111111.*{EMBEDDER}"):
            use("office")
    assert world.faces.saved_points() == (other,)
    world.faces.save_points([FMR])
    assert world.faces.saved_point("office") == FMR


def test_a_point_for_searches_decides_no_comparison_and_a_rate_goes_with_no_point(world):
    world.faces.save_points([FMR, FPIR])
    with pytest.raises(InputError, match="searches of 3 templates"):
        world.faces.verify("0.jpg", "1.jpg", operating_point="door")
    with pytest.raises(InputError, match="not both"):
        world.faces.verify("0.jpg", "1.jpg", fmr=1e-2, operating_point="office")
    with pytest.raises(InputError, match="not both"):
        world.faces.identify("0.jpg", fpir=1e-2, operating_point="door")


def test_points_saved_together_are_saved_all_or_none(world):
    with pytest.raises(InputError, match="names of their own"):
        world.faces.save_points([FMR, FMR])
    with pytest.raises(IncompatibleTemplatesError):
        world.faces.save_points([FMR, replace(FPIR, embedder_id="other@111111111111")])
    assert world.faces.saved_points() == ()


def made_up_people(n_people, n_photographs, noise=0.6, seed=3):
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(n_people), n_photographs)
    vectors = rng.normal(size=(n_people, 32))[owners] + noise * rng.normal(size=(owners.size, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), owners


def test_measured_points_are_saved_as_far_as_their_evidence_goes():
    pairs = all_pairs(*made_up_people(60, 4))
    points = pairs.at_fmrs((1e-1, 1e-2, 1e-5))
    saved = fmr_points("office", points, MEASURED)
    assert [(one.name, one.rate) for one in saved] == [("office-fmr-0.1", 1e-1), ("office-fmr-0.01", 1e-2)]
    assert [one.threshold for one in saved] == [point.threshold for point in points[:2]]
    assert all(one.is_in_sample and one.n_non_mated == pairs.non_mated.total and one.n_person_pairs >= 10 for one in saved)
    with pytest.raises(InputError, match="support nothing below"):
        fmr_points("office", pairs.at_fmrs((1e-7,)), MEASURED)


def test_measured_searches_are_saved_with_their_gallery():
    vectors, owners = made_up_people(120, 2)
    enrolled = (owners < 40) & (np.arange(owners.size) % 2 == 0)
    probes = ~enrolled
    trials = search_trials(vectors[enrolled], owners[enrolled], vectors[probes], owners[probes])
    (saved,) = fpir_points("door", [fnir_at_fpir(trials, 0.2)], MEASURED, n_templates=40, fusion="mean")
    assert (saved.name, saved.n_templates, saved.fusion) == ("door-fpir-0.2-40", 40, "mean")
    with pytest.raises(InputError, match="nothing to save"):
        fpir_points("door", [fnir_at_fpir(trials, 1e-4)], MEASURED, n_templates=40)


def test_a_name_is_a_label():
    for name in ("", " ", "a\nb", "x" * 201):
        with pytest.raises(LabelError):
            replace(FMR, name=name)
    with pytest.raises(LabelError, match="at most 200"):
        point_name("x" * 195, PointKind.FMR, 1e-3)


@pytest.mark.parametrize(
    "changes",
    [{"threshold": np.nan}, {"threshold": 1.5}, {"rate": 0.0}, {"rate": np.nan}, {"n_templates": 5}, {"n_non_mated": -1}],
    ids=str,
)
def test_a_point_that_means_nothing_is_refused(changes):
    with pytest.raises(InputError):
        replace(FMR, **changes)
