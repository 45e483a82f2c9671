"""Draw the pictures of the docs again, from stored curves.

    python docs/pictures.py
    python docs/pictures.py --only seven page
    python docs/pictures.py --only edge --edge results/edge/TIME

- *seven*: `docs/seven_regimes.png`, a curve of each regime.
- *labels*: `docs/labels.png`, sweeps that a person labelled
  (`tests/regimes/real_*.csv`).
- *regimes*: `docs/regimes.png`, the main command's sweep, from its record.
- *page*: `docs/report.png`, the top of that sweep's page, as Chromium shows it.
- *edge*, *stability*, *phases*: `docs/edge.png`, `docs/stability.png`,
  `docs/phase_diagram.png`, from their records. The commands that made these are in
  `docs/edge.md` and `docs/sharpness.md`. A new run replaces the record if its folders
  are named: `--edge`, `--stability`, `--phases`.

Nothing is trained. The labels are those of today's rules.
"""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import examples.phase_diagram as phase_diagram
from examples.stability import plot_stability, relative_sharpness, together, trial_names
from mnist_tune import UserError, cli, load_sweep
from mnist_tune.numbers import rate
from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.data_facts import DATA, data_facts
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.limits import HALF, TREND, VISIBLE
from mnist_tune.reports.axes import PlacedName, log_axis, place_labels
from mnist_tune.reports.figures import save
from mnist_tune.reports.styles import COLOURS, MARKERS
from validation.label_cuts import SETS, Sweep, complete, read_set

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECORDS = ROOT / "benchmarks" / "records"
RECORDED = RECORDS / "2026-11-28-main-sweep-amd-epyc-avx2"
EDGE = RECORDS / "2026-11-28-edge-amd-epyc-avx2"
STABILITY = RECORDS / "2026-11-28-stability-amd-epyc-avx2.csv"
PHASES = RECORDS / "2026-11-28-phases-amd-epyc-avx2.csv"

Picture = Literal["seven", "labels", "regimes", "page", "edge", "stability", "phases"]

SHOWN = {
    "converged": ("batch_128", 0.3),
    "slow": ("few_images", 0.01),
    "oscillating": ("main", 1.6),
    "diverged": ("main", 2.8),
    "underfit": ("deep linear clipped", 0.1),
    "overfit": ("noisy digits adamw", 0.01),
    "undecided": ("batch_2048", 1.0),
}
"""The sweep and the learning rate of the curve that is shown of each regime."""

PANELS = {
    "tiny": "mlp-16-tanh",
    "batch_8": "mlp-64-tanh, batches of 8",
    "batch_2048": "mlp-64-tanh, batches of 2,048",
    "relu": "mlp-64-relu-glorot",
    "edge": "mlp-1024-128-tanh, five seeds",
    "noise_large": "mlp-512-tanh, half of the labels wrong",
}
"""The sweeps that *labels* shows, and their titles."""


@dataclass(frozen=True)
class Pictures:
    """Draw the pictures of the docs from stored curves."""

    only: tuple[Picture, ...] = (
        "seven",
        "labels",
        "regimes",
        "page",
        "edge",
        "stability",
        "phases",
    )
    """Which of them."""
    edge: Path | None = None
    """The folder of a search for an edge, whose rows replace the record of *edge*."""
    stability: tuple[Path, ...] = ()
    """The folders of sweeps with --sharpness-every, whose curves replace the record of
    *stability*."""
    phases: Path | None = None
    """The folder of a phase diagram, whose thresholds replace the record of
    *phases*."""


def real_table(part: Literal["trials", "epochs"]) -> pd.DataFrame:
    table = pd.read_csv(SETS / f"real_{part}.csv", dtype={"trial": str})
    return table.rename(columns={"trial": "trial_id"})


def real_sweeps() -> Iterator[Sweep]:
    """Yield the built-in networks' sweeps that a person labelled."""
    epochs = real_table("epochs")
    for name, rows in real_table("trials").groupby("sweep", sort=False):
        trials = complete(rows).reset_index(drop=True)
        data = DATA[rows["dataset"].iloc[0]]
        yield Sweep(str(name), trials, epochs[epochs["sweep"] == name], data)


def main_sweep() -> Sweep:
    sweep = load_sweep(RECORDED)
    return Sweep("main", sweep.trials, sweep.epochs, data_facts(sweep.meta))


class Example(NamedTuple):
    """A trial with its label, its rows and its curve."""

    trial: Any
    rows: pd.DataFrame
    curve: Curve


def examples() -> dict[str, Example]:
    """Return the trial that is shown of each regime."""
    sweeps = [*real_sweeps(), main_sweep(), *read_set(2), *read_set(3)]
    sweep_by_name = {sweep.name: sweep for sweep in sweeps}
    example_by_regime = {}
    for regime, (name, learning_rate) in SHOWN.items():
        sweep = sweep_by_name[name]
        trials = sweep.labelled()
        row = int(np.flatnonzero(trials["learning_rate"] == learning_rate)[0])
        curve = list(curves_of(trials, sweep.epochs, sweep.data))[row]
        trial = next(trials.iloc[[row]].itertuples())
        example_by_regime[regime] = Example(trial, sweep.curve(trial.trial_id), curve)
    return example_by_regime


def decided(regime: str, curve: Curve) -> np.ndarray:
    """Return the epochs, from 0, that decided a curve's label."""
    epochs = np.arange(curve.epochs)
    if regime == "oscillating":
        falls = curve.falls > np.maximum(VISIBLE, curve.falls_noise)
        return 1 + np.flatnonzero(curve.spikes()[1:] | falls)
    if regime == "diverged" and curve.train_loss is not None:
        return np.flatnonzero(~(curve.train_loss <= curve.untrained))
    if regime in ("slow", "overfit"):  # another line shows why
        return epochs[:0]
    if regime == "converged":
        return epochs[-TREND:]
    if regime == "underfit":
        late_count = max(round(HALF * curve.epochs), 1)
        return epochs[[-late_count, -1]]
    return epochs[-1:]


RING = {"ls": "", "marker": "o", "ms": 9, "mfc": "none", "mec": "0.15", "mew": 1.1}


def draw_example(axis: Any, regime: str, example: Example) -> None:
    trial, rows, curve = example
    x = rows["epoch"].to_numpy()
    error = 1 - curve.score
    colour = COLOURS[regime]
    axis.plot(x, error, color=colour, lw=1.8)
    ringed = decided(regime, curve)
    axis.plot(x[ringed], error[ringed], **RING)
    axis.axhline(1 - trial.target, color="0.3", lw=1, ls="--")
    if regime == "slow":
        draw_projection(axis, trial, x[-1], error[-1])
    if regime == "overfit":
        draw_held_out(axis, x, 1 - curve.held_out)
    log_axis(axis, "y")
    axis.set_ylim(0.004, 1.2)
    axis.set_xlabel("epoch")
    axis.grid(alpha=0.25)
    title = {"color": colour, "fontweight": "bold", "fontsize": 11, "loc": "left"}
    axis.set_title(f"{regime}\n", **title)
    evidence = textwrap.fill(trial.regime_evidence, 44)
    small = {"fontsize": 7.5, "color": "0.25", "linespacing": 1.05}
    axis.text(0, 1.015, evidence, transform=axis.transAxes, **small)


def draw_projection(axis: Any, trial: Any, epoch: float, error: float) -> None:
    """Draw the way from a slow curve's end to the target, and the interval in which it
    should get there."""
    target_error = 1 - trial.target
    colour = COLOURS["slow"]
    way = [epoch, trial.reaches], [error, target_error]
    axis.plot(*way, color=colour, lw=1.8, ls=":")
    interval = [trial.reaches_from, trial.reaches_to], [target_error, target_error]
    axis.plot(*interval, color=colour, lw=5, alpha=0.4)


def draw_held_out(axis: Any, x: np.ndarray, error: np.ndarray) -> None:
    """Draw the held-out error of an overfitted curve, its best and its last ringed."""
    axis.plot(x, error, color=COLOURS["overfit"], lw=1.8, ls=":")
    best_and_last = [int(np.argmin(error)), -1]
    axis.plot(x[best_and_last], error[best_and_last], **RING)


def plot_seven(path: Path) -> None:
    """Draw a panel a regime: the error by epoch, the target dashed, and what decided
    ringed."""
    figure = Figure(figsize=(11.5, 5.8), layout="constrained", dpi=100)
    axes = figure.subplots(2, 4, sharey=True).ravel()
    for axis, (regime, example) in zip(axes, examples().items(), strict=False):
        draw_example(axis, regime, example)
    for axis in axes[::4]:
        axis.set_ylabel("error (1 − accuracy)")
    axes[-1].axis("off")
    legend = (
        "solid: training error",
        "dashed: error at the target",
        "ringed: the epochs that decided",
        "dotted: the course expected (slow),",
        "or held-out error (overfit)",
    )
    layout = {"transform": axes[-1].transAxes, "va": "center", "linespacing": 1.7}
    axes[-1].text(0.02, 0.5, "\n".join(legend), **layout)
    save(figure, path)


def plot_labels(path: Path) -> None:
    """Draw the error by epoch of every trial of some sweeps, a panel a sweep."""
    figure = Figure(figsize=(11.5, 7.2), dpi=100)
    figure.subplots_adjust(
        left=0.06, right=0.985, bottom=0.115, top=0.95, wspace=0.13, hspace=0.3
    )
    sweeps = {sweep.name: sweep for sweep in real_sweeps()}
    axes = figure.subplots(2, 3).ravel()
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        draw_sweep(axis, sweeps[name])
        axis.set_title(title, fontsize=10)
    for axis in axes[::3]:
        axis.set_ylabel("training error")
    for axis in axes[3:]:
        axis.set_xlabel("epoch")
    keys = []
    for regime in REGIMES:
        style = {"color": COLOURS[regime], "marker": MARKERS[regime]}
        keys += axes[0].plot([], [], label=regime, **style)
    place = {"loc": "lower center", "ncols": len(keys)}
    figure.legend(handles=keys, frameon=False, fontsize=9, **place)
    save(figure, path)


def draw_sweep(axis: Any, sweep: Sweep) -> None:
    """Draw each trial in the colour of its label, and the target dashed."""
    log_axis(axis, "y")
    axis.set(xlim=(0.6, sweep.asked * 1.22), ylim=(0.006, 1.2))
    trials = sweep.labelled()
    rate_names: dict[tuple[str, str], PlacedName] = {}
    for trial in trials.itertuples():
        rows = sweep.curve(trial.trial_id)
        error = 1 - rows["train_accuracy"]
        colour, marker = COLOURS[trial.regime], MARKERS[trial.regime]
        line = {"color": colour, "lw": 1.2, "alpha": 0.85}
        axis.plot(rows["epoch"], error, marker=marker, ms=4.5, mew=0, **line)
        # Seeds share a name, which stands at the end of the first.
        text = rate(trial.learning_rate)
        name = PlacedName(rows["epoch"].iloc[-1], error.iloc[-1], text, colour)
        rate_names.setdefault((text, colour), name)
    axis.axhline(1 - trials["target"].iloc[-1], color="0.3", lw=1, ls="--")
    axis.grid(alpha=0.25)
    place_labels(axis, list(rate_names.values()), 7)


def find_chromium() -> str:
    """Return the program.

    Raises:
        UserError: it is not installed.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        program = shutil.which(name)
        if program is not None:
            return program
    raise UserError("page needs Chromium; install it, or leave page out of --only")


def picture_page(path: Path) -> None:
    """Show the main command's page in Chromium, and keep its top as a picture."""
    command = [
        find_chromium(),
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        "--virtual-time-budget=8000",
        "--window-size=1400,1040",
        f"--screenshot={path}",
    ]
    with TemporaryDirectory() as folder, chdir(folder):
        # The page names its folder: that of a user's own sweep is shown.
        sweep = Path("results", "lr_regimes", RECORDED.name[:10])
        shutil.copytree(RECORDED, sweep)
        page = Path(load_sweep(sweep).report()).resolve()
        subprocess.run([*command, f"file://{page}"], check=True, capture_output=True)


def keep(config: Pictures) -> None:
    """Replace the records of which a new run is named."""
    if config.edge is not None:
        EDGE.mkdir(exist_ok=True)
        for name in ("sweep.json", "journal.jsonl"):
            shutil.copyfile(config.edge / name, EDGE / name)
    if config.stability:
        curves = measured_curves(config.stability)
        curves.to_csv(STABILITY, index=False, float_format="%.5g")
    if config.phases is not None:
        shutil.copyfile(config.phases / "thresholds.csv", PHASES)


def measured_curves(folders: Sequence[Path]) -> pd.DataFrame:
    """Return the sharpness and the losses by step of some sweeps, with each trial's
    name."""
    sweeps = [load_sweep(folder) for folder in folders]
    trials, epochs, measured = together(sweeps)
    steps = ["trial_id", "step"]
    losses = epochs[[*steps, "train_loss"]]
    curves = relative_sharpness(trials, measured).merge(losses, "outer", steps)
    names = curves.pop("trial_id").map(trial_names(trials))
    curves.insert(0, "trial", names)
    return curves


def stability_curves() -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Return each trial's name, its sharpness and its losses, from the record."""
    curves = []
    for name, rows in pd.read_csv(STABILITY).groupby("trial", sort=False):
        sharpness = rows.dropna(subset="sharpness")
        losses = rows.dropna(subset="train_loss")
        curves.append((str(name), sharpness, losses))
    return curves


def plot_recorded_stability(path: Path) -> None:
    plot_stability(stability_curves(), path)


def plot_recorded_phases(path: Path) -> None:
    save(phase_diagram.plot(pd.read_csv(PHASES)), path)


DRAWN = {
    "seven": ("seven_regimes.png", plot_seven),
    "labels": ("labels.png", plot_labels),
    "regimes": ("regimes.png", lambda path: load_sweep(RECORDED).plot(path)),
    "page": ("report.png", picture_page),
    "edge": ("edge.png", lambda path: load_sweep(EDGE).plot(path)),
    "stability": ("stability.png", plot_recorded_stability),
    "phases": ("phase_diagram.png", plot_recorded_phases),
}
"""The file in docs/ of each picture, and what draws it."""


def main() -> None:
    config = cli.parse(Pictures)
    keep(config)
    for name in config.only:
        file, draw = DRAWN[name]
        draw(DOCS / file)
        print(f"docs/{file}")


if __name__ == "__main__":
    cli.run(main)
