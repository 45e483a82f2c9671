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
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from matplotlib import colormaps

from mnist_tune import UserError, cli, load_sweep
from mnist_tune.named_code import parse_call
from mnist_tune.numbers import rate
from mnist_tune.regimes.families import families
from mnist_tune.reports.axes import log_axis
from mnist_tune.reports.figures import panels, save
from mnist_tune.results.tables import Tables, together
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


def show_stability(sweeps: Sequence[Tables], path: Path) -> None:
    """Print and draw the sharpness over training, as a multiple of what the optimiser
    and its learning rate allow."""
    trials, epochs, measured = together(sweeps)
    relative = relative_sharpness(trials, measured)
    names = trial_names(trials[trials["trial_id"].isin(relative["trial_id"])])
    print_stability(names, summarise_stability(relative))
    losses = dict(iter(epochs.groupby("trial_id")))
    plot_stability(
        [
            (names[one], curve, losses[one])
            for one, curve in relative.groupby("trial_id", sort=False)
        ],
        path,
    )
    print(f"Picture: {path}")


def relative_sharpness(trials: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return each measurement as a multiple of the sharpness at which the optimiser's
    steps become unstable on a quadratic, its `threshold` over the learning rate.

    The columns are `trial_id`, `step`, `sharpness`, `relative` (of what the optimiser
    sees: for Adam the preconditioned sharpness, from step `AVERAGED` on) and
    `batch_relative` (of the batch sharpness; NaN for Adam). Both are NaN where no
    threshold is known, and with a schedule.
    """
    trials = trials.set_index("trial_id").loc[measured["trial_id"]]
    step = measured["step"].to_numpy()
    limits = [
        threshold(*of)
        for of in zip(
            trials["optimizer"], trials["momentum"], trials["nesterov"], strict=True
        )
    ]
    warmup = trials["warmup_steps"].to_numpy()
    share = np.where(warmup > 0, np.minimum(step / np.maximum(warmup, 1), 1), 1)
    rate = np.where(
        trials["schedule"] == "constant",
        share * trials["learning_rate"] / limits,
        np.nan,
    )
    adam = np.array([parse_call(name).name in ADAM for name in trials["optimizer"]])
    seen = np.where(
        adam, measured["preconditioned"].where(step >= AVERAGED), measured["sharpness"]
    )
    batch = np.where(adam, np.nan, measured["batch_sharpness"])
    return measured[["trial_id", "step", "sharpness"]].assign(
        relative=rate * seen, batch_relative=rate * batch
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
        alone = curve["relative"].isna().all()
        shown = curve["sharpness" if alone else "relative"]
        arrives = (shown >= ARRIVED) & (shown < ARRIVED).cummax() & ~alone
        arrived = curve["step"][arrives].min()
        after = curve["step"] >= (
            (1 - SETTLED) * curve["step"].max() if np.isnan(arrived) else arrived
        )
        row = {
            "trial_id": trial_id,
            "alone": alone,
            "untrained": shown.iloc[0],
            "arrived": arrived,
        }
        row |= shown[after].dropna().agg(low="min", median="median", high="max")
        rows.append(
            row | {"batch_median": curve["batch_relative"][after].dropna().median()}
        )
    return pd.DataFrame(rows)


def trial_names(trials: pd.DataFrame) -> dict[str, str]:
    """Return a name for each trial by its id: what distinguishes its family, its rate,
    and its seed if there are more. Those that would have the same name, such as of two
    data sets, have their id, too."""
    names = {}
    for title, family in families(trials):
        for row in family.itertuples():
            seed = f", seed {row.seed}" if trials["seed"].nunique() > 1 else ""
            names[row.trial_id] = f"{title}, rate {rate(row.learning_rate)}{seed}"
    counts = Counter(names.values())
    return {one: name + f" ({one})" * (counts[name] > 1) for one, name in names.items()}


def print_stability(names: Mapping[str, str], summary: pd.DataFrame) -> None:
    """Print a line for each trial of what `summarise_stability` returns."""
    shown = summary.drop(columns=["trial_id", "alone"]).rename(
        columns=lambda name: name.replace("_", " ")
    )
    shown.insert(0, "trial", summary["trial_id"].map(names))
    shown["arrived"] = [
        "never" if pd.isna(step) else f"step {step:.0f}" for step in summary["arrived"]
    ]
    at_edge, alone = (
        shown[~summary["alone"]],
        shown[summary["alone"]].drop(columns=["arrived", "batch median"]),
    )
    for table, said in ((at_edge, RELATIVE), (alone, ALONE)):
        if len(table):
            print(said)
            print(
                table.to_string(
                    index=False, float_format=lambda x: f"{x:.3f}", na_rep="-"
                )
            )


def plot_stability(
    curves: Sequence[tuple[str, pd.DataFrame, pd.DataFrame]], path: Path
) -> None:
    """Draw the relative sharpness of each trial by step, with its name, and thin and
    dashed the batch sharpness. Where it is not known, draw the sharpness, in a panel of
    its own. Below is the training loss, from the trial's epochs. More than `MOST_NAMED`
    trials have no names; their colours go from dark to light in the order of the
    table."""
    count, named = len(curves), len(curves) <= MOST_NAMED
    colours = [
        f"C{i}" if named else colormaps["viridis"](0.9 * i / count)
        for i in range(count)
    ]
    kinds = [curve["relative"].isna().all() for _, curve, _ in curves]
    heights = [4.0 for _ in set(kinds)] + [2.2]
    figure, (*axes, below) = panels(
        (7, sum(heights)), len(heights), height_ratios=heights, sharex=True
    )
    for axis, alone in zip(axes, sorted(set(kinds)), strict=True):
        shown = "sharpness" if alone else "relative"
        for i, (name, curve, _) in enumerate(curves):
            if kinds[i] == alone:
                axis.plot(
                    curve["step"],
                    curve[shown],
                    color=colours[i],
                    lw=1.4,
                    label=name if named else None,
                )
                axis.plot(
                    curve["step"],
                    curve["batch_relative"],
                    color=colours[i],
                    lw=0.9,
                    ls="--",
                    alpha=0.7,
                )
        if alone:
            axis.set(ylabel="sharpness", ylim=(0, None))
        else:
            axis.axhline(1, color="0.3", lw=1)
            if any(curve["batch_relative"].notna().any() for _, curve, _ in curves):
                axis.plot([], [], color="0.4", lw=0.9, ls="--", label="batch sharpness")
            axis.set_ylim(
                0,
                min(
                    2.5,
                    1.15
                    * max(1.2, *(curve["relative"].max() for _, curve, _ in curves)),
                ),
            )
            axis.set_ylabel("sharpness, relative to the edge of stability")
        if axis.get_legend_handles_labels()[1]:
            axis.legend(frameon=False, fontsize=9)
    for i, (_, _, epochs) in enumerate(curves):
        below.plot(epochs["step"], epochs["train_loss"], color=colours[i], lw=1.2)
    log_axis(below, "y")
    below.set(xlabel="step", ylabel="training loss")
    save(figure, path)


if __name__ == "__main__":
    cli.run(main)
