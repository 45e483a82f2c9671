"""Draw curves over epochs: one line per trial, or one band per regime if there are too many trials. Their labels are at
their ends, where they don't overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatter, MaxNLocator

from mnist_tune.numbers import rate
from mnist_tune.regimes.families import varied
from mnist_tune.reports.page_data import FEW, Band, bands, curve_rows, evenly, words
from mnist_tune.reports.styles import COLOURS, MARKERS

HALO = withStroke(linewidth=2, foreground="white")
"""Around letters, so that they can be read where a curve passes under them."""

LEADER = {"arrowstyle": "-", "lw": 0.5, "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 3}
"""The line from a label that was moved to its point."""

SIZE = 7
"""Font size of a label, in points."""

LINE, LETTER, AWAY = 1.25, 0.66, 2.2
"""Height of a line, width of a wide letter and distance of a label from its point, in font sizes."""


class Label(NamedTuple):
    """A text for the point (`x`, `y`), in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


def draw_curves(axis: Any, trials: pd.DataFrame, epochs: pd.DataFrame, column: str) -> None:
    """Draw a column of the epochs table on a logarithmic axis, coloured by regime, without what is not finite."""
    many, few = varied(trials), len(trials) <= FEW
    rows = curve_rows(trials, epochs, column)
    labels = _lines(axis, rows, many) if few else _bands(axis, bands(rows, trials))
    if few:
        title = f"every trial; labels: {', '.join(map(words, ['learning_rate', *many]))}"
        title += ", × seeds" * any("×" in label.text for label in labels)
    else:
        title = "median and 10–90% band of each regime's trials" + ", finite values" * column.endswith("loss")
    axis.set_title(title, fontsize=9)
    if len(rows):
        log_axis(axis, "y")
    _epoch_axis(axis, int(trials["epochs_run"].max()), max((width(label.text) for label in labels), default=0))
    place_labels(axis, labels)


def _lines(axis: Any, rows: pd.DataFrame, many: Sequence[str]) -> list[Label]:
    """Draw the curves. Replicates that end at the same epoch in the same regime share a label, which names the columns
    in which trials differ."""
    for regime, part in rows.groupby("regime"):
        table = part.pivot(index="epoch", columns="trial_id", values="value")
        style = {"color": COLOURS[regime], "marker": MARKERS[regime]}
        axis.plot(table.index, table, ms=4.8, lw=1.2, alpha=0.8, mew=0, **style)
    ends = rows.sort_values("epoch").drop_duplicates("trial_id", keep="last")
    labels = []
    for (name, step, regime, epoch, *varying), part in ends.groupby(
        ["label", "learning_rate", "regime", "epoch", *many]
    ):
        values = [rate(step, 3), *(str(value)[:16] for value in varying)]
        text = f"{name[:16]} {', '.join(values)}".strip() + f" ×{len(part)}" * (len(part) > 1)
        labels.append(Label(epoch, part["value"].median(), text, COLOURS[regime]))
    return labels


def _bands(axis: Any, found: Iterable[Band]) -> list[Label]:
    labels = []
    for band in found:
        colour = COLOURS[band.name]
        axis.fill_between(band.x, band.low, band.high, color=colour, alpha=0.18, lw=0)
        if len(band.x) == 1:  # a band of one epoch has no area
            axis.vlines(band.x, band.low, band.high, color=colour, alpha=0.3, lw=5, zorder=1)
        axis.plot(band.x, band.middle, color=colour, marker=MARKERS[band.name], ms=6, lw=1.6)
        labels.append(Label(band.x[-1], band.middle[-1], f"n = {band.trials}", colour))
    return labels


class _Plain(LogFormatter):
    """Writes 0.05 instead of matplotlib's wider 5 × 10^-2."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def log_axis(axis: Any, which: str) -> None:
    """Make the x or the y axis logarithmic, with plain numbers and a faint grid."""
    axis.set(**{f"{which}scale": "log"})
    ticks = getattr(axis, f"{which}axis")
    ticks.set_major_formatter(_Plain())
    ticks.set_minor_formatter(_Plain())
    axis.grid(alpha=0.1, which="minor", axis=which)


def _epoch_axis(axis: Any, last: int, label: float) -> None:
    """Leave room for a label of this width, in points, to the right of the last epoch."""
    span, share = max(last - 1, 1), min(label * axis.figure.dpi / 72 / axis.bbox.width, 0.4)
    axis.set_xlim(1 - 0.05 * span, last + 1.05 * span * share / (1 - share))
    ticks = MaxNLocator(integer=True, min_n_ticks=1).tick_values(1, last)
    axis.set_xticks([tick for tick in ticks if 1 <= tick <= last])
    axis.set_xlabel("epoch")
    axis.grid(alpha=0.25)


def width(text: str) -> float:
    """Return the largest width of a label, with its distance from the curve, in points."""
    return SIZE * (AWAY + LETTER * len(text) + 0.5)


def place_labels(axis: Any, labels: Sequence[Label]) -> None:
    """Write each label to the right of its point, moved up or down if others are in the way.

    The axis must have its final position, scales and limits. If there is no room for all labels, some are left out.
    """
    if not labels:
        return
    labels, pixel = sorted(labels, key=lambda label: label.x), axis.figure.dpi / 72
    bottom, top = (axis.bbox.y0 + SIZE * pixel, axis.bbox.y1 - SIZE * pixel)
    gap, back = LINE * SIZE * pixel, axis.transData.inverted()
    room = max(1, int((top - bottom) / gap) + 1)
    points = axis.transData.transform([(label.x, label.y) for label in labels])
    reached = np.maximum.accumulate(points[:, 0] + [width(label.text) * pixel for label in labels])
    apart = np.flatnonzero(points[1:, 0] > reached[:-1]) + 1  # labels of different groups can't touch
    for group in np.split(np.arange(len(labels)), apart):
        rows = evenly(sorted(group, key=lambda row: labels[row].y), room)
        for row, height in zip(rows, spread(points[rows, 1], gap, bottom, top), strict=True):
            label, (x, y) = labels[row], points[row]
            axis.annotate(
                label.text, (label.x, label.y), back.transform((x + AWAY * SIZE * pixel, height)), fontsize=SIZE,
                color=label.colour, va="center", parse_math=False, path_effects=[HALO],
                arrowprops=LEADER | {"color": label.colour} if abs(height - y) > gap / 2 else None,
            )  # fmt: skip


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return the positions [n] closest to `wanted` [n] in least squares, at least `gap` apart, in [`low`, `high`].

    This is isotonic regression of `wanted[i] - i * gap`. `wanted` must be ascending.
    """
    from scipy.optimize import isotonic_regression  # only where labels are placed: it takes a while

    steps = gap * np.arange(len(wanted))
    return np.asarray(np.clip(isotonic_regression(wanted - steps).x, low, high - steps[-1]) + steps)
