"""Axes and names: round ticks on logarithmic axes, and names beside their points that
don't overlap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import LogFormatter

LINE, LETTER, AWAY = 1.25, 0.66, 2.2
"""Height of a line, width of a wide letter and distance of a label from its point, in
font sizes."""


PARTS_OF_A_DECADE = (
    range(10, 100),
    range(10, 100, 5),
    (10, 20, 30, 50),
    (10, 20, 50),
    (10, 30),
    (10,),
)
"""The two digits that round numbers may have, the more the better."""


class PlacedName(NamedTuple):
    """A text for the point (`x`, `y`), in data coordinates."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False
    tag: str = ""
    """Says on a page what this names (`svg.tagged`)."""


class _Plain(LogFormatter):
    """Writes 0.05 instead of matplotlib's wider 5 × 10^-2."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if not super().__call__(x, pos):
            return ""
        return f"{x:g}"


def log_axis(axis: Any, which: str) -> None:
    """Make the x or the y axis logarithmic, with plain numbers and a faint grid."""
    axis.set(**{f"{which}scale": "log"})
    ticks = getattr(axis, f"{which}axis")
    ticks.set_major_formatter(_Plain())
    ticks.set_minor_formatter(_Plain())
    axis.grid(alpha=0.1, which="minor", axis=which)


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round numbers for a logarithmic axis, at most `most`, none nearer to the
    next than if these were evenly spread: in each decade the fewer, the more decades
    there are."""
    decades = math.log10(high / low)
    apart = 0.95 * decades / most
    ticks: list[float] = []
    for parts in PARTS_OF_A_DECADE:
        ticks = _round_numbers(low, high, parts)
        steps = np.diff(np.log10(ticks))
        if steps.min(initial=decades) > apart:
            return ticks
    if decades <= 1:
        return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def _round_numbers(low: float, high: float, parts: Iterable[int]) -> list[float]:
    """Return the numbers from `low` to `high` that have one of these two digits."""
    first = math.floor(math.log10(low))
    last = math.floor(math.log10(high))
    numbers = []
    for power in range(first, last + 1):
        for part in parts:
            number = float(f"{part}e{power - 1}")
            if low <= number <= high:
                numbers.append(number)
    return numbers


def evenly(items: Any, most: int) -> list[Any]:
    """Return at most `most` of these, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    places = np.linspace(0, len(items) - 1, most)
    return [items[round(place)] for place in places]


def place_labels(axis: Any, labels: Sequence[PlacedName], size: float) -> None:
    """Write each label to the right of its point, in letters of this size, moved up or
    down if others are in the way.

    The axis must have its final position, scales and limits. If there is no room for
    all labels, some are left out.
    """
    if not labels:
        return
    labels = sorted(labels, key=lambda label: label.x)
    pixel = axis.figure.dpi / 72
    half = size * pixel / 2
    bottom, top = axis.bbox.y0 + half, axis.bbox.y1 - half
    gap = LINE * size * pixel
    room = max(1, int((top - bottom) / gap) + 1)
    places = [(label.x, label.y) for label in labels]
    points = axis.transData.transform(places)
    x, y = points.T
    # at most, and how far away
    letters = np.array([len(label.text) for label in labels])
    wide = size * (AWAY + 0.5 + LETTER * letters)
    ends = np.maximum.accumulate(x + wide * pixel)
    # labels of different groups can't touch
    begins_a_group = x[1:] > ends[:-1]
    starts = np.flatnonzero(begins_a_group) + 1
    for group in np.split(np.arange(len(labels)), starts):
        from_below = sorted(group, key=lambda row: y[row])
        rows = evenly(from_below, room)
        heights = spread(y[rows], gap, bottom, top)
        for row, height in zip(rows, heights, strict=True):
            _write_label(axis, labels[row], points[row], height, size)


def _write_label(
    axis: Any, label: PlacedName, point: np.ndarray, height: float, size: float
) -> None:
    """Write a label beside its point, at this height, both in pixels; with a line to
    the point if it was moved."""
    x, y = point
    pixel = axis.figure.dpi / 72
    to_data = axis.transData.inverted()
    place = to_data.transform((x + AWAY * size * pixel, height))
    text = axis.text(*place, label.text, gid=label.tag, parse_math=False, clip_on=False)
    weight = "bold" if label.bold else "normal"
    text.set(size=size, weight=weight, color=label.colour, va="center")
    if abs(height - y) <= LINE * size * pixel / 2:
        return
    # a line, since matplotlib's arrows take as long again
    begin = x + 0.5 * size * pixel, y
    end = x + (AWAY - 0.3) * size * pixel, height
    line = to_data.transform([begin, end])
    look = {"color": label.colour, "lw": 0.5, "clip_on": False}
    axis.plot(*line.T, scalex=False, scaley=False, **look)


def spread(heights: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return the positions [n] closest to `heights` [n] in least squares, at least `gap`
    apart, in [`low`, `high`].

    This is isotonic regression of `heights[i] - i * gap`, by its max-min formula.
    `heights` must be ascending.
    """
    count = len(heights)
    steps = gap * np.arange(count)
    total = np.cumsum([0, *(heights - steps)])
    # the mean from each position to each later one, [n, n]
    first, last = np.indices((count, count))
    lengths = np.maximum(last - first + 1, 1)
    means = (total[last + 1] - total[first]) / lengths
    fitted = np.empty(count)
    for i in range(count):
        # of what begins here or before and ends here or later
        around = means[: i + 1, i:]
        fitted[i] = around.min(1).max()
    highest = high - gap * (count - 1)
    return np.asarray(np.clip(fitted, low, highest) + steps)
