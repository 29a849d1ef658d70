"""The int8 scales of the shipped embedder: finds them on photographs, and measures what they cost.

A maintainers' tool, run once for each release of weights; whoever uses facesearch never needs it.

``calibrate`` takes one photograph of each of some people, finds and aligns the faces as the library does, runs the network in f32
and notes the least and greatest value of each channel that goes into each layer on each photograph. The range of a layer is the
90th percentile of these over the photographs (a rare extreme value is cut off, and all others get finer steps); before a depthwise
convolution each channel has a range of its own, the 99th percentile, since its extremes matter to itself alone. The channels before
a 1×1 convolution are balanced first: each divided by ``act^0.6 / w^0.4``, act its own range and w the root mean square of the
weights it meets. Last, the mean error of the network's output is taken out of the last bias. Percentiles and exponent were chosen
by the cosine with the vectors in f32 on 256 to 704 other photographs of the same collection; nothing of LFW is looked at. The
result is a file of ranges and balances (no weights, no pictures), beside the weights; its digest belongs into the card.

``measure`` embeds the same crops of LFW in f32, bf16 and int8 and prints, on all pairs of ``peopleDevTest.txt`` (every person and
pair of people weighing the same), the TAR at each FMR; then with one side in f32 and the other in the other precision, at the
threshold of f32; then View 2, which is for reporting and nothing else.

    python -m benchmarks.quantise calibrate --photographs ../shared/data/celeba10k/images
    python -m benchmarks.quantise measure --data ../shared/data --json figures.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.bootstrap import Parts
from facesearch.core.errors import InputError
from facesearch.core.face import FaceCrop
from facesearch.embedding import NetworkEmbedder
from facesearch.embedding.networks import network_spec
from facesearch.embedding.scales import scales_content
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.cross_pairs import cross_pairs
from facesearch.evaluation.lfw import read_pairs, read_people
from facesearch.evaluation.one_to_one import verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.imaging.align import align_face
from facesearch.inference.openvino_engine import OpenVinoEngine
from facesearch.inference.openvino_int8 import layers_of, quantise_graph
from facesearch.inference.openvino_library import openvino
from facesearch.inference.precision import FASTEST_FIRST
from facesearch.inference.processor import native_precisions
from facesearch.inference.quantisation import Quantisation, QuantisedLayer, with_zero
from facesearch.service.faces import choose_face
from facesearch.settings import Settings

TENSOR_QUANTILE = 0.90
CHANNEL_QUANTILE = 0.99
BALANCE = 0.6
FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
BLOCK = 64  # crops embedded at once


def crops_of(parts: Parts, files: list[Path]) -> Iterator[tuple[Path, FaceCrop | None]]:
    """Yield the aligned face nearest the middle of each photograph, None where there is none."""
    for file in files:
        try:
            image, found = parts.pipeline.detect(file)
            face = choose_face(image, found, "central", min_face_px=parts.settings.min_face_px)
            yield file, align_face(image, face, parts.card.alignment)
        except InputError:
            yield file, None


def calibrate(options: argparse.Namespace, parts: Parts) -> None:
    people = sorted(folder for folder in options.photographs.iterdir() if folder.is_dir())
    order = np.random.default_rng(options.seed).permutation(len(people))
    crops: list[np.ndarray] = []
    for _, crop in crops_of(parts, [min(people[place].iterdir()) for place in order]):
        crops += [] if crop is None else [crop.pixels]
        if len(crops) == options.crops:
            break
    else:
        raise SystemExit(f"{options.photographs} has faces of {len(crops)} people, {options.crops} are wanted")
    spec = network_spec(parts.card)
    engine = OpenVinoEngine(precision="f32", cache_dir=parts.settings.cache_dir)
    layers = layers_of(engine.graph(spec))
    lows, highs = extremes(engine.graph(spec), crops)
    found = []
    for place, layer in enumerate(layers):
        low, high, balance = lows[place], highs[place], np.zeros(0, np.float32)
        if is_depthwise(layer):
            share = CHANNEL_QUANTILE
        else:
            share = TENSOR_QUANTILE
            if place and is_depthwise(layers[place - 1]):
                balance = balanced(low, high, np.array(layer.input_value(1).get_node().data))
                low, high = low / balance, high / balance
            low, high = low.min(axis=1, keepdims=True), high.max(axis=1, keepdims=True)
        ends = with_zero(np.quantile(low, 1 - share, axis=0), np.quantile(high, share, axis=0))
        found.append(QuantisedLayer(layer.get_friendly_name().removeprefix("__module.").split("/")[0], *ends, balance=balance))
    coarse = quantise_graph(engine.graph(spec), Quantisation(tuple(found)), network=spec.name)
    error = before_the_norm(engine.graph(spec), crops) - before_the_norm(coarse, crops)
    found[-1] = replace(found[-1], shift=error.mean(axis=0).astype(np.float32))
    content = scales_content(Quantisation(tuple(found)))
    options.out.write_bytes(content)
    print(f"{options.out}: {len(found)} layers, {len(content):,} bytes, {len(crops)} photographs of as many people")
    print(f"sha256 {hashlib.sha256(content).hexdigest()}")


def is_depthwise(layer: Any) -> bool:
    return layer.get_type_name() == "GroupConvolution"


def balanced(low: np.ndarray, high: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what to divide each channel by; geometric mean 1."""
    act = np.maximum(np.quantile(np.maximum(-low, high), CHANNEL_QUANTILE, axis=0), 1e-3)
    met = np.maximum(np.sqrt(np.mean(weights**2, axis=(0, 2, 3))), 1e-6)
    balance = act**BALANCE / met ** (1 - BALANCE)
    return (balance / np.exp(np.log(balance).mean())).astype(np.float32)


def extremes(model: Any, crops: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the least and greatest value that goes into each layer, ``(crops, channels)`` each; one channel for the last."""
    layers = layers_of(model)
    request = compiled(model, [layer.input_value(0) for layer in layers])
    lows: list[list[np.ndarray]] = [[] for _ in layers]
    highs: list[list[np.ndarray]] = [[] for _ in layers]
    for pixels in crops:
        results = request.infer([pixels[None]])
        for place in range(len(layers)):
            values = results[place][0]
            rows = values.reshape(len(values) if values.ndim > 1 else 1, -1)
            lows[place].append(rows.min(axis=1))
            highs[place].append(rows.max(axis=1))
    return [np.array(low) for low in lows], [np.array(high) for high in highs]


def before_the_norm(model: Any, crops: list[np.ndarray]) -> np.ndarray:
    """Return what the last layer with its bias gives for each crop."""
    (after,) = layers_of(model)[-1].output(0).get_target_inputs()
    request = compiled(model, [after.get_node().output(0)])
    return np.concatenate([request.infer([pixels[None]])[0].copy() for pixels in crops])


def compiled(model: Any, outputs: list[Any]) -> Any:
    library = openvino()
    watched = library.Model([library.opset13.result(output) for output in outputs], model.get_parameters(), "watched")
    return library.compile_model(watched, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()


def measure(options: argparse.Namespace, parts: Parts) -> None:
    lfw = options.data / "lfw"
    images = lfw / "images"
    test = {path: one.name for one in read_people(lfw / "peopleDevTest.txt") for path in one.paths}
    pairs = read_pairs(lfw / "pairs.txt")
    wanted = sorted(set(test) | {path for pair in pairs for path in pair.paths})
    precisions = [one for one in reversed(FASTEST_FIRST) if one in native_precisions()]
    vectors = embedded(parts, [images / path for path in wanted], precisions)
    rows = {path: row for row, path in enumerate(wanted)}
    left_out = [tuple(pair) for pair in json.loads(parts.card.weights_path.with_suffix(".json").read_text())["lfw"]["left_out"]]
    figures: dict[str, Any] = {"n_photographs": len(wanted), "precisions": {}}
    people = np.array(list(test.values()))
    picked = [rows[path] for path in test]
    # One of two names of a person goes where pairs cannot be left out one by one.
    sound = ~np.isin(people, [pair[0] for pair in left_out])
    base = vectors["f32"][picked]
    thresholds = {}
    for precision, found in vectors.items():
        points = all_pairs(found[picked], people, left_out=left_out, n_worst=0).at_fmrs(FMRS)
        thresholds = thresholds or {point.fmr: point.threshold for point in points}
        mixed = cross_pairs(found[picked][sound], base[sound], people[sound])
        cosines = np.sum(found * vectors["f32"], axis=1)
        report = verification_report(
            VerificationTrials(
                np.array([np.clip(found[rows[a]] @ found[rows[b]], -1, 1) for a, b in (pair.paths for pair in pairs)]),
                np.array([pair.is_mated for pair in pairs]),
                np.array([pair.fold for pair in pairs]),
            )
        )
        figures["precisions"][precision] = {
            "cosine_with_f32": {"mean": float(np.nanmean(cosines)), "least": float(np.nanmin(cosines))},
            "all_pairs_devtest": [point.as_dict() for point in points],
            "with_f32_on_the_other_side": [
                {"fmr": fmr, "tar": mixed.tar(at).value, "false_matches": mixed.false_matches(at).value, "threshold": at}
                for fmr, at in thresholds.items()
            ],
            "view2": report.as_dict(),
        }
        print(f"\n{precision}: cosine with f32 {np.nanmean(cosines):.5f} on average, {np.nanmin(cosines):.4f} at least")
        for point in points:
            at = thresholds[point.fmr]
            print(
                f"  {point}\n    other side f32, threshold {at:.4f}: TAR {mixed.tar(at)}, false matches {mixed.false_matches(at)}"
            )
        print(f"  View 2: {report.accuracy}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def embedded(parts: Parts, files: list[Path], precisions: list[str]) -> dict[str, np.ndarray]:
    """Return the vectors of the same crops in several precisions, NaN where a photograph has no face."""
    embedders = {
        precision: NetworkEmbedder(parts.card, OpenVinoEngine(precision=precision, cache_dir=parts.settings.cache_dir))
        for precision in precisions
    }
    vectors = {precision: np.full((len(files), parts.card.dim), np.nan, np.float32) for precision in precisions}
    held: list[tuple[int, FaceCrop]] = []
    for row, (_, crop) in enumerate(crops_of(parts, files)):
        held += [] if crop is None else [(row, crop)]
        if held and (len(held) == BLOCK or row == len(files) - 1):
            for precision, embedder in embedders.items():
                templates = embedder.embed([one for _, one in held])
                vectors[precision][[place for place, _ in held]] = [template.vector for template in templates]
            held.clear()
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest="task", required=True)
    one = tasks.add_parser("calibrate")
    one.add_argument("--photographs", type=Path, required=True, help="folders of people")
    one.add_argument("--crops", type=int, default=600, help="photographs, one of a person")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, default=Path("facesearch/models/mobilenet-128.int8.safetensors"))
    other = tasks.add_parser("measure")
    other.add_argument("--data", type=Path, default=Path(os.environ.get("FACESEARCH_DATA", "../shared/data")))
    other.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    parts = Parts(Settings(precision="f32"))
    (calibrate if options.task == "calibrate" else measure)(options, parts)


if __name__ == "__main__":
    main()
