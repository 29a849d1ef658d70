"""An embedder as an ONNX file that takes crops as they are, tried out against the network it was made of.

Only networks of torch can be exported: of an ONNX file there is one already. Nothing is trained.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facesearch.core.errors import FileWriteError, InputError, ModelFileError, UnsupportedModelError
from facesearch.embedding.card import EmbedderCard
from facesearch.embedding.networks import GRAPH_FORMATS, build_network
from facesearch.embedding.probe import probe_pictures
from facesearch.inference import Engine
from facesearch.inference.network import GraphFile, NetworkSpec

if TYPE_CHECKING:
    import torch

AGREEMENT = 1e-3
"""Largest difference of two unit vectors' numbers that the file may have from the network."""

OPSET = 17
"""Version of ONNX's operators: every one used here is older, and readers of 2022 and later know it."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What was written.

    Attributes:
        path: The ONNX file.
        description_path: The TOML file beside it, which ``models add`` reads.
        n_bytes: Of the ONNX file.
        difference: Largest difference of a number from the network's, over ``n_pictures`` unit vectors.
        n_pictures: Pictures compared.
    """

    path: Path
    description_path: Path
    n_bytes: int
    difference: float
    n_pictures: int

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "path": str(self.path),
            "description": str(self.description_path),
            "n_bytes": self.n_bytes,
            "difference": self.difference,
            "n_pictures": self.n_pictures,
        }


def export_onnx(card: EmbedderCard, path: Path, engine: Engine) -> OnnxFile:
    """Write an embedder as ONNX, with a description beside it so that ``models add`` takes it with nothing said but a name.

    The file's input ``pixels`` is float32 ``(N, 3, S, S)``, RGB 0–255, aligned as the card says: mean and scale are inside. Its
    output ``template`` is float32 ``(N, dim)`` of unit norm.

    Args:
        card: The embedder.
        path: Where to, ``….onnx``; replaced where it exists.
        engine: What the file is tried out by; one that reads ONNX.

    Raises:
        InputError: The file has another suffix.
        UnsupportedModelError: The embedder is a graph already.
        ModelFileError: The file does not compute what the network does; nothing was written.
        FileWriteError: The folder cannot be written.
    """
    require_onnx(path)
    if card.format in GRAPH_FORMATS:
        raise UnsupportedModelError(f"{card.name} is {card.format} already: copy {card.weights_path}", name=card.name)
    network = build_network(card)
    pictures = probe_pictures(card.alignment.crop_px)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.onnx")
    description = path.with_name(f"{path.name}.toml")
    try:
        temporary.touch()  # what cannot be written is known before minutes of work, and in words
        _convert(network, pictures.shape[1], temporary)
        n_bytes = temporary.stat().st_size
        difference = _difference(network, temporary, card, engine)
        if not difference <= AGREEMENT:
            raise ModelFileError(
                f"the ONNX file of {card.name} differs from the network by {difference:.2g}, at most {AGREEMENT:g} is "
                "taken for the same: nothing was written",
                name=card.name,
            )
        description.write_text(_described(card), encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        raise FileWriteError(f"the ONNX file could not be written to {path}: {exc.strerror or exc}", path=str(path)) from exc
    finally:
        temporary.unlink(missing_ok=True)
    return OnnxFile(path, description, n_bytes, difference, len(pictures))


def require_onnx(path: Path) -> None:
    """Raise unless a file is called as ONNX files are.

    Raises:
        InputError: It has another suffix.
    """
    if path.suffix.lower() != ".onnx":
        raise InputError(f"an ONNX file is written as .onnx, not {path.name!r}", path=str(path))


def _convert(network: torch.nn.Module, side: int, file: Path) -> None:
    """Write the ONNX file of a network that takes crops ``(N, S, S, 3)``."""
    import torch

    class OfPlanes(torch.nn.Module):
        """The same, taking planes and returning unit vectors."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(self.network(pixels.permute(0, 2, 3, 1)), dim=1)

    with warnings.catch_warnings():
        # The exporter that needs no further package is called old, and sizes read while tracing are warned of: they are fixed here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            OfPlanes().eval(),
            (torch.zeros(2, 3, side, side),),
            file,
            input_names=["pixels"],
            output_names=["template"],
            dynamic_axes={"pixels": {0: "n"}, "template": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _difference(network: torch.nn.Module, file: Path, card: EmbedderCard, engine: Engine) -> float:
    """Return the largest difference of the file's unit vectors from the network's."""
    import hashlib

    import torch

    def no_module() -> torch.nn.Module:
        raise UnsupportedModelError("an ONNX file is tried out by an engine that reads ONNX: choose engine openvino")

    pictures = probe_pictures(card.alignment.crop_px)
    spec = NetworkSpec(
        name=f"{card.name}-onnx",
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        build=no_module,
        example_shape=(2, *pictures.shape[1:]),
        example_dtype="uint8",
        graph=GraphFile(file, "onnx", "nchw"),
    )
    (found,) = engine.load(spec).run(pictures)
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(network(torch.from_numpy(np.array(pictures))), dim=1).numpy()
    return float(np.abs(found / np.linalg.norm(found, axis=1, keepdims=True) - wanted).max())


def _described(card: EmbedderCard) -> str:
    """Return the TOML file that says what the ONNX file does not."""
    alignment = card.alignment
    lines = [f"alignment = {_quoted(alignment.name)}", f"input_px = {alignment.crop_px}"]
    if alignment.points is None:
        lines.append(f"margin_px = {alignment.margin_px}")
    else:
        lines.append(f"points = [{', '.join(f'[{float(x)!r}, {float(y)!r}]' for x, y in alignment.points)}]")
    lines += ['channels = "rgb"', 'normalisation = "none"', f"dim = {card.dim}"]
    lines += [f"licence = {_quoted(card.licence)}", f"source = {_quoted(f'{card.embedder_id()}, as ONNX; {card.origin.source}')}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text as TOML's basic string; control characters and what TOML escapes are left out."""
    plain = "".join(letter for letter in text if letter.isprintable() and letter not in '"\\')
    return f'"{plain}"'
