"""An evaluation as one HTML file that needs nothing else: figures, charts and pictures stand in it, and no script.

It computes no rate: whoever measured fills in the parts.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facesearch.evaluation.charts import Chart, chart_svg, escaped, legend_html
from facesearch.evaluation.report_style import STYLE

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may do with the file: show its own styles and pictures; nothing is fetched and nothing runs."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One figure to read first.

    Attributes:
        name: What it is.
        value: The figure.
        detail: Counts and interval behind it.
    """

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text.

    Attributes:
        columns: Their names.
        rows: As many cells as columns; numbers are right-aligned, None is an empty cell, and columns of empty cells are left out.
        title: Heading, or empty.
        note: A sentence below, or empty.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph's face.

    Attributes:
        caption: Whose it is.
        jpeg: Encoded picture, or None where it could not be made.
    """

    caption: str
    jpeg: bytes | None = None


@dataclass(frozen=True, slots=True)
class PicturePair:
    """Two faces compared.

    Attributes:
        score: Cosine similarity in [-1, 1].
        left: One of them.
        right: The other.
    """

    score: float
    left: Picture
    right: Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report; whatever is empty is left out.

    Attributes:
        title: Heading.
        text: What is shown, in a sentence or two.
        charts: Side by side.
        tables: One below the other.
        pairs: Pictures, in this order.
    """

    title: str
    text: str = ""
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    pairs: tuple[PicturePair, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Attributes:
        title: What was measured.
        facts: Names and values: embedder, data digest, date, counts.
        headlines: Figures to read first.
        warnings: What a reader must know before believing them.
        sections: The rest.
        remarks: How to read the terms, at the end.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    headlines: tuple[Headline, ...] = ()
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    remarks: tuple[str, ...] = ()


def render_report(report: Report) -> str:
    """Return a report as an HTML document; every text is escaped, so labels and paths can hold anything."""
    return "".join(
        (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">',
            f"<title>{escaped(report.title)}</title><style>{STYLE}</style></head><body><main>",
            *_header(report),
            *(part for section in report.sections for part in _section(section)),
            *_footer(report.remarks),
            "</main></body></html>\n",
        )
    )


def _header(report: Report) -> Iterator[str]:
    yield f"<header><h1>{escaped(report.title)}</h1><dl class='facts'>"
    for name, value in report.facts:
        yield f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>"
    yield "</dl>"
    if report.warnings:
        yield '<div class="warnings" role="note">'
        yield from (f"<p>{escaped(warning)}</p>" for warning in report.warnings)
        yield "</div>"
    if report.headlines:
        yield '<div class="tiles">'
        for one in report.headlines:
            yield f'<div class="tile"><div class="name">{escaped(one.name)}</div><div class="value">{escaped(one.value)}</div>'
            yield f'<div class="detail">{escaped(one.detail)}</div></div>'
        yield "</div>"
    yield "</header>"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{escaped(section.title)}</h2>"
    if section.text:
        yield f'<p class="lead">{escaped(section.text)}</p>'
    if section.charts:
        yield '<div class="grid2">'
        for chart in section.charts:
            yield f'<figure class="card{" wide" if chart.is_wide else ""}"><h3>{escaped(chart.title)}</h3>'
            yield legend_html(chart) + chart_svg(chart)
            yield f'<p class="note">{escaped(chart.note)}</p></figure>' if chart.note else "</figure>"
        yield "</div>"
    for table in section.tables:
        yield from _table(table)
    if section.pairs:
        yield '<div class="pairs">'
        for pair in section.pairs:
            yield from _pair(pair)
        yield "</div>"
    yield "</section>"


def _table(table: Table) -> Iterator[str]:
    filled = [place for place in range(len(table.columns)) if any(row[place] not in ("", None) for row in table.rows)]
    columns = [table.columns[place] for place in filled]
    rows = [[row[place] for place in filled] for row in table.rows]
    numeric = [all(isinstance(row[place], int | float | None) for row in rows) for place in range(len(columns))]
    yield '<div class="card table">'
    if table.title:
        yield f"<h3>{escaped(table.title)}</h3>"
    yield f'<div class="scroll"><table><thead><tr>{_cells("th", columns, numeric)}</tr></thead><tbody>'
    for row in rows:
        yield f"<tr>{_cells('td', row, numeric)}</tr>"
    yield "</tbody></table></div>"
    if table.note:
        yield f'<p class="note">{escaped(table.note)}</p>'
    yield "</div>"


def _cells(tag: str, values: Sequence[object], numeric: Sequence[bool]) -> str:
    return "".join(
        f"<{tag}{' class=number' if right else ''}>{escaped(_cell(value)).replace(' %', '&nbsp;%')}</{tag}>"
        for value, right in zip(values, numeric, strict=True)
    )


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else value


def _pair(pair: PicturePair) -> Iterator[str]:
    yield '<figure class="card pair"><div class="faces">'
    for one in (pair.left, pair.right):
        if one.jpeg is None:
            yield '<div class="none">no picture</div>'
        else:
            data = base64.b64encode(one.jpeg).decode("ascii")
            yield f'<img alt="{escaped(one.caption)}" src="data:image/jpeg;base64,{data}">'
    yield f'</div><div class="score">score {pair.score:.3f}</div>'
    yield f"<figcaption>{escaped(pair.left.caption)}<br>{escaped(pair.right.caption)}</figcaption></figure>"


def _footer(remarks: Sequence[str]) -> Iterator[str]:
    if remarks:
        yield "<footer>"
        yield from (f"<p>{escaped(remark)}</p>" for remark in remarks)
        yield "</footer>"
