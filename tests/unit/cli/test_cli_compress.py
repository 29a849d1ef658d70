"""``models compress``, ``models export`` and ``train features``: what is refused before anything is done."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import build_network
from facesearch.embedding.library import ModelLibrary
from facesearch.embedding.weights import save_network
from facesearch.inference import create_engine
from tests.crop_files import store_of_vectors


def test_compress_learns_of_one_kind_of_data(cli):
    for extra in ((), ("--images", "a", "--store", "b")):
        ran = cli("models", "compress", "mobilenet-128", "--dim", "64", "-o", "short", *extra)
        assert ran.code == 2
        assert "--images DIR or of --store STORE" in ran.err


def listed(folder: Path, name: str, *people: str) -> str:
    file = folder / name
    file.write_text(f"{len(people)}\n" + "".join(f"{person}\t2\n" for person in people), encoding="utf-8")
    return str(file)


def test_features_of_a_file_of_weights_are_shown_with_their_counts(cli, tmp_path):
    people = [("Ada", 1), ("Ada", 1), ("Ben", 2), ("Ben", 3), ("Cy", 4), ("Cy", 5), ("Dot", 6)]
    store = store_of_vectors(tmp_path / "store", people)
    from facesearch.training.crop_store import CropStore

    torch.manual_seed(0)
    alignment = CropStore.open(store).alignment
    network = build_network(default_architecture("mobilenet", width=0.125, dim=8, has_norms=True, alignment=alignment))
    save_network(network, tmp_path / "w.safetensors")
    lists = ("--people", listed(tmp_path, "test", "Ada", "Ben"), "--learn", listed(tmp_path, "train", "Cy", "Dot"))
    weights = ("--weights", str(tmp_path / "w.safetensors"))
    ran = cli("train", "features", str(store), *lists, *weights, "--layer", "block1", "--pooling", "sum")
    assert ran.code == 0, ran.err
    for part in ("template", "block1", "sum", "2 mated pairs"):
        assert part in ran.out
    assert "4 crops of 2 people compared" in " ".join(ran.err.split())
    document = cli("train", "features", str(store), *lists, *weights, "--layer", "block1", "--json").json
    assert [one["pooling"] for one in document["layers"]] == ["template", "sum", "max", "gem", "rmac", "flatten"]
    ran = cli("train", "features", str(store), "--people", listed(tmp_path, "none", "Zed"), *lists[2:], *weights)
    assert ran.code == 2
    assert "no crop of anybody" in ran.err


def test_compress_refuses_before_a_face_is_embedded(cli, service, tmp_path):
    library = ModelLibrary(tmp_path / "models", create_engine)

    class Parts:
        models, card = library, library.card("mobilenet-128")

        def __getattr__(self, name):
            raise AssertionError(f"{name} was asked for: faces were to be embedded")

    service.answers["parts"] = Parts()
    (tmp_path / "faces" / "Ada").mkdir(parents=True)
    (tmp_path / "faces" / "Ada" / "1.jpg").touch()
    wanted = ("models", "compress", "mobilenet-128", "--images", str(tmp_path / "faces"))
    for dim, name, part in (
        ("200", "short", "2 … 127, not 200"),
        ("64", "Bad Name", "lower-case"),
        ("64", "mobilenet-128", "taken"),
        ("64", "short", "256 faces at least, there are 1"),
    ):
        ran = cli(*wanted, "--dim", dim, "-o", name)
        assert ran.code in (2, 5), ran.err
        assert part in " ".join(ran.err.split())
    crops = store_of_vectors(tmp_path / "store", [("Ada", 1)])
    ran = cli("models", "compress", "mobilenet-128", "--store", str(crops), "--dim", "64", "-o", "short")
    assert (ran.code, "there are 1" in " ".join(ran.err.split())) == (2, True)
    Parts.card = dataclasses.replace(Parts.card, format="onnx")
    assert "cannot be taken apart" in " ".join(cli(*wanted, "--dim", "64", "-o", "short").err.split())
