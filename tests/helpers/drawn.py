"""What a matplotlib figure shows, as a text: its panels, the numbers that are drawn,
and the words."""

from itertools import groupby

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

SHOWN = 10
"""If there are more numbers than this, half as many of them are shown, and the sum of
all."""


@pytest.fixture
def as_text(monkeypatch):
    """In place of drawing a figure, what it shows is written to its file."""

    def write(figure, file, **how):
        file.write(f"{how['format']} {described(figure)}".encode())

    monkeypatch.setattr(Figure, "savefig", write)


def described(figure):
    """Return the text, a line for each artist."""
    width, height = figure.get_size_inches()
    lines = [
        f"figure {width:.4g} x {height:.4g} inches",
        *map(_text, figure.texts),
        *map(_legend, figure.legends),
    ]
    for axis in figure.axes:
        lines += ["", *_panel(axis)] if axis.get_visible() else []
    return "\n".join(lines) + "\n"


def _panel(axis):
    yield f"panel {axis.get_title()!r}"
    for which in "xy":
        limits = getattr(axis, f"get_{which}lim")()
        fixed = (
            ""
            if getattr(axis, f"get_autoscale{which}_on")()
            else f" limits {numbers(limits)}"
        )
        yield f"  {which}: {getattr(axis, f'get_{which}scale')()} {getattr(axis, f'get_{which}label')()!r}{fixed}"
    for said, same in groupby(
        [*map(_line, axis.lines), *map(_collection, axis.collections)]
    ):
        count = len(list(same))
        yield said + f", {count} times" * (count > 1)
    yield from (f"  {_text(text)}" for text in axis.texts)
    if axis.get_legend():
        yield f"  {_legend(axis.get_legend())}"


def _line(line):
    how = f"{to_hex(line.get_color())} {line.get_linestyle()} {line.get_marker()}"
    return f"  line {numbers(line.get_xdata())} {numbers(line.get_ydata())}, {how}{_label(line)}"


def _collection(part):
    colours = (
        part.get_edgecolor()
        if isinstance(part, LineCollection)
        else part.get_facecolor()
    )
    kind, places = (
        "shape",
        np.concatenate(
            [np.empty((0, 2)), *(path.vertices for path in part.get_paths())]
        ),
    )
    if isinstance(part, PathCollection):
        kind, places = (
            "points",
            np.ma.filled(np.ma.asarray(part.get_offsets(), float), np.nan),
        )
    seen = " ".join(dict.fromkeys(to_hex(one) for one in colours))
    return f"  {kind} {numbers(places[:, 0])} {numbers(places[:, 1])}, {seen}{_label(part)}"


def _text(text):
    at = (
        f"{numbers(text.xyann)} for {numbers(text.xy)}"
        if hasattr(text, "xy")
        else numbers(text.get_position())
    )
    return f"text {text.get_text()!r} at {at}, {text.get_horizontalalignment()} {text.get_verticalalignment()}"


def _legend(legend):
    return f"legend {'; '.join(text.get_text() for text in legend.texts)}"


def _label(artist):
    label = str(artist.get_label())
    return "" if label.startswith("_") else f", {label!r}"


def numbers(values):
    """Return numbers as a text, rounded to four digits: processors differ in the last
    ones."""
    found = np.ma.filled(np.ma.asarray(values, float), np.nan).ravel()
    if len(found) <= SHOWN:
        runs = [(said, len(list(same))) for said, same in groupby(map(_number, found))]
        return f"[{' '.join(said + f'*{count}' * (count > 1) for said, count in runs)}]"
    some = found[np.linspace(0, len(found) - 1, SHOWN // 2).astype(int)]
    known = found[np.isfinite(found)]
    return f"[{len(found)}: {' '.join(map(_number, some))}; sum {_number(known.sum())}]"


def _number(value):
    return f"{round(value, 7) + 0.0:.4g}"
