"""Figures as SVG that a page can hold: without style attributes, with colours as CSS
variables, and with the trials or settings that its marks stand for."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from mnist_tune.reports.styles import SHADES

VARIABLES = {light: name for name, (light, _) in SHADES.items()}

FONT = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "svg.fonttype": "none",
}
"""Text stays text, and is measured in a font that matplotlib brings along."""


REFERRED_TO = re.compile(r"[mp][0-9a-f]{10}|C\w+_[0-9a-f]{10}")
"""Ids of markers and paths that other elements use."""

LEAVES = ("use", "path", "text")
"""Elements that are drawn."""

SHARED = (
    "fill",
    "stroke",
    "stroke-width",
    "opacity",
    "fill-opacity",
    "stroke-opacity",
    "stroke-dasharray",
)
"""What the leaves of a group may have in common."""


def tagged(artist: Any, kind: str, which: str, numbers: Iterable[Any]) -> Any:
    """Name an artist so that on a page each of its elements knows what it stands for:
    trials (`which` is "t") or settings ("s"). An element may stand for several
    numbers."""
    texts = []
    for number in numbers:
        if isinstance(number, Iterable):
            texts.append(",".join(map(str, number)))
        else:
            texts.append(str(number))
    artist.set_gid(f"{kind}/{which}/{' '.join(texts)}")
    return artist


def inline(figure: Figure, salt: str) -> str:
    """Return a figure as an element of HTML, with the label of its axes for those who
    don't see it. The same figure gives the same text; ids differ if the salts do."""
    out = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({**FONT, "svg.hashsalt": salt}):
        figure.savefig(out, format="svg", metadata=nothing, transparent=True)
    root = ElementTree.fromstring(out.getvalue())
    # the leaves first, since a group whose leaves are gone goes, too
    for element in reversed(list(root.iter())):
        for child in list(element):
            child.tag = child.tag.rpartition("}")[2]
            child.tail = None
            if _is_empty(child):
                element.remove(child)
        if not element.tag.endswith("text"):
            element.text = None
        gid = element.get("id", "")
        element.attrib = dict(_attributes(element.attrib))
        is_tagged = "/" in gid or gid == "name"
        if is_tagged:
            _tell(element, *gid.split("/"))
    [axes] = figure.axes
    width, height = figure.get_size_inches() * 72
    root.tag = "svg"
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": str(axes.get_label()),
    }
    if axes.get_gid() == "curves":
        root.attrib["data-axes"] = " ".join(_axes(axes, height))
    return ElementTree.tostring(root, encoding="unicode")


def _is_empty(element: ElementTree.Element) -> bool:
    """Return whether an element draws nothing on a page."""
    if element.tag in ("style", "clipPath"):
        return True
    if element.tag in ("g", "defs"):
        return not len(element)
    is_unfilled = element.tag == "path" and element.get("fill") == "none"
    return is_unfilled and "stroke" not in element.attrib


def _tell(
    group: ElementTree.Element, kind: str, which: str = "", numbers: str = ""
) -> None:
    """Give a tagged group its class, and its leaves their numbers, in the order in
    which they were drawn. What all leaves share stands on the group."""
    group.set("class", kind)
    defined = {id(element) for defs in group.iter("defs") for element in defs.iter()}
    leaves = []
    for element in group.iter():
        if element.tag in LEAVES and id(element) not in defined:
            leaves.append(element)
    for leaf, number in zip(leaves, numbers.split(), strict=False):
        leaf.set(f"data-{which}", number)
    for name in SHARED:
        values = {leaf.get(name) for leaf in leaves}
        if len(values) != 1:
            continue
        [value] = values
        if value is not None:
            group.set(name, value)
            for leaf in leaves:
                del leaf.attrib[name]


def _axes(axes: Any, height: float) -> Iterator[str]:
    """Yield where the script draws a curve: x is a + b epoch, y is c + d log10(value),
    or c + d value."""
    low, high = axes.get_ylim()
    corners = axes.transData.transform([(0, low), (1, high)])
    (x0, y0), (x1, y1) = corners * 72 / axes.figure.dpi
    if axes.get_yscale() == "log":
        low, high = math.log10(low), math.log10(high)
    slope = -(y1 - y0) / (high - low)
    for number in (x0, x1 - x0, height - y0 - slope * low, slope):
        yield f"{number:.6g}"


def _attributes(attributes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the attributes of an element of matplotlib's SVG, as a page wants them."""
    for name, value in attributes.items():
        name = name.rpartition("}")[2]
        if name == "style":
            yield from _styles(value)
        elif name == "transform" and "rotate(-0" in value:
            continue
        elif name in ("d", "x", "y", "transform"):
            text = " ".join(value.split())
            yield name, re.sub(r"(\.\d)\d+", r"\1", text)
        elif name not in ("id", "clip-path") or REFERRED_TO.fullmatch(value):
            yield name, value


def _styles(style: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a style attribute as attributes of their own."""
    for part in style.split(";"):
        name, _, value = part.strip().partition(": ")
        if name == "font":  # as "700 12px 'DejaVu Sans', sans-serif"
            *weight, size = value.partition("px")[0].split()
            yield "font-size", size
            if weight:
                yield "font-weight", weight[0]
        elif value in VARIABLES:
            yield name, f"var(--{VARIABLES[value]})"
        elif name and name != "font-family":
            yield name, value
