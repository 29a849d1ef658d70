"""One page about a run of training: its curves, its figures, what it was told, and what it warned of.

It measures nothing: everything is read from the run's folder.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from facesearch.core.errors import FileWriteError
from facesearch.evaluation.charts import Axis, Chart, Mark, Series
from facesearch.evaluation.report import Headline, Report, Section, Table, render_report
from facesearch.training.progress import Progress
from facesearch.training.run_folder import CHANGE, WORSE, RunFolder

REMARKS = (
    "TAR: share of mated pairs that match at the threshold which lets through the stated share of non-mated pairs (FMR). All pairs "
    "of the people held out, every person weighing the same. The best of several validations looks better than it is: measure the "
    "exported network on other photographs.",
    "Squared distances of unit vectors lie in 0 … 4; random directions are 2 apart.",
)


def write_report(folder: RunFolder, progress: Progress, n_steps: int) -> Path:
    """Write a run's page and return where it lies.

    Raises:
        FileWriteError: It cannot be written.
    """
    text = render_report(run_report(folder, progress, n_steps))
    try:
        folder.report.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise FileWriteError(
            f"the report {folder.report} cannot be written: {exc.strerror or exc}", path=str(folder.report)
        ) from exc
    return folder.report


def run_report(folder: RunFolder, progress: Progress, n_steps: int) -> Report:
    """Return the page about a run."""
    plan, facts = folder.read()
    lines = folder.lines()
    steps = [line for line in lines if line["kind"] == "step"]
    validations = [line for line in lines if line["kind"] == "validation"]
    crops = f"{facts['n_crops']} crops of {facts['n_people']} people"
    sections = [section for section in (_learning(steps), _validations(validations, progress)) if section is not None]
    told = tuple((name, str(value)) for name, value in plan.changed().items())
    tables = [Table(("name", "value"), told)]
    changes = tuple(
        (line["step"], name, str(value)) for line in lines if line["kind"] == CHANGE for name, value in line["plan"].items()
    )
    if changes:
        tables.append(Table(("changed after step", "name", "value from there on"), changes))
    sections.append(Section("The plan", "What was said otherwise than by default.", tables=tuple(tables)))
    return Report(
        title=plan.note or f"Training {facts['architecture']['backbone']} by {plan.loss}",
        facts=(
            ("run", str(folder.path)),
            ("trained on", f"{crops} (store {facts['crops_digest'][:12]})"),
            ("begun with", str(facts["start"])),
            ("batches", str(facts["sampler"])),
            ("validated on", f"{facts['n_validation_crops']} crops of {facts['n_validation_people']} other people"),
            ("torch", str(facts["torch"])),
        ),
        headlines=_headlines(progress, n_steps, validations),
        warnings=tuple(f"step {line['step']}: {line['text']}" for line in lines if line["kind"] in ("warning", WORSE)),
        sections=tuple(sections),
        remarks=REMARKS,
    )


def _headlines(progress: Progress, n_steps: int, validations: list[dict[str, Any]]) -> tuple[Headline, ...]:
    each = 1000 * progress.trained_s / max(1, progress.n_crops)
    ended = " (ended early)" if progress.is_over else ""
    found = [
        Headline("Steps", f"{progress.step} of {n_steps}", f"{progress.n_crops} crops in this process{ended}"),
        Headline(
            "Time a crop",
            f"{each:.1f} ms",
            f"{100 * progress.waited_s / max(1e-9, progress.trained_s):.1f} % of it waiting for crops to be loaded",
        ),
    ]
    best = next((one for one in validations if one["step"] == progress.best_step), None)
    if best is not None:
        lowest = best["tar"][-1]
        detail = f"step {best['step']}; {best['n_mated_people']} people with two or more crops of {best['n_people']}"
        found.insert(0, Headline(f"TAR at FMR {lowest['fmr']:g}", f"{100 * lowest['tar']:.2f} %", detail))
    return tuple(found)


def _learning(steps: list[dict[str, Any]]) -> Section | None:
    if len(steps) < 2:
        return None
    x = [line["step"] for line in steps]

    def chart(title: str, label: str, names: tuple[tuple[str, str, str], ...], note: str) -> Chart | None:
        names = tuple(one for one in names if any(one[0] in line for line in steps))  # no teachers, no line of theirs
        if not names:
            return None
        series = [[line.get(name, math.nan) for line in steps] for name, _, _ in names]
        highest = max((value for one in series for value in one if math.isfinite(value)), default=1.0)
        return Chart(
            title,
            Axis("step", 0, max(x)),
            Axis(label, 0, highest * 1.05 if highest > 0 else 1.0),
            tuple(Series(told, x, one, tone) for (_, told, tone), one in zip(names, series, strict=True)),  # type: ignore[arg-type]
            note=note,
        )

    charts = (
        chart("Loss", "loss", (("loss", "all of it", "first"), ("distillation", "teachers", "third")), ""),
        chart(
            "Active terms",
            "share",
            (("active", "above zero", "first"),),
            "Pairs, triplets or crops that still teach something.",
        ),
        chart(
            "Distances in a batch",
            "squared distance",
            (("mated_d2", "mated", "mated"), ("non_mated_d2", "non-mated", "non-mated")),
            "Both falling to 0 is a collapse.",
        ),
        chart("Rate", "learning rate", (("rate", "rate", "muted"),), ""),
    )
    return Section("Learning", charts=tuple(one for one in charts if one is not None))


def _validations(validations: list[dict[str, Any]], progress: Progress) -> Section | None:
    if not validations:
        return None
    fmrs = [one["fmr"] for one in validations[0]["tar"]]
    rows = [(line["step"], *(f"{100 * one['tar']:.2f} %" for one in line["tar"])) for line in validations]
    table = Table(("step", *(f"TAR at FMR {fmr:g}" for fmr in fmrs)), tuple(rows))
    if len(validations) < 2:
        return Section("People held out", tables=(table,))
    tones = ("third", "first", "second")
    x = [line["step"] for line in validations]
    series = tuple(
        Series(f"FMR {fmr:g}", x, [line["tar"][place]["tar"] for line in validations], tones[place % 3])  # type: ignore[arg-type]
        for place, fmr in enumerate(fmrs)
    )
    lowest = min(one["tar"] for line in validations for one in line["tar"])
    chart = Chart(
        "TAR on people held out",
        Axis("step", 0, max(x)),
        Axis("TAR", max(0.0, lowest - 0.02), 1.0),
        series,
        (Mark(float(progress.best_step), "best"),),
        is_wide=True,
    )
    return Section("People held out", charts=(chart,), tables=(table,))
