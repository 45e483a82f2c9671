"""The charts of a sweep, drawn by matplotlib: for print, for a notebook and, as SVG,
for the page.

A chart is a function that draws into a figure, or a part of one. What readers can
choose on the page is tagged (`svg.tagged`): one artist for each regime and kind, since
an artist for each trial would take ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    if (contest := tables.decision) is not None and contest.decision.seeds.any():
        return [Chart(partial(gaps, view, sweep, contest), by_measure=False)], [curves]
    if edges := tables.edges():
        half, draw = (
            -(-len(edges) // 2),
            partial(edge_chart, view.trials[view.trials["sweep"] == sweep]),
        )
        found = [Chart(partial(draw, one), by_measure=False) for one in edges]
        return found[:half], found[half:] or [curves]
    if view.is_ranked(tables):
        maps = [
            Chart(partial(by_setting, view, sweep, one), spaced(one.name))
            for one in view.maps(sweep)
        ]
        return [maps[0]._replace(choice="")], [*maps[1:], curves]
    near = view.crowded(sweep)
    more = (
        [Chart(partial(by_rate, view, sweep, within=near), "rates near the best")]
        if near
        else []
    )
    return [Chart(partial(by_rate, view, sweep))], [curves, *more]


# --- what all charts share


def extent(of: Any) -> Pair:
    """Return the width and the height of a figure, of a part of one, or of axes, in
    points."""
    return float(of.bbox.width) * 72 / of.figure.dpi, float(
        of.bbox.height
    ) * 72 / of.figure.dpi


def frame(
    figure: Any,
    title: str,
    x: Axis,
    y: Axis,
    left: float = LEFT,
    bottom: float = BOTTOM,
) -> Any:
    """Return new axes in a figure, with a title, ticks, and faint lines at those on the
    left; these are dotted at what is marked. They are drawn by hand: matplotlib's own
    axes take twice as long."""
    w, h = extent(figure)
    wide, tall = w - left - RIGHT, h - TOP - bottom
    axes = figure.add_axes((left / w, bottom / h, wide / w, tall / h))
    axes.set_axis_off()
    axes.set_label(printable(title))
    for which, along in (("x", x), ("y", y)):
        axes.set(
            **{
                f"{which}scale": "log" if along.log else "linear",
                f"{which}lim": along.ends,
            }
        )
    for at, text in (x.ticks or ticks(x, wide / 48)).items():
        write(axes, (x.share(at), 0), text, (0, -16), ha="center")
    shares = {y.share(at): text for at, text in (y.marked or {}).items()}
    lines(
        axes,
        [[(0, at), (1, at)] for at in shares],
        colors=DIM,
        lw=1,
        ls=(0, (1, 3)),
        transform=axes.transAxes,
    )
    found = y.ticks or ticks(y, tall / (20 if y.log else 28))
    clear = (
        at
        for at in found
        if all(abs(y.share(at) - one) * tall > LETTERS for one in shares)
    )
    grid = {y.share(at): found[at] for at in clear}
    lines(
        axes,
        [[(0, at), (1, at)] for at in grid],
        colors=RULE,
        lw=1,
        zorder=0,
        transform=axes.transAxes,
    )
    for share, text in (shares | grid).items():
        write(axes, (0, share), text, (-5, -4), ha="right")
    write(axes, (0, 1), title, (-left, 16), color=INK, fontsize=LETTERS + 1)
    return axes


def ticks(along: Axis, most: float, **how: Any) -> dict[float, str]:
    """Return at most so many round numbers on an axis, but two or more, and how they
    are written."""
    most = max(int(most), 2)
    found = (
        log_ticks(*along[:2], most)
        if along.log
        else MaxNLocator(most, **how).tick_values(*along[:2])
    )
    return {
        one: f"{1 - one if along.accuracy else one:.7g}"
        for one in found
        if along.low <= one <= along.high
    }


def write(
    axes: Any,
    place: Pair,
    text: str,
    away: Pair = (0, 0),
    at: Any = "axes fraction",
    **look: Any,
) -> Any:
    """Write a text so many points away from a place."""
    look = {
        "fontsize": LETTERS,
        "color": DIM,
        "parse_math": False,
        "annotation_clip": False,
    } | look
    return axes.annotate(
        printable(text), place, away, xycoords=at, textcoords="offset points", **look
    )


def beside(
    axes: Any, place: Pair, text: str, at: Any, away: float = 8, **look: Any
) -> None:
    """Write a text on the right of a place, or on its left where that has no room."""
    room = (
        (axes.bbox.x1 - axes.transData.transform((place[0], 0.5))[0])
        * 72
        / axes.figure.dpi
    )
    left = room + RIGHT < away + BOLD * len(text)
    write(
        axes,
        place,
        text,
        (-away if left else away, -4),
        at,
        ha="right" if left else "left",
        **look,
    )


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
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(x) & np.isfinite(y)
    found = Line2D(
        x[known],
        y[known],
        **{"ls": "", "ms": size**0.5, "mew": 0, "clip_on": False, "zorder": 3} | look,
    )
    axes.add_artist(
        tagged(found, *tag[:2], np.asarray(tag[2])[known]) if tag else found
    )


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
    x, y = np.asarray(x), np.asarray(y)
    for (regime, look), rows in trials.groupby(["regime", "look"]).indices.items():
        tag, style = (
            (f"{kind} {look}", "t", trials.index[rows]),
            {"marker": MARKERS[regime], "color": LOOKS[look]},
        )
        dots(axes, x[rows], y[rows], tag, size, alpha=alpha, **style)


def lines(
    axes: Any,
    segments: Sequence[Any],
    tag: tuple[str, str, Any] | None = None,
    **look: Any,
) -> None:
    """Draw lines as one collection; its `tag` names the trial or setting of each."""
    found = LineCollection(segments, clip_on=False, **look)
    axes.add_collection(tagged(found, *tag) if tag else found, autolim=False)


def best_and_rivals(
    view: View,
    axes: Any,
    settings: pd.DataFrame,
    x: Any,
    one: Measure,
    size: float,
    names: float = math.inf,
) -> None:
    """Draw rings on the best setting and on its rivals, and write the best one's name,
    but not over the names of lines that end at this place."""
    near, values = settings[settings["role"] != ""], view.means[one.column][:, 1]
    heights, look = (
        one.place(values[near.index]),
        {"mfc": "none", "mec": INK, "mew": 1.5, "zorder": 4},
    )
    dots(
        axes,
        x[near.index],
        heights,
        ("ring", "s", near.index),
        size,
        marker="o",
        **look,
    )
    if len(near) > 1:
        write(axes, (1, 1), "ringed: may be as good", (0, 16), ha="right")
    everywhere, high = one.place(values), extent(axes)[1]
    places = axes.transData.transform(
        [
            *zip(x, everywhere[: len(x)], strict=True),
            (min(names, axes.get_xlim()[1]), 1),
        ]
    )
    along, up = ((places - axes.bbox.min) * 72 / axes.figure.dpi).T
    at, ends = along[:-1], along[-1]
    wide = min(extent(axes)[0], ends + AWAY * LETTERS)
    for number in near.index[near["role"] == "best"]:
        said = f"best: {settings['rate'][number]}, {one.said(values[number])}"
        half = min(BOLD * len(said) / 2, wide / 2)
        place, look = (
            (0, everywhere[number]),
            {"weight": "bold", "color": INK, "fontsize": LETTERS + 1},
        )
        middle, heights = min(max(at[number], half), wide - half), up[:-1] - up[number]
        under = [
            ((abs(at - middle) < half) & (abs(heights - of - 4) < LETTERS)).sum()
            for of in (14, -22)
        ]
        below = up[number] > 40 and (under[1] < under[0] or up[number] + 20 > high)
        write(
            axes,
            place,
            said,
            (middle, -22 if below else 14),
            ("axes fraction", "data"),
            ha="center",
            **look,
        )


def area(count: int) -> float:
    """Return the area of a mark, in square points: the smaller, the more there are."""
    return float(np.clip(1500 / max(count, 1) ** 0.7, 9, 80))


# --- the last value of each trial


def by_rate(
    view: View, sweep: int, figure: Any, one: Measure, within: Pair = (0, math.inf)
) -> None:
    """Draw the last value of each trial by its learning rate, with what is known of its
    noise; under the rates the regimes. Of several families there is a line each,
    through the rates that don't diverge. Only rates within these are drawn."""
    own = view.points[
        (view.points["sweep"] == sweep) & view.points["learning_rate"].between(*within)
    ]
    trials, settings = (
        own[own["epochs_run"] > 0],
        view.settings.loc[sorted({*own["setting"]})],
    )
    x, (width, _) = Axis.of(own["learning_rate"]), extent(figure)
    room = int(width / 2 / LETTER)  # the longest names take half of the chart
    families = view.families(sweep)
    shown = shortened([name for name, *_ in families], room)
    families = [(shown[name], look, part) for name, look, part in families]
    wide = 9 + LETTER * max(len(name) for name, *_ in families) if families else 0.0
    title = f"{one.title} by learning rate"
    if wide:  # room for the names of the lines
        x = x._replace(high=x.high * (x.high / x.low) ** (wide / (width - LEFT - wide)))
        title += (
            f"; lines: {shorter(', '.join(map(spaced, view.differ[sweep])), 40)}"
            * (width > NARROW)
        )
    axes = frame(figure, title, x, one.axis)
    means, rate_of = view.means[one.column], view.settings["learning_rate"].to_numpy()
    ends, beyond = [], math.inf
    for name, look, part in families:
        colour, part = LOOKS[look], part[part.index.isin(settings.index)]
        calm = (
            part[part["regime"] != "diverged"]
            if (part["regime"] != "diverged").any()
            else part
        )
        line = calm.assign(value=one.place(means[calm.index, 1])).dropna(subset="value")
        line = line.groupby("learning_rate")["value"].mean()
        axes.plot(line.index, line, color=colour, lw=1.6, zorder=2)
        ends += (
            [
                PlacedName(
                    line.index[-1], line.iloc[-1], printable(name), colour, tag="name"
                )
            ]
            if len(line)
            else []
        )
    if ends:  # the names stand in one column, each beside its line's end
        beyond = max(end.x for end in ends)
        lines(
            axes,
            [[(end.x, end.y), (beyond, end.y)] for end in ends],
            colors=[end.colour for end in ends],
            lw=0.5,
        )
        place_labels(axes, [end._replace(x=beyond) for end in ends], LETTERS)
    (legend if wide else strip)(axes, trials if wide else settings)
    seeds, look_of = (
        view.has_seeds,
        dict(zip(trials["setting"], trials["look"], strict=True)),
    )
    begun = (
        settings[settings["regime"] != ""]
        if len(settings) <= MOST_CURVES
        else settings[:0]
    )
    for look, part in begun.groupby(begun.index.map(look_of) if wide else "regime"):
        low, middle, high = one.place(means[part.index]).T
        known = np.isfinite(low) & np.isfinite(high)
        at, thick = (
            rate_of[part.index],
            {"lw": 5, "alpha": 0.22} if not seeds else {"lw": 1.5},
        )
        bars = [
            [(r, a), (r, b)]
            for r, a, b in zip(at[known], low[known], high[known], strict=True)
        ]
        lines(
            axes,
            bars,
            (f"bar {look}", "s", part.index[known]),
            colors=LOOKS[look],
            **thick,
        )
        if seeds:
            style = {"marker": "_", "mew": 2, "color": LOOKS[look], "zorder": 4}
            dots(axes, at, middle, (f"mean {look}", "s", part.index), 110, **style)
    size = area(len(trials)) * (0.4 if seeds else 1)
    marks(
        axes,
        trials["learning_rate"],
        one.place(one.of(view.trials)[trials.index]),
        trials,
        size,
        0.85,
    )
    best_and_rivals(view, axes, settings, rate_of, one, 240, beyond)
    waiting = own[own["epochs_run"] == 0]["learning_rate"]
    dots(
        axes,
        waiting,
        [one.axis.ends[0]] * len(waiting),
        marker="o",
        mfc="none",
        mec=DIM,
        mew=1.2,
    )


def by_setting(
    view: View, sweep: int, of: SettingAxis, figure: Any, one: Measure
) -> None:
    """Draw the last value of each trial by its rank or a setting; of thousands, that of
    some, evenly chosen."""
    trials, settings = view.drawn(sweep), view.settings[view.settings["sweep"] == sweep]
    some = f", {MOST_MARKS:,} of {len(trials):,} trials" * (len(trials) > MOST_MARKS)
    trials = trials.loc[evenly(trials.index, MOST_MARKS)]
    groups = of.axis.ticks or {}
    room = int((extent(figure)[0] - LEFT) / max(len(groups), 1) / LETTER)
    shown = shortened(groups.values(), max(room, SHORTEST))
    said = {at: shown[name] for at, name in groups.items()}
    if of.name == "rank":
        said = ticks(of.axis._replace(low=1), 10, **WHOLE)
    axes = frame(
        figure,
        f"{one.title} by {spaced(of.name)}{some}",
        of.axis._replace(ticks=said),
        one.axis,
    )
    heights, size = one.place(one.of(view.trials)[trials.index]), area(len(trials))
    marks(axes, of.places[trials.index], heights, trials, size, 0.85)
    place = np.array([of.places[rows].mean() for rows in view.settings["trials"]])
    best_and_rivals(view, axes, settings, place, one, 160)
    legend(axes, trials)


def shorter(text: str, most: int) -> str:
    return text if len(text) <= max(most, 3) else f"{text[: max(most, 3) - 1]}…"


def strip(axes: Any, settings: pd.DataFrame) -> None:
    """Draw under the rates which regime is where: a run of rates each, with its word,
    as far as there is room."""
    along, tall = extent(axes)
    settings = settings.sort_values("learning_rate")
    rates, regimes, (low, high) = (
        settings["learning_rate"].to_numpy(),
        settings["regime"].to_numpy(),
        axes.get_xlim(),
    )
    edges = np.array([low, *np.sqrt(rates[1:] * rates[:-1]), high])
    at, room = np.log(edges / low) / math.log(high / low) * along, along + RIGHT
    starts = np.flatnonzero(np.diff(pd.factorize(regimes)[0], prepend=-1))
    for start, end in reversed([*pairwise([*starts, len(rates)])]):
        if not regimes[start]:  # still waiting
            continue
        colour, word = COLOURS[regimes[start]], VERBS[regimes[start]]
        tag = f"seg {regimes[start]}", "s", [settings.index[start:end]]
        look = {"color": colour, "alpha": 0.2, "ec": "none", "clip_on": False}
        tagged(
            axes.axvspan(edges[start], edges[end], -48 / tall, -26 / tall, **look), *tag
        )
        half, middle = BOLD * len(word) / 2, (at[start] + at[end]) / 2
        if narrow := at[end] - at[start] < 2 * half + 4:
            middle = min(middle, room - half)
            if middle - half < -LEFT:
                continue
            room = middle - half - 6
        look = {"ha": "center", "color": colour, "weight": "bold"}
        tagged(
            write(axes, (0, 0), word, (middle, -62 if narrow else -41), **look), *tag
        )


def legend(axes: Any, trials: pd.DataFrame) -> None:
    """Write under the axis which mark stands for which regime; in its colour, unless
    colours stand for families."""
    (wide, tall), (x, y) = extent(axes), (6.0, -41.0)
    by_regime = trials["look"].eq(trials["regime"]).all()
    for regime in (one for one in COLOURS if (trials["regime"] == one).any()):
        if x + 12 + BOLD * len(VERBS[regime]) > wide + RIGHT:
            x, y = 6.0, y - 17
        colour, own = (
            COLOURS[regime] if by_regime else DIM,
            trials["setting"][trials["regime"] == regime],
        )
        style = {
            "marker": MARKERS[regime],
            "color": colour,
            "transform": axes.transAxes,
        }
        dots(axes, [x / wide], [(y + 4) / tall], None, 64, **style)
        said = write(
            axes, (0, 0), VERBS[regime], (x + 9, y), color=colour, weight="bold"
        )
        tagged(said, f"seg {regime}", "s", [sorted({*own})])
        x += 30 + BOLD * len(VERBS[regime])


# --- curves


def curves_by_epoch(view: View, sweep: int, figure: Any, one: Measure) -> None:
    """Draw the curves: grey with their names at their ends, those of the best and its
    rivals in colour."""
    trials, settings, curves = view.drawn(sweep), view.settings, view.curves[one.column]
    role = settings["role"][trials["setting"]].to_numpy()
    known = [*dict.fromkeys(trials["setting"])]
    if len(known) > FEW:
        known = sorted(
            (i for i in known if settings["role"][i]), key=lambda i: settings["role"][i]
        )[:NAMED]
    named = [] if view.sweeps[sweep].edges() else known
    epochs, last = (
        view.kept_epochs,
        max(int(trials["epochs_run"].max()) if len(trials) else 1, 2),
    )
    roomy = extent(figure)[0] > NARROW
    own = settings[settings["sweep"] == sweep]
    rates_differ = own["rate"].is_unique
    in_full = roomy or not rates_differ or own["name"].map(len).max() <= SHORT
    name = own["name"] if in_full else own["rate"]
    name = name.map(shortened(name, LONGEST if roomy else LONGEST_ON_A_PHONE)).map(
        printable
    )
    wide = 34 + LETTER * max((len(name[number]) for number in named), default=0)
    inside = extent(figure)[0] - LEFT - RIGHT - 8
    at = ticks(Axis(1, last, False), 6, **WHOLE) | ({1.0: "1"} if last < 12 else {})
    x = Axis(
        1 - 8 * (last - 1) / (inside - wide),
        last + wide * (last - 1) / (inside - wide),
        False,
        ticks=at,
    )
    title = f"{one.title} by epoch"
    if in_full:
        title += names_are(view, sweep)
    axes = frame(figure, title, x, one.axis)
    axes.set_gid("curves")
    shown = {
        *trials.index[role != ""],
        *evenly(trials.index, MOST_CURVES - (role != "").sum()),
    }
    trials = trials.assign(near=role != "")[
        trials.index.isin(shown) & np.isfinite(curves[trials.index]).any(1)
    ]
    found = [
        np.column_stack([epochs, curves[i]])[np.isfinite(curves[i])]
        for i in trials.index
    ]
    trials[["x", "y"]] = np.reshape([curve[-1] for curve in found], (-1, 2))
    for (regime, look, near), rows in trials.groupby(
        ["regime", "look", "near"]
    ).indices.items():
        style = (
            {"colors": LOOKS[look], "lw": 2, "zorder": 2.5}
            if near
            else {"colors": FAINT, "lw": 1.1}
        )
        tag, dashes = (
            (f"line {look}", "t", trials.index[rows]),
            (0, DASHES.get(regime, ("", None))[1]),
        )
        lines(axes, [found[i] for i in rows], tag, linestyles=dashes, **style)
    marks(axes, trials["x"], trials["y"], trials, 22, kind="end")
    named_ones = trials[trials["setting"].isin(named)].groupby("setting")
    ends = named_ones.agg(
        {"x": "mean", "y": "mean", "look": "first", "near": "first"}
    ).itertuples()
    labels = [
        PlacedName(
            end.x,
            end.y,
            name[end.Index],
            LOOKS[end.look] if end.near else DIM,
            end.near,
            f"name/s/{end.Index}",
        )
        for end in ends
    ]
    place_labels(axes, labels, LETTERS)
    keys = ["in colour: may be as good"] * bool(0 < (role != "").sum() < len(role))
    keys += [
        f"{dash}: {VERBS[of]}"
        for of, (dash, _) in DASHES.items()
        if (trials["regime"] == of).any()
    ]
    write(axes, (0, 0), "; ".join(keys), (0 if roomy else -LEFT, -41))


def names_are(view: View, sweep: int) -> str:
    """Return which settings the names in a chart consist of, to follow its title; empty
    if these are rates."""
    differ = ", ".join(map(spaced, view.differ[sweep]))
    return f"; names: {shorter(f'{differ}, rate', 40)}" * bool(differ)


# --- of a decision


def gaps(view: View, sweep: int, contest: Contest, figure: Any, one: Measure) -> None:
    """Draw by how much each setting is below the best, with its interval: the best
    first."""
    found, number, ranking = (
        contest.decision,
        view.of_contest(sweep, contest),
        contest.ranking,
    )
    names = (
        view.settings["name"].reindex(number, fill_value="–").map(printable).tolist()
    )
    (worse, both), best = found.worse(), int(found.leader)
    rows = [
        best,
        *sorted(
            (k for k in range(len(names)) if k != best and both[k]),
            key=lambda k: worse[k, 1],
        ),
    ]
    left_out, rows = len(rows) - FEW, rows[:FEW]
    ends = np.array(
        [worse[k] for k in rows if k != best and np.isfinite(worse[k]).all()]
        or [[-0.01, 0, 0.01]]
    )
    left = min(14 + LETTER * max(len(names[k]) for k in rows), 0.42 * extent(figure)[0])
    x = Axis.of([0, *ends.ravel()], False, 0.001 if ranking.is_accuracy else 1e-9)
    shown = shortened(
        [names[k] for k in rows], max(int((left - 10) / LETTER), SHORTEST)
    )
    said = {float(place): shown[names[k]] for place, k in enumerate(rows)}
    title = f"{ranking.word} {ranking.worse} the best" + names_are(view, sweep)
    axes = frame(figure, title, x, Axis(len(rows) - 0.4, -0.6, False, ticks=said), left)
    axes.axvline(0, color=DIM, lw=1, zorder=1)
    colours = dict(
        zip(view.points["setting"], view.points["look"].map(LOOKS), strict=True)
    )
    crossed = False
    for place, k in enumerate(rows):
        low, mean, high = worse[k] if k != best else np.zeros(3)
        near = found.rivals[k] or k == best
        colour = colours.get(number[k], DIM)
        if np.isfinite([low, high]).all() and k != best:
            tag = "bar", "s", [number[k]]
            lines(
                axes,
                [[(low, place), (high, place)]],
                tag,
                colors=colour,
                lw=5,
                alpha=0.35,
            )
        if mean > x.high:  # of one that left early
            write(
                axes,
                (1, place),
                f"{ranking.difference(mean)} →",
                (0, -4),
                ("axes fraction", "data"),
                ha="right",
            )
        else:
            crossed |= not near
            dots(
                axes,
                [mean],
                [place],
                ("mark", "s", [number[k]]),
                70,
                marker="o" if near else "X",
                color=colour,
            )
    write(
        axes, (0, 0), "a bar's left end: how much better it may be (95%)", (-left, -42)
    )
    keys = ["dots: may be as good", *["crosses: worse, or set aside"] * crossed]
    keys += [f"{left_out} more in the table"] * (left_out > 0)
    write(axes, (0, 0), "; ".join(keys), (-left, -59))


# --- of an edge


def edge_chart(
    trials: pd.DataFrame, edge: MeasuredEdge, figure: Any, one: Measure
) -> None:
    """Draw the share of seeds that learn with its 95% band, the trials as ticks, and
    below where it was expected."""
    found, bottom, tried = (
        edge.rate(0.5),
        47,
        [*edge.outcomes["learning_rate"], edge.expected],
    )
    if 0 < found.median < math.inf:
        tried += [found.median / 3, found.median * 3]
    x = Axis(min(tried) / 1.1, max(tried) * 1.1)
    y = Axis(-0.06, 1.06, False, ticks={0.0: "0%", 0.5: "50%", 1.0: "100%"})
    axes = frame(
        figure, f"share of seeds that learn: {edge.title}", x, y, bottom=bottom
    )
    if edge.is_bracketed:
        rates = np.geomspace(x.low, x.high, 200)
        low, middle, high = edge.posterior.band(np.log(rates))
        axes.fill_between(rates, low, high, color=COLOURS["slow"], alpha=0.25, lw=0)
        axes.plot(rates, middle, color=COLOURS["slow"], lw=2)
    _, tall = extent(axes)
    if edge.is_bracketed and found.is_known:
        down, look = (
            -(bottom - 4) / tall,
            {"color": COLOURS["converged"], "alpha": 0.25, "lw": 0},
        )
        axes.axvspan(found.low, found.high, down, 1, clip_on=False, **look)
        said = found if extent(axes)[0] > NARROW else rate(found.median, 3)
        beside(
            axes,
            (found.median, 0.5),
            f"50% at {said}",
            "data",
            14,
            weight="bold",
            color=INK,
        )
    for learned, part in trials[trials["own_index"].isin(edge.outcomes.index)].groupby(
        "learned"
    ):
        colour = COLOURS["converged" if learned else "diverged"]
        tag, look = (
            ("mark", "t", part.index),
            {"marker": "|", "color": colour, "mew": 1.3},
        )
        dots(axes, part["learning_rate"], part["learned"], tag, 150, **look)
        text, away = (
            f"{len(part)} {'learned' if learned else 'did not'}",
            (4, -14 if learned else 6),
        )
        write(axes, (0, learned), text, away, ("axes fraction", "data"), color=colour)
    below, look = (edge.expected, -30 / tall), {"color": DIM, "ms": 5, "clip_on": False}
    axes.plot(*below, "o", scalex=False, transform=axes.get_xaxis_transform(), **look)
    beside(
        axes, below, f"expected at {rate(edge.expected, 3)}", ("data", "axes fraction")
    )
