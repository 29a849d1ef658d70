"""What was measured of one added model, kept beside it; the other way of embedding keeps what it had.

It measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from facesearch.core.errors import InputError
from facesearch.embedding.card_file import card_errors
from facesearch.embedding.library import ModelLibrary
from facesearch.embedding.registry import CARD_FILE, FIGURES_FILE


class KeptFigures:
    """The figures of one model.

    Args:
        library: The models.
        name: The model's name or embedder id.
        is_flipped: Whether they are of flip-averaged vectors.
    """

    def __init__(self, library: ModelLibrary, name: str, *, is_flipped: bool) -> None:
        self._library = library
        self._name = name
        self._way = "flip" if is_flipped else "single"

    def check(self) -> None:
        """Raise unless figures could be kept: before minutes of work, not after.

        Raises:
            InputError: The model comes with the package, and its thresholds with it.
            UnknownEmbedderError: There is none of this name.
        """
        found = self._library.card(self._name)
        if not (self._library.folder / found.name / CARD_FILE).is_file():
            raise InputError(
                f"{found.name} comes with the package, and its thresholds with it: keep your own in a database with "
                "facesearch evaluate folder DIR --save NAME, and decide at them with --operating-point",
                embedder=found.name,
            )

    def keep(self, figures: Mapping[str, Any]) -> None:
        """Keep what was measured, in one step; what was measured of the same way of embedding before is replaced.

        Raises:
            UnknownEmbedderError: The model was removed meanwhile.
            FileWriteError: The models folder cannot be written; what was there stays.
            CheckpointFormatError: What was kept before is malformed; names the file.
        """
        path = self._library.folder / self._library.card(self._name).name / FIGURES_FILE
        before: dict[str, Any] = {}
        if path.is_file():
            with card_errors(path):
                before = dict(json.loads(path.read_text(encoding="utf-8")))
        self._library.write_figures(self._name, {**before, self._way: dict(figures)})
