"""Print a sweep's table again, summarise its replicates, and draw its figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mnist_tune import cli, load_sweep
from mnist_tune.reports.terminal import print_report


@dataclass(frozen=True)
class Summarize:
    """Print a sweep's table and its answer, and draw regimes.png."""

    results: Annotated[str, tyro.conf.Positional]
    """Folder of a sweep, or a folder above it, which stands for its newest sweep; or a URI such as s3://bucket/sweep."""
    figure: Path | None = None
    """File for the figure; by default regimes.png in the sweep's folder, or in the current folder if that is a URI."""
    all: bool = False
    """Print one line per trial. By default, seeds share a line, and a large sweep is summarised by ranges of rates."""


def main() -> None:
    config = cli.parse(Summarize)
    sweep = load_sweep(config.results)
    print_report(sweep, config.all, picture=True)
    where = config.figure or sweep.picture("regimes.png")
    sweep.plot(where)
    print(f"Picture: {where}")
