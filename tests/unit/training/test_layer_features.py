"""Figures by layer and pooling: whose pooled vectors they are of, and who may be in which list."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from facesearch.cli.main import execute
from facesearch.core.errors import CropStoreError, InputError, ModelDescriptionError
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import EmbeddingNetwork, build_network
from facesearch.embedding.heads import build_pooling
from facesearch.embedding.prepared import prepared_planes
from facesearch.embedding.weights import save_network
from facesearch.training import layer_features
from facesearch.training.crop_store import CropStore
from facesearch.training.layer_features import TEMPLATE, measure_layers, pooled_features, sketched, some_people
from tests.crop_files import store_of_vectors

PEOPLE = [("Ada", 1), ("Ada", 1), ("Ada", 2), ("Ben", 3), ("Ben", 3), ("Cy", 4), ("Dot", 5), ("Dot", 6), ("Eve", 7), ("Fay", 8)]


@pytest.fixture
def store(tmp_path: Path) -> CropStore:
    return CropStore.open(store_of_vectors(tmp_path / "store", PEOPLE))


@pytest.fixture
def network(store: CropStore) -> EmbeddingNetwork:
    torch.manual_seed(0)
    made = default_architecture("mobilenet", width=0.125, dim=8, has_norms=True, alignment=store.alignment)
    return build_network(made).eval()


def test_pooled_vectors_are_the_heads_of_the_layers(network: EmbeddingNetwork, store: CropStore) -> None:
    found = pooled_features(network, store, ["block2", "block13"], ["sum", "flatten"], with_template=True)
    assert next(iter(found)) == ("block13", TEMPLATE)
    assert len(found) == 5
    planes = prepared_planes(torch.from_numpy(store.crops(np.arange(len(store)))), network.architecture.preparation)
    with torch.no_grad():
        np.testing.assert_allclose(found["block13", TEMPLATE], network(planes), atol=1e-5)
        wanted = build_pooling("sum")(network.features(planes, "block2"))
        np.testing.assert_allclose(found["block2", "sum"], wanted, rtol=1e-4, atol=1e-4)
    assert network.training is False


def test_figures_come_for_each_layer_and_way(network: EmbeddingNetwork, store: CropStore) -> None:
    tested, learnt = store.of_people(["Ada", "Ben", "Cy"]), store.of_people(["Dot", "Eve", "Fay"])
    found = list(measure_layers(network, tested, learnt, layers=["block1", "block5"], poolings=("sum", "rmac"), dim=3))
    assert [(one.layer, one.pooling) for one in found[1:]] == [
        (layer, pooling) for layer in ("block1", "block5") for pooling in ("sum", "rmac")
    ]
    assert found[0].pooling == TEMPLATE
    assert found[0].n_values == 8
    for one in found:
        assert all(0.0 <= rate.value <= 1.0 and rate.total == 4 for rate in one.tar)
        assert one.as_dict()["layer"] == one.layer


def test_layers_asked_for_in_another_order_are_measured_alike(network: EmbeddingNetwork, store: CropStore) -> None:
    tested, learnt = store.of_people(["Ada", "Ben", "Cy"]), store.of_people(["Dot", "Eve", "Fay"])
    one, other = (
        [figures.as_dict() for figures in measure_layers(network, tested, learnt, layers=layers, poolings=("sum",), dim=2)]
        for layers in (("block1", "block5"), ("block5", "block5", "block1"))
    )
    assert [found["n_components"] for found in one] == [None, 2, 2]
    assert other == one


def test_weights_that_say_another_backbone_than_asked_for_are_refused(
    network: EmbeddingNetwork, store: CropStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_network(network, tmp_path / "net.safetensors")
    (tmp_path / "list.txt").write_text("1\nAda\t3\n", encoding="utf-8")
    options = ["--people", str(tmp_path / "list.txt"), "--learn", str(tmp_path / "list.txt"), "--weights"]
    given = ["train", "features", str(store.folder), *options, str(tmp_path / "net.safetensors"), "--backbone", "resnet-18"]
    assert execute(given) == 2
    assert "holds weights of mobilenet, not of resnet-18" in capsys.readouterr().err


def test_progress_is_that_of_all_passes(network: EmbeddingNetwork, store: CropStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_features, "_LAYERS_AT_ONCE", 1)
    tested, learnt = store.of_people(["Ada", "Ben", "Cy"]), store.of_people(["Dot", "Eve", "Fay"])
    told: list[tuple[int, int]] = []

    def tell(n_done: int, n_all: int) -> None:
        told.append((n_done, n_all))

    list(measure_layers(network, tested, learnt, layers=["block1", "block5"], poolings=("sum",), dim=3, on_progress=tell))
    total = 2 * (len(tested) + len(learnt))
    assert {n_all for _, n_all in told} == {total}
    done = [n_done for n_done, _ in told]
    assert done == sorted(set(done))
    assert done[-1] == total


def test_who_is_in_both_lists_or_of_another_crop_is_refused(network: EmbeddingNetwork, store: CropStore) -> None:
    both = store.of_people(["Ada", "Ben"])
    with pytest.raises(InputError, match="1 people are measured and learnt of at once, 'Ben'"):
        list(measure_layers(network, both, store.of_people(["Ben", "Cy"])))
    with pytest.raises(InputError, match="not 'netvlad'"):
        list(measure_layers(network, both, both, poolings=("netvlad",)))
    with pytest.raises(ModelDescriptionError, match="no layer 'block77'"):
        list(measure_layers(network, both, store.of_people(["Cy"]), layers=["block77"]))
    other = default_architecture("dlib-resnet-29").alignment
    wrong = build_network(dataclasses.replace(network.architecture, alignment=other))
    with pytest.raises(CropStoreError, match="wants dlib-150"):
        list(measure_layers(wrong, both, store.of_people(["Cy"])))


def test_a_sketch_keeps_scalar_products_nearly() -> None:
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 9000)).astype(np.float32))
    vectors[4:] += vectors[:4]
    found = sketched(vectors, 1024)
    assert found.shape == (8, 1024)
    assert torch.equal(found, sketched(vectors, 1024))
    unit, wanted = (torch.nn.functional.normalize(one, dim=1) for one in (found, vectors))
    assert float((unit @ unit.T - wanted @ wanted.T).abs().max()) < 4 / 1024**0.5
    assert sketched(vectors, 9000) is vectors


def test_some_people_are_whole_people_and_the_same_each_time(store: CropStore) -> None:
    some = some_people(store, 5)
    assert 3 <= len(some) <= 5
    assert some.people == some_people(store, 5).people
    for person in some.people:
        assert int(some.counts[some.people.index(person)]) == sum(name == person for name, _ in PEOPLE)
    assert some_people(store, None) is store
