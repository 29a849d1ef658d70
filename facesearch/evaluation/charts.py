"""Line charts as SVG text: small, sharp in print, coloured by the page they stand in.

It computes no figure and writes no file: see ``report`` for the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError

WIDTH, WIDE, HEIGHT = 520, 1068, 340
"""Size of a chart, and of a wide one, in its own units; the page scales it."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 16, 46
_MIN_STEP = 0.35
"""Points nearer than this to the one before cannot be told apart and are left out."""

Tone = Literal["mated", "non-mated", "first", "second", "third", "muted"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What is on it.
        low: Where it begins; above 0 on a logarithmic axis.
        high: Where it ends, above ``low``.
        is_log: Whether it is logarithmic.
        names: Values and texts marked instead of round numbers, for an axis of kinds.
    """

    label: str
    low: float
    high: float
    is_log: bool = False
    names: tuple[tuple[float, str], ...] = ()

    def __post_init__(self) -> None:
        """Check the range."""
        is_range = math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high
        if not is_range or (self.is_log and self.low <= 0):
            raise InputError(f"an axis needs low < high, above 0 where it is logarithmic, not {self.low} and {self.high}")

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values as shares of the axis, held within [0, 1]; NaN stays NaN."""
        if self.is_log:
            # A rate of 0 has no place on a logarithmic axis: it is drawn at the axis' end.
            share = np.log(np.maximum(values, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (values - self.low) / (self.high - self.low)
        return np.clip(share, 0.0, 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Return values and texts of about six marks, or of the names."""
        if self.names:
            return list(self.names)
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [(10.0**power, _power_text(power)) for power in range(first, last + 1)]
        raw = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        values = [round(number * step, 12) for number in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(value, f"{value:g}".replace("-", "−")) for value in values]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One line.

    Attributes:
        name: For the legend.
        x: Finite numbers, ``(N,)``.
        y: As many; NaN breaks the line.
        tone: Its colour, by meaning.
        style: A line, a broken line, a thin line such as an interval, the area under a line, or dots.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    tone: Tone = "first"
    style: Literal["line", "dashed", "thin", "area", "dots"] = "line"


@dataclass(frozen=True, slots=True)
class Mark:
    """An upright line across a chart, such as a threshold.

    Attributes:
        x: Where it stands.
        label: Short text at its upper end.
    """

    x: float
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A chart with its heading and a sentence below.

    Attributes:
        title: Heading.
        x: Axis across.
        y: Axis upwards.
        series: What is drawn, in this order.
        marks: Upright lines.
        note: How to read it.
        is_wide: Whether it takes the page's width.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    note: str = ""
    is_wide: bool = False

    @property
    def width(self) -> int:
        """Its width in its own units."""
        return WIDE if self.is_wide else WIDTH


def escaped(value: object) -> str:
    """Return a text for HTML or SVG; control characters, and bytes of a file name that are no UTF-8, are shown as escapes."""
    shown = "".join(one if one.isprintable() or one in "\n\u200c\u200d" else f"\\u{ord(one):04x}" for one in str(value))
    return escape(shown)


def chart_svg(chart: Chart) -> str:
    """Return a chart as one ``<svg>`` element; its colours are classes that the page defines.

    Raises:
        InputError: A series' x and y differ in length.
    """
    parts = [
        f'<svg class="chart" viewBox="0 0 {chart.width} {HEIGHT}" role="img" aria-label="{escaped(chart.title)}">',
        f"<title>{escaped(chart.title)}</title>",
        *_frame(chart),
        *(_mark(chart, mark, number) for number, mark in enumerate(chart.marks)),
        *(_line(chart, one) for one in chart.series),
        "</svg>",
    ]
    return "".join(parts)


def legend_html(chart: Chart) -> str:
    """Return the names of a chart's series, each behind its colour."""
    entries = (f'<span class="key {one.tone} {one.style}">{escaped(one.name)}</span>' for one in chart.series if one.name)
    return f'<p class="legend">{"".join(entries)}</p>'


def _across(chart: Chart, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return _LEFT + chart.x.place(values) * (chart.width - _LEFT - _RIGHT)


def _upwards(chart: Chart, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return HEIGHT - _BOTTOM - chart.y.place(values) * (HEIGHT - _TOP - _BOTTOM)


def _frame(chart: Chart) -> Iterator[str]:
    floor, right = HEIGHT - _BOTTOM, chart.width - _RIGHT
    for value, text in chart.x.ticks():
        x = float(_across(chart, np.array([value]))[0])
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{floor}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{escaped(text)}</text>'
    for value, text in chart.y.ticks():
        y = float(_upwards(chart, np.array([value]))[0])
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
        yield f'<text class="tick" x="{_LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{escaped(text)}</text>'
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{floor}H{right}"/>'
    yield f'<text class="label" x="{(_LEFT + right) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escaped(chart.x.label)}</text>'
    middle = (_TOP + floor) / 2
    turned = f'x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})"'
    yield f'<text class="label" {turned}>{escaped(chart.y.label)}</text>'


def _mark(chart: Chart, mark: Mark, number: int) -> str:
    x = float(_across(chart, np.array([mark.x]))[0])
    # Neighbouring thresholds lie close together: every label gets a line of its own.
    y = _TOP + 10 + 13 * (number % 6)
    is_far_right = x > chart.width - _RIGHT - 90
    anchor, beside = ("end", -4) if is_far_right else ("start", 4)
    text = f'<text class="mark-label" x="{x + beside:.1f}" y="{y}" text-anchor="{anchor}">{escaped(mark.label)}</text>'
    return f'<path class="mark" d="M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>{text}'


def _line(chart: Chart, series: Series) -> str:
    given_x, given_y = np.asarray(series.x, dtype=np.float64), np.asarray(series.y, dtype=np.float64)
    if given_x.shape != given_y.shape or given_x.ndim != 1:
        raise InputError(f"a line needs as many x as y, not {given_x.shape} and {given_y.shape}")
    points = _visible(_across(chart, given_x), _upwards(chart, given_y))
    name = f"<title>{escaped(series.name)}</title>"
    if series.style == "dots":
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>' for run in points for x, y in run)
        return f'<g class="dots {series.tone}">{name}{dots}</g>'
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in points]
    if series.style == "area":
        floor = HEIGHT - _BOTTOM
        filled = "".join(f"{path}V{floor}H{run[0][0]:.1f}Z" for path, run in zip(paths, points, strict=True))
        return f'<path class="area {series.tone}" d="{filled}">{name}</path>'
    return f'<path class="line {series.style} {series.tone}" d="{"".join(paths)}">{name}</path>'


def _visible(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> list[list[tuple[float, float]]]:
    """Return runs of points without the ones that cannot be told from those before them."""
    runs: list[list[tuple[float, float]]] = [[]]
    last = len(xs) - 1
    for place, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        if math.isnan(x) or math.isnan(y):
            if runs[-1]:
                runs.append([])
            continue
        run = runs[-1]
        if place == last or not run or abs(x - run[-1][0]) + abs(y - run[-1][1]) >= _MIN_STEP:
            run.append((x, y))
    return [run for run in runs if run]


def _power_text(power: int) -> str:
    if power == 0:
        return "1"
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def histogram_series(
    name: str, counts: Sequence[float] | NDArray[np.float64], edges: NDArray[np.float64], tone: Tone
) -> tuple[Series, float]:
    """Return a histogram as an area of unit size, and its highest density.

    Args:
        name: For the legend.
        counts: One number a bin, ``(B,)``, not negative.
        edges: Rising, ``(B + 1,)``.
        tone: Its colour.
    """
    weights = np.asarray(counts, dtype=np.float64)
    total = float(weights.sum())
    density = weights / (total * np.diff(edges)) if total > 0 else weights
    return Series(name, np.repeat(edges, 2)[1:-1], np.repeat(density, 2), tone, "area"), float(density.max(initial=0.0))
