"""Error rates on a user's own photographs: a folder with a subfolder a person.

It enrolls nobody: see ``enroll_folder``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from facesearch.service.evaluate_people import EvaluationOptions, PeopleEvaluation, evaluate_people
from facesearch.service.evaluation_data import known_people
from facesearch.service.photograph_lists import read_folder
from facesearch.service.photographs import EmbeddedPhotographs, EmbedPhotographs, Progress


@dataclass(frozen=True, slots=True, eq=False)
class FolderEvaluation:
    """The outcome.

    Attributes:
        embedded: The photographs' templates and failures.
        people: All pairs, the open-set search and groups.
    """

    embedded: EmbeddedPhotographs
    people: PeopleEvaluation

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        return {**self.embedded.as_dict(), **self.people.as_dict()}


class EvaluateFolder:
    """Measures folders.

    Args:
        embed: Makes the templates.
    """

    def __init__(self, embed: EmbedPhotographs) -> None:
        self._embed = embed

    def __call__(
        self, folder: str | os.PathLike[str], *, options: EvaluationOptions, on_progress: Progress | None = None
    ) -> FolderEvaluation:
        """Measure ``<label>/<picture>``; a file that vanishes, or cannot be read, is a counted failure.

        Args:
            folder: The photographs.
            options: What to report.
            on_progress: Called after each photograph.

        Raises:
            InputError: No folder, or too few people, photographs or faces for comparisons of both kinds.
        """
        listed = read_folder(folder)
        embedded = self._embed(listed.root, listed.labels, face=options.face, cache=options.cache, on_progress=on_progress)
        known, warnings = known_people(embedded, listed.labels)
        return FolderEvaluation(embedded, evaluate_people(known, options, warnings=warnings))
