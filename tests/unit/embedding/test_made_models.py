"""Embedders made here: files that carry their architecture, shorter templates, and ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from facesearch.core.arrays import normalised
from facesearch.core.errors import (
    CheckpointFormatError,
    FileWriteError,
    InputError,
    ModelDescriptionError,
    ModelFileError,
    ModelTakenError,
    UnsupportedModelError,
)
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.compress import compress
from facesearch.embedding.description import Description
from facesearch.embedding.embedding_network import build_network
from facesearch.embedding.library import ModelLibrary
from facesearch.embedding.networks import network_spec, trainable_network
from facesearch.embedding.onnx_export import AGREEMENT, export_onnx
from facesearch.embedding.weights import FIGURES_KEY, LICENCE_KEY, save_network
from facesearch.inference import Engine, NetworkSpec, Precision, WantedPrecision, create_engine
from facesearch.inference.network import Network

DIM = 16
ENGINE = create_engine(threads=1)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models", lambda: ENGINE)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = build_network(default_architecture("mobilenet", dim=DIM, width=0.125, has_norms=True, pooling="gem"))
    points = {"single": {"operating_points": [{"fmr": 0.01, "threshold": 0.4, "n_non_mated": 1000}]}}
    save_network(network, tmp_path / "trained.safetensors", metadata={LICENCE_KEY: "MIT", FIGURES_KEY: json.dumps(points)})
    return tmp_path / "trained.safetensors"


def embedded(library: ModelLibrary, name: str, pictures: np.ndarray) -> np.ndarray:
    (found,) = ENGINE.load(network_spec(library.card(name))).run(pictures)
    return normalised(found)


def test_a_file_that_carries_its_architecture_needs_a_name_only(library: ModelLibrary, trained: Path, pixels: np.ndarray) -> None:
    added = library.add(trained, "mine")
    assert (added.dim, added.licence, added.alignment.name, added.architecture.pooling) == (DIM, "MIT", "arcface-112", "gem")
    assert added.embedder_id() == f"mine@{added.sha256[:12]}"
    assert [point.threshold for point in added.operating_points()] == [0.4]
    again = library.card("mine")
    assert again.architecture == added.architecture
    network = trainable_network(again)
    planes = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127.5) / 128.0
    with torch.no_grad():
        np.testing.assert_allclose(embedded(library, "mine", pixels), normalised(network(planes).numpy()), atol=1e-4)


def test_what_the_file_says_cannot_be_said_otherwise(library: ModelLibrary, trained: Path) -> None:
    with pytest.raises(ModelDescriptionError, match="leave out alignment, channels"):
        library.add(trained, "mine", Description(alignment="arcface-112", channels="bgr"))
    with pytest.raises(ModelDescriptionError, match="--name"):
        library.add(trained)
    bare = trained.with_name("bare.safetensors")
    save_network(build_network(default_architecture("mobilenet", dim=DIM, width=0.125)), bare)
    with pytest.raises(ModelDescriptionError, match="--licence"):
        library.add(bare, "mine")
    assert library.add(bare, "mine", Description(licence="MIT", dim=DIM)).licence == "MIT"


def test_figures_that_cannot_be_read_are_named(library: ModelLibrary, trained: Path) -> None:
    save_network(
        build_network(default_architecture("mobilenet", dim=DIM, width=0.125)),
        trained,
        metadata={LICENCE_KEY: "MIT", FIGURES_KEY: '{"single": 3}'},
    )
    with pytest.raises(CheckpointFormatError, match=r"trained\.safetensors"):
        library.add(trained, "mine")
    assert not (library.folder / "mine").exists()


def test_shorter_templates_are_the_components_of_the_longer_ones(library: ModelLibrary, trained: Path, pixels: np.ndarray) -> None:
    source = library.add(trained, "mine")
    learnt = normalised(np.random.default_rng(2).normal(size=(60, DIM)))
    made = compress(library, source, "short", learnt, 6)
    assert (made.card.dim, made.card.licence, made.n_learnt) == (6, "MIT", 60)
    assert made.card.is_calibrated is False
    assert source.embedder_id() in made.card.origin.source
    wanted = normalised(made.projection(embedded(library, "mine", pixels)))
    np.testing.assert_allclose(embedded(library, "short", pixels), wanted, atol=1e-3)
    with pytest.raises(ModelTakenError):
        compress(library, source, "short", learnt, 6)
    with pytest.raises(InputError, match=r"6 components are learnt of 24 faces at least, there are 23"):
        compress(library, source, "shorter", learnt[:23], 6)
    with pytest.raises(InputError, match=r"2 … 15, not 16"):
        compress(library, source, "shorter", learnt, 16)


def test_onnx_agrees_with_the_network_and_is_added_by_name(
    library: ModelLibrary, trained: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    source = library.add(trained, "mine")
    made = export_onnx(source, tmp_path / "m.onnx", ENGINE)
    assert made.difference <= AGREEMENT
    added = library.add(made.path, "mine-onnx")
    assert (added.dim, added.licence, added.alignment.crop_px) == (DIM, "MIT", 112)
    np.testing.assert_allclose(embedded(library, "mine-onnx", pixels), embedded(library, "mine", pixels), atol=AGREEMENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.toml", "models", "trained.safetensors"]
    with pytest.raises(InputError, match=r"is written as \.onnx, not 'm'"):  # models add would not know what it is
        export_onnx(source, tmp_path / "m", ENGINE)
    assert not (tmp_path / "m").exists()
    with pytest.raises(UnsupportedModelError, match="is onnx already"):
        export_onnx(added, tmp_path / "again.onnx", ENGINE)
    with pytest.raises(UnsupportedModelError, match="cannot be taken apart"):
        compress(library, added, "short", normalised(np.random.default_rng(2).normal(size=(60, DIM))), 6)
    with pytest.raises(FileWriteError):
        export_onnx(source, tmp_path / "gone" / "m.onnx", ENGINE)


class WrongEngine:
    """An engine whose networks return unit vectors with one number off by so much; obeys ``inference.Engine``."""

    name = "openvino"
    precision: WantedPrecision = "f32"

    def __init__(self, off: float) -> None:
        self.off = off

    def precision_of(self, spec: NetworkSpec) -> Precision:
        return ENGINE.precision_of(spec)

    def load(self, spec: NetworkSpec) -> Network:
        return WrongNetwork(ENGINE.load(spec), self.off)


class WrongNetwork:
    """What it loads."""

    def __init__(self, network: Network, off: float) -> None:
        self.network = network
        self.off = off

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        (found,) = self.network.run(batch)
        wrong = found.copy()
        wrong[1, np.abs(wrong[1]).argmin()] += self.off  # the smallest: bringing to unit length again changes the rest hardly
        return (wrong,)


def test_an_onnx_file_that_computes_something_else_is_not_written(library: ModelLibrary, trained: Path, tmp_path: Path) -> None:
    source, file = library.add(trained, "mine"), tmp_path / "m.onnx"
    file.write_bytes(b"of before")
    engine: Engine
    for engine in (WrongEngine(2e-3), WrongEngine(np.nan)):
        with pytest.raises(ModelFileError, match=r"of mine differs from the network by .*, at most 0.001 .*: nothing was written"):
            export_onnx(source, file, engine)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "models", "trained.safetensors"]
        assert file.read_bytes() == b"of before"
    assert export_onnx(source, file, WrongEngine(5e-4)).difference == pytest.approx(5e-4, rel=0.1)
