"""Embedders that lie anywhere as a file of weights with its card beside it, as ``train export`` writes them: used by their path.

Adding one to the models folder is ``library``'s. It loads no network.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from facesearch.core.errors import CheckpointFormatError, CheckpointNotFoundError
from facesearch.embedding.card import EmbedderCard
from facesearch.embedding.card_file import card_errors, parse_figures, read_card

SUFFIXES = (".safetensors", ".json")
"""Of the weights and of the card: either may be named."""


def is_path(name: str) -> bool:
    """Return whether an embedder is named by a file and not by its name, which has no dot."""
    return name.endswith(SUFFIXES)


def exported_card(path: Path) -> EmbedderCard:
    """Return the embedder of a file of weights, or of its card.

    Raises:
        CheckpointNotFoundError: One of the two is absent.
        CheckpointFormatError: The card is malformed, or describes another file than the one beside it.
    """
    card_path, weights = path.with_suffix(".json"), path.with_suffix(".safetensors")
    if not card_path.is_file() and not weights.is_file():
        raise CheckpointNotFoundError(f"there is no file {path}", path=str(path))
    for file, what in ((card_path, "card"), (weights, "file of weights")):
        if not file.is_file():
            raise CheckpointNotFoundError(
                f"{path} has no {what} {file.name} beside it: train export writes both; a file of weights alone is added with "
                "facesearch models add",
                path=str(file),
            )
    found = read_card(card_path)
    if found.weights_path != weights:
        raise CheckpointFormatError(
            f"the model card {card_path} is of {found.weights_path.name}, not of {weights.name}", path=str(card_path)
        )
    with card_errors(card_path):
        figures = json.loads(card_path.read_text(encoding="utf-8")).get("figures") or {}
        return dataclasses.replace(found, figures=parse_figures(figures, found.name, found.id_digest), is_loose=True)
