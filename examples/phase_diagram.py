"""Sweeps that follow from each other: what do the first steps do, in units of the
sharpness?

    python examples/phase_diagram.py
    python examples/phase_diagram.py --initialisation he0 --widths 64 256

Trains ReLU networks of several widths for ten steps at c = learning rate × untrained
sharpness, and finds for each network and seed the c from which the loss rises (c_loss),
from which the sharpness rises (c_sharp), and up to which the loss stays below 100,000
(c_max). On a quadratic, the loss rises from c = 2 on. Draws phase_diagram.png.

One sweep measures the untrained sharpness, one trains at every c, and a few find
c_sharp with the sharpness after every step, each between what the last one left open.
They are below --output. The same command goes on where it was ended.

Measured: 8 min on 2 cores of an AMD EPYC (AVX-512). c_loss falls from 12.3 at width 64
to 2.6 at width 512, c_sharp from 13.0 to 3.5, c_max from 15.5 to 10.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

from mnist_tune import Sweep, SweepOptions, TrialConfig, resume_sweep, run_sweep

CELL = ["width", "seed"]
"""What has thresholds of its own."""
NOTHING = 1e-30
"""A learning rate that changes nothing."""
NEVER = 10**9
"""More steps than a trial makes: its sharpness is measured before training only."""
LOST = 1e5
"""A batch loss above which training is lost."""
POINTS = 3
"""Values of c tried between two at which the sharpness falls and rises."""
BELOW = 0.7
"""The search for `c_sharp` begins at so much of `c_loss`."""
STYLES = {
    "c_loss": ("C0", "o", "loss rises"),
    "c_sharp": ("C1", "s", "sharpness rises"),
    "c_max": ("C3", "^", "lost"),
}
"""The thresholds, each with the colour, the marker and the words for what happens above
it."""


@dataclass(frozen=True)
class Diagram:
    """Find the learning rates from which the first steps go wrong, in units of 1 /
    sharpness. The loss is half the squared error."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Widths of the hidden layers."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each sets an initialisation and a batch order."""
    depth: int = 4
    """Layers with weights."""
    initialisation: Literal["he", "he0", "glorot"] = "he"
    """he draws weights with variance 2 / fan-in (last layer 1 / fan-in), without
    biases; he0 has a last layer of zeros; glorot is that of stax, with biases."""
    first: float = 1.5
    """The least c."""
    last: float = 48.0
    """The largest c."""
    values: int = 51
    """How many values of c are tried, evenly on a log scale; by default ten to the
    octave."""
    steps: int = 10
    """Steps of a trial."""
    batch_size: int = 512
    """Images a step."""
    dataset: str | None = None
    """By default mnist."""
    output: Path = Path("results/phase_diagram")
    """Folder of the sweeps and of the picture."""

    @property
    def grid(self) -> list[float]:
        values = np.geomspace(self.first, self.last, self.values)
        return [float(f"{c:.3g}") for c in values]

    @property
    def cells(self) -> list[tuple[int, int]]:
        """The widths and seeds, the largest network first."""
        widths = sorted(self.widths, reverse=True)
        return list(product(widths, self.seeds))

    def trial(self, width: int, seed: int, learning_rate: float) -> TrialConfig:
        hidden_layers = f"{width}-" * (self.depth - 1)
        return TrialConfig(
            architecture=f"mlp-{hidden_layers}relu-{self.initialisation}",
            learning_rate=learning_rate,
            seed=seed,
            data_seed=seed,
            loss="mse",
            batch_size=self.batch_size,
            epochs=1,
            holdout=0,
        )

    def sweep(
        self,
        name: str,
        trials: Sequence[TrialConfig],
        sharpness_every: int | None = None,
    ) -> Sweep:
        """Run a sweep, or go on with the one that an earlier call began."""
        folder = self.output / name
        print(f"{name}: {len(trials)} trials", flush=True)
        if (folder / "sweep.json").exists():
            sweep = self.resume(folder, trials)
        else:
            options = SweepOptions(
                output=folder,
                quiet=True,
                dataset=self.dataset,
                standardize=True,
                train_images=self.steps * self.batch_size,
                sharpness_images=500,
                sharpness_every=sharpness_every,
            )
            sweep = run_sweep("phases", trials, options)
        ended = sweep.trials["stop_reason"].isin(["completed", "diverged"])
        if not ended.all():
            raise SystemExit(
                f"not all trials of {folder} ended; the same command goes on"
            )
        return sweep

    def resume(self, folder: Path, trials: Sequence[TrialConfig]) -> Sweep:
        """Go on with a sweep if it is one of these trials."""
        sweep = resume_sweep(folder, quiet=True)
        rates = sweep.trials.sort_values("trial_id")["learning_rate"]
        if list(rates) != [trial.learning_rate for trial in trials]:
            raise SystemExit(
                f"{folder} belongs to another diagram; name another --output"
            )
        return sweep

    def untrained_sharpness(self) -> dict[tuple[int, int], float]:
        """Measure the sharpness of each network and seed before training."""
        trials = [self.trial(width, seed, NOTHING) for width, seed in self.cells]
        epochs = self.sweep("untrained", trials, NEVER).epochs
        # Ids are in the order of the trials; rows are in the order in which they ended.
        sharpness = epochs.sort_values("trial_id")["untrained_sharpness"]
        return dict(zip(self.cells, sharpness, strict=True))

    def first_steps(self) -> pd.DataFrame:
        """Return what each trial's steps did: `CELL`, the untrained `sharpness`, `c`,
        and whether the `loss_rises`, the `sharpness_rises` (1 or 0; NaN where it was
        not measured) and all is `lost`."""
        sharpness = self.untrained_sharpness()
        # The losses are cheap: they are measured at every c.
        values = dict.fromkeys(self.cells, self.grid)
        steps = self.steps_at("losses", values, sharpness)
        # The sharpness is not: it is measured at the few c that close in on its edge.
        for number in count(1):
            values = {}
            for (width, seed), tried in steps.groupby(CELL):
                values[width, seed] = open_between(tried, self.grid)
            if not any(values.values()):
                break
            name = f"sharpness-{number}"
            measured = self.steps_at(name, values, sharpness, sharpness_every=1)
            steps = pd.concat([steps, measured], ignore_index=True)
        return steps

    def steps_at(
        self,
        name: str,
        values: Mapping[tuple[int, int], Sequence[float]],
        sharpness: Mapping[tuple[int, int], float],
        sharpness_every: int | None = None,
    ) -> pd.DataFrame:
        """Train each network and seed at its values of c, and return what the steps
        did."""
        trials = []
        settings = []
        for (width, seed), cell_values in values.items():
            untrained = sharpness[width, seed]
            for c in cell_values:
                trials.append(self.trial(width, seed, c / untrained))
                settings.append((width, seed, untrained, c))
        sweep = self.sweep(name, trials, sharpness_every)
        table = outcomes(sweep)
        # Ids are in the order of the trials, and so are the settings.
        table = table.reindex(sorted(sweep.trials["trial_id"])).reset_index(drop=True)
        columns = pd.DataFrame(settings, columns=[*CELL, "sharpness", "c"])
        return table.join(columns)


def outcomes(sweep: Sweep) -> pd.DataFrame:
    """Return what the steps of a sweep's trials did, by trial."""
    epochs = sweep.epochs.set_index("trial_id")
    largest = epochs["step_loss_max"]
    # NaN compares as false: what is not finite counts as risen and as lost.
    no_step_rises = largest <= epochs["step_loss_first"]
    loss_falls = epochs["train_loss"] <= epochs["untrained_loss"]
    is_kept = largest <= LOST
    table = pd.DataFrame(
        {"loss_rises": ~(no_step_rises & loss_falls), "lost": ~is_kept}
    )
    table["sharpness_rises"] = np.nan
    if "sharpness_steps" in epochs:
        table["sharpness_rises"] = sharpness_rises(sweep)
    return table


def sharpness_rises(sweep: Sweep) -> pd.Series:
    """Return 1 for each trial in which a step led above the untrained sharpness, 0 for
    the others."""
    measured = sweep.sharpness().set_index("trial_id")
    sharpness = measured["sharpness"]
    is_untrained = measured["step"] == 0
    untrained = sharpness[is_untrained].reindex(measured.index)
    is_higher = ~(sharpness <= untrained)
    rises = is_higher & (measured["step"] > 0)
    return rises.groupby(level=0).any().astype(float)


def open_between(cell: pd.DataFrame, grid: Sequence[float]) -> list[float]:
    """Return the values of c at which the sharpness of a network and seed is to be
    measured next; none at the end. They lie between the smallest c at which it rises,
    or all is lost, and the largest one below that at which it falls."""
    c = cell["c"]
    rises = cell["sharpness_rises"] == 1
    falls = cell["sharpness_rises"] == 0
    high = c[rises | cell["lost"]].min()
    low = c[falls & ~(c >= high)].max()
    if np.isnan(low):
        low = BELOW * c[cell["loss_rises"]].min()
    # NaN compares as false: a limit that is not there leaves nothing out.
    between = [value for value in grid if not (value <= low or value >= high)]
    if len(between) <= POINTS:
        return between
    # Spread evenly over what is open.
    places = [(i + 1) * len(between) // (POINTS + 1) for i in range(POINTS)]
    return [between[place] for place in places]


def thresholds(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the thresholds of each network and seed, as Kalra and Barkeshli 2023
    (arXiv 2302.12250) define them; NaN where one is outside the values of c that were
    tried."""
    rows = []
    for (width, seed), cell in steps.groupby(CELL):
        c = cell["c"]
        first_lost = c[cell["lost"]].min()
        sharpness_rises = cell["sharpness_rises"] == 1
        row = {"width": width, "seed": seed}
        row["sharpness"] = cell["sharpness"].iloc[0]
        row["c_loss"] = c[cell["loss_rises"]].min()
        row["c_sharp"] = c[sharpness_rises].min()
        row["c_max"] = c[c < first_lost].max()
        rows.append(row)
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame) -> Figure:
    """Draw the thresholds by width: a marker for each seed, a line through the means,
    and what is above it shaded."""
    names = list(STYLES)
    means = table.groupby("width")[names].mean()
    top = 1.4 * table[names].max(axis=None)
    figure = Figure(figsize=(6.5, 4.2), layout="constrained", dpi=110)
    axis = figure.subplots()
    for name, (colour, marker, label) in STYLES.items():
        seeds = table[name]
        axis.scatter(
            table["width"], seeds, color=colour, marker=marker, s=22, alpha=0.7
        )
        mean = means[name]
        axis.plot(mean, color=colour, lw=1.2, label=f"{name}: {label}")
        axis.fill_between(mean.index, mean, top, color=colour, alpha=0.1, lw=0)
    axis.axhline(2, color="0.4", lw=1, ls=":", label="2, the edge of a quadratic")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(means.index, [str(width) for width in means.index])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("hidden width")
    axis.set_ylabel("c = learning rate × untrained sharpness")
    axis.set_ylim(1.5, top)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def main() -> None:
    diagram = tyro.cli(Diagram)
    steps = diagram.first_steps()
    table = thresholds(steps)
    means = table.groupby("width").mean().drop(columns="seed")
    print(
        "c = learning rate × untrained sharpness, of each network and seed, and the means over seeds"
    )
    print(table.round(2).to_string(index=False))
    print(means.round(2).to_string())
    table.to_csv(diagram.output / "thresholds.csv", index=False, float_format="%.6g")
    picture = diagram.output / "phase_diagram.png"
    plot(table).savefig(picture)
    print(f"Picture: {picture}")


if __name__ == "__main__":
    main()
