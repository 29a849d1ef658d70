"""What was measured, laid out as a report: facts, headlines, charts, tables and the worst pairs as pictures.

It measures nothing; the charts are ``report_charts``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from facesearch.core.face import Detection
from facesearch.evaluation.intervals import Rate, WeightedRate, percent
from facesearch.evaluation.one_to_many import OpenSetPoint
from facesearch.evaluation.report import Headline, Picture, PicturePair, Report, Section, Table
from facesearch.service.evaluate_folder import FolderEvaluation
from facesearch.service.evaluate_groups import GroupRates
from facesearch.service.evaluate_lfw import LfwEvaluation
from facesearch.service.evaluate_pairs import PairsEvaluation
from facesearch.service.evaluate_people import PeopleEvaluation
from facesearch.service.photographs import AcquisitionFailure, EmbeddedPhotographs
from facesearch.service.report_charts import all_pairs_charts, open_set_charts, quality_chart, rate_text, trials_charts

FaceJpeg = Callable[[Path, Detection], bytes | None]
"""Cuts a face out of a photograph and encodes it; None where the photograph cannot be read any more."""

MAX_FAILURES = 50
"""Failures to acquire listed; the JSON has them all."""

REMARKS = (
    "FMR (false match rate): share of comparisons of two people that match. FNMR (false non-match rate): share of comparisons of "
    "one person that do not; TAR is its complement. FPIR: share of searches for somebody who is not enrolled that return "
    "somebody. FNIR: share of searches for somebody enrolled that do not return that person.",
    "A score is the cosine similarity of two templates, in [-1, 1]; it is no percentage. A match is a score at or above the "
    "threshold. Photographs in which no face was found stay in every denominator.",
    "A rate is supported where at least three false matches are expected and those found are spread over ten pairs of people; "
    "beyond that only the bound is known.",
)


def lfw_report(measured: LfwEvaluation, images: Path, face_jpeg: FaceJpeg, *, when: datetime) -> Report:
    """Return the report of the LFW protocols."""
    accuracy = measured.report.accuracy
    headlines = []
    if accuracy is not None:
        detail = f"{accuracy.total.count} of {accuracy.total.total} pairs, mean and standard error of {len(accuracy.folds)} folds"
        headlines.append(Headline("Accuracy", f"{100 * accuracy.mean:.2f} ± {100 * accuracy.standard_error:.2f} %", detail))
    rows = tuple(
        (rate_text(point.fmr), point.threshold, str(point.tar), _interval(point.tar.interval()), str(point.false_matches), "")
        for point in measured.report.tar
    )
    note = "Wilson's 95 % intervals: the list's pairs count as independent trials."
    tables = [Table(_RATE_COLUMNS, rows, note=note)]
    if accuracy is not None:
        folds = tuple((fold.fold + 1, fold.threshold, str(fold.accuracy)) for fold in accuracy.folds)
        tables.append(Table(("fold", "threshold", "accuracy"), folds, "Folds", "Thresholds are chosen on the other nine folds."))
    text = f"{measured.report.n_pairs} pairs of the list, {measured.report.n_failures} of them without a face."
    sections = [Section("The list of pairs (1:1)", text, tables=tuple(tables))]
    facts = [("embedder", measured.embedder_id)]
    warnings: tuple[str, ...] = ()
    if measured.embedded is not None:
        facts = _facts(measured.embedded, images, when)
        if measured.people is not None:
            warnings = measured.people.warnings
            headlines += _headlines(measured.people)
            sections += _people_sections(measured.people, measured.embedded, images, face_jpeg)
    sections += _failures(measured.failures)
    return Report("Labeled Faces in the Wild", tuple(facts), tuple(headlines), warnings, tuple(sections), REMARKS)


def people_report(measured: FolderEvaluation, folder: Path, face_jpeg: FaceJpeg, *, when: datetime) -> Report:
    """Return the report of a folder of labelled photographs."""
    people, embedded = measured.people, measured.embedded
    sections = [*_people_sections(people, embedded, folder, face_jpeg), *_failures(embedded.failures)]
    facts = (*_facts(embedded, folder, when), ("people", f"{people.pairs.n_people}"))
    title = f"Error rates on {folder.absolute().name}"
    return Report(title, facts, tuple(_headlines(people)), people.warnings, tuple(sections), REMARKS)


def pairs_report(measured: PairsEvaluation, pairs_csv: Path, face_jpeg: FaceJpeg, *, when: datetime) -> Report:
    """Return the report of a list of pairs."""
    trials = measured.trials
    rows, headlines = [], []
    for point in measured.points:
        answer = point.evidence.answer(point.at.fmr)
        remark = "" if answer.is_supported else str(answer)
        tar, false = str(point.at.tar), str(point.at.false_matches)
        rows.append((rate_text(point.at.fmr), point.at.threshold, tar, _interval(point.tar_interval), false, remark))
        if answer.is_supported:
            headlines.append(_headline(f"TAR at FMR {rate_text(point.at.fmr)}", point.at.tar, point.tar_interval))
    note = (
        "Wilson's 95 % intervals: every person is in one pair only."
        if measured.are_independent
        else "95 % intervals by resampling people: the list compares people in several pairs, which are not independent."
    )
    text = f"{trials.n_mated} pairs of the same person, {trials.n_non_mated} of two people, {trials.n_failures} without a face."
    charts = trials_charts(trials, [(point.at.fmr, point.at.threshold) for point in measured.points])
    sections = [Section("Error rates (1:1)", text, charts, (Table(_RATE_COLUMNS, tuple(rows), note=note),))]
    sections += _groups(measured.groups)
    root = measured.listed.root
    for is_mated, (title, said) in zip((False, True), _WORST, strict=True):
        worst = [(score, pair.a, pair.b) for pair, score in measured.worst(is_mated=is_mated)]
        sections += _pictures(title, said, worst, measured.embedded, (root, face_jpeg))
    sections += _failures(measured.embedded.failures)
    facts = (*_facts(measured.embedded, pairs_csv, when), ("pairs", f"{len(trials)}"))
    title = f"Error rates on {pairs_csv.name}"
    return Report(title, facts, tuple(headlines), measured.warnings, tuple(sections), REMARKS)


_RATE_COLUMNS = ("FMR", "threshold", "TAR", "95 % interval", "false matches", "remark")
_WORST = (
    ("Worst false matches", "Two people by their labels, and the highest scores: look-alikes, wrong labels or one person twice."),
    (
        "Worst false non-matches",
        "One person by the label, and the lowest scores: hard photographs, wrong labels or the wrong face.",
    ),
)


def _people_sections(people: PeopleEvaluation, embedded: EmbeddedPhotographs, root: Path, face_jpeg: FaceJpeg) -> list[Section]:
    pairs = people.pairs
    rows = tuple(
        (
            rate_text(point.fmr),
            point.threshold,
            str(point.tar),
            _interval(ends.tar),
            str(point.false_matches),
            "" if point.is_supported else str(point.answer),
        )
        for point, ends in zip(people.points, people.intervals, strict=True)
    )
    pooled = tuple((rate_text(one.fmr), one.threshold, str(one.tar), str(one.false_matches)) for one in people.pooled)
    tables = (
        Table(_RATE_COLUMNS, rows, "Every person weighing the same", "95 % intervals by resampling people."),
        Table(
            ("FMR", "threshold", "TAR", "false matches"),
            pooled,
            "Every pair of photographs weighing the same",
            "Pooled rates are decided by the people with the most photographs; the rates above are the headline.",
        ),
    )
    text = (
        f"Every photograph with every other: {pairs.mated.total:,} comparisons of one person ({pairs.n_mated_people:,} people) and "
        f"{pairs.non_mated.total:,} of two ({pairs.n_person_pairs:,} pairs of people)."
    )
    sections = [Section("All pairs (1:1)", text, all_pairs_charts(people), tables)]
    sections += _open_set(people)
    sections += _quality(people)
    sections += _groups(people.groups)
    for found, (title, said) in zip((pairs.worst_false_matches, pairs.worst_false_non_matches), _WORST, strict=True):
        paths = people.known.paths
        worst = [(pair.score, paths[pair.first], paths[pair.second]) for pair in found]
        sections += _pictures(title, said, worst, embedded, (root, face_jpeg))
    return sections


def _open_set(people: PeopleEvaluation) -> list[Section]:
    if people.open_set is None:
        return []
    search = people.open_set.search
    strangers = (
        "Few people have one photograph only: for strangers, each probe was searched again in the gallery without its person."
        if search.is_leave_one_out
        else "Strangers are the people with one photograph."
    )
    rows = tuple(
        (rate_text(point.fpir), point.threshold, str(point.fnir), _interval(fnir), str(point.false_positives), _bound(point))
        for point, (fnir, _) in zip(people.open_set.points, people.open_set.intervals, strict=True)
    )
    columns = ("FPIR", "threshold", "FNIR", "95 % interval", "false positives", "remark")
    ranks = tuple((rank, str(rate)) for rank, rate in people.open_set.ranks)
    text = (
        f"A gallery of {search.n_gallery:,} people with their first photograph each; their other photographs are searched for. "
        f"{strangers} Every person weighs the same."
    )
    tables = (Table(columns, rows), Table(("rank", "right person among the first"), ranks, "Whatever the score"))
    return [Section("Open-set search (1:N)", text, open_set_charts(people.open_set.trials, people.open_set.points), tables)]


def _quality(people: PeopleEvaluation) -> list[Section]:
    quality = people.quality
    if quality is None:
        return []
    rows = tuple((one.name, str(one.refused), str(one.fnmr), _interval(one.interval)) for one in (*quality.listed, *quality.gates))
    point = quality.point
    text = (
        f"What is missed at FMR {rate_text(point.fmr)} (threshold {point.threshold:.4f}, set on all photographs) when those of "
        f"lowest quality are refused, every person weighing the same. {quality.n_photographs:,} photographs with a face; "
        f"{quality.n_without_face:,} without one are refused by that already and in none of these comparisons."
    )
    note = "95 % intervals by resampling people. A gate refuses by each of its limits, not by the score that orders the curve."
    table = Table(("refused", "photographs refused", "FNMR of the rest", "95 % interval"), rows, note=note)
    return [Section("Refusing photographs of low quality", text, (quality_chart(quality),), (table,))]


def _bound(point: OpenSetPoint) -> str:
    """Return why a rate is not supported, or nothing."""
    return "" if point.fpir is None or point.is_supported else str(point.evidence.answer(point.fpir))


def _groups(groups: Sequence[GroupRates]) -> list[Section]:
    if not groups:
        return []
    tables = []
    for place, shared in enumerate(groups[0].points):
        rows = []
        for group in groups:
            point = group.points[place]
            false, missed = point.false_matches, point.non_matches
            rows.append(
                (
                    group.group,
                    group.n_people,
                    group.n_photographs,
                    "" if false is None else str(false),
                    _interval(point.fmr_interval),
                    "" if missed is None else str(missed),
                    _interval(point.fnmr_interval),
                    point.remark,
                )
            )
        columns = ("group", "people", "photographs", "FMR", "95 %", "FNMR", "95 %", "remark")
        tables.append(
            Table(
                columns, tuple(rows), f"At the common threshold {shared.threshold:.4f} (FMR {rate_text(shared.fmr)} over everybody)"
            )
        )
    text = "Error rates of each group at the threshold that all share; a false match is counted between two people of one group."
    return [Section("Groups", text, tables=tuple(tables))]


def _pictures(
    title: str,
    text: str,
    worst: Iterable[tuple[float, Path, Path]],
    embedded: EmbeddedPhotographs,
    making: tuple[Path, FaceJpeg],
) -> list[Section]:
    root, face_jpeg = making

    def picture(path: Path) -> Picture:
        row = embedded.rows.get(path)
        return Picture(path.as_posix(), None if row is None else face_jpeg(root / path, embedded.detections[row]))

    pairs = tuple(PicturePair(score, picture(a), picture(b)) for score, a, b in worst)
    return [Section(title, text, pairs=pairs)] if pairs else []


def _failures(failures: Sequence[AcquisitionFailure]) -> list[Section]:
    if not failures:
        return []
    rows = tuple((one.path, one.code, one.message) for one in failures[:MAX_FAILURES])
    note = f"The first {MAX_FAILURES} of {len(failures)}; the JSON has them all." if len(failures) > MAX_FAILURES else ""
    text = f"{len(failures)} photographs gave no template; they count as errors of their comparisons."
    return [Section("Failures to acquire", text, tables=(Table(("photograph", "code", "why"), rows, note=note),))]


def _facts(embedded: EmbeddedPhotographs, source: Path, when: datetime) -> list[tuple[str, str]]:
    return [
        ("date", when.strftime("%Y-%m-%d %H:%M %Z").strip()),
        ("photographs", f"{len(embedded):,} in {source.absolute().name}, {len(embedded.failures)} without a usable face"),
        ("embedder", embedded.embedder_id),
        ("data digest", embedded.data_digest),
    ]


def _headlines(people: PeopleEvaluation) -> list[Headline]:
    supported = [(one, ends.tar) for one, ends in zip(people.points, people.intervals, strict=True) if one.is_supported]
    headlines = [_headline(f"TAR at FMR {rate_text(point.fmr)}", point.tar, ends) for point, ends in supported[-2:]]
    if people.open_set is not None:
        searched = zip(people.open_set.points, people.open_set.intervals, strict=True)
        found = [(point, ends[0]) for point, ends in searched if point.is_supported]
        headlines += [_headline(f"FNIR at FPIR {rate_text(point.fpir)}", point.fnir, ends) for point, ends in found[-1:]]
    return headlines


def _headline(name: str, rate: Rate | WeightedRate, interval: tuple[float, float] | None) -> Headline:
    units = f" of {rate.n_units:,} {rate.unit}" if isinstance(rate, WeightedRate) else ""
    between = f", 95 % {_interval(interval)}" if interval is not None else ""
    return Headline(name, percent(rate.value), f"{rate.count:,}/{rate.total:,}{units}{between}")


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"
