"""Write the page of a sweep: one HTML file that needs no network, with the answer, a picture and a table.

The structure is `page.html`, the looks `page.css`; the scripts link what `charts` drew with the rows of the table. The
same results give the same bytes, unless the sweep is running: then the page says when it was written.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib import style
from matplotlib.figure import Figure

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.reports.charts import Box, Chart, charts
from mnist_tune.reports.findings import Kind, nodes, of, spoken, title
from mnist_tune.reports.rows import Column, columns
from mnist_tune.reports.styles import COLOURS, DARK, DARK_INKS, DIM, FAINT, GROUNDS, INK, LINES, RULE
from mnist_tune.reports.svg import FONT, inline
from mnist_tune.reports.trial_table import DETAILS, MANY, fields
from mnist_tune.reports.view import View
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place
from mnist_tune.terminal import printable

WIDE, NARROW, HEIGHT, LOW = (740, 580), 376, 366, 300
"""The widths of the charts on the left and on the right, and of all on a phone; and their heights there, in pixels."""

RELOAD_S = 30
"""Seconds after which a browser loads the page of a running sweep again."""

HINT = "Click a mark, a curve, a regime or a row; Shift adds. Pale bars: 95% of the noise of so many images."
SEEDS_HINT = "Click a mark, a curve, a regime or a row; Shift adds. Dots are seeds; bars: 95% intervals of their means."

SCRIPTS = ("start.js", "picture.js", "table.js", "follow.js")

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mnist_tune.reports", "page_parts"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: printable(value) if type(value) is str else value,
)


def write_page(sweeps: Sequence[Tables], where: Place) -> None:
    """Write the page of one or several sweeps, finished or running. Raises `UserError` if it can't be written."""
    content = page(sweeps).encode()
    try:
        storage.write(where, content)
    except OSError as error:
        raise UserError(f"can't write the page {where}: {storage.reason(error)}; name another file") from None


def page(sweeps: Sequence[Tables]) -> str:
    """Return the page of one or several sweeps as HTML."""
    view = View(sweeps)
    script, css = "".join(map(part, SCRIPTS)), looks() + part("page.css")
    shown = list(columns(view))
    cells = list(zip(*(one.cells for one in shown), strict=True))[:MANY]
    with style.context(["default", FONT]):
        heads = [head(view, i) for i in range(len(sweeps))]
    notes = sum(len(one["note"]) + len(one["failure"]) for one in heads)
    html: str = ENVIRONMENT.get_template("page.html").render(
        title=title(sweeps, view.titles),
        heads=heads,
        measures=view.measures,
        by_measure=len(
            {chart["measure"] for one in heads for side in ("left_side", "right_side") for chart in one[side]} - {""}
        )
        > 1,
        hint=_hint(view),
        rows_are=_rows_are(view),
        columns=shown,
        rows=[
            {"role": role, "regime": regime, "cells": list(zip(row, shown, strict=True))}
            for row, role, regime in zip(cells, view.settings["role"], view.settings["regime"], strict=False)
        ],
        health="How it ran: data, options, versions, times" + f" ({notes} notes)" * bool(notes),
        css=Markup(css),
        css_hash=_hash(css),
        script=Markup(script),
        script_hash=_hash(script),
        data=base64.b64encode(
            gzip.compress(json.dumps(_page_data(view, shown), allow_nan=False).encode(), 6, mtime=0)
        ).decode(),
    )
    return html


def part(name: str) -> str:
    """Return the text of a part of the page."""
    return (files("mnist_tune.reports") / "page_parts" / name).read_text(encoding="utf-8")


def looks() -> str:
    """Return the colours of the page as CSS variables, for a light and for a dark ground."""
    light = {
        "bg": GROUNDS["light"],
        "ink": INK,
        "dim": DIM,
        "faint": FAINT,
        "rule": RULE,
        "pick": "#fff0b8",
        "good": "#e9f4ec",
    }
    dark = {"bg": GROUNDS["dark"], **DARK_INKS, "pick": "#332d10", "good": "#16301e"}
    light |= COLOURS | {f"line{i}": one for i, one in enumerate(LINES)}
    dark |= DARK | {f"line{i}": one for i, one in enumerate(LINES.values())}
    said = ["; ".join(f"--{name}: {value}" for name, value in each.items()) for each in (light, dark)]
    own = "".join(f".{regime} {{ --own: var(--{regime}) }}\n" for regime in COLOURS)
    return f":root {{ {said[0]} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {said[1]} }} }}\n{own}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _hint(view: View) -> str:
    return SEEDS_HINT if view.has_seeds else HINT


def _rows_are(view: View) -> str:
    kinds = {"range of rates" if sweep.edges() else "setting" for sweep in view.sweeps}
    return f"{len(view.settings)} rows, one for each {' or '.join(sorted(kinds))}"


def head(view: View, number: int) -> dict[str, Any]:
    """Return what the page says and draws of one sweep."""
    sweep, said = view.sweeps[number], view.answers[number]
    found = view.findings[number]
    first, _, rest = said.headline.partition(": ")
    sides = charts(view, number) if view.measures else ([], [])
    live = view.running and sweep.meta.get("ended") is None
    progress = (int(sweep.trials["epochs_run"].sum()), int(sweep.trials["epochs_asked"].sum())) if live else None
    left = view.left_s(sweep)
    choices = [chart.choice for chart in sides[1] if chart.choice]
    facts = {one.about: one.text for one in of(found, Kind.FACT)}
    context = [
        view.titles[number],
        title([sweep], [""]),
        facts.get("all with", ""),
        facts.get("trials", "").replace(", of", " trials of"),
        facts.get("time", ""),
    ]
    return {kind.value: of(found, kind) for kind in Kind} | {
        "title": view.titles[number],
        "context": " · ".join(filter(None, context)),
        "tag": "h2" if view.several else "h1",
        "answer": said,
        "first": first,
        "rest": rest,
        "asked": [*((one.text.rstrip(":"), one.command) for one in of(found, Kind.LEFT)), *said.questions][:3],
        "progress": progress,
        "left": f", about {spoken(left)} left" if not math.isnan(left) else "",
        "choices": choices,
        "left_side": list(drawings(view, sides[0], f"{number}l", WIDE[0])),
        "right_side": list(drawings(view, sides[1], f"{number}r", WIDE[1])),
        "nodes": nodes(sweep.epochs),
    }


def drawings(view: View, side: Sequence[Chart], salt: str, width: int) -> Any:
    """Yield each chart of a side as SVG, for a screen and for a phone: for each measure, if it is the first choice and
    the sweep has ended, else for the first one."""
    for i, chart in enumerate(side):
        chosen = not chart.choice or chart.choice == side[0].choice
        for one in view.measures if chart.by_measure and chosen and not view.running else view.measures[:1]:
            label = f"{one.title} {chart.label}" if chart.by_measure else chart.label
            shown = {}
            for name, size in (("wide", (width, HEIGHT)), ("narrow", (NARROW, LOW))):
                figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)
                chart.draw(figure, Box(0, 0, *size), one)
                shown[name] = Markup(inline(figure, label, f"{salt}{i}{one.key}{name}"))
            yield shown | {
                "choice": chart.choice,
                "measure": one.key if chart.by_measure else "",
                "hidden": not chosen or one is not view.measures[0],
            }


def _page_data(view: View, shown: Sequence[Column]) -> dict[str, Any]:
    """Return all that the page's script needs."""
    trials = view.trials
    known = {one.name: one for one in fields(trials, DETAILS)}
    held = {name: one.values(trials) for name, one in known.items()}
    held |= {one.column: trials[one.column].to_numpy(float) for one in view.measures}
    said = [
        known[name].said(trials)
        for name in ("learning_rate", "seed", "epochs_run", "regime", "evidence")
        if name in known
    ]
    line = [
        " · ".join(
            filter(
                None,
                [
                    "rate " + one[0],
                    *(["seed " + one[1]] if "seed" in known else []),
                    f"epoch {one[-3]}",
                    one[-2],
                    one[-1],
                ],
            )
        )
        for one in zip(*said, strict=True)
    ]
    return {
        "running": view.running,
        "written": round(1000 * time.time()) if view.running else 0,
        "reload": 1000 * RELOAD_S,
        "shown": MANY,
        "hint": _hint(view),
        "ids": trials["trial_id"].tolist(),
        "of": trials["setting"].tolist(),
        "sweeps": view.settings["sweep"].tolist(),
        "regimes": trials["regime"].tolist(),
        "best": np.flatnonzero(view.settings["role"] == "best").tolist(),
        "rows": view.settings["regime"].tolist(),
        "roles": view.settings["role"].tolist(),
        "names": printable(view.settings["name"].tolist()),
        "cells": [printable(list(row)) for row in zip(*(one.cells for one in shown), strict=True)],
        "keys": [[*map(_number, one.keys or one.cells)] for one in shown],
        "said": printable(line),
        "columns": {name: _held(column) for name, column in held.items()},
        "numbers": [name for name, column in held.items() if isinstance(column, np.ndarray)],
        "measures": [{"key": one.key, "title": one.title} for one in view.measures],
        "values": {one.key: [one.said(value) for value in one.raw(trials)] for one in view.measures},
        "curves": {one.key: _codes(view.curves[one.key], one.axis.log) for one in view.measures},
        "epochs": view.kept_epochs.tolist(),
    }


def _number(key: Any) -> Any:
    return None if isinstance(key, float) and not math.isfinite(key) else key


def _held(values: np.ndarray | list[str]) -> Any:
    """Return a column for JSON, which has neither NaN nor infinity: they become null, and texts that a script reads."""
    if isinstance(values, list):
        return printable(values)
    said = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return [None if math.isnan(value) else said.get(value, value) for value in values.tolist()]


def _codes(values: np.ndarray, log: bool) -> list[list[int | None]]:
    """Return ten thousand times the values, or their logarithms to the base 10: whole numbers are short, and less than
    a pixel away."""
    known = np.isfinite(values)
    codes = np.full(values.shape, None, dtype=object)
    codes[known] = np.round(1e4 * (np.log10(values[known]) if log else values[known])).astype(int)
    found: list[list[int | None]] = codes.tolist()
    return found
