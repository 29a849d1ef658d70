"""dlib's serialised network: files made here in its form, whose layers are computed one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from facesearch.core.errors import CheckpointFormatError
from facesearch.embedding.dlib_file import N_CONVOLUTIONS, read_dlib

TOLERANCE = 1e-4
CHANNELS = (3, 5, 4)
"""Of the picture, and by turns of what the convolutions return: no two neighbours alike, so that axes cannot be mixed up."""

Layer = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def integer(value: int) -> bytes:
    n_bytes = (abs(value).bit_length() + 7) // 8
    return bytes([n_bytes | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(n_bytes, "little")


def tensor(values: np.ndarray, *sizes: int) -> bytes:
    assert len(sizes) == 4
    return b"".join(map(integer, (2, *sizes))) + values.astype("<f4").tobytes()


def layers() -> list[Layer]:
    """Return each convolution's weights and bias, and the gain and shift of the affine layer behind it."""
    rng = np.random.default_rng(7)
    widths = [CHANNELS[0], *itertools.islice(itertools.cycle(CHANNELS[1:]), N_CONVOLUTIONS)]
    found = []
    for number, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        side = 7 if number == 0 else 3
        found.append((rng.normal(size=(n_out, n_in, side, side)), *rng.normal(size=(3, n_out))))
    return found


def dlib_file(convolutions: Sequence[Layer], connected: np.ndarray) -> bytes:
    """Return a file as dlib writes it, with what stands between the layers there made up."""
    content = b"\x01\x00loss_metric"
    for weights, bias, gain, shift in convolutions:
        values = np.concatenate([weights.ravel(), bias])
        content += b"\x05con_4" + tensor(values, len(values), 1, 1, 1) + b"\x01\x02"
        content += b"\x07affine_" + tensor(np.concatenate([gain, shift]), 2 * len(gain), 1, 1, 1) + b"\x01\x00"
    inputs, outputs = connected.shape
    return content + b"\x04fc_2" + integer(outputs) + integer(inputs) + tensor(connected, inputs, outputs, 1, 1)


def test_an_affine_layer_folded_into_its_convolution_changes_nothing() -> None:
    given = layers()
    found = read_dlib(dlib_file(given, np.zeros((4, 6))), source="a test")
    names = ["stem", *(f"blocks.{block}.conv{half}" for block in range(14) for half in (1, 2))]
    assert sorted(found) == sorted(["fc.weight", *(f"{name}.{part}" for name in names for part in ("weight", "bias"))])
    rng = np.random.default_rng(8)
    for name, (weights, bias, gain, shift) in zip(names, given, strict=True):
        patch = rng.normal(size=weights.shape[1:])
        convolved = np.array([(one * patch).sum() for one in weights]) + bias
        folded = np.array([(one * patch).sum() for one in found[f"{name}.weight"]]) + found[f"{name}.bias"]
        np.testing.assert_allclose(folded, gain * convolved + shift, atol=TOLERANCE)


def test_the_connected_layer_is_turned_as_torch_has_it() -> None:
    connected = np.random.default_rng(9).normal(size=(4, 6))
    found = read_dlib(dlib_file(layers(), connected), source="a test")["fc.weight"]
    np.testing.assert_allclose(found, connected.T, atol=TOLERANCE)


@pytest.mark.parametrize("n_layers", [0, N_CONVOLUTIONS - 1, N_CONVOLUTIONS + 1])
def test_another_number_of_layers_is_another_network(n_layers: int) -> None:
    given = (layers() * 2)[:n_layers]
    with pytest.raises(
        CheckpointFormatError, match=rf"a\.dat is not dlib's face network: {n_layers} convolutions, {n_layers} affine"
    ):
        read_dlib(dlib_file(given, np.zeros((4, 6))), source="a.dat")


def test_a_file_cut_short_is_named() -> None:
    content = dlib_file(layers(), np.zeros((4, 6)))
    for end in (len(content) - 1, content.index(b"con_4") + 7):
        with pytest.raises(CheckpointFormatError, match=r"a\.dat is not dlib's face network"):
            read_dlib(content[:end], source="a.dat")
