"""The charts of the page, drawn by Bokeh. A new chart is a function in one of `SECTIONS`.

What is the same for all trials is held once: the maps share one source, which the page's script fills. The script also
draws the curves. It hides rows of other sources by their columns `regime` and `metric` (their filters are `...-shown`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from bokeh import models
from bokeh.plotting import figure

from mnist_tune.numbers import rate
from mnist_tune.regimes.measured_edge import LEARNED
from mnist_tune.reports.decided import titles
from mnist_tune.reports.findings import Kind, measured, of, winner, winner_of
from mnist_tune.reports.importances import importances
from mnist_tune.reports.page_data import (
    Band,
    PageData,
    Setting,
    edge_band,
    mark,
    padded,
    predicted_by,
    with_epochs,
    words,
)
from mnist_tune.reports.styles import COLOURS
from mnist_tune.reports.terminal import replicates
from mnist_tune.reports.trial_table import PAGE, fields, heading
from mnist_tune.terminal import printable

INK = "#767676"
"""A colour that can be seen on both grounds. The page's style sheet gives axes a darker or a lighter one."""

LINES = ("#0077bb", "#cc5500", "#009988", "#b0307a", "#997700", "#6a5acd", "#6b7a8f", "#c8443a")
"""Colours of lines that are no regimes. Each has a contrast of at least 3 on both grounds."""

LOOK = 3
"""Seeds after which means have settled enough to set the limits of a decision's chart."""

MOST_FOLLOWED = 2000
"""With more trials than this, the maps show what is selected only when a drag ends: drawing them takes too long."""

TIPS = [("learning rate", "@rate"), ("regime", "@regime"), ("trial", "@trial")]
TRIAL_COLUMNS = ("learning_rate", "number", "y", "colour", "marker", "rate", "regime", "trial", "said", "sweep")
LINE_COLUMNS = ("xs", "ys", "colour", "alpha", "width", "rate", "regime", "trial")
END_COLUMNS = ("x", "y", "shift", "colour", "marker", "alpha", "text")

DASHED = {"line_color": INK, "line_dash": "dashed", "line_alpha": 0.7}
SMALL = {"text_color": INK, "text_font_size": "11px"}


class Chart(NamedTuple):
    """A figure of the page, and what stands about it."""

    name: str
    label: str
    """What it shows, for those who don't see it."""
    figure: Any
    caption: str = ""
    """Empty if the page's script writes it, or if the head says it."""
    heading: str = ""
    choice: str = ""
    """If charts of a section have several, a menu says of which they are shown."""
    table: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
    """The head and the rows of a table beside it."""


class Canvas:
    """What the figures of a page share: the trials with their filters, and the axes that move together."""

    def __init__(self, data: PageData) -> None:
        self.data, self.metric = data, data.metrics[0]
        columns = (*TRIAL_COLUMNS, *(f"at_{one.name}" for one in data.settings))
        self.trials, self.shown = empty("trials", columns), models.BooleanFilter(name="trials-shown")
        self.focus = empty("focus", columns)
        self.top = empty("top", ("y", "text"))
        self.y = models.Range1d(self.metric.start, self.metric.end, name="y")
        self.heights = models.FixedTicker(ticks=ticks(self.metric.start, self.metric.end), name="heights")
        self.rates = models.Range1d(*padded(data.trials["learning_rate"]))
        self.epochs = models.Range1d(*padded(data.kept_epochs, log=False))

    def points(self, plot: Any, x: str, sweep: int | None = None) -> None:
        """Draw the trials, of one sweep or of all, with the chosen one and the line of what is not finite."""
        own = models.GroupFilter(column_name="sweep", group=sweep) if sweep is not None else models.AllIndices()
        size, alpha = mark(len(with_epochs(self.data.trials)))
        style = {"size": size**0.5 * 1.45, "line_width": 2, "color": "colour", "alpha": alpha, "marker": "marker"}
        view = models.CDSView(filter=self.shown & own)
        dots = plot.scatter(x, "y", source=self.trials, view=view, nonselection_alpha=0.08, **style)
        ring = {"size": 16, "fill_alpha": 0, "line_color": INK, "line_width": 2.5}
        plot.scatter(x, "y", source=self.focus, view=models.CDSView(filter=own), **ring)
        plot.hspan(y="y", source=self.top, line_color=INK, line_dash="dotted")
        said = {"x": 6, "x_units": "screen", "y": "y", "y_offset": 3, "text": "text", **SMALL}
        plot.add_layout(models.LabelSet(source=self.top, **said))
        follows = len(self.data.trials) <= MOST_FOLLOWED
        box = models.BoxSelectTool(continuous=follows, description="Brush: drag over trials", renderers=[dots])
        plot.add_tools(box)
        plot.toolbar.active_drag = box
        _tips(plot, dots, [*TIPS, ("value", "@said")])
        _logarithmic(plot.yaxis[0], self.y, self.metric.title, self.heights).update(name="metric")


Charts = Iterator[Chart]


def maps_and_curves(canvas: Canvas) -> Charts:
    """The map of each sweep's trials, with the rates of `marks`, and their curves over the epochs."""
    data, green = canvas.data, COLOURS["converged"]
    for i, title in enumerate(data.titles):
        title, of = (title, f" of {title}") if data.several else ("", "")
        plot = new_figure(f"map-{i}", 400, canvas.rates, canvas.y)
        for one in (one for one in data.marks if one.sweep == i):
            plot.add_layout(models.BoxAnnotation(left=one.low, right=one.high, fill_color=green, fill_alpha=0.12))
            for end in {one.low, one.high}:
                plot.add_layout(models.Span(location=end, dimension="height", line_color=green, line_dash="dashed"))
        canvas.points(plot, "learning_rate", i)
        yield Chart(f"map-{i}", f"Map of the trials{of}: learning rate against the final value", plot, heading=title)
        yield Chart(f"curves-{i}", f"Curves of the trials{of} over their epochs", _curves(canvas, i), heading=title)


def _curves(canvas: Canvas, sweep: int) -> Any:
    """Return the figure of a sweep's curves: bands of regimes, and lines of single trials with a mark at their ends."""
    name = f"curves-{sweep}"
    plot = new_figure(name, 400, canvas.epochs, canvas.y, x_axis_type="linear")
    found = list(canvas.data.bands(canvas.data.sweeps[sweep]))
    _bands(plot, f"{name}-bands", [band for _, band in found], metric=[metric.key for metric, _ in found])
    lines, ends = empty(f"{name}-lines", LINE_COLUMNS), empty(f"{name}-ends", END_COLUMNS)
    drawn = plot.multi_line("xs", "ys", source=lines, line_color="colour", line_alpha="alpha", line_width="width")
    plot.scatter("x", "y", source=ends, marker="marker", size=7, color="colour", alpha="alpha")
    text = {"text_font_size": "11px", "text_color": "colour", "text_baseline": "middle", "x_offset": 8}
    plot.add_layout(models.LabelSet(x="x", y="y", y_offset="shift", text="text", source=ends, **text))
    _logarithmic(plot.yaxis[0], canvas.y, canvas.metric.title, canvas.heights).update(name="metric")
    _tips(plot, drawn, TIPS)
    _epochs(plot)
    return plot


def progress(canvas: Canvas) -> Charts:
    """The trials of a search in their order, with the best so far."""
    data = canvas.data
    said = [] if data.several else of(winner_of(data.sweeps[0]), Kind.WINNER)
    if not said:
        return
    best = data.trials[data.trials["own_id"] == winner(data.sweeps[0])["trial_id"]].iloc[0]
    numbers = models.Range1d(*padded(data.trials["number"], log=False))
    plot = new_figure("progress", 300, numbers, canvas.y, x_axis_type="linear")
    canvas.points(plot, "number")
    x, y = np.repeat(data.best_so_far.index, 2)[1:], np.repeat(data.best_so_far, 2)[:-1]
    line = models.ColumnDataSource({"xs": [x], "ys": [y], "metric": [canvas.metric.key]}, name="best")
    view = models.CDSView(filter=models.BooleanFilter(name="best-shown"))
    plot.multi_line("xs", "ys", source=line, view=view, line_color=INK, line_width=2)
    _mark(plot, best["number"], 200, "winner", y_units="screen")
    plot.xaxis[0].axis_label = "trial, in the order of the search"
    caption = f"The line is the least {canvas.metric.title} so far, of trials that were trained to their end. "
    caption += f"The winner is trial {best['own_id']}: {said[0].text}."
    yield Chart("progress", "Trials in the order of the search, and the best so far", plot, caption)


def decisions(canvas: Canvas) -> Charts:
    """For each decision by how much each setting is worse than the best, seed by seed, with its 95% interval."""
    for i, sweep in enumerate(canvas.data.sweeps):
        if (contest := sweep.decision) is None or not contest.course:
            continue
        names, best = [*map(printable, titles(contest.settings))], int(contest.decision.leader)
        worse = np.array([(mean[best], wide[best]) for _, mean, wide in contest.course])
        limits = padded([0, *(worse[LOOK:, 0] if len(worse) > LOOK else worse[:, 0]).ravel()], log=False)
        along = models.Range1d(0.5, len(worse) + 0.5)
        height = models.Range1d(*limits)
        plot = new_figure(f"decision-{i}", 300, along, height, x_axis_type="linear", y_axis_type="linear")
        plot.hspan(y=0, line_color=INK)
        for j, k in enumerate(k for k in range(len(names)) if k != best):
            style = {"color": LINES[j % len(LINES)], "legend_label": names[k]}
            took = np.flatnonzero(np.diff([seeds[k] for seeds, _, _ in contest.course], prepend=0))
            seeds, (mean, wide) = took + 1, worse[took, :, k].T
            known = np.isfinite(wide)
            plot.varea(seeds[known], (mean - wide)[known], (mean + wide)[known], fill_alpha=0.15, **style)
            plot.line(seeds, mean, line_width=2, **style)
            out = not contest.decision.active[k]
            drawn = plot.scatter(seeds[-1:], mean[-1:], size=9, marker="x" if out else "circle", **style)
            _tips(plot, drawn, [("setting", names[k]), ("after seeds", "@x"), ("worse by", "@y")])
        _legend(plot, "", "top_right")  # where lines have ended
        plot.xaxis[0].axis_label = "seeds"
        plot.yaxis[0].axis_label = models.PlainText(f"accuracy below {names[best]}'s")
        label = "How much worse than the best each setting is, seed by seed"
        yield Chart(f"decision-{i}", label, plot)


def edges(canvas: Canvas) -> Charts:
    """For each measured edge the share of seeds that learn with its 95% band, the trials, and by their numbers the
    predictors."""
    for number, edge in enumerate(canvas.data.edges):
        half, (rates, low, middle, high) = edge.rate(0.5), edge_band(edge)
        along = models.Range1d(rates[0], rates[-1])
        plot = new_figure(f"edge-{number}", 300, along, models.Range1d(-0.08, 1.28), y_axis_type="linear")
        plot.varea(rates, low, high, fill_color=COLOURS["slow"], fill_alpha=0.22)
        plot.line(rates, middle, line_color=COLOURS["slow"], line_width=2)
        if half.is_known:
            style: dict[str, Any] = {"line_color": None, "fill_color": COLOURS["converged"], "fill_alpha": 0.25}
            plot.add_layout(models.BoxAnnotation(left=half.low, right=half.high, **style))
        for learned, colour, said in ((True, "converged", "learned"), (False, "diverged", "did not learn")):
            part = edge.outcomes["learning_rate"][edge.outcomes[LEARNED] == learned]
            ticks = {"x": part, "y": np.full(len(part), float(learned)), "rate": [*map(rate, part)]}
            style = {"marker": "dash", "angle": math.pi / 2, "size": 14, "line_color": COLOURS[colour]}
            _tips(plot, plot.scatter("x", "y", source=ticks, **style), [(said, "@rate")])
        rows = []
        for i, (name, predicted) in enumerate(predicted_by(edge).items(), start=1):
            share = f"{predicted / half.median:.2g}" if 0 < half.median < math.inf else "–"
            rows.append((f"{i}", name, rate(predicted, 3), share))
            if along.start <= predicted <= along.end:
                _mark(plot, predicted, 1.07 + 0.08 * (i % 3), f"{i}")
        plot.yaxis[0].ticker = models.FixedTicker(ticks=[0, 0.25, 0.5, 0.75, 1])
        plot.yaxis[0].axis_label = "share of seeds that learn"
        said = " ".join(f"{line.strip()}." for line in measured(edge).lines)
        title = edge.title if len(canvas.data.edges) > 1 else ""
        table = ("line", "predictor", "learning rate", "predicted / measured") if rows else (), rows
        yield Chart(f"edge-{number}", f"The edge of {edge.title}", plot, said, title, table=table)


def rate_lines(canvas: Canvas) -> Charts:
    """The error by learning rate, with a line for each value of the setting that is chosen."""
    data = canvas.data
    ends = [end for one in data.rate_lines for band in one.lines for end in (*band.low, *band.high)]
    height = models.Range1d(*padded(ends))
    for i, one in enumerate(data.rate_lines):
        plot = new_figure(f"rates-{i}", 320, canvas.rates, height, title=canvas.metric.title)
        tips = [TIPS[0], (words(one.setting), "@name"), ("median", "@y"), ("band", "@low to @high")]
        for j, band in enumerate(one.lines):
            name, dash = printable(band.name), "solid" if j < len(LINES) else "dashed"
            source = {"x": band.x, "y": band.middle, "low": band.low, "high": band.high, "rate": [*map(rate, band.x)]}
            held = models.ColumnDataSource(source | {"name": [name] * len(band.x)})
            style = {"source": held, "color": LINES[j % len(LINES)], "legend_label": name}
            plot.varea("x", "low", "high", fill_alpha=0.15, **style)
            plot.line("x", "y", line_width=2, line_dash=dash, **style)
            _tips(plot, plot.scatter("x", "y", size=6, **style), tips)
        _legend(plot, words(one.setting), "bottom_left")
        all_of = " and over all other settings" if len(data.varied) > 1 and not one.others else ""
        label = f"Error by learning rate, a line for each {words(one.setting)}"
        said = f"Median over the seeds{all_of}, with the band of the middle 80%."
        yield Chart(f"rates-{i}", label, plot, said, one.others, choice=words(one.setting))


def setting_maps(canvas: Canvas) -> Charts:
    """For each setting a small map: its values against the chosen metric."""
    for setting in canvas.data.settings:
        yield Chart(f"setting-{setting.name}", f"Trials by {words(setting.name)}", setting_map(canvas, setting))


def setting_map(canvas: Canvas, setting: Setting) -> Any:
    ends = (-0.6, len(setting.groups) - 0.4) if setting.groups else padded(setting.places, setting.log)
    kind = "log" if setting.log else "linear"
    plot = new_figure(f"setting-{setting.name}", 260, models.Range1d(*ends), canvas.y, x_axis_type=kind)
    canvas.points(plot, f"at_{setting.name}")
    axis = plot.xaxis[0]
    axis.axis_label = words(setting.name)
    if setting.groups:
        axis.ticker = models.FixedTicker(ticks=list(range(len(setting.groups))))
        # Plain text: in other text Bokeh would see formulas, and ask the network for what draws them.
        axis.major_label_overrides = {i: models.PlainText(_short(group)) for i, group in enumerate(setting.groups)}
        axis.major_label_orientation = 0.5 if len(setting.groups) > 4 else "horizontal"
    return plot


def importance_bars(canvas: Canvas) -> Charts:
    """How much each setting matters for the error."""
    data = canvas.data
    if not data.varied or data.running:
        return
    of = importances(data.trials, ["learning_rate", *(one.name for one in data.settings)])
    if isinstance(of, str):
        yield Chart("importances", "", None, of)
        return
    names, lost = zip(*((words(name), much) for name, much in reversed(of.lost)), strict=True)
    kinds = {"x_axis_type": "linear", "y_axis_type": "auto"}
    plot = new_figure("importances", 260, models.Range1d(0, 1.05 * max(*lost, 1)), names, **kinds)
    plot.hbar(y=names, right=lost, height=0.6, fill_color=LINES[0], line_color=None)
    plot.xaxis[0].axis_label = "R² lost"
    said = f"Importances for the {data.metrics[0].title}: how much of R² is lost when a setting's values are shuffled. "
    said += f"A random forest of {of.trials} trials explains {of.explained:.0%} of the variance of those "
    said += "it has not seen"
    little = ", so they say little" if of.explained < 0.5 else ""
    yield Chart("importances", "Importances of the settings", plot, f"{said}{little}.")


def shares(canvas: Canvas) -> Charts:
    """The shares of seeds that converged, each with its interval."""
    data, pooled, green = canvas.data, len(canvas.data.pooled), COLOURS["converged"]
    if not len(data.shares):
        return
    plot = new_figure("shares", 260, canvas.rates, models.Range1d(-0.05, 1.05), y_axis_type="linear")
    rows = data.pooled if pooled else data.shares
    ends = {end: rows[f"converged_{end}"] for end in ("share", "low", "high")}
    said = [f"{one.converged} ({one.converged_low:.0%} to {one.converged_high:.0%})" for one in rows.itertuples()]
    family = (rows["label"] + " " + rows["architecture"]).str.strip().map(printable)
    source = {"x": rows["beside"], "rate": [*map(rate, rows["learning_rate"])], "said": said, "family": family}
    held = models.ColumnDataSource(source | ends, name="shares-source")
    plot.segment("x", "low", "x", "high", source=held, line_width=2, line_color=green)
    dots = plot.scatter("x", "share", source=held, size=8, color=green)
    _tips(plot, dots, [TIPS[0], ("converged", "@said"), ("of", "@family")])
    plot.yaxis[0].axis_label = "share that converged"
    which = f": all settings together, in {pooled} ranges of learning rates, since there are {len(data.shares)} "
    which = f"{which}configurations" if pooled else ""
    caption = f"Share of the seeds that converged, with its exact 95% interval (Clopper–Pearson){which}."
    _, means = replicates(data.replicates)
    table = [*means], means.to_numpy().tolist()
    yield Chart("shares", "Share of the seeds that converged, by learning rate", plot, caption, table=table)


def means(canvas: Canvas) -> Charts:
    """The mean curves of configurations with several seeds."""
    data, drawn = canvas.data, len(canvas.data.mean_curves)
    if not drawn:
        return
    curves = [one._replace(low=10**one.low, middle=10**one.middle, high=10**one.high) for one in data.mean_curves]
    height = models.Range1d(*padded(np.concatenate([one.middle for one in curves]), least=0.5))
    plot = new_figure("means", 260, canvas.epochs, height, canvas.metric.title, x_axis_type="linear")
    lines = _bands(plot, "means-source", curves, rate=[rate(one.learning_rate) for one in curves])
    _tips(plot, lines, [*TIPS[:2], ("seeds", "@trials")])
    _epochs(plot)
    some = f": {drawn} of {len(data.shares)} configurations, evenly over the rates" * (drawn < len(data.shares))
    said = f"Mean over the seeds of the logarithm of the {canvas.metric.title}, with its 95% interval (Student's t)"
    yield Chart("means", "Mean curves over the seeds", plot, f"{said}{some}.")


class Section(NamedTuple):
    """Charts that answer one question."""

    name: str
    title: str
    charts: Sequence[Callable[[Canvas], Charts]]
    hint: str = ""


SECTIONS = (
    Section("map", "Where is the edge, and how did they get there?", [maps_and_curves]),
    Section("search", "How was the winner found?", [progress]),
    Section(
        "decision",
        "Which setting is best?",
        [decisions],
        "Each line is a setting: by how much its accuracy on held-out images is below that of the best, with the 95% "
        "interval that holds after any number of seeds. A cross ends a setting that is surely worse.",
    ),
    Section(
        "edges",
        "How large may the learning rate be?",
        [edges],
        "The share of seeds that learn, with its 95% band; each trial is a tick, at the top if it learned. The green "
        "band is the 95% interval of the rate at which half of them do. Numbered lines are what predictors said "
        "before, the median over their seeds.",
    ),
    Section("rates", "Which learning rate for which setting?", [rate_lines]),
    Section("settings", "Which setting matters?", [setting_maps, importance_bars]),
    Section("seeds", "How sure is it?", [shares, means]),
)
"""What the page shows, in its order."""


def sections(data: PageData) -> list[tuple[Section, list[Chart]]]:
    """Return the sections that have something to show, with their charts."""
    canvas = Canvas(data)
    found = [(section, [chart for charts in section.charts for chart in charts(canvas)]) for section in SECTIONS]
    return [(section, charts) for section, charts in found if charts]


ROWS = 25
"""Rows of the table that are seen at a time."""

ROW_HEIGHT, HEAD_HEIGHT = 26, 45
"""The height of a row, and of all that is above the first one, in pixels."""


def part(name: str) -> str:
    """Return the text of a part of the page."""
    return (files("mnist_tune.reports") / "page_parts" / name).read_text(encoding="utf-8")


def trial_table(trials: pd.DataFrame) -> models.DataTable:
    """Return the table of the trials, without its rows. It is sorted by value; a cell holds what is said of it."""
    columns = []
    for one in fields(trials, PAGE):
        swatch = '<i class="swatch" style="background:<%- page.colours[value] %>"></i>' if one.name == "regime" else ""
        cell = models.HTMLTemplateFormatter(template=f"{swatch}<%- {one.name}_said %>")
        title = heading(one, trials)
        columns.append(models.TableColumn(field=one.name, title=title, width=one.width, formatter=cell))
    source = empty("table-trials", [f"{one.field}{end}" for one in columns for end in ("", "_said")])
    view = models.CDSView(filter=models.BooleanFilter(name="table-shown"))
    table = models.DataTable(source=source, columns=columns, view=view, name="table", index_position=None)
    height = ROW_HEIGHT * min(max(len(trials), 1), ROWS) + HEAD_HEIGHT
    table.update(row_height=ROW_HEIGHT, height=height, sizing_mode="stretch_width", autosize_mode="none")
    table.update(sortable=True, reorderable=False, stylesheets=[models.InlineStyleSheet(css=part("table.css"))])
    return table


def empty(name: str, columns: Sequence[str]) -> models.ColumnDataSource:
    """Return a source that the page's script finds by its name and fills."""
    return models.ColumnDataSource({column: [] for column in columns}, name=name)


def _bands(plot: Any, name: str, bands: Sequence[Band], **columns: Sequence[str]) -> Any:
    """Draw curves by regime, each with its band, and return the lines."""
    source: dict[str, Any] = {"regime": [band.name for band in bands], "trials": [band.trials for band in bands]}
    source |= {"colour": [COLOURS[band.name] for band in bands], "mx": [], "my": [], "xs": [], "ys": [], **columns}
    for band in bands:
        x, low, middle, high = band.x, band.low, band.middle, band.high
        if len(x) == 1:  # a band of one epoch has no width of its own
            x = x + np.array([-0.15, 0.15])
            low, middle, high = (np.repeat(end, 2) for end in (low, middle, high))
        for column, values in (("mx", x), ("my", middle), ("xs", [*x, *x[::-1]]), ("ys", [*low, *high[::-1]])):
            source[column].append(np.asarray(values, dtype=float))
    held = models.ColumnDataSource(source, name=name)
    view = models.CDSView(filter=models.BooleanFilter(name=f"{name}-shown"))
    plot.patches("xs", "ys", source=held, view=view, fill_color="colour", fill_alpha=0.18, line_color=None)
    return plot.multi_line("mx", "my", source=held, view=view, line_color="colour", line_width=2.5)


def new_figure(name: str, height: int, x: Any, y: Any, title: str = "", **kinds: str) -> Any:
    """Return an empty figure with these ranges. Its axes are logarithmic, the horizontal one of learning rates, unless
    `kinds` says otherwise."""
    kinds = {"x_axis_type": "log", "y_axis_type": "log"} | kinds
    plot = figure(name=name, height=height, x_range=x, y_range=y, tools="", toolbar_location="above", **kinds)
    plot.add_tools(models.PanTool(), models.WheelZoomTool(), models.ResetTool())
    plot.toolbar.update(logo=None, active_drag=None, active_scroll=None)
    plot.toolbar.stylesheets = [models.InlineStyleSheet(css="@media print { :host { display: none; } }")]
    plot.update(background_fill_color=None, border_fill_color=None, outline_line_color=None, min_border_right=12)
    plot.sizing_mode = "stretch_width"
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.update(axis_label_text_font_style="normal", major_label_policy=models.NoOverlap())
    for grid in (*plot.xgrid, *plot.ygrid):
        grid.update(grid_line_color=INK, grid_line_alpha=0.2)
    if kinds["x_axis_type"] == "log":
        _logarithmic(plot.xaxis[0], x, "learning rate")
    if kinds["y_axis_type"] == "log":
        _logarithmic(plot.yaxis[0], y, title)
    return plot


def _logarithmic(axis: Any, along: models.Range1d, title: str, ticker: models.FixedTicker | None = None) -> Any:
    """Give a logarithmic axis a title, plain numbers, and ticks for its range, or those of the ticker. Return it."""
    axis.ticker = ticker or models.FixedTicker(ticks=ticks(along.start, along.end))
    axis.formatter = models.CustomJSTickFormatter(code="return page.plain(tick)")
    axis.update(axis_label=models.PlainText(title), minor_tick_line_color=None)
    return axis


def _legend(plot: Any, title: str, location: str) -> None:
    plot.legend.update(title=title, location=location, click_policy="hide", spacing=0, padding=2)
    look = {"label_text_font_size": "11px", "label_text_color": INK, "title_text_color": INK}
    plot.legend.update(background_fill_alpha=0, border_line_alpha=0, **look)


def _epochs(plot: Any) -> None:
    plot.xaxis[0].axis_label = "epoch"
    plot.xaxis[0].ticker.update(min_interval=1, num_minor_ticks=0)


def _tips(plot: Any, drawn: Any, said: Sequence[tuple[str, str]]) -> None:
    plot.add_tools(models.HoverTool(renderers=[drawn], tooltips=list(said), line_policy="nearest", visible=False))


def _mark(plot: Any, x: float, y: float, text: str, **units: str) -> None:
    """Draw a dashed line upwards, and its name."""
    plot.add_layout(models.Span(location=x, dimension="height", **DASHED))
    plot.add_layout(models.Label(x=x, y=y, x_offset=3, text=text, text_baseline="middle", **SMALL, **units))


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis: in each decade the fewer, the more decades there are."""
    decades = math.log10(high / low)
    kinds = ((0.4, range(10, 100)), (0.8, range(10, 100, 5)), (1.6, (10, 20, 50)), (4.2, (10, 30)), (math.inf, (10,)))
    parts = next(parts for most, parts in kinds if decades <= most)
    every = math.ceil(decades / 8) if decades > 4.2 else 1
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    found = [float(f"{part}e{power - 1}") for power in powers if power % every == 0 for part in parts]
    inside = [one for one in found if low <= one <= high]
    return inside[:: math.ceil(len(inside) / 8)] if decades <= 0.8 else inside


def _short(text: str, most: int = 24) -> str:
    short: str = printable(text if len(text) <= most else f"{text[: most - 1]}…")
    return short
