"""Place labels at the ends of curves so that they don't overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke

from mnist_tune.reports.page_data import evenly

HALO = withStroke(linewidth=2, foreground="white")
"""Around letters, so that they can be read where a curve passes under them."""

LEADER = {"arrowstyle": "-", "lw": 0.5, "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 3}
"""The line from a label that was moved to its point."""

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
