from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from facesearch.core.errors import EngineError, SettingsError
from facesearch.inference import create_engine, has_native_bf16, native_precisions
from facesearch.inference.openvino_engine import OpenVinoEngine
from facesearch.inference.precision import check_precision, choose_precision
from facesearch.inference.quantisation import Int8Scales, Quantisation, layer_from_range
from facesearch.inference.torch_engine import TorchEngine

ALL = frozenset({"f32", "bf16", "int8"})


def no_scales():
    raise AssertionError("scales are read when a network is compiled, not before")


@pytest.fixture
def toys(toy):
    """Networks by what they bear."""
    scales = Int8Scales("ab" * 32, no_scales)
    return {
        "f32": toy,
        "bf16": replace(toy, precisions=frozenset({"f32", "bf16"})),
        "int8": replace(toy, precisions=frozenset({"f32", "int8"}), int8=scales),
        "all": replace(toy, precisions=ALL, int8=scales),
    }


@pytest.mark.parametrize(
    ("bears", "native", "taken"),
    [
        ("f32", ALL, "f32"),
        ("bf16", ALL, "bf16"),
        ("all", ALL, "int8"),
        ("all", {"f32", "bf16"}, "bf16"),
        ("all", {"f32", "int8"}, "int8"),
        ("int8", {"f32", "bf16"}, "f32"),
        ("all", {"f32"}, "f32"),
    ],
)
def test_auto_takes_the_fastest_that_both_bear(toys, bears, native, taken):
    assert choose_precision("auto", toys[bears], frozenset(native)) == taken
    assert OpenVinoEngine(precision="auto", native=frozenset(native)).precision_of(toys[bears]) == taken


@pytest.mark.parametrize(("wanted", "taken"), [("f32", "f32"), ("bf16", "bf16"), ("int8", "f32")])
def test_a_precision_by_name_is_for_every_network_that_can(toys, wanted, taken):
    assert choose_precision(wanted, toys["f32"], ALL) == taken
    assert choose_precision(wanted, toys["all"], ALL) == wanted


@pytest.mark.parametrize("wanted", ["bf16", "int8"])
def test_what_the_processor_lacks_is_refused_and_never_emulated(wanted):
    with pytest.raises(EngineError, match=r"this processor has none of .*avx512"):
        check_precision(wanted, frozenset({"f32"}), engine="openvino", on_cpu=True)
    assert check_precision("auto", frozenset({"f32"}), engine="openvino", on_cpu=True) == "auto"


def test_a_graphics_cards_bf16_is_not_the_processors_matter():
    assert check_precision("bf16", frozenset({"f32"}), engine="torch", on_cpu=False) == "bf16"


def test_torch_knows_no_int8_and_auto_goes_round_it(toys):
    with pytest.raises(EngineError, match="engine torch does not compute in int8"):
        create_engine("torch", precision="int8")
    assert create_engine("torch", precision="auto").precision_of(toys["int8"]) == "f32"
    assert TorchEngine(precision="auto").precision_of(toys["all"]) in {"bf16", "f32"}


def test_an_unknown_precision_lists_the_known():
    with pytest.raises(SettingsError, match="auto, f32, bf16, int8, not 'f16'"):
        create_engine(precision="f16")


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu sse2 avx2", {"f32"}),
        ("fpu avx2 avx_vnni", {"f32", "int8"}),
        ("fpu avx512f avx512_vnni", {"f32", "int8"}),
        ("fpu avx512f avx512_bf16 avx512_vnni", ALL),
        ("fpu amx_bf16", {"f32", "bf16"}),
        ("fpu amx_int8", {"f32", "int8"}),
    ],
)
def test_native_precisions_are_read_from_the_processors_flags(tmp_path, monkeypatch, flags, found):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags\t\t: {flags}\nbugs : avx512_bf16 avx512_vnni\n")
    assert native_precisions(file) == found
    assert has_native_bf16(file) == ("bf16" in found)
    assert native_precisions(tmp_path / "absent") == {"f32"}


def test_the_engine_says_what_it_took(toys, caplog):
    engine = create_engine("openvino", precision="auto")
    with caplog.at_level(logging.INFO, logger="facesearch"):
        engine.load(toys["bf16"])
    taken = engine.precision_of(toys["bf16"])
    assert f"network toy computes in {taken}" in caplog.text


def toy_scales(low=(-4.0,), high=(4.0,)):
    """Scales for the toy's two convolutions."""
    return Quantisation((layer_from_range("conv", low, high), layer_from_range("head", -6.0, 6.0)))


def in_bytes(toy, scales, digest="cd" * 32):
    return replace(toy, precisions=ALL, int8=Int8Scales(digest, lambda: scales))


needs_vnni = pytest.mark.skipif("int8" not in native_precisions(), reason="this processor has no instructions for int8 products")


@needs_vnni
def test_int8_is_near_f32_but_another_arithmetic(toy):
    images = np.random.default_rng(4).standard_normal((5, 3, 21, 34)).astype(np.float32)
    exact = create_engine("openvino").load(toy).run(images)
    coarse = create_engine("openvino", precision="int8").load(in_bytes(toy, toy_scales())).run(images)
    assert len(exact) == len(coarse) == 2
    difference = np.abs(exact[0] - coarse[0]).max()
    assert 1e-5 < difference < 0.05
    saturated = create_engine("openvino", precision="int8").load(in_bytes(toy, toy_scales((-0.1,), (0.1,)))).run(images)
    assert np.abs(exact[0] - saturated[0]).max() > 10 * difference


@needs_vnni
def test_ranges_by_channel_are_taken(toy):
    images = np.random.default_rng(4).standard_normal((2, 3, 20, 20)).astype(np.float32)
    one = create_engine("openvino", precision="int8").load(in_bytes(toy, toy_scales())).run(images)
    same = create_engine("openvino", precision="int8").load(in_bytes(toy, toy_scales((-4.0,) * 3, (4.0,) * 3))).run(images)
    assert np.abs(one[0] - same[0]).max() < 0.01


@needs_vnni
def test_a_compiled_int8_copy_is_read_without_its_scales_and_has_its_digest_in_the_name(toy, tmp_path):
    images = np.random.default_rng(4).standard_normal((2, 3, 20, 20)).astype(np.float32)
    spec = in_bytes(toy, toy_scales())
    first = create_engine("openvino", precision="int8", cache_dir=tmp_path).load(spec).run(images)
    unread = replace(spec, int8=Int8Scales(spec.int8.digest, no_scales))
    second = create_engine("openvino", precision="int8", cache_dir=tmp_path).load(unread).run(images)
    assert np.array_equal(first[0], second[0])
    assert len(list(tmp_path.glob("*-int8-cdcdcdcdcdcd-*.compiled"))) == 1
    with pytest.raises(AssertionError, match="scales are read"):
        create_engine("openvino", precision="int8", cache_dir=tmp_path).load(replace(unread, int8=Int8Scales("ef" * 32, no_scales)))


@needs_vnni
@pytest.mark.parametrize(
    ("scales", "told"),
    [
        (Quantisation((layer_from_range("conv", -1.0, 1.0),)), "are of 1 layers, the network has 2"),
        (toy_scales((-1.0,) * 4, (1.0,) * 4), "do not fit layer conv: 4 input ranges, 3 channels"),
    ],
)
def test_scales_of_another_network_are_refused(toy, scales, told):
    with pytest.raises(EngineError, match=told):
        create_engine("openvino", precision="int8").load(in_bytes(toy, scales))
