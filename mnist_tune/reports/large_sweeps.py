"""Many trials in few lines: neighbouring learning rates of an architecture share one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from mnist_tune.regimes.labels import REGIMES
from mnist_tune.reports.styles import COLOURS

MANY = 60
"""A table, or a list, of more lines than this is condensed."""

LINES = 24
"""Of a condensed table, shared out among the architectures."""


def bins(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Architecture and rows of each range of learning rates, in order.

    The ranges of an architecture hold equally many different rates, and are not equally wide: a searcher's rates
    pile up where there is something to see. An architecture has one range at least, so that there are at most
    `MANY` architectures; the others are left out.
    """
    families = list(rows.groupby("architecture"))[:MANY]
    for architecture, family in families:
        rates = np.unique(family["learning_rate"])
        count = min(len(rates), max(1, LINES // len(families)))
        starts = [part[0] for part in np.array_split(rates, count)]
        for _, part in family.groupby(np.searchsorted(starts, family["learning_rate"], side="right")):
            yield str(architecture), part


def condensed_table(trials: pd.DataFrame) -> Table:
    """The trials table of a large sweep: a line a range of learning rates, with medians of the accuracies."""
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    several = trials["architecture"].nunique() > 1
    for name in (*["architecture"] * several, "learning rates", "trials", "epochs", "train acc", "test acc"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("stopped", "regimes"):
        table.add_column(name, ratio=1 + (name == "regimes"))
    for architecture, part in bins(trials):
        cells = [escape(architecture)] * several + [_rates(part), str(len(part)), _span(part["epochs_run"])]
        for name in ("train_accuracy", "test_accuracy"):
            middle = part[name].astype(float).median()
            cells.append("-" if np.isnan(middle) else f"{middle:.4f}")
        stopped, regimes = part["stop_reason"].value_counts(), part["regime"].value_counts()
        cells.append(", ".join(f"{count} {escape(reason)}" for reason, count in stopped.items()))
        cells.append(", ".join(f"[{COLOURS[name]}]{regimes[name]} {name}[/]" for name in REGIMES if name in regimes))
        table.add_row(*cells)
    return table


def condensed_replicates(summary: pd.DataFrame) -> pd.DataFrame:
    """The table of `summarise_replicates`, a row a range of learning rates: medians over its configurations."""
    rows = []
    for architecture, part in bins(summary):
        row = {"architecture": architecture, "learning rates": _rates(part), "configurations": len(part)}
        row["replicates"] = _span(part["replicates"])
        row["converged"] = f"{part['converged_share'].median():.0%}"
        rows.append(row | part.filter(like="_accuracy_").median().to_dict())
    return pd.DataFrame(rows)


def cut(lines: list[str], count: int, rest: str) -> list[str]:
    """The first lines, and how many more there are."""
    left = len(lines) - count
    return lines if left <= 0 else [*lines[:count], f"... and {left} more {rest}"]


def _rates(part: pd.DataFrame) -> str:
    return _span(part["learning_rate"], " – ")


def _span(values: pd.Series, to: str = "–") -> str:
    low, high = (f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}{to}{high}"
