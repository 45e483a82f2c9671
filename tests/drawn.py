"""What a matplotlib figure shows, as a text: what our code sets, as versions of matplotlib differ in the rest."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import FixedLocator, LogFormatterSciNotation, MaxNLocator, NullFormatter, NullLocator

SHOWN = 10
"""If there are more numbers than this, half as many of them are shown, and the sum of all."""


@pytest.fixture
def as_text(monkeypatch):
    """In place of drawing a figure, what it shows is written to its file."""

    def write(figure, file, **how):
        file.write(f"{how['format']} {described(figure)}".encode())

    monkeypatch.setattr(Figure, "savefig", write)


def described(figure):
    """Return the text, a line for each artist."""
    width, height = figure.get_size_inches()
    layout = type(figure.get_layout_engine()).__name__.removesuffix("LayoutEngine").replace("NoneType", "fixed")
    lines = [f"figure {width:.4g} x {height:.4g} inches, {figure.dpi:g} dpi, {layout} layout"]
    lines += [_text(text, figure.transFigure) for text in figure.texts]
    lines += [_legend(legend) for legend in figure.legends]
    for axis in figure.axes:
        lines += ["", *_panel(axis)]
    return "\n".join(lines) + "\n"


def _panel(axis):
    place = axis.get_position()
    seen = " hidden" * (not axis.get_visible()) + " off" * (not axis.axison)
    yield f"panel at {numbers(place.bounds)}{seen} {_words(axis.title)}".rstrip()
    if not axis.get_visible():
        return
    yield _scale(axis, "x")
    yield _scale(axis, "y")
    drawn = [_line(line, axis) for line in axis.lines] + [_collection(part, axis) for part in axis.collections]
    for said, same in groupby(filter(None, drawn)):
        count = len(list(same))
        yield said + f", {count} times" * (count > 1)
    for patch in axis.patches:
        corners = patch.get_path().transformed(patch.get_patch_transform()).get_extents()
        yield _said(
            f"  rectangle {numbers(corners.intervalx)} by {numbers(corners.intervaly)}",
            _in(patch.get_data_transform(), axis), to_hex(patch.get_facecolor(), keep_alpha=True),
            _unless("lw", patch.get_linewidth(), 1), _label(patch, axis),
        )  # fmt: skip
    for text in axis.texts:
        yield f"  {_text(text, axis.transData)}"
    if axis.get_legend():
        yield f"  {_legend(axis.get_legend())}"


def _scale(axis, which):
    one, scale = getattr(axis, f"{which}axis"), getattr(axis, f"get_{which}scale")()
    parts = [f"  {which}: {scale}", _words(one.label)]
    if scale == "log":
        parts.append(_unless("base", one.get_transform().base, 10))
    if not getattr(axis, f"get_autoscale{which}_on")():
        parts.append(f"limits {numbers(getattr(axis, f'get_{which}lim')())}")
    margin = axis.margins()[which == "y"]
    parts.append(_unless("margin", margin, 0.05))
    locator, formatter = one.get_major_locator(), one.get_major_formatter()
    if isinstance(locator, FixedLocator):
        parts.append(f"ticks {numbers(getattr(axis, f'get_{which}ticks')())}")
        parts.append(f"as {' '.join(text.get_text() for text in one.get_ticklabels())}")
    elif isinstance(locator, MaxNLocator) and np.array_equal(found := locator.tick_values(1, 2.5), np.rint(found)):
        parts.append("whole ticks")
    for kind, format_, tick in (("major", formatter, 0.01), ("minor", one.get_minor_formatter(), 0.03)):
        fixed = isinstance(format_, (LogFormatterSciNotation, NullFormatter)) or isinstance(locator, FixedLocator)
        if scale == "log" and not fixed:
            parts.append(f"{kind} {format_(tick)}")
    if isinstance(one.get_minor_locator(), NullLocator) and scale == "log":
        parts.append("no minor ticks")
    for ticks in ("major", "minor"):
        params = one.get_tick_params(ticks)
        parts.append(f"{ticks} grid {params.get('grid_alpha')}" * bool(params.get("gridOn")))
        first = getattr(one, f"get_{ticks}_ticks")(1)[0]
        parts.append(f"no {ticks} labels" * (not first.label1.get_visible()))
    siblings = getattr(axis, f"get_shared_{which}_axes")().get_siblings(axis)
    parts.append("shared" * (len(siblings) > 1))
    return _said(*parts)


def _line(line, axis):
    marker, colour = line.get_marker(), to_hex(line.get_color())
    filled = line.get_markerfacecolor()
    parts = [f"  line {numbers(line.get_xdata())} {numbers(line.get_ydata())}", colour]
    if line.get_linestyle() not in ("None", ""):
        parts.append(f"{line.get_linestyle()} {line.get_linewidth():g}")
    if marker not in ("None", "", None):
        parts += [f"marker {marker} {line.get_markersize():g}", _unless("mew", line.get_markeredgewidth(), 1)]
        parts.append("hollow" * (isinstance(filled, str) and filled == "none"))
    parts += [_unless("alpha", line.get_alpha(), None), _unless("z", line.get_zorder(), 2), _label(line, axis)]
    return _said(*parts, "" if line.get_clip_on() else "not clipped", _in(line.get_transform(), axis))


def _collection(part, axis):
    faces, edges = _colours(part.get_facecolor()), _colours(part.get_edgecolor())
    if isinstance(part, PathCollection):
        x, y = np.ma.filled(np.ma.asarray(part.get_offsets(), float), np.nan).T
        if not len(x):
            return ""
        sizes = f"area {numbers(np.unique(part.get_sizes()))}, marker {_marker(part)}"
        parts, where = [f"  points {numbers(x)} {numbers(y)}", sizes], part.get_offset_transform()
    elif isinstance(part, LineCollection):
        ends = np.array(part.get_segments()).reshape(-1, 4)
        parts, where = [f"  segments {' '.join(map(numbers, ends.T))}"], part.get_transform()
    else:
        corners = np.concatenate([np.empty((0, 2)), *(path.vertices for path in part.get_paths())])
        x = np.unique(corners[:, 0])
        heights = [corners[corners[:, 0] == one, 1] for one in x]
        low, high = ([f(of) for of in heights] for f in (np.min, np.max))
        parts, where = [f"  band {numbers(x)} from {numbers(low)} to {numbers(high)}"], part.get_transform()
    parts.append(f"in {faces}" if faces else "")
    if part.get_linewidth().any():
        parts.append(f"edges {'too' if edges == faces else edges} lw {numbers(np.unique(part.get_linewidth()))}")
    default = 2 if isinstance(part, LineCollection) else 1
    return _said(*parts, _unless("z", part.get_zorder(), default), _label(part, axis), _in(where, axis))


def _marker(part):
    """Return the letter of a scatter's marker."""
    for letter in "o^DXsPvx.|":
        style = MarkerStyle(letter)
        corners = style.get_path().transformed(style.get_transform()).vertices
        if np.array_equal(corners, part.get_paths()[0].vertices):
            return letter
    return "?"


def _text(text, plain):
    if hasattr(text, "xyann"):
        parts = [f"text {_words(text)} at {numbers(text.xyann)} for {numbers(text.xy)}"]
        parts.append(_unless("in", text.anncoords, "data"))
        parts.append(f"line {' '.join(map(str, text.arrowprops.values()))}" if text.arrowprops else "")
    else:
        at = numbers(text.get_position())
        parts = [f"text {_words(text)} at {at}", "" if text.get_transform() == plain else "of the panel"]
    parts += [to_hex(text.get_color()), f"{text.get_horizontalalignment()} {text.get_verticalalignment()}"]
    return _said(*parts, "halo" * bool(text.get_path_effects()))


def _legend(legend):
    lines = zip(legend.texts, legend.legend_handles, strict=True)
    frame = "framed" if legend.get_frame_on() else "no frame"
    where = f"{legend._ncols} columns at {legend._loc_real} {legend._outside_loc or 'inside'}"
    return f"legend {where}, {frame}: " + "; ".join(f"{_words(text)} {_handle(one)}".strip() for text, one in lines)


def _handle(handle):
    if not hasattr(handle, "get_marker"):
        return to_hex(handle.get_facecolor(), keep_alpha=True)
    hollow = " hollow" * (str(handle.get_markerfacecolor()) == "none")
    return f"{to_hex(handle.get_color())} {handle.get_linestyle()} {handle.get_marker()}{hollow}"


def _words(text):
    said = f"{text.get_text()!r} {text.get_fontsize():g}" + " as it is" * (not text.get_parse_math())
    return said if text.get_text() else ""


def _label(artist, axis):
    """Return the label of an artist that the panel's legend does not show."""
    label, legend = str(artist.get_label()), axis.get_legend()
    shown = legend and label in [text.get_text() for text in legend.texts]
    return "" if shown or not label or label.startswith("_") else f"label {label!r}"


def _in(transform, axis):
    """Return which coordinates an artist is in, unless both are the data's."""
    known: list[tuple[str, Any]] = [("", axis.transData), ("both of the panel", axis.transAxes)]
    for which in ("tick1", "grid"):
        known.append(("y of the panel", axis.get_xaxis_transform(which)))
        known.append(("x of the panel", axis.get_yaxis_transform(which)))
    return next((name for name, one in known if one == transform), "elsewhere")


def _colours(colours):
    return " ".join(dict.fromkeys(to_hex(one, keep_alpha=True) for one in colours))


def _unless(name, value, default):
    return "" if value == default else f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _said(*parts):
    return ", ".join(filter(None, parts))


def numbers(values):
    """Return numbers as a text, rounded to four digits: processors differ in the last ones."""
    found = np.ma.filled(np.ma.asarray(values, float), np.nan).ravel()
    if len(found) <= SHOWN:
        runs = [(said, len(list(same))) for said, same in groupby(map(_number, found))]
        return f"[{' '.join(said + f'*{count}' * (count > 1) for said, count in runs)}]"
    some = found[np.linspace(0, len(found) - 1, SHOWN // 2).astype(int)]
    known = found[np.isfinite(found)]
    return f"[{len(found)}: {' '.join(map(_number, some))}; sum {_number(known.sum())}]"


def _number(value):
    return f"{round(value, 7) + 0.0:.4g}"
