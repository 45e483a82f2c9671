"""Write the page of a sweep: one HTML file that needs no network, in which every figure is linked to every other.

The structure is `page.html`, the looks `page.css`, and `page.js` links what Bokeh draws. The same results give the
same bytes, unless the sweep is running: then the page says when it was written.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from bokeh.document import Document
from bokeh.resources import Resources
from markupsafe import Markup

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.numbers import rate
from mnist_tune.reports.findings import Kind, findings, nodes, of, title
from mnist_tune.reports.importances import Importances, importances
from mnist_tune.reports.metrics import quantised
from mnist_tune.reports.page_data import PageData, Setting
from mnist_tune.reports.page_edges import edge_facts, edge_figure, rate_marks
from mnist_tune.reports.page_figures import (
    curve_figure,
    mean_figure,
    ranges_of,
    setting_map,
    share_figure,
    trial_map,
)
from mnist_tune.reports.page_table import HEAD_HEIGHT, ROWS, details, first_rows, named, trial_table
from mnist_tune.reports.prepared import counts, mark, with_epochs
from mnist_tune.reports.prepared_edge import PreparedEdge
from mnist_tune.reports.styles import COLOURS, GROUNDS, MEANINGS, OUTLINES, PAGE_MARKERS
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place
from mnist_tune.terminal import printable

MOST_LINES = 300
"""The most curves of selected trials that are drawn one by one."""

RELOAD_S = 30
"""Seconds after which a browser loads the page of a running sweep again."""


def write_page(sweeps: Sequence[Tables], where: Place) -> None:
    """Write the page of one or several sweeps.

    Args:
        sweeps: the sweeps, finished or running.
        where: the file.

    Raises:
        UserError: the file can't be written.
    """
    content = page(sweeps).encode()
    try:
        storage.write(where, content)
    except OSError as error:
        raise UserError(f"can't write the page {where}: {storage.reason(error)}; name another file") from None


def page(sweeps: Sequence[Tables]) -> str:
    """Return the page of one or several sweeps as HTML."""
    data = PageData(sweeps, list(rate_marks(sweeps)))
    edges = [PreparedEdge(edge) for sweep in sweeps for edge in sweep.edges()]
    drawn = bool((data.trials["epochs_run"] > 0).any())
    columns = details(data)
    document = _document(data, drawn, list(columns), edges)
    titles, rows = first_rows(data)
    html: str = _template().render(
        title=printable(title(sweeps, data.titles)),
        titles=[printable(name) for name in data.titles],
        heads=[_printable(_head(sweep, name)) for sweep, name in zip(sweeps, data.titles, strict=True)],
        counts=counts(data.trials),
        colours=COLOURS,
        meanings=MEANINGS,
        grounds=GROUNDS,
        outlines={regime: OUTLINES[shape] for regime, shape in PAGE_MARKERS.items()},
        metrics=data.metrics,
        settings=data.settings,
        importances=_importances(data) if data.settings and not data.running else None,
        shares=len(data.shares) if drawn else 0,
        pooled=len(data.pooled) if drawn else 0,
        means=len(data.mean_curves) if drawn else 0,
        marks=[_printable(one) for one in data.marks],
        edges=[_printable(edge_facts(edge)) for edge in edges],
        drawn=drawn,
        running=data.running,
        few=data.few,
        head=titles,
        rows=rows,
        total=len(data.trials),
        css=Markup(_part("page.css")),
        bokeh=[Markup(code) for code in _bokeh_code()],
        document=_in_script(document),
        data=_in_script(_page_data(data, drawn, columns)),
        script=Markup(_part("page.js")),
    )
    return html


def _head(sweep: Tables, name: str) -> dict[str, Any]:
    """Return what the page says of a sweep in words: its findings by their kind, and what its nodes did."""
    found = findings(sweep)
    said = {kind.value: [vars(one) for one in of(found, kind)] for kind in Kind}
    return said | {"title": name, "nodes": nodes(sweep.epochs)}


def _document(data: PageData, drawn: bool, columns: Sequence[str], edges: Sequence[PreparedEdge]) -> Any:
    """Return the figures as Bokeh's JSON, each root with the name of the element that holds it."""
    document = Document()
    if drawn:
        shared = ranges_of("map"), ranges_of("curves")
        style = mark(len(with_epochs(data.trials)))
        for i in range(len(data.sweeps)):
            marks = [one for one in data.marks if one.sweep == i]
            document.add_root(trial_map(f"map-{i}", shared[0], marks, *style))
            document.add_root(curve_figure(f"curves-{i}", shared[1]))
        for setting in data.settings:
            document.add_root(setting_map(f"setting-{setting.name}", setting, *style))
        if len(data.shares):
            document.add_root(share_figure("shares"))
        if data.mean_curves:
            document.add_root(mean_figure("means"))
        for i, edge in enumerate(edges):
            document.add_root(edge_figure(f"edge-{i}", edge))
    document.add_root(trial_table(data, columns))
    return _renumbered(document.to_json(deferred=False))


def _renumbered(document: Any) -> Any:
    """Return the document with ids that count from 1: Bokeh's go on from document to document."""
    ids: dict[str, str] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: new(item) if key == "id" else renamed(item) for key, item in value.items()}
        return [renamed(item) for item in value] if isinstance(value, (list, tuple)) else value

    def new(old: Any) -> Any:
        return ids.setdefault(old, f"m{len(ids) + 1}") if isinstance(old, str) else old

    return renamed(document)


def _page_data(data: PageData, drawn: bool, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the page's script needs."""
    trials = data.trials
    found: dict[str, Any] = {
        "running": data.running,
        "written": round(1000 * time.time()) if data.running else 0,
        "reload": 1000 * RELOAD_S,
        "few": data.few,
        "most": MOST_LINES,
        "colours": COLOURS,
        "markers": PAGE_MARKERS,
        "sweeps": len(data.sweeps),
        "ids": trials["trial_id"].tolist(),
        "sweep": _stored(trials["sweep"].to_numpy(), "<f4"),
        "rates": _stored(np.log10(trials["learning_rate"].to_numpy(float)), "<f4"),
        "columns": {name: _column(values) for name, values in columns.items()},
        "named": named(columns),
        "rows": ROWS,
        "head_height": HEAD_HEIGHT,
    }
    if not drawn:
        return found
    return found | {
        "metrics": [_metric(data, metric) for metric in data.metrics],
        "curves": {metric.key: _curves(data, metric.key) for metric in data.metrics if metric.key == metric.curve},
        "epochs": data.kept_epochs.tolist(),
        "bands": [{key: [_band(band) for band in bands] for key, bands in of.items()} for of in data.bands],
        "settings": {setting.name: _stored(_spread(setting), "<f4") for setting in data.settings},
        "shares": _shares(data),
        "means": _means(data),
    }


def _metric(data: PageData, metric: Any) -> dict[str, Any]:
    axis = data.axes[metric.key]
    about = {"key": metric.key, "title": metric.title, "log": metric.log, "column": metric.column}
    about |= {"error": metric.error, "curve": metric.curve}
    return about | {"start": axis.start, "end": axis.end, "top": axis.top, "places": _stored(axis.places, "<f4")}


def _curves(data: PageData, key: str) -> dict[str, Any]:
    numbers, low, step = quantised(data.curves[key])
    return {"low": low, "step": step, "codes": _stored(numbers, "<u2")}


def _band(band: Any) -> dict[str, Any]:
    parts = {name: _numbers(getattr(band, name)) for name in ("epochs", "low", "middle", "high")}
    return {"regime": band.regime, "trials": band.trials, **parts}


def _spread(setting: Setting) -> np.ndarray:
    """Return a setting's places; trials of a group are spread within it, evenly by the golden ratio."""
    if not setting.groups:
        return setting.places
    within: np.ndarray = np.arange(len(setting.places)) * 0.618034 % 1 - 0.5
    return setting.places + 0.5 * within


def _shares(data: PageData) -> list[dict[str, Any]]:
    rows = []
    for row in (data.pooled if len(data.pooled) else data.shares).itertuples():
        low, high = row.converged_low, row.converged_high
        place = {"x": float(np.log10(row.beside)), "share": row.converged_share, "low": float(low), "high": float(high)}
        said = {"said": f"{row.converged} ({low:.0%} to {high:.0%})"}
        if len(data.pooled):
            said |= {"rate": f"{rate(row.first)} to {rate(row.last)}", "family": "all"}
        else:
            family = printable(f"{row.label} {row.architecture}".strip())
            said |= {"rate": rate(row.learning_rate), "family": family}
        rows.append(place | said)
    return rows


def _means(data: PageData) -> list[dict[str, Any]]:
    return [_band(curve) | {"rate": rate(curve.learning_rate)} for curve in data.mean_curves]


def _importances(data: PageData) -> Importances | str:
    return importances(data.trials, ["learning_rate", *data.varied])


def _numbers(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 5) if np.isfinite(value) else None for value in values]


def _column(values: Any) -> Any:
    """Return a column of the trials: what is the same in all trials once, texts that repeat by their number."""
    if isinstance(values, np.ndarray):
        constant = len(values) > 0 and bool((values == values[0]).all())
        return {"all": float(values[0])} if constant and np.isfinite(values[0]) else _stored(values, "<f8")
    names = list(dict.fromkeys(values))
    number = {name: i for i, name in enumerate(names)}
    return {"names": names, "codes": _stored(np.array([number[value] for value in values]), "<u2")}


def _stored(values: np.ndarray, kind: str) -> dict[str, str]:
    """Return an array as base64: exact and short, and NaN and infinity stay what they are."""
    return {kind[1:]: base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()}


def _in_script(value: Any) -> Markup:
    """Return a value as JSON that nothing in it can end: not `</script>`, not the line ends of JavaScript."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _printable(value: Any) -> Any:
    """Return a (nested) tuple, list or mapping with its texts printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_printable, value))
    return type(value)(map(_printable, value)) if isinstance(value, (list, tuple)) else value


def _bokeh_code() -> list[str]:
    """Return Bokeh's own scripts. Formulas are left out: nothing here has any, and they have 1.8 MB."""
    inline = Resources(mode="inline", components=["bokeh", "bokeh-widgets", "bokeh-tables"], minified=True)
    return [re.sub("(?i)</(?=script)", r"<\\/", code) for code in inline.js_raw]


def _part(name: str) -> str:
    return (files("mnist_tune.reports") / "page_parts" / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_part("page.html"))
