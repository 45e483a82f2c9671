"""A sweep's table again, its replicates summarised, and its picture.

    python analysis/summarize.py RESULTS

Writes regimes.png into the sweep's folder, or here where it is in object storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mnist_tune import cli, load_sweep
from mnist_tune.reports.figures import plot_regimes
from mnist_tune.reports.text import print_replicates, print_report


@dataclass(frozen=True)
class Summarize:
    """Prints a sweep's table and its replicates' mean, standard deviation and 95% interval, and draws regimes.png."""

    results: Annotated[str, tyro.conf.Positional]
    """Folder of a sweep, or one above it: then its newest; or a URI such as s3://bucket/sweep."""
    figure: Path | None = None
    """Where the picture goes; by default regimes.png in the sweep's folder, or here where that is a URI."""
    all: bool = False
    """A line a trial, also of a large sweep, which is otherwise told in ranges of learning rates."""


def main() -> None:
    config = cli.parse(Summarize)
    sweep = load_sweep(config.results)
    print_report(sweep, config.all)
    print_replicates(sweep.trials, config.all)
    path = config.figure or sweep.picture("regimes.png")
    plot_regimes(sweep, path)
    print(f"Picture: {path}")


if __name__ == "__main__":
    cli.run(main)
