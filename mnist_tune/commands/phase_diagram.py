"""What do the first steps do at each learning rate, in units of the sharpness?"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from mnist_tune import TrialConfig, UserError, storage
from mnist_tune.data.dataset import load_dataset
from mnist_tune.invocation import command
from mnist_tune.regimes.families import layers
from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.widths import exponents
from mnist_tune.reports.figures import panels, save
from mnist_tune.reports.terminal import exit_code
from mnist_tune.results.folder import UNTRAINED, exists, new_folder
from mnist_tune.results.tables import together
from mnist_tune.sweep import Sweep
from mnist_tune.terminal import announce
from mnist_tune.trial import OPEN_REASONS
from mnist_tune.tuning.options import (
    AUTO,
    SweepOptions,
    crossed,
    flag,
    mlp_name,
    rates_of,
    refuse_not_above_0,
    with_given,
)
from mnist_tune.tuning.sweep import run_or_resume
from mnist_tune.tuning.wanted import asked, resumed

NOTHING = 1e-30
"""A learning rate that changes nothing, of the trials whose untrained sharpness is measured."""
NEVER = 10**9
"""A number of steps that no trial makes: its sharpness is measured before training only."""

LOST = 1e5
"""A batch loss above which training is lost."""

POINTS = 3
"""Values of c tried between two at which the sharpness falls and rises: they divide what is open by four."""
BELOW = 0.7
"""The search for `c_sharp` begins at so much of `c_loss`."""
ROUNDING = 1e-6
"""Relative error of a c that is computed back from its learning rate."""

SET_HERE = {
    "train_images": "--batch-size times --steps",
    "sharpness_every": "what each sweep of a diagram needs",
}
"""Options that can't be given, since a diagram sets them, and to what."""

NAME = "phases"
"""What the sweeps of a diagram are called."""
CELL = ["architecture", "seed"]
GRID = 0.035
"""Half of a step of the grid of c, by default: so far may a threshold be off."""

STYLES = {"c_loss": ("C0", "o", "loss rises"), "c_sharp": ("C1", "s", "sharpness rises"), "c_max": ("C3", "^", "lost")}
"""The thresholds, each with the colour, the marker and the words for the phase above it."""


@dataclass(frozen=True, kw_only=True)
class PhaseDiagram(SweepOptions):
    """Find from which c = learning rate × untrained sharpness on the loss rises, the sharpness rises, and all is lost.

    The loss is half the squared error. To draw the picture again, resume the finished diagram: --resume DIR
    """

    scheduler: Literal["fifo"] = "fifo"
    """Every trial makes all its steps."""
    standardize: bool = True
    """Subtract the training set's mean and divide by its standard deviation."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Widths of the hidden layers."""
    depths: tuple[int, ...] = (4,)
    """Numbers of layers with weights. Several are crossed with the widths."""
    activation: Literal["relu", "tanh", "gelu", "silu"] = "relu"
    """The activation between the layers."""
    initialisation: Literal["he", "he0", "glorot"] = "he"
    """he draws weights with variance 2 / fan-in (last layer 1 / fan-in), without biases; he0 has a last layer of zeros;
    glorot is that of stax, with biases."""
    c: str = "1.5:48:51"
    """The values of c, FIRST:LAST:COUNT, log-spaced; by default ten to the octave."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each sets an initialisation and a batch order."""
    steps: int = 10
    """Steps of a trial."""
    batch_size: int = 512
    """Images a step. --train-images is this times the steps."""
    sharpness_images: int | None = 500
    """Training images that sharpness is measured on, the same for all measurements."""

    def __post_init__(self) -> None:
        super().__post_init__()
        crossed(self, "widths", "depths", "seeds", "c", c=rates_of(self.c, "--c"))
        refuse_not_above_0(self, "steps", "batch_size")

    def networks(self) -> list[TrialConfig]:
        """Return a trial for each network and seed, the largest networks first, at a rate that changes nothing."""
        plain = TrialConfig(learning_rate=NOTHING, loss="mse", batch_size=self.batch_size, epochs=1)
        names = [
            mlp_name(width, depth, self.activation, self.initialisation)
            for depth in sorted(self.depths, reverse=True)
            for width in sorted(self.widths, reverse=True)
        ]
        return [replace(plain, architecture=name, seed=seed, data_seed=seed) for name in names for seed in self.seeds]


ASKED = PhaseDiagram


def main() -> int:
    config = asked(ASKED)
    for name in SET_HERE.keys() & config.given:
        raise UserError(f"{flag(name)} is {SET_HERE[name]} here; leave it out")
    where = storage.place(
        config.goes_on()
        or config.output
        or new_folder(Path("results/phase_diagram"), f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    )
    begun = storage.join(where, UNTRAINED)
    if config.goes_on() or exists(begun):
        config = resumed(config, begun, NAME)
    else:
        refuse_too_few_images(config)
    again = f"{command('phase-diagram')} --resume {shlex.quote(str(where))}"
    sweeps: list[Sweep] = []
    for name, every, trials in stages(config, sweeps):
        announce(f"{name}: {len(trials)} trials of {config.steps} steps", config.quiet)
        # Each records the options of the diagram, so that a resume needs no flags.
        options = replace(config, output=storage.join(where, name), resume=AUTO, quiet=True, sharpness_every=every)
        options = replace(options, train_images=config.steps * config.batch_size)
        sweeps.append(run_or_resume(NAME, with_given(options, config.given), trials))
        ended = sweeps[-1].trials.set_index("stop_reason")
        if "error" in ended.index:
            print(
                f"a trial failed: {ended.loc[['error'], 'error'].iloc[0]}; train it again with: {again} --retry-errored"
            )
            return 1
        if ended.index.isin(OPEN_REASONS).any():
            print(f"not all trials have ended; go on with: {again}")
            return exit_code(sweeps[-1].trials)
    found = thresholds(_measured(sweeps))
    print_phases(found)
    if found[list(STYLES)].isna().all(axis=None):
        print(f"No threshold lies within --c {config.c}, so there is no picture; a new diagram may try other values")
        return 0
    picture = (where if isinstance(where, Path) else Path()) / "phase_diagram.png"
    plot_phases(found, picture)
    print(f"Picture: {picture}")
    return 0


def refuse_too_few_images(config: PhaseDiagram) -> None:
    """Raise a `UserError` if the data have fewer training images than a trial's steps need."""
    needed = config.steps * config.batch_size
    data = load_dataset(config.dataset, config.data_dir, not config.quiet)
    if needed > (most := len(data.train_labels)):
        fewer = f"a --batch-size of at most {most // config.steps}" if most >= config.steps else "fewer --steps"
        said = f"{config.steps} steps of {config.batch_size} images need {needed} training images"
        raise UserError(f"{said}, and {data.name} has {most}; give {fewer}")


def stages(config: PhaseDiagram, done: Sequence[Sweep]) -> Iterator[tuple[str, int | None, list[TrialConfig]]]:
    """Yield each sweep's name, steps between measurements of sharpness and trials. `done` holds those that have run."""
    networks = config.networks()
    yield UNTRAINED, NEVER, networks
    grid = rates_of(config.c)
    sharpness = first_steps(*together(done)).set_index(CELL)["sharpness"]

    def trial(network: TrialConfig, c: float) -> TrialConfig:
        return replace(network, learning_rate=c / sharpness[network.architecture, network.seed])

    yield "losses", None, [trial(network, c) for network in networks for c in grid]
    for number in range(1, len(grid)):
        cells = dict(iter(_measured(done).groupby(CELL)))
        left = [(one, open_between(cells[one.architecture, one.seed], grid)) for one in networks]
        if not any(values for _, values in left):
            return
        yield f"sharpness-{number}", 1, [trial(network, c) for network, values in left for c in values]


def _measured(done: Sequence[Sweep]) -> pd.DataFrame:
    steps = first_steps(*together(done))
    return steps[steps["learning_rate"] > NOTHING]


def first_steps(trials: pd.DataFrame, epochs: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return what the first epoch of each trial did, given what `together` returns.

    A row a trial: `architecture`, `seed`, `sharpness` (before training; the first of a network and seed counts), `c`
    (the learning rate times that), `loss_rises` (whether a batch loss, or the training loss after the last step, is
    above the first one), `sharpness_rises` (whether a later sharpness is above the trial's first, 0 or 1; NaN if none
    was measured) and `lost` (whether a batch loss is above `LOST`, or not finite).
    """
    first = epochs[epochs["epoch"] == 1].set_index("trial_id")
    found = trials[trials["trial_id"].isin(first.index)].set_index("trial_id")[[*CELL, "learning_rate"]]
    first = first.loc[found.index]
    found["sharpness"] = first["untrained_sharpness"].astype(float)
    found["sharpness"] = found.groupby(CELL)["sharpness"].transform("first")
    found["c"] = found["learning_rate"] * found["sharpness"]
    # NaN compares as false: what is not finite counts as risen and as lost.
    calm = first["step_loss_max"] <= first["step_loss_first"]
    found["loss_rises"] = ~(calm & (first["train_loss"] <= first["untrained_loss"]))
    found["lost"] = ~(first["step_loss_max"] <= LOST)
    untrained = measured[measured["step"] == 0].set_index("trial_id")["sharpness"]
    later = measured[measured["step"] > 0]
    rose = ~(later["sharpness"].to_numpy() <= untrained.reindex(later["trial_id"]).to_numpy())
    risen = found.index.isin(later["trial_id"][rose]).astype(float)
    found["sharpness_rises"] = np.where(found.index.isin(later["trial_id"]), risen, np.nan)
    return found.reset_index()


def thresholds(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the thresholds of each network and seed, from small to large networks.

    They are those of Kalra and Barkeshli 2023, arXiv 2302.12250:

    - `c_loss`: the smallest c at which the loss rises.
    - `c_sharp`: the smallest c at which the sharpness rises.
    - `c_max`: the largest c below the smallest at which training is lost.

    One that is outside the values of c that were tried is NaN. `steps` is what `first_steps` returns.
    """
    rows: list[dict[str, Any]] = []
    for (architecture, seed), part in steps.groupby(CELL):
        c, lost = part["c"], part["c"][part["lost"].astype(bool)].min()
        row = {"architecture": architecture, "seed": seed, "sharpness": part["sharpness"].median()}
        row |= {"c_loss": c[part["loss_rises"].astype(bool)].min(), "c_sharp": c[part["sharpness_rises"] == 1].min()}
        rows.append(row | {"c_max": c[c < lost].max()})
    return pd.DataFrame(sorted(rows, key=lambda row: (_sizes(row["architecture"]), row["seed"])))


def _sizes(architecture: str) -> tuple[int, float]:
    """Return the number of an MLP's layers with weights and its width, by which networks are sorted."""
    width, hidden, _ = layers(architecture) or (math.nan, 0, "")
    return hidden + 1, width


def open_between(cell: pd.DataFrame, grid: Sequence[float]) -> list[float]:
    """Return the values of c at which the sharpness of a network and seed is to be measured next; none at the end.

    They lie between the smallest c at which it rises, or training is lost, and the largest one below that at which it
    falls. `grid` has the values of c that may be tried, in order.
    """
    c = cell["c"]
    rises = c[(cell["sharpness_rises"] == 1) | cell["lost"]].min()
    falls = c[(cell["sharpness_rises"] == 0) & ~(c >= rises)].max()
    start = BELOW * c[cell["loss_rises"]].min()
    low = falls if np.isfinite(falls) else start
    left = [one for one in grid if not (one <= low * (1 + ROUNDING) or one >= rises * (1 - ROUNDING))]
    if len(left) <= POINTS:
        return left
    return [left[round((i + 1) * (len(left) + 1) / (POINTS + 1)) - 1] for i in range(POINTS)]


def print_phases(found: pd.DataFrame) -> None:
    """Print the untrained sharpness and the thresholds of each network, the means over its seeds and each seed's, and
    how the learning rates at the thresholds move with the width."""
    rows = []
    for architecture, part in found.groupby("architecture", sort=False):
        row = {"network": architecture, "sharpness": f"{part['sharpness'].mean():.3g}"}
        rows.append(row | {name: _said(part[name]) for name in STYLES})
    print("c = learning rate × untrained sharpness, mean over seeds (each seed)")
    print(pd.DataFrame(rows).to_string(index=False))
    for threshold in STYLES:
        rates = found[threshold] / found["sharpness"]
        near = [Interval(one * (1 - GRID), one, one * (1 + GRID)) for one in rates]
        for law in exponents(zip(found["architecture"], near, strict=True)):
            print(f"{law.title}: the learning rate at {threshold} {law}")


def _said(values: pd.Series) -> str:
    if values.isna().all():
        return "-"
    return f"{values.mean():.2f} ({', '.join('-' if np.isnan(one) else f'{one:.3g}' for one in values)})"


def plot_phases(found: pd.DataFrame, path: Path) -> None:
    """Draw the thresholds by width, a panel a depth: a marker for each seed, a line through the means, and the phase
    above each threshold shaded in its colour."""
    depths = found["architecture"].map(lambda name: _sizes(name)[0])
    parts, tops = list(found.groupby(depths)), [*list(STYLES)[1:], None]
    figure, [axes] = panels((2 + 4.5 * len(parts), 4.2), 1, len(parts), sharey=True, squeeze=False)
    for axis, (depth, part) in zip(axes, parts, strict=True):
        width = part["architecture"].map(lambda name: _sizes(name)[1])
        means = part.groupby(width)[list(STYLES)].mean()
        for (name, (colour, marker, label)), top in zip(STYLES.items(), tops, strict=True):
            axis.scatter(width, part[name], color=colour, marker=marker, s=22, alpha=0.7)
            axis.plot(means[name], color=colour, lw=1.2, label=f"{name}: {label}" if axis is axes[0] else "")
            above = means[top] if top else 2 * found[list(STYLES)].max(axis=None)
            axis.fill_between(means.index, means[name], above, color=colour, alpha=0.1, lw=0)
        axis.axhline(2, color="0.4", lw=1, ls=":", label="2, the edge of a quadratic" if axis is axes[0] else "")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_xticks(means.index, [str(one) for one in means.index])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set(xlabel="hidden width", title=f"{depth} layers", ylim=(1.5, 1.4 * found[list(STYLES)].max(axis=None)))
    axes[0].set_ylabel("c = learning rate × untrained sharpness")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    save(figure, path)
