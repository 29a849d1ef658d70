"""Models that people bring: added whole or not at all, recognised by digest, refused when they changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import (
    CheckpointDigestError,
    CheckpointFormatError,
    EngineError,
    FaceSearchError,
    FileWriteError,
    ModelDescriptionError,
    ModelFileError,
    ModelLicenceError,
    ModelTakenError,
    OperatingPointError,
    UncalibratedEmbedderError,
    UnknownEmbedderError,
    UnsupportedModelError,
)
from facesearch.core.face import Detection, FaceCrop
from facesearch.embedding import recipes
from facesearch.embedding.card_file import ARCFACE_112
from facesearch.embedding.description import Description, parse_description
from facesearch.embedding.embedder import create_embedder
from facesearch.embedding.library import ModelLibrary
from facesearch.inference import create_engine
from tests.model_files import DIM, expected, save_frozen_graph, save_onnx, save_random_bytes, save_torchscript

ARCFACE = Description(alignment="arcface-112", channels="rgb", mean=(127.5,) * 3, scale=(128.0,) * 3, licence="MIT")
FACE = Detection((0.0, 0.0, 112.0, 112.0), np.array(ARCFACE_112), 0.9)


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models", lambda: create_engine(threads=1))


def crops(n: int = 3, size: int = 112) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def embedded(library: ModelLibrary, name: str, pictures: np.ndarray, engine: str = "openvino") -> np.ndarray:
    embedder = create_embedder(name, create_engine(engine, threads=1), models_folder=library.folder)
    return np.stack([template.vector for template in embedder.embed([FaceCrop(one, FACE) for one in pictures])])


def directions(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


def test_a_file_is_added_and_embeds_as_it_was_described(library: ModelLibrary, tmp_path: Path) -> None:
    added = library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    assert (added.name, added.dim, added.format, added.layout, added.is_batched) == ("mine", DIM, "onnx", "nchw", True)
    assert (added.licence, added.is_calibrated, added.origin.licence_accepted_at) == ("MIT", False, None)
    assert sorted(path.name for path in (library.folder / "mine").iterdir()) == sorted([f"{added.sha256}.onnx", "card.json"])
    assert contents(library.folder)[0] == "mine", "nothing hidden stays behind"
    assert [card.name for card in library.list()] == ["mine", "mobilenet-128"]
    vectors = embedded(library, "mine", crops())
    assert vectors == pytest.approx(directions(expected(crops(), mean=127.5, scale=128)), abs=1e-4)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("changes", [{}, {"channels": "bgr"}, {"normalisation": "per-image", "mean": None, "scale": None}], ids=str)
def test_torchscript_is_prepared_the_same_way(library: ModelLibrary, tmp_path: Path, engine: str, changes: dict) -> None:
    description = Description(**{**ARCFACE.said(), **changes})
    library.add(save_torchscript(tmp_path / "mine.pt"), "mine", description)
    twin = expected(crops(), mean=127.5, scale=128, is_bgr=changes.get("channels") == "bgr", per_image="normalisation" in changes)
    assert embedded(library, "mine", crops(), engine) == pytest.approx(directions(twin), abs=1e-3)


def test_a_frozen_graph_and_its_box(library: ModelLibrary, tmp_path: Path) -> None:
    added = library.add(
        save_frozen_graph(tmp_path / "net.pb", 160),
        "boxes",
        Description(alignment="facenet-160", margin_px=14, channels="rgb", normalisation="per-image", licence="MIT", dim=DIM),
    )
    assert (added.alignment.points, added.alignment.crop_px, added.alignment.margin_px, added.layout) == (None, 160, 14, "nhwc")
    assert library.card("boxes").alignment.margin_px == 14
    assert embedded(library, "boxes", crops(2, 160)) == pytest.approx(directions(expected(crops(2, 160), per_image=True)), abs=1e-3)


def test_torch_cannot_run_a_graph_and_says_so(library: ModelLibrary, tmp_path: Path) -> None:
    library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    with pytest.raises(EngineError, match="torch cannot run mine, which is onnx: choose engine openvino"):
        create_embedder("mine", create_engine("torch"), models_folder=library.folder)


@pytest.mark.parametrize("kind", ["fixed-reshape", "sum-of-batch"])
def test_a_network_that_mixes_its_batch_gets_one_crop_at_a_time(library: ModelLibrary, tmp_path: Path, kind: str) -> None:
    batch = 1 if kind == "fixed-reshape" else "N"
    added = library.add(save_onnx(tmp_path / "mine.onnx", kind=kind, batch=batch), "mine", ARCFACE)
    assert not added.is_batched
    assert not library.card("mine").is_batched
    assert embedded(library, "mine", crops()) == pytest.approx(directions(expected(crops(), mean=127.5, scale=128)), abs=1e-4)


def test_a_description_may_lie_beside_the_file(library: ModelLibrary, tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "mine.onnx")
    (tmp_path / "mine.toml").write_text(
        'alignment = "own"\ninput_px = 112\npoints = [[30, 40], [80, 40], [56, 60], [35, 90], [75, 90]]\nchannels = "bgr"\n'
        'mean = [1, 2, 3]\nscale = 2.5\nlicence = "CC0-1.0"\nsource = "me"\n'
    )
    added = library.add(file, "mine", Description(licence="MIT"))
    assert (added.licence, added.origin.source, added.preparation.is_bgr) == ("MIT", "me", True)
    assert (added.preparation.mean, added.preparation.scale) == ((1.0, 2.0, 3.0), (2.5, 2.5, 2.5))
    assert added.alignment.name == "own"
    assert added.alignment.points is not None
    assert added.alignment.points.tolist()[0] == [30.0, 40.0]


def test_what_is_unsaid_is_asked_for_at_once(library: ModelLibrary, tmp_path: Path) -> None:
    with pytest.raises(ModelDescriptionError) as caught:
        library.add(save_onnx(tmp_path / "mine.onnx"))
    for option in ("--alignment", "--channels", "--mean and --scale", "--name", "--licence"):
        assert option in caught.value.message
    assert contents(library.folder) == []


@pytest.mark.parametrize(
    ("kind", "options", "error", "told"),
    [
        ("nan", {}, UnsupportedModelError, "not finite"),
        ("zero", {}, UnsupportedModelError, "zero vector"),
        ("constant", {}, UnsupportedModelError, "same vector for two different pictures"),
        ("map", {}, UnsupportedModelError, r"returns shape \(1, 3, 112, 112\) for 1 pictures"),
        ("unknown-operator", {}, UnsupportedModelError, "(?i)operators that OpenVINO does not know.*teleport"),
        ("external", {}, ModelFileError, "weights in another file"),
        ("", {"also": True}, UnsupportedModelError, "2 outputs .*--output"),
        ("", {"size": 160}, ModelDescriptionError, "the file takes pictures of 160×160 pixels, alignment arcface-112 makes 112"),
    ],
)
def test_what_is_no_embedder_is_refused_and_leaves_nothing(library, tmp_path, kind, options, error, told) -> None:
    with pytest.raises(error, match=told):
        library.add(save_onnx(tmp_path / "bad.onnx", kind=kind, **options), "bad", ARCFACE)
    assert contents(library.folder) == []


def test_the_wrong_length_of_vector_is_refused(library: ModelLibrary, tmp_path: Path) -> None:
    with pytest.raises(ModelDescriptionError, match="vectors of 4 numbers, dim says 512"):
        library.add(save_onnx(tmp_path / "bad.onnx"), "bad", Description(**{**ARCFACE.said(), "dim": 512}))
    assert contents(library.folder) == []


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("a.onnx", b"", ModelFileError, "is empty"),
        ("a.onnx", b"<!DOCTYPE html><html>", ModelFileError, "a web page"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\n", ModelFileError, "Git LFS pointer"),
        ("a.bin", b"1234567890", ModelDescriptionError, "--format"),
        ("a.safetensors", b"1234567890", ModelFileError, "does not begin as a safetensors file does"),
        ("a.pth", b"\x80\x02}q\x00.", ModelFileError, "pickle of an old PyTorch"),
        ("a.onnx", b"PK\x03\x04rest", ModelFileError, "damaged archive"),
        ("a.onnx", b"hello world\n", ModelFileError, "a.onnx is text, not a model"),
        ("a.pb", b"hello world\n", ModelFileError, "a.pb is text, not a model"),
    ],
)
def test_files_of_other_kinds_are_called_by_their_name(library, tmp_path, name, content, error, told) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=told):
        library.add(tmp_path / name, "bad", ARCFACE)
    assert contents(library.folder) == []


def test_an_archive_says_what_is_in_it(library: ModelLibrary, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("buffalo/det.onnx", b"x")
        archive.writestr("buffalo/w600k.onnx", b"x")
    with pytest.raises(
        ModelFileError, match=r"archive of 2 files, not a model; unpack it and add buffalo/det.onnx or buffalo/w600k.onnx"
    ):
        library.add(tmp_path / "pack.zip", "bad", ARCFACE)


def test_junk_and_absent_files(library: ModelLibrary, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model that OpenVINO can read") as caught:
        library.add(save_random_bytes(tmp_path / "junk.onnx"), "bad", ARCFACE)
    assert ".adding-" not in caught.value.message, "that folder is gone when somebody reads it"
    with pytest.raises(ModelFileError, match="there is no file"):
        library.add(tmp_path / "absent.onnx", "bad", ARCFACE)
    with pytest.raises(ModelFileError, match="there is no file"):
        library.add(tmp_path, "bad", ARCFACE)


@pytest.mark.parametrize("step", ["copying the file", "trying it out on two pictures", "writing its card"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), EngineError("broken")])
def test_a_failure_at_any_step_leaves_nothing(library: ModelLibrary, tmp_path: Path, step: str, failure: BaseException) -> None:
    seen = []

    def failing(doing: str) -> None:
        seen.append(doing)
        if doing == step:
            raise failure

    with pytest.raises(type(failure)):
        library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE, progress=failing)
    assert seen[-1] == step
    assert contents(library.folder) == []
    library.add(tmp_path / "mine.onnx", "mine", ARCFACE)


def test_a_full_disk_while_the_file_is_copied(library: ModelLibrary, tmp_path: Path) -> None:
    import resource

    far = Path("/dev/shm")
    if not far.is_dir() or far.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system, so that a hard link is impossible")
    folder = far / f"facesearch-{os.getpid()}"
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        file = tmp_path / "large.onnx"
        file.write_bytes(bytes(100_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(FileWriteError, match="models cannot be written: File too large"):
            ModelLibrary(folder / "models", lambda: create_engine(threads=1)).add(file, "mine", ARCFACE)
        assert contents(folder / "models") == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        shutil.rmtree(folder)


def test_a_models_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("x")
    with pytest.raises(FileWriteError, match=r"models folder .* cannot be written"):
        ModelLibrary(tmp_path / "models", lambda: create_engine(threads=1)).add(save_onnx(tmp_path / "a.onnx"), "mine", ARCFACE)


def test_a_taken_name_is_refused(library: ModelLibrary, tmp_path: Path) -> None:
    library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    before = contents(library.folder)
    with pytest.raises(ModelTakenError, match="'mine' is taken, by this very file"):
        library.add(tmp_path / "mine.onnx", "mine", ARCFACE)
    with pytest.raises(ModelTakenError, match="'mobilenet-128' is taken, by another file"):
        library.add(tmp_path / "mine.onnx", "mobilenet-128", ARCFACE)
    for name in ("", "../mine", "Mine", "a@b", "a" * 65):
        with pytest.raises(ModelDescriptionError, match="name is lower-case letters"):
            library.add(tmp_path / "mine.onnx", name, ARCFACE)
    assert contents(library.folder) == before


def test_another_crop_of_the_same_weights_is_another_embedder(library: ModelLibrary, tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "mine.onnx")
    first = library.add(file, "mine", ARCFACE).embedder_id()
    library.remove("mine")
    second = library.add(file, "mine", Description(**{**ARCFACE.said(), "channels": "bgr"})).embedder_id()
    library.remove("mine")
    assert first != second
    assert library.add(file, "mine", ARCFACE).embedder_id() == first


@pytest.mark.parametrize("how", ["in the folder", "in place, where the file is a hard link"])
def test_a_changed_file_is_refused(library: ModelLibrary, tmp_path: Path, how: str) -> None:
    source = save_onnx(tmp_path / "mine.onnx")
    added = library.add(source, "mine", ARCFACE)
    assert library.verify("mine")[0].sha256 == added.sha256
    if how == "in the folder":
        added.weights_path.unlink()
        added.weights_path.write_bytes(b"another")
    else:
        assert source.samefile(added.weights_path)
        with source.open("r+b") as stream:
            stream.write(b"another")
    with pytest.raises(CheckpointDigestError, match=added.sha256):
        library.verify()
    with pytest.raises(CheckpointDigestError, match=added.sha256):
        create_embedder("mine", create_engine(threads=1), models_folder=library.folder)


def test_removing(library: ModelLibrary, tmp_path: Path) -> None:
    added = library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    for unknown in ("nobody", "mobilenet-128", "mine@000000000000", "mine@"):
        with pytest.raises(UnknownEmbedderError):
            library.remove(unknown)
    library.remove(added.embedder_id())
    assert contents(library.folder) == []
    assert (tmp_path / "mine.onnx").is_file()
    with pytest.raises(UnknownEmbedderError, match="no embedder 'mine'; installed: mobilenet-128"):
        library.card("mine")


def test_a_licence_that_is_not_open_must_be_accepted(library: ModelLibrary, tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "mine.onnx")
    theirs = Description(**{**ARCFACE.said(), "licence": "research only"})
    with pytest.raises(ModelLicenceError, match=r"'research only', which is not open.*--accept-licence"):
        library.add(file, "mine", theirs)
    assert contents(library.folder) == []
    added = library.add(file, "mine", theirs, accept_licence=True)
    assert library.card("mine").origin.licence_accepted_at == added.origin.licence_accepted_at
    assert added.origin.licence_accepted_at is not None
    assert added.origin.licence_accepted_at.endswith("+00:00")
    assert "research only" in added.text()


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a file that a recipe of a closed licence knows by its digest."""
    file = save_onnx(tmp_path / "theirs.onnx")
    said = {key: value for key, value in ARCFACE.said().items() if key != "licence"}
    fields = {**said, "name": "theirs", "summary": "a toy", "source": "somebody", "licence": "research only", "is_open": False}
    fields |= {
        "licence_terms": "Research only.",
        "files": [{"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}],
    }
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "theirs.json").write_text(json.dumps(fields))
    monkeypatch.setattr(recipes, "RECIPES", folder)
    recipes.load_recipe.cache_clear()
    yield file
    recipes.load_recipe.cache_clear()


def test_nobody_opens_the_licence_of_a_file_that_a_recipe_knows(library: ModelLibrary, recipe: Path) -> None:
    for accept_licence in (False, True):
        with pytest.raises(ModelDescriptionError, match=r"licence of theirs.onnx is 'research only', .* not 'MIT'"):
            library.add(recipe, description=Description(licence="MIT"), accept_licence=accept_licence)
    assert contents(library.folder) == []
    added = library.add(recipe, description=Description(licence="research only"), accept_licence=True)
    assert (added.licence, added.origin.licence_accepted_at is not None) == ("research only", True)


def test_what_changes_no_vector_changes_no_id(library: ModelLibrary, recipe: Path) -> None:
    plain = library.add(recipe, accept_licence=True)
    library.remove(plain.name)
    said = Description(licence="research only", source="my disk", dim=DIM, channels="rgb")
    added = library.add(recipe, description=said, accept_licence=True)
    assert (added.embedder_id(), added.origin.recipe) == (plain.embedder_id(), "theirs")
    assert (plain.origin.source, added.origin.source) == ("somebody", "my disk")
    library.remove(plain.name)
    assert library.add(recipe, description=Description(channels="bgr"), accept_licence=True).embedder_id() != plain.embedder_id()


FIGURES = {"single": {"operating_points": [{"fmr": 0.01, "threshold": 0.4, "n_non_mated": 1000}], "measured_on": "my people"}}


def test_figures_make_an_embedder_decide(library: ModelLibrary, tmp_path: Path) -> None:
    added = library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    with pytest.raises(UncalibratedEmbedderError, match="facesearch models calibrate mine --images DIR"):
        added.operating_points()
    library.write_figures("mine", FIGURES)
    points = library.card("mine").operating_points()
    assert [(point.threshold, point.embedder_id) for point in points] == [(0.4, added.embedder_id())]
    assert library.card("mine").figures["single"].measured_on == "my people"
    with pytest.raises(OperatingPointError, match="flip"):
        library.card("mine").operating_points(flip=True)
    falling = {"single": {"operating_points": [{**FIGURES["single"]["operating_points"][0], "fmr": 0.1, "threshold": 0.9}] * 2}}
    with pytest.raises(FaceSearchError):
        library.write_figures("mine", falling)
    assert library.card("mine").operating_points().points == points.points, "what was refused replaces nothing"
    with pytest.raises(UnknownEmbedderError):
        library.write_figures("mobilenet-128", FIGURES)


def test_a_damaged_neighbour_disturbs_nobody(library: ModelLibrary, tmp_path: Path) -> None:
    library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    library.add(tmp_path / "mine.onnx", "yours", ARCFACE)
    card = library.folder / "mine" / "card.json"
    fields = json.loads(card.read_text())
    for damaged in (
        "{",
        json.dumps({**fields, "file": "../../secret"}),
        json.dumps({**fields, "dim": 0}),
        json.dumps({**fields, "mean": [1]}),
    ):
        card.write_text(damaged)
        assert library.card("yours").name == "yours"
        assert library.card("mobilenet-128").name == "mobilenet-128"
        with pytest.raises(CheckpointFormatError, match=r"mine/card\.json"):
            library.card("mine")


def test_what_a_killed_process_left_goes_after_a_day(library: ModelLibrary, tmp_path: Path) -> None:
    for name, age_s in ((".adding-old", 2 * 86_400), (".adding-new", 60)):
        (library.folder / name).mkdir(parents=True)
        os.utime(library.folder / name, (tmp_path.stat().st_mtime - age_s,) * 2)
    library.add(save_onnx(tmp_path / "mine.onnx"), "mine", ARCFACE)
    assert [name for name in contents(library.folder) if name.startswith(".")] == [".adding-new"]
    assert [card.name for card in library.list()] == ["mine", "mobilenet-128"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"channels": "gbr"}, "channels is one of rgb, bgr, not 'gbr'"),
        ({"scale": 0}, "above 0"),
        ({"scale": "nan"}, "scale cannot be"),
        ({"mean": [1, 2]}, "one number or three"),
        ({"points": [[1, 2]]}, "five pairs"),
        ({"points": "1,2"}, "five pairs"),
        ({"input_px": 0}, "input_px lies in"),
        ({"input_px": True}, "whole number"),
        ({"normalisation": "none", "mean": 1}, "goes without mean and scale"),
        ({"licence": " "}, "printable"),
        ({"licence": "MIT\x1b[31m"}, "printable"),
        ({"colour": "rgb"}, "unknown names colour; known are alignment"),
    ],
)
def test_descriptions_that_make_no_sense(fields: dict, told: str) -> None:
    with pytest.raises(ModelDescriptionError, match=told):
        parse_description(fields, where="mine.toml")


@pytest.mark.parametrize(
    ("alignment", "told"),
    [
        ("arcface-100", "multiples of 112 and of 128"),
        ("arcface", "not 'arcface'"),
        ("facenet-4096", "8 … 1024"),
        ("dlib-150", "not 'dlib"),
    ],
)
def test_alignments_that_nobody_knows(alignment: str, told: str) -> None:
    with pytest.raises(ModelDescriptionError, match=told):
        Description(alignment=alignment).crop(None)


def test_arcface_at_other_sizes_is_insightfaces() -> None:
    # insightface.utils.face_align.estimate_norm: ratio and shift of the 112-pixel template
    points = np.array(ARCFACE_112, np.float32)
    for px, ratio, shift in ((224, 2.0, 0.0), (128, 1.0, 8.0), (256, 2.0, 16.0)):
        found = Description(alignment=f"arcface-{px}").crop(None).points
        assert found is not None
        assert found == pytest.approx(points * ratio + np.array([shift, 0.0]), abs=1e-4)
