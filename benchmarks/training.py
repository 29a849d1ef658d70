"""How long a training step takes, by the crop, and how much of it is waiting for crops: networks with frozen stages, any loss.

    python -m benchmarks.training [--crops STORE] [--plain] [--threads 2] [--batch 64] [--steps 10]

Without a store it trains on made-up crops, which cost as much. ``--plain`` keeps torch's own PReLU and glibc's way with memory:
what is gained by exchanging both. The first two steps are left out: they prepare kernels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import torch

from facesearch.core.face import Detection
from facesearch.embedding.architecture import default_architecture
from facesearch.training.augment import STRENGTHS
from facesearch.training.crop_store import CropRow, CropStore
from facesearch.training.crop_writer import CropWriter
from facesearch.training.loader import BatchLoader
from facesearch.training.memory import keep_freed_memory
from facesearch.training.objective import Objective
from facesearch.training.plan import TrainingPlan
from facesearch.training.run_folder import RunFolder
from facesearch.training.samplers import PeopleSampler
from facesearch.training.session import freeze
from facesearch.training.starting import start_of
from facesearch.training.trainer import Materials, Trainer


def made_up(folder: Path, n_people: int = 64) -> Path:
    """Write a store of noise."""
    alignment = default_architecture("mobilenet").alignment
    face = Detection((0.0, 0.0, 112.0, 112.0), alignment.points, 1.0)
    generator = np.random.default_rng(0)
    with CropWriter(folder, alignment, {"made": "up"}) as writer:
        rows = []
        for place in range(4 * n_people):
            pixels = generator.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            rows.append((CropRow(f"{place}.jpg", f"P{place // 4:04d}", face, f"{place:064x}", crc32(pixels.tobytes())), pixels))
        writer.add(rows)
        writer.finish({"source": {"name": "made", "digest": ""}, "counts": {}})
    return folder


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=Path)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--freeze-until", default="block3")
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.plain:
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        store = CropStore.open(arguments.crops or made_up(Path(scratch) / "store"))
        plan = TrainingPlan(
            crops="-",
            start="mobilenet-128",
            loss="triplet",
            people_per_batch=arguments.batch // 4,
            photographs_per_person=4,
            freeze_until=arguments.freeze_until,
            freeze_slopes=not arguments.plain,
            precision=arguments.precision,
            rate=1e-6,
            steps=arguments.steps + 2,
            checkpoint_minutes=0.0,
        )
        start = start_of(plan, None, store.alignment)
        freeze(start.network, plan)
        sampler = PeopleSampler(store.labels, plan.people_per_batch, plan.photographs_per_person)
        times: list[float] = []
        loaders: list[BatchLoader] = []

        def make_loader(steps: range) -> BatchLoader:
            loaders.append(BatchLoader(store, sampler, STRENGTHS["standard"], seed=0, steps=steps))
            return loaders[-1]

        trainer = Trainer(
            Materials(
                plan=plan,
                network=start.network,
                objective=Objective(plan, len(store.people), 128),
                make_loader=make_loader,
                steps_per_epoch=sampler.steps_per_epoch,
                n_steps=10**9,
                validation=None,
                folder=RunFolder(Path(scratch) / "run"),
                device="cpu",
            )
        )
        (Path(scratch) / "run").mkdir()
        waits = []
        with make_loader(range(arguments.steps + 2)) as loader:
            for batch in loader:
                began = time.perf_counter()
                trainer.step(batch)
                times.append((time.perf_counter() - began) / len(batch.labels) * 1000)
                waits.append(loader.waited_s)
    kept = times[2:]
    waited = (waits[-1] - waits[1]) / len(kept) / sampler.batch_size * 1000
    way = "torch's own PReLU and memory" if arguments.plain else "frozen slopes, memory kept"
    frozen = f"frozen until {arguments.freeze_until}"
    print(f"mobilenet, {arguments.precision}, {arguments.threads} threads, batch {sampler.batch_size}, {frozen}, {way}")
    spread = f"median of {len(kept)} steps; best {min(kept):.1f}, worst {max(kept):.1f}"
    print(f"training a crop: {statistics.median(kept):.1f} ms ({spread})")
    print(f"waiting for a crop: {waited:.3f} ms, {100 * waited / (waited + statistics.mean(kept)):.2f} % of the time")
    ready = 1000 * loaders[-1].worked_s / (len(times) * sampler.batch_size)
    print(f"making a crop ready, in a thread beside: {ready:.2f} ms")


if __name__ == "__main__":
    main()
