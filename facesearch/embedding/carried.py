"""Adding a file of weights that carries its architecture, as ``train export``, ``models compress`` and ``save_network`` write them.

Such a file needs nothing said but its name, and its licence where it does not carry that either. It runs no network.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from facesearch.core.errors import ModelDescriptionError
from facesearch.embedding.adding import Staged, name_of, origin_of
from facesearch.embedding.card import EmbedderCard
from facesearch.embedding.card_file import card_errors, parse_figures
from facesearch.embedding.description import Description, unsaid
from facesearch.embedding.model_file import format_of
from facesearch.embedding.weights import FIGURES_KEY, LICENCE_KEY, SOURCE_KEY, metadata_of, read_architecture

_SAYABLE = frozenset(("licence", "source", "dim", "format"))


def carried_card(
    stage: Staged, name: str | None, said: Description, *, recipe: str | None, accept_licence: bool
) -> EmbedderCard | None:
    """Return the card of a file that says itself what its network is and what it wants; None for other files.

    Raises:
        ModelFileError: It is no model at all.
        ModelDescriptionError: Something else is said of it, or its name or licence is said nowhere.
        ModelLicenceError: The licence is not open and was not accepted.
    """
    if recipe is not None or said.format not in (None, "safetensors") or format_of(stage.path) != "safetensors":
        return None
    carried = read_architecture(stage.path)
    if carried is None:
        return None
    contradicted = sorted(said.said().keys() - _SAYABLE)
    if contradicted:
        raise ModelDescriptionError(
            f"{stage.source.name} says itself what its network is and wants: leave out {', '.join(contradicted)}",
            field=contradicted[0],
        )
    texts = metadata_of(stage.path)
    licence, source = said.licence or texts.get(LICENCE_KEY), said.source or texts.get(SOURCE_KEY)
    missing = [option for option, value in (("--name", name), ("--licence", licence)) if value is None]
    if missing:
        raise unsaid(missing)
    whole = dataclasses.replace(said, licence=licence, source=source)
    return EmbedderCard(
        name=name_of(name),
        version=1,
        sha256=stage.sha256,
        dim=carried.dim,
        alignment=carried.alignment,
        preparation=carried.preparation,
        weights_path=stage.path,
        backbone=carried.backbone,
        origin=origin_of(whole, None, accept_licence=accept_licence, is_unaltered=False, file=stage.source.name),
        id_digest=stage.sha256,
        architecture=carried,
    )


def carried_figures(stage: Staged, card: EmbedderCard) -> dict[str, Any] | None:
    """Return what a file that carries its architecture says was measured of it; None where it says nothing.

    Raises:
        CheckpointFormatError: What it says cannot be read.
    """
    text = None if card.architecture is None else metadata_of(stage.path).get(FIGURES_KEY)
    if text is None:
        return None
    with card_errors(stage.source):
        figures: dict[str, Any] = json.loads(text)
        parse_figures(figures, card.name, card.id_digest)
    return figures
