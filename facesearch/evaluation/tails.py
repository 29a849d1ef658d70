"""Models of how high strangers score: the threshold for an FMR or FPIR beyond what can be counted directly.

It draws no gallery and knows no person: it is handed scores. ``gallery_size`` counts instead, ``benchmarks/fpir.py`` says which of
these estimates holds, and ``OperatingPoints.at_fpir`` is the one that decisions use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError, OperatingPointError
from facesearch.evaluation.evidence import MIN_FALSE
from facesearch.evaluation.trials import checked_scores

MIN_EXCEEDANCES = 50
"""Scores above the tail's beginning that a fit of its two parameters needs: with fewer the shape's standard error exceeds 0.14."""


def union_fmr(fpir: float, n_comparisons: int) -> float:
    """Return the FMR that keeps an FPIR whatever depends on whatever: ``fpir / n`` (the union bound)."""
    return checked_rate(fpir, what="FPIR") / _checked_number(n_comparisons)


def independent_fmr(fpir: float, n_comparisons: int) -> float:
    """Return the FMR that gives an FPIR were the comparisons of a search independent: ``1 − (1 − fpir)^(1/n)``."""
    fpir, n = checked_rate(fpir, what="FPIR"), _checked_number(n_comparisons)
    return 1.0 if fpir == 1.0 else -math.expm1(math.log1p(-fpir) / n)


@dataclass(frozen=True, slots=True)
class ParetoTail:
    """A generalised Pareto distribution of the scores above a high quantile (Pickands 1975; Coles 2001, chapter 4).

    Attributes:
        start: Score where the tail begins.
        rate: Share of all comparisons above ``start``, in (0, 1).
        shape: Below 0 the tail ends, at 0 it is exponential, above 0 it is heavier.
        scale: Of the excesses over ``start``, above 0.
        n_above: Comparisons above ``start`` that it was fitted to.
        n_comparisons: All comparisons.
    """

    start: float
    rate: float
    shape: float
    scale: float
    n_above: int
    n_comparisons: int

    def fmr(self, threshold: float) -> float:
        """Return the share of comparisons at or above a threshold, which must not lie below the tail's beginning.

        Raises:
            InputError: ``threshold`` lies below ``start``, where the model says nothing, or is NaN.
        """
        if not threshold >= self.start:
            raise InputError(f"the tail begins at {self.start:.4f}; it says nothing of the threshold {threshold}")
        excess = (threshold - self.start) / self.scale
        if abs(self.shape) < 1e-9:
            return self.rate * math.exp(-excess)
        inside = 1.0 + self.shape * excess
        return float(self.rate * inside ** (-1.0 / self.shape)) if inside > 0.0 else 0.0

    def threshold(self, fmr: float) -> float:
        """Return the threshold for an FMR; may lie above 1 where the fit is too heavy for cosines.

        Raises:
            InputError: ``fmr`` lies above ``rate``, where counting answers and the model does not.
            OperatingPointError: ``fmr`` lies below what the comparisons support (``MIN_FALSE`` false ones): no number is made up.
        """
        fmr = checked_rate(fmr, what="FMR")
        if fmr > self.rate:
            raise InputError(f"the tail holds for FMRs up to {self.rate:g}, not {fmr:g}: count instead")
        bound = MIN_FALSE / self.n_comparisons
        if fmr < bound * (1.0 - 1e-9):
            raise OperatingPointError(
                f"{self.n_comparisons} comparisons support nothing below FMR {bound:.2g}, {fmr:.2g} was asked for", bound=bound
            )
        ratio = self.rate / fmr
        if abs(self.shape) < 1e-9:
            return self.start + self.scale * math.log(ratio)
        return self.start + self.scale / self.shape * math.expm1(self.shape * math.log(ratio))


def fit_pareto_tail(scores: ArrayLike, *, rate: float = 1e-3) -> ParetoTail:
    """Fit the tail of non-mated scores above a quantile, by maximum likelihood.

    Args:
        scores: ``(N,)``, of different people; NaN is a failure to acquire, which scores below everything.
        rate: Share of the comparisons that make up the tail, in (0, 1).

    Raises:
        InputError: ``rate`` is out of range, or fewer than ``MIN_EXCEEDANCES`` scores lie in the tail.
    """
    from scipy.stats import genpareto

    checked, rate = checked_scores(scores), checked_rate(rate, what="the tail's share")
    present = checked[~np.isnan(checked)]
    wanted = math.floor(rate * checked.size * (1.0 + 1e-12))
    if wanted < MIN_EXCEEDANCES or wanted >= present.size:
        raise InputError(f"a tail needs {MIN_EXCEEDANCES} scores, and fewer than there are: {rate:g} of {checked.size} is {wanted}")
    start = float(np.partition(present, present.size - 1 - wanted)[present.size - 1 - wanted])
    excesses = present[present > start] - start
    if excesses.size < MIN_EXCEEDANCES:
        raise InputError(f"only {excesses.size} scores lie above {start:.4f}, too many are equal: {MIN_EXCEEDANCES} are needed")
    shape, _, scale = genpareto.fit(excesses, floc=0.0)
    return ParetoTail(start, excesses.size / checked.size, float(shape), float(scale), int(excesses.size), int(checked.size))


@dataclass(frozen=True, slots=True)
class MaximaTail:
    """A generalised extreme-value distribution of the best score of a stranger among ``block`` templates (Coles 2001, chapter 3).

    The best of ``n`` is that of ``n / block`` such blocks: ``P(best < t) = G(t)^(n / block)``.

    Attributes:
        shape: In SciPy's sign: above 0 the tail ends.
        location: Of the distribution.
        scale: Above 0.
        block: Templates that each maximum was taken over.
        n_maxima: Strangers it was fitted to.
    """

    shape: float
    location: float
    scale: float
    block: int
    n_maxima: int

    def threshold(self, fpir: float, n_templates: int) -> float:
        """Return the threshold for an FPIR among ``n_templates``.

        Raises:
            OperatingPointError: Fewer than ``MIN_FALSE`` of the maxima would lie above it: no number is made up.
        """
        from scipy.stats import genextreme

        fpir = checked_rate(fpir, what="FPIR")
        if fpir * self.n_maxima * (1.0 + 1e-9) < MIN_FALSE:
            bound = MIN_FALSE / self.n_maxima
            raise OperatingPointError(
                f"{self.n_maxima} strangers support nothing below FPIR {bound:.2g}, {fpir:.2g} was asked for", bound=bound
            )
        # A block lies above the threshold as often as ``block`` of the independent comparisons that give the FPIR do.
        blocks = _checked_number(n_templates) / self.block
        share = 1.0 if fpir == 1.0 else -math.expm1(math.log1p(-fpir) / blocks)
        return float(genextreme.isf(share, self.shape, loc=self.location, scale=self.scale))


def fit_maxima_tail(scores: NDArray[np.floating], *, block: int, seed: int = 0) -> MaximaTail:
    """Fit the distribution of the best of ``block`` templates drawn for each stranger, by maximum likelihood.

    Args:
        scores: ``(S, G)`` of strangers against templates; NaN where the two are not to be compared (the same person).
        block: Templates drawn for each stranger, at least 1.
        seed: Of the draw.

    Raises:
        InputError: Fewer than ``MIN_EXCEEDANCES`` strangers, or fewer than ``block`` scores for one.
    """
    from scipy.stats import genextreme

    if scores.ndim != 2 or scores.shape[0] < MIN_EXCEEDANCES:
        raise InputError(f"maxima need a table of at least {MIN_EXCEEDANCES} strangers, not {scores.shape}")
    rng = np.random.default_rng(seed)
    maxima = np.empty(scores.shape[0])
    for number, row in enumerate(scores):
        present = row[~np.isnan(row)]
        if not 1 <= block <= present.size:
            raise InputError(f"stranger {number} has {present.size} scores; blocks of {block} cannot be drawn")
        maxima[number] = rng.choice(present, block, replace=False).max()
    shape, location, scale = genextreme.fit(maxima)
    return MaximaTail(float(shape), float(location), float(scale), block, int(maxima.size))


def _checked_number(n_comparisons: int) -> int:
    if n_comparisons < 1:
        raise InputError(f"a search compares with at least one template, not {n_comparisons}")
    return n_comparisons
