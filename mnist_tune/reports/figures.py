"""The picture of a sweep: learning rate against where it ended, coloured by regime, and the curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from mnist_tune.reports.notebook import Comparison
from mnist_tune.results.regimes import COLOURS, REGIMES
from mnist_tune.results.tables import Sweep


def plot_regimes(sweep: Sweep, path: Path) -> None:
    """Writes the figure: final accuracies (left, above) and losses (left, below) over the learning rate, and the
    test accuracy and training loss of every epoch (right)."""
    figure, axes = plt.subplots(2, 2, figsize=(13, 8.5), layout="constrained", width_ratios=[1.25, 1])
    trials = sweep.trials[sweep.trials["epochs_run"] > 0]
    _scatter_final(axes[0, 0], trials, "accuracy")
    _scatter_final(axes[1, 0], trials, "loss")
    _curves(axes[0, 1], sweep, "test_accuracy", "test accuracy")
    _curves(axes[1, 1], sweep, "train_loss", "training loss (nats)")
    for axis, losses in ((axes[1, 0], trials[["train_loss", "test_loss"]]), (axes[1, 1], sweep.epochs["train_loss"])):
        values = losses.to_numpy(dtype=float)
        if (np.isfinite(values) & (values > 0)).any():
            axis.set_yscale("log")
    shown = [name for name in REGIMES if (trials["regime"] == name).any()]
    handles = [Line2D([], [], color=COLOURS[name], marker="o", ls="", label=name) for name in shown]
    handles += [Line2D([], [], color="0.3", marker=m, ls="", mfc=f, label=n) for n, m, f in _SPLITS]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    names = ", ".join(sorted(trials["architecture"].unique()))
    figure.suptitle(f"{names} on {sweep.meta['dataset']['name']}: regimes by learning rate")
    figure.savefig(path, dpi=120)
    plt.close(figure)


_SPLITS = (("test", "o", None), ("train", "o", "none"))


def _scatter_final(axis: Any, trials: Any, what: str) -> None:
    for row in trials.itertuples():
        colour = COLOURS[row.regime]
        axis.plot(row.learning_rate, getattr(row, f"test_{what}"), "o", color=colour, ms=7, alpha=0.85)
        axis.plot(row.learning_rate, getattr(row, f"train_{what}"), "o", color=colour, ms=7, mfc="none")
    axis.set_xscale("log")
    axis.set_xlabel("learning rate")
    axis.set_ylabel(f"final {what}" + (" (nats)" if what == "loss" else ""))
    axis.grid(alpha=0.25, which="both")


def _curves(axis: Any, sweep: Sweep, column: str, label: str) -> None:
    regimes = sweep.trials.set_index("trial_id")
    for trial_id, curve in sweep.epochs.groupby("trial_id"):
        row = regimes.loc[trial_id]
        values = curve[column].where(np.isfinite(curve[column]))
        axis.plot(curve["epoch"], values, "-o", ms=3, lw=1.3, color=COLOURS[row["regime"]], alpha=0.8)
        axis.annotate(
            f"{row['learning_rate']:.3g}", (curve["epoch"].iloc[-1], values.iloc[-1]), (4, 0),
            textcoords="offset points", va="center", fontsize=7, color=COLOURS[row["regime"]], annotation_clip=True,
        )  # fmt: skip
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)


def plot_notebook(comparisons: Sequence[Comparison], path: Path) -> None:
    """Writes the notebook's curves (crosses, dashed) under ours (dots), an experiment a panel; thin lines are the
    other seeds of the chaotic ones."""
    columns = min(4, len(comparisons))
    lines = -(-len(comparisons) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(3.6 * columns, 3.2 * lines), layout="constrained", squeeze=False
    )
    for axis, comparison in zip(axes.flat, comparisons, strict=False):
        for split, colour in (("train", "#3a76c4"), ("test", "#d1342f")):
            rows = comparison.rows
            axis.plot(rows[f"{split}_accuracy_notebook"], "x--", color=colour, ms=8, lw=1, label=f"{split}, notebook")
            axis.plot(rows[f"{split}_accuracy_ours"], ".-", color=colour, ms=5, lw=1, alpha=0.7, label=f"{split}, ours")
        for _, curve in comparison.others.items():
            axis.plot(curve, ".-", color="#8fb58f", ms=3, lw=0.7, label="test, other seeds")
        axis.set_title(f"{comparison.experiment.name}: {comparison.verdict}", fontsize=10)
        axis.set_xlabel("epoch")
        axis.set_ylabel("accuracy")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(comparisons) :]:
        axis.set_visible(False)
    entries = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes.flat]
    named = {label: handle for panel in entries for handle, label in panel}
    figure.legend(named.values(), named, loc="outside lower center", ncols=2 * columns, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)
