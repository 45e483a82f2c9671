"""Place labels at the ends of curves so that they don't overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke

HALO = withStroke(linewidth=2, foreground="white")
"""Around letters, so that they can be read where a curve passes under them."""

SIZE = 7
"""Font size of a label, in points."""

LINE, LETTER, AWAY = 1.25, 0.66, 2.2
"""Height of a line, width of a wide letter and distance of a label from its point, in font sizes."""


@dataclass(frozen=True)
class Label:
    """A text for the point (`x`, `y`), in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


def width(text: str) -> float:
    """Return the largest width of a label, with its distance from the curve, in points."""
    return SIZE * (AWAY + LETTER * len(text) + 0.5)


def place_labels(axis: Any, labels: Sequence[Label]) -> None:
    """Write each label to the right of its point, moved up or down if others are in the way.

    The axis must have its final position, scales and limits. If there is no room for all labels, some are left out.
    """
    pixel = axis.figure.dpi / 72
    bottom, top = (axis.bbox.y0 + SIZE * pixel, axis.bbox.y1 - SIZE * pixel)
    gap, back = LINE * SIZE * pixel, axis.transData.inverted()
    room = max(1, int((top - bottom) / gap) + 1)
    for group in _side_by_side(axis, sorted(labels, key=lambda label: label.x), pixel):
        group = sorted(group, key=lambda label: label.y)
        if len(group) > room:
            group = [group[i] for i in np.linspace(0, len(group) - 1, room).round().astype(int)]
        points = axis.transData.transform([(label.x, label.y) for label in group])
        heights = spread(points[:, 1], gap, bottom, top)
        for label, (x, y), height in zip(group, points, heights, strict=True):
            place = back.transform((x + AWAY * SIZE * pixel, height))
            leader = {
                "arrowstyle": "-",
                "lw": 0.5,
                "color": label.colour,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 3,
            }
            axis.annotate(
                label.text, (label.x, label.y), place, fontsize=SIZE, color=label.colour, va="center", parse_math=False,
                path_effects=[HALO],
                arrowprops=leader if abs(height - y) > gap / 2 else None,
            )  # fmt: skip


def _side_by_side(axis: Any, labels: Sequence[Label], pixel: float) -> Iterator[list[Label]]:
    """Yield groups of labels, from left to right. Labels of different groups can't touch."""
    group: list[Label] = []
    reached = -np.inf
    for label in labels:
        x = axis.transData.transform((label.x, label.y))[0]
        if group and x > reached:
            yield group
            group = []
        reached = max(reached, x + width(label.text) * pixel)
        group.append(label)
    if group:
        yield group


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return the positions [n] closest to `wanted` [n] in least squares, at least `gap` apart, in [`low`, `high`].

    This is isotonic regression of `wanted[i] - i * gap`, by pooling adjacent violators. `wanted` must be ascending.
    """
    pools: list[tuple[float, int]] = []
    for rank, place in enumerate(wanted):
        mean, count = place - rank * gap, 1
        while pools and pools[-1][0] > mean:
            other, more = pools.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        pools.append((mean, count))
    base = np.repeat([mean for mean, _ in pools], [count for _, count in pools])
    return np.asarray(np.clip(base, low, high - gap * (len(wanted) - 1)) + gap * np.arange(len(wanted)))
