"""Write the page of a sweep: one HTML file that needs no network, in which every figure is linked to every other.

The structure is `page.html`, the looks `page.css`, and `page.js` links what Bokeh draws. The same results give the
same bytes, unless the sweep is running: then the page says when it was written.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jinja2
import numpy as np
from bokeh.document import Document
from bokeh.resources import Resources
from markupsafe import Markup

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.regimes.replicates import counts
from mnist_tune.reports.findings import Kind, findings, nodes, of, title
from mnist_tune.reports.page_data import PageData
from mnist_tune.reports.page_figures import HEAD_HEIGHT, ROWS, part, sections, ticks, trial_table
from mnist_tune.reports.styles import COLOURS, GROUNDS, MEANINGS, OUTLINES, PAGE_MARKERS
from mnist_tune.reports.trial_table import ABOUT, DETAILS, PAGE, fields, heading
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place
from mnist_tune.terminal import printable

MOST_LINES = 300
"""The most curves of selected trials that are drawn one by one."""

RELOAD_S = 30
"""Seconds after which a browser loads the page of a running sweep again."""

BOKEH = Resources(mode="inline", components=["bokeh", "bokeh-widgets", "bokeh-tables"], minified=True)

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
    data = PageData(sweeps)
    drawn = sections(data) if data.metrics else []
    shown, document = fields(data.trials, PAGE), Document()
    figures = [chart.figure for _, charts in drawn for chart in charts if chart.figure is not None]
    with document.models.freeze():  # else Bokeh looks at all models again for each figure
        for root in (*figures, trial_table(data.trials)):
            document.add_root(root)
    html: str = ENVIRONMENT.get_template("page.html").render(
        title=title(sweeps, data.titles),
        titles=data.titles,
        heads=[
            {kind.value: of(found, kind) for kind in Kind} | {"title": name, "nodes": nodes(sweep.epochs)}
            for sweep, name in zip(sweeps, data.titles, strict=True)
            for found in [findings(sweep)]
        ],
        counts=counts(data.trials["regime"]),
        colours=COLOURS,
        meanings=MEANINGS,
        grounds=GROUNDS,
        outlines=OUTLINES,
        metrics=data.metrics,
        marks=data.marks,
        sections=[
            # Charts that follow each other under the same heading stand together, with their choice.
            (one, [(*key, list(part)) for key, part in groupby(charts, lambda chart: (chart.choice, chart.heading))])
            for one, charts in drawn
        ],
        running=data.running,
        head=[heading(one, data.trials) for one in shown],
        rows=list(zip(*(one.said(data.trials.head(ROWS)) for one in shown), strict=True)),
        total=len(data.trials),
        css=Markup(part("page.css")),
        # Bokeh's own scripts. Formulas are left out: nothing here has any, and they have 1.8 MB.
        bokeh=[Markup(re.sub("(?i)</(?=script)", r"<\\/", code)) for code in BOKEH.js_raw],
        document=Markup(_renumbered(document).replace("<", "\\u003c")),  # so that no text in it ends its element
        data=base64.b64encode(gzip.compress(json.dumps(_page_data(data), allow_nan=False).encode(), mtime=0)).decode(),
        script=Markup(part("page.js")),
    )
    return html


def _renumbered(document: Document) -> str:
    """Return the document as JSON with ids that count from 1: Bokeh's go on from document to document."""
    ids: dict[str, str] = {}

    def renamed(value: dict[str, Any]) -> dict[str, Any]:
        old = value.get("id")
        return value | {"id": ids.setdefault(old, f"m{len(ids) + 1}")} if isinstance(old, str) else value

    named = json.loads(json.dumps(document.to_json(deferred=False)), object_hook=renamed)
    return json.dumps(named, allow_nan=False, separators=(",", ":"))


def _page_data(data: PageData) -> dict[str, Any]:
    """Return all that the page's script needs."""
    trials, details = data.trials, fields(data.trials, DETAILS)
    shown = {one.name: one for one in (*details, *fields(trials, PAGE))}
    columns = {name: one.values(trials) for name, one in shown.items()}
    columns |= {one.column: trials[one.column].to_numpy(float) for one in data.metrics}
    numbers = [name for name, column in columns.items() if isinstance(column, np.ndarray)]
    return {
        "running": data.running,
        "written": round(1000 * time.time()) if data.running else 0,
        "reload": 1000 * RELOAD_S,
        "few": data.few,
        "most": MOST_LINES,
        "colours": COLOURS,
        "markers": PAGE_MARKERS,
        "sweeps": len(data.sweeps),
        "ids": trials["trial_id"].tolist(),
        "sweep": trials["sweep"].tolist(),
        "number": trials["number"].tolist(),
        "columns": {name: _held(column) for name, column in columns.items()},
        "numbers": numbers,
        "said": {name: one.said(trials) for name, one in shown.items() if name in numbers},
        "details": [(one.name, one.called, ABOUT.get(one.name, "")) for one in details],
        "rows": ROWS,
        "head_height": HEAD_HEIGHT,
        "metrics": [vars(metric) | {"ticks": ticks(metric.start, metric.end)} for metric in data.metrics],
        "curves": {metric.key: _logarithms(data.curves[metric.key]) for metric in data.metrics},
        "epochs": data.kept_epochs.tolist(),
        "settings": {f"at_{one.name}": one.places.tolist() for one in data.settings},
    }


def _held(values: np.ndarray | list[str]) -> Any:
    """Return a column for JSON, which has neither NaN nor infinity: they become null, and texts that a script reads."""
    if isinstance(values, list):
        return printable(values)
    said = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return [None if math.isnan(value) else said.get(value, value) for value in values.tolist()]


def _logarithms(values: np.ndarray) -> list[list[int | None]]:
    """Return ten thousand times the logarithms of values to the base 10: whole numbers are short, and less than a pixel
    away."""
    known = np.isfinite(values)
    codes = np.full(values.shape, None, dtype=object)
    codes[known] = np.round(1e4 * np.log10(values[known])).astype(int)
    found: list[list[int | None]] = codes.tolist()
    return found
