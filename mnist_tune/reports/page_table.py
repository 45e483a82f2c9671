"""The page's table of trials: its columns, and what each trial's details say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from bokeh.models import BooleanFilter, CDSView, DataTable, HTMLTemplateFormatter, InlineStyleSheet, TableColumn

from mnist_tune.columns import TRIALS
from mnist_tune.numbers import rate
from mnist_tune.reports.page_data import PageData
from mnist_tune.reports.page_figures import empty
from mnist_tune.reports.trial_table import FIELDS, heading
from mnist_tune.terminal import printable

REACHES = next(one for one in FIELDS if one.name == "reaches")

ROWS = 25
"""Rows that are seen at a time."""

ROW_HEIGHT, HEAD_HEIGHT = 26, 45
"""The height of a row, and of all that is above the first one, in pixels."""

DETAILS = (
    "learning_rate seed data_seed regime evidence reaches_said target epochs_run epochs_asked train_accuracy "
    "test_accuracy validation_accuracy train_loss test_loss validation_loss best_test_accuracy best_epoch "
    "diverged_at_step stop_reason curve_regime node device compile_s train_s eval_s wait_s"
).split()
"""The columns that a trial's details show, where the sweep has them, and that are downloaded."""

TITLES = {
    "reaches_said": "reaches the target in epoch",
    "epochs_run": "epochs",
    "epochs_asked": "epochs asked for",
    "best_epoch": "best test accuracy in epoch",
    "stop_reason": "ended because",
    "curve_regime": "regime without its siblings",
    "compile_s": "compiled for, in s",
    "train_s": "trained for, in s",
    "eval_s": "evaluated for, in s",
    "wait_s": "waited for, in s",
}
"""What the details call a column whose name would not say it."""


class Field(NamedTuple):
    """A column of the table."""

    name: str
    title: str
    width: int
    template: str = "<%- value %>"
    """What a cell holds; `<%- %>` escapes a column of the same row."""


def details(data: PageData) -> dict[str, Any]:
    """Return the columns that the page holds for each trial: names to numbers, or to lists of texts."""
    trials = data.trials
    said = {"trial": trials["own_id"], "learning_rate": trials["learning_rate"]}
    said |= {name: trials[name] for name in ("label", *data.varied) if name != "sweep" and (trials[name] != "").any()}
    if data.several:
        said["sweep_name"] = trials["sweep"].map(dict(enumerate(data.titles)))
    evidence = trials["error"].fillna("").where(trials["error"].fillna("") != "", trials["regime_evidence"])
    said |= {"evidence": evidence, "reaches_said": REACHES.said(trials)}
    known = {name: trials[name] for name in (*DETAILS, "reaches") if name in trials and trials[name].notna().any()}
    return {name: _column(pd.Series(values)) for name, values in (said | known).items()}


def named(columns: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return for each of these columns what the details call it, and the sentence that explains it."""
    about = {column.name: column.about for column in TRIALS}
    about["reaches_said"] = about["reaches"]
    return {name: (TITLES.get(name, name.replace("_", " ")), about.get(name, "")) for name in columns}


def _column(values: pd.Series) -> Any:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=float, na_value=math.nan)
    return [printable("" if pd.isna(value) else str(value)) for value in values]


def fields(data: PageData) -> list[Field]:
    """Return the columns of the table, those in which the trials differ first."""
    trials = data.trials
    found = [Field("sweep_name", "sweep", 110)] * data.several
    found += [Field("label", "label", 110)] * bool((trials["label"] != "").any())
    found += [Field(name, name.replace("_", " "), 130) for name in data.varied if name not in ("sweep", "epochs_asked")]
    found.append(Field("learning_rate", "rate", 80, "<%- page.plain(value) %>"))
    found += [Field("seed", "seed", 60)] * (trials["seed"].nunique() > 1)
    swatch = '<i class="swatch" style="background:<%- page.colours[value] %>"></i><%- value %>'
    found.append(Field("regime", "regime", 120, swatch))
    found.append(Field("epochs_run", "epochs", 70, "<%- value %>/<%- epochs_asked %>"))
    splits = [("train", "train"), ("test", "test")]
    splits += [("validation", "held out")] * bool(trials["validation_accuracy"].notna().any())
    if (trials["epochs_run"] > 0).any():
        found += [Field(f"{name}_accuracy", said, 80, "<%- page.fixed(value) %>") for name, said in splits]
        found += [Field("reaches", heading(REACHES, trials), 100, "<%- reaches_said %>")] * REACHES.shows(trials)
    return [
        *found,
        Field("stop_reason", "stopped", 100),
        Field("evidence", "evidence", 420),
        Field("trial", "trial", 80),
    ]


def trial_table(data: PageData, names: Sequence[str]) -> DataTable:
    """Return the table of these columns of `details`; it comes without rows, as the figures do."""
    columns = [
        TableColumn(
            field=one.name, title=one.title, width=one.width, formatter=HTMLTemplateFormatter(template=one.template)
        )
        for one in fields(data)
    ]
    source = empty("table-trials", names)
    rows = min(max(len(data.trials), 1), ROWS)
    table = DataTable(source=source, columns=columns, view=CDSView(filter=BooleanFilter(name="table-shown")))
    table.update(name="table", index_position=None, row_height=ROW_HEIGHT, height=ROW_HEIGHT * rows + HEAD_HEIGHT)
    table.update(sizing_mode="stretch_width", autosize_mode="none", selectable=True, sortable=True, reorderable=False)
    table.stylesheets = [InlineStyleSheet(css=STYLE)]
    return table


STYLE = """
:host, .slick-viewport, .slick-row, .slick-header { background: var(--ground); color: var(--ink); }
.slick-header-column { background: var(--panel) !important; color: var(--ink) !important; font-weight: 600; }
.slick-header-columns { border-bottom: 0 !important; }
.slick-cell { border-color: var(--line) !important; background: var(--ground); color: var(--ink); }
.slick-row.odd .slick-cell { background: var(--panel); }
.slick-cell.selected, .slick-row.odd .slick-cell.selected, .slick-row:hover .slick-cell { background: var(--chosen); }
.swatch { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border-radius: 2px; }
"""
"""Bokeh's tables live in a tree of their own, which inherits nothing but these variables."""


def first_rows(data: PageData) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the first rows of the table as text: what is printed, and seen without JavaScript."""
    shown = fields(data)
    reaches = REACHES.said(data.trials)
    said: dict[str, Callable[[Any], str]] = {
        "learning_rate": lambda row: rate(row.learning_rate),
        "epochs_run": _epochs,
        "reaches": lambda row: reaches[row.Index],
    }
    said |= {"evidence": lambda row: row.error or row.regime_evidence, "trial": lambda row: row.own_id}
    said |= {"sweep_name": lambda row: data.titles[row.sweep]}
    rows = [
        [printable(said[one.name](row) if one.name in said else _text(getattr(row, one.name))) for one in shown]
        for row in data.trials.head(ROWS).itertuples()
    ]
    return [one.title for one in shown], rows


def _epochs(row: Any) -> str:
    return f"{row.epochs_run}/{row.epochs_asked}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4f}" if abs(value) <= 1 else f"{value:.4g}"
    return str(value)
