"""The pictures of a sweep, for a notebook and for print: the charts of its page, in one figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure  # not pyplot: that takes longer to import, and keeps figures

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.reports.charts import Box, charts
from mnist_tune.reports.svg import FONT
from mnist_tune.reports.view import View
from mnist_tune.results.tables import Tables

LEFT, RIGHT, HEIGHT = 740, 580, 366
"""The size of the charts on the left and on the right of a picture, in points."""

EDGE = 12
"""The room on its left and on its right."""


class Picture(Figure):
    """A figure that a notebook shows."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue()


def picture(sweep: Tables) -> Picture:
    """Return the picture of a sweep: the answer, and the charts that stand at the top of its page."""
    view = View([sweep])
    with style.context(["default", FONT]):
        if not view.measures:
            figure = Picture(figsize=(8, 2), dpi=110)
            figure.text(0.5, 0.5, "no trial has finished an epoch", ha="center")
            return figure
        left, right = charts(view, 0)
        sides = left, [one for one in right if one.choice == right[0].choice]
        rows = max(map(len, sides))
        size = ((LEFT + 24 + RIGHT + 2 * EDGE) / 72, (HEIGHT * rows + 44) / 72)
        figure = Picture(figsize=size, dpi=110)
        place = EDGE / 72 / size[0], 1 - EDGE / 72 / size[1]
        figure.text(*place, view.answers[0].headline, size=15, weight="bold", va="top", parse_math=False)
        for side, x, width in zip(sides, (EDGE, EDGE + LEFT + 24), (LEFT, RIGHT), strict=True):
            for i, one in enumerate(side):
                one.draw(figure, Box(x, HEIGHT * (rows - 1 - i), width, HEIGHT), view.measures[0])
    return figure


def plot_sweep(sweep: Tables, path: Path) -> None:
    """Write the picture of a sweep. Raises `UserError` as `save`."""
    save(picture(sweep), path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure. Raises `UserError` if the file can't be written, or its format is unknown."""
    picture = io.BytesIO()
    try:
        figure.savefig(picture, format=path.suffix.removeprefix(".") or "png")
        storage.write(path, picture.getvalue())
    except (OSError, ValueError) as error:
        why = storage.reason(error) if isinstance(error, OSError) else error
        raise UserError(f"can't write the picture {path}: {why}; name another file") from None


def panels(size: tuple[float, float], *of: Any, **how: Any) -> tuple[Figure, Any]:
    """Return a new figure of this size, in inches, and its panels, as `Figure.subplots` does, with faint grids."""
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    axes = figure.subplots(*of, **how)
    for axis in figure.axes:
        axis.grid(alpha=0.25)
    return figure, axes
