"""Which estimate of a search's threshold holds: the FPIR achieved over the FPIR asked for, by size of gallery.

Fitted on folds 1-5 of ``people.txt`` and measured on folds 6-10, then the other way round. Galleries are drawn from the held-out
half, strangers are everybody else of it, with all their photographs, every stranger weighing the same. A figure is the mean over
the galleries and both directions; its interval comes from drawing the strangers again. The shipped operating points were set on
``peopleDevTrain.txt``, whose people are in both halves: they are not held out here, the other estimates are.

    PYTHONPATH=. python benchmarks/fpir.py --lfw ../shared/data/lfw --templates lfw_templates.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.lfw_gallery import LfwTemplates, lfw_templates
from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import InputError, OperatingPointError
from facesearch.core.fusion import Fusion, fused_vector
from facesearch.embedding.registry import card
from facesearch.evaluation.gallery_size import gallery_size_thresholds
from facesearch.evaluation.tails import fit_maxima_tail, fit_pareto_tail, independent_fmr, union_fmr

FPIRS = (1e-1, 1e-2, 3e-3)
SIZES = (100, 500, 1600)
N_RESAMPLES = 500
HOLDS_WITHIN = 1.5

Estimate = Callable[[float, int], float | None]


@dataclass(frozen=True, eq=False)
class Half:
    """The people of five folds: all photographs, and one of each person."""

    vectors: np.ndarray
    person: np.ndarray
    first: np.ndarray

    @property
    def n_people(self) -> int:
        return len(self.first)


def half_of(lfw: LfwTemplates, number: int) -> Half:
    inside = np.flatnonzero(lfw.half == number)
    inside = inside[np.argsort(lfw.paths[inside])]
    _, person = np.unique(lfw.people[inside], return_inverse=True)
    first = np.unique(person, return_index=True)[1]
    return Half(lfw.vectors[inside], person, first)


def estimates(half: Half, shipped: OperatingPoints) -> dict[str, Estimate]:
    """Return what gives a threshold for ``(fpir, templates searched)``; None where it refuses."""
    one = half.vectors[half.first]
    scores = (one @ one.T).astype(np.float64)
    pairs = np.sort(scores[np.triu_indices(len(scores), 1)])
    np.fill_diagonal(scores, np.nan)
    others = scores[~np.eye(len(scores), dtype=bool)].reshape(len(scores), -1)
    pareto, maxima = fit_pareto_tail(pairs, rate=1e-3), fit_maxima_tail(scores, block=100)

    def counted(fmr: float) -> float:
        return float(np.nextafter(pairs[-1 - int(fmr * pairs.size)], 2.0))

    def tail(fpir: float, n: int) -> float | None:
        fmr = independent_fmr(fpir, n)
        return pareto.threshold(fmr) if fmr <= pareto.rate else counted(fmr)

    named: dict[str, Estimate] = {
        "shipped points, union": lambda fpir, n: shipped.at_fpir(fpir, n).threshold,
        "shipped points, independent": lambda fpir, n: shipped.at_fmr(independent_fmr(fpir, n)).threshold,
        "counted, union": lambda fpir, n: counted(union_fmr(fpir, n)),
        "counted, independent": lambda fpir, n: counted(independent_fmr(fpir, n)),
        "order statistics": lambda fpir, n: gallery_size_thresholds(others, [n], fpir)[0].threshold,
        "generalised Pareto": tail,
        "extreme value": maxima.threshold,
    }
    return {name: cache(estimate) for name, estimate in named.items()}


@dataclass(frozen=True, eq=False)
class Searches:
    """The best score of every stranger's photograph, for each gallery, and what a gallery counts as."""

    best: list[tuple[np.ndarray, np.ndarray]]
    n_comparisons: list[int]
    n_people: int

    def rates(self, threshold: Callable[[int], float]) -> np.ndarray:
        """Return each stranger's rate of false positives, mean over the galleries that the stranger was no part of."""
        totals, n_galleries = np.zeros(self.n_people), np.zeros(self.n_people)
        for (person, best), n in zip(self.best, self.n_comparisons, strict=True):
            shown = np.bincount(person, minlength=self.n_people)
            false = np.bincount(person, weights=best >= threshold(n), minlength=self.n_people)
            present = shown > 0
            totals[present] += false[present] / shown[present]
            n_galleries[present] += 1
        seen = n_galleries > 0
        return totals[seen] / n_galleries[seen]


def searches(half: Half, size: int, *, kind: str, n_galleries: int) -> Searches:
    rng = np.random.default_rng(size)
    best, counts = [], []
    for _ in range(n_galleries):
        enrolled = rng.permutation(half.n_people)[:size]
        stranger = ~np.isin(half.person, enrolled)
        rows, n = gallery_of(half, enrolled, kind)
        best.append((half.person[stranger], (half.vectors[stranger] @ rows.T).max(axis=1)))
        counts.append(n)
    return Searches(best, counts, half.n_people)


def gallery_of(half: Half, enrolled: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
    """Return the vectors searched and how many chances a stranger has by the rule in use."""
    if kind == "one":
        return half.vectors[half.first[enrolled]], len(enrolled)
    inside = np.isin(half.person, enrolled)
    if kind == "best":
        return half.vectors[inside], int(inside.sum())
    people = [half.vectors[half.person == person] for person in enrolled]
    return np.stack([fused_vector(own) for own in people]), Fusion.MEAN.n_comparisons(map(len, people))


def ratio(directions: list[np.ndarray], asked: float) -> tuple[float, float, float]:
    """Return achieved over asked FPIR, mean of both directions, with the 95 % interval of drawing the strangers again."""
    rng = np.random.default_rng(0)
    drawn = [np.mean([rates[rng.integers(0, len(rates), len(rates))].mean() for rates in directions]) for _ in range(N_RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.mean([rates.mean() for rates in directions])) / asked, float(low) / asked, float(high) / asked


def measured(estimate: tuple[Estimate, Estimate], tried: tuple[Searches, Searches], asked: float) -> str:
    try:
        rates = [tried[1 - fitted].rates(lambda n, at=estimate[fitted]: at(asked, n)) for fitted in (0, 1)]
    except (OperatingPointError, InputError) as exc:
        return f"refused: {exc.message}"
    mean, low, high = ratio(rates, asked)
    return f"{mean:.2f} ({low:.2f}-{high:.2f}){'' if 1 / HOLDS_WITHIN <= mean <= HOLDS_WITHIN else ' !'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--templates", type=Path, help="NumPy archive of templates; written where there is none")
    parser.add_argument("--galleries", type=int, default=20)
    arguments = parser.parse_args()
    lfw = lfw_templates(arguments.lfw, arguments.templates)
    halves = (half_of(lfw, 0), half_of(lfw, 1))
    shipped = card("mobilenet-128").operating_points()
    fitted = tuple(estimates(half, shipped) for half in halves)
    console = Console(width=200)
    for kind, names in (("one", tuple(fitted[0])), ("best", ("shipped points, union",)), ("mean", ("shipped points, union",))):
        table = Table(title=f"achieved / asked FPIR, {kind} photograph(s) a person; ! outside a factor of {HOLDS_WITHIN}")
        for column in ("people", "FPIR asked", "templates counted", *names):
            table.add_column(column)
        for size in SIZES:
            tried = tuple(searches(half, size, kind=kind, n_galleries=arguments.galleries) for half in halves)
            for asked in FPIRS:
                cells = [measured((fitted[0][name], fitted[1][name]), tried, asked) for name in names]
                counted = np.mean([tried[0].n_comparisons, tried[1].n_comparisons])
                table.add_row(str(size), f"{asked:g}", f"{counted:.0f}", *cells)
        console.print(table)


if __name__ == "__main__":
    main()
