"""From plan to embedder over the command line: trained, gone on with, exported, used by its path, added by name, and as ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facesearch.cli.main import execute
from facesearch.core.errors import (
    CheckpointFormatError,
    CheckpointNotFoundError,
    InputError,
    TrainingPlanError,
    UncalibratedEmbedderError,
)
from facesearch.core.face import Alignment, FaceCrop
from facesearch.embedding.embedder import NetworkEmbedder
from facesearch.embedding.exported import exported_card
from facesearch.embedding.registry import card
from facesearch.inference.torch_engine import TorchEngine
from facesearch.training.crop_store import CropStore
from facesearch.training.export import export_run
from facesearch.training.session import train
from facesearch.training.validation import split_people
from tests.training_files import small_plan, write_faces

NARROW = {"backbone": "mobilenet", "width": 0.125, "layer": "block5", "pooling": "mean"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "store", (2,) * 16)


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(small_plan(faces, steps=2, held_out=0.25, data_licence="CC0-1.0", note="a test", **NARROW), folder)
    return folder


def test_the_command_line_trains_goes_on_and_exports(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, run, weights = tmp_path / "plan.toml", tmp_path / "run", tmp_path / "small-one.safetensors"
    plan.write_text(
        f'crops = "{faces}"\nbackbone = "mobilenet"\nwidth = 0.125\nlayer = "block5"\npooling = "mean"\ndim = 16\n'
        'loss = "triplet"\nbatch_size = 8\n'
        'people_per_batch = 4\nphotographs_per_person = 2\nprecision = "f32"\ncheckpoint_minutes = 0.0\ndata_licence = "CC0-1.0"\n'
    )
    options = ["--data-dir", str(tmp_path / "data"), "--threads", "1", "--device", "cpu"]
    assert (
        execute(
            ["train", "run", str(plan), "-o", str(run), "--steps", "1", "--set", "loss=cosface", "--set", "held_out=0.25", *options]
        )
        == 0
    )
    said = capsys.readouterr()
    assert "1 of 1 steps" in said.out
    assert "8 crops a batch" in said.err
    assert json.loads((run / "run.json").read_text())["plan"]["loss"] == "cosface"
    assert execute(["train", "resume", str(run), "--steps", "2", "--json", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2
    assert execute(["train", "export", str(run), "-o", str(weights), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["embedder_id"].startswith("small-one@")
    assert found["n_bytes"] == weights.stat().st_size
    assert execute(["models", "show", str(weights), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedder_id"] == found["embedder_id"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["train", "run", "-o", "{}"], 2, "does not say crops"),
        (["train", "run", "--crops", "{}/none", "-o", "{}/run"], 2, "no store of crops"),
        (["train", "run", "--crops", "x", "--set", "rate"], 2, "NAME=VALUE"),
        (["train", "run", "--crops", "x", "--set", "rate=-1"], 2, "rate lies in"),
        (["train", "run", "--crops", "x", "--device", "cuda:9x"], 2, "device is auto, cpu"),
        (["train", "run", "--crops", "x", "--backbone", "vgg"], 2, "backbone is one of mobilenet"),
        (["train", "run", "--crops", "x", "--set", "pooling=mac"], 2, "pooling is one of flatten"),
        (["train", "run", "--crops", "x", "--steps", "3", "--epochs", "3"], 2, "steps and epochs both"),
        (["train", "resume", "{}"], 5, "is no run of training"),
        (["train", "export", "{}", "-o", "{}/a.safetensors"], 5, "is no run of training"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    arguments: list[str], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute([one.format(tmp_path) for one in arguments]) == code
    assert told in capsys.readouterr().err


def test_an_exported_network_is_used_by_its_path_and_its_card_says_where_it_comes_from(
    trained: Path, faces: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "mine.safetensors"
    made = export_run(trained, weights, calibrate=faces)
    found = card(str(weights))
    assert found.embedder_id() == made.card.embedder_id() == exported_card(weights.with_suffix(".json")).embedder_id()
    assert found.licence == "CC0-1.0"
    fields = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    assert fields["training"]["data"]["n_people"] == 12
    assert fields["training"]["data_licence"] == "CC0-1.0"
    assert fields["training"]["plan"]["note"] == "a test"
    assert "random weights" in fields["source"]
    embedder = NetworkEmbedder(found, TorchEngine())
    store = CropStore.open(faces)
    crops = [FaceCrop(store.crop(row), store.rows[row].detection) for row in (0, 1, 5)]
    vectors = np.stack([template.vector for template in embedder.embed(crops)])
    assert vectors.shape == (3, 16)
    points = made.figures.get("single", {}).get("operating_points", [])
    assert len(points) + len(made.unsupported) == 5
    assert len(found.figures) == (1 if points else 0)


def test_an_embedder_that_nobody_measured_says_what_to_do(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, here = tmp_path / "mine.safetensors", ["--data-dir", str(tmp_path / "data")]
    assert execute(["train", "export", str(trained), "-o", str(weights), *here]) == 0
    assert "not calibrated: it compares and searches, and cannot decide" in capsys.readouterr().err
    with pytest.raises(UncalibratedEmbedderError) as raised:
        card(str(weights)).operating_points()
    assert "train export RUN -o mine.safetensors --calibrate STORE" in raised.value.message
    assert f"models add {weights} --name mine, then facesearch models calibrate mine" in raised.value.message
    with pytest.raises(InputError, match="mobilenet-128 is an embedder of facesearch itself"):
        export_run(trained, weights, name="mobilenet-128")


def test_points_set_on_what_was_trained_on_come_with_a_warning(faces: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small_plan(faces, steps=1, validation=str(faces), **NARROW), run)
    for how in ({}, {"calibrate": faces}):
        made = export_run(run, tmp_path / "mine.safetensors", **how)
        assert "32 of these photographs, of 16 people, were trained on" in made.warning
    names = tmp_path / "names.txt"
    names.write_text("\n".join([*CropStore.open(faces).people[:4], "Zed"]))
    made = export_run(run, tmp_path / "mine.safetensors", calibrate=faces, people=names)
    assert made.warning.startswith("1 of the 5 people of names.txt have no crop in store; 8 of these photographs")


def test_operating_points_come_with_the_evidence(trained: Path, faces: Path, tmp_path: Path) -> None:
    from facesearch.training.export import operating_points

    labels = np.repeat(np.arange(60), 2)
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 16))
    vectors = (centres[labels] + 0.4 * generator.normal(size=(120, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    class Labelled:
        pass

    store = Labelled()
    store.labels = labels
    figures, left = operating_points(vectors, store, "made up")
    kept = figures["single"]["operating_points"]
    assert kept[0]["fmr"] == 0.01
    assert len(kept) + len(left) == 5
    non_mated = (vectors @ vectors.T)[labels[:, None] < labels[None, :]]
    assert len(non_mated) == kept[0]["n_non_mated"] == 7080
    assert (non_mated >= kept[0]["threshold"]).mean() <= 0.01 < (non_mated >= kept[0]["threshold"] - 0.01).mean()
    assert "120 photographs of 60 people: made up" in figures["single"]["measured_on"]


def test_it_can_be_added_and_written_as_onnx(
    trained: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESEARCH_MODELS_DIR", str(tmp_path / "models"))
    weights, onnx = tmp_path / "mine.safetensors", tmp_path / "mine.onnx"
    here = ["--data-dir", str(tmp_path / "data")]
    assert execute(["train", "export", str(trained), "-o", str(weights), "--onnx", str(tmp_path / "mine.pb"), *here]) == 2
    assert "written as .onnx, not 'mine.pb'" in capsys.readouterr().err
    assert not weights.exists()  # refused before anything was written
    assert (
        execute(
            ["train", "export", str(trained), "-o", str(weights), "--calibrate", str(faces), "--onnx", str(onnx), "--json", *here]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert onnx.is_file()
    assert found["onnx"]["difference"] <= 1e-3
    assert execute(["models", "add", str(weights), "--name", "ours", *here]) == 0
    assert execute(["models", "add", str(onnx), "--name", "ours-onnx", *here]) == 0
    capsys.readouterr()
    assert sorted(one.name for one in (tmp_path / "models").iterdir() if one.is_dir()) == ["ours", "ours-onnx"]


def test_what_is_said_of_adding_is_what_adding_wants(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESEARCH_MODELS_DIR", str(tmp_path / "models"))
    train(small_plan(faces, steps=1, held_out=0.25, **NARROW), tmp_path / "run")
    here = ["--data-dir", str(tmp_path / "data")]
    assert execute(["train", "export", str(tmp_path / "run"), "-o", str(tmp_path / "own.safetensors"), *here]) == 0
    said = capsys.readouterr().out.split("or facesearch ")[1].split()
    assert said[-1] == "--accept-licence"  # nobody said the licence of the photographs
    assert execute([*said[:-1], *here]) == 5
    assert execute([*said, *here]) == 0


def test_thresholds_set_on_people_who_were_trained_on_say_so(
    trained: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["train", "export", str(trained), "-o", str(tmp_path / "mine.safetensors"), "--calibrate", str(faces)]) == 0
    assert "warning: 24 of these photographs, of 12 people, were trained on" in capsys.readouterr().err
    held_out = tmp_path / "held.txt"
    seen = CropStore.open(faces)
    trained_on = split_people(seen, 0.25, 0)[0].people
    held_out.write_text("\n".join(sorted(set(seen.people) - set(trained_on))), encoding="utf-8")
    assert export_run(trained, tmp_path / "mine.safetensors", calibrate=faces, people=held_out).warning == ""


def test_thresholds_are_set_on_other_crops_where_those_trained_on_are_gone(faces: Path, tmp_path: Path) -> None:
    people = tmp_path / "list.txt"
    people.write_text("P00\nP01", encoding="utf-8")
    plan = small_plan(faces, steps=1, validation=str(faces), validation_people=str(people), **NARROW)
    train(plan, tmp_path / "run")
    assert export_run(tmp_path / "run", tmp_path / "mine.safetensors", calibrate=faces).warning
    people.unlink()
    assert export_run(tmp_path / "run", tmp_path / "mine.safetensors", calibrate=faces).warning == ""


def test_thresholds_are_set_on_crops_of_the_networks_alignment_alone(trained: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "wide", (2, 2), alignment=Alignment("wide-160", 160, None, 32))
    with pytest.raises(TrainingPlanError, match=r"wants crops aligned as arcface-112 .* are wide-160 \(160 px\)"):
        export_run(trained, tmp_path / "mine.safetensors", calibrate=other)
    with pytest.raises(InputError, match="chooses from the store of --calibrate"):
        export_run(trained, tmp_path / "mine.safetensors", people=tmp_path / "list.txt")
    assert not (tmp_path / "mine.safetensors").exists()


def test_files_that_do_not_belong_together_are_refused(trained: Path, faces: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    export_run(trained, weights, calibrate=faces)
    with pytest.raises(InputError, match=r"written as \.safetensors, not 'mine\.onnx'"):
        export_run(trained, tmp_path / "mine.onnx")
    weights.rename(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=r"there is no file .*nothing\.safetensors"):
        exported_card(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=r"has no file of weights mine\.safetensors"):
        card(str(weights))
    weights.with_suffix(".json").rename(tmp_path / "other.json")
    with pytest.raises(CheckpointFormatError, match=r"is of mine\.safetensors, not of other\.safetensors"):
        card(str(tmp_path / "other.safetensors"))
