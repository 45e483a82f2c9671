"""Does the sharpness rise to the edge of stability, and stay there?

    python analysis/stability.py RESULTS ...

Takes sweeps that ran with --sharpness or --sharpness-every. Prints for each trial when its sharpness λ first reached
2 / learning rate, and where it stayed from then on; draws stability.png. Where λ is held against 2 / learning rate, it
should be measured on the whole training set, as with --train-images 5000 or --sharpness-images 60000.
"""

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
        {names[trial_id]: curve for trial_id, curve in relative.groupby("trial_id", sort=False)}, config.figure
    )
    print(f"Picture: {config.figure}")


if __name__ == "__main__":
    cli.run(main)
