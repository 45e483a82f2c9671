"""The figure of a sweep: its regimes by learning rate, and its curves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure  # not pyplot: that takes longer to import, and keeps figures
from matplotlib.lines import Line2D

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.numbers import rate
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.measured_edge import LEARNED, MeasuredEdge
from mnist_tune.regimes.replicates import counts
from mnist_tune.reports.curve_plots import Label, draw_curves, log_axis, place_labels
from mnist_tune.reports.page_data import FEW, edge_band, finite, listed, mark, predicted_by, shares, with_epochs
from mnist_tune.reports.styles import COLOURS, MARKERS
from mnist_tune.results.tables import Tables


def plot_regimes(sweep: Tables, path: Path) -> None:
    """Write the figure of a sweep, which is readable with one trial and with thousands. Raises `UserError` as
    `save`."""
    save(regimes_figure(sweep), path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure. Raises `UserError` if the file can't be written, or its format is unknown."""
    picture = io.BytesIO()
    try:
        figure.savefig(picture, format=path.suffix.removeprefix(".") or "png")
        storage.write(path, picture.getvalue())
    except (OSError, ValueError) as error:
        why = storage.reason(error) if isinstance(error, OSError) else error
        raise UserError(f"can't write the picture {path}: {why}; name another file") from None


def panels(size: tuple[float, float], *of: Any, **how: Any) -> tuple[Figure, Any]:
    """Return a new figure of this size, in inches, and its panels, as `Figure.subplots` does, with faint grids."""
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    axes = figure.subplots(*of, **how)
    for axis in figure.axes:
        axis.grid(alpha=0.25)
    return figure, axes


def regimes_figure(sweep: Tables) -> Figure:
    """Return the figure of a sweep.

    On the left are the final errors (top) and losses (bottom) by learning rate, with the share of replicates that
    converged between them. On the right are the test error and the training loss by epoch.
    """
    figure = Figure(figsize=(13, 8.5), dpi=120)
    shown = listed(sorted(sweep.trials["architecture"].unique()), 3)
    figure.suptitle(f"{shown} on {sweep.meta['dataset']['name']}: regimes by learning rate", parse_math=False)
    least = 0.5 / data_facts(sweep.meta).test_images  # half an image stands for 0, which has no logarithm
    trials, epochs = (
        table.assign(**{
            f"{split}_error": (1 - table[f"{split}_accuracy"].astype(float)).clip(lower=least) for split, _ in _SPLITS
        })
        for table in (with_epochs(sweep.trials), sweep.epochs)
    )  # fmt: skip
    if trials.empty:
        figure.text(0.5, 0.5, "no trial has finished an epoch", ha="center", color="0.4")
        return figure
    # Labels are placed by pixels, so the layout must be fixed before anything is drawn.
    places = {"left": 0.075, "right": 0.985, "bottom": 0.115, "top": 0.92, "wspace": 0.16, "hspace": 0.27}
    grid, summary = figure.add_gridspec(2, 2, width_ratios=[1.25, 1], **places), shares(trials)
    rows, gap = ((8, 7, 8), 0.3) if len(summary) else ((1, 1), 0.27)
    left = grid[:, 0].subgridspec(len(rows), 1, height_ratios=rows, hspace=gap)
    error, errors, loss, losses = map(figure.add_subplot, (left[0], grid[0, 1], left[-1], grid[1, 1]))
    _scatter_final(error, trials, "error")
    _scatter_final(loss, trials, "loss")
    draw_curves(errors, trials, epochs, "test_error")
    errors.set_ylabel("test error")
    draw_curves(losses, trials, epochs, "train_loss")
    losses.set_ylabel("training loss (nats)")
    if len(summary):
        error.set_xlabel("")
        _share_converged(figure.add_subplot(left[1], sharex=error), summary)
    handles = [
        Line2D([], [], color=COLOURS[name], marker=MARKERS[name], ls="", label=f"{name} ({count})")
        for name, count in counts(trials["regime"]).items()
    ]
    for split, filled in _SPLITS:
        handles.append(Line2D([], [], color="0.3", marker="o", ls="", mfc=None if filled else "none", label=split))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


_SPLITS = (("test", True), ("train", False))
"""The splits, each with whether its markers are filled."""


def _scatter_final(axis: Any, trials: pd.DataFrame, what: str) -> None:
    """Draw both splits of every trial. One without a finite training loss is drawn above all others."""
    size, alpha = mark(len(trials))
    style = {"s": size, "alpha": alpha, "linewidths": 0.9}
    log_axis(axis, "x")
    low, high = trials["learning_rate"].min(), trials["learning_rate"].max()
    if low == high:  # rounding decides whether matplotlib finds limits around one rate
        axis.set_xlim(low / 2, 2 * high)
    values = {split: finite(trials[f"{split}_{what}"]) for split, _ in _SPLITS}
    for regime, part in trials.groupby("regime"):
        colour, marker = COLOURS[regime], MARKERS[regime]
        for split, filled in _SPLITS:
            shown, fill = values[split][part.index], colour if filled else "none"
            axis.scatter(part["learning_rate"], shown, ec=colour, fc=fill, marker=marker, **style)
        lost = part["learning_rate"][values["train"][part.index].isna()]
        height, above = np.full(len(lost), 0.95), axis.get_xaxis_transform()
        axis.scatter(lost, height, c=colour, marker=marker, transform=above, **style)
    if any((one > 0).any() for one in values.values()):
        log_axis(axis, "y")
    if values["train"].isna().any():
        axis.margins(y=0.14)
        axis.text(0.02, 0.95, "not finite", transform=axis.transAxes, va="center", fontsize=8, color="0.4")
    axis.set(xlabel="learning rate", ylabel=f"final {what}" + " (nats)" * (what == "loss"))
    axis.grid(alpha=0.25)


def _share_converged(axis: Any, summary: pd.DataFrame) -> None:
    beside, share = summary["beside"], summary["converged_share"]
    bars = [(share - summary["converged_low"]).to_numpy(), (summary["converged_high"] - share).to_numpy()]
    axis.errorbar(beside, share, bars, fmt=".", color=COLOURS["converged"], capsize=3, lw=1)
    axis.tick_params(which="both", labelbottom=False)
    axis.set_ylim(-0.08, 1.08)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("share converged")
    sizes = summary["replicates"].unique()
    many = f"{sizes[0]} " * (len(sizes) == 1)
    axis.set_title(f"share of the {many}seeds that converged, with its 95% interval", fontsize=9)
    axis.grid(alpha=0.25)
    if len(summary) <= FEW and len(sizes) > 1:
        spots = zip(beside, share, summary["converged"], strict=True)
        place_labels(axis, [Label(x, y, text, "0.2") for x, y, text in spots])


def plot_edges(edges: Sequence[MeasuredEdge], path: Path) -> None:
    """Write the picture of measured edges, a panel each. Raises `UserError` as `save`."""
    heights = [height for edge in edges for height in (2.6, 0.16 * len(predicted_by(edge)) + 0.1)]
    figure, axes = panels((8, sum(heights) + 0.9 * len(edges)), 2 * len(edges), height_ratios=heights)
    for axis, strip, edge in zip(axes[::2], axes[1::2], edges, strict=True):
        draw_edge(axis, edge)
        draw_predictors(strip, edge)
    save(figure, path)


def draw_edge(axis: Any, edge: MeasuredEdge) -> None:
    """Draw the share of seeds that learn with its 95% band, and the trials as ticks."""
    log_axis(axis, "x")
    x, low, middle, high = edge_band(edge)
    axis.fill_between(x, low, high, color=COLOURS["slow"], alpha=0.25, lw=0, label="share that learns, 95%")
    axis.plot(x, middle, color=COLOURS["slow"], lw=1.5)
    found = edge.rate(0.5)
    if edge.is_bracketed:
        axis.axvspan(found.low, found.high, color=COLOURS["converged"], alpha=0.3, lw=0, label=f"50% at {found}")
    for learned, part in edge.outcomes["learning_rate"].groupby(edge.outcomes[LEARNED]):
        height, colour = (1.0, COLOURS["converged"]) if learned else (0.0, COLOURS["diverged"])
        name = f"{'learned' if learned else 'did not'} ({len(part)})"
        axis.plot(part, np.full(len(part), height), "|", ms=13, mew=1, alpha=0.7, color=colour, label=name)
    axis.set(xlim=(x[0], x[-1]), ylim=(-0.08, 1.08), xlabel="learning rate", ylabel="share of seeds")
    axis.set_title(edge.title, fontsize=10, parse_math=False)
    axis.legend(loc="center left", fontsize=7.5)


def draw_predictors(axis: Any, edge: MeasuredEdge) -> None:
    """Draw what predictors said on the scale of `draw_edge`, a line each. One that is outside is at the side."""
    x, found, said = edge_band(edge)[0], edge.rate(0.5), predicted_by(edge)
    for row, (name, predicted) in enumerate(sorted(said.items(), key=lambda one: one[1])):
        shown = min(max(predicted, x[0]), x[-1])
        sign = "<" if predicted < shown else ">" if predicted > shown else "o"
        axis.plot(shown, row, sign, color="0.45", ms=4, clip_on=False)
        away, side = (-6, "right") if shown > x[0] ** 0.25 * x[-1] ** 0.75 else (6, "left")
        axis.annotate(
            f"{name}: {rate(predicted, 3)}", (shown, row), (away, 0), textcoords="offset points", ha=side, va="center",
            fontsize=7, color="0.35", parse_math=False,
        )  # fmt: skip
    axis.axvspan(found.low, found.high, color=COLOURS["converged"], alpha=0.3, lw=0)
    axis.set(xscale="log", xlim=(x[0], x[-1]), ylim=(-0.8, max(len(said), 1) - 0.2))
    axis.axis("off")
