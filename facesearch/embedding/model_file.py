"""What can be told of a model file by looking at it: its format, its input and its size.

Names decide nothing that content can decide. It runs nothing.
"""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facesearch.core.errors import ModelDescriptionError, ModelFileError, UnsupportedModelError
from facesearch.inference.graph_file import Port, inspect_graph, require_one_output

_BY_SUFFIX = {".onnx": "onnx", ".pb": "tensorflow", ".safetensors": "safetensors", ".dat": "dlib"}
_TEXT = bytes((*range(32, 127), *b"\t\n\r"))
_LARGEST_HEADER = 100_000_000  # bytes of names that safetensors itself allows


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph says of its input.

    Attributes:
        layout: ``"nchw"`` or ``"nhwc"``; None where the shape does not tell.
        input_px: Side of the square; None where any is taken.
    """

    layout: str | None
    input_px: int | None


def format_of(path: Path) -> str:
    """Return a file's format, one of ``card_file.FORMATS``.

    Args:
        path: A file.

    Raises:
        ModelFileError: It cannot be read, is empty, or something else altogether (a web page, a pointer to a file, an archive).
        ModelDescriptionError: It could be anything.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as exc:
        raise ModelFileError(f"{path} cannot be read: {exc.strerror or exc}", path=str(path)) from exc
    if not head:
        raise ModelFileError(f"{path.name} is empty", path=str(path))
    text = head.lstrip()[:200].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelFileError(f"{path.name} is a web page, not a model: a download went wrong", path=str(path))
    if text.startswith(b"version https://git-lfs"):
        raise ModelFileError(f"{path.name} is a Git LFS pointer, not the model itself: fetch it with git lfs pull", path=str(path))
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path)
    if path.suffix.lower() in (".onnx", ".pb") and not head.translate(None, _TEXT):
        raise ModelFileError(f"{path.name} is text, not a model: those of these formats are binary", path=str(path))
    if _is_safetensors(path, head):
        return "safetensors"
    found = _BY_SUFFIX.get(path.suffix.lower())
    if found == "safetensors":
        raise ModelFileError(f"{path.name} does not begin as a safetensors file does", path=str(path))
    if found is None:
        if head.startswith((b"\x80\x02", b"\x80\x04")):
            raise ModelFileError(
                f"{path.name} is a pickle of an old PyTorch: save it anew as safetensors or TorchScript", path=str(path)
            )
        raise ModelDescriptionError(
            f"{path.name} does not show what it is: say --format onnx|tensorflow|torchscript|safetensors", field="format"
        )
    return found


def _zip_format(path: Path) -> str:
    """Return what a ZIP archive is: both of PyTorch's kinds of file are one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as exc:
        raise ModelFileError(f"{path.name} is a damaged archive: {exc}", path=str(path)) from exc
    if any(name.endswith("/constants.pkl") for name in names):
        return "torchscript"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch-state"
    models = [name for name in names if Path(name).suffix in _BY_SUFFIX]
    inside = f"; unpack it and add {' or '.join(models[:3])}" if models else ""
    raise ModelFileError(f"{path.name} is an archive of {len(names)} files, not a model{inside}", path=str(path))


def _is_safetensors(path: Path, head: bytes) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    length = int.from_bytes(head[:8], "little")
    return 2 <= length <= min(_LARGEST_HEADER, path.stat().st_size - 8)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file's tensors by name.

    Raises:
        ModelFileError: Its header cannot be read.
    """
    try:
        return {name: tuple(one["shape"]) for name, one in safetensors_header(path).items() if name != "__metadata__"}
    except (KeyError, TypeError) as exc:
        raise ModelFileError(f"{path.name} is no safetensors file that can be read: {exc}", path=str(path)) from exc


def safetensors_header(path: Path) -> dict[str, Any]:
    """Return a safetensors file's header: its tensors' types, shapes and places, and texts under ``__metadata__``.

    Raises:
        ModelFileError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
            raise TypeError("the header is no table")
    except (OSError, ValueError, struct.error, TypeError) as exc:
        raise ModelFileError(f"{path.name} is no safetensors file that can be read: {exc}", path=str(path)) from exc
    return header


def facts_of_graph(path: Path, output: str | None) -> GraphFacts:
    """Return what an ONNX file or frozen graph says of its input.

    Args:
        path: The file.
        output: The output that is said to be the template; None for the only one.

    Raises:
        ModelFileError: It is no graph, or incomplete.
        UnsupportedModelError: It does not take one picture of three channels.
    """
    ports = inspect_graph(path)
    listed = ", ".join(map(str, ports.inputs))
    if len(ports.inputs) != 1:
        raise UnsupportedModelError(
            f"{path.name} wants {len(ports.inputs)} inputs ({listed}); an embedder takes one picture", path=str(path)
        )
    if output is None:
        require_one_output(path, ports.outputs)
    port = ports.inputs[0]
    if port.shape is None:
        return GraphFacts(None, None)
    if len(port.shape) != 4:
        raise UnsupportedModelError(
            f"{path.name} takes {listed}, not pictures (N, 3, S, S) or (N, S, S, 3): this is no embedder of faces", path=str(path)
        )
    return _facts(path, port, port.shape)


def _facts(path: Path, port: Port, shape: tuple[int | None, ...]) -> GraphFacts:
    layout = "nchw" if shape[1] == 3 else "nhwc" if shape[3] == 3 else None
    if layout is None:
        if None not in (shape[1], shape[3]):
            raise UnsupportedModelError(f"{path.name} takes {port}, of which no axis holds three colours", path=str(path))
        return GraphFacts(None, None)
    height, width = (shape[2], shape[3]) if layout == "nchw" else (shape[1], shape[2])
    if height is not None and width is not None and height != width:
        raise UnsupportedModelError(
            f"{path.name} takes pictures of {width}×{height} pixels; crops of faces are square", path=str(path)
        )
    return GraphFacts(layout, height if height is not None else width)
