"""Everything that a run of training is told, as one value: from a TOML file, from options, from a checkpoint.

It checks each value by itself and those that contradict each other; whether data and weights fit shows when the run begins.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from facesearch.core.errors import TrainingPlanError
from facesearch.embedding.architecture import POOLINGS
from facesearch.embedding.backbones import TRAINABLE
from facesearch.training.samplers import Few

Loss = Literal["triplet", "contrastive", "arcface", "cosface", "distillation"]
MinerName = Literal["all", "semi-hard", "hard", "distance-weighted"]
SamplerName = Literal["people", "pairs", "turn"]
Schedule = Literal["cosine", "step", "constant"]

_PATHS = ("crops", "cleaned", "validation", "validation_people")
_NAMES_OR_PATHS = ("start", "teachers")
_OWN_SAMPLER: dict[str, SamplerName] = {"triplet": "people", "contrastive": "pairs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What is trained, on what, and how.

    Paths are relative to the current directory; those in a plan's file are made so by ``read_plan``.

    Attributes:
        crops: Store of crops to train on.
        cleaned: List that ``train clean`` wrote for it.
        validation: Store of other people to validate on; None to hold people of ``crops`` out.
        validation_people: Text file with the people of the validation store to be used, one a line (or LFW's list of people).
        held_out: Share of people of ``crops`` that are held out, where ``validation`` names no store.
        start: Embedder (name or id), or file of weights, to begin with; None for random weights.
        backbone: Of the network; that of ``start`` where not said.
        dim: Length of the vectors.
        pooling: Head over the layer.
        layer: Stage that is pooled; None for the last.
        width: Share of a ``mobilenet``'s channels.
        has_norms: Batch norms in a ``mobilenet``; None for yes where it begins from random weights.
        loss: What is learned from; ``distillation`` from teachers alone.
        miner: Which triplets.
        margin: In squared distance (triplet, contrastive), radians (ArcFace) or cosine (CosFace).
        scale: Of margin softmax.
        class_share: Share of the people that a step of margin softmax looks at.
        teachers: Embedders to distil from, beside the loss or alone.
        teacher_weight: Of the distance to the teachers' vectors.
        similarity_weight: Of the distance to the teachers' similarities among the batch.
        sampler: How batches are drawn; None for the loss' own: people for triplets, pairs for contrastive, else turn.
        people_per_batch: P.
        photographs_per_person: K.
        batch_size: Crops a batch with ``turn``; twice the pairs with ``pairs``.
        few: What becomes of people with fewer than K photographs.
        singles: Whether people with one photograph take part in P×K batches.
        freeze_until: Last stage that stays as it is; ``"all"`` to train the head alone.
        freeze_slopes: Whether PReLU slopes stay as they are: their gradients are dear on a processor.
        stage_decay: Factor of the rate from each stage to the one before it, in (0, 1]: earlier stages move less.
        head_rate: Factor of the rate of a margin softmax' class vectors.
        augmentation: How far crops are changed.
        epochs: Rounds through the sampler's people or crops.
        steps: Batches instead of ``epochs``.
        rate: Highest learning rate.
        warmup: Share of the steps in which the rate rises.
        schedule: How it falls: ``cosine`` to 1 %, ``step`` by 10 at 60 % and 85 %, or not at all.
        optimiser: AdamW, or SGD with Nesterov momentum 0.9.
        weight_decay: Of matrices and kernels; biases, norms and slopes have none.
        clip: Largest norm of the gradient.
        ema: Decay of the moving average of the weights, which is what is validated and exported; 0 for none.
        precision: Arithmetic of the network; the loss and the optimiser are in float32 either way.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<n>`` for one of several GPUs, or ``mps``.
        threads: Of the processor; None leaves it to torch.
        seed: Of everything random.
        validate_every: Epochs between validations; parts of one are allowed.
        patience: Validations without a better figure after which the run ends; 0 for never.
        checkpoint_minutes: Between checkpoints, besides one at every validation.
        note: Written into report and model card.
        data_licence: Licence of the photographs, for the model card.
    """

    crops: str
    cleaned: str | None = None
    validation: str | None = None
    validation_people: str | None = None
    held_out: float = 0.1
    start: str | None = None
    backbone: str | None = None
    dim: int | None = None
    pooling: str | None = None
    layer: str | None = None
    width: float | None = None
    has_norms: bool | None = None
    loss: Loss = "triplet"
    miner: MinerName = "semi-hard"
    margin: float | None = None
    scale: float = 32.0
    class_share: float = 1.0
    teachers: tuple[str, ...] = ()
    teacher_weight: float = 1.0
    similarity_weight: float = 1.0
    sampler: SamplerName | None = None
    people_per_batch: int = 32
    photographs_per_person: int = 4
    batch_size: int = 128
    few: Few = "repeat"
    singles: bool = False
    freeze_until: str | None = None
    freeze_slopes: bool = True
    stage_decay: float = 1.0
    head_rate: float = 10.0
    augmentation: Literal["none", "light", "standard", "strong"] = "standard"
    epochs: float = 20.0
    steps: int | None = None
    rate: float = 1e-3
    warmup: float = 0.05
    schedule: Schedule = "cosine"
    optimiser: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 5e-4
    clip: float = 5.0
    ema: float = 0.998
    precision: Literal["bf16", "f32"] = "bf16"
    device: str = "auto"
    threads: int | None = None
    seed: int = 0
    validate_every: float = 1.0
    patience: int = 0
    checkpoint_minutes: float = 10.0
    note: str = ""
    data_licence: str = "not stated"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            TrainingPlanError: One is out of range, or two contradict each other.
        """
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not (low <= value <= high):
                raise TrainingPlanError(f"{name} lies in {low:g} … {high:g}, not {value}", field=name)
        for field, kind in typing.get_type_hints(type(self)).items():
            allowed = _choices(kind)
            value = getattr(self, field)
            if allowed and value not in allowed:
                raise TrainingPlanError(f"{field} is one of {', '.join(str(one) for one in allowed)}, not {value!r}", field=field)
        for name, value, known in (("backbone", self.backbone, TRAINABLE), ("pooling", self.pooling, POOLINGS)):
            if value is not None and value not in known:
                raise TrainingPlanError(f"{name} is one of {', '.join(known)}, not {value!r}", field=name)
        if not _DEVICE.fullmatch(self.device):
            raise TrainingPlanError(f"device is auto, cpu, cuda, cuda:<number> or mps, not {self.device!r}", field="device")
        if self.loss == "distillation" and not self.teachers:
            raise TrainingPlanError('distillation needs at least one teacher: teachers = ["mobilenet-128"]', field="teachers")
        if self.loss == "triplet" and self.drawn_by != "people":
            raise TrainingPlanError(
                f"triplets need several photographs of a person in a batch: sampler people, not {self.drawn_by}", field="sampler"
            )
        if self.loss == "contrastive" and self.drawn_by == "turn":
            raise TrainingPlanError("pairs of one person hardly meet by chance: sampler pairs or people, not turn", field="sampler")
        if self.freeze_until is not None and self.start is None:
            raise TrainingPlanError("freezing random weights teaches nothing: say start, or leave freeze_until out", field="start")
        self._check_idle()

    def _check_idle(self) -> None:
        """Raise where something is said that would do nothing: a run of hours would show it too late."""
        if self.miner != "semi-hard" and self.loss != "triplet":
            raise TrainingPlanError(
                f"a miner chooses triplets, loss {self.loss} has none: leave miner {self.miner} out", field="miner"
            )
        if self.teachers and self.teacher_weight == self.similarity_weight == 0.0:
            raise TrainingPlanError(
                "teachers of weight 0 teach nothing: raise teacher_weight or similarity_weight", field="teachers"
            )
        if self.validation_people is not None and self.validation is None:
            raise TrainingPlanError("validation_people are those of a store: say validation too", field="validation_people")
        if self.patience and self.validation is None and self.held_out == 0.0:
            raise TrainingPlanError(
                f"patience {self.patience} counts validations, and nobody is validated on: say validation, or raise held_out",
                field="patience",
            )

    @property
    def drawn_by(self) -> SamplerName:
        """The sampler."""
        return self.sampler or _OWN_SAMPLER.get(self.loss, "turn")

    @property
    def loss_margin(self) -> float:
        """The margin, or the usual one of the loss."""
        if self.margin is not None:
            return self.margin
        return {"triplet": 0.2, "contrastive": 1.0, "arcface": 0.4}.get(self.loss, 0.3)

    def with_whole_paths(self) -> TrainingPlan:
        """Return the plan with absolute paths: a run goes on and is exported from any folder."""

        def whole(name: str | None, *, is_surely: bool) -> str | None:
            return name if name is None or not (is_surely or Path(name).is_file()) else str(Path(name).absolute())

        paths = {name: whole(getattr(self, name), is_surely=name != "start") for name in (*_PATHS, "start")}
        teachers = tuple(str(whole(one, is_surely=False)) for one in self.teachers)
        return dataclasses.replace(self, teachers=teachers, **paths)  # type: ignore[arg-type]

    def told(self) -> dict[str, object]:
        """Return what is said otherwise than by default, names of files and folders without where they lay: for cards."""
        changed = self.changed()
        for name in changed.keys() & {*_PATHS, "start"}:
            changed[name] = Path(str(changed[name])).name
        if self.teachers:
            changed["teachers"] = [Path(one).name for one in self.teachers]
        return changed

    def as_dict(self) -> dict[str, object]:
        """Return the plan as plain values; ``parse_plan`` reads them back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    def changed(self) -> dict[str, object]:
        """Return what is said otherwise than by default."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in self.as_dict().items() if value != _plain(defaults[name])}


_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("held_out", 0.0, 0.9),
    ("dim", 2, 8192),
    ("width", 1e-3, 10.0),
    ("margin", 1e-6, 4.0),
    ("scale", 1e-3, 1e4),
    ("class_share", 1e-6, 1.0),
    ("teacher_weight", 0.0, 1e6),
    ("similarity_weight", 0.0, 1e6),
    ("people_per_batch", 2, 100_000),
    ("photographs_per_person", 2, 1000),
    ("batch_size", 2, 1_000_000),
    ("stage_decay", 1e-3, 1.0),
    ("head_rate", 1e-3, 1e4),
    ("epochs", 1e-6, 1e6),
    ("steps", 1, 1_000_000_000),
    ("rate", 1e-12, 100.0),
    ("warmup", 0.0, 0.9),
    ("weight_decay", 0.0, 10.0),
    ("clip", 1e-6, 1e12),
    ("ema", 0.0, 0.99999),
    ("threads", 1, 1024),
    ("seed", 0, 2**31 - 1),
    ("validate_every", 1e-3, 1e6),
    ("patience", 0, 1_000_000),
    ("checkpoint_minutes", 0.0, 1e6),
)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _choices(kind: Any) -> tuple[object, ...]:
    """Return the values that a type allows, None among them where it may be; empty where it is no choice."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    if typing.get_origin(kind) in (Union, types.UnionType):
        found = tuple(one for part in typing.get_args(kind) for one in _choices(part))
        return (*found, None) if found else ()
    return ()


def parse_plan(fields: Mapping[str, object], *, where: str) -> TrainingPlan:
    """Return a plan of plain values.

    Args:
        fields: By the names of ``TrainingPlan``.
        where: Where they come from, for messages.

    Raises:
        TrainingPlanError: A name is unknown, ``crops`` is missing, or a value has another form; names it.
    """
    kinds = typing.get_type_hints(TrainingPlan)
    unknown = fields.keys() - kinds.keys()
    if unknown:
        raise TrainingPlanError(f"{where} has unknown names {', '.join(sorted(unknown))}; known are {', '.join(sorted(kinds))}")
    if "crops" not in fields:
        raise TrainingPlanError(f"{where} does not say crops, the store to train on", field="crops")
    values: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            values[name] = _converted(value, kinds[name])
        except (TypeError, ValueError, OverflowError) as exc:
            raise TrainingPlanError(f"{where}: {name}: {exc}", field=name) from exc
    try:
        return TrainingPlan(**values)
    except TrainingPlanError as exc:
        raise TrainingPlanError(f"{where}: {exc.message}", **exc.context) from exc


def _converted(value: object, kind: Any) -> Any:
    """Return a plain value as a field's type has it."""
    parts = typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)
    if value is None and type(None) in parts:
        return None
    if any(typing.get_origin(part) is tuple for part in parts):
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise TypeError(f"a list of names is needed, not {value!r}")
        return tuple(value)
    for part, allowed in ((bool, bool), (int, int), (float, (int, float)), (str, str)):
        if part in parts:
            if not isinstance(value, allowed) or (part is not bool and isinstance(value, bool)):
                raise TypeError(f"a value of type {part.__name__} is needed, not {value!r}")
            return part(value)
    return value


def read_plan(path: Path, changes: Mapping[str, object]) -> TrainingPlan:
    """Return the plan of a TOML file with what options say otherwise.

    Args:
        path: The file; the paths in it are relative to its folder, so that it can be used from anywhere.
        changes: By the names of ``TrainingPlan``; paths among them are relative to the current directory.

    Raises:
        TrainingPlanError: The file cannot be read, is no TOML or says something unknown; names the file.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise TrainingPlanError(f"the plan {path} cannot be read: {exc}", path=str(path)) from exc
    _require_one_length(fields)
    return parse_plan(changed_fields(_seen_from(path.parent, fields), changes), where=f"the plan {path}")


def changed_fields(fields: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return a plan's values with others instead of some; a length in epochs replaces one in steps, which would count otherwise.

    Raises:
        TrainingPlanError: The changes say the length twice.
    """
    _require_one_length(changes)
    counts_epochs = changes.get("epochs") is not None and changes.get("steps") is None
    return {**fields, **({"steps": None} if counts_epochs else {}), **changes}


def _require_one_length(fields: Mapping[str, object]) -> None:
    if fields.get("steps") is not None and fields.get("epochs") is not None:
        raise TrainingPlanError("steps and epochs both say how long the run is: say one of them", field="steps")


def _seen_from(folder: Path, fields: Mapping[str, object]) -> dict[str, object]:
    """Return a file's values with its paths as the current directory sees them; values of another form are left for the parser."""

    def seen(value: object, *, is_surely: bool) -> object:
        if isinstance(value, list):
            return [seen(one, is_surely=is_surely) for one in value]
        # Names of embedders have neither dots nor slashes.
        is_path = isinstance(value, str) and (is_surely or "." in value or "/" in value or (folder / value).is_file())
        return str(folder / str(value)) if is_path else value

    found = dict(fields)
    for name in found.keys() & {*_PATHS, *_NAMES_OR_PATHS}:
        found[name] = seen(found[name], is_surely=name in _PATHS)
    return found
