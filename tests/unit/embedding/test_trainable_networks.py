"""Architectures as values, the networks built of them, and their weights in files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from facesearch.core.errors import CheckpointDigestError, CheckpointFormatError, FileWriteError, ModelDescriptionError
from facesearch.embedding import networks
from facesearch.embedding.architecture import Architecture, default_architecture, parse_architecture
from facesearch.embedding.embedding_network import HEAD, EmbeddingNetwork, build_network
from facesearch.embedding.prepared import Prepared, prepared_planes
from facesearch.embedding.registry import card
from facesearch.embedding.weights import load_weights, metadata_of, read_architecture, save_network

TOLERANCE = 1e-6
SMALL = {"width": 0.125, "dim": 16}


@pytest.fixture
def small() -> EmbeddingNetwork:
    torch.manual_seed(3)
    return build_network(default_architecture("mobilenet", has_norms=True, **SMALL)).eval()


def planes(side: int = 112, n: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, 3, side, side)).astype(np.float32))


@pytest.mark.parametrize("backbone", ["mobilenet", "dlib-resnet-29", "resnet-18", "mobilenet-v3-small"])
def test_an_architecture_survives_json(backbone: str) -> None:
    wanted = default_architecture(backbone, pooling="gem")
    found = parse_architecture(wanted.text(), where="a test")
    assert found == wanted
    assert hash(found) == hash(wanted)
    assert found.differences(wanted) == ()
    assert found.differences(dataclasses.replace(wanted, dim=99)) == (f"dim: {wanted.dim}, not 99",)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backbone": "vgg"}, "backbone is one of"),
        ({"pooling": "mac"}, "pooling is one of"),
        ({"dim": 1}, "dim lies in 2 …"),
        ({"width": 0.0}, "width lies in"),
        ({"backbone": "resnet-18", "width": 0.5}, "resnet-18 is as published"),
    ],
)
def test_what_is_no_architecture_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ModelDescriptionError, match=told):
        dataclasses.replace(default_architecture("mobilenet"), **changes)


@pytest.mark.parametrize("broken", ["{}", "[1]", "no json", '{"alignment": {"points": 3}}'])
def test_a_broken_text_of_an_architecture_is_named(broken: str) -> None:
    with pytest.raises(ModelDescriptionError, match=r"architecture of FILE"):
        parse_architecture(broken, where="FILE")


@pytest.mark.parametrize(
    ("backbone", "first", "n_stages"),
    [("mobilenet", "stem", 14), ("dlib-resnet-29", "stem", 15), ("resnet-18", "stem", 5), ("mobilenet-v3-small", "stem", 13)],
)
def test_a_network_gives_vectors_of_its_length(backbone: str, first: str, n_stages: int) -> None:
    architecture = default_architecture(backbone, dim=24)
    network = build_network(architecture).eval()
    assert network.stage_names[0] == first
    assert len(network.stage_names) == n_stages
    with torch.no_grad():
        found = network(planes(architecture.input_px))
    assert found.shape == (2, 24)
    assert bool(found.isfinite().all())


def test_features_of_a_layer_are_those_of_the_network_that_ends_there(small: EmbeddingNetwork) -> None:
    shorter = build_network(dataclasses.replace(small.architecture, layer="block4", pooling="max")).eval()
    assert shorter.stage_names == small.stage_names[:5]
    wanted = {name: value for name, value in small.state_dict().items() if name.split(".")[1] in shorter.stage_names}
    shorter.load_state_dict(wanted, strict=False)
    with torch.no_grad():
        assert torch.equal(shorter.features(planes()), small.features(planes(), "block4"))
        assert [name for name, _ in small.all_features(planes())] == list(small.stage_names)
    for ask in (lambda: small.features(planes(), "block99"), lambda: small.freeze_until("block99")):
        with pytest.raises(ModelDescriptionError, match=r"no layer 'block99', only stem, block1"):
            ask()
    with pytest.raises(ModelDescriptionError, match="no layer 'layer7'"):
        build_network(dataclasses.replace(small.architecture, layer="layer7"))


def test_without_a_linear_layer_the_length_is_that_of_the_pooled_values(small: EmbeddingNetwork) -> None:
    bare = dataclasses.replace(small.architecture, pooling="gem", is_projected=False)
    assert build_network(dataclasses.replace(bare, dim=128)).eval()(planes()).shape == (2, 128)
    with pytest.raises(ModelDescriptionError, match="gives 128 numbers, dim says 16"):
        build_network(bare)


def test_frozen_stages_neither_learn_nor_count(small: EmbeddingNetwork) -> None:
    small.freeze_until("block2")
    small.train()
    before = {name: value.clone() for name, value in small.state_dict().items()}
    assert small.frozen_stages == ("stem", "block1", "block2")
    groups = small.parameter_groups()
    assert list(groups) == [*small.stage_names[3:], HEAD]
    torch.optim.SGD([one for group in groups.values() for one in group], lr=0.1).zero_grad()
    loss = small(planes()).square().sum()
    loss.backward()
    torch.optim.SGD([one for group in groups.values() for one in group], lr=0.1).step()
    changed = {name.split(".")[1] if name.startswith("stages.") else HEAD for name, value in small.state_dict().items()
               if not torch.equal(value, before[name])}  # fmt: skip
    assert changed == set(groups)
    small.freeze_until(None)
    assert small.frozen_stages == ()
    assert all(one.requires_grad for one in small.parameters())


def test_the_shipped_weights_give_the_shipped_vectors() -> None:
    shipped = card("mobilenet-128")
    network = networks.trainable_network(shipped)
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 112, 112, 3)).astype(np.uint8))
    with torch.no_grad():
        found = torch.nn.functional.normalize(Prepared(network, network.architecture.preparation)(pixels), dim=1)
        wanted = networks.build_network(shipped)(pixels)
        ready = torch.nn.functional.normalize(network(prepared_planes(pixels, network.architecture.preparation)), dim=1)
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
    np.testing.assert_allclose(ready, wanted, atol=TOLERANCE)


def test_weights_come_back_from_their_file(small: EmbeddingNetwork, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    sha256 = save_network(small, file, metadata={"facesearch.licence": "MIT"})
    assert read_architecture(file) == small.architecture
    assert metadata_of(file)["facesearch.licence"] == "MIT"
    again = build_network(small.architecture).eval()
    assert load_weights(again, file, sha256=sha256) == ()
    with torch.no_grad():
        assert torch.equal(again(planes()), small(planes()))
    with pytest.raises(CheckpointDigestError):
        load_weights(again, file, sha256="0" * 64)
    # A part of the network, and another head.
    shorter = build_network(dataclasses.replace(small.architecture, layer="block3", pooling="gem"))
    assert load_weights(shorter, file, with_head=False) == ("fc.bias", "fc.weight", "pooling.power")
    with pytest.raises(CheckpointFormatError, match=r"of another shape: fc.weight|missing: pooling.power"):
        load_weights(shorter, file)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"width": 0.25}, "width 0.125, not 0.25"),
        ({"has_norms": False}, "has_norms True, not False"),
        ({"backbone": "resnet-18", "width": 1.0, "has_norms": False}, "backbone mobilenet, not resnet-18"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_named(
    small: EmbeddingNetwork, tmp_path: Path, other: dict[str, object], told: str
) -> None:
    file = tmp_path / "w.safetensors"
    save_network(small, file)
    network = build_network(dataclasses.replace(small.architecture, **other))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointFormatError, match=f"another architecture: .*{told}"):
        load_weights(network, file)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_torchvisions_weights_fit_without_their_classifier(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs = resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "r.pth")
    network = build_network(default_architecture("resnet-18")).eval()
    assert load_weights(network, tmp_path / "r.pth", with_head=False) == ("fc.bias", "fc.weight")
    theirs.fc = torch.nn.Identity()
    with torch.no_grad():
        np.testing.assert_allclose(network.pooling(network.features(planes())), theirs(planes()), atol=1e-5)


def test_one_network_has_one_digest(small: EmbeddingNetwork, tmp_path: Path) -> None:
    """safetensors writes its texts in any order, which differs from call to call."""
    texts = dict.fromkeys(("licence", "source", "figures", "note"), "x")
    assert len({save_network(small, tmp_path / "a.safetensors", metadata=texts) for _ in range(8)}) == 1
    assert metadata_of(tmp_path / "a.safetensors").items() >= texts.items()
    assert safetensors.torch.load_file(tmp_path / "a.safetensors").keys() == {
        name for name in small.state_dict() if not name.endswith("num_batches_tracked")
    }


def folded(network: EmbeddingNetwork, path: Path) -> EmbeddingNetwork:
    """Return a network of the same form whose batch norms give offsets alone, as those of FaceNet's frozen graph do."""
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name in [one.removesuffix("running_mean") for one in tensors if one.endswith("running_mean")]:
        tensors[f"{name}running_mean"].zero_()
        tensors[f"{name}running_var"].fill_(1.0 - 1e-5)
        tensors[f"{name}bias"].normal_(generator=torch.Generator().manual_seed(len(name)))
    network.load_state_dict(tensors)
    save_network(network, path)
    loaded = build_network(network.architecture)
    load_weights(loaded, path)
    return loaded


def test_folded_norms_never_take_a_batchs_statistics(small: EmbeddingNetwork, tmp_path: Path) -> None:
    """Their means are in their offsets: taken away once more with a batch's, they would leave nothing of the network."""
    n_norms = len(small.trained_norms)
    assert n_norms > 20
    network = folded(small, tmp_path / "folded.safetensors")
    assert (network.n_folded_norms, network.trained_norms) == (n_norms, [])
    used = network.eval()(planes())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    assert network.training
    torch.testing.assert_close(network(planes()), used)
    network(planes()).sum().backward()
    assert all(one.bias.grad is not None for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    # One that has statistics is trained as ever, beside them.
    small.stages["block1"].norm1.running_mean.fill_(0.1)
    save_network(small, tmp_path / "mixed.safetensors")
    load_weights(network, tmp_path / "mixed.safetensors")
    assert len(network.trained_norms) == 1
    assert network.n_folded_norms == n_norms - 1


def test_facenet_pytorchs_weights_give_its_vectors(tmp_path: Path) -> None:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(5)
    theirs = InceptionResnetV1(pretrained=None, classify=False).train()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):  # fresh ones do next to nothing
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(std=0.1)
                module.momentum = None  # the batch's own means and variances: without them all pictures come out alike
        theirs(planes(160, n=4))
    theirs.eval()
    torch.save(theirs.state_dict(), tmp_path / "inception.pt")
    network = build_network(default_architecture("inception-resnet-v1")).eval()
    assert load_weights(network, tmp_path / "inception.pt") == ()
    with torch.no_grad():
        found, wanted = torch.nn.functional.normalize(network(planes(160))), theirs(planes(160))
    assert float((wanted[0] - wanted[1]).abs().max()) > 0.1
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_tensor_too_few_is_named(small: EmbeddingNetwork, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_network(small, file)
    tensors = safetensors.torch.load_file(file)
    del tensors["stages.stem.conv.weight"]
    safetensors.torch.save_file(tensors, file, {"facesearch.architecture": small.architecture.text()})
    with pytest.raises(CheckpointFormatError, match=r"missing: stages.stem.conv.weight"):
        load_weights(small, file)


def test_a_malformed_architecture_in_a_file_is_named(small: EmbeddingNetwork, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_network(small, file)
    fields = {**small.architecture.as_dict(), "pooling": "netvlad"}
    safetensors.torch.save_file(safetensors.torch.load_file(file), file, {"facesearch.architecture": json.dumps(fields)})
    with pytest.raises(ModelDescriptionError, match=r"architecture of w.safetensors: pooling is one of"):
        read_architecture(file)


def test_a_folder_that_is_not_there_is_an_error_and_leaves_nothing(small: EmbeddingNetwork, tmp_path: Path) -> None:
    with pytest.raises(FileWriteError, match="could not be written"):
        save_network(small, tmp_path / "gone" / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_architectures_are_not_mixed_up_by_their_crops() -> None:
    one: Architecture = default_architecture("mobilenet")
    assert one != default_architecture("mobilenet", dim=64)
    assert one != dataclasses.replace(one, alignment=default_architecture("dlib-resnet-29").alignment)
    assert one != "mobilenet"
