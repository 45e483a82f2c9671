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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

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
        return [
            float(f"{c:.3g}") for c in np.geomspace(self.first, self.last, self.values)
        ]

    def trial(self, width: int, seed: int, learning_rate: float) -> TrialConfig:
        name = "-".join(
            ["mlp", *[str(width)] * (self.depth - 1), "relu", self.initialisation]
        )
        how: dict[str, Any] = {
            "loss": "mse",
            "batch_size": self.batch_size,
            "epochs": 1,
            "holdout": 0,
        }
        return TrialConfig(
            architecture=name,
            learning_rate=learning_rate,
            seed=seed,
            data_seed=seed,
            **how,
        )

    def sweep(
        self,
        name: str,
        trials: Sequence[TrialConfig],
        sharpness_every: int | None = None,
    ) -> Sweep:
        """Run a sweep, or go on with the one that an earlier call began."""
        where = self.output / name
        print(f"{name}: {len(trials)} trials", flush=True)
        if (where / "sweep.json").exists():
            sweep = resume_sweep(where, quiet=True)
            if [*sweep.trials.sort_values("trial_id")["learning_rate"]] != [
                one.learning_rate for one in trials
            ]:
                raise SystemExit(
                    f"{where} belongs to another diagram; name another --output"
                )
        else:
            data: dict[str, Any] = {"dataset": self.dataset, "standardize": True}
            data |= {
                "train_images": self.steps * self.batch_size,
                "sharpness_images": 500,
            }
            options = SweepOptions(
                output=where, quiet=True, sharpness_every=sharpness_every, **data
            )
            sweep = run_sweep("phases", trials, options)
        if not sweep.trials["stop_reason"].isin(["completed", "diverged"]).all():
            raise SystemExit(
                f"not all trials of {where} ended; the same command goes on"
            )
        return sweep

    def first_steps(self) -> pd.DataFrame:
        """Return what each trial's steps did: `CELL`, the untrained `sharpness`, `c`,
        and whether the `loss_rises`, the `sharpness_rises` (1 or 0; NaN where it was
        not measured) and all is `lost`."""
        cells = [
            (width, seed)
            for width in sorted(self.widths, reverse=True)
            for seed in self.seeds
        ]
        untrained = self.sweep(
            "untrained", [self.trial(*cell, NOTHING) for cell in cells], NEVER
        )
        sharpness = dict(
            zip(
                cells,
                untrained.epochs.sort_values("trial_id")["untrained_sharpness"],
                strict=True,
            )
        )
        asked = dict.fromkeys(cells, self.grid)
        steps = pd.DataFrame()
        for number in count():
            rates = [
                (*cell, c / sharpness[cell])
                for cell, values in asked.items()
                for c in values
            ]
            name, every = (f"sharpness-{number}", 1) if number else ("losses", None)
            sweep = self.sweep(name, [self.trial(*one) for one in rates], every)
            table = outcomes(sweep).reindex(sorted(sweep.trials["trial_id"]))
            table[CELL] = [one[:2] for one in rates]
            table["sharpness"] = [sharpness[one[:2]] for one in rates]
            table["c"] = [c for values in asked.values() for c in values]
            steps = pd.concat([steps, table], ignore_index=True)
            asked = {
                (width, seed): open_between(cell, self.grid)
                for (width, seed), cell in steps.groupby(CELL)
            }
            if not any(asked.values()):
                return steps
        raise AssertionError("unreachable")


def outcomes(sweep: Sweep) -> pd.DataFrame:
    """Return what the steps of a sweep's trials did, by trial."""
    epochs = sweep.epochs.set_index("trial_id")
    # NaN compares as false: what is not finite counts as risen and as lost.
    calm = (epochs["step_loss_max"] <= epochs["step_loss_first"]) & (
        epochs["train_loss"] <= epochs["untrained_loss"]
    )
    found = pd.DataFrame(
        {
            "loss_rises": ~calm,
            "lost": ~(epochs["step_loss_max"] <= LOST),
            "sharpness_rises": np.nan,
        }
    )
    if "sharpness_steps" in epochs:
        measured = sweep.sharpness().set_index("trial_id")
        before = measured.loc[measured["step"] == 0, "sharpness"].reindex(
            measured.index
        )
        rises = (measured["step"] > 0) & ~(measured["sharpness"] <= before)
        found["sharpness_rises"] = rises.groupby(level=0).any().astype(float)
    return found


def open_between(cell: pd.DataFrame, grid: Sequence[float]) -> list[float]:
    """Return the values of c at which the sharpness of a network and seed is to be
    measured next; none at the end. They lie between the smallest c at which it rises,
    or all is lost, and the largest one below that at which it falls."""
    c = cell["c"]
    rises = c[(cell["sharpness_rises"] == 1) | cell["lost"]].min()
    falls = c[(cell["sharpness_rises"] == 0) & ~(c >= rises)].max()
    low = falls if np.isfinite(falls) else BELOW * c[cell["loss_rises"]].min()
    left = [one for one in grid if not (one <= low or one >= rises)]
    return (
        left
        if len(left) <= POINTS
        else [left[(i + 1) * len(left) // (POINTS + 1)] for i in range(POINTS)]
    )


def thresholds(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the thresholds of each network and seed, as Kalra and Barkeshli 2023
    (arXiv 2302.12250) define them; NaN where one is outside the values of c that were
    tried."""
    rows = []
    for (width, seed), cell in steps.groupby(CELL):
        c, lost = cell["c"], cell.loc[cell["lost"], "c"].min()
        row = {"width": width, "seed": seed, "sharpness": cell["sharpness"].iloc[0]}
        row |= {
            "c_loss": c[cell["loss_rises"]].min(),
            "c_sharp": c[cell["sharpness_rises"] == 1].min(),
        }
        rows.append(row | {"c_max": c[c < lost].max()})
    return pd.DataFrame(rows)


def plot(found: pd.DataFrame) -> Figure:
    """Draw the thresholds by width: a marker for each seed, a line through the means,
    and what is above it shaded."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained", dpi=110)
    axis, means = figure.subplots(), found.groupby("width")[list(STYLES)].mean()
    top = 1.4 * found[list(STYLES)].max(axis=None)
    for name, (colour, marker, label) in STYLES.items():
        axis.scatter(
            found["width"], found[name], color=colour, marker=marker, s=22, alpha=0.7
        )
        axis.plot(means[name], color=colour, lw=1.2, label=f"{name}: {label}")
        axis.fill_between(means.index, means[name], top, color=colour, alpha=0.1, lw=0)
    axis.axhline(2, color="0.4", lw=1, ls=":", label="2, the edge of a quadratic")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(means.index, [str(one) for one in means.index])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set(
        xlabel="hidden width",
        ylabel="c = learning rate × untrained sharpness",
        ylim=(1.5, top),
    )
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def main() -> None:
    diagram = tyro.cli(Diagram)
    found = thresholds(diagram.first_steps())
    print(
        "c = learning rate × untrained sharpness, of each network and seed, and the means over seeds"
    )
    print(found.round(2).to_string(index=False))
    print(found.groupby("width").mean().drop(columns="seed").round(2).to_string())
    found.to_csv(diagram.output / "thresholds.csv", index=False, float_format="%.6g")
    plot(found).savefig(diagram.output / "phase_diagram.png")
    print(f"Picture: {diagram.output / 'phase_diagram.png'}")


if __name__ == "__main__":
    main()
