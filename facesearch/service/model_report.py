"""What was measured of an embedder as a report: a card with thresholds, rates, speed, score histograms and the DET curve.

It measures nothing: see ``calibrate_model``.
"""

from __future__ import annotations

from datetime import datetime

from facesearch.evaluation.intervals import percent
from facesearch.evaluation.report import Headline, Report, Section, Table
from facesearch.service.calibrate_model import ModelCalibration
from facesearch.service.calibrate_pairs import PairsCalibration
from facesearch.service.embedder_speed import Speed
from facesearch.service.photographs import EmbeddedPhotographs
from facesearch.service.report_charts import all_pairs_charts, rate_text, trials_charts

REMARKS = (
    "FMR (false match rate): share of comparisons of two people that match. TAR (true acceptance rate): share of comparisons of "
    "one person that do. A score is the cosine similarity of two templates, in [-1, 1]; a match is a score at or above the "
    "threshold.",
    "The thresholds were set on the photographs that these rates are of. Photographs in which no face was found stay in every "
    "denominator.",
)


def model_report(measured: ModelCalibration, name: str, *, when: datetime) -> Report:
    """Return the report.

    Args:
        measured: The outcome.
        name: The embedder's name.
        when: Date of the report.
    """
    pairs = measured.people.pairs
    facts = _facts(measured.embedded, measured.source, measured.speed, when)
    rows: list[tuple[str | float, ...]] = []
    for point, ends in zip(measured.points, measured.people.intervals, strict=True):
        between = "" if ends.tar is None else f"{percent(ends.tar[0])} to {percent(ends.tar[1])}"
        rows.append((rate_text(point.fmr), point.threshold, str(point.tar), between, str(point.false_matches)))
    rows += [(rate_text(point.fmr), "none", "", "", str(point.answer)) for point in measured.unsupported]
    table = Table(_COLUMNS, tuple(rows), note="Every person weighs the same; intervals by resampling people.")
    text = (
        f"{pairs.mated.total:,} comparisons of one person ({pairs.n_mated_people:,} people) and {pairs.non_mated.total:,} of two "
        f"({pairs.n_person_pairs:,} pairs of people)."
    )
    sections = [Section("Operating points", text, all_pairs_charts(measured.people), (table,))]
    return Report(f"Embedder {name}", facts, _headlines(measured), measured.people.warnings, tuple(sections), REMARKS)


_COLUMNS = ("FMR", "threshold", "TAR", "95 % interval", "false matches, or why there is no point")


def pairs_model_report(measured: PairsCalibration, name: str, *, when: datetime) -> Report:
    """Return the report of an embedder measured on a list of pairs; arguments as ``model_report``."""
    found = measured.measured
    rows: list[tuple[str | float, ...]] = []
    for point in measured.points:
        ends = point.tar_interval
        between = "" if ends is None else f"{percent(ends[0])} to {percent(ends[1])}"
        rows.append((rate_text(point.at.fmr), point.at.threshold, str(point.at.tar), between, str(point.at.false_matches)))
    for point in measured.unsupported:
        rows.append((rate_text(point.at.fmr), "none", "", "", str(point.evidence.answer(point.at.fmr))))  # noqa: PERF401
    text = f"{found.trials.n_mated:,} pairs of one person and {found.trials.n_non_mated:,} of two."
    charts = trials_charts(found.trials, [(point.at.fmr, point.at.threshold) for point in measured.points])
    section = Section("Operating points", text, charts, (Table(_COLUMNS, tuple(rows)),))
    facts = _facts(found.embedded, measured.source, measured.speed, when)
    return Report(f"Embedder {name}", facts, (), found.warnings, (section,), REMARKS)


def _facts(embedded: EmbeddedPhotographs, source: str, speed: Speed, when: datetime) -> tuple[tuple[str, str], ...]:
    return (
        ("date", when.strftime("%Y-%m-%d %H:%M %Z").strip()),
        ("embedder", embedded.embedder_id),
        ("measured on", source),
        ("data digest", embedded.data_digest),
        ("failures to acquire", f"{len(embedded.failures)} of {len(embedded):,} photographs"),
        ("speed", speed_text(speed)),
    )


def speed_text(speed: Speed) -> str:
    """Return the speed in words."""
    whole = "" if speed.photographs_per_s is None else f", {speed.photographs_per_s:.1f} photographs a second from file to template"
    return f"{speed.embedding_ms:.2f} ms a crop{whole}; {speed.processor}"


def _headlines(measured: ModelCalibration) -> tuple[Headline, ...]:
    headlines = []
    report = measured.accuracy
    if report is not None and report.accuracy is not None:
        accuracy = report.accuracy
        detail = f"{accuracy.total.count} of {accuracy.total.total} pairs, mean and standard error of {len(accuracy.folds)} folds"
        headlines.append(Headline("Accuracy", f"{100 * accuracy.mean:.2f} ± {100 * accuracy.standard_error:.2f} %", detail))
    for point in measured.points[-2:]:
        detail = f"{point.tar.count:,}/{point.tar.total:,}, threshold {point.threshold:.4f}"
        headlines.append(Headline(f"TAR at FMR {rate_text(point.fmr)}", percent(point.tar.value), detail))
    return tuple(headlines)
