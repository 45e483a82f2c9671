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


def tagged(artist: Any, kind: str, which: str, numbers: Iterable[Any]) -> Any:
    """Name an artist so that on a page each of its elements knows what it stands for:
    trials (`which` is "t") or settings ("s"). An element may stand for several
    numbers."""
    each = (
        ",".join(map(str, one)) if isinstance(one, Iterable) else str(one)
        for one in numbers
    )
    artist.set_gid(f"{kind}/{which}/{' '.join(each)}")
    return artist


def inline(figure: Figure, salt: str) -> str:
    """Return a figure as an element of HTML, with the label of its axes for those who
    don't see it. The same figure gives the same text; ids differ if the salts do."""
    out, nothing = io.BytesIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({**FONT, "svg.hashsalt": salt}):
        figure.savefig(out, format="svg", metadata=nothing, transparent=True)
    root = ElementTree.fromstring(out.getvalue())
    [axes], (width, height) = figure.axes, figure.get_size_inches() * 72
    for parent in reversed(list(root.iter())):
        for child in list(parent):
            child.tag, child.tail = child.tag.rpartition("}")[2], None
            nothing_drawn = (
                child.tag == "path"
                and child.get("fill") == "none"
                and "stroke" not in child.attrib
            )
            if (
                child.tag in ("style", "clipPath")
                or (child.tag in ("g", "defs") and not len(child))
                or nothing_drawn
            ):
                parent.remove(child)
        parent.text = parent.text if parent.tag.endswith("text") else None
        gid = parent.get("id", "")
        parent.attrib = dict(_attributes(parent.attrib))
        if "/" in gid or gid == "name":
            _tell(parent, *gid.split("/"))
    root.tag = "svg"
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": str(axes.get_label()),
    }
    if axes.get_gid() == "curves":
        root.attrib["data-axes"] = " ".join(_axes(axes, height))
    return ElementTree.tostring(root, encoding="unicode")


def _tell(
    group: ElementTree.Element, kind: str, which: str = "", numbers: str = ""
) -> None:
    """Give a tagged group its class, and its leaves their numbers, in the order in
    which they were drawn. What all leaves share stands on the group."""
    group.set("class", kind)
    defined = {id(one) for defs in group.iter("defs") for one in defs.iter()}
    leaves = [
        one
        for one in group.iter()
        if one.tag in ("use", "path", "text") and id(one) not in defined
    ]
    for leaf, number in zip(leaves, numbers.split(), strict=False):
        leaf.set(f"data-{which}", number)
    for name in (
        "fill",
        "stroke",
        "stroke-width",
        "opacity",
        "fill-opacity",
        "stroke-opacity",
        "stroke-dasharray",
    ):
        if (
            leaves
            and len(found := {leaf.get(name) for leaf in leaves}) == 1
            and (value := found.pop()) is not None
        ):
            group.set(name, value)
            for leaf in leaves:
                del leaf.attrib[name]


def _axes(axes: Any, height: float) -> Iterator[str]:
    """Yield where the script draws a curve: x is a + b epoch, y is c + d log10(value),
    or c + d value."""
    low, high = axes.get_ylim()
    (x0, y0), (x1, y1) = (
        axes.transData.transform([(0, low), (1, high)]) * 72 / axes.figure.dpi
    )
    log = axes.get_yscale() == "log"
    low, high = (math.log10(low), math.log10(high)) if log else (low, high)
    slope = -(y1 - y0) / (high - low)
    yield from (f"{one:.6g}" for one in (x0, x1 - x0, height - y0 - slope * low, slope))


def _attributes(found: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the attributes of an element of matplotlib's SVG, as a page wants them."""
    for name, value in found.items():
        name = name.rpartition("}")[2]
        if name == "style":
            for key, _, said in (
                part.strip().partition(": ") for part in value.split(";")
            ):
                if key == "font":  # as "700 12px 'DejaVu Sans', sans-serif"
                    *weight, size = said.partition("px")[0].split()
                    yield from zip(
                        ("font-size", "font-weight"), (size, *weight), strict=False
                    )
                elif key and key != "font-family":
                    yield (
                        key,
                        f"var(--{VARIABLES[said]})" if said in VARIABLES else said,
                    )
        elif name == "transform" and "rotate(-0" in value:
            continue
        elif name in ("d", "x", "y", "transform"):
            yield name, re.sub(r"(\.\d)\d+", r"\1", " ".join(value.split()))
        elif name not in ("id", "clip-path") or re.fullmatch(
            r"[mp][0-9a-f]{10}|C\w+_[0-9a-f]{10}", value
        ):
            yield name, value
