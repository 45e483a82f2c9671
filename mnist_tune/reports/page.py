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
from mnist_tune.columns import OWN_SCORE
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
from mnist_tune.results.arguments import TAKEN, with_arguments
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
        heads = [head(view, number) for number in range(len(sweeps))]
    name = title(sweeps[0])
    if len(sweeps) > 1:
        name = " · ".join(view.titles)
    row = "setting"
    if sweeps[0].edges():
        row = "range of rates"
    data = json.dumps(_page_data(view, shown), allow_nan=False)
    packed = gzip.compress(data.encode(), 6, mtime=0)
    template = ENVIRONMENT.get_template("page.html")
    html: str = template.render(
        title=name,
        heads=heads,
        measures=view.measures,
        by_measure=_has_measures_to_choose(heads),
        hint=_hint(view),
        rows_are=f"{len(view.settings)} rows, one for each {row}",
        columns=shown,
        health=_health(heads),
        css=Markup(css),
        css_hash=_hash(css),
        script=Markup(script),
        script_hash=_hash(script),
        data=base64.b64encode(packed).decode(),
    )
    return html


def _has_measures_to_choose(heads: Sequence[dict[str, Any]]) -> bool:
    """Return whether a chart is drawn for several measures."""
    for head in heads:
        for side in head["sides"]:
            if any(chart["hidden"] and chart["measure"] for chart in side):
                return True
    return False


def _health(heads: Sequence[dict[str, Any]]) -> str:
    """Return the title of what is said of how sweeps ran, with how many notes."""
    text = "How it ran: data, options, versions, times"
    count = 0
    for head in heads:
        count += len(head["notes"]) + len(head["failures"])
    if count:
        text += f" ({counted(count, 'note')})"
    return text


def part(name: str) -> str:
    """Return the text of a part of the page."""
    path = files("mnist_tune.reports") / "page_parts" / name
    return path.read_text(encoding="utf-8")


def looks() -> str:
    """Return the colours of the page as CSS variables, for a light and for a dark
    ground."""
    light = [f"--{name}: {shade}" for name, (shade, _) in SHADES.items()]
    dark = [f"--{name}: {shade}" for name, (_, shade) in SHADES.items()]
    screen = "@media screen and (prefers-color-scheme: dark)"
    rules = [
        f":root {{ {'; '.join(light)} }}",
        f"{screen} {{ :root {{ {'; '.join(dark)} }} }}",
    ]
    rules += [f".{look} {{ --own: var(--{look}) }}" for look in LOOKS]
    return "\n".join(rules) + "\n"


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
    context = [name, title(sweep)]
    for fact in ("all with", "trials", "time"):
        context.append(setup.get(fact, ""))
    epochs: Sequence[int] = ()
    if view.running and sweep.record.ended is None:
        epochs = sweep.trials[["epochs_run", "epochs_asked"]].sum().tolist()
    sides = charts(view, number)
    choices = [chart.choice for chart in sides[1] if chart.choice]
    drawn = []
    for i, side in enumerate(sides):
        pictures = drawings(view, side, f"{number}{i}", WIDTHS[i])
        drawn.append(list(pictures))
    return {
        "title": name,
        "context": " · ".join(filter(None, context)),
        "answer": view.answers[number],
        "notes": [*notes(sweep)],
        "failures": tuple(failures(sweep.trials)),
        "facts": setup | ran(sweep),
        "repeated": [*repeated(sweep)],
        "epochs": epochs,
        "left": time_left(sweep),
        "choices": choices,
        "sides": drawn,
    }


def drawings(
    view: View, side: Sequence[Chart], salt: str, width: int
) -> Iterator[dict[str, Any]]:
    """Yield each chart of a side as SVG, for a screen and for a phone: for each
    measure, if the sweep has ended, else for the first one."""
    for i, chart in enumerate(side):
        measures = view.measures
        if view.running or not chart.by_measure:
            measures = measures[:1]
        for measure in measures:
            own = f"{salt}{i}{measure.column}"
            is_first_measure = measure == view.measures[0]
            is_chosen = is_first_measure and chart.choice == side[0].choice
            yield {
                "wide": _svg(chart, measure, f"{own}wide", width, HEIGHT),
                "narrow": _svg(chart, measure, f"{own}narrow", NARROW, LOW),
                "choice": chart.choice,
                "measure": measure.column if chart.by_measure else "",
                "hidden": not is_chosen,
            }


def _svg(chart: Chart, measure: Measure, salt: str, width: int, height: int) -> Markup:
    inches = width / 72, height / 72
    figure = Figure(figsize=inches, dpi=72)
    chart.draw(figure, measure)
    return Markup(inline(figure, salt))


def _page_data(view: View, shown: Sequence[ShownColumn]) -> dict[str, Any]:
    """Return all that the page's script needs."""
    trials = view.trials
    values, curves = {}, {}
    for measure in view.measures:
        column = measure.column
        texts = map(measure.said, measure.of(trials))
        values[column] = [f"{measure.title} {text}" for text in texts]
        curves[column] = _short(view.curves[column], measure.axis.log)
    ends = []
    for measure in view.measures[:1]:
        pair = np.array([measure.axis.ends])
        ends += _short(pair, measure.axis.log)
    written = 0
    if view.running:
        written = round(1000 * time.time())
    sort_keys = []
    for shown_column in shown:
        keys = shown_column.keys or shown_column.cells
        sort_keys.append([*map(_number, keys)])
    csv = as_csv(_recorded(view))
    return {
        "running": view.running,
        "written": written,
        "reload": 1000 * RELOAD_S,
        "shown": MANY,
        "ids": trials["trial_id"].tolist(),
        "of": trials["setting"].tolist(),
        "looks": view.points["look"].tolist(),
        "rows": _rows(view, shown),
        "keys": sort_keys,
        "rates": trials["learning_rate"].tolist(),
        "said": _about_trials(trials),
        "values": values,
        "csv": printable(csv.split("\n")),
        "ends": ends,
        "curves": curves,
        "epochs": view.kept_epochs.tolist(),
    }


def _rows(view: View, shown: Sequence[ShownColumn]) -> str:
    """Return the rows of the table as HTML."""
    cells = zip(*(column.cells for column in shown), strict=True)
    rows = zip(view.settings.itertuples(), cells, strict=True)
    template = ENVIRONMENT.get_template("rows.html")
    html: str = template.render(rows=rows, columns=shown)
    return html


def _about_trials(trials: pd.DataFrame) -> list[str]:
    """Return what is said of each trial where its mark or its curve is pointed at."""
    seeds = "seed " + trials["seed"].astype(str)
    epochs = "epoch " + trials["epochs_run"].astype(str)
    errors = trials["error"].fillna("")
    evidence = trials["regime_evidence"].fillna("")
    reasons = errors.mask(errors == "", evidence)
    abouts = []
    for texts in zip(seeds, epochs, trials["regime"], reasons, strict=True):
        about = " · ".join(filter(None, texts))
        abouts.append(printable(about))
    return abouts


def _recorded(view: View) -> pd.DataFrame:
    """Return the trials with the columns of their sweeps that say something."""
    trials = view.trials
    names = []
    for name in trials:
        # an argument may have the name of a column of the view's own
        if name not in TAKEN and not name.startswith(OWN_SCORE):
            continue
        column = trials[name]
        says_something = column.notna() & column.ne("")
        if says_something.any():
            names.append(name)
    return with_arguments(trials[names])


def _number(key: Any) -> Any:
    """Return a value, or None if it is no finite number: JSON has no others, and the
    script sorts None last."""
    if isinstance(key, float) and not math.isfinite(key):
        return None
    return key


def _short(values: np.ndarray, log: bool) -> list[list[float | None]]:
    """Return the values, or their logarithms to the base 10, in as few digits as are
    less than a pixel away."""
    places = values
    if log:
        places = np.log10(values)
    rounded = np.round(places, 4).tolist()
    return [[*map(_number, row)] for row in rounded]
