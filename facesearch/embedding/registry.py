"""Embedders by name: those of the package, and those of the models folder.

An embedder of the package is three files of one stem: ``<stem>.json`` (card for programs), ``<stem>.safetensors`` (weights) and
``<stem>.md`` (card for people); such files may also lie in the models folder. What ``models add`` put there is a folder of its
name with ``card.json``, the file under its digest and, once measured, ``figures.json``. It loads no network: see ``embedder``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from facesearch.core.errors import CheckpointFormatError, CheckpointNotFoundError, ModelError, UnknownEmbedderError
from facesearch.embedding.card import EmbedderCard, Figures
from facesearch.embedding.card_file import ARCFACE_112, NAME, card_errors, parse_figures, read_card
from facesearch.embedding.exported import exported_card, is_path
from facesearch.embedding.recipes import recipe_names, recipe_of

__all__ = ["ARCFACE_112", "SHIPPED_MODELS", "EmbedderCard", "Figures", "added_card", "available", "card", "read_card"]

SHIPPED_MODELS = Path(__file__).resolve().parents[1] / "models"
"""The folder of weights that comes with the package."""

CARD_FILE = "card.json"
FIGURES_FILE = "figures.json"


OnDamaged = Callable[[ModelError], None]
"""Told of a card that cannot be read."""


def available(models_folder: Path | None = None, on_damaged: OnDamaged | None = None) -> tuple[EmbedderCard, ...]:
    """Return the embedders that are installed, by name, the newest of a name first.

    Args:
        models_folder: A folder to look in besides the package's own.
        on_damaged: Told of each added model whose card is malformed, which is left out then; None raises the first.

    Raises:
        CheckpointNotFoundError: ``models_folder`` is no folder.
        CheckpointFormatError: A card is malformed; names the file.
    """
    found = _package_form(models_folder)
    if models_folder is not None:
        # What is being added or taken away lies in folders whose names begin with a dot.
        for path in sorted(Path(models_folder).glob(f"[!.]*/{CARD_FILE}")):
            try:
                found.append(added_card(path.parent))
            except CheckpointFormatError as exc:
                if on_damaged is None:
                    raise
                on_damaged(exc)
    return tuple(_ordered(found))


def _package_form(models_folder: Path | None) -> list[EmbedderCard]:
    """Return the embedders that lie as the package's own do, there and in the models folder."""
    found = list(map(read_card, sorted(SHIPPED_MODELS.glob("*.json"))))
    if models_folder is not None:
        folder = Path(models_folder)
        if not folder.is_dir():
            raise CheckpointNotFoundError(f"there is no folder of models {models_folder}", path=str(models_folder))
        found += map(read_card, sorted(folder.glob("*.json")))
    return _ordered(found)


def _ordered(found: Iterable[EmbedderCard]) -> list[EmbedderCard]:
    """Return embedders by name, the newest first; the last of several of one id."""
    cards = {one.embedder_id(): one for one in found}
    return sorted(cards.values(), key=lambda one: (one.name, -one.version, one.sha256))


def card(name: str, models_folder: Path | None = None) -> EmbedderCard:
    """Return the newest embedder of a name, or the very one of an embedder id.

    Args:
        name: ``mobilenet-128``, or ``mobilenet-128@<12 hex digits>`` for one digest; or the path of a file that ``train export``
            wrote, its card beside it (``….safetensors``).
        models_folder: A folder to look in besides the package's own.

    Raises:
        UnknownEmbedderError: There is none; lists those there are.
        CheckpointNotFoundError: A path was named, and the file or its card is absent.
        CheckpointFormatError: A card is malformed.
    """
    if is_path(name):
        return exported_card(Path(name))
    # A model's own folder is enough: a damaged neighbour is its own matter.
    own = None if models_folder is None else Path(models_folder) / name.partition("@")[0]
    if own is not None and NAME.fullmatch(own.name) and (own / CARD_FILE).is_file():
        found = added_card(own)
        if name in (found.name, found.embedder_id()):
            return found
    cards = _package_form(models_folder)
    for found in cards:
        if name in (found.name, found.embedder_id()):
            return found
    known = ", ".join(found.embedder_id() for found in available(models_folder, lambda _: None)) or "none"
    hint = f"; there is a recipe for it: facesearch models fetch {name}, or models add FILE" if name in recipe_names() else ""
    raise UnknownEmbedderError(f"there is no embedder {name!r}; installed: {known}{hint}", name=name)


def added_card(folder: Path) -> EmbedderCard:
    """Return the embedder of a folder that ``models add`` made, with what was measured here, else what its recipe ships.

    Raises:
        CheckpointFormatError: A file of it is malformed; names the file.
    """
    try:
        found = read_card(folder / CARD_FILE)
    except CheckpointFormatError as exc:
        advice = f"take the model away (facesearch models remove {folder.name}) and add it again"
        raise CheckpointFormatError(f"{exc.message}: {advice}", **exc.context) from exc
    path = folder / FIGURES_FILE
    digest = found.id_digest
    if path.is_file():
        with card_errors(path):
            return dataclasses.replace(found, figures=parse_figures(json.loads(path.read_text("utf-8")), found.name, digest))
    recipe = recipe_of(found.origin.recipe, found.sha256)
    if recipe is None:
        return found
    return dataclasses.replace(found, figures=parse_figures(recipe.figures, found.name, digest))
