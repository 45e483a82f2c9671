"""Which learning rates suit which network, and how do they move with what varies?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd

from mnist_tune import numbers
from mnist_tune.regimes.data_facts import DataFacts, data_facts
from mnist_tune.regimes.decision import standing
from mnist_tune.regimes.families import families, layers
from mnist_tune.reports.figures import panels, save
from mnist_tune.reports.ranges import Range
from mnist_tune.reports.styles import COLOURS
from mnist_tune.reports.terminal import print_report
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.opening import with_images_held_out
from mnist_tune.tuning.options import Mark, TrialOptions, all_rates, crossed, mlp_name, refuse_empty, refuse_too_many
from mnist_tune.tuning.sweep import run_or_resume
from mnist_tune.tuning.wanted import asked

AXES = ("width", "depth", "batch_size", "momentum", "warmup_steps")
"""What the range may move with."""


@dataclass(frozen=True, kw_only=True)
class Architectures(TrialOptions):
    """Find the learning rates at which networks converge, and the best one of each, chosen on held-out images."""

    epochs: int = 5
    """Epochs per trial."""
    holdout: int = 0
    """Training images held out, on which the best rate of each network is chosen; by default (0) a sixth of them."""
    widths: tuple[int, ...] = (128, 32, 512)
    """Widths of the hidden layers."""
    depths: tuple[int, ...] = (2, 3, 5)
    """Numbers of layers with weights, crossed with the widths."""
    activation: Literal["tanh", "relu", "gelu", "silu"] = "relu"
    """The activation between the layers."""
    initialisation: Literal["glorot", "he", "he0", ""] = "glorot"
    """How the weights are drawn; "" draws as the notebook does."""
    optimizer: str = "sgd"
    """The optimiser, with its arguments."""
    batch_size: tuple[int, ...] = (128, 32, 512)
    """Images per step. All but the first are tried on the first width and depth only, as are momenta and warm-ups."""
    momentum: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Momentum of SGD."""
    warmup_steps: tuple[int, ...] = (0, 100, 400)  # type: ignore[assignment]
    """Steps in which the learning rate rises linearly from 0."""
    learning_rates: Annotated[tuple[float | str, ...], Mark.MAKES] = ("0.02:3.5:9",)
    """Learning rates of each network, or a range FIRST:LAST:COUNT, log-spaced."""
    seeds: Annotated[tuple[int, ...], Mark.MAKES] = (0, 1)
    """Replicates of every learning rate. A seed sets the initialisation and the batch order."""

    @property
    def architecture(self) -> str:
        return self.name(self.widths[0], self.depths[0])

    def name(self, width: int, depth: int) -> str:
        return mlp_name(width, depth, self.activation, self.initialisation)

    def trials(self) -> list[TrialConfig]:
        refuse_empty(self, "batch_size", "momentum", "warmup_steps")
        shapes = crossed(self, "widths", "depths")
        replicates = list(crossed(self, "learning_rates", "seeds", learning_rates=all_rates(self.learning_rates)))
        others = {name: getattr(self, name) for name in AXES[2:]}
        base = self.common() | {name: values[0] for name, values in others.items()}
        points = [base | {"architecture": self.name(*shape)} for shape in shapes]
        points += [base | {name: value} for name, values in others.items() for value in values]
        refuse_too_many(len(points) * len(replicates), f"{len(points)} networks x {len(replicates)}")
        trials = [
            TrialConfig(**point | {"learning_rate": rate, "seed": seed, "data_seed": seed})
            for point, (rate, seed) in product(points, replicates)
        ]
        return list(dict.fromkeys(trials))


ASKED = Architectures


def main() -> int:
    sweep = run_or_resume("architectures", with_images_held_out(asked(ASKED)))
    code = print_report(sweep)
    found = ranges(families(sweep.trials), data_facts(sweep.meta))
    print_ranges(found)
    base = point(sweep.trials)  # the first network has the first value of each axis
    if base["depth"] == 1:
        base["width"] = found["width"].dropna().iloc[0] if found["width"].notna().any() else math.nan
    for axis in AXES:
        lines = {"": along(found, axis, base)}
        if axis in ("width", "depth"):
            other = "depth" if axis == "width" else "width"
            values = dict.fromkeys([base[other], *found[other]])
            lines = {f", {other} {value:g}": along(found, axis, base | {other: value}) for value in values}
        lines = {name: rows for name, rows in lines.items() if len(rows) > 1}
        if lines:
            picture = sweep.picture(f"edge-by-{axis.split('_')[0]}.png")
            plot_range(lines, axis, picture)
            print(f"Picture: {picture}")
    return code


def point(trials: pd.DataFrame) -> dict[str, float]:
    """Return where the first trial is on each of `AXES`.

    The width of an MLP is that of its widest hidden layer, its depth the number of layers with weights. Both are NaN
    for other networks.
    """
    row = trials.iloc[0]
    width, hidden, _ = layers(row["architecture"]) or (np.nan, np.nan, "")
    return dict(zip(AXES, (width, hidden + 1, *row[list(AXES[2:])]), strict=True))


def ranges(families: Iterable[tuple[str, pd.DataFrame]], data: DataFacts) -> pd.DataFrame:
    """Return the range of learning rates at which each family converges: its title and its trials make a row.

    The columns are `title`, `AXES`, `lowest` (the smallest rate at which every seed converged), `highest` (the largest
    such rate), `sometimes` (the largest at which any did), `next` (the smallest rate tried above that; NaN if there is
    none), `best` (the rate with the best accuracy on held-out images, `standing`) and `accuracy` (that one). NaN where
    there is no such rate.
    """
    rows = []
    for title, trials in families:
        found, begun = Range.of(trials), trials.loc[trials["epochs_run"] > 0, "learning_rate"]
        above = min(begun[begun > (found.sometimes or np.inf)], default=None)
        best = standing(trials, data)[:1][["learning_rate", "accuracy"]].to_numpy(float)
        rate, accuracy = best[0] if len(best) else (np.nan, np.nan)
        row = {"title": title, **point(trials), "lowest": found.lowest, "highest": found.always}
        rows.append(row | {"sometimes": found.sometimes, "next": above, "best": rate, "accuracy": accuracy})
    return pd.DataFrame(rows).astype(dict.fromkeys(("lowest", "highest", "sometimes", "next", "best"), float))


def along(found: pd.DataFrame, axis: str, base: dict[str, float]) -> pd.DataFrame:
    """Return the rows of `ranges` that differ from the base in this axis only, in its order. A network without hidden
    layers is one of every width."""
    same = np.logical_and.reduce([
        (found[name] == value) | ((name == "width") & (found["depth"] == 1))
        for name, value in base.items() if name != axis
    ])  # fmt: skip
    return found[same].sort_values(axis)


def print_ranges(found: pd.DataFrame) -> None:
    """Print what `ranges` returns, a line for each family."""
    shown = found[["title", "lowest", "highest", "sometimes", "best", "accuracy"]].rename(columns={"title": "network"})
    print("Learning rates: the lowest and the highest at which every seed converged, the highest at which any did, and")
    print("the best, with its accuracy on held-out images")
    print(shown.to_string(index=False, float_format=numbers.rate, na_rep="-"))


def plot_range(lines: Mapping[str, pd.DataFrame], axis: str, path: Path) -> None:
    """Draw how the learning rates move along an axis: a line for each part of `ranges`, by what it is called. The first
    one has its range as a band, with bars to the smallest rate at which no seed converged."""
    figure, plot = panels((5.2, 3.8))
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
    plot.set(xlabel=axis.replace("_", " ").replace("warmup", "warm-up"), ylabel="learning rate")
    plot.legend(frameon=False, fontsize=8)
    save(figure, path)
