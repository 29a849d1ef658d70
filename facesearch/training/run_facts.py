"""What a run began with, as it is written beside its plan: crops, people, start; and whether that is still so.

A run that goes on over other crops would be another run, and points set on people who were trained on would be too good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from facesearch.core.errors import TrainingPlanError
from facesearch.training.crop_store import CropStore
from facesearch.training.objective import Teacher
from facesearch.training.starting import Start

_DATA = {
    "crops_digest": "the crops",
    "rows_digest": "the crops trained on (the list of train clean, or the people held out)",
    "validation_digest": "the crops validated on",
}
_BEGINNING = {"start_sha256": "the weights that it began with", "teachers": "the teachers"}
PROCESSES = "n_processes"
"""How many processes train: triplets are mined within each one's part of a batch, so another number is another course."""

_TEXTS = ("start", "start_sha256", "sampler", "torch", "crops_digest")
_LATER_TEXTS = ("rows_digest", "validation_digest", "start_licence")
"""Runs of before do not say these."""

_COUNTS = ("n_crops", "n_people", "n_validation_crops", "n_validation_people")


def data_facts(training: CropStore, validation: CropStore | None) -> dict[str, object]:
    """Return what tells the crops of a run from others."""
    return {
        "crops_digest": training.digest,
        "rows_digest": rows_digest(training),
        "validation_digest": "" if validation is None else rows_digest(validation),
    }


def run_facts(
    training: CropStore,
    validation: CropStore | None,
    sampler: object,
    start: Start,
    teachers: Sequence[Teacher],
    *,
    n_processes: int = 1,
) -> dict[str, object]:
    """Return what is written beside the plan when a run begins."""
    return {
        "start": start.source,
        "start_sha256": start.digest,
        "start_licence": start.licence,
        "teachers": [one.name for one in teachers],
        "teacher_licences": [one.licence for one in teachers],
        "architecture": start.network.architecture.as_dict(),
        **data_facts(training, validation),
        "n_crops": len(training),
        "n_people": len(training.people),
        "sampler": str(sampler),
        "n_validation_crops": 0 if validation is None else len(validation),
        "n_validation_people": 0 if validation is None else len(validation.people),
        "torch": torch.__version__,
        PROCESSES: n_processes,
    }


def rows_digest(store: CropStore) -> str:
    """Return the SHA-256 (hex) over a store's files, and which of their crops it has under which names."""
    sha = hashlib.sha256(f"{store.digest}\n".encode())
    for place, label in zip(store.places.tolist(), store.labels.tolist(), strict=True):
        sha.update(f"{place} {store.people[label]}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def require_whole(facts: Mapping[str, Any]) -> None:
    """Raise where facts that were read are not those of ``run_facts``: a report and a card are made of them.

    Raises:
        ValueError: Names what is missing or of another kind.
    """
    wrong = [name for name in _TEXTS if not isinstance(facts.get(name), str)]
    wrong += [name for name in _LATER_TEXTS if not isinstance(facts.get(name, ""), str)]
    wrong += [name for name in _COUNTS if type(facts.get(name)) is not int]
    wrong += [PROCESSES] if type(facts.get(PROCESSES, 1)) is not int else []
    architecture = facts.get("architecture")
    if not isinstance(architecture, dict) or not isinstance(architecture.get("backbone"), str):
        wrong.append("architecture")
    for name in ("teachers", "teacher_licences"):
        values = facts.get(name, [])
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            wrong.append(name)
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: not there, or no such values")


def require_same(then: Mapping[str, Any], now: Mapping[str, object], *, run: str) -> None:
    """Raise where what a run began with has changed since.

    Args:
        then: The facts of the run's file.
        now: The same of now, or some of them.
        run: The run's name, for the message.

    Raises:
        TrainingPlanError: Names what is another.
    """
    told = [what for name, what in {**_DATA, **_BEGINNING}.items() if name in then and name in now and then[name] != now[name]]
    if told:
        raise TrainingPlanError(
            f"{'; '.join(told)}: not what run {run} began with. Put back what was there, or start another run", field="crops"
        )
