"""What a run begins with: the network of a plan, its weights from an embedder, a file or chance, and the teachers.

It trains nothing and downloads nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from facesearch.core.errors import CheckpointFormatError, ModelDescriptionError, TrainingPlanError
from facesearch.core.face import Alignment
from facesearch.core.paths import is_folder
from facesearch.embedding.architecture import Architecture, default_architecture
from facesearch.embedding.card_file import NOT_STATED, WEIGHTS_ALONE
from facesearch.embedding.checkpoint import digest_of
from facesearch.embedding.embedding_network import EmbeddingNetwork, build_network
from facesearch.embedding.networks import build_network as module_of
from facesearch.embedding.registry import card
from facesearch.embedding.weights import LICENCE_KEY, load_weights, metadata_of, read_architecture
from facesearch.training.objective import Teacher
from facesearch.training.plan import TrainingPlan

if TYPE_CHECKING:
    from facesearch.embedding.card import EmbedderCard


CLASSIFIERS = ("resnet-18", "resnet-50", "mobilenet-v3-small", "mobilenet-v3-large")
"""Backbones whose published files end in a classifier of things: no head for faces."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A network to be trained.

    Attributes:
        network: With its weights, nothing frozen.
        source: Where they came from, in words.
        digest: SHA-256 of the file of weights; empty for random ones.
        licence: Of these weights; empty for random ones.
        is_whole: Whether the head is of that file too: the network can be used as it begins.
    """

    network: EmbeddingNetwork
    source: str
    digest: str
    licence: str = ""
    is_whole: bool = False


def start_of(plan: TrainingPlan, models_folder: Path | None, alignment: Alignment) -> Start:
    """Return the network that a plan begins with.

    Args:
        plan: Says which.
        models_folder: Where embedders are besides the package's own.
        alignment: Of the crops that it will be trained on.

    Raises:
        TrainingPlanError: The crops are not those that the network wants, or the start is a graph.
        ModelError: The weights are absent, damaged or of another architecture; the embedder is unknown.
    """
    torch.manual_seed(plan.seed)
    changes: dict[str, Any] = {
        name: getattr(plan, name) for name in ("dim", "pooling", "layer", "width", "has_norms") if getattr(plan, name) is not None
    }
    if plan.start is None:
        backbone = plan.backbone or "mobilenet"
        if backbone == "mobilenet":
            changes.setdefault("has_norms", True)  # without norms, random weights do not learn
        with _plan_errors():
            architecture = default_architecture(backbone, **changes)
            network = build_network(architecture)
        require_crops(architecture.alignment, alignment, f"backbone {backbone}")
        return Start(network, "random weights", "")
    file, base, licence, has_head = _file_and_architecture(plan, models_folder)
    if plan.backbone is not None and plan.backbone != base.backbone:
        raise CheckpointFormatError(
            f"{plan.start} is a checkpoint of another architecture: backbone {base.backbone}, the plan says {plan.backbone}",
            path=str(file),
        )
    require_crops(base.alignment, alignment, plan.start)
    with _plan_errors():
        architecture = dataclasses.replace(base, **changes)
        network = build_network(architecture)
    is_same_head = (architecture.dim, architecture.pooling, architecture.layer) == (base.dim, base.pooling, base.layer)
    is_whole = is_same_head and has_head
    load_weights(network, file, with_head=is_whole)
    new_head = "" if is_whole else ", with a new head of random weights"
    # Its name and not its path: the text travels in cards.
    return Start(network, f"{Path(plan.start).name} ({file.name}){new_head}", digest_of(file), licence, is_whole)


@contextmanager
def _plan_errors() -> Iterator[None]:
    """Turn what an architecture refuses into an error of the plan that asked for it."""
    try:
        yield
    except ModelDescriptionError as exc:
        raise TrainingPlanError(exc.message, **exc.context) from exc


def freeze_stages(network: EmbeddingNetwork, last: str | None) -> None:
    """Keep a network's stages up to one as they are.

    Args:
        network: To be trained.
        last: The last one that stays; None to train all.

    Raises:
        TrainingPlanError: There is no such stage.
    """
    with _plan_errors():
        network.freeze_until(last)


def _file_and_architecture(plan: TrainingPlan, models_folder: Path | None) -> tuple[Path, Architecture, str, bool]:
    """Return the file of a plan's start, the architecture it is of, its licence, and whether it has a head of that architecture."""
    start = plan.start or ""
    path = Path(start)
    if is_folder(path) and ("." in start or "/" in start):  # an embedder's name has neither, whatever folder is called so
        raise TrainingPlanError(f"start {start} is a folder: name an embedder, or a file of weights", field="start")
    if path.is_file():
        carried = read_architecture(path) if path.suffix == ".safetensors" else None
        if carried is None and plan.backbone is None:
            raise TrainingPlanError(f"{start} does not say its architecture: say backbone", field="backbone")
        if carried is not None:
            return path, carried, metadata_of(path).get(LICENCE_KEY, NOT_STATED), True
        return path, default_architecture(str(plan.backbone)), NOT_STATED, plan.backbone not in CLASSIFIERS
    found = card(start, models_folder)
    if found.format not in (*WEIGHTS_ALONE, "tensorflow"):
        raise TrainingPlanError(
            f"{found.name} is {found.format}, a graph and not weights: it can teach (teachers), but not be trained further",
            field="start",
        )
    found.verify_file()
    return found.weights_path, _architecture_of(found), found.licence, True


def _architecture_of(found: EmbedderCard) -> Architecture:
    if found.architecture is not None:
        return found.architecture
    backbone = found.backbone or "inception-resnet-v1"
    return default_architecture(backbone, dim=found.dim, alignment=found.alignment, preparation=found.preparation)


def require_crops(wanted: Alignment, there: Alignment, whose: str) -> None:
    """Raise unless crops are aligned as a network wants them.

    Args:
        wanted: By the network.
        there: Of the crops.
        whose: What the network is called.

    Raises:
        TrainingPlanError: They are not; names both.
    """
    if _crop_of(wanted) != _crop_of(there):
        raise TrainingPlanError(
            f"{whose} wants crops aligned as {wanted.name} ({wanted.crop_px} px), the store's are {there.name} "
            f"({there.crop_px} px): prepare the photographs with an embedder of the same alignment (train prepare --embedder NAME)",
            field="crops",
        )


def _crop_of(alignment: Alignment) -> tuple[object, ...]:
    points = None if alignment.points is None else alignment.points.tobytes()
    return alignment.crop_px, points, alignment.margin_px


def teachers_of(plan: TrainingPlan, models_folder: Path | None, alignment: Alignment, device: str) -> tuple[Teacher, ...]:
    """Return the teachers of a plan, on its device.

    Raises:
        TrainingPlanError: One wants other crops, or is a graph that torch cannot run.
        ModelError: One is unknown, absent or damaged.
    """
    found = []
    for name in plan.teachers:
        one = card(name, models_folder)
        require_crops(one.alignment, alignment, f"teacher {name}")
        if one.format not in WEIGHTS_ALONE and one.format != "torchscript":
            raise TrainingPlanError(
                f"teacher {name} is {one.format}: torch runs files of weights and TorchScript", field="teachers"
            )
        one.verify_file()
        network = module_of(one).to(device).eval().requires_grad_(False)
        found.append(Teacher(one.embedder_id(), network, one.dim, one.licence))
    return tuple(found)
