"""Files of other people's networks: what goes before them is NumPy's own, what is wrong with them is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import ModelFileError, UnsupportedModelError
from facesearch.inference import NetworkSpec, create_engine
from facesearch.inference.graph_file import inspect_graph
from facesearch.inference.network import GraphFile
from tests.model_files import expected, save_frozen_graph, save_onnx, save_random_bytes

SIZE = 16
TOLERANCE = 2e-4  # of values around 100, in f32


def run(graph: GraphFile, pictures: np.ndarray, *, is_batched: bool = True) -> np.ndarray:
    spec = NetworkSpec(
        name="small",
        digest="0" * 64,
        build=lambda: pytest.fail("a graph needs no module"),
        example_shape=(2 if is_batched else 1, SIZE, SIZE, 3),
        example_dtype="uint8",
        dynamic_axes=(0,) if is_batched else (),
        graph=graph,
    )
    (vectors,) = create_engine(threads=1).load(spec).run(pictures)
    return vectors


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("is_bgr", [False, True])
@pytest.mark.parametrize(
    ("mean", "scale"), [((0.0,) * 3, (1.0,) * 3), ((127.5,) * 3, (128.0,) * 3), ((122.782, 117.001, 104.298), (60.0, 50.0, 40.0))]
)
def test_pixels_are_prepared_as_numpy_would(tmp_path: Path, pictures: np.ndarray, layout, is_bgr, mean, scale) -> None:
    path = save_onnx(tmp_path / "a.onnx", size=SIZE, layout=layout)
    found = run(GraphFile(path, "onnx", layout, is_bgr=is_bgr, mean=mean, scale=scale), pictures)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected(pictures, mean=mean, scale=scale, is_bgr=is_bgr), rel=1e-4, abs=TOLERANCE)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_each_picture_is_standardised_by_itself(tmp_path: Path, pictures: np.ndarray, layout) -> None:
    pictures = np.concatenate([pictures, np.full((1, SIZE, SIZE, 3), 77, np.uint8)])
    pictures[1] //= 8
    path = save_onnx(tmp_path / "a.onnx", size=SIZE, layout=layout)
    found = run(GraphFile(path, "onnx", layout, is_standardised=True), pictures)
    assert found == pytest.approx(expected(pictures, per_image=True), abs=1e-4)
    assert np.allclose(found[-1], 0, atol=1e-3), "a picture of one colour must not be divided by zero"


def test_a_frozen_graph_runs_with_its_switch_for_training_off(tmp_path: Path, pictures: np.ndarray) -> None:
    path = save_frozen_graph(tmp_path / "a.pb", SIZE)
    assert [port.name.split(":")[0] for port in inspect_graph(path).inputs] == ["input"]
    assert run(GraphFile(path, "tensorflow", "nhwc"), pictures) == pytest.approx(expected(pictures), rel=1e-4, abs=TOLERANCE)


def test_one_of_several_outputs_is_chosen_by_its_name(tmp_path: Path, pictures: np.ndarray) -> None:
    path = save_onnx(tmp_path / "a.onnx", size=SIZE, also=True)
    with pytest.raises(UnsupportedModelError, match=r"2 outputs .*vector \(\?, 4\).*mixed \(\?, 4\).*--output"):
        run(GraphFile(path, "onnx", "nchw"), pictures)
    with pytest.raises(UnsupportedModelError, match=r"no output 'face', only .*vector"):
        run(GraphFile(path, "onnx", "nchw", output="face"), pictures)
    assert run(GraphFile(path, "onnx", "nchw", output="mixed"), pictures) == pytest.approx(
        expected(pictures), rel=1e-4, abs=TOLERANCE
    )


def test_a_file_made_for_one_picture_is_made_to_take_several(tmp_path: Path, pictures: np.ndarray) -> None:
    path = save_onnx(tmp_path / "a.onnx", size=SIZE, batch=1)
    assert run(GraphFile(path, "onnx", "nchw"), pictures) == pytest.approx(expected(pictures), rel=1e-4, abs=TOLERANCE)


def test_a_file_with_the_number_of_pictures_inside_is_not_run_on_several(tmp_path: Path, pictures: np.ndarray) -> None:
    path = save_onnx(tmp_path / "a.onnx", size=SIZE, batch=1, kind="fixed-reshape")
    with pytest.raises(UnsupportedModelError, match=r"a\.onnx takes one picture at a time"):
        run(GraphFile(path, "onnx", "nchw"), pictures)
    single = run(GraphFile(path, "onnx", "nchw"), pictures[:1], is_batched=False)
    assert single == pytest.approx(expected(pictures[:1]), rel=1e-4, abs=TOLERANCE)


def test_what_is_no_graph_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"junk\.onnx is no model that OpenVINO can read"):
        inspect_graph(save_random_bytes(tmp_path / "junk.onnx"))


def test_missing_external_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"external\.onnx keeps its weights in another file"):
        inspect_graph(save_onnx(tmp_path / "external.onnx", size=SIZE, kind="external"))


def test_an_unknown_operator_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"(?i)unknown.onnx uses operators that OpenVINO does not know: .*teleport"):
        inspect_graph(save_onnx(tmp_path / "unknown.onnx", size=SIZE, kind="unknown-operator"))
