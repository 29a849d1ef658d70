"""The models folder: embedders that people bring, added, listed, verified and taken away.

A model is a folder of its name with ``card.json``, the file under its digest and, once measured, ``figures.json``. It is put
together in a folder of another name and appears by one rename, so nothing is ever half added. It decides nothing about faces.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from facesearch.core.errors import (
    CheckpointDigestError,
    CheckpointNotFoundError,
    ModelDescriptionError,
    ModelError,
    UnknownEmbedderError,
)
from facesearch.embedding.adding import card_of, file_failures, name_of, put_in, require_accepted, require_free, staged
from facesearch.embedding.card import EmbedderCard, Figures
from facesearch.embedding.card_file import parse_figures
from facesearch.embedding.carried import carried_card, carried_figures
from facesearch.embedding.description import Description, read_description
from facesearch.embedding.fetch import Advance, alone, fetch
from facesearch.embedding.probe import probe
from facesearch.embedding.recipes import Recipe, carried_file, load_recipe, recipe_names, to_fetch
from facesearch.embedding.registry import CARD_FILE, FIGURES_FILE, OnDamaged, added_card, available, card
from facesearch.inference import Engine

Progress = Callable[[str], None]
"""Told what is being done, in a few words."""


def _ignored(_: ModelError) -> None:
    """A damaged neighbour is its own matter."""


FETCHING = ".fetching"
"""Folder of downloads under way, inside the models folder: adding a file from there is a link, not a copy."""


class ModelLibrary:
    """Embedders of the package and of a models folder. Safe to use from several processes: a model is there whole or not at all.

    Args:
        folder: The models folder; made when the first model is added.
        engine: Returns what runs a model while it is tried out.
    """

    def __init__(self, folder: Path, engine: Callable[[], Engine]) -> None:
        self.folder = Path(folder)
        self._engine = engine

    def list(self, on_damaged: OnDamaged | None = None) -> tuple[EmbedderCard, ...]:
        """Return the embedders that are installed, by name.

        Args:
            on_damaged: Told of each added model whose card is malformed, which is left out then; None raises the first.

        Raises:
            CheckpointFormatError: A card is malformed; names the file.
        """
        return available(self.folder if self.folder.is_dir() else None, on_damaged)

    def card(self, name: str) -> EmbedderCard:
        """Return an embedder's card.

        Raises:
            UnknownEmbedderError: There is none of this name or id.
            CheckpointFormatError: The card is malformed.
        """
        return card(name, self.folder if self.folder.is_dir() else None)

    def recipes(self) -> tuple[Recipe, ...]:
        """Return the recipes for published embedders, by name."""
        return tuple(map(load_recipe, recipe_names()))

    def add(
        self,
        file: Path,
        name: str | None = None,
        description: Description | None = None,
        *,
        recipe: str | None = None,
        accept_licence: bool = False,
        progress: Progress = lambda _: None,
    ) -> EmbedderCard:
        """Add a model file as an embedder.

        A file that a recipe knows by its digest needs nothing said. Of others, a TOML file beside it (``model.onnx.toml`` or
        ``model.toml``) and ``description`` say what the file does not; the latter counts where both do. The file is linked where
        the file system can, else copied; either way a later change of it is noticed and refused.

        Args:
            file: The model.
            name: What it will be called: lower-case letters, digits, ``-`` and ``_``; None for the recipe's name.
            description: What the file does not say.
            recipe: A recipe to follow although its digest is not known here.
            accept_licence: Whether the licence is accepted where it is not open; when is recorded.
            progress: Told what is being done.

        Returns:
            The new embedder's card.

        Raises:
            ModelFileError: It is no model, or incomplete.
            UnsupportedModelError: It cannot be run, or what it returns is no template.
            ModelDescriptionError: Something has to be said, or contradicts the file.
            ModelLicenceError: The licence is not open and was not accepted.
            ModelTakenError: Another embedder has the name.
            CheckpointDigestError: It is another file than the recipe's.
            FileWriteError: The models folder cannot be written.
        """
        source = Path(file)
        said = self._beside(source)
        if description is not None:
            said = said.overridden_by(description)
        with staged(self.folder, source, progress) as stage:
            plan = carried_card(stage, name, said, recipe=recipe, accept_licence=accept_licence)
            if plan is None:
                plan = card_of(stage, name, said, recipe=recipe, accept_licence=accept_licence)
            require_free(self.list(_ignored), plan.name, stage.sha256)
            progress("trying it out on two pictures")
            tried = probe(plan, self._engine())
            if said.dim is not None and said.dim != tried.dim:
                raise ModelDescriptionError(
                    f"{source.name} returns vectors of {tried.dim} numbers, dim says {said.dim}", field="dim", found=tried.dim
                )
            progress("writing its card")
            figures = carried_figures(stage, tried)
            put_in(stage, tried, self.folder / tried.name)
        if figures is not None:
            self.write_figures(tried.name, figures)
        return self.card(tried.embedder_id())

    def fetch(
        self,
        recipe: str,
        name: str | None = None,
        *,
        accept_licence: bool = False,
        address: str | None = None,
        advance: Advance = lambda _done, _of: None,
        progress: Progress = lambda _: None,
    ) -> EmbedderCard:
        """Download a recipe's file from its publisher and add it; one that an installed package carries is taken from there.

        Args:
            recipe: Name of the recipe.
            name: What the embedder will be called; None for the recipe's name.
            accept_licence: Whether the licence is accepted where it is not open.
            address: Another place that offers the very same file.
            advance: Told how much of the download is done.
            progress: Told what is being done.

        Raises:
            UnknownEmbedderError: There is no such recipe.
            ModelLicenceError: The licence is not open and was not accepted; nothing was downloaded.
            ModelFetchError: It cannot be downloaded; says from where, with which digest, and what to do instead.
            CheckpointDigestError: What arrived is another file.
            ModelError: As ``add``.
            FileWriteError: The models folder cannot be written, or is full.
        """
        found = load_recipe(recipe)
        if not found.is_open:
            require_accepted(found.licence, found.licence_terms, recipe, accept_licence=accept_licence)
        wanted = to_fetch(found, address)
        require_free(self.list(_ignored), name_of(found.name if name is None else name), wanted.sha256)
        carried = carried_file(found)
        if carried is not None and address is None:
            return self.add(carried, name or found.name, accept_licence=accept_licence, progress=progress)
        place = self.folder / FETCHING / wanted.sha256[:16]
        with alone(place, wanted.file, writing=file_failures):
            progress(f"fetching {wanted.address}")
            arrived = fetch(wanted, place, advance=advance, writing=file_failures)
            try:
                return self.add(arrived, name or found.name, accept_licence=accept_licence, progress=progress)
            finally:
                arrived.unlink(missing_ok=True)

    def require_free(self, name: str) -> None:
        """Raise where a name cannot be given to a new embedder.

        Raises:
            ModelDescriptionError: It has another form.
            ModelTakenError: Another embedder has it.
        """
        require_free(self.list(_ignored), name_of(name), "")

    def remove(self, name: str) -> None:
        """Take a model out of the folder, its file and figures with it; templates made with it stay where they are.

        Raises:
            UnknownEmbedderError: There is none of this name in the folder (the package's own stay).
            FileWriteError: It cannot be taken out.
        """
        folder = self._folder_of(name)
        with file_failures(self.folder):
            # Out of sight in one step, then at leisure: whoever is interrupted leaves no half model.
            gone = self.folder / f".removing-{secrets.token_hex(8)}"
            folder.rename(gone)
            shutil.rmtree(gone)

    def verify(
        self, name: str | None = None, *, on_verified: Callable[[EmbedderCard], None] = lambda _: None
    ) -> tuple[EmbedderCard, ...]:
        """Read models' files and compare their digests with the cards; one that fails does not keep the others from being read.

        Args:
            name: One embedder; None for all.
            on_verified: Told of each model that is as it was.

        Returns:
            The cards of the models that were verified.

        Raises:
            CheckpointDigestError: A file changed; names both digests.
            CheckpointNotFoundError: A file is missing.
            CheckpointFormatError: A card is malformed.
            ModelError: Several of these; the message has them all.
        """
        failures: list[ModelError] = []
        found = self.list(failures.append) if name is None else (self.card(name),)
        for one in found:
            try:
                self._verified(one)
            except ModelError as exc:
                failures.append(exc)
            else:
                on_verified(one)
        if len(failures) > 1:
            raise ModelError("; ".join(one.message for one in failures), n_failures=len(failures))
        if failures:
            raise failures[0]
        return found

    def _verified(self, one: EmbedderCard) -> None:
        try:
            one.verify_file()
        except (CheckpointDigestError, CheckpointNotFoundError) as exc:
            if not one.weights_path.is_relative_to(self.folder):
                raise
            advice = f"take the model away (facesearch models remove {one.name}) and add it again"
            raise type(exc)(f"{exc.message}; {advice}", **exc.context) from exc

    def write_figures(self, name: str, figures: Mapping[str, Any]) -> dict[str, Figures]:
        """Keep what was measured of a model beside it, in one step; it replaces what was measured before.

        Args:
            name: A model of the folder.
            figures: As ``card_file.parse_figures`` reads them.

        Returns:
            The figures as they will be read.

        Raises:
            UnknownEmbedderError: There is none of this name in the folder.
            OperatingPointError: The points contradict themselves.
            FileWriteError: The folder cannot be written.
        """
        folder = self._folder_of(name)
        found = added_card(folder)
        parsed = parse_figures(figures, found.name, found.id_digest)
        text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with file_failures(folder):
            temporary = folder / f".{FIGURES_FILE}.new"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / FIGURES_FILE)
        return parsed

    def _folder_of(self, name: str) -> Path:
        folder = self.folder / name_of(name.partition("@")[0])
        if not (folder / CARD_FILE).is_file():
            raise UnknownEmbedderError(f"there is no added model {name!r} in {self.folder}", name=name)
        found = folder.name if "@" not in name else added_card(folder).embedder_id()
        if name != found:
            raise UnknownEmbedderError(f"the model {folder.name} in {self.folder} is {found}, not {name}", name=name)
        return folder

    @staticmethod
    def _beside(source: Path) -> Description:
        for path in (source.with_name(f"{source.name}.toml"), source.with_suffix(".toml")):
            if path.is_file():
                return read_description(path)
        return Description()
