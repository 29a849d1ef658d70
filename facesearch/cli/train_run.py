"""``facesearch train run``, ``train resume`` and ``train export``: a network trained by a plan, and made an embedder.

What a run does is in ``facesearch.training.session``, what is exported in ``facesearch.training.export``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, write_json, write_line, write_note
from facesearch.cli.session import session_of
from facesearch.core.errors import TrainingPlanError

if TYPE_CHECKING:
    from facesearch.training.session import TrainingResult

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any name of a plan (docs/training.md), as TOML has it; repeatable."),
]
Rate = Annotated[float | None, typer.Option("--rate", metavar="X", help="Highest learning rate.")]
Epochs = Annotated[float | None, typer.Option("--epochs", metavar="N", help="Rounds through the people or crops.")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Batches, instead of epochs.")]
Device = Annotated[str | None, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", help="Where it is trained.")]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads of the processor.")]


def run(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="PLAN.toml", help="What to do, paths relative to it; options count where both speak.", show_default=False
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the new run.")] = Path("run"),
    crops: Annotated[str | None, typer.Option("--crops", metavar="STORE", help="Crops to train on (train prepare).")] = None,
    cleaned: Annotated[str | None, typer.Option("--cleaned", metavar="FILE", help="What train clean wrote for them.")] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="STORE", help="Crops of other people; a tenth of the people if left out.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="EMBEDDER|FILE", help="Weights to begin with; random ones if left out.")
    ] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", metavar="NAME", help="Network: mobilenet, resnet-18, …")] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", metavar="triplet|contrastive|arcface|cosface|distillation", help="What is learned from.")
    ] = None,
    miner: Annotated[
        str | None, typer.Option("--miner", metavar="all|semi-hard|hard|distance-weighted", help="Which triplets.")
    ] = None,
    teacher: Annotated[list[str] | None, typer.Option("--teacher", metavar="EMBEDDER", help="Distil from it; repeatable.")] = None,
    freeze_until: Annotated[
        str | None,
        typer.Option("--freeze-until", metavar="STAGE|all", help="Last stage that stays; all trains the head alone."),
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    rate: Rate = None,
    device: Device = None,
    threads: Threads = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of everything random.")] = None,
    more: Set = None,
    as_json: options.AsJson = False,
) -> None:
    """Train a network by a plan, in a folder of its own: checkpoints, log, TensorBoard, and a page at the end.

    On several GPUs or machines: torchrun --nproc-per-node=N cli.py train run PLAN.toml -o RUN.
    """
    said: dict[str, Any] = {
        "crops": crops,
        "cleaned": cleaned,
        "validation": validation,
        "start": start,
        "backbone": backbone,
        "loss": loss,
        "miner": miner,
        "teachers": teacher or None,
        "freeze_until": freeze_until,
        "epochs": epochs,
        "steps": steps,
        "rate": rate,
        "device": device,
        "threads": threads,
        "seed": seed,
    }
    changes = {**{name: value for name, value in said.items() if value is not None}, **_parsed(more)}
    from facesearch.training.plan import changed_fields, parse_plan, read_plan
    from facesearch.training.session import train

    found = parse_plan(changed_fields({}, changes), where="the options") if plan is None else read_plan(plan, changes)
    _write(train(found, output, models_folder=_models(context), tell=_tell), as_json=as_json)


def resume(
    context: typer.Context,
    folder: Run,
    epochs: Epochs = None,
    steps: Steps = None,
    rate: Rate = None,
    device: Device = None,
    threads: Threads = None,
    more: Set = None,
    as_json: options.AsJson = False,
) -> None:
    """Go on with a run from its newest checkpoint: without options exactly as if it had not been interrupted."""
    from facesearch.training.session import resume as go_on

    said: dict[str, Any] = {"epochs": epochs, "steps": steps, "rate": rate, "device": device, "threads": threads}
    changes = {**{name: value for name, value in said.items() if value is not None}, **_parsed(more)}
    _write(go_on(folder, changes=changes, models_folder=_models(context), tell=_tell), as_json=as_json)


def export(
    context: typer.Context,
    folder: Run,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.safetensors", help="Weights; the card lies beside as .json.")
    ],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the embedder; the file's if left out.")] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="STORE", help="Crops for thresholds; the run's validation if left out."),
    ] = None,
    people: Annotated[
        Path | None, typer.Option("--people", metavar="FILE", help="The people of that store, a name a line or as LFW lists them.")
    ] = None,
    onnx: Annotated[Path | None, typer.Option("--onnx", metavar="FILE", help="Write it as ONNX as well.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a run's best network as an embedder: weights, card and thresholds."""
    from facesearch.embedding.adding import OPEN_LICENCES
    from facesearch.training.export import export_run

    if onnx is not None:
        from facesearch.embedding.onnx_export import export_onnx, require_onnx

        require_onnx(onnx)  # before anything is written
    made = export_run(folder, output, name=name, calibrate=calibrate, people=people)
    found = made.as_dict()
    if onnx is not None:
        session = session_of(context)
        parts = session.library.parts(session.settings.model_copy(update={"precision": "f32"}))
        found["onnx"] = export_onnx(made.card, onnx, parts.engine).as_dict()
    if as_json:
        write_json(found)
        return
    write_line(f"{made.card.embedder_id()}: {printable(output)}, {found['n_bytes']:,} bytes; card {printable(made.card_path)}")
    for point in made.figures.get("single", {}).get("operating_points", ()):
        told = f"FMR {point['fmr']:g}: threshold {point['threshold']:.4f}, TAR {100 * point['tar']:.2f} %"
        write_line(f"{told} ({point['n_mated_people']} people, {point['n_non_mated']:,} non-mated comparisons)")
    if made.warning:
        write_note(f"warning: {printable(made.warning)}")
    for fmr, why in made.unsupported:
        write_note(f"no threshold for FMR {fmr:g}: {printable(why)}")
    if "onnx" in found:
        write_line(f"{printable(onnx)}: numbers of a template within {found['onnx']['difference']:.1g} of the network's")  # type: ignore[index]
    if not made.figures:
        write_note("not calibrated: it compares and searches, and cannot decide; say --calibrate STORE, with crops of more people")
    accepted = "" if made.card.licence.lower() in OPEN_LICENCES else " --accept-licence"
    adding = f"facesearch models add {printable(output)} --name {made.card.name}{accepted}"
    write_line(f"use it: --embedder {printable(output)}, or {adding}")


def _parsed(given: list[str] | None) -> dict[str, Any]:
    """Return ``name=value`` options as values.

    Raises:
        TrainingPlanError: One has another form.
    """
    values: dict[str, Any] = {}
    for one in given or ():
        name, separator, text = one.partition("=")
        if not separator or not name.strip():
            raise TrainingPlanError(f"--set is given as NAME=VALUE, not {one!r}")
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = text.strip()  # a word needs no quotes
    return values


def _models(context: typer.Context) -> Path | None:
    session = session_of(context)
    folder = session.settings.models_dir
    return folder if folder.is_dir() else None


def _tell(line: str) -> None:
    write_note(printable(line))


def _write(result: TrainingResult, *, as_json: bool) -> None:
    if as_json:
        write_json(result.as_dict())
        return
    if result.report is None:
        return  # one of several processes: the first speaks
    progress = result.progress
    each = 1000 * progress.trained_s / max(1, progress.n_crops)
    write_line(
        f"{progress.step} of {result.n_steps} steps, {each:.1f} ms a crop, "
        f"{100 * progress.waited_s / max(1e-9, progress.trained_s):.1f} % of it waiting for crops"
    )
    if progress.best is not None:
        write_line(f"best figure of validation: {100 * progress.best:.2f} % at step {progress.best_step}")
    write_line(f"report: {printable(result.report)}")
    write_line(f"export it: facesearch train export {printable(result.folder)} -o FILE.safetensors")
