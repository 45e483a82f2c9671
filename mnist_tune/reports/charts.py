"""The charts of a sweep, drawn by matplotlib: for print, for a notebook and, as SVG,
for the page.

A chart is a function that draws into a figure, or a part of one. What readers can
choose on the page is tagged (`svg.tagged`): one artist for each regime and kind, since
an artist for each trial would take ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mnist_tune.errors import printable
from mnist_tune.numbers import rate
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.reports.axes import AWAY, PlacedName, evenly, log_ticks, place_labels
from mnist_tune.reports.measures import Axis, Measure, SettingAxis
from mnist_tune.reports.names import shortened
from mnist_tune.reports.ranges import VERBS
from mnist_tune.reports.styles import COLOURS, DIM, FAINT, INK, LOOKS, MARKERS, RULE
from mnist_tune.reports.svg import tagged
from mnist_tune.reports.view import FEW, MOST_CURVES, View, spaced

Pair = tuple[float, float]

LEFT, TOP, BOTTOM, RIGHT = 44, 32, 76, 8
"""Room about the axes of a chart, in points."""

WIDTHS, HEIGHT = (740, 580), 366
"""The widths of the charts on the left and on the right, and the height of both, in
points."""

NARROW, LOW = 376, 300
"""The width and the height of all charts on a phone."""

LETTERS = 12
"""Size of letters, in points."""

DASHES = {"oscillating": ("dashed", (6, 2.5)), "diverged": ("dotted", (2, 2.5))}
"""Curves of what is unstable: what their lines are called, and their dashes."""

LETTER, BOLD = 7.0, 7.9
"""The width of a letter, and of a bold one, in points."""

WHOLE = {"integer": True, "min_n_ticks": 1}
"""How ticks are found that are whole numbers."""

MOST_MARKS = 1000
"""The most trials that are drawn by each setting."""

SHORT = 9
"""Up to so many letters, names of curves are in full on a phone, too."""

LONGEST, LONGEST_ON_A_PHONE = 24, 16
"""The most letters of a curve's name."""

SHORTEST = 6
"""The fewest letters to which names are cut."""

NAMED = 12
"""The most curves that are named where there are more than `FEW`: the best one and its
rivals."""


class Chart(NamedTuple):
    """A chart, and when it is shown."""

    draw: Callable[[Any, Measure], None]
    """Draws it into a figure, or a part of one."""
    choice: str = ""
    """If charts have several, a menu says of which one is shown."""
    by_measure: bool = True
    """Whether it shows the measure that the reader chooses."""


def charts(view: View, sweep: int) -> tuple[list[Chart], list[Chart]]:
    """Return what stands on the left of a sweep's picture, and on the right, there with
    the choices of a menu."""
    tables = view.sweeps[sweep]
    if not view.measures:
        return [], []
    curves = Chart(partial(curves_by_epoch, view, sweep), "epoch")
    contest, edges = tables.decision, tables.edges()
    if contest is not None and contest.decision.seeds.any():
        draw = partial(gaps, view, sweep, contest)
        return [Chart(draw, by_measure=False)], [curves]
    if edges:
        trials = view.trials[view.trials["sweep"] == sweep]
        of_edges = []
        for edge in edges:
            draw = partial(edge_chart, trials, edge)
            of_edges.append(Chart(draw, by_measure=False))
        half = math.ceil(len(edges) / 2)
        return of_edges[:half], of_edges[half:] or [curves]
    if view.is_ranked(tables):
        first, *further = [
            Chart(partial(by_setting, view, sweep, along), spaced(along.name))
            for along in view.maps(sweep)
        ]
        return [first._replace(choice="")], [*further, curves]
    right = [curves]
    near = view.crowded(sweep)
    if near:
        zoomed = partial(by_rate, view, sweep, within=near)
        right.append(Chart(zoomed, "rates near the best"))
    return [Chart(partial(by_rate, view, sweep))], right


# --- what all charts share


def extent(area: Any) -> Pair:
    """Return the width and the height of a figure, of a part of one, or of axes, in
    points."""
    dpi = area.figure.dpi
    return float(area.bbox.width) * 72 / dpi, float(area.bbox.height) * 72 / dpi


def frame(
    figure: Any,
    title: str,
    x: Axis,
    y: Axis,
    margin: float = LEFT,
    bottom: float = BOTTOM,
) -> Any:
    """Return new axes in a figure, with a title, ticks, and faint lines at those on the
    left; these are dotted at what is marked. They are drawn by hand: matplotlib's own
    axes take twice as long."""
    width, height = extent(figure)
    wide = width - margin - RIGHT
    tall = height - TOP - bottom
    box = margin / width, bottom / height, wide / width, tall / height
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.set_label(printable(title))
    axes.set(xscale=x.scale, xlim=x.ends)
    axes.set(yscale=y.scale, ylim=y.ends)
    below = x.ticks or ticks(x, wide / 48)
    for value, text in below.items():
        write(axes, (x.share(value), 0), text, (0, -16), ha="center")
    marked = _by_share(y, y.marked or {})
    _levels(axes, marked, colors=DIM, ls=(0, (1, 3)))
    apart = 20 if y.log else 28
    at_left = y.ticks or ticks(y, tall / apart)
    grid = {}
    for share, text in _by_share(y, at_left).items():
        # what is marked is written there, too
        distances = [abs(share - level) * tall for level in marked]
        if all(distance > LETTERS for distance in distances):
            grid[share] = text
    _levels(axes, grid, colors=RULE, zorder=0)
    for share, text in (marked | grid).items():
        write(axes, (0, share), text, (-5, -4), ha="right")
    write(axes, (0, 1), title, (-margin, 16), color=INK, fontsize=LETTERS + 1)
    return axes


def _by_share(axis: Axis, texts: dict[float, str]) -> dict[float, str]:
    """Return the texts of values by where these lie on an axis."""
    return {axis.share(value): text for value, text in texts.items()}


def _levels(axes: Any, shares: Iterable[float], **look: Any) -> None:
    """Draw lines from the left to the right, at shares of the height."""
    levels = [[(0, share), (1, share)] for share in shares]
    lines(axes, levels, lw=1, transform=axes.transAxes, **look)


def ticks(along: Axis, most: float, **how: Any) -> dict[float, str]:
    """Return at most so many round numbers on an axis, but two or more, and how they
    are written."""
    low, high = along.low, along.high
    count = max(int(most), 2)
    values: Sequence[float]
    if along.log:
        values = log_ticks(low, high, count)
    else:
        values = MaxNLocator(count, **how).tick_values(low, high)
    texts = {}
    for value in values:
        number = value
        if along.accuracy:  # the axis is one of errors
            number = 1 - value
        if low <= value <= high:
            texts[value] = f"{number:.7g}"
    return texts


def write(
    axes: Any,
    place: Pair,
    text: str,
    away: Pair = (0, 0),
    at: Any = "axes fraction",
    **look: Any,
) -> Any:
    """Write a text so many points away from a place."""
    usual = {
        "fontsize": LETTERS,
        "color": DIM,
        "parse_math": False,
        "annotation_clip": False,
    }
    look = usual | look
    text = printable(text)
    return axes.annotate(
        text, place, away, xycoords=at, textcoords="offset points", **look
    )


def beside(
    axes: Any, place: Pair, text: str, at: Any, away: float = 8, **look: Any
) -> None:
    """Write a text on the right of a place, or on its left where that has no room."""
    x, _ = axes.transData.transform((place[0], 0.5))
    room = (axes.bbox.x1 - x) * 72 / axes.figure.dpi
    width = BOLD * len(text)
    side = "left"
    if room + RIGHT < away + width:
        side = "right"
        away = -away
    write(axes, place, text, (away, -4), at, ha=side, **look)


def dots(
    axes: Any,
    x: Any,
    y: Any,
    tag: tuple[str, str, Any] | None = None,
    size: float = 40,
    **look: Any,
) -> None:
    """Draw points as one line of markers: matplotlib's own scatter plots take six times
    as long. The `tag` names the trial or setting of each; those that are not finite are
    left out."""
    x = np.asarray(x, float)
    y = np.asarray(y, float)
    finite = np.isfinite(x) & np.isfinite(y)
    usual = {"ls": "", "ms": size**0.5, "mew": 0, "clip_on": False, "zorder": 3}
    points = Line2D(x[finite], y[finite], **usual | look)
    if tag is not None:
        kind, which, numbers = tag
        tagged(points, kind, which, np.asarray(numbers)[finite])
    axes.add_artist(points)


def marks(
    axes: Any,
    x: Any,
    y: Any,
    trials: pd.DataFrame,
    size: float,
    alpha: float = 1.0,
    kind: str = "mark",
) -> None:
    """Draw trials, those of a regime and colour together."""
    x = np.asarray(x)
    y = np.asarray(y)
    groups = trials.groupby(["regime", "look"]).indices
    for (regime, look), rows in groups.items():
        tag = f"{kind} {look}", "t", trials.index[rows]
        style = {"marker": MARKERS[regime], "color": LOOKS[look], "alpha": alpha}
        dots(axes, x[rows], y[rows], tag, size, **style)


def lines(
    axes: Any,
    segments: Sequence[Any],
    tag: tuple[str, str, Any] | None = None,
    **look: Any,
) -> None:
    """Draw lines as one collection; its `tag` names the trial or setting of each."""
    collection = LineCollection(segments, clip_on=False, **look)
    if tag is not None:
        tagged(collection, *tag)
    axes.add_collection(collection, autolim=False)


def best_and_rivals(
    view: View,
    axes: Any,
    settings: pd.DataFrame,
    x: Any,
    measure: Measure,
    size: float,
    names: float = math.inf,
) -> None:
    """Draw rings on the best setting and on its rivals, and write the best one's name,
    but not over the names of lines that end at this place."""
    near = settings[settings["role"] != ""]
    values = view.means[measure.column][:, 1]
    heights = measure.place(values)
    look = {"marker": "o", "mfc": "none", "mec": INK, "mew": 1.5, "zorder": 4}
    tag = "ring", "s", near.index
    dots(axes, x[near.index], heights[near.index], tag, size, **look)
    if len(near) > 1:
        write(axes, (1, 1), "ringed: may be as good", (0, 16), ha="right")
    places = [*zip(x, heights[: len(x)], strict=True)]
    for number in near.index[near["role"] == "best"]:
        rate_text = settings["rate"][number]
        text = f"best: {rate_text}, {measure.said(values[number])}"
        _name_best(axes, places, number, text, names)


def _name_best(
    axes: Any, places: Sequence[Pair], number: int, text: str, names: float
) -> None:
    """Write the name of the best setting above its place, or below it where it covers
    fewer settings, and not over the names of lines."""
    # where all settings are, and where names of lines begin, in points
    _, last = axes.get_xlim()
    corner = min(names, last), 1
    pixels = axes.transData.transform([*places, corner]) - axes.bbox.min
    along, up = (pixels * 72 / axes.figure.dpi).T
    width, high = extent(axes)
    wide = min(width, along[-1] + AWAY * LETTERS)
    half = min(BOLD * len(text) / 2, wide / 2)
    middle = min(max(along[number], half), wide - half)
    is_beside = abs(along[:-1] - middle) < half
    rise = up[:-1] - up[number]
    is_above = is_beside & (abs(rise - 14 - 4) < LETTERS)
    is_below = is_beside & (abs(rise + 22 - 4) < LETTERS)
    has_room_above = up[number] + 20 <= high
    is_better_below = is_below.sum() < is_above.sum() or not has_room_above
    away = 14
    if is_better_below and up[number] > 40:
        away = -22
    _, height = places[number]
    at = "axes fraction", "data"
    look = {"ha": "center", "weight": "bold", "color": INK, "fontsize": LETTERS + 1}
    write(axes, (0, height), text, (middle, away), at, **look)


def area(count: int) -> float:
    """Return the area of a mark, in square points: the smaller, the more there are."""
    return float(np.clip(1500 / max(count, 1) ** 0.7, 9, 80))


# --- the last value of each trial


def by_rate(
    view: View, sweep: int, figure: Any, measure: Measure, within: Pair = (0, math.inf)
) -> None:
    """Draw the last value of each trial by its learning rate, with what is known of its
    noise; under the rates the regimes. Of several families there is a line each,
    through the rates that don't diverge. Only rates within these are drawn."""
    own = view.points[view.points["sweep"] == sweep]
    own = own[own["learning_rate"].between(*within)]
    trials = own[own["epochs_run"] > 0]
    settings = view.settings.loc[sorted({*own["setting"]})]
    width, _ = extent(figure)
    x = Axis.of(own["learning_rate"])
    title = f"{measure.title} by learning rate"
    families = view.families(sweep)
    # the longest names take half of the chart
    most = int(width / 2 / LETTER)
    names = shortened([name for name, *_ in families], most)
    if families:
        # room for the names of the lines
        letters = max(map(len, names.values()))
        wide = 9 + LETTER * letters
        share = wide / (width - LEFT - wide)
        x = x._replace(high=x.high * (x.high / x.low) ** share)
        if width > NARROW:
            differ = ", ".join(map(spaced, view.differ[sweep]))
            title += f"; lines: {shorter(differ, 40)}"
    axes = frame(figure, title, x, measure.axis)
    beyond = math.inf
    ends = []
    for name, look, family in families:
        drawn = family[family.index.isin(settings.index)]
        ends += _family_line(view, axes, drawn, measure, names[name], LOOKS[look])
    if ends:
        beyond = max(end.x for end in ends)
        _name_lines(axes, ends, beyond)
    if families:
        legend(axes, trials)
    else:
        strip(axes, settings)
    if len(settings) <= MOST_CURVES:
        begun = settings[settings["regime"] != ""]
        looks = begun["regime"]
        if families:
            look_of = dict(zip(trials["setting"], trials["look"], strict=True))
            looks = begun.index.map(look_of)
        for look, rows in begun.groupby(looks):
            _means_and_bars(view, axes, rows, measure, look)
    size = area(len(trials))
    if view.has_seeds:
        size *= 0.4
    heights = measure.place(measure.of(view.trials)[trials.index])
    marks(axes, trials["learning_rate"], heights, trials, size, 0.85)
    rates = view.settings["learning_rate"].to_numpy()
    best_and_rivals(view, axes, settings, rates, measure, 240, beyond)
    # trials that wait are rings on the axis
    waiting = own[own["epochs_run"] == 0]["learning_rate"]
    first, _ = measure.axis.ends
    low = [first] * len(waiting)
    dots(axes, waiting, low, marker="o", mfc="none", mec=DIM, mew=1.2)


def _family_line(
    view: View,
    axes: Any,
    settings: pd.DataFrame,
    measure: Measure,
    name: str,
    colour: str,
) -> list[PlacedName]:
    """Draw the line of a family, and return its name at its end, if it has one."""
    calm = settings[settings["regime"] != "diverged"]
    if calm.empty:
        calm = settings
    heights = measure.place(view.means[measure.column][calm.index, 1])
    line = calm.assign(value=heights).dropna(subset="value")
    line = line.groupby("learning_rate")["value"].mean()
    axes.plot(line.index, line, color=colour, lw=1.6, zorder=2)
    if line.empty:
        return []
    text = printable(name)
    return [PlacedName(line.index[-1], line.iloc[-1], text, colour, tag="name")]


def _name_lines(axes: Any, ends: Sequence[PlacedName], beyond: float) -> None:
    """Write the names of lines in one column, each beside its line's end."""
    segments = [[(end.x, end.y), (beyond, end.y)] for end in ends]
    colours = [end.colour for end in ends]
    lines(axes, segments, colors=colours, lw=0.5)
    column = [end._replace(x=beyond) for end in ends]
    place_labels(axes, column, LETTERS)


def _means_and_bars(
    view: View, axes: Any, settings: pd.DataFrame, measure: Measure, look: str
) -> None:
    """Draw the intervals of settings of one look and, of several seeds, their means."""
    means = view.means[measure.column][settings.index]
    low, middle, high = measure.place(means).T
    rates = settings["learning_rate"].to_numpy()
    colour = LOOKS[look]
    finite = np.isfinite(low) & np.isfinite(high)
    ends = zip(rates[finite], low[finite], high[finite], strict=True)
    bars = [[(x, least), (x, most)] for x, least, most in ends]
    tag = f"bar {look}", "s", settings.index[finite]
    if not view.has_seeds:
        lines(axes, bars, tag, colors=colour, lw=5, alpha=0.22)
        return
    lines(axes, bars, tag, colors=colour, lw=1.5)
    tag = f"mean {look}", "s", settings.index
    style = {"marker": "_", "mew": 2, "color": colour, "zorder": 4}
    dots(axes, rates, middle, tag, 110, **style)


def by_setting(
    view: View, sweep: int, along: SettingAxis, figure: Any, measure: Measure
) -> None:
    """Draw the last value of each trial by its rank or a setting; of thousands, that of
    some, evenly chosen."""
    trials = view.drawn(sweep)
    settings = view.settings[view.settings["sweep"] == sweep]
    title = f"{measure.title} by {spaced(along.name)}"
    if len(trials) > MOST_MARKS:
        title += f", {MOST_MARKS:,} of {len(trials):,} trials"
    trials = trials.loc[evenly(trials.index, MOST_MARKS)]
    groups = along.axis.ticks or {}
    width, _ = extent(figure)
    room = int((width - LEFT) / max(len(groups), 1) / LETTER)
    names = shortened(groups.values(), max(room, SHORTEST))
    texts = {place: names[name] for place, name in groups.items()}
    if along.name == "rank":
        texts = ticks(along.axis._replace(low=1), 10, **WHOLE)
    x = along.axis._replace(ticks=texts)
    axes = frame(figure, title, x, measure.axis)
    heights = measure.place(measure.of(view.trials)[trials.index])
    size = area(len(trials))
    marks(axes, along.places[trials.index], heights, trials, size, 0.85)
    places = [along.places[rows].mean() for rows in view.settings["trials"]]
    best_and_rivals(view, axes, settings, np.array(places), measure, 160)
    legend(axes, trials)


def shorter(text: str, most: int) -> str:
    """Return a text, or its beginning if it has more letters."""
    if len(text) <= most:
        return text
    return f"{text[: most - 1]}…"


def strip(axes: Any, settings: pd.DataFrame) -> None:
    """Draw under the rates which regime is where: a run of rates each, with its word,
    as far as there is room."""
    width, tall = extent(axes)
    settings = settings.sort_values("learning_rate")
    rates = settings["learning_rate"].to_numpy()
    regimes = settings["regime"].to_numpy()
    low, high = axes.get_xlim()
    between = np.sqrt(rates[1:] * rates[:-1])
    edges = np.array([low, *between, high])
    at = np.log(edges / low) / math.log(high / low) * width
    codes, _ = pd.factorize(regimes)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    runs = [*pairwise([*starts, len(rates)])]
    bottom, top = -48 / tall, -26 / tall
    room = width + RIGHT
    # from the right, where narrow runs are: a word that is wider than its run takes
    # room on its left
    for start, end in reversed(runs):
        regime = regimes[start]
        if not regime:  # still waiting
            continue
        colour, word = COLOURS[regime], VERBS[regime]
        tag = f"seg {regime}", "s", [settings.index[start:end]]
        look = {"color": colour, "alpha": 0.2, "ec": "none", "clip_on": False}
        span = axes.axvspan(edges[start], edges[end], bottom, top, **look)
        tagged(span, *tag)
        half = BOLD * len(word) / 2
        middle = (at[start] + at[end]) / 2
        height = -41
        if at[end] - at[start] < 2 * half + 4:  # below its run
            height = -62
            middle = min(middle, room - half)
            if middle - half < -LEFT:
                continue
            room = middle - half - 6
        look = {"ha": "center", "color": colour, "weight": "bold"}
        text = write(axes, (0, 0), word, (middle, height), **look)
        tagged(text, *tag)


def legend(axes: Any, trials: pd.DataFrame) -> None:
    """Write under the axis which mark stands for which regime; in its colour, unless
    colours stand for families."""
    wide, tall = extent(axes)
    x, y = 6.0, -41.0
    by_regime = trials["look"].eq(trials["regime"]).all()
    for regime, own_colour in COLOURS.items():
        own = trials["setting"][trials["regime"] == regime]
        if own.empty:
            continue
        colour = own_colour if by_regime else DIM
        word = VERBS[regime]
        width = BOLD * len(word)
        if x + 12 + width > wide + RIGHT:  # in the next line
            x = 6.0
            y -= 17
        look = {"marker": MARKERS[regime], "color": colour, "transform": axes.transAxes}
        dots(axes, [x / wide], [(y + 4) / tall], None, 64, **look)
        text = write(axes, (0, 0), word, (x + 9, y), color=colour, weight="bold")
        tagged(text, f"seg {regime}", "s", [sorted({*own})])
        x += 30 + width


# --- curves


def curves_by_epoch(view: View, sweep: int, figure: Any, measure: Measure) -> None:
    """Draw the curves: grey with their names at their ends, those of the best and its
    rivals in colour."""
    trials, settings = view.drawn(sweep), view.settings
    roles = settings["role"][trials["setting"]].to_numpy()
    trials = trials.assign(near=roles != "")
    width, _ = extent(figure)
    names, in_full = _curve_names(settings[settings["sweep"] == sweep], width)
    named = []
    if not view.sweeps[sweep].edges():
        named = _named(trials, settings)
    title = f"{measure.title} by epoch"
    if in_full:
        title += names_are(view, sweep)
    last = 2
    if len(trials):
        last = max(int(trials["epochs_run"].max()), 2)
    # room for marks on the left, and for names on the right
    letters = max((len(names[number]) for number in named), default=0)
    right = 34 + LETTER * letters
    wide = width - LEFT - RIGHT - 8 - right
    at = ticks(Axis(1, last, False), 6, **WHOLE)
    if last < 12:
        at[1.0] = "1"
    low = 1 - 8 * (last - 1) / wide
    high = last + right * (last - 1) / wide
    x = Axis(low, high, False, ticks=at)
    axes = frame(figure, title, x, measure.axis)
    axes.set_gid("curves")
    drawn = _draw_curves(view, axes, trials, measure)
    ends = drawn[drawn["setting"].isin(named)].groupby("setting")
    ends = ends.agg({"x": "mean", "y": "mean", "look": "first", "near": "first"})
    labels = []
    for end in ends.itertuples():
        number = end.Index
        colour = LOOKS[end.look] if end.near else DIM
        tag = f"name/s/{number}"
        labels.append(PlacedName(end.x, end.y, names[number], colour, end.near, tag))
    place_labels(axes, labels, LETTERS)
    indent = 0 if width > NARROW else -LEFT
    write(axes, (0, 0), "; ".join(_keys_of_curves(drawn, trials)), (indent, -41))


def _keys_of_curves(drawn: pd.DataFrame, trials: pd.DataFrame) -> Iterator[str]:
    """Yield what colours and dashes of curves say, where curves differ in these."""
    if trials["near"].any() and not trials["near"].all():
        yield "in colour: may be as good"
    for regime, (dash, _) in DASHES.items():
        if drawn["regime"].eq(regime).any():
            yield f"{dash}: {VERBS[regime]}"


def _named(trials: pd.DataFrame, settings: pd.DataFrame) -> list[int]:
    """Return the settings whose curves are named: of many, the best and its rivals."""
    numbers = list(dict.fromkeys(trials["setting"]))
    if len(numbers) <= FEW:
        return numbers
    roles = settings["role"]
    near = [number for number in numbers if roles[number]]
    return sorted(near, key=lambda number: roles[number])[:NAMED]


def _curve_names(settings: pd.DataFrame, width: float) -> tuple[pd.Series, bool]:
    """Return the names of the settings beside their curves, and whether these are in
    full: on a phone they may be rates."""
    is_roomy = width > NARROW
    names = settings["name"]
    is_short = names.map(len).max() <= SHORT
    in_full = bool(is_roomy or not settings["rate"].is_unique or is_short)
    if not in_full:
        names = settings["rate"]
    most = LONGEST if is_roomy else LONGEST_ON_A_PHONE
    return names.map(shortened(names, most)).map(printable), in_full


def _draw_curves(
    view: View, axes: Any, trials: pd.DataFrame, measure: Measure
) -> pd.DataFrame:
    """Draw the curves of the trials, of many those near the best and some others, and
    return these trials, with their ends (`x`, `y`)."""
    curves = view.curves[measure.column]
    near = trials["near"]
    some = evenly(trials.index, MOST_CURVES - near.sum())
    is_chosen = trials.index.isin({*trials.index[near], *some})
    has_values = np.isfinite(curves[trials.index]).any(1)
    drawn = trials[is_chosen & has_values].copy()
    paths = []
    for i in drawn.index:
        path = np.column_stack([view.kept_epochs, curves[i]])
        paths.append(path[np.isfinite(curves[i])])
    ends = [path[-1] for path in paths]
    drawn[["x", "y"]] = np.reshape(ends, (-1, 2))
    groups = drawn.groupby(["regime", "look", "near"]).indices
    for (regime, look, is_near), rows in groups.items():
        style = {"colors": FAINT, "lw": 1.1}
        if is_near:
            style = {"colors": LOOKS[look], "lw": 2, "zorder": 2.5}
        _, dashes = DASHES.get(regime, ("", None))
        tag = f"line {look}", "t", drawn.index[rows]
        own = [paths[row] for row in rows]
        lines(axes, own, tag, linestyles=(0, dashes), **style)
    marks(axes, drawn["x"], drawn["y"], drawn, 22, kind="end")
    return drawn


def names_are(view: View, sweep: int) -> str:
    """Return which settings the names in a chart consist of, to follow its title; empty
    if these are rates."""
    differ = view.differ[sweep]
    if not differ:
        return ""
    names = ", ".join(map(spaced, [*differ, "rate"]))
    return f"; names: {shorter(names, 40)}"


# --- of a decision


def gaps(view: View, sweep: int, contest: Contest, figure: Any, _: Measure) -> None:
    """Draw by how much each setting is below the best, with its interval: the best
    first."""
    decision, ranking = contest.decision, contest.ranking
    best = int(decision.leader)
    numbers = view.of_contest(sweep, contest)
    texts = view.settings["name"].reindex(numbers, fill_value="–")
    names = texts.map(printable).tolist()
    worse, has_seeds_in_common = decision.worse()
    rest = [k for k in range(len(names)) if k != best and has_seeds_in_common[k]]
    rest.sort(key=lambda k: worse[k, 1])
    compared = [best, *rest]
    order = compared[:FEW]
    x = _axis_of_gaps([worse[k] for k in order[1:]], ranking.is_accuracy)
    shown = [names[k] for k in order]
    longest = max(map(len, shown))
    widest = 0.42 * extent(figure)[0]
    margin = min(14 + LETTER * longest, widest)
    room = max(int((margin - 10) / LETTER), SHORTEST)
    cut = shortened(shown, room)
    rows = {float(place): cut[name] for place, name in enumerate(shown)}
    y = Axis(len(order) - 0.4, -0.6, False, ticks=rows)
    title = f"{ranking.word} {ranking.worse} the best"
    axes = frame(figure, title + names_are(view, sweep), x, y, margin)
    axes.axvline(0, color=DIM, lw=1, zorder=1)
    looks = dict(zip(view.points["setting"], view.points["look"], strict=True))
    has_crosses = False
    for place, k in enumerate(order):
        number = numbers[k]
        colour = DIM
        if number in looks:
            colour = LOOKS[looks[number]]
        mean = 0.0
        if k != best:
            mean = worse[k, 1]
            _draw_bar(axes, place, worse[k], number, colour)
        if mean > x.high:  # of one that left early
            text = f"{ranking.difference(mean)} →"
            at = "axes fraction", "data"
            write(axes, (1, place), text, (0, -4), at, ha="right")
            continue
        marker = "o"
        if k != best and not decision.rivals[k]:
            marker = "X"
            has_crosses = True
        tag = "mark", "s", [number]
        dots(axes, [mean], [place], tag, 70, marker=marker, color=colour)
    if not contest.is_doubted:
        bars = "a bar's left end: how much better it may be (95%)"
        write(axes, (0, 0), bars, (-margin, -42))
    keys = ["dots: may be as good"]
    if has_crosses:
        keys.append("crosses: worse, or set aside")
    if len(compared) > FEW:
        keys.append(f"{len(compared) - FEW} more in the table")
    write(axes, (0, 0), "; ".join(keys), (-margin, -59))


def _axis_of_gaps(gaps: Sequence[np.ndarray], is_accuracy: bool) -> Axis:
    """Return the axis of the gaps of settings, each with the ends of its interval."""
    ends = [gap for gap in gaps if np.isfinite(gap).all()]
    if not ends:
        ends = [np.array([-0.01, 0, 0.01])]
    least = 0.001 if is_accuracy else 1e-9
    return Axis.of([0, *np.ravel(ends)], log=False, least=least)


def _draw_bar(axes: Any, place: int, gap: np.ndarray, number: int, colour: str) -> None:
    """Draw the interval of a gap, if it has one."""
    low, _, high = gap
    if math.isfinite(low) and math.isfinite(high):
        bar = [[(low, place), (high, place)]]
        tag = "bar", "s", [number]
        lines(axes, bar, tag, colors=colour, lw=5, alpha=0.35)


# --- of an edge


def edge_chart(
    trials: pd.DataFrame, edge: MeasuredEdge, figure: Any, _: Measure
) -> None:
    """Draw the share of seeds that learn with its 95% band, the trials as ticks, and
    below where it was expected."""
    bottom = 47
    half = edge.rate(0.5)
    rates = [*edge.outcomes["learning_rate"], edge.expected]
    if 0 < half.median < math.inf:
        rates += [half.median / 3, half.median * 3]
    x = Axis(min(rates) / 1.1, max(rates) * 1.1)
    y = Axis(-0.06, 1.06, False, ticks={0.0: "0%", 0.5: "50%", 1.0: "100%"})
    title = f"share of seeds that learn: {edge.title}"
    axes = frame(figure, title, x, y, bottom=bottom)
    width, tall = extent(axes)
    if edge.is_bracketed:
        grid = np.geomspace(x.low, x.high, 200)
        low, middle, high = edge.posterior.band(np.log(grid))
        axes.fill_between(grid, low, high, color=COLOURS["slow"], alpha=0.25, lw=0)
        axes.plot(grid, middle, color=COLOURS["slow"], lw=2)
    if edge.is_bracketed and half.is_known:
        down = -(bottom - 4) / tall
        look = {"color": COLOURS["converged"], "alpha": 0.25, "lw": 0}
        axes.axvspan(half.low, half.high, down, 1, clip_on=False, **look)
        number = str(half)
        if width <= NARROW:
            number = rate(half.median, 3)
        place = half.median, 0.5
        text = f"50% at {number}"
        beside(axes, place, text, "data", 14, weight="bold", color=INK)
    own = trials[trials["own_index"].isin(edge.outcomes.index)]
    for learned, rows in own.groupby("learned"):
        colour, verb, height = COLOURS["diverged"], "did not", 6
        if learned:
            colour, verb, height = COLOURS["converged"], "learned", -14
        tag = "mark", "t", rows.index
        look = {"marker": "|", "color": colour, "mew": 1.3}
        dots(axes, rows["learning_rate"], rows["learned"], tag, 150, **look)
        text = f"{len(rows)} {verb}"
        at = "axes fraction", "data"
        write(axes, (0, learned), text, (4, height), at, color=colour)
    below = edge.expected, -30 / tall
    look = {"color": DIM, "ms": 5, "clip_on": False}
    axes.plot(*below, "o", scalex=False, transform=axes.get_xaxis_transform(), **look)
    text = f"expected at {rate(edge.expected, 3)}"
    beside(axes, below, text, ("data", "axes fraction"))
