"""The precisions an embedder was measured in, and its scales for computing in bytes: a small safetensors file beside the weights.

It reads and writes them; how the scales are found is in ``benchmarks/quantise.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from facesearch.core.errors import CheckpointFormatError, EngineError
from facesearch.embedding.checkpoint import read_checked
from facesearch.inference import Precision
from facesearch.inference.quantisation import Int8Scales, Quantisation, QuantisedLayer

_TENSOR = re.compile(r"(\d{3})\.([\w.]+)\.(low|high|balance|shift)")

F32: frozenset[Precision] = frozenset({"f32"})


@dataclass(frozen=True, slots=True)
class CardPrecisions:
    """What a card says of precisions.

    Attributes:
        measured: Those whose figures hold; f32 always, and all there is for embedders that nobody measured in others.
        scales: The file for int8; None without it.
        scales_sha256: Of that file, lower-case hex; empty without it.
    """

    measured: frozenset[Precision] = F32
    scales: Path | None = None
    scales_sha256: str = ""

    @property
    def int8(self) -> Int8Scales | None:
        """What an engine needs to compute in bytes; the file is read, and its digest checked, when a network is compiled."""
        if self.scales is None:
            return None
        return Int8Scales(self.scales_sha256, partial(read_scales, self.scales, sha256=self.scales_sha256))


F32_ALONE = CardPrecisions()
"""Of an embedder that nobody measured in anything else."""


def parse_precisions(fields: Mapping[str, Any], folder: Path) -> CardPrecisions:
    """Return a card's precisions.

    Args:
        fields: ``{"bf16": {…}, "int8": {"file": …, "sha256": …, …}}``, a key for each that was measured and holds.
        folder: Where the card lies.

    Raises:
        ValueError: One is unknown, or int8 comes without a file beside the card and its digest.
        KeyError: A field of int8 is missing.
    """
    measured: set[Precision] = {known for known in get_args(Precision) if known in fields} | F32
    if not fields.keys() <= measured:
        raise ValueError(f"precisions are {', '.join(get_args(Precision))}, not {', '.join(fields.keys() - measured)}")
    if "int8" not in fields:
        return CardPrecisions(frozenset(measured))
    file, digest = str(fields["int8"]["file"]), str(fields["int8"]["sha256"])
    if Path(file).name != file or re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise ValueError(f"int8 names the file {file!r} of digest {digest!r}: a file beside the card and a SHA-256 are wanted")
    return CardPrecisions(frozenset(measured), folder / file, digest)


def read_scales(path: Path, *, sha256: str) -> Quantisation:
    """Return the scales of a file, the digest checked before anything of it is parsed.

    Args:
        path: Tensors ``<number of the layer, three digits>.<its name>.{low,high[,balance][,shift]}``, all float32.
        sha256: Expected SHA-256 in lower-case hex.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file; names both digests.
        CheckpointFormatError: It holds no scales.
    """
    import safetensors.numpy
    from safetensors import SafetensorError

    content = read_checked(path, sha256=sha256)
    layers: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    try:
        for name, values in safetensors.numpy.load(content).items():
            parts = _TENSOR.fullmatch(name)
            if parts is None:
                raise CheckpointFormatError(f"{path} holds a tensor {name!r}, which is no scale", path=str(path))
            layers.setdefault((parts[1], parts[2]), {})[parts[3]] = values
        return Quantisation(tuple(QuantisedLayer(name, **layers[number, name]) for number, name in sorted(layers)))
    except (SafetensorError, KeyError, ValueError, TypeError, EngineError) as exc:
        raise CheckpointFormatError(f"{path} holds no scales that can be used: {exc}", path=str(path)) from exc


def scales_content(quantisation: Quantisation) -> bytes:
    """Return the content of a file of scales; ``read_scales`` reads it back."""
    import safetensors.numpy

    tensors = {
        f"{place:03d}.{layer.name}.{part}": np.ascontiguousarray(values)
        for place, layer in enumerate(quantisation.layers)
        for part, values in (("low", layer.low), ("high", layer.high), ("balance", layer.balance), ("shift", layer.shift))
        if values.size
    }
    return safetensors.numpy.save(tensors)
