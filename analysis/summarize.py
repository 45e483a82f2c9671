"""A sweep's table again, its replicates summarised, and its picture.

    python analysis/summarize.py RESULTS

Writes regimes.png into the sweep's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from mnist_tune import cli, load_sweep
from mnist_tune.figures import plot_regimes
from mnist_tune.report import PLAIN_WIDTH, print_report
from mnist_tune.summary import summarise_replicates


@dataclass(frozen=True)
class Summarize:
    """Prints a sweep's table and its replicates' mean, standard deviation and 95% interval, and draws regimes.png."""

    results: Annotated[Path, tyro.conf.Positional]
    """Folder of a sweep, or one above it: then its newest."""
    figure: Path | None = None
    """Where the picture goes; by default regimes.png in the sweep's folder."""


def main() -> None:
    config = cli.parse(Summarize)
    sweep = load_sweep(config.results)
    print_report(sweep)
    summary = summarise_replicates(sweep.trials)
    if (summary["replicates"] > 1).any():
        print("\nReplicates (mean, standard deviation and half-width of the 95% interval over seeds):")
        print(_text(summary))
    path = config.figure or sweep.path / "regimes.png"
    plot_regimes(sweep, path)
    print(f"Picture: {path}")


def _text(summary: pd.DataFrame) -> str:
    parts = [f"{split}_accuracy_{part}" for split in ("train", "test") for part in ("mean", "std", "ci95")]
    shown = summary[["architecture", "learning_rate", "replicates", "regimes", *parts]]
    shown = shown.rename(columns=lambda name: name.replace("_accuracy", "").replace("_", " "))
    return str(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", line_width=PLAIN_WIDTH))


if __name__ == "__main__":
    cli.run(main)
