"""``facesearch operating-points …``: thresholds that were measured and saved, with their evidence.

It measures none: see ``evaluate … --save``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, rate, write_json, write_line, write_table
from facesearch.cli.session import session_of
from facesearch.service.shapes import saved_point_shape

if TYPE_CHECKING:
    from facesearch.core.records import SavedPoint

app = typer.Typer(help="Look after thresholds that were measured and saved.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="An operating point's name.")]


@app.command("list")
def list_points(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List saved operating points, those of other embedders too."""
    with session_of(context).service() as service:
        points = service.saved_points()
    if as_json:
        write_json({"operating_points": [saved_point_shape(one) for one in points]})
        return
    rows = [
        (one.name, _rate(one), one.threshold, f"{one.n_non_mated:,}", f"{one.created_at:%Y-%m-%d}", one.embedder_id, one.source)
        for one in points
    ]
    write_table(("name", "set for", "threshold", "comparisons", "date", "embedder", "measured on"), rows)


@app.command()
def show(context: typer.Context, name: Name, as_json: options.AsJson = False) -> None:
    """Show a saved operating point with its evidence."""
    with session_of(context).service() as service:
        point = service.saved_point(name)
    if as_json:
        write_json(saved_point_shape(point))
        return
    evidence = f"{point.n_non_mated:,} {'searches of strangers' if point.n_templates else 'comparisons of different people'}"
    write_line(printable(point.name))
    write_line(f"set for      {_rate(point)}")
    write_line(f"threshold    {point.threshold:.4f}")
    write_line(f"evidence     {evidence}, {point.n_person_pairs:,} {'strangers' if point.n_templates else 'pairs of people'}")
    if point.n_templates is not None:
        write_line(f"holds up to  {point.n_templates:,} templates (measured with fusion {point.fusion})")
    write_line(f"measured on  {printable(point.source)} ({point.data_digest[:12]}…) at {point.created_at:%Y-%m-%d %H:%M} UTC")
    if point.is_in_sample:
        write_line("in sample    its rates were reported on the photographs that set it; others may give other rates")
    write_line(f"embedder     {point.embedder_id}")


@app.command()
def remove(context: typer.Context, name: Name, as_json: options.AsJson = False) -> None:
    """Delete a saved operating point of the embedder in use."""
    with session_of(context).service() as service:
        point = service.remove_point(name)
    if as_json:
        write_json(saved_point_shape(point))
    else:
        write_line(f"removed {printable(point.name)} ({_rate(point)}, threshold {point.threshold:.4f})")


def _rate(point: SavedPoint) -> str:
    among = f" among {point.n_templates:,}" if point.n_templates is not None else ""
    return f"{point.kind.upper()} {rate(point.rate)}{among}{' (in sample)' if point.is_in_sample else ''}"
