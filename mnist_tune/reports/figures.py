"""The pictures of a sweep, for a notebook and for print: the charts of its page, in one
figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib import style

# not pyplot: that takes longer to import, and keeps figures
from matplotlib.figure import Figure

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.judged import Judged
from mnist_tune.reports.charts import HEIGHT, WIDTHS, charts
from mnist_tune.reports.svg import FONT
from mnist_tune.reports.view import View

EDGE, HEAD = 12, 44
"""The room on the left and on the right of a picture, and between its charts twice
that; and above, for its title."""


class Picture(Figure):
    """A figure that a notebook shows."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue()


def picture(sweep: Judged) -> Picture:
    """Return the picture of a sweep: the answer, and the charts that stand at the top
    of its page."""
    view = View([sweep])
    with style.context(["default", FONT]):
        main, beside = charts(view, 0)
        first = [chart for chart in beside if chart.choice == beside[0].choice]
        rows = max(len(main), len(first))
        heights = [HEAD, *[HEIGHT] * rows]
        widths = [EDGE, WIDTHS[0], 2 * EDGE, WIDTHS[1], EDGE]
        width, height = sum(widths), sum(heights)
        figure = Picture(figsize=(width / 72, height / 72), dpi=110)
        x = EDGE / width
        y = 1 - EDGE / height
        look: dict[str, Any] = {
            "size": 15,
            "weight": "bold",
            "va": "top",
            "parse_math": False,
        }
        figure.text(x, y, view.answers[0].headline, **look)
        parts = figure.subfigures(
            len(heights), len(widths), False, height_ratios=heights, width_ratios=widths
        )
        for column, side in ((1, main), (3, first)):
            for i, chart in enumerate(side, start=1):
                chart.draw(parts[i, column], view.measures[0])
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure. Raises `UserError` if the file can't be written, or its format is
    unknown."""
    picture = io.BytesIO()
    try:
        figure.savefig(picture, format=path.suffix.removeprefix(".") or "png")
        storage.write(path, picture.getvalue())
    except (OSError, ValueError) as error:
        why = str(error)
        if isinstance(error, OSError):
            why = storage.reason(error)
        raise UserError(
            f"can't write the picture {path}: {why}; name another file"
        ) from None


def panels(size: tuple[float, float], *shape: Any, **how: Any) -> tuple[Figure, Any]:
    """Return a new figure of this size, in inches, and its panels, as `Figure.subplots`
    does, with faint grids."""
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    axes = figure.subplots(*shape, **how)
    for axis in figure.axes:
        axis.grid(alpha=0.25)
    return figure, axes
