"""Write the page of a sweep: one HTML file that needs no network, with the answer, a
picture and a table.

The structure is `page.html`, the looks `page.css`; the scripts link what `charts` drew
with the rows of the table. The same results give the same bytes, unless the sweep is
running: then the page says when it was written.
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
from mnist_tune.errors import printable
from mnist_tune.judged import Judged
from mnist_tune.numbers import counted
from mnist_tune.reports.charts import HEIGHT, LOW, NARROW, WIDTHS, Chart, charts
from mnist_tune.reports.findings import (
    facts,
    failures,
    notes,
    ran,
    repeated,
    time_left,
    title,
)
from mnist_tune.reports.styles import LOOKS, SHADES
from mnist_tune.reports.svg import FONT, inline
from mnist_tune.reports.table import MANY, ShownColumn, columns
from mnist_tune.reports.view import View
from mnist_tune.results.tables import as_csv
from mnist_tune.storage import Place

RELOAD_S = 30
"""Seconds after which a browser loads the page of a running sweep again."""

HINT = "Click a mark, a curve, a regime or a row; Shift adds."

SCRIPTS = ("start.js", "picture.js", "table.js", "follow.js")

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mnist_tune.reports", "page_parts"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: printable(value) if type(value) is str else value,
)


def write_page(sweeps: Sequence[Judged], where: Place) -> None:
    """Write the page of one or several sweeps, finished or running. Raises `UserError`
    if it can't be written."""
    content = page(sweeps).encode()
    with storage.attempt(f"write the page {where}", "; name another file"):
        storage.write(where, content)


def page(sweeps: Sequence[Judged]) -> str:
    """Return the page of one or several sweeps as HTML."""
    view = View(sweeps)
    script, css, shown = (
        "".join(map(part, SCRIPTS)),
        looks() + part("page.css"),
        columns(view),
    )
    with style.context(["default", FONT]):
        heads = [head(view, i) for i in range(len(sweeps))]
    noted = sum(len(one["notes"]) + len(one["failures"]) for one in heads)
    packed = gzip.compress(
        json.dumps(_page_data(view, shown), allow_nan=False).encode(), 6, mtime=0
    )
    html: str = ENVIRONMENT.get_template("page.html").render(
        title=" · ".join(view.titles) if len(sweeps) > 1 else title(sweeps[0]),
        heads=heads,
        measures=view.measures,
        by_measure=any(
            one["hidden"] and one["measure"]
            for head in heads
            for side in head["sides"]
            for one in side
        ),
        hint=_hint(view),
        rows_are=f"{len(view.settings)} rows, one for each {'range of rates' if sweeps[0].edges() else 'setting'}",
        columns=shown,
        health="How it ran: data, options, versions, times"
        + f" ({counted(noted, 'note')})" * bool(noted),
        css=Markup(css),
        css_hash=_hash(css),
        script=Markup(script),
        script_hash=_hash(script),
        data=base64.b64encode(packed).decode(),
    )
    return html


def part(name: str) -> str:
    """Return the text of a part of the page."""
    return (files("mnist_tune.reports") / "page_parts" / name).read_text(
        encoding="utf-8"
    )


def looks() -> str:
    """Return the colours of the page as CSS variables, for a light and for a dark
    ground."""
    light, dark = (
        "; ".join(f"--{name}: {one[ground]}" for name, one in SHADES.items())
        for ground in (0, 1)
    )
    own = "".join(f".{look} {{ --own: var(--{look}) }}\n" for look in LOOKS)
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{own}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _hint(view: View) -> str:
    if any(view.is_ranked(sweep) or sweep.edges() for sweep in view.sweeps) or not (
        view.has_seeds or view.accuracies
    ):
        return HINT
    bars = "where 95% of other sets of so many examples would put it"
    return f"{HINT} {'Dots are seeds; bars: 95% intervals of their means' if view.has_seeds else f'Pale bars: {bars}'}."


def head(view: View, number: int) -> dict[str, Any]:
    """Return what the page says and draws of one sweep."""
    sweep, found, name = (
        view.sweeps[number],
        facts(view.sweeps[number]),
        view.titles[number],
    )
    sides = charts(view, number)
    about = (found.get(one, "") for one in ("all with", "trials", "time"))
    live = view.running and sweep.record.ended is None
    return {
        "title": name,
        "context": " · ".join(filter(None, [name, title(sweep), *about])),
        "answer": view.answers[number],
        "notes": [*notes(sweep)],
        "failures": tuple(failures(sweep.trials)),
        "facts": found | ran(sweep),
        "repeated": [*repeated(sweep)],
        "epochs": sweep.trials[["epochs_run", "epochs_asked"]].sum().tolist()
        if live
        else (),
        "left": time_left(sweep),
        "choices": [chart.choice for chart in sides[1] if chart.choice],
        "sides": [
            [*drawings(view, side, f"{number}{i}", WIDTHS[i])]
            for i, side in enumerate(sides)
        ],
    }


def drawings(view: View, side: Sequence[Chart], salt: str, width: int) -> Any:
    """Yield each chart of a side as SVG, for a screen and for a phone: for each
    measure, if the sweep has ended, else for the first one."""
    for i, chart in enumerate(side):
        chosen = chart.choice == side[0].choice
        for one in (
            view.measures
            if chart.by_measure and not view.running
            else view.measures[:1]
        ):
            shown = {}
            for name, size in (("wide", (width, HEIGHT)), ("narrow", (NARROW, LOW))):
                figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)
                chart.draw(figure, one)
                shown[name] = Markup(inline(figure, f"{salt}{i}{one.column}{name}"))
            measure, hidden = (
                one.column if chart.by_measure else "",
                not chosen or one != view.measures[0],
            )
            yield shown | {"choice": chart.choice, "measure": measure, "hidden": hidden}


def _page_data(view: View, shown: Sequence[ShownColumn]) -> dict[str, Any]:
    """Return all that the page's script needs."""
    trials, cells = view.trials, zip(*(one.cells for one in shown), strict=True)
    rows = zip(view.settings.itertuples(), cells, strict=True)
    names = [
        name for name in trials if any(name in sweep.trials for sweep in view.sweeps)
    ]
    known = trials[
        [name for name in names if (trials[name].notna() & trials[name].ne("")).any()]
    ]
    errors, evidence = trials["error"].fillna(""), trials["regime_evidence"].fillna("")
    seeds, epochs = (trials[name].astype(str) for name in ("seed", "epochs_run"))
    said = zip(
        "seed " + seeds,
        "epoch " + epochs,
        trials["regime"],
        errors.mask(errors == "", evidence),
        strict=True,
    )
    return {
        "running": view.running,
        "written": round(1000 * time.time()) if view.running else 0,
        "reload": 1000 * RELOAD_S,
        "shown": MANY,
        "ids": trials["trial_id"].tolist(),
        "of": trials["setting"].tolist(),
        "looks": view.points["look"].tolist(),
        "rows": ENVIRONMENT.get_template("rows.html").render(rows=rows, columns=shown),
        "keys": [[*map(_number, one.keys or one.cells)] for one in shown],
        "rates": trials["learning_rate"].tolist(),
        "said": [printable(" · ".join(filter(None, one))) for one in said],
        "values": {
            one.column: [f"{one.title} {one.said(value)}" for value in one.of(trials)]
            for one in view.measures
        },
        "csv": printable(as_csv(known).split("\n")),
        "ends": [
            _short(np.array([one.axis.ends]), one.axis.log)[0]
            for one in view.measures[:1]
        ],
        "curves": {
            one.column: _short(view.curves[one.column], one.axis.log)
            for one in view.measures
        },
        "epochs": view.kept_epochs.tolist(),
    }


def _number(key: Any) -> Any:
    """Return a value, or None if it is no finite number: JSON has no others, and the
    script sorts None last."""
    return None if isinstance(key, float) and not math.isfinite(key) else key


def _short(values: np.ndarray, log: bool) -> list[list[float | None]]:
    """Return the values, or their logarithms to the base 10, in as few digits as are
    less than a pixel away."""
    found = np.round(np.log10(values) if log else values, 4)
    return [[*map(_number, row)] for row in found.tolist()]
