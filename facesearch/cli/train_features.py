"""``facesearch train features``: how well each layer of a network tells people apart, by way of pooling.

What is measured is in ``facesearch.training.layer_features``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.embedding.embedding_network import EmbeddingNetwork
    from facesearch.training.crop_store import CropStore
    from facesearch.training.layer_features import LayerFigures


def features(
    context: typer.Context,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Crops that train prepare made.")],
    people: Annotated[
        Path, typer.Option("--people", metavar="FILE", help="The people that are compared: a name a line, or as LFW lists them.")
    ],
    learn: Annotated[
        Path, typer.Option("--learn", metavar="FILE", help="Other people, that components are learnt of, listed likewise.")
    ],
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of --backbone, instead of the embedder in use.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="A network with random weights, or those of --weights.")
    ] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", metavar="NAME", help="Only this layer; repeatable.")] = None,
    pooling: Annotated[
        list[str] | None, typer.Option("--pooling", metavar="sum|max|gem|rmac|flatten", help="Only this way; repeatable.")
    ] = None,
    components: Annotated[
        int, typer.Option("--components", metavar="N", min=2, help="Whitened components that are measured beside.")
    ] = 128,
    most: Annotated[
        int | None,
        typer.Option("--most", metavar="N", min=2, help="At most so many crops of either list: whole people, at random."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how well each layer of a network tells people apart, by way of pooling, as it is and as whitened components."""
    from facesearch.training.layer_features import measure_layers

    network = _network(context, weights, backbone)
    tested, learnt = (_of_list(store, file, most) for file in (people, learn))
    chosen = {} if not pooling else {"poolings": tuple(pooling)}
    with progress("crops", lines_every_s=10.0) as advance:
        found = list(measure_layers(network, tested, learnt, layers=layer or None, dim=components, on_progress=advance, **chosen))
    if as_json:
        counts = {"n_people": len(tested.people), "n_crops": len(tested), "n_learnt": len(learnt)}
        write_json({"architecture": network.architecture.as_dict(), **counts, "layers": [one.as_dict() for one in found]})
        return
    _write(found)
    write_note(f"{len(tested)} crops of {len(tested.people)} people compared, components learnt of {len(learnt)} crops of others")


def _network(context: typer.Context, weights: Path | None, backbone: str | None) -> EmbeddingNetwork:
    """Return the network that is looked at: the embedder in use, or a backbone with random or somebody's weights."""
    import torch

    from facesearch.embedding.architecture import default_architecture
    from facesearch.embedding.embedding_network import build_network
    from facesearch.embedding.networks import trainable_network
    from facesearch.embedding.weights import load_weights, read_architecture

    if backbone is None and weights is None:
        session = session_of(context)
        return trainable_network(session.library.parts(session.settings).card)
    carried = None if weights is None or weights.suffix != ".safetensors" else read_architecture(weights)
    if carried is None and backbone is None:
        raise InputError(f"{printable(weights)} does not say what network it is of: name its --backbone")
    if carried is not None and backbone not in (None, carried.backbone):
        raise InputError(f"{printable(weights)} holds weights of {carried.backbone}, not of {backbone}: leave --backbone out")
    torch.manual_seed(0)
    # Random weights need norms to let anything through; published ones come as they are.
    norms = {"has_norms": True} if weights is None and backbone == "mobilenet" else {}
    network = build_network(carried if carried is not None else default_architecture(str(backbone), **norms))
    if weights is not None:
        load_weights(network, weights, with_head=carried is not None)
    return network.eval()


def _of_list(store: Path, file: Path, most: int | None) -> CropStore:
    from facesearch.training.crop_store import CropStore
    from facesearch.training.layer_features import some_people
    from facesearch.training.validation import of_list

    found, absent = of_list(CropStore.open(store), file)
    if absent is not None:
        write_note(f"warning: {printable(absent)}")
    return some_people(found, most)


def _write(found: list[LayerFigures]) -> None:
    from facesearch.training.layer_features import FMRS

    rows = []
    for one in found:
        whitened = [f"{100 * rate.value:.2f} %" for rate in one.tar_of_components] or ["–"] * len(FMRS)
        told = [f"{100 * rate.value:.2f} %" for rate in one.tar]
        rows.append((one.layer, one.pooling, one.n_values, *told, one.n_components or "–", *whitened))
    heads = [f"TAR at FMR {fmr:g}" for fmr in FMRS]
    write_table(("layer", "pooling", "numbers", *heads, "components", *(f"whitened: {head}" for head in heads)), rows)
    if found:
        rate = found[0].tar[0]
        write_line(f"\nevery person weighs the same; {rate.total:,} mated pairs")
