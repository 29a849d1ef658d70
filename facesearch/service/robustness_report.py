"""A robustness card as a report: what each damage costs, as a table and a plot.

It measures nothing: see ``evaluate_robustness``.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import numpy as np

from facesearch.evaluation.charts import Axis, Chart, Series, Tone
from facesearch.evaluation.intervals import percent
from facesearch.evaluation.report import Headline, Report, Section, Table
from facesearch.service.evaluate_robustness import DamageRates, RobustnessEvaluation
from facesearch.service.report_charts import rate_text

TONES: tuple[Tone, ...] = ("first", "second", "third", "mated", "non-mated")

REMARKS = (
    "One side is spoilt: every spoilt photograph (probe) is compared with all photographs as they are (gallery) but its own. Every "
    "person weighs the same. Photographs in which no face is found any more stay in every denominator.",
    "TAR: share of comparisons of one person that match. FMR: share of comparisons of two people that match. Thresholds are those "
    "that all pairs of the undamaged photographs of the same people set.",
)


def robustness_report(measured: RobustnessEvaluation, source: Path, *, when: datetime) -> Report:
    """Return the report.

    Args:
        measured: The outcome.
        source: The folder of the photographs.
        when: Date of the report.
    """
    embedded = measured.embedded
    facts = (
        ("date", when.strftime("%Y-%m-%d %H:%M %Z").strip()),
        ("photographs", f"{len(embedded):,} in {source.absolute().name}, {len(embedded.failures)} without a usable face"),
        ("people", f"{measured.n_people:,}, {measured.n_mated_people:,} of them with two or more photographs"),
        ("embedder", embedded.embedder_id),
        ("data digest", embedded.data_digest),
    )
    columns = ["damage", "what is done", "no face found"]
    for point in measured.rows[0].points:
        columns += [f"TAR at FMR {rate_text(point.fmr)}", f"false matches there (threshold {point.threshold:.4f})"]
    columns.append("accuracy over folds")
    table = Table(tuple(columns), tuple(_row(one) for one in measured.rows))
    section = Section("What damage costs", _text(measured), (robustness_chart(measured),), (table,))
    title = f"Robustness on {source.absolute().name}"
    return Report(title, facts, _headlines(measured), measured.warnings, (section,), REMARKS)


def robustness_chart(measured: RobustnessEvaluation) -> Chart:
    """Return TAR at each FMR, and the share of photographs with a face, by damage."""
    rows = measured.rows
    places = np.arange(len(rows), dtype=np.float64)
    series = [
        Series(f"TAR at FMR {rate_text(point.fmr)}", places, [100 * row.points[number].tar.value for row in rows], tone, "dots")
        for number, (point, tone) in enumerate(zip(rows[0].points, TONES, strict=False))
    ]
    found = [100 * (1 - row.failures.value) for row in rows]
    lowest = min([*found, *(100 * point.tar.value for row in rows for point in row.points)])
    series.insert(0, Series("photographs with a face", places, found, "muted", "dashed"))
    low = min(90.0, math.floor(lowest / 10) * 10.0)
    names = tuple((float(place), row.name) for place, row in enumerate(rows))
    return Chart(
        "Probes spoilt, gallery sound",
        Axis("damage of the probe", -0.5, len(rows) - 0.5, names=names),
        Axis("share, %", low, 100.0),
        tuple(series),
        note="Thresholds stay those of the undamaged photographs.",
        is_wide=True,
    )


def _row(one: DamageRates) -> tuple[str, ...]:
    cells = [one.name, one.what, str(one.failures)]
    for point in one.points:
        cells += [str(point.tar), str(point.false_matches)]
    return (*cells, "" if one.accuracy is None else str(one.accuracy))


def _text(measured: RobustnessEvaluation) -> str:
    return (
        f"{len(measured.rows) - 1} damages, each on every photograph with a face, before the detector looks for it. TAR with its "
        "counts; the share of false matches says whether the threshold still keeps the rate that it was set for."
    )


def _headlines(measured: RobustnessEvaluation) -> tuple[Headline, ...]:
    headlines = []
    for number, point in enumerate(measured.rows[0].points):
        worst = min(measured.rows, key=lambda row, at=number: row.points[at].tar.value)  # type: ignore[misc]
        tar = worst.points[number].tar
        detail = f"{worst.name}; undamaged {percent(point.tar.value)}"
        headlines.append(Headline(f"Lowest TAR at FMR {rate_text(point.fmr)}", percent(tar.value), detail))
    return tuple(headlines)
