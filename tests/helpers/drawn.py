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
        if axis.get_visible():
            lines += ["", *_panel(axis)]
    return "\n".join(lines) + "\n"


def _panel(axis):
    yield f"panel {axis.get_title()!r}"
    yield _axis("x", axis.xaxis, axis.get_xlim(), axis.get_autoscalex_on())
    yield _axis("y", axis.yaxis, axis.get_ylim(), axis.get_autoscaley_on())
    artists = [*map(_line, axis.lines), *map(_collection, axis.collections)]
    for artist, count in _runs(artists):
        yield artist if count == 1 else f"{artist}, {count} times"
    for text in axis.texts:
        yield f"  {_text(text)}"
    legend = axis.get_legend()
    if legend:
        yield f"  {_legend(legend)}"


def _axis(name, axis, limits, scales_itself):
    line = f"  {name}: {axis.get_scale()} {axis.get_label_text()!r}"
    if not scales_itself:
        line += f" limits {numbers(limits)}"
    return line


def _runs(texts):
    """Return each text with how often it follows itself."""
    return [(text, len(list(same))) for text, same in groupby(texts)]


def _line(line):
    style = f"{to_hex(line.get_color())} {line.get_linestyle()} {line.get_marker()}"
    places = f"{numbers(line.get_xdata())} {numbers(line.get_ydata())}"
    return f"  line {places}, {style}{_label(line)}"


def _collection(part):
    if isinstance(part, PathCollection):
        kind = "points"
        vertices = _filled(part.get_offsets())
    else:
        kind = "shape"
        paths = [path.vertices for path in part.get_paths()]
        vertices = np.concatenate([np.empty((0, 2)), *paths])
    if isinstance(part, LineCollection):
        colours = map(to_hex, part.get_edgecolor())
    else:
        colours = map(to_hex, part.get_facecolor())
    style = " ".join(dict.fromkeys(colours))
    places = f"{numbers(vertices[:, 0])} {numbers(vertices[:, 1])}"
    return f"  {kind} {places}, {style}{_label(part)}"


def _text(text):
    place = numbers(text.get_position())
    if hasattr(text, "xy"):
        place = f"{numbers(text.xyann)} for {numbers(text.xy)}"
    alignment = f"{text.get_horizontalalignment()} {text.get_verticalalignment()}"
    return f"text {text.get_text()!r} at {place}, {alignment}"


def _legend(legend):
    names = "; ".join(text.get_text() for text in legend.texts)
    return f"legend {names}"


def _label(artist):
    label = str(artist.get_label())
    if label.startswith("_"):
        return ""
    return f", {label!r}"


def _filled(values):
    """Return values as floats, with NaN where they are masked."""
    return np.ma.filled(np.ma.asarray(values, float), np.nan)


def numbers(values):
    """Return numbers as a text, rounded to four digits: processors differ in the last
    ones."""
    floats = _filled(values).ravel()
    if len(floats) <= SHOWN:
        words = []
        for number, count in _runs(map(_number, floats)):
            words.append(number if count == 1 else f"{number}*{count}")
        return f"[{' '.join(words)}]"
    indices = np.linspace(0, len(floats) - 1, SHOWN // 2).astype(int)
    some = " ".join(map(_number, floats[indices]))
    total = floats[np.isfinite(floats)].sum()
    return f"[{len(floats)}: {some}; sum {_number(total)}]"


def _number(value):
    return f"{round(value, 7) + 0.0:.4g}"
