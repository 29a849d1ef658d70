"""Milliseconds a stage on LFW photographs: decode, detect, align, embed and search, one photograph at a time and in batches.

PYTHONPATH=. python benchmarks/stages.py --images ../shared/data/lfw/images
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from facesearch.bootstrap import Parts
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.imaging.align import align_faces
from facesearch.settings import Settings

BATCH = 32
"""Photographs a batch, as in ``FacePipeline.stream``."""

ROUNDS = 5


def processor() -> str:
    """Return the processor's name and what it offers the networks."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next(
        (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "unknown processor"
    )
    flags = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if f" {flag} " in f"{text} "]
    return f"{name} ({' '.join(flags)})"


def alone(act: Callable[[int], object], n: int) -> float:
    """Return the median milliseconds of a call, after one round to warm up."""
    times = []
    for round_number in range(ROUNDS + 1):
        for number in range(n):
            began = time.perf_counter()
            act(number)
            if round_number:
                times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def batched(act: Callable[[], object], n: int) -> float:
    """Return the median milliseconds an item of a call that does ``n`` items."""
    act()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began) / n)
    return statistics.median(times)


def index_of(parts: Parts, n: int) -> object:
    """Return an index of so many random templates."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, parts.card.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = GalleryIndexFactory(parts.embedder_id, parts.card.dim, parts.index_options).empty(n)
    index.add(TemplateBatch(np.arange(n), np.arange(n), vectors, parts.embedder_id), revision=1)
    return index


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with <name>/<name>_0001.jpg")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16", "auto"))
    parser.add_argument("--enrolled", type=int, default=5_749, help="templates in the index searched")
    arguments = parser.parse_args()
    paths = sorted(arguments.images.glob("*/*_0001.jpg"))
    chosen = [paths[place] for place in np.random.default_rng(1).choice(len(paths), BATCH, replace=False)]
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Settings(data_dir=folder, cache_dir=folder, precision=arguments.precision))
        images = [parts.decode(path) for path in chosen]
        detector, embedder, align = parts.detector, parts.embedder, align_faces
        faces = [found[:1] for found in detector.detect_batch(images)]
        crops = [align(image, found, embedder.alignment)[0] for image, found in zip(images, faces, strict=True)]
        probes: list[Template] = list(embedder.embed(crops))
        index = index_of(parts, arguments.enrolled)
        rows = [
            ("decode", alone(lambda i: parts.decode(chosen[i]), BATCH), None),
            ("detect", alone(lambda i: detector.detect(images[i]), BATCH), batched(lambda: detector.detect_batch(images), BATCH)),
            ("align", alone(lambda i: align(images[i], faces[i], embedder.alignment), BATCH), None),
            ("embed", alone(lambda i: embedder.embed((crops[i],)), BATCH), batched(lambda: embedder.embed(crops), BATCH)),
            (
                f"search {arguments.enrolled} ({index.kind})",
                alone(lambda i: index.search(probes[i], 5), BATCH),
                batched(lambda: index.search_many(probes, 5), BATCH),
            ),
        ]
    table = Table(title=f"ms a photograph, {arguments.precision}, 250×250, {processor()}")
    for heading in ("stage", "alone", f"in batches of {BATCH}"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, single, many in rows:
        table.add_row(stage, f"{single:.2f}", "" if many is None else f"{many:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
