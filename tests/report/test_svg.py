"""The plotting room: ticks people would choose, labels apart, contours where they belong."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.dsl.vocabulary.quantity_text import count_text
from isoloss.report.png import data_uri
from isoloss.report.study_text import plain
from isoloss.report.svg import SHAPES, Axis, Figure
from isoloss.report.svg.axes import Span, span_of, ticks
from isoloss.report.svg.contour import contour
from isoloss.report.svg.labels import Label, spread

POSITIVE = st.floats(1e-6, 1e30)


@given(POSITIVE, st.floats(1.0001, 1e12), st.integers(3, 8))
def test_log_ticks_lie_inside_and_ascend(low: float, ratio: float, most: int) -> None:
    span = Span(low, low * ratio, True)
    major, minor = ticks(span, Axis("x", "log"), most)
    values = [v for v, _ in major]
    assert values == sorted(set(values))
    assert all(span.low * 0.999 <= v <= span.high * 1.001 for v in [*values, *minor])
    assert len(values) <= most + 2


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(3, 8))
def test_linear_ticks_are_round_and_cover(low: float, width: float, most: int) -> None:
    span = Span(low, low + width, False)
    major, _ = ticks(span, Axis("x"), most)
    assert 1 <= len(major) <= most + 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e6, 1e9, ["1M", "3M", "10M", "30M", "100M", "300M", "1B"]),
        (900, 22000, ["1k", "2k", "3k", "5k", "10k", "20k"]),
    ],
)
def test_ticks_are_what_a_reader_would_choose(low: float, high: float, expected: list[str]) -> None:
    major, _ = ticks(Span(low, high, True), Axis("N", "log", count_text), 7)
    assert [text for _, text in major] == expected


def test_an_axis_ignores_what_has_no_place_on_it() -> None:
    span = span_of(Axis("x", "log"), [0.0, -1.0, math.nan, math.inf, 10.0, 100.0])
    assert span.low == pytest.approx(10 / 10**0.04)
    assert span.high == pytest.approx(100 * 10**0.04)


@given(st.lists(st.floats(0, 300), max_size=12))
def test_labels_keep_apart_and_in_order(heights: list[float]) -> None:
    labels = [Label(0, h, str(i), "c0") for i, h in enumerate(heights)]
    placed = [y for _, y in spread(labels, 0, 300, 13)]
    assert all(b - a >= 13 - 1e-6 for a, b in pairwise(placed))
    assert sorted(label.text for label, _ in spread(labels, 0, 300, 13)) == sorted(
        label.text for label in labels
    )


def test_labels_that_have_room_stay() -> None:
    labels = [Label(0, y, "", "c0") for y in (200.0, 20.0, 100.0)]
    assert [y for _, y in spread(labels, 0, 300, 13)] == [20.0, 100.0, 200.0]


def test_a_contour_of_a_circle_is_one_closed_circle() -> None:
    y, x = np.mgrid[0:41, 0:41] - 20.0
    lines = contour(np.hypot(x, y), 12.3)
    assert len(lines) == 1
    line = np.array(lines[0]) - 20
    assert np.hypot(*line.T) == pytest.approx(12.3, abs=0.02)
    assert tuple(lines[0][0]) == tuple(lines[0][-1])


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_contour_points_lie_on_the_level(seed: int, level: float) -> None:
    values = np.random.default_rng(seed).random((6, 7))
    crossed = 0
    for line in contour(values, level):
        crossed += len(line) - 1
        for column, row in line:
            c0, r0 = math.floor(column), math.floor(row)
            c1, r1 = math.ceil(column), math.ceil(row)
            t = max(column - c0, row - r0)
            assert (1 - t) * values[r0, c0] + t * values[r1, c1] == pytest.approx(level, abs=1e-9)
    corners = [values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]]
    changes = sum((corners[i] > level) != (corners[(i + 1) % 4] > level) for i in range(4))
    assert (
        crossed == int(changes.sum()) // 2
    )  # every cell that the level crosses gives a segment, a saddle two


def test_cells_with_nan_are_skipped() -> None:
    values = np.tile(np.arange(5.0), (5, 1))
    values[2, 2] = np.nan
    for line in contour(values, 1.5):
        assert not any(1 < row < 3 for _, row in line)


def test_a_figure_is_xml_and_hostile_text_stays_text() -> None:
    plot = Figure("a<b>&\"'", Axis("x<", "log"), Axis("y&"), heading="<h>", description="<d>")
    plot.line([1, 10, 100], [1, math.nan, 3], "c0", label="<script>")
    plot.band([1, 10, 100], [0, math.nan, 1], [2, 3, 4], "c1")
    plot.rule(5, "<r>")
    plot.text(10, 2, "<t>", "ink")
    for i, shape in enumerate(SHAPES):
        plot.points([1 + i], [2.0], "c2", shape=shape, tips=["<tip>"], lows=[1.0], highs=[3.0])
        plot.legend.append(("c2", shape, "<l>"))
    root = ET.fromstring(plot.render())
    assert root.attrib["aria-label"] == "a<b>&\"'"
    assert "<script>" in "".join(root.itertext())
    assert not [e for e in root.iter() if "script" in e.tag]
    data = " ".join(e.attrib.get("d", "") for e in root.iter())
    assert "nan" not in data.lower()


def test_an_empty_figure_is_still_a_figure() -> None:
    ET.fromstring(Figure("nothing", Axis("x", "log"), Axis("y")).render())


def test_pixels_come_back_from_a_png() -> None:
    from base64 import b64decode
    from io import BytesIO

    image = pytest.importorskip("PIL.Image")
    for channels in (1, 3, 4):
        pixels = np.random.default_rng(channels).integers(0, 256, (5, 7, channels), dtype=np.uint8)
        found = np.array(image.open(BytesIO(b64decode(data_uri(pixels).partition(",")[2]))))
        assert (found.reshape(5, 7, channels) == pixels).all()
    with pytest.raises(ValueError, match="uint8"):
        data_uri(np.zeros((2, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"call": "pgd", "arguments": {"norm": "linf", "eps": {"rational": "8/255"}}},
            "pgd(norm = linf, eps = 8/255)",
        ),
        ({"rational": "1/10"}, "0.1"),
        ({"rational": "3/20"}, "0.15"),
        ({"kind": "none"}, "none"),
        (
            {
                "if": {"operator": "<=", "operands": [{"quantity": "images"}, {"const": 8000}]},
                "then": {"const": 32},
                "else": {"const": 64},
            },
            "32 if images <= 8000 else 64",
        ),
        (
            {
                "operator": "*",
                "operands": [
                    {"operator": "+", "operands": [{"const": 1}, {"quantity": "fid"}]},
                    {"const": 2},
                ],
            },
            "(1 + fid) * 2",
        ),
        (
            {"operator": "in", "operands": [{"quantity": "generator"}, {"const": "a"}, {"const": "b"}]},
            "generator in [a, b]",
        ),
        ({"evaluation": "robust", "every": 0.25}, "robust at every 25%"),
        (None, "none"),
        (True, "true"),
    ],
)
def test_studies_read_as_written(data: object, expected: str) -> None:
    assert plain(data) == expected
