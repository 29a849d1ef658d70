"""What processes of one run give each other: shares of the work, rows and means."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import EmbeddingNetwork, build_network
from facesearch.embedding.prepared import Prepared
from facesearch.training.crop_store import CropStore
from facesearch.training.distributed import ALONE, Group
from facesearch.training.norms import fresh_statistics
from facesearch.training.plan import TrainingPlan
from facesearch.training.trainer import NORM_BATCHES
from facesearch.training.validation import embedded
from tests.training_files import materials_of, run_twice, small_plan, write_faces

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np, torch
from facesearch.embedding.prepared import Prepared
from facesearch.training.crop_store import CropStore
from facesearch.training.distributed import process_group
from facesearch.training.norms import fresh_statistics
from facesearch.training.trainer import Trainer
from facesearch.training.validation import embedded
from tests.training_files import materials_of
from tests.unit.training.test_distributed import batches, network, plan_of

with process_group("cpu") as group:
    torch.set_num_threads(1)
    made = network()
    with fresh_statistics(made, made, batches(group.rank), group):
        means = [norm.running_mean.tolist() for norm in made.trained_norms]
    own = [torch.full((2, 2), float(group.rank)), torch.full((3,), 10.0 * group.rank)]
    group.average(own)
    rows = group.gathered(np.full((group.rank + 1, 2), group.rank, dtype=np.float32))
    last = group.gathered(np.ones((1, 2), dtype=np.float32) if group.rank else None)
    prepared = Prepared(made, made.architecture.preparation)
    vectors = embedded(prepared, CropStore.open(sys.argv[2]), device="cpu", bf16=False, batch=4, group=group)
    Trainer(materials_of(plan_of(Path(sys.argv[2])), Path(sys.argv[1]) / "run", group=group)).save_average()
    said = {"vectors": vectors, "rows": rows, "last": last}
    said = {name: one.tolist() for name, one in said.items()} | {"means": means, "average": [one.tolist() for one in own]}
    (Path(sys.argv[1]) / f"{group.rank}.json").write_text(json.dumps(said))
"""


def network() -> EmbeddingNetwork:
    torch.manual_seed(3)
    return build_network(default_architecture("mobilenet", width=0.125, dim=8, has_norms=True, layer="block3", pooling="mean"))


def batches(rank: int) -> list[torch.Tensor]:
    """Return what a process sees: two batches."""
    return [torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(10 * rank + n)) for n in range(2)]


def plan_of(store: Path) -> TrainingPlan:
    """Return a plan whose batches of four crops two processes can share, of a network with norms."""
    return small_plan(store, backbone="mobilenet", width=0.125, layer="block3", pooling="mean", loss="cosface", batch_size=4)


@pytest.mark.parametrize(("n", "world"), [(0, 2), (1, 3), (13, 2), (100, 7)])
def test_each_thing_is_one_process_and_shares_are_even(n: int, world: int) -> None:
    shares = [Group(rank, world).share(n) for rank in range(world)]
    assert [one for share in shares for one in share] == list(range(n))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_a_process_alone_has_everything() -> None:
    assert ALONE.share(5) == range(5)
    rows = np.ones((2, 3), dtype=np.float32)
    np.testing.assert_array_equal(ALONE.gathered(rows), rows)
    own = torch.ones(3)
    ALONE.average([own])
    assert own.tolist() == [1.0, 1.0, 1.0]


def test_two_processes_have_the_same_rows_means_and_statistics(tmp_path: Path) -> None:
    store = write_faces(tmp_path / "store", (3, 2, 4))  # three batches of four, two of which are the second's
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    run_twice(program, str(tmp_path), str(store))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["average"] == [[[0.5, 0.5], [0.5, 0.5]], [5.0, 5.0, 5.0]]
    assert first["rows"] == [[0, 0], [1, 1], [1, 1]]
    assert first["last"] == [[1, 1]]
    # To the bit what one process finds.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = network()
    vectors = embedded(Prepared(alone, alone.architecture.preparation), CropStore.open(store), device="cpu", bf16=False, batch=4)
    torch.set_num_threads(n_threads)
    np.testing.assert_array_equal(vectors, np.array(first["vectors"], dtype=np.float32))
    assert len(np.unique(vectors, axis=0)) == 9
    # The norms of both know the batches of both.
    with fresh_statistics(alone, alone, batches(0) + batches(1)):
        for norm, mean in zip(alone.trained_norms, first["means"], strict=True):
            np.testing.assert_allclose(norm.running_mean.numpy(), mean, atol=1e-6)
    # And so do those of the network that a run writes.
    written = safetensors.torch.load_file(tmp_path / "run" / "best.safetensors")
    materials = [materials_of(plan_of(store), tmp_path / f"alone{rank}", group=Group(rank, 2)) for rank in (0, 1)]
    loaders = [one.make_loader(range(0)) for one in materials]
    pixels = [torch.from_numpy(loader.make(step).pixels) for loader in loaders for step in range(NORM_BATCHES)]
    assert [len(one) for one in pixels] == [2] * 2 * NORM_BATCHES
    alone = materials[0].network
    with fresh_statistics(alone, Prepared(alone, alone.architecture.preparation), pixels):
        found = {name: one for name, one in alone.state_dict().items() if name.endswith(("running_mean", "running_var"))}
        assert len(found) == 14
        for name, expected in found.items():
            torch.testing.assert_close(written[name], expected, atol=1e-4, rtol=1e-3, msg=name)
