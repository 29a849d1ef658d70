"""Small stores of made-up faces that networks can learn in seconds, and the plans that train on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

from facesearch.core.face import Alignment
from facesearch.embedding.card_file import ARCFACE_112
from facesearch.training import session
from facesearch.training.crop_store import CropRow
from facesearch.training.crop_writer import CropWriter
from facesearch.training.distributed import ALONE, Group
from facesearch.training.plan import TrainingPlan
from facesearch.training.run_folder import RunFolder
from facesearch.training.starting import start_of
from facesearch.training.trainer import Materials
from tests.world import face_at

ROOT = Path(__file__).resolve().parents[1]
ARCFACE = Alignment("arcface-112", 112, np.array(ARCFACE_112, dtype=np.float32))


def face_pixels(person: int, photo: int, noise: float = 20.0) -> np.ndarray:
    """Return a 112 pixel crop: blotches that are the person's, noise that is the photograph's."""
    blotches = np.random.default_rng((7, person)).integers(30, 226, (7, 7, 3)).astype(np.float64)
    picture = np.kron(blotches, np.ones((16, 16, 1)))
    picture += np.random.default_rng((8, person, photo)).normal(0, noise, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_faces(folder: Path, counts: Sequence[int], *, alignment: Alignment = ARCFACE, alike: bool = False) -> Path:
    """Write a finished store: so many crops of each person, or of one picture for all of them."""
    with CropWriter(folder, alignment, {"release": "test"}) as writer:
        rows = []
        for person, n in enumerate(counts):
            for photo in range(n):
                pixels = face_pixels(0, 0) if alike else face_pixels(person, photo)
                pixels = cv2.resize(pixels, (alignment.crop_px, alignment.crop_px))
                path = f"P{person:02d}/{photo:02d}.jpg"
                row = CropRow(path, f"P{person:02d}", face_at(0, 0, 50), f"{person:032x}{photo:032x}", crc32(pixels.tobytes()), 0.5)
                rows.append((row, pixels))
        writer.add(rows)
        writer.finish({"source": {"name": "made", "digest": ""}, "counts": {}})
    return folder


def small_plan(crops: Path, **changes: object) -> TrainingPlan:
    """Return a plan of a few quick steps on one thread."""
    fields: dict[str, object] = {
        "crops": str(crops),
        "backbone": "mobilenet-v3-small",
        "dim": 16,
        "held_out": 0.0,
        "people_per_batch": 4,
        "photographs_per_person": 2,
        "batch_size": 8,
        "steps": 4,
        "threads": 1,
        "device": "cpu",
        "precision": "f32",
        "checkpoint_minutes": 0.0,
    }
    return TrainingPlan(**{**fields, **changes})  # type: ignore[arg-type]


def materials_of(plan: TrainingPlan, folder: Path, *, group: Group = ALONE) -> Materials:
    """Return what a trainer works with as a run that begins would hand it over, its folder made."""
    data = session.open_data(plan)
    start = start_of(plan, None, data.training.alignment)
    run = RunFolder(folder)
    if group.is_first:
        run.begin(plan, {})
    session.freeze(start.network, plan)
    return session._materials(plan, data, start, run, "cpu", group, teachers=(), tell=lambda _: None)


def run_twice(program: Path, *arguments: str) -> str:
    """Run a program in two processes of one group, as torchrun starts them; return what both said.

    Raises:
        AssertionError: One of them failed; holds what they said.
    """
    run = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", "--master-port=0",
            "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", str(program), *arguments,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
