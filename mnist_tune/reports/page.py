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
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
import pandas as pd
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
from mnist_tune.reports.measures import Measure
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
    script = "".join(map(part, SCRIPTS))
    css = looks() + part("page.css")
    shown = columns(view)
    with style.context(["default", FONT]):
        heads = [head(view, i) for i in range(len(sweeps))]
    pictures = [picture for head in heads for side in head["sides"] for picture in side]
    health = "How it ran: data, options, versions, times"
    note_count = sum(len(head["notes"]) + len(head["failures"]) for head in heads)
    if note_count:
        health += f" ({counted(note_count, 'note')})"
    row = "range of rates" if sweeps[0].edges() else "setting"
    data = json.dumps(_page_data(view, shown), allow_nan=False).encode()
    html: str = ENVIRONMENT.get_template("page.html").render(
        title=" · ".join(view.titles) if len(sweeps) > 1 else title(sweeps[0]),
        heads=heads,
        measures=view.measures,
        by_measure=any(
            picture["hidden"] and picture["measure"] for picture in pictures
        ),
        hint=_hint(view),
        rows_are=f"{len(view.settings)} rows, one for each {row}",
        columns=shown,
        health=health,
        css=Markup(css),
        css_hash=_hash(css),
        script=Markup(script),
        script_hash=_hash(script),
        data=base64.b64encode(gzip.compress(data, 6, mtime=0)).decode(),
    )
    return html


def part(name: str) -> str:
    """Return the text of a part of the page."""
    path = files("mnist_tune.reports") / "page_parts" / name
    return path.read_text(encoding="utf-8")


def looks() -> str:
    """Return the colours of the page as CSS variables, for a light and for a dark
    ground."""
    light = "; ".join(f"--{name}: {shades[0]}" for name, shades in SHADES.items())
    dark = "; ".join(f"--{name}: {shades[1]}" for name, shades in SHADES.items())
    own = "".join(f".{look} {{ --own: var(--{look}) }}\n" for look in LOOKS)
    return (
        f":root {{ {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{own}"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()


def _hint(view: View) -> str:
    if any(view.is_ranked(sweep) or sweep.edges() for sweep in view.sweeps):
        return HINT
    if view.has_seeds:
        return f"{HINT} Dots are seeds; bars: 95% intervals of their means."
    if view.accuracies:
        bars = "where 95% of other sets of so many examples would put it"
        return f"{HINT} Pale bars: {bars}."
    return HINT


def head(view: View, number: int) -> dict[str, Any]:
    """Return what the page says and draws of one sweep."""
    sweep, name = view.sweeps[number], view.titles[number]
    setup = facts(sweep)
    about = [setup.get(fact, "") for fact in ("all with", "trials", "time")]
    epochs: Sequence[int] = ()
    if view.running and sweep.record.ended is None:
        epochs = sweep.trials[["epochs_run", "epochs_asked"]].sum().tolist()
    sides = charts(view, number)
    return {
        "title": name,
        "context": " · ".join(filter(None, [name, title(sweep), *about])),
        "answer": view.answers[number],
        "notes": [*notes(sweep)],
        "failures": tuple(failures(sweep.trials)),
        "facts": setup | ran(sweep),
        "repeated": [*repeated(sweep)],
        "epochs": epochs,
        "left": time_left(sweep),
        "choices": [chart.choice for chart in sides[1] if chart.choice],
        "sides": [
            [*drawings(view, side, f"{number}{i}", WIDTHS[i])]
            for i, side in enumerate(sides)
        ],
    }


def drawings(
    view: View, side: Sequence[Chart], salt: str, width: int
) -> Iterator[dict[str, Any]]:
    """Yield each chart of a side as SVG, for a screen and for a phone: for each
    measure, if the sweep has ended, else for the first one."""
    first = view.measures[:1]
    for i, chart in enumerate(side):
        changes = chart.by_measure and not view.running
        for measure in view.measures if changes else first:
            own = f"{salt}{i}{measure.column}"
            is_chosen = chart.choice == side[0].choice and measure == first[0]
            yield {
                "wide": _svg(chart, measure, f"{own}wide", width, HEIGHT),
                "narrow": _svg(chart, measure, f"{own}narrow", NARROW, LOW),
                "choice": chart.choice,
                "measure": measure.column if chart.by_measure else "",
                "hidden": not is_chosen,
            }


def _svg(chart: Chart, measure: Measure, salt: str, width: int, height: int) -> Markup:
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    chart.draw(figure, measure)
    return Markup(inline(figure, salt))


def _page_data(view: View, shown: Sequence[ShownColumn]) -> dict[str, Any]:
    """Return all that the page's script needs."""
    trials = view.trials
    cells = zip(*(column.cells for column in shown), strict=True)
    rows = zip(view.settings.itertuples(), cells, strict=True)
    values, curves = {}, {}
    for measure in view.measures:
        texts = map(measure.said, measure.of(trials))
        values[measure.column] = [f"{measure.title} {text}" for text in texts]
        curves[measure.column] = _short(view.curves[measure.column], measure.axis.log)
    ends = [(measure.axis.ends, measure.axis.log) for measure in view.measures[:1]]
    return {
        "running": view.running,
        "written": round(1000 * time.time()) if view.running else 0,
        "reload": 1000 * RELOAD_S,
        "shown": MANY,
        "ids": trials["trial_id"].tolist(),
        "of": trials["setting"].tolist(),
        "looks": view.points["look"].tolist(),
        "rows": ENVIRONMENT.get_template("rows.html").render(rows=rows, columns=shown),
        "keys": [[*map(_number, column.keys or column.cells)] for column in shown],
        "rates": trials["learning_rate"].tolist(),
        "said": _about_trials(trials),
        "values": values,
        "csv": printable(as_csv(_recorded(view)).split("\n")),
        "ends": [_short(np.array([pair]), log)[0] for pair, log in ends],
        "curves": curves,
        "epochs": view.kept_epochs.tolist(),
    }


def _about_trials(trials: pd.DataFrame) -> list[str]:
    """Return what is said of each trial where its mark or its curve is pointed at."""
    seeds = "seed " + trials["seed"].astype(str)
    epochs = "epoch " + trials["epochs_run"].astype(str)
    errors, evidence = trials["error"].fillna(""), trials["regime_evidence"].fillna("")
    reasons = errors.mask(errors == "", evidence)
    parts = zip(seeds, epochs, trials["regime"], reasons, strict=True)
    return [printable(" · ".join(filter(None, texts))) for texts in parts]


def _recorded(view: View) -> pd.DataFrame:
    """Return the trials with the columns of their sweeps that say something."""
    trials = view.trials
    recorded = {name for sweep in view.sweeps for name in sweep.trials}
    names = [name for name in trials if name in recorded]
    has_any = [(trials[name].notna() & trials[name].ne("")).any() for name in names]
    return trials[
        [name for name, has_values in zip(names, has_any, strict=True) if has_values]
    ]


def _number(key: Any) -> Any:
    """Return a value, or None if it is no finite number: JSON has no others, and the
    script sorts None last."""
    if isinstance(key, float) and not math.isfinite(key):
        return None
    return key


def _short(values: np.ndarray, log: bool) -> list[list[float | None]]:
    """Return the values, or their logarithms to the base 10, in as few digits as are
    less than a pixel away."""
    places = np.log10(values) if log else values
    return [[*map(_number, row)] for row in np.round(places, 4).tolist()]
