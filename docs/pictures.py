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
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import examples.phase_diagram as phase_diagram
from examples.stability import plot_stability, relative_sharpness, trial_names
from mnist_tune import UserError, cli, load_sweep
from mnist_tune.numbers import rate
from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.data_facts import DATA, data_facts
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.limits import HALF, TREND, VISIBLE
from mnist_tune.reports.axes import PlacedName, log_axis, place_labels
from mnist_tune.reports.figures import save
from mnist_tune.reports.styles import COLOURS, MARKERS
from mnist_tune.results.tables import together
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


def real_sweeps() -> Iterator[Sweep]:
    """Yield the built-in networks' sweeps that a person labelled."""
    trials, epochs = (
        pd.read_csv(SETS / f"real_{part}.csv", dtype={"trial": str}).rename(
            columns={"trial": "trial_id"}
        )
        for part in ("trials", "epochs")
    )
    for name, part in trials.groupby("sweep", sort=False):
        data = DATA[part["dataset"].iloc[0]]
        yield Sweep(
            str(name),
            complete(part).reset_index(drop=True),
            epochs[epochs["sweep"] == name],
            data,
        )


def main_sweep() -> Sweep:
    found = load_sweep(RECORDED)
    return Sweep("main", found.trials, found.epochs, data_facts(found.meta))


class Example(NamedTuple):
    """A trial with its label, its rows and its curve."""

    trial: Any
    rows: pd.DataFrame
    curve: Curve


def examples() -> dict[str, Example]:
    """Return the trial that is shown of each regime."""
    sweeps = {
        sweep.name: sweep
        for sweep in (*real_sweeps(), main_sweep(), *read_set(2), *read_set(3))
    }
    found = {}
    for regime, (name, learning_rate) in SHOWN.items():
        sweep = sweeps[name]
        trials = sweep.labelled()
        row = int(np.flatnonzero(trials["learning_rate"] == learning_rate)[0])
        curve = list(curves_of(trials, sweep.epochs, sweep.data))[row]
        trial = next(trials.iloc[[row]].itertuples())
        found[regime] = Example(trial, sweep.curve(trial.trial_id), curve)
    return found


def decided(regime: str, curve: Curve) -> np.ndarray:
    """Return the epochs, from 0, that decided a curve's label."""
    epochs = np.arange(curve.epochs)
    late = epochs[-max(round(HALF * curve.epochs), 1) :]
    if regime == "oscillating":
        return 1 + np.flatnonzero(
            curve.spikes()[1:] | (curve.falls > np.maximum(VISIBLE, curve.falls_noise))
        )
    if regime == "diverged" and curve.train_loss is not None:
        return np.flatnonzero(~(curve.train_loss <= curve.untrained))
    return {
        "converged": epochs[-TREND:],
        "slow": epochs[:0],
        "underfit": late[[0, -1]],
        "overfit": epochs[:0],
    }.get(regime, epochs[-1:])


def draw_example(axis: Any, regime: str, example: Example) -> None:
    trial, rows, curve = example
    x, error, colour = rows["epoch"].to_numpy(), 1 - curve.score, COLOURS[regime]
    axis.plot(x, error, color=colour, lw=1.8)
    ring = {"ls": "", "marker": "o", "ms": 9, "mfc": "none", "mec": "0.15", "mew": 1.1}
    which = decided(regime, curve)
    axis.plot(x[which], error[which], **ring)
    axis.axhline(1 - trial.target, color="0.3", lw=1, ls="--")
    if regime == "slow":
        axis.plot(
            [x[-1], trial.reaches],
            [error[-1], 1 - trial.target],
            color=colour,
            lw=1.8,
            ls=":",
        )
        axis.plot(
            [trial.reaches_from, trial.reaches_to],
            [1 - trial.target] * 2,
            color=colour,
            lw=5,
            alpha=0.4,
        )
    if regime == "overfit":
        best = int(np.argmax(curve.held_out))
        axis.plot(x, 1 - curve.held_out, color=colour, lw=1.8, ls=":")
        axis.plot(x[[best, -1]], 1 - curve.held_out[[best, -1]], **ring)
    log_axis(axis, "y")
    axis.set_ylim(0.004, 1.2)
    axis.set_xlabel("epoch")
    axis.grid(alpha=0.25)
    axis.set_title(
        f"{regime}\n", color=colour, fontweight="bold", fontsize=11, loc="left"
    )
    said = textwrap.fill(trial.regime_evidence, 44)
    axis.text(
        0,
        1.015,
        said,
        transform=axis.transAxes,
        fontsize=7.5,
        color="0.25",
        linespacing=1.05,
    )


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
    said = (
        "solid: training error",
        "dashed: error at the target",
        "ringed: the epochs that decided",
    )
    more = ("dotted: the course expected (slow),", "or held-out error (overfit)")
    axes[-1].text(
        0.02,
        0.5,
        "\n".join((*said, *more)),
        transform=axes[-1].transAxes,
        va="center",
        linespacing=1.7,
    )
    save(figure, path)


def plot_labels(path: Path) -> None:
    """Draw the error by epoch of every trial of some sweeps, a panel a sweep."""
    figure = Figure(figsize=(11.5, 7.2), dpi=100)
    figure.subplots_adjust(
        left=0.06, right=0.985, bottom=0.115, top=0.95, wspace=0.13, hspace=0.3
    )
    sweeps = {sweep.name: sweep for sweep in real_sweeps()}
    for axis, (name, title) in zip(
        figure.subplots(2, 3).ravel(), PANELS.items(), strict=True
    ):
        sweep = sweeps[name]
        labels: list[PlacedName] = []
        log_axis(axis, "y")
        axis.set(xlim=(0.6, sweep.asked * 1.22), ylim=(0.006, 1.2))
        for trial in sweep.labelled().itertuples():
            rows = sweep.curve(trial.trial_id)
            error, style = (
                1 - rows["train_accuracy"],
                {"color": COLOURS[trial.regime], "marker": MARKERS[trial.regime]},
            )
            axis.plot(rows["epoch"], error, **style, lw=1.2, ms=4.5, mew=0, alpha=0.85)
            label = PlacedName(
                rows["epoch"].iloc[-1],
                error.iloc[-1],
                rate(trial.learning_rate),
                style["color"],
            )
            # seeds share a label
            if (label.text, label.colour) not in {
                (one.text, one.colour) for one in labels
            }:
                labels.append(label)
        axis.axhline(1 - trial.target, color="0.3", lw=1, ls="--")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.25)
        place_labels(axis, labels, 7)
    for axis in figure.axes[::3]:
        axis.set_ylabel("training error")
    for axis in figure.axes[3:]:
        axis.set_xlabel("epoch")
    keys = [
        figure.axes[0].plot([], [], color=COLOURS[one], marker=MARKERS[one], label=one)[
            0
        ]
        for one in REGIMES
    ]
    figure.legend(
        handles=keys, loc="lower center", ncols=len(keys), frameon=False, fontsize=9
    )
    save(figure, path)


def picture_page(path: Path) -> None:
    """Show the main command's page in Chromium, and keep its top as a picture."""
    chromium = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
        ),
        None,
    )
    if chromium is None:
        raise UserError("page needs Chromium; install it, or leave page out of --only")
    with TemporaryDirectory() as folder, chdir(folder):
        sweep = shutil.copytree(
            RECORDED, Path("results", "lr_regimes", RECORDED.name[:10])
        )  # the page names its folder
        page = Path(load_sweep(sweep).report()).resolve()
        options = (
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            "--virtual-time-budget=8000",
        )
        subprocess.run(
            [
                chromium,
                *options,
                "--window-size=1400,1040",
                f"--screenshot={path}",
                f"file://{page}",
            ],
            check=True,
            capture_output=True,
        )


def keep(config: Pictures) -> None:
    """Replace the records of which a new run is named."""
    if config.edge is not None:
        EDGE.mkdir(exist_ok=True)
        for name in ("sweep.json", "journal.jsonl"):
            shutil.copyfile(config.edge / name, EDGE / name)
    if config.stability:
        trials, epochs, measured = together(
            [load_sweep(folder) for folder in config.stability]
        )
        steps = ["trial_id", "step"]
        curves = relative_sharpness(trials, measured).merge(
            epochs[[*steps, "train_loss"]], "outer", steps
        )
        curves.insert(0, "trial", curves.pop("trial_id").map(trial_names(trials)))
        curves.to_csv(STABILITY, index=False, float_format="%.5g")
    if config.phases is not None:
        shutil.copyfile(config.phases / "thresholds.csv", PHASES)


def stability_curves() -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Return each trial's name, its sharpness and its losses, from the record."""
    return [
        (str(name), part.dropna(subset="sharpness"), part.dropna(subset="train_loss"))
        for name, part in pd.read_csv(STABILITY).groupby("trial", sort=False)
    ]


DRAWN = {
    "seven": ("seven_regimes.png", plot_seven),
    "labels": ("labels.png", plot_labels),
    "regimes": ("regimes.png", lambda path: load_sweep(RECORDED).plot(path)),
    "page": ("report.png", picture_page),
    "edge": ("edge.png", lambda path: load_sweep(EDGE).plot(path)),
    "stability": (
        "stability.png",
        lambda path: plot_stability(stability_curves(), path),
    ),
    "phases": (
        "phase_diagram.png",
        lambda path: save(phase_diagram.plot(pd.read_csv(PHASES)), path),
    ),
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
