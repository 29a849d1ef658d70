"""The steps of adding a model: a copy under its digest in a folder of its own, its card, and the rename that makes it known.

``library`` puts them together. It runs no network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from facesearch.core.errors import (
    CheckpointDigestError,
    FileWriteError,
    ModelDescriptionError,
    ModelFileError,
    ModelLicenceError,
    ModelTakenError,
)
from facesearch.embedding.card import EmbedderCard, Origin
from facesearch.embedding.card_file import NAME, NOT_STATED, WEIGHTS_ALONE, written_card
from facesearch.embedding.description import Description, unsaid
from facesearch.embedding.model_file import facts_of_graph, format_of, tensor_shapes
from facesearch.embedding.networks import GRAPH_FORMATS
from facesearch.embedding.recipes import Recipe, RecipeFile, load_recipe, recipe_names, recognised
from facesearch.embedding.registry import CARD_FILE

OPEN_LICENCES = frozenset(
    (
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "isc",
        "zlib",
        "cc0-1.0",
        "unlicense",
        "cc-by-4.0",
        "bsl-1.0",
        "0bsd",
        "public-domain",
    )
)
"""Licences (SPDX identifiers, lower case) under which anybody may use weights for anything."""

_STALE_S = 24 * 3600  # after a day nobody is still adding or removing the model
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that is being added.

    Attributes:
        folder: Where it lies.
        path: The file there.
        source: Where it came from.
        sha256: Of the file there.
    """

    folder: Path
    path: Path
    source: Path
    sha256: str


@contextmanager
def staged(models_folder: Path, source: Path, progress: Callable[[str], None]) -> Iterator[Staged]:
    """Bring a file into a folder of its own inside the models folder; whatever is left there at the end goes.

    Raises:
        ModelFileError: The file is not there or cannot be read.
        FileWriteError: The models folder cannot be written, or is full.
    """
    if not source.is_file():
        raise ModelFileError(f"there is no file {source}", path=str(source))
    with file_failures(models_folder):
        models_folder.mkdir(parents=True, exist_ok=True)
        _clear_stale(models_folder)
        folder = models_folder / f".adding-{secrets.token_hex(8)}"
        folder.mkdir()
    try:
        progress("copying the file")
        with file_failures(models_folder):
            arrived = _link_or_copy(source, folder / source.name)
            # What is described is the file that lies here, whatever became of the other in between.
            sha256 = _digest(arrived)
        # Under its own name while it is tried out, for the sake of messages.
        yield Staged(folder, arrived, source, sha256)
    finally:
        # Nobody has heard of the folder yet; what cannot be cleared now is cleared as stale later.
        shutil.rmtree(folder, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> Path:
    """Return the target, the same file as the source where the file system can do that, else a copy of it."""
    real = source.resolve()
    with contextlib.suppress(OSError):  # another file system, or one without hard links
        os.link(real, target)
        return target
    try:
        stream = real.open("rb")
    except OSError as exc:
        raise ModelFileError(f"{source} cannot be read: {exc.strerror or exc}", path=str(source)) from exc
    with stream, target.open("xb") as copy:
        shutil.copyfileobj(stream, copy, _HASHED_AT_ONCE)
        copy.flush()
        os.fsync(copy.fileno())
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _clear_stale(models_folder: Path) -> None:
    """Remove what a process that was killed left behind a day ago or earlier."""
    for path in [*models_folder.glob(".adding-*"), *models_folder.glob(".removing-*")]:
        if path.is_dir() and time.time() - path.stat().st_mtime > _STALE_S:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def file_failures(folder: Path) -> Iterator[None]:
    """Turn what the file system raises into an error that names the models folder."""
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise FileWriteError(f"the models folder {folder} cannot be written: {reason}", path=str(folder)) from exc


def card_of(stage: Staged, name: str | None, said: Description, *, recipe: str | None, accept_licence: bool) -> EmbedderCard:
    """Return the card of a file that was brought in; the length of its vectors and its batches are still to be found out.

    Raises:
        ModelError: As ``ModelLibrary.add``.
    """
    followed = _recipe(stage, recipe)
    base = followed[1].description if followed is not None else Description()
    whole = base.overridden_by(said)
    # Licence, source and length change no vector: saying them of a recipe's file makes no other embedder of it.
    alike = dataclasses.replace(whole, licence=base.licence, source=base.source, dim=base.dim)
    is_unaltered = followed is not None and alike == base
    kind = whole.format or format_of(stage.path)
    if kind == "torch-state" and whole.backbone is None:
        raise ModelFileError(
            f"{stage.source.name} holds tensors alone: {_hint(stage.source)}say which network they are of "
            "(--backbone), or save it as TorchScript or ONNX",
            path=str(stage.source),
        )
    layout, input_px, dim = whole.layout or "nchw", None, whole.dim or 128
    if kind in GRAPH_FORMATS:
        facts = facts_of_graph(stage.path, whole.output)
        layout, input_px = whole.layout or facts.layout or "", facts.input_px
    _require_said(whole, kind, layout, name, followed)
    chosen = name_of(name if name is not None or followed is None else followed[0].name)
    if kind == "safetensors" and whole.backbone == "mobilenet":
        dim = (tensor_shapes(stage.path).get("fc.bias") or (dim,))[0]
    card = EmbedderCard(
        name=chosen,
        version=1,
        sha256=stage.sha256,
        dim=dim,
        alignment=whole.crop(input_px),
        preparation=whole.preparation(),
        weights_path=stage.path,
        format=kind,
        backbone=whole.backbone or "" if kind in WEIGHTS_ALONE else "",
        layout=layout,
        output=whole.output,
        origin=origin_of(whole, followed, accept_licence=accept_licence, is_unaltered=is_unaltered, file=stage.source.name),
    )
    # Another crop makes another embedder of the same weights: what the user said about it is part of its id.
    own = hashlib.sha256(f"{card.sha256}|{card.recipe_text()}".encode()).hexdigest()
    return dataclasses.replace(card, id_digest=card.sha256 if is_unaltered else own)


def _recipe(stage: Staged, name: str | None) -> tuple[Recipe, RecipeFile] | None:
    """Return the recipe of a file: the one asked for, else the one that knows its digest.

    Raises:
        CheckpointDigestError: The recipe asked for knows the digest of its file, and it is another.
    """
    known = recognised(stage.sha256)
    if name is None or (known is not None and known[0].name == name):
        return known
    recipe = load_recipe(name)
    kind = format_of(stage.path)
    fitting = [one for one in recipe.files if one.sha256 is None and one.description.format == kind]
    if fitting:
        return recipe, fitting[0]
    expected = ", ".join(f"{one.file} {one.sha256}" for one in recipe.files if one.sha256 is not None) or "none of this format"
    raise CheckpointDigestError(
        f"{stage.source.name} has SHA-256 {stage.sha256}, recipe {name} is for {expected}: it is damaged or another file",
        found=stage.sha256,
        expected=expected,
    )


def _hint(source: Path) -> str:
    """Return a hint where a file is called as a recipe's file that has no digest."""
    for name in recipe_names():
        if any(one.file == source.name and one.sha256 is None for one in load_recipe(name).files):
            return f"by its name it is the file of recipe {name} (--recipe {name}); else "
    return ""


def _require_said(whole: Description, kind: str, layout: str, name: str | None, followed: tuple[Recipe, RecipeFile] | None) -> None:
    """Raise once for everything that neither the file nor a recipe nor the user says.

    Raises:
        ModelDescriptionError: Names all of it, as options.
    """
    missing = whole.missing()
    if kind in WEIGHTS_ALONE and whole.backbone is None:
        missing.append("--backbone (weights alone do not say their network)")
    if not layout:
        missing.append("--layout nchw|nhwc")
    if followed is None:
        missing += [option for option, value in (("--name", name), ("--licence", whole.licence)) if value is None]
    if missing:
        raise unsaid(missing)


def origin_of(
    whole: Description, followed: tuple[Recipe, RecipeFile] | None, *, accept_licence: bool, is_unaltered: bool, file: str
) -> Origin:
    """Return licence and source.

    Raises:
        ModelLicenceError: The licence is not open and was not accepted.
        ModelDescriptionError: Another licence is said of a file whose licence is known and not open.
    """
    recipe = followed[0] if followed is not None else None
    if recipe is not None and not recipe.is_open and whole.licence not in (None, recipe.licence):
        raise ModelDescriptionError(
            f"the licence of {file} is {recipe.licence!r}, as recipe {recipe.name} knows, not {whole.licence!r}: "
            "leave --licence out",
            field="licence",
        )
    licence = whole.licence or (recipe.licence if recipe is not None else NOT_STATED)
    if recipe is not None and whole.licence is None:
        is_open, terms = recipe.is_open, recipe.licence_terms
    else:
        is_open, terms = licence.lower() in OPEN_LICENCES, ""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if not is_open:
        require_accepted(licence, terms, file, accept_licence=accept_licence)
    return Origin(
        licence=licence,
        licence_terms=terms,
        licence_accepted_at=None if is_open else now,
        source=whole.source or (recipe.source if recipe is not None else NOT_STATED),
        recipe=recipe.name if recipe is not None and is_unaltered else None,
        added_at=now,
    )


def require_accepted(licence: str, terms: str, file: str, *, accept_licence: bool) -> None:
    """Raise unless a licence that is not open was accepted.

    Raises:
        ModelLicenceError: It was not; says what it means.
    """
    if not accept_licence:
        raise ModelLicenceError(
            f"{file} is under the licence {licence!r}, which is not open. {terms} If you accept it, add --accept-licence".replace(
                "  ", " "
            ),
            licence=licence,
        )


def name_of(name: str | None) -> str:
    """Return an embedder's name.

    Raises:
        ModelDescriptionError: It has another form.
    """
    if name is None or not NAME.fullmatch(name):
        raise ModelDescriptionError(
            f"a model's name is lower-case letters, digits, - and _, at most 64, and begins with a letter or digit, not {name!r}",
            field="name",
        )
    return name


def require_free(cards: Iterable[EmbedderCard], name: str, sha256: str) -> None:
    """Raise where a name is taken.

    Raises:
        ModelTakenError: By this very file or by another.
    """
    for one in cards:
        if one.name == name:
            same = "this very file" if one.sha256 == sha256 else f"another file ({one.embedder_id()})"
            raise ModelTakenError(
                f"the name {name!r} is taken, by {same}: choose another --name, or facesearch models remove {name}", name=name
            )


def put_in(stage: Staged, card: EmbedderCard, target: Path) -> None:
    """Write a model's card and make it known: one rename, after which it is there whole.

    Raises:
        ModelTakenError: Somebody else added a model of this name in between.
        FileWriteError: The folder cannot be written.
    """
    with file_failures(target.parent):
        path = stage.path.rename(stage.folder / f"{stage.sha256}{stage.source.suffix.lower()}")
        text = written_card(dataclasses.replace(card, weights_path=path))
        (stage.folder / CARD_FILE).write_text(text, encoding="utf-8")
        try:
            stage.folder.rename(target)
        except OSError as exc:
            if target.exists():
                raise ModelTakenError(f"the name {target.name!r} was taken while the model was added", name=target.name) from exc
            raise
