from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save

from facesearch.core.errors import CheckpointDigestError, CheckpointFormatError, CheckpointNotFoundError
from facesearch.embedding.backbones import build_backbone
from facesearch.embedding.checkpoint import fill, load_checkpoint, verify_digest


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content if isinstance(content, bytes) else save(content))
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    return written


def test_half_floats_come_back_as_float32(write):
    values = torch.arange(6, dtype=torch.float16).reshape(2, 3) / 7
    path, digest = write({"a.weight": values, "b": torch.ones(2)})
    tensors = load_checkpoint(path, sha256=digest)
    assert set(tensors) == {"a.weight", "b"}
    assert tensors["a.weight"].dtype == torch.float32
    assert torch.equal(tensors["a.weight"], values.float())


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(CheckpointNotFoundError, match=str(path)):
            load_checkpoint(path, sha256="0" * 64)
        with pytest.raises(CheckpointNotFoundError, match=str(path)):
            verify_digest(path, "0" * 64)


@pytest.mark.parametrize("place", [0, 8, 40, -1])
def test_any_changed_byte_is_found_and_both_digests_are_named(write, place):
    path, digest = write({"a": torch.ones(4)})
    verify_digest(path, digest)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    changed = hashlib.sha256(content).hexdigest()
    for check in (lambda: load_checkpoint(path, sha256=digest), lambda: verify_digest(path, digest)):
        with pytest.raises(CheckpointDigestError) as caught:
            check()
        assert digest in caught.value.message
        assert changed in caught.value.message
        assert str(path) in caught.value.message


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 64, b"PK\x03\x04" + bytes(60)])
def test_a_file_of_another_format(write, content):
    path, digest = write(content)
    with pytest.raises(CheckpointFormatError, match="no safetensors file"):
        load_checkpoint(path, sha256=digest)


def test_a_file_cut_short(write):
    path, _ = write({"a": torch.ones(400)})
    path, digest = write(path.read_bytes()[:-100])
    with pytest.raises(CheckpointFormatError, match="no safetensors file"):
        load_checkpoint(path, sha256=digest)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite(write, value):
    path, digest = write({"good": torch.ones(2), "bad": torch.tensor([1.0, value])})
    with pytest.raises(CheckpointFormatError, match="tensor bad"):
        load_checkpoint(path, sha256=digest)


def test_tensors_of_whole_numbers(write):
    path, digest = write({"ids": torch.arange(3)})
    with pytest.raises(CheckpointFormatError, match="tensor ids"):
        load_checkpoint(path, sha256=digest)


class TestFill:
    def module(self):
        return torch.nn.Linear(3, 2)

    def test_fits(self):
        tensors = {"weight": torch.full((2, 3), 0.5), "bias": torch.ones(2)}
        module = fill(self.module(), tensors, source="test")
        assert torch.equal(module.weight, tensors["weight"])

    def test_all_problems_are_named_at_once(self):
        with pytest.raises(CheckpointFormatError) as caught:
            fill(self.module(), {"weight": torch.ones(3, 2), "extra": torch.ones(1)}, source="some.safetensors")
        message = caught.value.message
        assert "some.safetensors" in message
        assert "missing: bias" in message
        assert "not of this network: extra" in message
        assert "weight (3, 2) instead of (2, 3)" in message

    def test_many_names_are_cut(self):
        with pytest.raises(CheckpointFormatError, match="and 78 more"):
            fill(build_backbone("mobilenet", 128, (0, 0, 0), 1), {}, source="empty")


def test_unknown_backbone():
    with pytest.raises(CheckpointFormatError, match=r"'vgg'.*mobilenet"):
        build_backbone("vgg", 128, (0, 0, 0), 1)
