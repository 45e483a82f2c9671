"""The picture of a measured edge: the posterior, with its trials and what predicted it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.reports.curve_plots import log_axis
from mnist_tune.reports.figures import save
from mnist_tune.reports.prepared_edge import PreparedEdge
from mnist_tune.reports.styles import COLOURS


def plot_edges(edges: Sequence[MeasuredEdge], path: Path) -> None:
    """Write the picture of measured edges, a panel each.

    Raises:
        UserError: the file can't be written, or its format is unknown.
    """
    figure = Figure(figsize=(9, 3.4 * len(edges)), layout="constrained", dpi=110)
    for axis, edge in zip(figure.subplots(len(edges), squeeze=False)[:, 0], edges, strict=True):
        draw_edge(axis, PreparedEdge(edge))
    save(figure, path)


def draw_edge(axis: Any, edge: PreparedEdge) -> None:
    """Draw the share of seeds that learn with its 95% band, the trials as ticks, and the predictors as lines."""
    log_axis(axis, "x")
    x, low, middle, high = edge.band()
    axis.fill_between(x, low, high, color=COLOURS["slow"], alpha=0.25, lw=0, label="share that learns, 95%")
    axis.plot(x, middle, color=COLOURS["slow"], lw=1.5)
    found = edge.found
    axis.axvspan(found.low, found.high, color=COLOURS["converged"], alpha=0.3, lw=0, label=f"50% at {found}")
    for learned, part in edge.learned.groupby(edge.learned):
        height, colour = (1.0, COLOURS["converged"]) if learned else (0.0, COLOURS["diverged"])
        name = f"{'learned' if learned else 'did not'} ({len(part)})"
        axis.plot(part.index, np.full(len(part), height), "|", ms=13, mew=1, alpha=0.7, color=colour, label=name)
    for i, (name, rate) in enumerate(edge.predicted.items()):
        if edge.limits[0] <= rate <= edge.limits[1]:
            axis.axvline(rate, color=f"C{i % 10}", ls=("--", ":", "-.")[i % 3], lw=1.1, label=f"{name}: {rate:.3g}")
        else:
            axis.plot([], [], " ", label=f"{name}: {rate:.3g} (outside)")
    axis.set(xlim=edge.limits, ylim=(-0.08, 1.08), xlabel="learning rate", ylabel="share of seeds")
    axis.set_title(edge.title, fontsize=10, parse_math=False)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, frameon=False)
    axis.grid(alpha=0.25)
