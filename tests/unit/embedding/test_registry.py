from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from facesearch.core.errors import (
    CheckpointDigestError,
    CheckpointFormatError,
    CheckpointNotFoundError,
    OperatingPointError,
    UnknownEmbedderError,
)
from facesearch.embedding.registry import ARCFACE_112, SHIPPED_MODELS, available, card, read_card

SHIPPED = json.loads((SHIPPED_MODELS / "mobilenet-128.json").read_text())


@pytest.fixture
def add_model(tmp_path):
    def added(stem="other-128", **changes):
        fields = {**json.loads(json.dumps(SHIPPED)), "name": stem, **changes}
        fields["embedder_id"] = changes.get("embedder_id", f"{fields['name']}@{fields['sha256'][:12]}")
        path = tmp_path / f"{stem}.json"
        path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
        return path

    return added


def test_the_shipped_embedder():
    found = card("mobilenet-128")
    assert found.embedder_id() == "mobilenet-128@2ba6bdb49bd2" == SHIPPED["embedder_id"]
    assert found.embedder_id(flip=True) == "mobilenet-128@2ba6bdb49bd2+flip"
    assert (found.dim, found.version, found.licence, found.backbone) == (128, 1, "Apache-2.0", "mobilenet")
    assert (found.mean, found.scale) == ((127.5, 127.5, 127.5), 128.0)
    assert found.alignment.name == "arcface-112"
    assert np.array_equal(found.alignment.points, np.array(ARCFACE_112, dtype=np.float32))
    assert [one.embedder_id() for one in available()] == [found.embedder_id()]
    found.verify_file()


@pytest.mark.parametrize("flip", [False, True])
def test_operating_points_are_those_of_the_card(flip):
    points = card("mobilenet-128").operating_points(flip=flip)
    published = SHIPPED["lfw"]["flip" if flip else "single"]["operating_points"]
    assert [(point.fmr, point.threshold, point.n_non_mated) for point in points] == [
        (point["fmr"], point["threshold"], point["n_non_mated"]) for point in published
    ]
    assert len(published) == 5
    assert points.embedder_id == card("mobilenet-128").embedder_id(flip=flip)


def test_the_figures_in_percent_become_rates():
    figures = card("mobilenet-128").figures["single"]
    assert figures.accuracy == pytest.approx(0.9962)
    assert figures.standard_error == pytest.approx(0.0009)
    assert [(fmr, pytest.approx(tar), count) for fmr, tar, count in figures.tar] == [(0.01, 0.9947, 2984), (0.001, 0.9927, 2978)]


def test_the_card_for_people_agrees_with_the_card_for_programs():
    text = card("mobilenet-128").text()
    assert SHIPPED["sha256"] in text
    assert SHIPPED["embedder_id"] in text
    for way in ("single", "flip"):
        figures = SHIPPED["lfw"][way]
        points = figures["operating_points"]
        assert len(points) == 5
        for point in points:
            assert f"{point['threshold']:.4f}" in text
            assert f"{100 * point['tar']:.2f} %" in text
            assert f"{100 * point['tar_check']:.2f} %" in text
        assert f"{figures['view2']['accuracy']:.2f} ± {figures['view2']['se']:.2f} %" in text
        for fmr in ("0.01", "0.001"):
            percent, count = figures["view2"][f"tar@{fmr}"]
            assert f"{percent:.2f} % ({count}/3000)" in text
    for said in ("CASIA-WebFace", "VGGFace2", "MS-Celeb-1M", "CelebA", "non-commercial", "NOTICE", "UTKFace"):
        assert said in text


def test_plain_values_survive_json():
    plain = json.loads(json.dumps(card("mobilenet-128").as_dict(), allow_nan=False))
    assert plain["embedder_id"] == SHIPPED["embedder_id"]
    assert len(plain["lfw"]["flip"]["operating_points"]) == 5
    assert plain["lfw"]["single"]["tar"][1] == {"fmr": 0.001, "tar": pytest.approx(0.9927), "count": 2978}


def test_a_second_model_is_found_by_its_card(add_model, tmp_path):
    points = (np.array(ARCFACE_112) * 1.5).tolist()
    add_model(sha256="ab" * 32, dim=512, crop_px=168, template=points, licence="CC0-1.0")
    assert [one.name for one in available(tmp_path)] == ["mobilenet-128", "other-128"]
    other = card("other-128", tmp_path)
    assert (other.dim, other.licence, other.embedder_id()) == (512, "CC0-1.0", "other-128@abababababab")
    assert (other.alignment.name, other.alignment.crop_px) == ("other-128-168", 168)
    assert other.weights_path == tmp_path / "other-128.safetensors"
    assert [one.name for one in available()] == ["mobilenet-128"]


def test_a_name_means_its_newest_weights_and_an_id_the_very_ones(add_model, tmp_path):
    add_model("newer", name="mobilenet-128", sha256="cd" * 32, version=2)
    add_model("older", name="mobilenet-128", sha256="ef" * 32, version=0)
    assert [one.version for one in available(tmp_path)] == [2, 1, 0]
    assert card("mobilenet-128", tmp_path).sha256 == "cd" * 32
    assert card("mobilenet-128@2ba6bdb49bd2", tmp_path).sha256 == SHIPPED["sha256"]
    assert card("mobilenet-128@efefefefefef", tmp_path).version == 0
    assert card("mobilenet-128").version == 1


def test_the_same_model_in_both_folders_is_one(tmp_path):
    for path in SHIPPED_MODELS.glob("mobilenet-128.*"):
        shutil.copy(path, tmp_path)
    (found,) = available(tmp_path)
    assert found.weights_path.parent == tmp_path


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownEmbedderError, match=r"'nobody'; installed: mobilenet-128@2ba6bdb49bd2"):
        card("nobody")
    with pytest.raises(UnknownEmbedderError):
        card("mobilenet-128@000000000000")
    with pytest.raises(CheckpointNotFoundError, match="no folder"):
        available(tmp_path / "absent")


def test_what_lies_beside_a_card_may_be_missing_until_it_is_needed(add_model):
    found = read_card(add_model())
    assert found.licence == "not stated"
    with pytest.raises(CheckpointNotFoundError, match=r"other-128\.md"):
        found.text()
    with pytest.raises(CheckpointNotFoundError, match=r"other-128\.safetensors"):
        found.verify_file()
    found.weights_path.write_bytes(b"others")
    with pytest.raises(CheckpointDigestError, match=SHIPPED["sha256"]):
        found.verify_file()


def test_without_flip_figures_there_are_no_flip_thresholds(add_model):
    found = read_card(add_model(lfw={"single": SHIPPED["lfw"]["single"]}))
    assert len(tuple(found.operating_points())) == 5
    with pytest.raises(OperatingPointError, match="flip"):
        found.operating_points(flip=True)


@pytest.mark.parametrize("field", ["version", "dim", "crop_px", "mean", "scale", "template", "lfw"])
def test_a_missing_field_is_named(add_model, field):
    with pytest.raises(CheckpointFormatError, match=f"lacks the field '{field}'"):
        read_card(add_model(**{field: None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "ab"},
        {"sha256": "AB" * 32},
        {"embedder_id": "other-128@000000000000"},
        {"name": "../other"},
        {"name": "other+flip"},
        {"dim": 0},
        {"dim": "many"},
        {"mean": [1, 2]},
        {"mean": 127.5},
        {"scale": 0},
        {"scale": float("nan")},
        {"template": [[1, 2]]},
        {"template": [[1, 2], [3]]},
        {"crop_px": 0},
        {"backbone": "vgg"},
        {"lfw": []},
        {"lfw": {"single": {"view2": {"accuracy": 99, "se": 1}, "operating_points": []}}},
        {"lfw": {"single": {"view2": {"accuracy": 99, "se": 1, "tar@x": [1, 2]}, "operating_points": [1]}}},
        {"lfw": {"single": {"operating_points": []}}},
    ],
)
def test_malformed_cards_name_the_file(add_model, tmp_path, changes):
    path = add_model(**changes)
    with pytest.raises(CheckpointFormatError, match=path.name):
        available(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"name": 1}'])
def test_files_that_are_no_card(tmp_path, content):
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=r"odd\.json"):
        available(tmp_path)
