"""The phase diagram: its table and its picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mnist_tune.regimes.phases import THRESHOLDS
from mnist_tune.reports.figures import save

STYLES = {"c_loss": ("C0", "o", "loss rises"), "c_sharp": ("C1", "s", "sharpness rises"), "c_max": ("C3", "^", "lost")}


def print_phases(found: pd.DataFrame) -> None:
    """Print the untrained sharpness and the thresholds of each network, the means over its seeds and each seed's.

    Args:
        found: what `thresholds` returns.
    """
    rows = []
    for architecture, part in found.groupby("architecture", sort=False):
        row = {"network": architecture, "sharpness": f"{part['sharpness'].mean():.3g}"}
        rows.append(row | {name: _said(part[name]) for name in THRESHOLDS})
    print("c = learning rate × untrained sharpness, mean over seeds (each seed)")
    print(pd.DataFrame(rows).to_string(index=False))


def _said(values: pd.Series) -> str:
    return f"{values.mean():.2f} ({', '.join('-' if np.isnan(one) else f'{one:.3g}' for one in values)})"


def plot_phases(found: pd.DataFrame, path: Path) -> None:
    """Write a figure with the thresholds of each network: a marker for each seed, a line through the means.

    Args:
        found: what `thresholds` returns.
        path: the file.

    Raises:
        UserError: the file can't be written, or its format is unknown.
    """
    figure = Figure(figsize=(6.5, 4.2), layout="constrained", dpi=100)
    axis = figure.subplots()
    names = list(dict.fromkeys(found["architecture"]))
    place = found["architecture"].map(names.index)
    for name in THRESHOLDS:
        colour, marker, label = STYLES[name]
        axis.scatter(place, found[name], color=colour, marker=marker, s=22, alpha=0.7)
        axis.plot(found.groupby(place)[name].mean(), color=colour, lw=1.2, label=f"{name}: {label}")
    axis.axhline(2, color="0.4", lw=1, ls=":", label="2, the edge of a quadratic")
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xticks(range(len(names)), names, rotation=15, fontsize=8)
    axis.set_ylabel("c = learning rate × untrained sharpness")
    axis.grid(alpha=0.25)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    save(figure, path)
