"""Checkpoints of a run: everything needed to go on exactly, as safetensors with a text of JSON, written in one step.

It decides nothing about when: see ``trainer``. Nothing is unpickled, so a checkpoint of somebody else's runs no code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facesearch.core.errors import CheckpointFormatError, CheckpointNotFoundError, FileWriteError
from facesearch.embedding.architecture import Architecture, parse_architecture
from facesearch.embedding.checkpoint import checksum

FORMAT = "facesearch-training"
VERSION = 1
KEPT = 2
"""Checkpoints kept: should the newest be damaged by the disk, the one before is there."""

_STATE = "facesearch.state"
_NAME = "step-{:09d}.safetensors"

Writer = Callable[[Path, bytes], None]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run at a moment.

    Attributes:
        step: Steps done.
        architecture: Of the network.
        tensors: By part and name: ``network.…``, ``average.…``, ``objective.…``, ``optimiser.…``.
        state: Everything else, plain values.
    """

    step: int
    architecture: Architecture
    tensors: Mapping[str, torch.Tensor]
    state: Mapping[str, Any]

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """Return the tensors of a part under their own names."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, write: Writer = write_whole) -> Path:
    """Write a checkpoint and remove all but the newest.

    Args:
        folder: Of checkpoints; made where it is not there.
        checkpoint: What to write.
        write: Puts bytes into a file.

    Returns:
        The file.

    Raises:
        FileWriteError: No space left, or the like; what was there before stays, and nothing half-written with a checkpoint's name.
    """
    import safetensors.torch

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
    state = {**checkpoint.state, "format": FORMAT, "version": VERSION, "step": checkpoint.step, "crc32": checksum(tensors)}
    texts = {
        _STATE: json.dumps(state, allow_nan=False),
        "facesearch.training_architecture": checkpoint.architecture.text(),
    }
    content = safetensors.torch.save(tensors, texts)
    path = folder / _NAME.format(checkpoint.step)
    temporary = folder / f".{path.name}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(temporary, content)
        temporary.replace(path)
        for old in checkpoints(folder)[:-KEPT]:
            old.unlink()
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        last = newest(folder)
        advice = (
            f"the last good one is {last}. Make room, then: facesearch train resume {folder.parent}"
            if last is not None
            else f"there is none yet. Make room, remove {folder.parent}, and begin again"
        )
        raise FileWriteError(
            f"checkpoint {path} of {len(content) / 2**20:.0f} MB could not be written: {exc.strerror or exc}; {advice}",
            path=str(path),
        ) from exc
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint, or None where there is none."""
    found = checkpoints(folder)
    return found[-1] if found else None


def read_checkpoint(path: Path, *, expected: Architecture | None = None) -> Checkpoint:
    """Return a checkpoint.

    Args:
        path: The file.
        expected: The architecture that it must be of; None for any.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointFormatError: It is damaged, no checkpoint of training, of another version or architecture; names what differs.
    """
    import safetensors.torch

    if not path.is_file():
        raise CheckpointNotFoundError(f"there is no checkpoint {path}", path=str(path))
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            texts = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - the file is no mapping
        state = json.loads(texts[_STATE])
        step = int(state["step"])
        if state["format"] != FORMAT or state["version"] != VERSION:
            raise ValueError(f"format {state['format']} version {state['version']}, this release reads {FORMAT} {VERSION}")
        if state.get("crc32", (found := checksum(tensors))) != found:
            raise ValueError(f"its tensors have the checksum {found}, {state['crc32']} was written")
        architecture = parse_architecture(texts["facesearch.training_architecture"], where=path.name)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError) as exc:
        older = [one for one in checkpoints(path.parent) if one < path]
        advice = f"; remove it to go on from {older[-1].name}" if older else ""
        raise CheckpointFormatError(f"{path} is no checkpoint of training that can be read: {exc}{advice}", path=str(path)) from exc
    if expected is not None and architecture != expected:
        told = "; ".join(architecture.differences(expected))
        raise CheckpointFormatError(f"{path} is a checkpoint of another architecture ({told})", path=str(path))
    return Checkpoint(step, architecture, tensors, state)
