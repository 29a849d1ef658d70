from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facesearch.core.errors import EngineError, SettingsError
from facesearch.inference import NetworkSpec, create_engine, engines, has_native_bf16

SAME = 1e-5
"""Two f32 engines differ by the order of their sums only."""


def images(n=2, height=21, width=34, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3, height, width)).astype(np.float32)


@pytest.fixture(params=["openvino", "torch"])
def engine(request):
    return create_engine(request.param, threads=2)


def test_a_network_returns_every_output_with_the_batch_first(engine, toy):
    outputs = engine.load(toy).run(images(3))
    assert [output.shape for output in outputs] == [(3, 4), (3, 6, 10, 16)]
    assert all(output.dtype == np.float32 for output in outputs)
    assert engine.precision == "f32"


def test_outputs_of_an_earlier_run_are_left_alone_by_a_later_one(engine, toy):
    network = engine.load(toy)
    first = network.run(images(seed=1))
    before = [output.copy() for output in first]
    network.run(images(seed=2))
    assert len(first) == 2
    assert all(np.array_equal(kept, output) for kept, output in zip(before, first, strict=True))
    assert all(output.flags.writeable for output in first)


def test_the_same_batch_gives_the_same_bits(engine, toy):
    network = engine.load(toy)
    runs = [network.run(images()) for _ in range(4)]
    assert all(np.array_equal(run[1], runs[0][1]) for run in runs[1:])


def test_a_read_only_batch_is_taken_and_not_changed(engine, toy):
    batch = images()
    batch.setflags(write=False)
    before = batch.copy()
    engine.load(toy).run(batch)
    assert np.array_equal(batch, before)


def test_a_batch_that_is_a_view_gives_what_its_copy_gives(engine, toy):
    network = engine.load(toy)
    view = images(4, 21, 40)[::2, :, :, 3:37]
    assert not view.flags.c_contiguous
    assert np.array_equal(network.run(view)[0], network.run(view.copy())[0])


@pytest.mark.parametrize(
    "batch",
    [np.zeros((1, 4, 20, 20), np.float32), np.zeros((3, 20, 20), np.float32), np.zeros((1, 3, 20, 20)), [[1.0]]],
    ids=["channels", "axes", "float64", "list"],
)
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(engine, toy, batch):
    with pytest.raises(EngineError, match=r"network toy takes"):
        engine.load(toy).run(batch)


def test_what_the_library_refuses_becomes_an_engine_error(engine, toy):
    with pytest.raises(EngineError, match=r"could not run toy on an array of shape \(1, 3, 2, 2\)"):
        engine.load(toy).run(np.zeros((1, 3, 2, 2), np.float32))


def test_a_network_still_runs_after_a_failure(engine, toy):
    network = engine.load(toy)
    with pytest.raises(EngineError):
        network.run(np.zeros((1, 3, 2, 2), np.float32))
    assert len(network.run(images())) == 2


def test_threads_get_their_own_results(engine, toy):
    network = engine.load(toy)
    batches = [images(2, 21 + seed, 34, seed) for seed in range(6)]
    expected = [network.run(batch)[0] for batch in batches]
    wrong: list[int] = []

    def work(place):
        results = [network.run(batches[place])[0] for _ in range(20)]
        wrong.extend(place for result in results if not np.array_equal(result, expected[place]))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_both_engines_agree(toy):
    ours, reference = (create_engine(name).load(toy).run(images(5)) for name in ("openvino", "torch"))
    assert len(ours) == len(reference) == 2
    for output, expected in zip(ours, reference, strict=True):
        assert np.abs(output - expected).max() < SAME


def test_bf16_is_another_arithmetic_and_f32_never_becomes_it(toy):
    if not has_native_bf16():
        pytest.skip("this processor has no bfloat16 instructions")
    exact = create_engine("openvino").load(toy).run(images())[1]
    coarse = create_engine("openvino", precision="bf16").load(toy).run(images())[1]
    assert 1e-4 < np.abs(exact - coarse).max() < 0.1


@pytest.mark.parametrize(
    "values",
    [{"name": "onnx"}, {"precision": "f16"}, {"threads": 0}, {"device": "cuda"}],
    ids=["engine", "precision", "threads", "device"],
)
def test_unknown_values_are_refused(values):
    with pytest.raises(SettingsError):
        create_engine(**values)


def test_a_device_that_is_not_there_is_an_engine_error(toy):
    with pytest.raises(EngineError, match="cuda:97"):
        create_engine("torch", device="cuda:97").load(toy)
    with pytest.raises(EngineError, match="abacus"):
        create_engine("torch", device="abacus").load(toy)


def test_torch_missing_says_what_to_install(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match="pip install torch"):
        create_engine("torch").load(toy)


def test_torch_stands_in_for_openvino_with_one_warning(toy, monkeypatch, caplog):
    expected = create_engine("openvino").load(toy).run(images())[0]
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(engines, "_told", set())
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        found = [create_engine("openvino", precision="auto") for _ in range(3)]
    assert [engine.name for engine in found] == ["torch"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OpenVINO is not installed" in caplog.text
    assert np.abs(found[0].load(toy).run(images())[0] - expected).max() < SAME


def test_neither_library_is_an_engine_error_that_names_both(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match="neither OpenVINO nor torch is installed"):
        create_engine("openvino")


def test_an_openvino_that_does_not_load_says_what_to_do(toy, monkeypatch, tmp_path):
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('libopenvino.so: wrong ELF class')\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match=r"wrong ELF class.*choose engine torch"):
        create_engine("openvino").load(toy)


def test_two_streams_give_the_bits_of_one(toy):
    one, two = (create_engine("openvino", threads=2, streams=streams).load(toy) for streams in (1, 2))
    batches = [images(2, 21 + seed, 34, seed) for seed in range(4)]
    expected = [one.run(batch)[0] for batch in batches]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda batch: two.run(batch)[0], batches * 5))
    assert len(found) == 20
    assert all(np.array_equal(a, expected[place % 4]) for place, a in enumerate(found))


@pytest.mark.parametrize("streams", [0, -1])
def test_streams_below_one_are_refused(streams):
    with pytest.raises(SettingsError, match=f"streams must be at least 1, not {streams}"):
        create_engine("openvino", streams=streams)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "../toy"},
        {"name": ""},
        {"digest": "xyz"},
        {"digest": "ABCDEF" * 10},
        {"dynamic_axes": (4,)},
        {"precisions": frozenset({"f32", "int8"})},
    ],
)
def test_a_spec_that_cannot_name_a_file_or_shape_is_refused(toy, values):
    good = {"name": "toy", "digest": toy.digest, "build": toy.build, "example_shape": (1, 3, 20, 20)}
    assert NetworkSpec(**good).shape == (-1, 3, 20, 20)
    with pytest.raises(EngineError):
        NetworkSpec(**{**good, **values})
