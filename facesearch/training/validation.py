"""How good a network is on people it was not trained on: TAR at fixed FMRs over all pairs, every person weighing the same.

It chooses nothing: early stopping is ``trainer``'s. Crops are embedded once each, without augmentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facesearch.core.arrays import Vectors, normalised
from facesearch.core.errors import InputError, ModelError, TemplateFormatError
from facesearch.evaluation.all_pairs import AllPairs, all_pairs
from facesearch.evaluation.lfw import read_people
from facesearch.training.crop_store import CropStore
from facesearch.training.distributed import ALONE, Group

FMRS = (1e-2, 1e-3, 1e-4)
"""False match rates reported."""

BATCH = 128
MIN_FALSE_PAIRS = 10
"""Pairs of people that an FMR must allow to match: with fewer the figure is a matter of luck."""


@dataclass(frozen=True, slots=True)
class Validated:
    """The figures of a network.

    Attributes:
        tar: ``(FMR, TAR)`` in falling order of FMR, rates in [0, 1]. The highest of ``FMRS`` is always there, however few the
            people; lower ones that they do not support (see ``MIN_FALSE_PAIRS``) are left out.
        n_people: People compared.
        n_mated_people: Those with two or more crops.
        n_crops: Crops compared.
    """

    tar: tuple[tuple[float, float], ...]
    n_people: int
    n_mated_people: int
    n_crops: int

    @property
    def figure(self) -> float:
        """What networks are chosen by: TAR at the lowest FMR there is."""
        return self.tar[-1][1]

    @property
    def figure_fmr(self) -> float:
        """The FMR of ``figure``."""
        return self.tar[-1][0]

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values."""
        return {
            "tar": [{"fmr": fmr, "tar": tar} for fmr, tar in self.tar],
            "n_people": self.n_people,
            "n_mated_people": self.n_mated_people,
            "n_crops": self.n_crops,
        }

    def __str__(self) -> str:
        """Return the rates with their counts."""
        told = ", ".join(f"TAR {100 * tar:.2f} % at FMR {fmr:g}" for fmr, tar in self.tar)
        return f"{told} ({self.n_mated_people} people with two or more of {self.n_people}, {self.n_crops} crops)"


def embedded(network: nn.Module, store: CropStore, *, device: str, bf16: bool, batch: int = BATCH, group: Group = ALONE) -> Vectors:
    """Return the unit vectors of every crop of a store, float32 ``(N, dim)``.

    Of several processes each embeds some of the batches, and all of them have the whole, the same to the bit as one would have it.

    Args:
        network: Takes crops, uint8 ``(B, S, S, 3)``; left in the mode it was in.
        store: The crops.
        device: Where the network is.
        bf16: Whether it is computed in bfloat16.
        batch: Crops at once.
        group: Processes that share the work; all of them must call.

    Raises:
        ModelError: The network returned a vector without a direction (zero or NaN).
        CropStoreError: A crop is damaged.
    """
    was_training = network.training
    network.eval()
    parts = []
    starts = range(0, len(store), batch)
    mine = group.share(len(starts))
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        for start in starts[mine.start : mine.stop]:
            pixels = torch.from_numpy(store.crops(np.arange(start, min(start + batch, len(store))))).to(device)
            parts.append(network(pixels).float().cpu().numpy())
    network.train(was_training)
    vectors = group.gathered(np.concatenate(parts) if parts else None)
    try:
        return normalised(vectors)
    except TemplateFormatError as exc:
        raise ModelError("the network returned a vector that is zero or not finite for a crop it is validated on") from exc


def validated(vectors: Vectors, store: CropStore) -> Validated:
    """Return the figures of vectors of a store's crops.

    Raises:
        InputError: There are no pairs of one kind.
    """
    pairs = all_pairs(vectors, store.labels, n_worst=0)
    return Validated(_rates(pairs), pairs.n_people, pairs.n_mated_people, pairs.n_photographs)


def _rates(pairs: AllPairs) -> tuple[tuple[float, float], ...]:
    supported = [fmr for fmr in FMRS if fmr * pairs.n_person_pairs >= MIN_FALSE_PAIRS] or [FMRS[0]]
    return tuple((fmr, pairs.at_fmr(fmr).tar.value) for fmr in supported)


def require_pairs(store: CropStore, otherwise: str) -> None:
    """Raise unless people of a store can be compared.

    Args:
        store: The crops.
        otherwise: What to do, for the message.

    Raises:
        InputError: There are fewer than two people, or nobody has two crops.
    """
    n_mated = int((store.counts >= 2).sum())
    if len(store.people) < 2 or n_mated == 0:
        raise InputError(
            f"comparing needs two people, and two crops of one of them: there are {len(store.people)} people, {n_mated} with two "
            f"or more crops; {otherwise}"
        )


def split_people(store: CropStore, held_out: float, seed: int) -> tuple[CropStore, CropStore | None]:
    """Return the crops to train on and those of the people held out, drawn by their names' order and the seed.

    Returns:
        Both; None where nobody is to be held out. Of so few people that the share is nobody, the second is empty.
    """
    if held_out == 0.0:
        return store, None
    n_people = len(store.people)
    n_held = round(held_out * n_people)
    is_held = np.zeros(n_people, dtype=np.bool_)
    is_held[np.random.default_rng((seed, 0x5EED)).permutation(n_people)[:n_held]] = True
    return store.subset(~is_held[store.labels]), store.subset(is_held[store.labels])


_NAME_AND_COUNT = re.compile(r"\S+\s+\d+")


def of_list(store: CropStore, path: Path) -> tuple[CropStore, str | None]:
    """Return the crops of the people of a list, and who of them has none, in words (None where everybody has).

    Raises:
        InputError: The list cannot be read, or nobody of it has a crop.
    """
    names = set(read_names(path))
    found = store.of_people(sorted(names))
    n_absent = len(names) - len(found.people)
    if not len(found):
        raise InputError(f"{store.folder} has no crop of anybody in {path}, {n_absent} people", path=str(path))
    told = f"{n_absent} of the {len(names)} people of {path.name} have no crop in {store.folder.name}"
    return found, told if n_absent else None


def read_names(path: Path) -> list[str]:
    """Return the people of a text file: LFW's form (a count first, then ``name<TAB>count``), or a name a line.

    Raises:
        InputError: It cannot be read or names nobody.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"the list of people {path} cannot be read: {exc}", path=str(path)) from exc
    # LFW's lists, with blanks for tabs in some copies; elsewhere a name may be a number.
    if lines and lines[0].isdigit() and any(_NAME_AND_COUNT.fullmatch(line) for line in lines):
        return [person.name for person in read_people(path)]
    if not lines:
        raise InputError(f"the list of people {path} names nobody", path=str(path))
    return lines
