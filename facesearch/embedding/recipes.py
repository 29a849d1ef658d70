"""Recipes for published embedders: which file it is, what it wants, where it comes from and on what terms.

They are JSON files of the package. A recipe holds no weights; figures it ships were measured with this package (``lfw``).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from facesearch.core.errors import ModelFetchError, UnknownEmbedderError
from facesearch.embedding.card_file import card_errors
from facesearch.embedding.description import Description, parse_description
from facesearch.embedding.fetch import Wanted

RECIPES = Path(__file__).resolve().parents[1] / "models" / "recipes"
"""The folder of the recipes."""

_OF_A_RECIPE = frozenset({"name", "summary", "licence", "licence_terms", "is_open", "files"})
_OF_A_FILE = frozenset({"sha256", "file", "n_bytes", "address", "member", "package", "lfw"})


@dataclass(frozen=True, slots=True, eq=False)
class RecipeFile:
    """One published file of an embedder.

    Attributes:
        file: Its name as published.
        sha256: Of the file, lower-case hex; None where none was established: such a file is taken by ``--recipe`` only.
        description: What it wants.
        n_bytes: Its length, where known.
        address: Where its publisher offers it; None where nobody does as a plain file.
        member: Name of the file in the ZIP archive at the address; ``"bz2"`` where the address is the file compressed.
        package: ``(package, path in it)`` of a Python package that carries the file.
        figures: What was measured, as on a model card.
    """

    file: str
    sha256: str | None
    description: Description
    n_bytes: int | None = None
    address: str | None = None
    member: str | None = None
    package: tuple[str, str] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """A published embedder.

    Attributes:
        name: What it is called here.
        summary: A line for people.
        licence: Of the weights.
        licence_terms: What that means, in plain words.
        is_open: Whether anybody may use the weights for anything.
        source: Who made them.
        files: In the order in which they are tried.
    """

    name: str
    summary: str
    licence: str
    licence_terms: str
    is_open: bool
    source: str
    files: tuple[RecipeFile, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the recipe as plain values."""
        return {
            "name": self.name,
            "summary": self.summary,
            "licence": self.licence,
            "licence_terms": self.licence_terms,
            "is_open": self.is_open,
            "source": self.source,
            "files": [{"file": one.file, "sha256": one.sha256, "address": one.address} for one in self.files],
        }

    def file_of(self, sha256: str) -> RecipeFile | None:
        """Return the file of a digest, or None."""
        return next((one for one in self.files if one.sha256 == sha256), None)


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes, in order."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.json")))


@cache
def load_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        UnknownEmbedderError: There is none of this name.
        CheckpointFormatError: It is malformed; names the file.
    """
    if name not in recipe_names():
        raise UnknownEmbedderError(f"there is no recipe {name!r}, only {', '.join(recipe_names())}", name=name)
    path = RECIPES / f"{name}.json"
    with card_errors(path):
        fields = json.loads(path.read_text(encoding="utf-8"))
        common = {key: value for key, value in fields.items() if key not in _OF_A_RECIPE}
        return Recipe(
            name=str(fields["name"]),
            summary=str(fields["summary"]),
            licence=str(fields["licence"]),
            licence_terms=str(fields["licence_terms"]),
            is_open=bool(fields["is_open"]),
            source=str(fields["source"]),
            files=tuple(_file(common, one, path) for one in fields["files"]),
        )


def _file(common: Mapping[str, Any], fields: Mapping[str, Any], path: Path) -> RecipeFile:
    own = {key: value for key, value in fields.items() if key not in _OF_A_FILE}
    package = fields.get("package")
    return RecipeFile(
        file=str(fields["file"]),
        sha256=fields.get("sha256"),
        description=parse_description({**common, **own}, where=f"the recipe {path.name}"),
        n_bytes=fields.get("n_bytes"),
        address=fields.get("address"),
        member=fields.get("member"),
        package=None if package is None else (str(package[0]), str(package[1])),
        figures=fields.get("lfw") or {},
    )


def recipe_of(name: str | None, sha256: str) -> RecipeFile | None:
    """Return the file of a recipe that an embedder was added by; None where that recipe knows no such digest."""
    if name is None or name not in recipe_names():
        return None
    recipe = load_recipe(name)
    return recipe.file_of(sha256)


def recognised(sha256: str) -> tuple[Recipe, RecipeFile] | None:
    """Return the recipe, and its file, of a digest; None where no recipe knows it."""
    for name in recipe_names():
        recipe = load_recipe(name)
        file = recipe.file_of(sha256)
        if file is not None:
            return recipe, file
    return None


def carried_file(recipe: Recipe) -> Path | None:
    """Return a recipe's file inside an installed package that carries it, or None; the package is not imported."""
    for file in recipe.files:
        if file.package is None:
            continue
        spec = importlib.util.find_spec(file.package[0])
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = Path(place) / file.package[1]
            if path.is_file():
                return path
    return None


def to_fetch(recipe: Recipe, address: str | None) -> Wanted:
    """Return what has to be downloaded for a recipe.

    Args:
        recipe: The recipe.
        address: Another place that offers the file, or the same archive (``.zip``, ``.bz2``); None for the publisher's.

    Raises:
        ModelFetchError: No digest of a file at a public address is known, so that nobody could tell what arrived.
    """
    for file in recipe.files:
        place = address or file.address
        if file.sha256 is not None and place is not None:
            is_packed = address is None or Path(urlsplit(place).path).suffix in (".zip", ".bz2")
            member = file.member if is_packed else None
            return Wanted(place, file.sha256, file.file, file.n_bytes, member)
    offered = next((file for file in recipe.files if file.address is not None), recipe.files[0])
    raise ModelFetchError(
        f"the digest of {offered.file} was never published, so a download could not be checked. Get it yourself from "
        f"{offered.address or offered.description.source}, then: facesearch models add FILE --recipe {recipe.name}",
        address=offered.address,
    )
