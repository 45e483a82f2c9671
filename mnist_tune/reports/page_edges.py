"""The measured edges on the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from bokeh.models import BoxAnnotation, FixedTicker, HoverTool, Label, Range1d, Span

from mnist_tune.regimes.measured_edge import CLASSICAL
from mnist_tune.reports.findings import edge_lines
from mnist_tune.reports.page_data import RateMark
from mnist_tune.reports.page_figures import INK, new_figure, page_axis
from mnist_tune.reports.prepared_edge import PreparedEdge
from mnist_tune.reports.styles import COLOURS
from mnist_tune.results.tables import Tables

MOST_MARKS = 3
"""With more edges than this in a sweep, the map has no marks: they would hide the trials."""


def rate_marks(sweeps: Sequence[Tables]) -> Iterator[RateMark]:
    """Yield the measured edges of each sweep, and what the sharpness predicted, as marks in the maps."""
    for i, sweep in enumerate(sweeps):
        edges = [PreparedEdge(edge) for edge in sweep.edges()]
        for edge in edges if len(edges) <= MOST_MARKS else ():
            low, _, high = edge.found
            if 0 < low <= high < math.inf:
                yield RateMark(f"edge of {edge.title} {edge.found}", low, high, i)
            if (rate := edge.predicted.get(CLASSICAL)) is not None:
                yield RateMark(f"{CLASSICAL} of {edge.title} {rate:.3g}", rate, rate, i)


def edge_facts(edge: PreparedEdge) -> dict[str, Any]:
    """Return what the page writes beside the figure: the lines of the report, and a row a predictor."""
    rows = [
        (i, name, f"{rate:.3g}", f"{rate / edge.found.median:.2g}" if 0 < edge.found.median < math.inf else "–")
        for i, (name, rate) in enumerate(edge.predicted.items(), start=1)
    ]
    return {"title": edge.title, "lines": [line.strip() for line in edge_lines(edge.edge)], "predictors": rows}


def edge_figure(name: str, edge: PreparedEdge) -> Any:
    """Return the figure of an edge: the share of seeds that learn with its 95% band, the trials, and by their numbers
    the predictors."""
    low, high = np.log10(edge.limits)
    plot = new_figure(name, 300, brush=False, ranges=(Range1d(low, high, name=f"{name}-x"), Range1d(-0.08, 1.28)))
    rates, *band = edge.band()
    plot.varea(np.log10(rates), band[0], band[2], fill_color=COLOURS["slow"], fill_alpha=0.22)
    plot.line(np.log10(rates), band[1], line_color=COLOURS["slow"], line_width=2)
    first, _, last = edge.found
    if 0 < first <= last < math.inf:
        ends = {"left": math.log10(first), "right": math.log10(last)}
        plot.add_layout(BoxAnnotation(**ends, fill_color=COLOURS["converged"], fill_alpha=0.25, line_color=None))
    for learned, colour in ((True, COLOURS["converged"]), (False, COLOURS["diverged"])):
        part = edge.learned[edge.learned == learned].index
        source = {"x": np.log10(part), "y": np.full(len(part), float(learned)), "rate": [f"{x:.4g}" for x in part]}
        ticks = plot.scatter("x", "y", source=source, marker="dash", angle=math.pi / 2, size=14, line_color=colour)
        plot.add_tools(HoverTool(renderers=[ticks], tooltips=[("learned" if learned else "did not learn", "@rate")]))
    for i, rate in enumerate(edge.predicted.values(), start=1):
        at = math.log10(rate) if rate > 0 else -math.inf
        if low <= at <= high:
            plot.add_layout(Span(location=at, dimension="height", line_color=INK, line_dash="dashed", line_alpha=0.7))
            text = {
                "text": f"{i}",
                "text_font_size": "11px",
                "text_color": INK,
                "x_offset": 3,
                "text_baseline": "middle",
            }
            plot.add_layout(Label(x=at, y=1.07 + 0.08 * (i % 3), **text))
    page_axis(plot.xaxis[0], plot.x_range, "learning rate")
    plot.yaxis[0].ticker = FixedTicker(ticks=[0, 0.25, 0.5, 0.75, 1])
    plot.yaxis[0].axis_label = "share of seeds that learn"
    return plot
