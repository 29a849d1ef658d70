"""A run's network as an embedder: safetensors with a card beside it, and the operating points that decisions are made at.

It trains nothing and adds nothing to the models folder: ``models add`` takes the file, ``--embedder PATH`` uses it where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facesearch.core.arrays import Vectors
from facesearch.core.errors import CheckpointNotFoundError, FileWriteError, InputError
from facesearch.embedding.adding import OPEN_LICENCES, name_of
from facesearch.embedding.architecture import Architecture
from facesearch.embedding.card import EmbedderCard, Origin
from facesearch.embedding.card_file import written_card
from facesearch.embedding.embedding_network import EmbeddingNetwork, build_network
from facesearch.embedding.prepared import Prepared
from facesearch.embedding.registry import available
from facesearch.embedding.weights import FIGURES_KEY, LICENCE_KEY, SOURCE_KEY, load_weights, read_architecture, save_network
from facesearch.evaluation.all_pairs import REPORTED_FMRS, all_pairs
from facesearch.training.crop_store import CropStore
from facesearch.training.plan import TrainingPlan
from facesearch.training.run_facts import data_facts, require_same
from facesearch.training.run_folder import CHANGE, RunFolder
from facesearch.training.session import in_both, open_data
from facesearch.training.starting import require_crops
from facesearch.training.validation import embedded, of_list, require_pairs


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """What was written.

    Attributes:
        card: The embedder.
        card_path: Its card.
        figures: What was measured, as ``models add`` reads it; empty where nothing was.
        unsupported: FMRs that the comparisons do not reach, with why.
        warning: That thresholds were set on photographs trained on, or who of a list has no crop; empty where neither is so.
    """

    card: EmbedderCard
    card_path: Path
    figures: Mapping[str, Any]
    unsupported: tuple[tuple[float, str], ...]
    warning: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the result as plain values."""
        return {
            "embedder_id": self.card.embedder_id(),
            "weights": str(self.card.weights_path),
            "n_bytes": self.card.weights_path.stat().st_size,
            "card": str(self.card_path),
            "figures": dict(self.figures),
            "unsupported": [{"fmr": fmr, "why": why} for fmr, why in self.unsupported],
            "warning": self.warning,
        }


def export_run(
    folder: Path, output: Path, *, name: str | None = None, calibrate: Path | None = None, people: Path | None = None
) -> Exported:
    """Write a run's best network as an embedder.

    Its operating points are set on the crops that the run was validated on, or on a store of their own; the card says which. Points
    set on the people that chose the network are on the bright side.

    Args:
        folder: Of the run.
        output: The file of weights, ``….safetensors``; the card lies beside it as ``….json``. Both are replaced.
        name: What the embedder is called; the file's name where not said.
        calibrate: A store of crops to set the operating points on.
        people: List of the people of that store.

    Raises:
        CheckpointNotFoundError: There is no run, or it has no network yet.
        ModelDescriptionError: The name has another form.
        InputError: The file has another suffix, facesearch's own embedder has the name, or the crops for the points are of too few
            people.
        TrainingPlanError: They are aligned otherwise than the network wants.
        FileWriteError: It cannot be written.
    """
    run = RunFolder(folder)
    plan, facts = run.read()
    if output.suffix != ".safetensors":
        raise InputError(f"weights are written as .safetensors, not {output.name!r}", path=str(output))
    chosen = name_of(name if name is not None else output.stem.lower())
    if chosen in {one.name for one in available()}:
        raise InputError(f"{chosen} is an embedder of facesearch itself: choose another name (--name)", name=chosen)
    network = load_best(run)
    store, measured_on, absent = _calibration_store(run, calibrate, people)
    warning = ""
    if store is not None:
        warning = "; ".join(one for one in (absent, _seen_in_training(plan, store)) if one)
        measured_on += f"; {warning}" if warning else ""
        require_crops(network.architecture.alignment, store.alignment, f"the network of {folder.name}")
    figures: dict[str, Any] = {}
    unsupported: tuple[tuple[float, str], ...] = ()
    if store is not None:
        prepared = Prepared(network, network.architecture.preparation)
        vectors = embedded(prepared, store, device="cpu", bf16=False)
        figures, unsupported = operating_points(vectors, store, measured_on)
    source = _source(plan, facts)
    licence = licence_of(plan.data_licence, str(facts.get("start_licence", "")), facts.get("teacher_licences", ()))
    texts = {LICENCE_KEY: licence, SOURCE_KEY: source}
    if figures:
        texts[FIGURES_KEY] = json.dumps(figures, allow_nan=False)
    digest = save_network(network, output, metadata=texts)
    card = _card(chosen, digest, network.architecture, output, Origin(licence, source=source, added_at=_now()))
    fields = {**json.loads(written_card(card)), "figures": figures, "training": _training(run, plan, facts)}
    card_path = output.with_suffix(".json")
    try:
        card_path.write_text(json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as exc:
        raise FileWriteError(f"the card {card_path} cannot be written: {exc.strerror or exc}", path=str(card_path)) from exc
    return Exported(card, card_path, figures, unsupported, warning)


def load_best(run: RunFolder) -> EmbeddingNetwork:
    """Return a run's best network.

    Raises:
        CheckpointNotFoundError: There is none yet.
        CheckpointFormatError: It is damaged.
    """
    architecture = read_architecture(run.best) if run.best.is_file() else None
    if architecture is None:
        raise CheckpointNotFoundError(
            f"{run.path} has no network yet: it appears with the first validation, or at the end of the run", path=str(run.best)
        )
    network = build_network(architecture)
    load_weights(network, run.best)
    network.eval()
    return network


def licence_of(data_licence: str, start_licence: str, teacher_licences: Sequence[str] = ()) -> str:
    """Return the licence of weights that were trained on photographs of one licence, from weights of another (empty: from none).

    What is not open stays: neither fine-tuning nor open photographs free weights of their terms, and whether terms of teachers
    bind what learned from them is not for a program to decide.
    """
    bound = [one for one in (data_licence, start_licence, *teacher_licences) if one and one.lower() not in OPEN_LICENCES]
    return "; ".join(dict.fromkeys(bound)) or start_licence or data_licence


def _calibration_store(run: RunFolder, calibrate: Path | None, people: Path | None) -> tuple[CropStore | None, str, str | None]:
    """Return the crops to set operating points on, what they are in words, and who of a list has none."""
    if calibrate is None:
        if people is not None:
            raise InputError("the list of people chooses from the store of --calibrate: name that too", path=str(people))
        plan, facts = run.read()
        data = open_data(plan)
        require_same(facts, data_facts(data.training, data.validation), run=run.path.name)
        return data.validation, "the people that the run was validated on, who chose the network among its checkpoints", data.absent
    store = CropStore.open(calibrate)
    told, absent = f"store {calibrate.name}", None
    if people is not None:
        store, absent = of_list(store, people)
        told += f", people of {people.name}"
    require_pairs(store, "name crops of other people (--calibrate, --people)")
    return store, told, absent


def _seen_in_training(plan: TrainingPlan, store: CropStore) -> str:
    """Return a warning where photographs that thresholds are set on were trained on; nothing where the crops are gone meanwhile."""
    try:
        n_photographs, n_people = in_both(open_data(plan).training, store)
    except InputError:  # they are gone, or other ones, meanwhile
        return ""
    if not n_photographs:
        return ""
    return (
        f"{n_photographs} of these photographs, of {n_people} people, were trained on: strangers score higher, and more of them "
        "match than the points say"
    )


def operating_points(vectors: Vectors, store: CropStore, measured_on: str) -> tuple[dict[str, Any], tuple[tuple[float, str], ...]]:
    """Return thresholds for each FMR that all pairs of a store support, every person weighing the same, and those not supported.

    Args:
        vectors: Of the store's crops, unit, ``(N, dim)``.
        store: Who is on them.
        measured_on: What it is in words.
    """
    pairs = all_pairs(vectors, store.labels, n_worst=0)
    points = pairs.at_fmrs(REPORTED_FMRS)
    kept = [point for point in points if point.is_supported and point.threshold <= 1.0]
    left = tuple((float(point.fmr or 0.0), str(point.answer)) for point in points if point not in kept)
    if not kept:
        return {}, left
    figures = {
        "operating_points": [
            {
                "fmr": point.fmr,
                "threshold": point.threshold,
                "n_non_mated": point.evidence.n_comparisons,
                "n_people": pairs.n_people,
                "n_people_pairs": pairs.n_person_pairs,
                "tar": round(point.tar.value, 6),
                "n_mated": pairs.mated.total,
                "n_mated_people": pairs.n_mated_people,
            }
            for point in kept
        ],
        "measured_on": f"{pairs.n_photographs} photographs of {pairs.n_people} people: {measured_on}",
        "is_in_sample": True,
    }
    return {"single": figures}, left


def _card(name: str, digest: str, architecture: Architecture, file: Path, origin: Origin) -> EmbedderCard:
    return EmbedderCard(
        name=name,
        version=1,
        sha256=digest,
        dim=architecture.dim,
        alignment=architecture.alignment,
        preparation=architecture.preparation,
        weights_path=file,
        backbone=architecture.backbone,
        origin=origin,
        id_digest=digest,
        architecture=architecture,
    )


def _source(plan: TrainingPlan, facts: Mapping[str, Any]) -> str:
    teachers = f", distilled from {', '.join(Path(one).name for one in plan.teachers)}" if plan.teachers else ""
    return f"trained from {facts['start']} on {facts['n_crops']} crops of {facts['n_people']} people by {plan.loss}{teachers}"


def _training(run: RunFolder, plan: TrainingPlan, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card says of the training: data, licence, protocol, figures."""
    lines = run.lines()
    validations = [line for line in lines if line["kind"] == "validation"]
    changes = [{"step": line["step"], "plan": line["plan"]} for line in lines if line["kind"] == CHANGE]
    return {
        "data": {name: facts[name] for name in ("crops_digest", "n_crops", "n_people")},
        "data_licence": plan.data_licence,
        "start": facts["start"],
        "start_sha256": facts["start_sha256"],
        "start_licence": facts.get("start_licence", ""),
        "teacher_licences": facts.get("teacher_licences", []),
        "plan": plan.told(),
        "plan_changes": changes,
        "protocol": "TAR at fixed FMR over all pairs of people held out, every person weighing the same, averaged weights",
        "validations": validations,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
