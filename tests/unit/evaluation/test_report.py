"""Reports: one file that fetches nothing, runs nothing and shows any text as it is."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.evaluation.charts import HEIGHT, WIDTH, Axis, Chart, Mark, Series, chart_svg, histogram_series, legend_html
from facesearch.evaluation.report import Headline, Picture, PicturePair, Report, Section, Table, render_report

EVIL = "<script>alert(1)</script>\"'&\x07"
UNIT = Axis("x", 0.0, 1.0)


def chart(*series, x=UNIT, y=UNIT, **more):
    return Chart(EVIL, x, y, series or (Series(EVIL, [0.0, 1.0], [0.0, 1.0]),), **more)


def whole_report():
    pair = PicturePair(0.5, Picture(EVIL, b"\xff\xd8jpeg"), Picture(EVIL, None))
    section = Section(
        EVIL, EVIL, (chart(marks=(Mark(0.5, EVIL),), note=EVIL),), (Table((EVIL, "n"), ((EVIL, 3),), EVIL, EVIL),), (pair,)
    )
    return Report(EVIL, ((EVIL, EVIL),), (Headline(EVIL, EVIL, EVIL),), (EVIL,), (section,), (EVIL,))


class Page(HTMLParser):
    """Every tag and its attributes; unclosed or crossed tags fail."""

    VOID = frozenset({"meta", "img", "br", "path", "circle"})

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.open = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_any_text_is_shown_and_none_is_run():
    text = render_report(whole_report())
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in text
    assert page.text.count("<script>alert(1)</script>") >= 12
    assert "\x07" not in text


def test_nothing_is_fetched():
    text = render_report(whole_report())
    page = Page(text)
    assert len(page.tags) > 30
    for tag, attributes in page.tags:
        assert not {"href", "srcset", "action", "background", "poster"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources == ["data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8jpeg").decode()]
    policies = [attributes for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert [policy["content"].split(";")[0] for policy in policies] == ["default-src 'none'"]
    assert re.findall(r"url\(|@import|https?://", text) == []


def test_a_picture_that_could_not_be_made_is_said():
    assert "no picture" in Page(render_report(whole_report())).text


def test_empty_columns_are_left_out_and_numbers_keep_to_the_right():
    table = Table(("name", "count", "remark"), (("a", 3, ""), ("b", None, "")))
    page = Page(render_report(Report("t", (), sections=(Section("s", tables=(table,)),))))
    assert "remark" not in page.text
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "th"] == [None, "number"]


def test_names_that_are_no_utf8_can_be_written():
    report = Report("caf\udce9", ())
    assert "caf\\udce9" in render_report(report).encode("utf-8").decode()


def lines_of(svg):
    tree = ET.fromstring(svg)
    return [node.get("d") for node in tree.iter() if (node.get("class") or "").startswith("line")]


def points_of(path):
    return [tuple(map(float, point.split())) for point in path.removeprefix("M").split("L")]


def test_a_line_goes_from_corner_to_corner():
    (path,) = lines_of(chart_svg(chart(Series("diagonal", [0.0, 1.0], [0.0, 1.0]))))
    (x0, y0), (x1, y1) = points_of(path)
    assert 0 < x0 < x1 < WIDTH
    assert 0 < y1 < y0 < HEIGHT


def test_powers_of_ten_are_equally_far_apart_and_zero_lies_on_the_axis():
    x = Axis("FMR", 1e-4, 1.0, is_log=True)
    (path,) = lines_of(chart_svg(chart(Series("s", [0.0, 1e-4, 1e-3, 1e-2, 1.0], [0.0, 0.5, 0.6, 0.7, 1.0]), x=x)))
    xs = [point[0] for point in points_of(path)]
    assert len(xs) == 5
    assert xs[0] == xs[1]
    assert xs[2] - xs[1] == pytest.approx(xs[3] - xs[2], abs=0.11)
    assert xs[4] - xs[3] == pytest.approx(2 * (xs[3] - xs[2]), abs=0.21)
    assert [text for _, text in x.ticks()] == ["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"]


def test_many_points_become_as_many_as_can_be_seen():
    x = np.linspace(0.0, 1.0, 100_000)
    (path,) = lines_of(chart_svg(chart(Series("s", x, x**2))))
    assert 300 < len(points_of(path)) < 3000


def test_nan_breaks_a_line():
    (path,) = lines_of(chart_svg(chart(Series("s", [0.0, 0.3, 0.5, 0.7, 1.0], [0.0, 0.3, math.nan, 0.7, 1.0]))))
    assert path.count("M") == 2


def test_linear_ticks_are_round_numbers():
    assert [text for _, text in Axis("score", -0.5, 1.0).ticks()] == ["−0.5", "0", "0.5", "1"]
    assert [value for value, _ in Axis("density", 0.0, 4.7).ticks()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("low", "high", "is_log"), [(1.0, 1.0, False), (0.0, 1.0, True), (math.nan, 1.0, False), (0.0, math.inf, False)]
)
def test_an_axis_needs_a_range(low, high, is_log):
    with pytest.raises(InputError, match="low < high"):
        Axis("x", low, high, is_log)


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="as many x as y"):
        chart_svg(chart(Series("s", [0.0], [0.0, 1.0])))


def test_a_histogram_has_the_area_of_one():
    edges = np.linspace(-1.0, 1.0, 9)
    counts = np.array([0, 1, 5, 2, 0, 0, 3, 1])
    series, top = histogram_series("s", counts, edges, "mated")
    heights = np.asarray(series.y)[::2]
    assert float((heights * np.diff(edges)).sum()) == pytest.approx(1.0)
    assert top == heights.max()
    empty, none = histogram_series("s", np.zeros(8), edges, "mated")
    assert none == 0.0
    assert not np.asarray(empty.y).any()


def test_the_legend_names_the_series():
    assert "alert(1)" in legend_html(chart())
    assert "<script" not in legend_html(chart())
