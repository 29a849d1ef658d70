"""What damage costs the shipped embedder and the recipes: ``facesearch evaluate robustness`` of each, side by side.

Usage::

    python -m benchmarks.robustness [--lfw DIR] [--embedders NAME ...] [--cache DIR] [--json FILE]

The photographs are those of ``peopleDevTest.txt`` (no shipped threshold was set on them), faces found by our detector, everything
in f32. Embedders that were not added (``facesearch models add``) are named and left out. Templates are cached: an interrupted run
goes on.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.side_by_side import ROOT, Results
from facesearch.bootstrap import Parts
from facesearch.core.errors import UnknownEmbedderError
from facesearch.evaluation.intervals import percent
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.evaluate_robustness import ROBUSTNESS_FMRS, RobustnessEvaluation
from facesearch.settings import Settings

EMBEDDERS = ("mobilenet-128", "sface", "w600k_mbf", "facenet-casia-webface", "dlib")


def table(measured: dict[str, RobustnessEvaluation]) -> str:
    """Return the embedders' cards side by side as Markdown."""
    first = next(iter(measured.values()))
    heads = ["damage of the probe", "no face found"]
    heads += [f"{name}: TAR at FMR {point.fmr:g}" for name, one in measured.items() for point in one.rows[0].points]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for place, row in enumerate(first.rows):
        cells = [f"{row.name}: {row.what}", str(row.failures)]
        for one in measured.values():
            for point in one.rows[place].points:
                false = f"FMR there {percent(point.false_matches.value)}"
                cells.append(f"{percent(point.tar.value)} ({point.tar.count}/{point.tar.total}); {false}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(os.environ.get("FACESEARCH_DATA", ROOT.parent / "shared" / "data")) / "lfw"
    parser.add_argument("--lfw", type=Path, default=default, help="LFW's folder")
    parser.add_argument("--embedders", nargs="+", default=EMBEDDERS)
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench" / "robustness-cache", help="folder of the templates' cache")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = Results("robustness")
    options = EvaluationOptions(fmrs=ROBUSTNESS_FMRS, face="central", cache=given.cache)
    measured: dict[str, RobustnessEvaluation] = {}
    for name in given.embedders:
        try:
            parts = Parts(Settings(embedder=name, precision="f32", threads=given.threads))
            measure = parts.robustness
        except UnknownEmbedderError as exc:
            print(f"{name}: left out, {exc.message}")
            continue
        measured[name] = measure(given.lfw / "images", options=options, people_file=given.lfw / "peopleDevTest.txt")
        print(f"{name}: done", flush=True)
    if not measured:
        raise SystemExit("no embedder of those asked for is installed")
    text = table(measured)
    print(text)
    n_people = next(iter(measured.values())).n_people
    about = (
        f"{n_people} people; spoilt probes against the photographs as they are, every person weighing the same; thresholds of "
        "all pairs of the undamaged photographs of the same people (docs/robustness.md)."
    )
    results.tables += [about, text]
    results.write(given.json)


if __name__ == "__main__":
    main()
