"""A table and a picture of one's own from measurements: does the sharpness rise to the
edge of stability, and stay there?

    python examples/stability.py results/sharp
    python examples/stability.py full thousand small --picture stability.png

Prints for each trial of the sweeps when its sharpness reached what the optimiser and
its learning rate allow, and how large it was from then on, and draws its course. The
sweeps must have run with --sharpness or --sharpness-every. Trains nothing.

docs/sharpness_evidence.md has what came out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from matplotlib import colormaps

from mnist_tune import Sweep, UserError, cli, load_sweep
from mnist_tune.named_code import parse_call
from mnist_tune.numbers import rate
from mnist_tune.regimes.families import families
from mnist_tune.reports.axes import log_axis
from mnist_tune.reports.figures import panels, save
from mnist_tune.training.optimizers import ADAM, threshold

ARRIVED = 0.95
"""Relative sharpness from which a trial is at the edge of stability."""

SETTLED = 0.25
"""The last part of a trial's steps, which says where one that never arrived has
settled."""

AVERAGED = 20
"""Steps after which Adam's second moment is an average; before, the ratio was anything
from 0.1 to 2,300."""

MOST_NAMED = 10
"""The most trials whose names fit into the picture."""

RELATIVE = """Sharpness relative to the edge of stability, λη/2 for plain SGD: before training, and from when it arrived
at 0.95 on (over the last quarter of the steps if it never did); and of the batch sharpness"""

ALONE = """Sharpness of trials whose edge of stability is not known: before training, and over the last quarter of the
steps"""


@dataclass(frozen=True)
class Stability:
    """Say when the sharpness reached what the optimiser and its learning rate allow,
    and draw its course."""

    results: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of sweeps, or folders above them, which stand for their newest sweep; or
    URIs."""
    picture: Path = Path("stability.png")
    """The file of the picture."""


def main() -> None:
    config = cli.parse(Stability)
    if not config.results:
        raise UserError("name the folder of a sweep, or of several")
    show_stability([load_sweep(path) for path in config.results], config.picture)


def show_stability(sweeps: Sequence[Sweep], path: Path) -> None:
    """Print and draw the sharpness over training, as a multiple of what the optimiser
    and its learning rate allow."""
    trials, epochs, measured = together(sweeps)
    relative = relative_sharpness(trials, measured)
    names = trial_names(trials[trials["trial_id"].isin(relative["trial_id"])])
    print_stability(names, summarise_stability(relative))
    losses = dict(iter(epochs.groupby("trial_id")))
    curves = []
    for trial_id, curve in relative.groupby("trial_id", sort=False):
        curves.append((names[trial_id], curve, losses[trial_id]))
    plot_stability(curves, path)
    print(f"Picture: {path}")


def together(
    sweeps: Sequence[Sweep],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the trials, the epochs and the measurements of sharpness of several
    sweeps. If there is more than one, ids begin with the number of their sweep. Raises
    `UserError` if no sharpness was measured in any."""
    if not any("sharpness_steps" in sweep.epochs for sweep in sweeps):
        sweeps[0].sharpness()  # raises
    trials = []
    epochs = []
    measured = []
    for number, sweep in enumerate(sweeps):
        prefix = ""
        if len(sweeps) > 1:
            prefix = f"{number}:"
        trials.append(with_prefix(sweep.trials, prefix))
        epochs.append(with_prefix(sweep.epochs, prefix))
        if "sharpness_steps" in sweep.epochs:
            measured.append(with_prefix(sweep.sharpness(), prefix))
    return (
        pd.concat(trials, ignore_index=True),
        pd.concat(epochs, ignore_index=True),
        pd.concat(measured, ignore_index=True),
    )


def with_prefix(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Return a table whose trial ids begin with a prefix."""
    return table.assign(trial_id=prefix + table["trial_id"])


def relative_sharpness(trials: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return each measurement as a multiple of the sharpness at which the optimiser's
    steps become unstable on a quadratic, its `threshold` over the learning rate.

    The columns are `trial_id`, `step`, `sharpness`, `relative` (of what the optimiser
    sees: for Adam the preconditioned sharpness, from step `AVERAGED` on) and
    `batch_relative` (of the batch sharpness; NaN for Adam). Both are NaN where no
    threshold is known, and with a schedule.
    """
    # The settings of each measurement's trial.
    settings = trials.set_index("trial_id").loc[measured["trial_id"]]
    optimizer = settings["optimizer"]
    limits = []
    for setting in zip(
        optimizer, settings["momentum"], settings["nesterov"], strict=True
    ):
        limits.append(threshold(*setting))

    # The learning rate at each step, of those that have no schedule.
    step = measured["step"].to_numpy()
    warmup = settings["warmup_steps"].to_numpy()
    warmed_up = np.minimum(step / np.maximum(warmup, 1), 1)
    share = np.where(warmup > 0, warmed_up, 1)
    is_constant = settings["schedule"] == "constant"
    rates = settings["learning_rate"].where(is_constant).to_numpy()
    scale = share * rates / limits

    # Adam sees the preconditioned sharpness, once it is an average.
    is_adam = np.array([parse_call(name).name in ADAM for name in optimizer])
    averaged = measured["preconditioned"].where(step >= AVERAGED)
    sharpness = np.where(is_adam, averaged, measured["sharpness"])
    batch_sharpness = np.where(is_adam, np.nan, measured["batch_sharpness"])
    table = measured[["trial_id", "step", "sharpness"]]
    return table.assign(
        relative=scale * sharpness, batch_relative=scale * batch_sharpness
    )


def summarise_stability(relative: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each trial: what `relative_sharpness` says of it.

    `arrived` is the first step measured at `ARRIVED` or above after one below; NaN if
    there is none. (An untrained network may be above the edge; its sharpness falls in
    the first steps.) `low`, `median` and `high` are those of the relative sharpness
    from then on, or, if there is none, over the last quarter of the steps. Where the
    relative sharpness is not known, `alone` is True, and they are those of the
    sharpness itself.
    """
    rows = []
    for trial_id, curve in relative.groupby("trial_id", sort=False):
        alone = is_alone(curve)
        shown = shown_sharpness(curve)
        is_at_edge = shown >= ARRIVED
        # A trial arrives only from below.
        was_below = (shown < ARRIVED).cummax()
        arrives = is_at_edge & was_below & (not alone)
        arrived = curve["step"][arrives].min()
        first = arrived
        if np.isnan(arrived):
            first = (1 - SETTLED) * curve["step"].max()
        is_after = curve["step"] >= first
        row = {
            "trial_id": trial_id,
            "alone": alone,
            "untrained": shown.iloc[0],
            "arrived": arrived,
        }
        after = shown[is_after].dropna()
        row |= after.agg(low="min", median="median", high="max")
        batch_after = curve["batch_relative"][is_after].dropna()
        row["batch_median"] = batch_after.median()
        rows.append(row)
    return pd.DataFrame(rows)


def is_alone(curve: pd.DataFrame) -> bool:
    """Return whether a trial's sharpness is drawn alone: its edge is not known."""
    return bool(curve["relative"].isna().all())


def shown_sharpness(curve: pd.DataFrame) -> pd.Series:
    """Return the relative sharpness; where that is not known, the sharpness itself."""
    if is_alone(curve):
        return curve["sharpness"]
    return curve["relative"]


def trial_names(trials: pd.DataFrame) -> dict[str, str]:
    """Return a name for each trial by its id: what distinguishes its family, its rate,
    and its seed if there are more. Those that would have the same name, such as of two
    data sets, have their id, too."""
    has_seeds = trials["seed"].nunique() > 1
    names = {}
    for title, family in families(trials):
        for row in family.itertuples():
            name = f"{title}, rate {rate(row.learning_rate)}"
            if has_seeds:
                name += f", seed {row.seed}"
            names[row.trial_id] = name
    counts = Counter(names.values())
    for trial_id, name in names.items():
        if counts[name] > 1:
            names[trial_id] = f"{name} ({trial_id})"
    return names


def print_stability(names: Mapping[str, str], summary: pd.DataFrame) -> None:
    """Print a line for each trial of what `summarise_stability` returns."""
    shown = summary.drop(columns=["trial_id", "alone"])
    shown.columns = shown.columns.str.replace("_", " ")
    shown.insert(0, "trial", summary["trial_id"].map(names))
    shown["arrived"] = [arrival_text(step) for step in summary["arrived"]]
    alone = summary["alone"]
    print_table(RELATIVE, shown[~alone])
    without_edge = shown[alone].drop(columns=["arrived", "batch median"])
    print_table(ALONE, without_edge)


def arrival_text(step: float) -> str:
    if np.isnan(step):
        return "never"
    return f"step {step:.0f}"


def print_table(title: str, table: pd.DataFrame) -> None:
    """Print a table below its title; nothing if it has no rows."""
    if table.empty:
        return
    print(title)
    print(table.to_string(index=False, float_format="{:.3f}".format, na_rep="-"))


Curve = tuple[str, pd.DataFrame, pd.DataFrame]
"""A trial's name, its sharpness and its epochs."""


def plot_stability(curves: Sequence[Curve], path: Path) -> None:
    """Draw the relative sharpness of each trial by step, with its name, and thin and
    dashed the batch sharpness. Where it is not known, draw the sharpness, in a panel of
    its own. Below is the training loss, from the trial's epochs. More than `MOST_NAMED`
    trials have no names; their colours go from dark to light in the order of the
    table."""
    has_names = len(curves) <= MOST_NAMED
    colours = curve_colours(len(curves))
    # A panel for each kind of curve that there is, and one for the losses.
    kinds = sorted({is_alone(curve) for _, curve, _ in curves})
    heights = [4.0] * len(kinds) + [2.2]
    size = (7, sum(heights))
    figure, axes = panels(size, len(heights), height_ratios=heights, sharex=True)
    *upper, below = axes
    panel = dict(zip(kinds, upper, strict=True))
    for (name, curve, epochs), colour in zip(curves, colours, strict=True):
        axis = panel[is_alone(curve)]
        label = None
        if has_names:
            label = name
        step = curve["step"]
        axis.plot(step, shown_sharpness(curve), color=colour, lw=1.4, label=label)
        thin = {"lw": 0.9, "ls": "--", "alpha": 0.7}
        axis.plot(step, curve["batch_relative"], color=colour, **thin)
        below.plot(epochs["step"], epochs["train_loss"], color=colour, lw=1.2)
    for alone, axis in panel.items():
        if alone:
            axis.set(ylabel="sharpness", ylim=(0, None))
        else:
            label_edge(axis, [curve for _, curve, _ in curves if not is_alone(curve)])
        _, labels = axis.get_legend_handles_labels()
        if labels:
            axis.legend(frameon=False, fontsize=9)
    log_axis(below, "y")
    below.set(xlabel="step", ylabel="training loss")
    save(figure, path)


def curve_colours(count: int) -> list[Any]:
    """Return a colour for each trial: those of the cycle, or, of many, from dark to
    light."""
    if count > MOST_NAMED:
        viridis = colormaps["viridis"]
        return [viridis(0.9 * i / count) for i in range(count)]
    return [f"C{i}" for i in range(count)]


def label_edge(axis: Any, curves: Sequence[pd.DataFrame]) -> None:
    """Draw the edge into the panel of what is relative to it, and choose limits that
    hold the curves unless they would hide what is near the edge."""
    axis.axhline(1, color="0.3", lw=1)
    table = pd.concat(curves)
    if table["batch_relative"].notna().any():
        axis.plot([], [], color="0.4", lw=0.9, ls="--", label="batch sharpness")
    largest = max(1.2, table["relative"].max())
    axis.set_ylim(0, min(2.5, 1.15 * largest))
    axis.set_ylabel("sharpness, relative to the edge of stability")


if __name__ == "__main__":
    cli.run(main)
