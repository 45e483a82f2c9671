"""The learning rates at which networks converge: the table, and a picture for each thing that they move with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mnist_tune.reports.figures import save
from mnist_tune.reports.styles import COLOURS


def print_ranges(found: pd.DataFrame) -> None:
    """Print what `ranges` returns, a line for each family."""
    shown = found[["title", "lowest", "highest", "sometimes", "best", "accuracy"]].rename(columns={"title": "network"})
    print("Learning rates: the lowest and the highest at which every seed converged, the highest at which any did, and")
    print("the best, with its accuracy on held-out images")
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep="-"))


def plot_range(lines: Mapping[str, pd.DataFrame], axis: str, path: Path) -> None:
    """Write a figure of how the learning rates move along an axis.

    Args:
        lines: rows of `ranges` that differ in the axis only, by what the line is called. The first line has its range
            as a band, with bars to the smallest rate at which no seed converged.
        axis: a column of the rows.
        path: the file.

    Raises:
        UserError: the file can't be written, or its format is unknown.
    """
    figure = Figure(figsize=(5.2, 3.8), layout="constrained", dpi=100)
    plot = figure.subplots()
    values = sorted({value for rows in lines.values() for value in rows[axis]})
    for i, (name, rows) in enumerate(lines.items()):
        place = rows[axis].map(values.index)
        if i == 0:
            plot.fill_between(place, rows["lowest"], rows["highest"], color=COLOURS["converged"], alpha=0.15)
            plot.vlines(place, rows["sometimes"], rows["next"], color="0.5", lw=1)
        plot.plot(place, rows["sometimes"], color=f"C{i}", marker="o", ms=4, lw=1.3, label=f"edge{name}")
        plot.plot(place, rows["best"], color=f"C{i}", marker="*", ms=8, lw=0.8, ls=":", label=f"best{name}")
    plot.set_yscale("log")
    plot.yaxis.set_major_formatter("{x:g}")
    plot.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    plot.set_xlabel(axis.replace("_", " ").replace("warmup", "warm-up"))
    plot.set_ylabel("learning rate")
    plot.grid(alpha=0.25)
    plot.legend(frameon=False, fontsize=8)
    save(figure, path)
