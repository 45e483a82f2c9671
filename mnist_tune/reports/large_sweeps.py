"""Summarise a large sweep in few lines: each line is a range of learning rates of one family."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from mnist_tune.regimes.conclusions import varied
from mnist_tune.regimes.families import families
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.reports.prepared import range_of
from mnist_tune.reports.styles import COLOURS

MANY = 60
"""Tables and lists with more lines than this are condensed."""

LINES = 24
"""Lines of a condensed table, shared among the families."""


def bins(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title of the family and the rows of each range of learning rates, in order.

    Each family has at least one range, so only the first `MANY` families are included.
    """
    found = list(families(rows))[:MANY]
    for title, family in found:
        for _, part in family.groupby(range_of(family["learning_rate"], max(1, LINES // len(found)))):
            yield title, part


def condensed_table(trials: pd.DataFrame, stops: bool = True) -> Table:
    """Return the table of a large sweep: one line per range of learning rates, with median accuracies.

    Args:
        trials: the trials.
        stops: whether it says why trials stopped.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    several = bool(varied(trials))
    for name in (*["family"] * several, "rates", "trials", "epochs", "train", "test"):
        table.add_column(name, justify="right", no_wrap=name != "family", overflow="fold")
    for name in (*["stopped"] * stops, "regimes"):
        table.add_column(name, ratio=1 + (name == "regimes"), overflow="fold")
    for title, part in bins(trials):
        rates, epochs = span(part["learning_rate"], " – "), span(part["epochs_run"])
        cells = [escape(title)] * several + [rates, str(len(part)), epochs]
        for name in ("train_accuracy", "test_accuracy"):
            middle = part[name].astype(float).median()
            cells.append("-" if np.isnan(middle) else f"{middle:.4f}")
        stopped, regimes = part["stop_reason"].value_counts(), part["regime"].value_counts()
        cells += [", ".join(f"{count} {escape(reason)}" for reason, count in stopped.items())] * stops
        cells.append(", ".join(f"[{COLOURS[name]}]{regimes[name]} {name}[/]" for name in REGIMES if name in regimes))
        table.add_row(*cells)
    return table


def cut(lines: list[str], count: int, rest: str) -> list[str]:
    """Return the first `count` lines, and one that says how many more there are."""
    left = len(lines) - count
    return lines if left <= 0 else [*lines[:count], f"... and {left} more {rest}"]


def span(values: pd.Series, to: str = "–") -> str:
    low, high = (f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}{to}{high}"
