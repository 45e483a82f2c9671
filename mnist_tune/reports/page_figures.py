"""The figures of the page, drawn by Bokeh. They come without data, which the page's script gives them: the sources of
figures that show the same trials would otherwise hold them several times.

All axes are linear. Where values are shown by their logarithm (`metrics`), the page's script writes the ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

from bokeh.models import (
    BooleanFilter,
    BoxAnnotation,
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    CustomJSTicker,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    InlineStyleSheet,
    Label,
    LabelSet,
    PanTool,
    PlainText,
    Range1d,
    ResetTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

from mnist_tune.reports.page_data import RateMark, Setting

INK = "#767676"
"""The colour of axes before the page's script sets that of the ground: it can be seen on either."""

TRIAL_COLUMNS = ("x", "y", "colour", "marker", "rate", "regime", "trial", "value")
LINE_COLUMNS = ("xs", "ys", "colour", "alpha", "width", "rate", "regime", "trial")
DOT_COLUMNS = ("x", "y", "colour", "marker", "alpha")
NAME_COLUMNS = ("x", "y", "shift", "text", "colour")
BAND_COLUMNS = ("xs", "ys", "mx", "my", "colour", "regime", "said")

TIPS = [("learning rate", "@rate"), ("regime", "@regime"), ("trial", "@trial")]


Ranges = tuple[Range1d, Range1d]


def empty(name: str, columns: Sequence[str]) -> ColumnDataSource:
    """Return a source that the page's script finds by its name and fills."""
    return ColumnDataSource({column: [] for column in columns}, name=name)


def trial_map(name: str, ranges: Ranges, marks: Sequence[RateMark], size: float, alpha: float) -> Any:
    """Return the map of a sweep's trials: learning rate against the chosen metric, with the rates of `marks`."""
    plot = new_figure(name, 400, brush=True, ranges=ranges)
    for low, high in ((mark.low, mark.high) for mark in marks):
        plot.add_layout(BoxAnnotation(left=log10(low), right=log10(high), fill_color="#2b9348", fill_alpha=0.12))
        for edge in {low, high}:
            plot.add_layout(Span(location=log10(edge), dimension="height", line_color="#2b9348", line_dash="dashed"))
    _points(plot, name, size, alpha)
    page_axis(plot.xaxis[0], plot.x_range, "learning rate")
    page_axis(plot.yaxis[0], plot.y_range, "")
    return plot


def setting_map(name: str, setting: Setting, size: float, alpha: float) -> Any:
    """Return the small map of a setting: its values against the chosen metric."""
    plot = new_figure(name, 260, brush=True)
    _points(plot, name, size, alpha)
    axis, title = plot.xaxis[0], setting.name.replace("_", " ")
    if setting.groups:
        axis.ticker = FixedTicker(ticks=list(range(len(setting.groups))))
        # Plain text: in other text Bokeh would see formulas, and ask the network for what draws them.
        axis.major_label_overrides = {i: PlainText(_short(group)) for i, group in enumerate(setting.groups)}
        axis.major_label_orientation = 0.5 if len(setting.groups) > 4 else "horizontal"
        plot.x_range.update(start=-0.6, end=len(setting.groups) - 0.4)
        axis.axis_label = PlainText(title)
    else:
        page_axis(axis, plot.x_range, title, log=setting.log)
    page_axis(plot.yaxis[0], plot.y_range, "")
    return plot


def _points(plot: Any, name: str, size: float, alpha: float) -> None:
    points, focus = empty(f"{name}-trials", TRIAL_COLUMNS), empty(f"{name}-focus", ("x", "y"))
    shown = CDSView(filter=BooleanFilter(name=f"{name}-shown"))
    style: dict[str, Any] = {"size": size**0.5 * 1.45, "line_color": "colour", "fill_color": "colour"}
    style |= {"fill_alpha": alpha, "line_alpha": alpha, "nonselection_alpha": 0.08, "line_width": 2}
    glyph = plot.scatter("x", "y", source=points, view=shown, marker="marker", **style)
    ring = {"fill_alpha": 0, "line_color": INK, "line_width": 2.5}
    plot.scatter("x", "y", source=focus, size=16, name=f"{name}-ring", **ring)
    top = Span(dimension="width", line_color=INK, line_dash="dotted", visible=False, name=f"{name}-top")
    said = Label(x=6, y=0, x_units="screen", y_offset=3, text="not finite", text_font_size="11px", visible=False)
    said.update(name=f"{name}-top-label", text_color=INK)
    plot.add_layout(top)
    plot.add_layout(said)
    plot.add_tools(HoverTool(renderers=[glyph], tooltips=[*TIPS, ("value", "@value")], name=f"{name}-tips"))


def curve_figure(name: str, ranges: Ranges) -> Any:
    """Return the figure of a sweep's curves: bands of regimes, and lines of single trials."""
    plot = new_figure(name, 400, brush=False, ranges=ranges)
    wide = empty(f"{name}-bands", BAND_COLUMNS)
    plot.patches("xs", "ys", source=wide, fill_color="colour", fill_alpha=0.16, line_color=None)
    plot.multi_line("mx", "my", source=wide, line_color="colour", line_width=2.5)
    lines = empty(f"{name}-lines", LINE_COLUMNS)
    drawn = plot.multi_line("xs", "ys", source=lines, line_color="colour", line_alpha="alpha", line_width="width")
    dots = empty(f"{name}-dots", DOT_COLUMNS)
    filled = {"line_color": "colour", "fill_color": "colour", "fill_alpha": "alpha", "line_alpha": "alpha"}
    plot.scatter("x", "y", source=dots, marker="marker", size=6, **filled)
    names = empty(f"{name}-names", NAME_COLUMNS)
    text = {"text_font_size": "11px", "text_color": "colour", "text_baseline": "middle", "x_offset": 8}
    plot.add_layout(LabelSet(x="x", y="y", y_offset="shift", text="text", source=names, **text))
    plot.xaxis[0].axis_label = "epoch"
    plot.xaxis[0].ticker.update(min_interval=1, num_minor_ticks=0)
    page_axis(plot.yaxis[0], plot.y_range, "")
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=TIPS, line_policy="nearest"))
    return plot


def share_figure(name: str) -> Any:
    """Return the figure of the shares of seeds that converged, each with its interval."""
    plot = new_figure(name, 260, brush=False)
    source = empty(f"{name}-source", ("x", "share", "low", "high", "rate", "said", "family"))
    plot.segment("x", "low", "x", "high", source=source, line_width=2, line_color="#2b9348")
    dots = plot.scatter("x", "share", source=source, size=8, color="#2b9348")
    plot.y_range = Range1d(-0.05, 1.05)
    page_axis(plot.xaxis[0], plot.x_range, "learning rate")
    plot.yaxis[0].axis_label = "share that converged"
    plot.add_tools(HoverTool(renderers=[dots], tooltips=[TIPS[0], ("converged", "@said"), ("of", "@family")]))
    return plot


def mean_figure(name: str) -> Any:
    """Return the figure of the mean curves of configurations with several seeds."""
    plot = new_figure(name, 260, brush=False)
    source = empty(f"{name}-source", (*BAND_COLUMNS, "rate"))
    plot.patches("xs", "ys", source=source, fill_color="colour", fill_alpha=0.2, line_color=None)
    lines = plot.multi_line("mx", "my", source=source, line_color="colour", line_width=2)
    plot.xaxis[0].axis_label = "epoch"
    plot.xaxis[0].ticker.update(min_interval=1, num_minor_ticks=0)
    page_axis(plot.yaxis[0], plot.y_range, "test error")
    tips = [TIPS[0], ("regime", "@regime"), ("seeds", "@said")]
    plot.add_tools(HoverTool(renderers=[lines], tooltips=tips, line_policy="nearest"))
    return plot


def ranges_of(name: str) -> Ranges:
    """Return the ranges of one figure, or of several that move together."""
    return Range1d(0, 1, name=f"{name}-x"), Range1d(0, 1, name=f"{name}-y")


def new_figure(name: str, height: int, brush: bool, ranges: Ranges | None = None) -> Any:
    """Return a figure without data, as all of the page's are."""
    x_range, y_range = ranges or ranges_of(name)
    plot = figure(name=name, height=height, x_range=x_range, y_range=y_range, tools="", toolbar_location="above")
    plot.sizing_mode = "stretch_width"
    plot.toolbar.logo = None
    plot.toolbar.stylesheets = [InlineStyleSheet(css="@media print { :host { display: none; } }")]
    pan, zoom = PanTool(), WheelZoomTool()
    box = BoxSelectTool(continuous=True, description="Brush: drag over trials") if brush else None
    plot.add_tools(*([box] if box else []), pan, zoom, ResetTool())
    plot.toolbar.active_drag = box
    plot.toolbar.active_scroll = None
    plot.update(background_fill_color=None, border_fill_color=None, outline_line_color=None, min_border_right=12)
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.update(axis_line_color=INK, major_tick_line_color=INK, minor_tick_line_color=INK)
        axis.update(major_label_text_color=INK, axis_label_text_color=INK, axis_label_text_font_style="normal")
    for grid in (*plot.xgrid, *plot.ygrid):
        grid.grid_line_color, grid.grid_line_alpha = INK, 0.2
    return plot


def page_axis(axis: Any, along: Range1d, title: str, log: bool = True) -> None:
    """Let the page's script place and write the ticks: of logarithms while the range is tagged so."""
    along.tags = ["log"] * log
    axis.ticker = CustomJSTicker(major_code="return page.ticks(cb_data.range)", minor_code="return []")
    axis.formatter = CustomJSTickFormatter(code="return page.written(tick, along)", args={"along": along})
    axis.axis_label = PlainText(title)


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
