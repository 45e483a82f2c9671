"""Measured edges on the page."""

import math
from dataclasses import replace

import numpy as np
import pytest
from bokeh.models.annotations import BoxAnnotation
from matplotlib.figure import Figure

from mnist_tune.regimes.measured_edge import Interval, MeasuredEdge
from mnist_tune.reports.figures import draw_edge, draw_predictors
from mnist_tune.reports.page import page
from mnist_tune.reports.page_data import MOST_MARKS, PageData, edge_band
from mnist_tune.reports.page_figures import Canvas, edges


@pytest.fixture
def edge(edge_sweep):
    (found,) = edge_sweep.edges()
    return found


@pytest.fixture
def chart(edge_sweep):
    """A function that returns the chart of an edge."""

    def of(edge):
        data = PageData([edge_sweep])
        vars(data)["edges"] = [edge]
        [found] = edges(Canvas(data))
        return found

    return of


def test_many_edges_are_not_marked(edge_sweep, monkeypatch):
    monkeypatch.setattr(type(edge_sweep), "edges", lambda sweep: sweep._edges * (MOST_MARKS + 1))
    assert PageData([edge_sweep]).marks == []
    monkeypatch.setattr(type(edge_sweep), "edges", lambda sweep: sweep._edges * MOST_MARKS)
    assert [mark.sweep for mark in PageData([edge_sweep] * 2).marks] == [0] * 2 * MOST_MARKS + [1] * 2 * MOST_MARKS


@pytest.mark.parametrize("found", [Interval(0.5, math.inf, math.inf), Interval(0.0, 0.0, 2.0)])
def test_an_edge_that_was_not_found_is_neither_marked_nor_drawn(edge_sweep, edge, chart, monkeypatch, found):
    monkeypatch.setattr(MeasuredEdge, "rate", lambda measured, share: found)
    assert [mark.title.partition(" of ")[0] for mark in PageData([edge_sweep]).marks] == ["2/λ0"]
    assert [row[3] for row in chart(edge).table[1]] == ["–"] * 3
    assert edge_band(edge)[0][[0, -1]] == pytest.approx((0.2 / 1.1, 2.0 * 1.1))
    assert not chart(edge).figure.select(BoxAnnotation)


def test_the_axis_holds_trials_and_near_predictors(edge):
    rates, lower, middle, upper = edge_band(edge)
    low, high = rates[[0, -1]]
    assert 0.15 < low < 0.2
    assert 4 < high < 5  # three times the edge, and not a predictor that is 10,000 times too low
    assert ((lower <= middle) & (middle <= upper)).all()
    assert np.interp(edge.rate(0.5).median, rates, middle) == pytest.approx(0.5, abs=0.05)
    assert middle[0] > 0.9
    assert middle[-1] < 0.1


def test_the_name_of_a_predictor_is_printable_on_the_page(edge_sweep):
    [search] = edge_sweep.meta["options"]["searches"]
    options = edge_sweep.meta["options"] | {"searches": [search | {"predicted": {"a\u202eb": [1.5]}}]}
    other = replace(edge_sweep, path=edge_sweep.path.with_name("other"), meta=edge_sweep.meta | {"options": {}})
    html = page([other, replace(edge_sweep, meta=edge_sweep.meta | {"options": options})])
    assert "\u202e" not in html
    assert html.count("predicted / measured") == 1, "of the second sweep"


def test_the_picture_says_what_its_axes_are(edge):
    axis = Figure().subplots()
    draw_edge(axis, edge)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("learning rate", "share of seeds")
    assert axis.get_title() == edge.title
    assert not axis.title.get_parse_math(), "a name may have a $"
    assert axis.get_xlim() == pytest.approx(tuple(edge_band(edge)[0][[0, -1]]))
    said = axis.get_legend_handles_labels()[1]
    assert f"50% at {edge.rate(0.5)}" in said
    learned = int(edge.outcomes["learned"].sum())
    assert f"learned ({learned})" in said


def test_predictors_stand_in_a_strip_of_their_own_and_one_outside_is_at_its_side(edge):
    axis = Figure().subplots()
    draw_predictors(axis, edge)
    x = edge_band(edge)[0]
    found = {text.get_text(): line for text, line in zip(axis.texts, axis.lines, strict=True)}
    for name, at, marker in (
        ("range test: 1.65", 1.65, "o"),
        ("2/λ0: 0.45", 0.45, "o"),
        ("fastai slide: 0.0001", x[0], "<"),
    ):
        assert (found[name].get_xdata()[0], found[name].get_marker()) == (pytest.approx(at), marker)
    assert axis.get_xlim() == pytest.approx((x[0], x[-1]))


def test_the_picture_shows_the_band_and_the_trials(edge):
    axis = Figure().subplots()
    draw_edge(axis, edge)
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    rates, learned = edge.outcomes["learning_rate"], edge.outcomes["learned"]
    for name, height, trials in (
        (f"learned ({learned.sum()})", 1, rates[learned]),
        (f"did not ({(~learned).sum()})", 0, rates[~learned]),
    ):
        np.testing.assert_allclose(lines[name], [[rate, height] for rate in trials])
    x, low, middle, high = edge_band(edge)
    assert any(np.array_equal(line, np.transpose([x, middle])) for line in lines.values() if len(line) == len(x))
    (band,) = axis.collections
    edges = {tuple(point) for point in band.get_paths()[0].vertices}
    assert edges >= {*zip(x, low, strict=True), *zip(x, high, strict=True)}
    (span,) = axis.patches
    assert span.get_extents().transformed(axis.transData.inverted()).intervalx == pytest.approx(
        (edge.rate(0.5).low, edge.rate(0.5).high)
    )
