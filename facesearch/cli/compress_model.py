"""``facesearch models compress`` and ``models export``: an embedder of shorter templates, and an embedder as ONNX.

What is done is in ``facesearch.embedding``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, progress, write_json, write_line, write_note
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.bootstrap import Parts
    from facesearch.core.arrays import Vectors

Name = Annotated[str, typer.Argument(metavar="NAME", help="An embedder whose file holds weights: see models list.")]


def compress_model(
    context: typer.Context,
    name: Name,
    dim: Annotated[int, typer.Option("--dim", metavar="N", min=2, help="Numbers of the new templates.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="NEW", help="Name of the new embedder.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Photographs that the components are learnt of, LABEL/picture.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="STORE", help="Crops of train prepare instead of photographs.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make an embedder of shorter templates: principal components folded into the last layer of another.

    It is an embedder of its own: its thresholds are measured by models calibrate, its templates compare with its own only.
    """
    from facesearch.embedding.compress import compress, require_compressible

    if (images is None) == (store is None):
        raise InputError("models compress learns of --images DIR or of --store STORE: name one of them")
    session = session_of(context)
    parts = session.library.parts(session.settings.model_copy(update={"embedder": name, "flip_average": False}))
    require_compressible(parts.models, parts.card, output, dim)
    vectors = _templates(parts, images, store, dim)
    made = compress(parts.models, parts.card, output, vectors, dim, progress=lambda doing: write_note(f"{printable(doing)} …"))
    if as_json:
        write_json(made.as_dict())
        return
    kept = f"{100 * made.projection.kept:.2f} % of the templates' squares"
    write_line(f"added {made.card.embedder_id()}: {dim} numbers that hold {kept}, learnt of {made.n_learnt:,} faces")
    write_line(f"not calibrated yet: facesearch models calibrate {made.card.name} --images DIR")


def _templates(parts: Parts, images: Path | None, store: Path | None, dim: int) -> Vectors:
    """Return the templates that components are learnt of; too few are refused before any is made."""
    from facesearch.embedding.compress import require_enough

    if store is not None:
        from facesearch.training.crop_store import CropStore
        from facesearch.training.crop_templates import store_templates

        crops = CropStore.open(store)
        require_enough(len(crops), dim)
        with progress("faces", lines_every_s=10.0) as advance:
            return store_templates(crops, parts.embedder, on_progress=advance).vectors
    if images is None:
        raise InputError("models compress learns of --images DIR or of --store STORE: name one of them")
    from facesearch.service.photograph_lists import read_any_folder

    listed = read_any_folder(images)
    require_enough(len(listed.labels), dim)
    with progress("faces", lines_every_s=10.0) as advance:
        return parts.embed_photographs(listed.root, listed.labels, face="largest", on_progress=advance).vectors


def export_model(
    context: typer.Context,
    name: Name,
    onnx: Annotated[
        Path, typer.Option("--onnx", metavar="FILE", help="Where to; a file there is replaced. A description goes to FILE.toml.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Write an embedder as ONNX, mean and scale inside; it is tried out against the network before it is there."""
    from facesearch.embedding.onnx_export import export_onnx

    session = session_of(context)
    parts = session.library.parts(session.settings.model_copy(update={"precision": "f32"}))
    made = export_onnx(parts.models.card(name), onnx, parts.engine)
    if as_json:
        write_json(made.as_dict())
        return
    write_line(
        f"{printable(made.path)}: {made.n_bytes:,} bytes, numbers of a template within {made.difference:.1g} of the network's"
    )
    write_line(f"add it: facesearch models add {printable(made.path)} --name NAME")
