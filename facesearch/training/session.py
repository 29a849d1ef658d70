"""A run from its plan to its report: opens the crops, builds what the trainer works with, trains, and goes on where one ended.

How a step is made is ``trainer``'s. It exports nothing: see ``export``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facesearch.core.errors import InputError, TrainingPlanError
from facesearch.embedding.embedding_network import EmbeddingNetwork
from facesearch.embedding.prepared import Prepared
from facesearch.training.augment import STRENGTHS
from facesearch.training.checkpoint import read_checkpoint
from facesearch.training.crop_store import CropStore
from facesearch.training.distributed import Group, device_of, own_device, process_group
from facesearch.training.frozen_prelu import freeze_slopes
from facesearch.training.loader import BatchLoader
from facesearch.training.memory import keep_freed_memory
from facesearch.training.objective import Objective, Teacher
from facesearch.training.plan import TrainingPlan, changed_fields, parse_plan
from facesearch.training.progress import Progress
from facesearch.training.run_facts import require_same, run_facts
from facesearch.training.run_folder import TENSORBOARD, WORSE, RunFolder
from facesearch.training.run_report import write_report
from facesearch.training.samplers import PairSampler, PeopleSampler, Sampler, TurnSampler
from facesearch.training.starting import Start, freeze_stages, require_crops, start_of, teachers_of
from facesearch.training.trainer import Materials, Scalars, Tell, Trainer
from facesearch.training.validation import embedded, of_list, require_pairs, split_people

ALL_STAGES = "all"
"""What ``freeze_until`` says for a fixed extractor: only the head is trained."""

CHANGEABLE = frozenset(("rate", "epochs", "steps", "patience", "device", "threads", "checkpoint_minutes", "validate_every", "note"))
"""What may be said otherwise when a run goes on; anything else would make it another run."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What became of a run.

    Attributes:
        folder: Of the run.
        progress: Where it ended.
        n_steps: Of the whole run.
        report: The page about it; None in processes other than the first.
    """

    folder: Path
    progress: Progress
    n_steps: int
    report: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "folder": str(self.folder),
            "n_steps": self.n_steps,
            **self.progress.as_dict(),
            "report": None if self.report is None else str(self.report),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The crops of a run.

    Attributes:
        training: To train on.
        validation: Of other people, or None.
        sampler: Draws the batches.
        absent: Who of the people to be validated on has no crop, in words; None where everybody has.
    """

    training: CropStore
    validation: CropStore | None
    sampler: Sampler
    absent: str | None = None


def open_data(plan: TrainingPlan) -> Data:
    """Return the crops that a plan names.

    Raises:
        CropStoreError: A store is missing, unfinished or damaged.
        InputError: There are too few people to train or to validate on.
        TrainingPlanError: The crops validated on are aligned otherwise than those trained on.
    """
    store = CropStore.open(plan.crops, cleaned=plan.cleaned)
    validation: CropStore | None
    absent: str | None = None
    if plan.validation is not None:
        training, validation = store, CropStore.open(plan.validation)
        if plan.validation_people is not None:
            validation, absent = of_list(validation, Path(plan.validation_people))
    else:
        training, validation = split_people(store, plan.held_out, plan.seed)
    if validation is not None:
        both = f"a network trained on {Path(plan.crops).name} and validated on {Path(plan.validation or plan.crops).name}"
        require_crops(store.alignment, validation.alignment, both)
        require_pairs(validation, "name another store (validation), or set held_out to 0 to train without")
    return Data(training, validation, _sampler(plan, training), absent)


def overlap_of(data: Data) -> str | None:
    """Return a warning where photographs of the training set are among those validated on, by the digest of their bytes."""
    both = 0, 0
    if data.validation is not None:
        both = in_both(data.training, data.validation)
    if both == (0, 0):
        return None
    return (
        f"{both[0]} photographs of {both[1]} people are trained on and validated on: the figures are too good; leave these people "
        "out with train clean --against"
    )


def in_both(training: CropStore, other: CropStore) -> tuple[int, int]:
    """Return how many photographs of one store are in another too, by the digest of their bytes, and of how many people."""
    trained = {row.digest: person for row, person in zip(training.rows, training.labels.tolist(), strict=True)}
    both = [trained[row.digest] for row in other.rows if row.digest in trained]
    return len(both), len(set(both))


def _sampler(plan: TrainingPlan, store: CropStore) -> Sampler:
    if plan.drawn_by == "people":
        return PeopleSampler(
            store.labels,
            plan.people_per_batch,
            plan.photographs_per_person,
            few=plan.few,
            singles=plan.singles,
            seed=plan.seed,
        )
    if plan.drawn_by == "pairs":
        return PairSampler(store.labels, plan.batch_size // 2, seed=plan.seed)
    least_people = 1 if plan.loss == "distillation" else 2
    return TurnSampler(store.labels, plan.batch_size, least_people=least_people, seed=plan.seed)


def freeze(network: EmbeddingNetwork, plan: TrainingPlan) -> str:
    """Freeze what a plan says; return it in words.

    Raises:
        TrainingPlanError: There is no such stage.
    """
    last = network.stage_names[-1] if plan.freeze_until == ALL_STAGES else plan.freeze_until
    freeze_stages(network, last)
    n_slopes = freeze_slopes(network) if plan.freeze_slopes and plan.start is not None else 0
    told = f"stages up to {last} stay as they are" if last is not None else "all stages are trained"
    n_folded = network.n_folded_norms
    told += f", {n_folded} batch norms are folded and learn an offset alone" if n_folded else ""
    return told + (f", the slopes of {n_slopes} PReLUs stay" if n_slopes else "")


def train(
    plan: TrainingPlan, folder: Path, *, models_folder: Path | None = None, tell: Tell = lambda _: None, until: int | None = None
) -> TrainingResult:
    """Train a network by a plan, in a new folder.

    Started by ``torchrun``, this is one of several processes of one run.

    Args:
        plan: What to do.
        folder: Of the run; must not hold one.
        models_folder: Where embedders are besides the package's own.
        tell: Told what happens.
        until: Step to stop at, with a checkpoint, as if interrupted.

    Raises:
        FaceSearchError: As the parts; see ``docs/training.md`` for what to do.
    """
    return _run(plan.with_whole_paths(), RunFolder(folder), models_folder=models_folder, tell=tell, until=until, goes_on=False)


def resume(
    folder: Path,
    *,
    changes: Mapping[str, object] | None = None,
    models_folder: Path | None = None,
    tell: Tell = lambda _: None,
    until: int | None = None,
) -> TrainingResult:
    """Go on with a run from its newest checkpoint.

    Args:
        folder: Of the run.
        changes: What the plan shall say otherwise from here on: only ``CHANGEABLE``.
        models_folder: As for ``train``.
        tell: As for ``train``.
        until: As for ``train``.

    Raises:
        TrainingPlanError: Something else is to be changed.
        CheckpointNotFoundError: There is no run, or no checkpoint.
        CheckpointFormatError: The checkpoint is damaged or of another architecture.
    """
    run = RunFolder(folder)
    plan, _ = run.read()
    refused = sorted((changes or {}).keys() - CHANGEABLE)
    if refused:
        raise TrainingPlanError(
            f"a run that goes on cannot change {', '.join(refused)}, only {', '.join(sorted(CHANGEABLE))}: start another run",
            field=refused[0],
        )
    plan = parse_plan(changed_fields(plan.as_dict(), changes or {}), where=str(folder))
    return _run(plan, run, models_folder=models_folder, tell=tell, until=until, goes_on=True)


def _run(
    plan: TrainingPlan, folder: RunFolder, *, models_folder: Path | None, tell: Tell, until: int | None, goes_on: bool
) -> TrainingResult:
    device = device_of(plan.device)
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    if torch.device(device).type == "cpu":
        keep_freed_memory()
    with process_group(device) as group, ExitStack() as stack:
        say: Tell = tell if group.is_first else lambda _: None
        device = own_device(device, group)
        if torch.device(device).type == "cuda" and ":" in device:
            torch.cuda.set_device(torch.device(device))  # where nccl and whatever names no device work
        if group.is_first and not goes_on:
            folder.require_room()
        data = open_data(plan)
        start = start_of(plan, models_folder, data.training.alignment)
        say(f"{len(data.training)} crops of {len(data.training.people)} people; {data.sampler}")
        say(f"network {start.network.architecture.backbone} from {start.source}: {freeze(start.network, plan)}")
        warnings = [one for one in (data.absent, overlap_of(data)) if one is not None]
        for warning in warnings:
            say(f"warning: {warning}")
        teachers = teachers_of(plan, models_folder, data.training.alignment, device)
        facts = run_facts(data.training, data.validation, data.sampler, start, teachers, n_processes=group.world)
        materials = _materials(plan, data, start, folder, device, group, teachers=teachers, tell=say)
        if goes_on:
            require_same(folder.read()[1], facts, run=folder.path.name)
        if group.is_first:
            stack.enter_context(folder.held())
        checkpoint = read_checkpoint(folder.newest_checkpoint(), expected=start.network.architecture) if goes_on else None
        first_step = checkpoint.step if checkpoint is not None else 0
        if materials.n_steps < first_step:
            raise TrainingPlanError(
                f"run {folder.path.name} has done {first_step} steps, more than the {materials.n_steps} that it would have: say "
                "more steps or epochs",
                field="steps",
            )
        if group.is_first:
            if checkpoint is None:
                folder.begin(plan, facts)
                for warning in warnings:
                    folder.note("warning", 0, text=warning)
            else:
                folder.forget_after(first_step)
                changed = folder.change(plan, first_step, n_processes=group.world)
                told = ", ".join(f"{name} {value}" for name, value in changed.items())
                say(f"goes on from step {first_step}" + (f" with {told}" if changed else ""))
            materials = dataclasses.replace(materials, scalars=_scalars(folder, first_step, stack, say))
        trainer = Trainer(materials)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        else:
            if materials.objective.head is not None and plan.start is not None:
                materials.objective.head.start_from(_centres(trainer.network, data.training, device, plan, group))
            if start.is_whole:
                trainer.validate_start()
        progress = trainer.run(until)
        report = _finish(trainer, materials)
        return TrainingResult(folder.path, progress, materials.n_steps, report)


def _materials(
    plan: TrainingPlan,
    data: Data,
    start: Start,
    folder: RunFolder,
    device: str,
    group: Group,
    *,
    teachers: tuple[Teacher, ...],
    tell: Tell,
) -> Materials:
    """Return what the trainer works with."""
    n_groups = data.sampler.batch_size // data.sampler.group
    if n_groups % group.world:
        raise InputError(
            f"a batch of {n_groups} groups cannot be divided among {group.world} processes: choose a multiple of {group.world}"
        )
    if group.world == n_groups and plan.drawn_by == "people":
        raise InputError(
            f"of {n_groups} people a batch each of {group.world} processes would have one and nobody to tell them from: take "
            f"{2 * group.world} or more (people_per_batch)"
        )
    torch.manual_seed(plan.seed + 1)
    objective = Objective(plan, len(data.training.people), start.network.architecture.dim, teachers).to(device)
    n_steps = plan.steps if plan.steps is not None else max(1, round(plan.epochs * data.sampler.steps_per_epoch))

    def make_loader(steps: range) -> BatchLoader:
        return BatchLoader(
            data.training,
            data.sampler,
            STRENGTHS[plan.augmentation],
            seed=plan.seed,
            steps=steps,
            rank=group.rank,
            world=group.world,
        )

    return Materials(
        plan=plan,
        network=start.network.to(device),
        objective=objective,
        make_loader=make_loader,
        steps_per_epoch=data.sampler.steps_per_epoch,
        n_steps=n_steps,
        validation=data.validation,
        folder=folder,
        device=device,
        group=group,
        tell=tell,
    )


def _centres(network: EmbeddingNetwork, store: CropStore, device: str, plan: TrainingPlan, group: Group) -> torch.Tensor:
    """Return each person's mean vector by the network as it begins, ``(people, dim)``."""
    prepared = Prepared(network, network.architecture.preparation).to(device)
    vectors = embedded(prepared, store, device=device, bf16=plan.precision == "bf16", group=group)
    sums = np.zeros((len(store.people), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, store.labels, vectors)
    return torch.from_numpy(sums).to(device)


def _scalars(folder: RunFolder, first_step: int, stack: ExitStack, say: Tell) -> Scalars:
    """Return what takes figures to TensorBoard, or nowhere where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed (pip install facesearch[train]): figures go to log.jsonl and the report alone")
        return lambda _name, _value, _step: None
    writer = SummaryWriter(str(folder.path / TENSORBOARD), purge_step=first_step or None)
    stack.callback(writer.close)
    take: Scalars = writer.add_scalar
    return take


def _finish(trainer: Trainer, materials: Materials) -> Path | None:
    """Write the network where no validation chose one, and the report; of several processes, the first does."""
    has_best = materials.group.shared(materials.folder.best.exists())
    if materials.validation is None or not has_best:
        trainer.save_average()
    if not materials.group.is_first:
        return None
    worse = trainer.progress.worse_than_begun()
    if worse is not None and (trainer.progress.is_over or trainer.progress.step == materials.n_steps):
        materials.tell(f"warning: {worse}")
        materials.folder.note(WORSE, trainer.progress.step, text=worse)
    return write_report(materials.folder, trainer.progress, materials.n_steps)
