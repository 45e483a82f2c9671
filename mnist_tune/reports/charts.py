"""The charts of a sweep, drawn by matplotlib: for print, for a notebook and, as SVG, for the page.

A chart is a function that draws into a box of a figure, in points. What readers can choose on the page is tagged
(`svg.tagged`): one artist for each regime and kind, since an artist for each trial would take ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mnist_tune.numbers import rate
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.measured_edge import LEARNED, MeasuredEdge
from mnist_tune.reports.answer import keys
from mnist_tune.reports.axes import Label, log_ticks, place_labels
from mnist_tune.reports.decided import titles
from mnist_tune.reports.page_data import edge_band, evenly, words
from mnist_tune.reports.ranges import VERBS
from mnist_tune.reports.styles import COLOURS, DIM, FAINT, INK, LINES, MARKERS, RULE
from mnist_tune.reports.svg import tagged
from mnist_tune.reports.view import FEW, MOST_CURVES, Axis, Measure, Setting, View
from mnist_tune.terminal import printable

LEFT, TOP, BOTTOM, RIGHT = 44, 32, 76, 8
"""Room about the axes of a chart, in points."""

LETTERS = 12
"""Size of letters, in points."""

DASHES = {"oscillating": (0, (6, 2.5)), "diverged": (0, (2, 2.5))}

LETTER, BOLD = 7.0, 7.9
"""The width of a letter, and of a bold one, in points."""

MOST_MARKS = 1000
"""The most trials that are drawn by each setting."""

NAMED = 12
"""The most curves that are named where there are more than `FEW`: the best one and its rivals."""


class Box(NamedTuple):
    """Where a chart is in its figure, in points from the lower left."""

    x: float
    y: float
    width: float
    height: float


Draw = Callable[[Figure, Box, Measure], None]


class Chart(NamedTuple):
    """A chart, and what stands about it."""

    label: str
    """What it shows, for those who don't see it."""
    draw: Draw
    choice: str = ""
    """If charts have several, a menu says of which one is shown."""
    by_measure: bool = False
    """Whether it shows the measure that the reader chooses."""


def charts(view: View, sweep: int) -> tuple[list[Chart], list[Chart]]:
    """Return what stands on the left of a sweep's picture, and on the right, there with the `choices` of a menu."""
    tables = view.sweeps[sweep]
    curves = Chart("by epoch", partial(curves_by_epoch, view, sweep), "epoch", True)
    if (contest := tables.decision) is not None and contest.course:
        by_seed = Chart("Gap to the best, seed by seed", partial(gaps_by_seed, view, sweep, contest))
        return [Chart("Gap to the best of each setting", partial(gaps, view, sweep, contest))], [by_seed]
    if edges := tables.edges():
        drawn_edges = [
            Chart(f"Share of seeds that learn, {one.title}", partial(edge_chart, one, view.row_of(sweep)))
            for one in edges
        ]
        half = -(-len(edges) // 2)
        return drawn_edges[:half], drawn_edges[half:] or [curves]
    rates = Chart("by learning rate", partial(by_rate, view, sweep), by_measure=True)
    own = view.trials.loc[view.drawn(sweep).index]
    settings = [one for one in view.by_setting if view.is_ranked(tables) or one.name != "learning_rate"]
    settings = [one for one in settings if own[one.name].nunique() > 1]
    maps = [Chart(f"by {words(one.name)}", partial(by_setting, view, sweep, one), words(one.name)) for one in settings]
    if (within := view.crowded(sweep)) and not view.is_ranked(tables):
        maps.append(
            Chart(
                "by learning rates near the best", partial(by_rate, view, sweep, within=within), "rates near the best"
            )
        )
    if not view.is_ranked(tables):
        return [rates], [curves, *maps]
    rank = Chart("by rank", partial(by_rank, view, sweep), by_measure=True)
    return [rank], [*maps, curves]


# --- what all charts share


def frame(
    figure: Figure,
    box: Box,
    title: str,
    x: Axis,
    y: Axis,
    percent: bool = False,
    left: float = LEFT,
    bottom: float = BOTTOM,
) -> Any:
    """Return new axes in a box, with its title, faint lines and round ticks."""
    w, h = figure.get_size_inches() * 72
    inside = box.width - left - RIGHT, box.height - TOP - bottom
    axes = figure.add_axes(((box.x + left) / w, (box.y + bottom) / h, inside[0] / w, inside[1] / h), facecolor="none")
    for which, along, size in (("x", x, inside[0]), ("y", y, inside[1])):
        axes.set(**{f"{which}scale": "log" if along.log else "linear", f"{which}lim": along[:2]})
        most = max(int(size / (52 if which == "x" else 28)), 2)
        ticks = log_ticks(*along[:2], most) if along.log else MaxNLocator(most).tick_values(*along[:2])
        shown = [one for one in ticks if along.low <= one <= along.high]
        said = [f"{one:g}" + "%" * percent if which == "y" else f"{one:g}" for one in shown]
        getattr(axes, f"set_{which}ticks")(shown, said)
        getattr(axes, f"set_{which}ticks")([], minor=True)
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0, labelcolor=DIM, labelsize=LETTERS, pad=5)
    axes.grid(axis="y", color=RULE, lw=1)
    axes.set_axisbelow(True)
    write(axes, (0, 1), title, (-left, 16), color=INK, fontsize=LETTERS + 1)
    return axes


def whole(axes: Any, ticks: Sequence[float]) -> None:
    """Write whole numbers along the horizontal axis."""
    shown = [int(tick) for tick in ticks if tick == int(tick)]
    axes.set_xticks(shown, [*map(str, shown)])


def write(
    axes: Any,
    place: tuple[float, float],
    text: str,
    away: tuple[float, float] = (0, 0),
    at: Any = "axes fraction",
    **look: Any,
) -> Any:
    """Write a text so many points away from a place."""
    look = {"fontsize": LETTERS, "color": DIM} | look
    return axes.annotate(
        printable(text),
        place,
        away,
        xycoords=at,
        textcoords="offset points",
        parse_math=False,
        annotation_clip=False,
        **look,
    )


def beside(axes: Any, place: tuple[float, float], text: str, at: Any, away: float = 8, **look: Any) -> None:
    """Write a text on the right of a place, or on its left where that has no room."""
    room = (axes.bbox.x1 - axes.transData.transform((place[0], 0.5))[0]) * 72 / axes.figure.dpi
    left = room + RIGHT < away + BOLD * len(text)
    write(axes, place, text, (-away if left else away, -4), at, ha="right" if left else "left", **look)


def marks(axes: Any, x: Any, y: Any, trials: pd.DataFrame, size: float, alpha: float = 1.0, kind: str = "mark") -> None:
    """Draw trials, a collection for each regime."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    for regime, rows in trials.groupby("regime").indices.items():
        rows = rows[np.isfinite(x[rows]) & np.isfinite(y[rows])]
        style = {"marker": MARKERS[regime], "color": COLOURS[regime], "s": size, "lw": 0, "alpha": alpha}
        found = axes.scatter(x[rows], y[rows], clip_on=False, zorder=3, **style)
        tagged(found, f"{kind} {regime}", "t", trials.index[rows])


def rings(axes: Any, x: Any, y: Any, settings: Any, size: float) -> None:
    """Draw rings on the best setting and on its rivals."""
    found = axes.scatter(x, y, s=size, fc="none", ec=INK, lw=1.5, clip_on=False, zorder=4)
    tagged(found, "ring", "s", settings)


def lines(axes: Any, segments: Sequence[Any], kind: str, which: str, numbers: Any, **look: Any) -> None:
    """Draw lines, each of the points of one trial or setting, as one collection."""
    axes.add_collection(tagged(LineCollection(segments, clip_on=False, **look), kind, which, numbers), autolim=False)


def area(count: int) -> float:
    """Return the area of a mark, in square points: the smaller, the more there are."""
    return float(np.clip(1500 / max(count, 1) ** 0.7, 9, 80))


def heights(axes: Any, one: Measure) -> None:
    """Draw the lines of guessing, and of what is off the scale."""
    for height, text in ((one.guess, "guessing"), (one.top, "off the scale")):
        if height is not None and one.axis.low <= height <= one.axis.high:
            axes.axhline(height, color=DIM, lw=1, ls=(0, (1, 3)), zorder=1)
            write(axes, (0, height), text, (2, 3), ("axes fraction", "data"), fontsize=LETTERS - 1)


# --- error by rate, beside error by epoch


def by_rate(
    view: View, sweep: int, figure: Figure, box: Box, one: Measure, within: tuple[float, float] = (0, math.inf)
) -> None:
    """Draw the last value of each trial by its learning rate, with what is known of its noise; under the rates the
    regimes. Of several families there is a line each. Only rates within these are drawn."""
    own = view.points[(view.points["sweep"] == sweep) & view.points["learning_rate"].between(*within)]
    trials, settings = own[own["epochs_run"] > 0], view.settings.loc[sorted({*own["setting"]})]
    families = [(name, part[part.index.isin(settings.index)]) for name, part in view.families(sweep)]
    several = len(families) > 1
    wide = 9 + LETTER * max(len(name) for name, _ in families) if several else 0.0
    x = Axis.of(own["learning_rate"])
    if several:  # room for the names of the lines
        x = x._replace(high=x.high * (x.high / x.low) ** (wide / (box.width - LEFT - wide)))
    axes = frame(figure, box, f"{one.title} by learning rate", x, one.axis, one.error)
    heights(axes, one)
    means, rate_of = view.means(one), settings["learning_rate"]
    if several:
        ends = []
        for (name, part), colour in zip(families, LINES_AGAIN, strict=False):
            line = part.assign(value=means[part.index, 1]).dropna(subset="value").sort_values("learning_rate")
            line = line.groupby("learning_rate")["value"].median()
            axes.plot(line.index, line, color=colour, lw=1.6, zorder=2)
            ends += [Label(line.index[-1], line.iloc[-1], printable(name), colour, tag="name")] if len(line) else []
        place_labels(axes, ends, LETTERS)
        legend(axes, trials)
    else:
        strip(axes, settings)
    seeds = view.has_seeds
    for regime, part in settings[settings["regime"] != ""].groupby("regime") if len(settings) <= MOST_CURVES else ():
        low, middle, high = means[part.index].T
        known = np.isfinite(low) & np.isfinite(high)
        ends = np.clip(np.column_stack([low, high])[known], *one.axis[:2])
        at, look = rate_of[part.index].to_numpy()[known], {"lw": 5, "alpha": 0.22} if not seeds else {"lw": 1.5}
        bars = [[(r, a), (r, b)] for r, (a, b) in zip(at, ends, strict=True)]
        lines(axes, bars, f"bar {regime}", "s", part.index[known], colors=COLOURS[regime], **look)
        if seeds:
            dash: dict[str, Any] = {"marker": "_", "s": 110, "lw": 2, "color": COLOURS[regime], "zorder": 4}
            found = axes.scatter(rate_of[part.index], middle, **dash)
            tagged(found, f"mean {regime}", "s", part.index[np.isfinite(middle)])
    size = area(len(trials)) * (0.4 if seeds else 1)
    marks(axes, trials["learning_rate"], view.heights[one.key][trials.index], trials, size, 0.85)
    near = settings[settings["role"] != ""]
    rings(axes, rate_of[near.index], means[near.index, 1], near.index, 240)
    for number in settings.index[settings["role"] == "best"]:
        value = means[number, 1]
        write(axes, (rate_of[number], value), f"{settings['name'][number]}: {one.said(value)}", (0, -27), "data",
              ha="center", weight="bold", color=INK, fontsize=LETTERS + 1)  # fmt: skip
    waiting = own[own["epochs_run"] == 0]
    bottom = np.full(len(waiting), one.axis.low)
    axes.scatter(waiting["learning_rate"], bottom, s=40, fc="none", ec=DIM, lw=1.2, clip_on=False)


LINES_AGAIN = (*LINES, *LINES)


def strip(axes: Any, settings: pd.DataFrame) -> None:
    """Draw under the rates which regime is where: a run of rates each, with its word, as far as there is room."""
    tall, along = axes.bbox.height * 72 / axes.figure.dpi, axes.bbox.width * 72 / axes.figure.dpi
    settings = settings.sort_values("learning_rate")
    rates, regimes = settings["learning_rate"].to_numpy(), settings["regime"].to_numpy()
    if not len(rates):
        return
    edges = np.concatenate([axes.get_xlim()[:1], np.sqrt(rates[1:] * rates[:-1]), axes.get_xlim()[1:]])
    starts = np.flatnonzero(np.r_[True, regimes[1:] != regimes[:-1]])
    room = along + RIGHT
    for start, end in reversed([*zip(starts, [*starts[1:], len(rates)], strict=True)]):
        if not regimes[start]:  # still waiting
            continue
        colour, word = COLOURS[regimes[start]], VERBS[regimes[start]]
        left, right = edges[start], edges[end]
        part = axes.axvspan(left, right, -48 / tall, -26 / tall, color=colour, alpha=0.2, ec="none", clip_on=False)
        tagged(part, f"seg {regimes[start]}", "s", [settings.index[start:end]])
        a, b = (
            (np.log(one) - np.log(edges[0])) / (np.log(edges[-1]) - np.log(edges[0])) * along for one in (left, right)
        )
        wide, middle, narrow = BOLD * len(word), (a + b) / 2, b - a < BOLD * len(word) + 4
        if narrow:
            middle = min(middle, room - wide / 2)
            if middle - wide / 2 < -LEFT:
                continue
            room = middle - wide / 2 - 6
        said = write(axes, (0, 0), word, (middle, -62 if narrow else -41), ha="center", color=colour, weight="bold")
        tagged(said, f"seg {regimes[start]}", "s", [settings.index[start:end]])


def legend(axes: Any, trials: pd.DataFrame) -> None:
    """Write under the axis which mark stands for which regime."""
    (wide, tall), (x, y) = np.array(axes.bbox.size) * 72 / axes.figure.dpi, (6.0, -41.0)
    for regime in (one for one in COLOURS if (trials["regime"] == one).any()):
        if x + 12 + BOLD * len(VERBS[regime]) > wide + RIGHT:
            x, y = 6.0, y - 17
        look = {"color": COLOURS[regime], "transform": axes.transAxes, "clip_on": False}
        axes.plot(x / wide, (y + 4) / tall, MARKERS[regime], ms=8, mew=0, **look)
        said = write(axes, (0, 0), VERBS[regime], (x + 9, y), color=COLOURS[regime], weight="bold")
        tagged(said, f"seg {regime}", "s", [sorted({*trials["setting"][trials["regime"] == regime]})])
        x += 30 + BOLD * len(VERBS[regime])


def curves_by_epoch(view: View, sweep: int, figure: Figure, box: Box, one: Measure) -> None:
    """Draw the curves: grey with their names at their ends, those of the best and its rivals in colour."""
    trials, settings, curves = view.drawn(sweep), view.settings, view.curves[one.key]
    role = settings["role"][trials["setting"]].to_numpy()
    known = [*dict.fromkeys(trials["setting"])]
    if len(known) > FEW:
        known = sorted((i for i in known if settings["role"][i]), key=lambda i: settings["role"][i])[:NAMED]
    named = [] if view.sweeps[sweep].edges() else known
    epochs, last = view.kept_epochs, max(int(trials["epochs_run"].max()) if len(trials) else 1, 2)
    name = settings["name" if box.width > 400 else "rate"].map(lambda said: shorter(said, 24)).map(printable)
    wide = 34 + LETTER * max((len(name[number]) for number in named), default=0)
    inside = box.width - LEFT - RIGHT - 8
    x = Axis(1 - 8 * (last - 1) / (inside - wide), last + wide * (last - 1) / (inside - wide), False)
    axes = frame(figure, box, f"{one.title} by epoch", x, one.axis, one.error)
    ticks = [tick for tick in MaxNLocator(6, integer=True, min_n_ticks=1).tick_values(1, last) if 1 <= tick <= last]
    whole(axes, sorted({1, *ticks} if last < 12 else ticks))
    axes.set_gid("curves")
    heights(axes, one)
    shown = trials[role != ""].index.union(pd.Index(evenly(trials.index, MOST_CURVES - int((role != "").sum()))))
    ends: dict[int, list[tuple[float, float]]] = {}
    lasts = np.full((len(view.trials), 2), np.nan)
    for (regime, near), part in trials.loc[shown].groupby(["regime", trials["setting"].map(settings["role"] != "")]):
        found, rows = [], []
        for i in part.index:
            known = np.isfinite(curves[i])
            if known.any():
                found.append(np.column_stack([epochs[known], np.clip(curves[i][known], *one.axis[:2])]))
                rows.append(i)
                lasts[i] = found[-1][-1]
                ends.setdefault(view.trials["setting"][i], []).append(lasts[i])
        look = {"colors": COLOURS[regime], "lw": 2, "zorder": 2.5} if near else {"colors": FAINT, "lw": 1.1}
        lines(axes, found, f"line {regime}", "t", rows, linestyles=DASHES.get(regime, "-"), **look)
    marks(axes, lasts[shown, 0], lasts[shown, 1], view.points.loc[shown], 22, kind="end")
    labels = []
    for number in (one for one in named if one in ends):
        near = settings["role"][number] != ""
        colour = COLOURS[settings["regime"][number]] if near else DIM
        x_end, y_end = np.mean(ends[number], axis=0)
        labels.append(Label(x_end, y_end, name[number], colour, near, f"name/s/{number}"))
    place_labels(axes, labels, LETTERS)


# --- of a search


def by_rank(view: View, sweep: int, figure: Figure, box: Box, one: Measure) -> None:
    """Draw the trials of a search, the best first."""
    trials, settings = view.drawn(sweep), view.settings[view.settings["sweep"] == sweep]
    rank = trials["setting"] - settings.index[0] + 1
    axes = frame(figure, box, f"{one.title} by rank", Axis.of([1, len(settings)], False, 1), one.axis, one.error)
    whole(axes, [tick for tick in axes.get_xticks() if tick >= 1])
    heights(axes, one)
    marks(axes, rank, view.heights[one.key][trials.index], trials, area(len(trials)), 0.85)
    near, means = settings[settings["role"] != ""], view.means(one)
    place = near.index - settings.index[0] + 1
    rings(axes, place, means[near.index, 1], near.index, 160)
    legend(axes, trials)


def by_setting(view: View, sweep: int, of: Setting, figure: Figure, box: Box, one: Measure) -> None:
    """Draw the last value of each trial by one setting; of thousands, that of some, evenly chosen."""
    trials = view.drawn(sweep)
    some = f", {MOST_MARKS:,} of {len(trials):,} trials" * (len(trials) > MOST_MARKS)
    trials = trials.loc[evenly(trials.index, MOST_MARKS)]
    axes = frame(figure, box, f"{one.title} by {words(of.name)}{some}", of.axis, one.axis, one.error)
    if of.groups:
        room = int((box.width - LEFT) / len(of.groups) / LETTER)
        axes.set_xticks(range(len(of.groups)), [printable(shorter(name, room)) for name in of.groups], parse_math=False)
    heights(axes, one)
    marks(axes, of.places[trials.index], view.heights[one.key][trials.index], trials, area(len(trials)), 0.85)
    legend(axes, trials)


def shorter(text: str, most: int) -> str:
    return text if len(text) <= max(most, 3) else f"{text[: max(most, 3) - 1]}…"


# --- of a decision


def gaps(view: View, sweep: int, contest: Contest, figure: Figure, box: Box, one: Measure) -> None:
    """Draw by how much each setting is worse than the best, with its interval: the best first."""
    found, number, names = contest.decision, numbers(view, sweep, contest), [*map(printable, titles(contest.settings))]
    worse, both = found.worse()
    best = int(found.leader)
    rows = sorted(
        (k for k in range(len(names)) if k == best or both[k]), key=lambda k: -1 if k == best else worse[k, 1]
    )
    left_out, rows = len(rows) - FEW, rows[:FEW]
    ends = 100 * np.array([worse[k] for k in rows if k != best and np.isfinite(worse[k]).all()] or [[-1.0, 0, 1]])
    left = min(14 + LETTER * max(len(names[k]) for k in rows), 0.42 * box.width)
    room = int((left - 10) / LETTER)
    y, x = Axis(len(rows) - 0.4, -0.6, False), Axis.of([0, *ends.ravel()], False)
    axes = frame(figure, box, "points of accuracy below the best, with intervals", x, y, left=left)
    axes.set_yticks(range(len(rows)), [shorter(names[k], room) for k in rows], parse_math=False)
    axes.axvline(0, color=DIM, lw=1, zorder=1)
    for place, k in enumerate(rows):
        low, mean, high = 100 * worse[k] if k != best else np.zeros(3)
        mean = min(max(mean, x.low), x.high)  # one that left early may be far out
        colour = INK if k == best else COLOURS["slow"] if found.rivals[k] else FAINT
        if np.isfinite([low, high]).all() and k != best:
            lines(axes, [[(low, place), (high, place)]], "bar", "s", [number[k]], colors=colour, lw=5, alpha=0.35)
        mark = axes.scatter(
            [mean], [place], s=70, marker="o" if found.rivals[k] or k == best else "X", color=colour, lw=0, zorder=3
        )
        tagged(mark, "mark", "s", [number[k]])
    said = "filled: may be as good; crosses: worse" + f"; {left_out} more" * (left_out > 0)
    write(axes, (0, 0), said, (-left, -42))


def gaps_by_seed(view: View, sweep: int, contest: Contest, figure: Figure, box: Box, one: Measure) -> None:
    """Draw how the gap of each setting to the best became known, seed by seed."""
    found, number, names = contest.decision, numbers(view, sweep, contest), [*map(printable, titles(contest.settings))]
    best = int(found.leader)
    grew = np.diff([seeds for seeds, _ in contest.course], axis=0, prepend=0) > 0
    last = [int(np.flatnonzero(own).max(initial=-1)) + 1 for own in grew.T]
    mean = 100 * np.array([mean[best] for _, mean in contest.course])
    rows = [k for k in evenly(range(len(names)), MOST_CURVES) if k != best and last[k]]
    settled = mean[min(3, len(mean) - 1) :]
    wide = 24 + LETTER * max((min(len(names[k]), 20) for k in rows), default=0)
    share = wide / max(box.width - LEFT - wide, 100)
    most = max(max(last), 2)
    axes = frame(
        figure,
        box,
        "the same, seed by seed",
        Axis(0.8, most + (most - 0.8) * share, False),
        Axis.of([0, *settled[:, rows].ravel()], False, 0.01),
    )
    whole(axes, [tick for tick in MaxNLocator(6, integer=True).tick_values(1, most) if 1 <= tick <= most])
    axes.axhline(0, color=DIM, lw=1, zorder=1)
    ends = axes.get_ylim()
    course = [np.column_stack([np.arange(1, last[k] + 1), np.clip(mean[: last[k], k], *ends)]) for k in rows]
    for near in (False, True):
        chosen = [i for i, k in enumerate(rows) if bool(found.rivals[k]) is near]
        look: dict[str, Any] = {"colors": COLOURS["slow"], "lw": 2} if near else {"colors": FAINT, "lw": 1.1}
        lines(axes, [course[i] for i in chosen], "line", "s", [number[rows[i]] for i in chosen], **look)
    labels = []
    for (x, y), k in ((line[-1], k) for line, k in zip(course, rows, strict=True) if len(rows) <= FEW):
        near = bool(found.rivals[k])
        colour = COLOURS["slow"] if near else DIM
        labels.append(Label(x, y, shorter(names[k], 20), colour, near, f"name/s/{number[k]}"))
    place_labels(axes, labels, LETTERS)
    write(axes, (0, 0), "seeds", (0, -42))


def numbers(view: View, sweep: int, contest: Contest) -> Sequence[int]:
    """Return the row in `settings` of each setting of a contest; -1 for one without a trial."""
    table = pd.DataFrame([one.to_dict() for one in contest.settings]).rename(columns={"epochs": "epochs_asked"})
    own = view.trials[view.trials["sweep"] == sweep]
    known = dict(zip(own["key"], own["setting"], strict=True))
    return [known.get(key, -1) for key in keys(table)]


# --- of an edge


def edge_chart(
    edge: MeasuredEdge, row_of: Mapping[Any, int], figure: Figure, box: Box, one: Measure | None = None
) -> None:
    """Draw the share of seeds that learn with its 95% band, the trials as ticks, and below where it was expected."""
    rates, low, middle, high = edge_band(edge)
    found, bottom, x, y = edge.rate(0.5), 47, Axis(rates[0], rates[-1]), Axis(-0.06, 1.06, False)
    axes = frame(figure, box, f"share of seeds that learn: {edge.title}", x, y, bottom=bottom)
    axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    axes.fill_between(rates, low, high, color=COLOURS["slow"], alpha=0.25, lw=0)
    axes.plot(rates, middle, color=COLOURS["slow"], lw=2)
    tall = axes.bbox.height * 72 / axes.figure.dpi
    if edge.is_bracketed and found.is_known:
        down, look = -(bottom - 4) / tall, {"color": COLOURS["converged"], "alpha": 0.25, "lw": 0}
        axes.axvspan(found.low, found.high, down, 1, clip_on=False, **look)
        beside(axes, (found.median, 0.5), f"50% at {found}", "data", 14, weight="bold", color=INK)
    for learned, part in edge.outcomes["learning_rate"].groupby(edge.outcomes[LEARNED]):
        colour = COLOURS["converged" if learned else "diverged"]
        at, look = np.full(len(part), float(learned)), {"color": colour, "lw": 1.3, "zorder": 3}
        tagged(
            axes.scatter(part, at, marker="|", s=150, **look), "mark", "t", [row_of[i] for i in part.index if row_of]
        )
        text, away = f"{len(part)} {'learned' if learned else 'did not'}", (4, -14 if learned else 6)
        write(axes, (0, float(learned)), text, away, ("axes fraction", "data"), color=colour)
    below, look = (edge.expected, -30 / tall), {"color": DIM, "ms": 5, "clip_on": False}
    axes.plot(*below, "o", scalex=False, transform=axes.get_xaxis_transform(), **look)
    beside(axes, below, f"expected at {rate(edge.expected, 3)}", ("data", "axes fraction"))
