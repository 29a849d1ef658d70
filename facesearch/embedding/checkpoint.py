"""Reading a network's weights from a safetensors file, and refusing any other file.

It downloads nothing and knows no architecture. Checking a digest needs no torch; only reading tensors imports it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.core.errors import CheckpointDigestError, CheckpointFormatError, CheckpointNotFoundError

if TYPE_CHECKING:
    import torch

_NAMED_AT_MOST = 5  # tensor names in one message


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn what the file system raises into errors of the house."""
    try:
        yield
    except OSError as exc:
        raise CheckpointNotFoundError(
            f"the weights {path} cannot be read ({exc.strerror or exc}); of an installed embedder: install facesearch again, or "
            "correct the models folder",
            path=str(path),
        ) from exc


@contextmanager
def _format_errors(path: Path) -> Iterator[None]:
    """Turn what safetensors and torch raise into errors of the house."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, KeyError, ValueError, RuntimeError) as exc:
        raise CheckpointFormatError(f"{path} is no safetensors file that can be read: {exc}", path=str(path)) from exc


def verify_digest(path: Path, sha256: str) -> None:
    """Raise unless a file has the published digest.

    Args:
        path: The weights.
        sha256: Expected SHA-256 in lower-case hex.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file; names both digests.
    """
    _require_digest(path, digest_of(path), sha256)


def digest_of(path: Path) -> str:
    """Return a file's SHA-256, lower-case hex.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
    """
    with _file_errors(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_digest(path: Path, found: str, sha256: str) -> None:
    if found != sha256:
        raise CheckpointDigestError(
            f"the weights {path} have SHA-256 {found}, their card says {sha256}: the file is damaged or another one",
            path=str(path),
            found=found,
            expected=sha256,
        )


def read_checked(path: Path, *, sha256: str) -> bytes:
    """Return a file's content, its digest checked: what is parsed is what was hashed, whatever happens to the file in between.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file; names both digests.
    """
    with _file_errors(path):
        content = path.read_bytes()
    _require_digest(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def load_checkpoint(path: Path, *, sha256: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file as float32, the digest checked before anything of it is parsed.

    Args:
        path: The weights.
        sha256: Expected SHA-256 in lower-case hex.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file; names both digests.
        CheckpointFormatError: It is no safetensors file, or a tensor is not of floats or holds NaN or infinity.
    """
    return parse_tensors(read_checked(path, sha256=sha256), path)


def parse_tensors(content: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file's content as float32.

    Args:
        content: The file.
        path: Where it came from, for messages.

    Raises:
        CheckpointFormatError: It is no safetensors file, or a tensor is not of floats or holds NaN or infinity.
    """
    import safetensors.torch

    with _format_errors(path):
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(content)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not bool(tensor.float().isfinite().all()):
            raise CheckpointFormatError(f"tensor {name} of {path} is not of finite floats", path=str(path), tensor=name)
    return {name: tensor.float() for name, tensor in tensors.items()}


def checksum(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return the CRC-32 over all tensors on the processor, by name; safetensors keeps none of its own."""
    import torch

    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), total))
    return total


def fill(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], *, source: str) -> torch.nn.Module:
    """Give a module its weights and return it.

    Args:
        module: The architecture.
        tensors: A tensor of the right shape for each of its parameters, and no other.
        source: Where the tensors came from, for messages.

    Raises:
        CheckpointFormatError: Tensors are missing, left over or of another shape; names them.
    """
    wanted = module.state_dict()
    problems = [
        (_listed(wanted.keys() - tensors.keys()), "missing"),
        (_listed(tensors.keys() - wanted.keys()), "not of this network"),
        (
            _listed(
                f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
                for name in wanted.keys() & tensors.keys()
                if tensors[name].shape != wanted[name].shape
            ),
            "of another shape",
        ),
    ]
    told = "; ".join(f"{what}: {names}" for names, what in problems if names)
    if told:
        raise CheckpointFormatError(f"the tensors of {source} do not fit the network ({told})", path=source)
    module.load_state_dict(dict(tensors))
    return module


def _listed(names: Iterable[str]) -> str:
    """Return names in order, the first few of many."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMED_AT_MOST} more" if len(ordered) > _NAMED_AT_MOST else ""
    return ", ".join(ordered[:_NAMED_AT_MOST]) + more
