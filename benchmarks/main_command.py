"""How long does the README's main command take, and what does it find?

    python benchmarks/main_command.py

It runs `python sweeps/lr_regimes.py` in an empty folder, with an empty compilation
cache; MNIST is fetched before. It prints the regimes by learning rate, the wall time,
the time to the first epoch's row, and the number of epochs trained.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.comparison import Benchmark, Comparison, Figures, run
from benchmarks.processes import REPOSITORY, empty_cache, run_python
from mnist_tune import cli, load_sweep
from mnist_tune.data.dataset import load_dataset


@dataclass(frozen=True, kw_only=True)
class MainCommand(Benchmark):
    """Times the README's main command, and prints the regimes that it found."""

    rounds: int = 1
    """How often the command runs."""
    flags: str = ""
    """Flags for the command: --flags='--smoke --quiet'."""


def measure(flags: str) -> Figures:
    """Run the command once, and print the regimes that it finds: a learning rate has
    one for each seed."""
    with TemporaryDirectory(prefix="main_command-") as name:
        folder = Path(name)
        command = [str(REPOSITORY / "sweeps" / "lr_regimes.py"), *shlex.split(flags)]
        finished = run_python(command, folder, empty_cache(folder))
        sweep = load_sweep(folder)
    for rate, trials in sweep.trials.sort_values(["learning_rate", "seed"]).groupby(
        "learning_rate"
    ):
        print(f"{rate:>8}  {', '.join(trials['regime'])}", flush=True)
    first_s = float(sweep.epochs["ended_at"].min()) - finished.started_at
    return {
        "wall_s": finished.wall_s,
        "first_epoch_s": first_s,
        "epochs": len(sweep.epochs),
    }


def main() -> None:
    config = cli.parse(MainCommand)
    load_dataset("mnist")  # fetched before the clock starts
    sides = {"mnist_tune": partial(measure, config.flags)}
    formats = {"wall_s": "{:.1f}", "first_epoch_s": "{:.1f}", "epochs": "{:.0f}"}
    run(
        config, [Comparison(title="sweeps/lr_regimes.py", sides=sides, formats=formats)]
    )


if __name__ == "__main__":
    cli.run(main)
