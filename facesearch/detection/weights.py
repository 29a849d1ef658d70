"""The published weights of the three networks, read as NumPy arrays without torch.

Torch takes a second to import, which a process that runs the compiled cascade need not spend. Only the files that the wheel of
facenet-pytorch 2.5.3 carries are read: another file is refused by its digest before a byte of it is interpreted. That package is
never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import CheckpointDigestError, CheckpointNotFoundError

WHEEL = "facenet-pytorch==2.5.3"
"""What carries the weights: MIT licence, converted by its author from the models of Zhang et al."""

PNET_DIGEST = "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"
RNET_DIGEST = "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"
ONET_DIGEST = "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"

Tensors = dict[str, NDArray[np.float32]]


def weights_folder() -> Path:
    """Return the folder with the published weights, found without importing the package that holds it.

    Raises:
        CheckpointNotFoundError: facenet-pytorch is not installed.
    """
    found = importlib.util.find_spec("facenet_pytorch")
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise CheckpointNotFoundError(
            f"the detector's weights come with facenet-pytorch, which is not installed: pip install {WHEEL}"
        )
    return Path(places[0], "data")


def read_weights(folder: Path | None, name: str, digest: str) -> Tensors:
    """Return the tensors of a weight file after checking that it is the published one.

    Args:
        folder: Where the file is; None is the installed facenet-pytorch.
        name: File name, for example ``pnet.pt``.
        digest: SHA-256 (hex) of the published file.

    Returns:
        Float32 arrays by the names of the layers, ``conv1.weight`` ``(out, in, row, column)``, ``dense4.weight`` ``(out, in)``, …

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointDigestError: It is another file.
    """
    path = (folder if folder is not None else weights_folder()) / name
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise CheckpointNotFoundError(
            f"the detector's weights {path} cannot be read ({exc.strerror}): pip install --force-reinstall {WHEEL}", path=str(path)
        ) from exc
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise CheckpointDigestError(
            f"{path} has SHA-256 {found[:12]}…, the published weights have {digest[:12]}…: pip install --force-reinstall {WHEEL}",
            path=str(path),
            found=found,
            expected=digest,
        )
    return _tensors(content)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A tensor whose numbers come later in the file."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def rebuilt(cls, storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_ignored: object) -> _Placed:
        return cls(storage, offset, shape, strides)


_KNOWN_NAMES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Placed.rebuilt,
    ("torch", "FloatStorage"): "float32",
}


class _Reader(pickle.Unpickler):
    """Reads the parts of a file in torch's format of before version 1.6; only the three names that occur there are known."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN_NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"unexpected name {module}.{name}") from None

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])


def _tensors(content: bytes) -> Tensors:
    # Magic number, protocol, description of the machine, tensors without their numbers, names of the storages; then for each
    # storage the count of its numbers and the numbers. The bytes have the digest above, so what they pickle is known.
    stream = io.BytesIO(content)
    _magic, _protocol, _machine, placed, names = (_Reader(stream).load() for _ in range(5))
    storages = {}
    for name in names:
        count = int.from_bytes(stream.read(8), "little")
        storages[name] = np.frombuffer(stream.read(4 * count), dtype="<f4")
    return {name: _array(storages[tensor.storage], tensor) for name, tensor in placed.items()}


def _array(storage: NDArray[np.float32], tensor: _Placed) -> NDArray[np.float32]:
    strides = tuple(4 * stride for stride in tensor.strides)
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.array(view, dtype=np.float32, order="C")
