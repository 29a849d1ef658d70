from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from facesearch.core.errors import EngineError, SettingsError
from facesearch.inference import NetworkSpec, create_engine, has_native_bf16, native_precisions
from facesearch.inference.openvino_engine import OpenVinoEngine
from facesearch.inference.precision import check_precision, choose_precision
from facesearch.inference.quantisation import Int8Scales, Quantisation, QuantisedLayer, with_zero
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


NONE = np.zeros(0, np.float32)


def toy_scales(low=(-4.0,), high=(4.0,), balance=NONE, shift=NONE):
    """Scales for the toy's two convolutions."""
    return Quantisation(
        (QuantisedLayer("conv", *with_zero(low, high), shift=shift), QuantisedLayer("head", *with_zero(-6.0, 6.0), balance=balance))
    )


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
        (Quantisation((QuantisedLayer("conv", *with_zero(-1.0, 1.0)),)), "are of 1 layers, the network has 2"),
        (toy_scales((-1.0,) * 4, (1.0,) * 4), "do not fit layer conv: 4 input ranges, 3 channels"),
    ],
)
def test_scales_of_another_network_are_refused(toy, scales, told):
    with pytest.raises(EngineError, match=told):
        create_engine("openvino", precision="int8").load(in_bytes(toy, scales))


def build_chain():
    """Return a seeded module of three layers whose channels differ in size, as int8 finds hard: convolution, depthwise one, 1×1."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.PReLU(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.PReLU(8),
        nn.Conv2d(8, 6, 1),
        nn.Flatten(),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        module[2].weight *= torch.logspace(-2, 1, 8).reshape(8, 1, 1, 1)
    return module.eval()


def chain_scales(pixels, balance=NONE, shift=NONE):
    """Return scales with the ranges that the chain's layers really see, and the outputs in f32."""
    import torch

    module, x, ranges = build_chain(), torch.from_numpy(pixels), []
    with torch.inference_mode():
        for place, layer in enumerate(module):
            if place in (0, 2, 4):
                seen = x / torch.from_numpy(balance).reshape(1, -1, 1, 1) if place == 4 and balance.size else x
                axes = (0, 2, 3) if place == 2 else (0, 1, 2, 3)
                ranges.append(with_zero(seen.amin(axes).numpy(), seen.amax(axes).numpy()))
            x = layer(x)
    names = ("first", "depthwise", "pointwise")
    layers = [QuantisedLayer(name, *ends) for name, ends in zip(names, ranges, strict=True)]
    layers[2] = replace(layers[2], balance=balance, shift=shift)
    return Quantisation(tuple(layers)), x.numpy()


CHAIN = NetworkSpec("chain", "12" * 32, build_chain, (1, 3, 12, 12))


def error_of(scales, pixels, exact):
    found = create_engine("openvino", precision="int8").load(in_bytes(CHAIN, scales)).run(pixels)[0]
    return found - exact


@needs_vnni
def test_a_balance_helps_channels_of_small_values_and_changes_nothing_else():
    pixels = np.random.default_rng(1).standard_normal((4, 3, 12, 12)).astype(np.float32)
    plain, exact = chain_scales(pixels)
    balance = np.logspace(-1.5, 0.5, 8).astype(np.float32)
    balanced, _ = chain_scales(pixels, balance)
    errors = [float(np.sqrt(np.mean(error_of(scales, pixels, exact) ** 2))) for scales in (plain, balanced)]
    assert exact.std() > 1
    assert errors[1] < errors[0] < 0.05 * exact.std()


@needs_vnni
def test_a_shift_is_added_to_the_bias():
    pixels = np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32)
    shift = np.array([5, -4, 3, -2, 1, 0], np.float32)
    plain, exact = chain_scales(pixels)
    shifted, _ = chain_scales(pixels, shift=shift)
    moved = (error_of(shifted, pixels, exact) - error_of(plain, pixels, exact)).reshape(6, -1)
    assert np.abs(moved - shift[:, None]).max() < 1e-4


@needs_vnni
@pytest.mark.parametrize(
    ("scales", "told"),
    [
        (toy_scales(balance=np.ones(6, np.float32)), "do not fit layer head: a balance of 6 channels"),
        (toy_scales(shift=np.ones(5, np.float32)), "do not fit layer conv: a shift of 5 channels"),
    ],
    ids=["somebody else sees the channels", "another number of channels"],
)
def test_what_cannot_be_folded_into_the_layers_is_refused(toy, scales, told):
    with pytest.raises(EngineError, match=told):
        create_engine("openvino", precision="int8").load(in_bytes(toy, scales))
