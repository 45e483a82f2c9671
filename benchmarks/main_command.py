"""How long does the README's main command take, and what does it find?

    python benchmarks/main_command.py

It runs `python sweeps/lr_regimes.py` in an empty folder, with an empty compilation cache; MNIST is fetched before. It
prints the machine and, for each round, the wall time, the time to the first epoch's row, the number of epochs trained,
and the regimes by learning rate.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.comparison import Benchmark, describe_machine, machine_line, write_record
from benchmarks.processes import REPOSITORY, Finished, empty_cache, run_python
from mnist_tune import Sweep, cli, load_sweep
from mnist_tune.data.dataset import load_dataset


@dataclass(frozen=True, kw_only=True)
class MainCommand(Benchmark):
    """Times the README's main command, and prints the regimes that it found."""

    rounds: int = 1
    """How often the command runs."""
    flags: tuple[str, ...] = ()
    """Flags for the command, such as --smoke. Everything after --flags goes to the command, so --flags comes last."""


def parse(arguments: Sequence[str]) -> MainCommand:
    """Return the config. By itself, tyro would take the command's flags for the benchmark's."""
    end = [*arguments, "--flags"].index("--flags")
    config = cli.parse(MainCommand, arguments[:end])
    return replace(config, flags=(*config.flags, *arguments[end + 1 :]))


def measure(flags: Sequence[str]) -> dict[str, Any]:
    """Run the command once."""
    with TemporaryDirectory(prefix="main_command-") as name:
        folder = Path(name)
        finished = run_python([str(REPOSITORY / "sweeps" / "lr_regimes.py"), *flags], folder, empty_cache(folder))
        return figures(finished, load_sweep(folder))


def figures(finished: Finished, sweep: Sweep) -> dict[str, Any]:
    """Return what is recorded of a run. A learning rate has one regime for each seed."""
    by_rate = sweep.trials.sort_values(["learning_rate", "seed"]).groupby("learning_rate")["regime"]
    return {
        "wall_s": finished.wall_s,
        "first_epoch_s": float(sweep.epochs["ended_at"].min()) - finished.started_at,
        "epochs": len(sweep.epochs),
        "regimes": {str(rate): list(regimes) for rate, regimes in by_rate},
    }


def main() -> None:
    config, machine = parse(sys.argv[1:]), describe_machine()
    print(machine_line(machine), flush=True)
    load_dataset("mnist")  # fetched before the clock starts
    rounds = []
    for _ in range(config.rounds):
        found = measure(config.flags)
        rounds.append(found)
        print(f"{found['wall_s']:.1f} s, first epoch after {found['first_epoch_s']:.1f} s, {found['epochs']} epochs")
        print("\n".join(f"{rate:>8}  {', '.join(regimes)}" for rate, regimes in found["regimes"].items()), flush=True)
    write_record(config, machine, {"sweeps/lr_regimes.py": {"rounds": {"mnist_tune": rounds}, "targets": []}})


if __name__ == "__main__":
    cli.run(main)
