"""Does the sharpness rise to the edge of stability, and stay there?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

from mnist_tune import UserError, cli, load_sweep
from mnist_tune.numbers import rate
from mnist_tune.regimes.families import families
from mnist_tune.reports.figures import save
from mnist_tune.results.tables import together

ARRIVED = 0.95
"""Relative sharpness from which a trial is at the edge of stability."""

SETTLED = 0.25
"""The last part of a trial's steps, which says where one that never arrived has settled."""


@dataclass(frozen=True)
class Stability:
    """Print and draw the sharpness over training, as a multiple of what the learning rate allows: λη/2."""

    results: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of sweeps, or URIs such as s3://bucket/sweep."""
    figure: Path = Path("stability.png")
    """File for the figure."""


def main() -> None:
    config = cli.parse(Stability)
    if not config.results:
        raise UserError("name the folder of a sweep that ran with --sharpness")
    trials, _, measured = together([load_sweep(path) for path in config.results])
    relative = relative_sharpness(trials, measured)
    if relative.empty:
        raise UserError("no trial can be drawn: they need SGD with a constant learning rate")
    names = trial_names(trials[trials["trial_id"].isin(relative["trial_id"])])
    print_stability(names, summarise_stability(relative))
    curves = [(names[trial_id], curve) for trial_id, curve in relative.groupby("trial_id", sort=False)]
    plot_stability(curves, config.figure)
    print(f"Picture: {config.figure}")


def relative_sharpness(trials: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return each measurement as a multiple of the sharpness at which gradient descent becomes unstable.

    On a quadratic, that is (2 + 2β) / η with the learning rate η and the momentum β, and with Nesterov's momentum
    (2 + 2β) / ((1 + 2β) η); without momentum, 2 / η (Cohen et al. 2021, arXiv 2103.00065).

    Trials of other optimisers than SGD, or with a schedule, are left out. The columns are `trial_id`, `step`,
    `relative` (of the sharpness) and `batch_relative` (of the batch sharpness).
    """
    known = trials[(trials["optimizer"] == "sgd") & (trials["schedule"] == "constant")].set_index("trial_id")
    momentum = known["momentum"]
    edge = (2 + 2 * momentum) / known["learning_rate"] / (1 + 2 * momentum.where(known["nesterov"], 0.0))
    found = measured[measured["trial_id"].isin(known.index)].reset_index(drop=True)
    warmup = known["warmup_steps"].reindex(found["trial_id"]).to_numpy()
    share = np.where(warmup > 0, np.minimum(found["step"] / np.maximum(warmup, 1), 1), 1)
    rate = share / edge.reindex(found["trial_id"]).to_numpy()
    return found[["trial_id", "step"]].assign(
        relative=rate * found["sharpness"], batch_relative=rate * found["batch_sharpness"]
    )


def summarise_stability(relative: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each trial: what `relative_sharpness` says of it.

    `arrived` is the first step measured at `ARRIVED` or above after one below; NaN if there is none. (An untrained
    network may be above the edge; its sharpness falls in the first steps.) `low`, `median` and `high` are those of the
    relative sharpness from then on, or, if there is none, over the last quarter of the steps.
    """
    rows = []
    for trial_id, curve in relative.groupby("trial_id", sort=False):
        arrives = (curve["relative"] >= ARRIVED) & (curve["relative"] < ARRIVED).cummax()
        arrived = curve["step"][arrives].min()
        after = curve[curve["step"] >= ((1 - SETTLED) * curve["step"].max() if np.isnan(arrived) else arrived)]
        row = {"trial_id": trial_id, "untrained": curve["relative"].iloc[0], "arrived": arrived}
        row |= after["relative"].agg(low="min", median="median", high="max")
        rows.append(row | {"batch_median": after["batch_relative"].median()})
    return pd.DataFrame(rows)


def trial_names(trials: pd.DataFrame) -> dict[str, str]:
    """Return a name for each trial by its id: what distinguishes its family, its rate, and its seed if there are more.
    Those that would have the same name, such as of two data sets, have their id, too."""
    names = {}
    for title, family in families(trials):
        for row in family.itertuples():
            seed = f", seed {row.seed}" if trials["seed"].nunique() > 1 else ""
            names[row.trial_id] = f"{title}, rate {rate(row.learning_rate)}{seed}"
    counts = Counter(names.values())
    return {one: name + f" ({one})" * (counts[name] > 1) for one, name in names.items()}


def print_stability(names: Mapping[str, str], summary: pd.DataFrame) -> None:
    """Print a line for each trial of what `summarise_stability` returns."""
    shown = summary.drop(columns="trial_id").rename(columns=lambda name: name.replace("_", " "))
    shown.insert(0, "trial", summary["trial_id"].map(names))
    shown["arrived"] = ["never" if pd.isna(step) else f"step {step:.0f}" for step in summary["arrived"]]
    print(
        "Sharpness relative to the edge of stability, λη/2 without momentum: before training, and from when it arrived"
    )
    print("at 0.95 on (over the last quarter of the steps if it never did); and of the batch sharpness")
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}"))


def plot_stability(curves: Sequence[tuple[str, pd.DataFrame]], path: Path) -> None:
    """Draw the relative sharpness of each trial by step, with its name, and thin and dashed the batch sharpness."""
    figure = Figure(figsize=(7, 4.2), layout="constrained", dpi=100)
    axis = figure.subplots()
    axis.axhline(1, color="0.3", lw=1)
    for i, (name, curve) in enumerate(curves):
        axis.plot(curve["step"], curve["relative"], color=f"C{i % 10}", lw=1.4, label=name)
        axis.plot(curve["step"], curve["batch_relative"], color=f"C{i % 10}", lw=0.9, ls="--", alpha=0.7)
    axis.plot([], [], color="0.4", lw=0.9, ls="--", label="batch sharpness")
    axis.set_ylim(0, min(2.5, 1.15 * max(1.2, *(curve["relative"].max() for _, curve in curves))))
    axis.set(xlabel="step", ylabel="sharpness, relative to the edge of stability")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=9)
    save(figure, path)
