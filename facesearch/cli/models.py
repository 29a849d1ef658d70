"""``facesearch models …``: the embedders that are installed, and those that people bring or fetch.

What a model file is and whether it can be used is found out by the library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import confirm, printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.session import session_of
from facesearch.core.errors import CheckpointFormatError, ModelError

if TYPE_CHECKING:
    from facesearch.embedding.card import EmbedderCard
    from facesearch.embedding.description import Description
    from facesearch.embedding.library import ModelLibrary

app = typer.Typer(help="Look after embedders: the package's, published ones, and your own.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or embedder id.")]
NewName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What it will be called; the recipe's name if left out.")
]
AcceptLicence = Annotated[bool, typer.Option("--accept-licence", help="Accept a licence that is not open; when is recorded.")]


@app.command("list")
def list_models(
    context: typer.Context,
    recipes: Annotated[
        bool, typer.Option("--recipes", help="List published embedders that can be added or fetched by name.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List embedders."""
    library = _library(context)
    if recipes:
        _list_recipes(library, as_json=as_json)
        return
    damaged: list[ModelError] = []
    cards = library.list(damaged.append)
    if as_json:
        write_json({"models": [card.as_dict() for card in cards]})
    else:
        rows = [(card.embedder_id(), card.dim, card.alignment.crop_px, _measured(card), card.licence) for card in cards]
        write_table(("embedder", "dim", "crop px", "LFW accuracy (View 2)", "licence"), rows)
    if damaged:  # what can be read was listed; the exit code still says that not all is well
        raise damaged[0]


def _measured(card: EmbedderCard) -> str:
    """Return a card's accuracy by way of embedding, or what there is instead."""
    told = [f"{way} {100 * one.accuracy:.2f} %" for way, one in card.figures.items() if one.accuracy is not None]
    return ", ".join(told) or ("calibrated elsewhere" if card.is_calibrated else "not calibrated")


def _list_recipes(library: ModelLibrary, *, as_json: bool) -> None:
    found = library.recipes()
    if as_json:
        write_json({"recipes": [recipe.as_dict() for recipe in found]})
        return
    write_table(
        ("recipe", "licence", "open", "what it is"),
        [(recipe.name, recipe.licence, "yes" if recipe.is_open else "no", recipe.summary) for recipe in found],
    )


@app.command()
def show(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name or embedder id; the one in use if left out.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print an embedder's model card."""
    session = session_of(context)
    found = _library(context).card(name if name is not None else session.settings.embedder)
    computed_in = session.library.computed_in(session.settings, found)
    if as_json:
        write_json({**found.as_dict(), "computed_in": computed_in})
        return
    for line in found.text().rstrip().splitlines():
        write_line(printable(line))
    write_line(f"\nComputed here in {computed_in}.")


@app.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX, TensorFlow frozen graph, TorchScript or safetensors.")],
    name: NewName = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="Follow this recipe, where its file has no known digest.")
    ] = None,
    describe: Annotated[
        Path | None, typer.Option("--describe", metavar="TOML", help="Says what the options below say; also found as FILE.toml.")
    ] = None,
    alignment: Annotated[
        str | None,
        typer.Option("--alignment", metavar="arcface-112|facenet-160", help="The crop: five points, or box with margin."),
    ] = None,
    points: Annotated[
        str | None, typer.Option("--points", metavar="'x,y x,y x,y x,y x,y'", help="Five points of its own on the crop.")
    ] = None,
    input_px: Annotated[int | None, typer.Option("--input-px", metavar="N", help="Side of the crop.")] = None,
    margin_px: Annotated[
        int | None, typer.Option("--margin-px", metavar="N", help="Margin of a facenet crop, in its pixels.")
    ] = None,
    channels: Annotated[str | None, typer.Option("--channels", metavar="rgb|bgr", help="Order of the colours.")] = None,
    normalisation: Annotated[
        str | None, typer.Option("--normalisation", metavar="none|fixed|per-image", help="0–255, mean and scale, or standardised.")
    ] = None,
    mean: Annotated[str | None, typer.Option("--mean", metavar="N|R,G,B", help="Subtracted from each colour.")] = None,
    scale: Annotated[str | None, typer.Option("--scale", metavar="N|R,G,B", help="What the differences are divided by.")] = None,
    layout: Annotated[str | None, typer.Option("--layout", metavar="nchw|nhwc", help="Where the file does not tell.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="NAME", help="Which of several outputs is the template.")
    ] = None,
    dim: Annotated[int | None, typer.Option("--dim", metavar="N", help="Length of the vectors, to be checked.")] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="onnx, tensorflow, torchscript or safetensors.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="Network of a file of weights alone: mobilenet, …")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", metavar="SPDX", help="Licence of the weights.")] = None,
    source: Annotated[str | None, typer.Option("--source", metavar="TEXT", help="Who published them.")] = None,
    accept_licence: AcceptLicence = False,
    as_json: options.AsJson = False,
) -> None:
    """Add a model file as an embedder. Files that a recipe knows by their digest need no options."""
    said = {
        "format": file_format,
        "backbone": backbone,
        "alignment": alignment,
        "points": None if points is None else [one.split(",") for one in points.split()],
        "input_px": input_px,
        "margin_px": margin_px,
        "channels": channels,
        "normalisation": normalisation,
        "mean": _numbers(mean),
        "scale": _numbers(scale),
        "layout": layout,
        "output": output,
        "dim": dim,
        "licence": licence,
        "source": source,
    }
    description = _described(describe, {key: value for key, value in said.items() if value is not None})
    added = _library(context).add(file, name, description, recipe=recipe, accept_licence=accept_licence, progress=_tell)
    _write_added(added, as_json=as_json)


def _numbers(text: str | None) -> object:
    """Return one number or three as they are to be read; the library says what is wrong with them."""
    return text.split(",") if text is not None and "," in text else text


def _described(file: Path | None, said: dict[str, object]) -> Description:
    from facesearch.embedding.description import Description, parse_description, read_description

    base = Description() if file is None else read_description(file)
    return base.overridden_by(parse_description(said, where="the options"))


@app.command()
def fetch(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="See models list --recipes.")],
    name: NewName = None,
    address: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Another place that offers the very same file; its digest is checked."),
    ] = None,
    accept_licence: AcceptLicence = False,
    as_json: options.AsJson = False,
) -> None:
    """Download a published embedder and add it; a download that was cut off goes on where it stopped."""
    library = _library(context)
    with progress("bytes") as advance:
        added = library.fetch(recipe, name, accept_licence=accept_licence, address=address, advance=advance, progress=_tell)
    _write_added(added, as_json=as_json)


def _tell(doing: str) -> None:
    write_note(f"{printable(doing)} …")


def _write_added(card: EmbedderCard, *, as_json: bool) -> None:
    if as_json:
        write_json(card.as_dict())
        return
    write_line(f"added {card.embedder_id()}: {card.dim} numbers a face, crop {card.alignment.name}, {printable(card.preparation)}")
    write_line(f"licence: {printable(card.licence)}. {printable(card.origin.licence_terms)}".rstrip())
    if not card.is_calibrated:
        write_line(f"not calibrated yet: facesearch models calibrate {card.name} --images DIR")
    write_line(f"use it: --embedder {card.name}, or FACESEARCH_EMBEDDER={card.name}")


@app.command()
def verify(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name or embedder id; all if left out.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Read models' files and compare their digests with the cards."""
    library = _library(context)
    if as_json:
        write_json({"verified": [card.embedder_id() for card in library.verify(name)]})
        return
    library.verify(
        name, on_verified=lambda card: write_line(f"{card.embedder_id()}: {printable(card.weights_path.name)} is unchanged")
    )


@app.command()
def remove(context: typer.Context, name: Name, yes: options.Yes = False) -> None:
    """Take an added model away; templates made with it stay in the databases, but cannot be compared any more."""
    library = _library(context)
    try:
        told = library.card(name).embedder_id()
    except CheckpointFormatError:
        told = name  # a damaged card is a reason to remove a model
    confirm(f"Remove {told} and what was measured of it?", yes=yes)
    library.remove(name)
    write_line(f"removed {printable(told)}")


def _library(context: typer.Context) -> ModelLibrary:
    session = session_of(context)
    return session.library.models(session.settings)
