"""Does the sharpness rise to the edge of stability, and stay there?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mnist_tune import UserError, cli, load_sweep
from mnist_tune.regimes.stability import relative_sharpness, summarise_stability
from mnist_tune.reports.stability import plot_stability, print_stability, trial_names
from mnist_tune.results.tables import together


@dataclass(frozen=True)
class Stability:
    """Print and draw the sharpness over training, as a multiple of what the learning rate allows: λη/2."""

    results: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of sweeps, or URIs such as s3://bucket/sweep."""
    figure: Path = Path("stability.png")
    """File for the figure."""


def main() -> None:
    config = cli.parse(Stability)
    if not config.results:
        raise UserError("name the folder of a sweep that ran with --sharpness")
    trials, _, measured = together([load_sweep(path) for path in config.results])
    relative = relative_sharpness(trials, measured)
    if relative.empty:
        raise UserError("no trial can be drawn: they need SGD with a constant learning rate")
    names = trial_names(trials[trials["trial_id"].isin(relative["trial_id"])])
    print_stability(names, summarise_stability(relative))
    plot_stability(
        [(names[trial_id], curve) for trial_id, curve in relative.groupby("trial_id", sort=False)], config.figure
    )
    print(f"Picture: {config.figure}")
