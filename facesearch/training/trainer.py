"""The loop of a run: batch, loss, step, moving average; validation, checkpoints and early stop in between.

It is handed everything it works with: see ``session``. Whatever is random is a function of the plan's seed and the step, so that a
run which goes on from a checkpoint is, bit for bit, the run that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from facesearch.core.errors import CheckpointFormatError, FileWriteError, TrainingDivergedError
from facesearch.embedding.embedding_network import EmbeddingNetwork
from facesearch.embedding.prepared import Prepared
from facesearch.embedding.weights import save_network
from facesearch.training.checkpoint import Checkpoint, Writer, newest, write_checkpoint, write_whole
from facesearch.training.crop_store import CropStore
from facesearch.training.distributed import Group
from facesearch.training.loader import Batch, BatchLoader
from facesearch.training.losses import CollapseWatch, spread_of
from facesearch.training.miners import squared_distances
from facesearch.training.norms import fresh_statistics
from facesearch.training.objective import Learning, Objective, StepValue
from facesearch.training.optimiser import MovingAverage, build_optimiser, rate_factor, restore_state, set_rate, state_tensors
from facesearch.training.plan import TrainingPlan
from facesearch.training.progress import SAME_FIGURE, Progress
from facesearch.training.run_folder import RunFolder
from facesearch.training.validation import embedded, validated

LOG_EVERY = 10
"""Steps between lines of the log."""

NORM_BATCHES = 16
"""Batches that the statistics of norms are taken from before a network is measured or written."""

Tell = Callable[[str], None]
"""Told what happened, a line at a time."""

Scalars = Callable[[str, float, int], None]
"""Takes a figure's name, value and step: TensorBoard's ``add_scalar``."""


@dataclass(frozen=True, slots=True, eq=False)
class Materials:
    """What a run works with.

    Attributes:
        plan: What it is told.
        network: What is trained, its stages frozen as the plan says, on the device.
        objective: On the device.
        make_loader: Returns the batches of some steps.
        steps_per_epoch: Of the sampler.
        n_steps: Of the whole run.
        validation: Crops of other people; None to train without.
        folder: Of the run.
        device: As torch names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        group: This process among the run's.
        tell: Told what happened.
        scalars: Takes figures.
        write: Puts a checkpoint's bytes into a file.
    """

    plan: TrainingPlan
    network: EmbeddingNetwork
    objective: Objective
    make_loader: Callable[[range], BatchLoader]
    steps_per_epoch: int
    n_steps: int
    validation: CropStore | None
    folder: RunFolder
    device: str
    group: Group = field(default_factory=Group)
    tell: Tell = lambda _: None
    scalars: Scalars = lambda _name, _value, _step: None
    write: Writer = write_whole


class Trainer:
    """A run. Not safe to use from several threads.

    Args:
        materials: What it works with.
    """

    def __init__(self, materials: Materials) -> None:
        self._m = materials
        self._plan = materials.plan
        self._is_bf16 = materials.plan.precision == "bf16"
        self.network = materials.network.to(memory_format=torch.channels_last)
        self._prepared = Prepared(self.network, self.network.architecture.preparation).to(materials.device)
        self._learning: nn.Module = Learning(self._prepared, materials.objective)
        self._optimiser = build_optimiser(self.network, materials.objective, materials.plan)
        self.average = MovingAverage(self.network, materials.plan.ema)
        self._watch = CollapseWatch(materials.objective.margin, materials.objective.miner)
        self.progress = Progress()
        self._validate_every = max(1, round(materials.plan.validate_every * materials.steps_per_epoch))
        if materials.group.world > 1:
            self._learning = nn.parallel.DistributedDataParallel(self._learning)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointFormatError: It is of another run.
        """
        try:
            self.network.load_state_dict(checkpoint.part("network"))
            self._m.objective.load_state_dict(checkpoint.part("objective"))
            for name, tensor in checkpoint.part("average").items():
                self.average.tensors[name].copy_(tensor)
            restore_state(self._optimiser, checkpoint.part("optimiser"))
            kept = {"begun": None, **checkpoint.state["progress"]}  # runs of before had not measured it
            self.progress = Progress(**{name: kept[name] for name in Progress.__slots__})
            self._watch.restore(checkpoint.state["watch"])
        except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as exc:
            raise CheckpointFormatError(f"the checkpoint of step {checkpoint.step} is of another run: {exc}") from exc
        # Patience may be another from here on.
        self.progress.is_over = self._is_stale()

    def checkpoint(self) -> Checkpoint:
        """Return the run as it is."""
        parts: dict[str, Mapping[str, torch.Tensor]] = {
            "network": self.network.state_dict(),
            "objective": self._m.objective.state_dict(),
            "average": self.average.tensors,
            "optimiser": state_tensors(self._optimiser),
        }
        tensors = {f"{part}.{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
        state = {"progress": self.progress.as_dict(), "watch": self._watch.state()}
        return Checkpoint(self.progress.step, self.network.architecture, tensors, state)

    def run(self, until: int | None = None) -> Progress:
        """Train to the end of the run, to its early stop, or until a step.

        Raises:
            TrainingDivergedError: The loss or its gradient is no number; names step, rate and the last good checkpoint.
            FileWriteError: A checkpoint cannot be written; what was there before stays.
            CropStoreError: A crop is damaged.
        """
        last = min(self._m.n_steps, until if until is not None else self._m.n_steps)
        if self._is_over() or self.progress.step >= last:
            return self.progress
        saved_at = time.monotonic()
        self.network.train()
        with self._m.make_loader(range(self.progress.step, last)) as loader:
            waited = 0.0
            began = time.perf_counter()
            try:
                for batch in loader:
                    self.step(batch)
                    self.progress.waited_s += loader.waited_s - waited
                    self.progress.trained_s += time.perf_counter() - began
                    waited = loader.waited_s
                    saved_at = self._between(saved_at)
                    if self._is_over():
                        break
                    began = time.perf_counter()
            except KeyboardInterrupt:
                # Not saved here: a step may be half done, and what goes on must be what would have been.
                saved = newest(self._m.folder.checkpoints)
                self._m.tell(f"interrupted in step {self.progress.step}; saved is {'nothing' if saved is None else saved.name}")
                raise
        if self.progress.step < self._m.n_steps and not self._is_over():
            self._save()  # stopped on purpose
        return self.progress

    def _is_over(self) -> bool:
        return self.progress.is_over

    def _is_stale(self) -> bool:
        return bool(self._plan.patience) and self.progress.stale >= self._plan.patience

    def step(self, batch: Batch) -> None:
        """Move the weights by one batch.

        Raises:
            TrainingDivergedError: The loss or its gradient is no number; no weight has moved then.
        """
        plan, step = self._plan, batch.step
        rate = plan.rate * rate_factor(step, self._m.n_steps, plan.schedule, plan.warmup)
        set_rate(self._optimiser, rate)
        # Dropout, where a backbone has any, is the only user of torch's own random numbers.
        torch.manual_seed(plan.seed * 1_000_003 + step * self._m.group.world + self._m.group.rank)
        pixels = torch.from_numpy(batch.pixels).to(self._m.device)
        labels = torch.from_numpy(batch.labels.copy()).to(self._m.device)
        loss, vectors, value = self._learning(pixels, labels, step, bf16=self._is_bf16)
        loss.backward()
        trained = [one for group in self._optimiser.param_groups for one in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(trained, plan.clip))
        number = float(loss.detach())
        # A loss that is no number in one process is a gradient that is none in all of them: they stop together.
        if not math.isfinite(number) or not math.isfinite(norm):
            raise self._diverged(number, norm, step, rate)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.average.update(self.network, step)
        self.progress.step = step + 1
        self.progress.n_crops += len(batch.labels)
        self._look(vectors.detach(), labels, value, number, rate, norm)

    def _diverged(self, loss: float, norm: float, step: int, rate: float) -> TrainingDivergedError:
        last = newest(self._m.folder.checkpoints)
        advice = (
            f"the last good checkpoint is {last}: facesearch train resume {self._m.folder.path} --rate {rate / 10:.2g}"
            if last is not None
            else "there is no checkpoint yet: begin again with a lower rate"
        )
        return TrainingDivergedError(
            f"the loss is {loss:g} (gradient {norm:g}) at step {step}, at a rate of {rate:.3g}; {advice}",
            step=step,
            rate=rate,
            checkpoint=None if last is None else str(last),
        )

    def _look(self, vectors: torch.Tensor, labels: torch.Tensor, value: StepValue, loss: float, rate: float, norm: float) -> None:
        """Log a step, and say where learning ends."""
        step = self.progress.step
        spread = spread_of(squared_distances(vectors), labels)
        # Asked also where the miner found no triplet: then the vectors are one, or nothing is left to learn.
        is_by_labels = self._plan.loss != "distillation"
        said = self._watch.look(value.own, float(value.own.loss.detach()), spread) if is_by_labels else None
        if not self._m.group.is_first:
            return
        if said is not None:
            self._m.tell(f"warning: step {step}: {said}")
            self._m.folder.note("warning", step, text=said)
        if step % LOG_EVERY and step != self._m.n_steps:
            return
        figures = {
            "loss": loss,
            "distillation": float(value.distillation) if self._plan.teachers else math.nan,
            "active": value.own.n_active / max(1, value.own.n_terms) if is_by_labels else math.nan,
            "mated_d2": spread.mated,
            "non_mated_d2": spread.non_mated,
            "rate": rate,
            "gradient": norm,
        }
        known = {name: number for name, number in figures.items() if math.isfinite(number)}
        self._m.folder.note("step", step, **known)
        for name, number in known.items():
            self._m.scalars(name, number, step)
        if step % (10 * LOG_EVERY) == 0:
            self._m.tell(self._told(known))

    def _told(self, known: Mapping[str, float]) -> str:
        progress = self.progress
        each = 1000 * progress.trained_s / max(1, progress.n_crops)
        active = f"{100 * known['active']:.1f} % active, " if "active" in known else ""  # teachers alone have no terms
        return (
            f"step {progress.step}/{self._m.n_steps}: loss {known['loss']:.4f}, {active}"
            f"{each:.1f} ms a crop, {100 * progress.waited_s / max(1e-9, progress.trained_s):.1f} % of it waiting for crops"
        )

    def _between(self, saved_at: float) -> float:
        """Validate and save where it is time; return when it was saved last."""
        step = self.progress.step
        is_last = step == self._m.n_steps
        is_due = self._m.validation is not None and (step % self._validate_every == 0 or is_last)
        if is_due:
            self._validate()
        waited = (time.monotonic() - saved_at) / 60
        is_time = self._m.group.shared(self._plan.checkpoint_minutes <= waited) if self._plan.checkpoint_minutes else False
        if is_due or is_last or is_time or self.progress.is_over:
            self._save()
            return time.monotonic()
        return saved_at

    def _validate(self) -> None:
        """Measure the averaged weights, keep the best, and end the run where they no longer get better."""
        store = self._m.validation
        if store is None:
            return
        progress, group = self.progress, self._m.group
        with self._as_used():
            vectors = embedded(self._prepared, store, device=self._m.device, bf16=self._is_bf16, group=group)
            found = validated(vectors, store) if group.is_first else None
            figure = group.shared(None if found is None else found.figure)
            is_better = progress.best is None or figure > progress.best + SAME_FIGURE
            if is_better and group.is_first:
                save_network(self.network, self._m.folder.best)
        progress.best, progress.best_step = (figure, progress.step) if is_better else (progress.best, progress.best_step)
        progress.stale = 0 if is_better else progress.stale + 1
        progress.is_over = self._is_stale()
        if found is None:
            return
        self._m.folder.note("validation", progress.step, **found.as_dict())
        for fmr, tar in found.tar:
            self._m.scalars(f"tar_at_fmr_{fmr:g}", tar, progress.step)
        self._m.tell(f"step {progress.step}: {found}" + (", the best so far" if is_better else ""))
        if progress.is_over:
            self._m.tell(
                f"no better figure in {progress.stale} validations: the run ends here, the best was step {progress.best_step}"
            )

    def validate_start(self) -> None:
        """Measure the network that the run begins with, as it is: what is made of it should be better."""
        store, group = self._m.validation, self._m.group
        if store is None:
            return
        vectors = embedded(self._prepared, store, device=self._m.device, bf16=self._is_bf16, group=group)
        found = validated(vectors, store) if group.is_first else None
        self.progress.begun = group.shared(None if found is None else found.figure)
        if found is not None:
            self._m.folder.note("validation", 0, **found.as_dict())
            self._m.tell(f"begun with: {found}")

    def save_average(self) -> None:
        """Write the averaged weights as the run's network; of several processes all must call, and the first writes."""
        with self._as_used():
            if self._m.group.is_first:
                save_network(self.network, self._m.folder.best)

    @contextmanager
    def _as_used(self) -> Iterator[None]:
        """Let the network have the averaged weights, and norms that fit them, for a while."""
        loader = self._m.make_loader(range(0))
        batches = (torch.from_numpy(loader.make(step).pixels).to(self._m.device) for step in range(NORM_BATCHES))
        with self.average.applied(self.network), fresh_statistics(self.network, self._prepared, batches, self._m.group):
            yield

    def _save(self) -> None:
        if self._m.group.is_first:
            try:
                write_checkpoint(self._m.folder.checkpoints, self.checkpoint(), write=self._m.write)
            except FileWriteError:
                self._m.tell("the checkpoint could not be written")
                raise
