"""What does early stopping save, and what does it cost? Train sweeps with the default
scheduler, and again to the end.

    python validation/stopping.py sweeps.py

`sweeps.py` is a file as `blind_set.py` takes it. Each sweep is trained as a user trains
it: every second one as lanes, whose trials advance side by side, the others one trial
after the other, with the largest rate first. The second run has fifo for its scheduler,
and goes on after a divergence. It prints what `label_cuts.py` prints of a replay. The
epochs saved are those beside fifo as it is by default, which ends a trial when it
diverges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro

from mnist_tune import cli
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.runtime.ray_session import start_ray
from validation.blind_set import Case, cases_of, train
from validation.label_cuts import Stops, Sweep, print_stops


@dataclass(frozen=True)
class Stopping:
    """Train sweeps with and without early stopping."""

    sweeps: Annotated[Path, tyro.conf.Positional]
    """A Python file with SWEEPS, a list of cases."""
    first: int = 0
    """Begin with this sweep of the file."""


def run(case: Case, lanes: bool, folder: Path) -> tuple[Sweep, Stops]:
    """Train a sweep twice. Return it as it is to the end, and what early stopping
    stopped."""
    execution = "process"
    if lanes:
        execution = "lanes"
    stopping = train(case, folder / "default", case.trials(), execution=execution)
    whole = train(
        case,
        folder / "fifo",
        case.trials(stop_when_diverged=False),
        scheduler="fifo",
        execution=execution,
    )
    names = ["trial_id", "learning_rate", "seed"]
    assert stopping.trials[names].equals(whole.trials[names])
    is_short = stopping.trials["epochs_run"] < case.epochs
    stopped = {}
    for trial in stopping.trials[is_short].itertuples():
        stopped[trial.trial_id] = (trial.stop_reason, trial.epochs_run)
    data = data_facts(whole.meta)
    return Sweep(case.name, whole.trials, whole.epochs, data), stopped


def trained(cases: list[Case], first: int) -> Iterator[tuple[Sweep, Stops]]:
    """Train all sweeps from one on, one after the other."""
    for number, case in enumerate(cases[first:], first):
        with TemporaryDirectory(prefix="stopping-") as folder:
            sweep, stopped = run(case, number % 2 == 0, Path(folder))
        print(f"{case.name}: {stopped or 'none stopped'}", flush=True)
        yield sweep, stopped


def main() -> None:
    config = cli.parse(Stopping)
    start_ray(None, None, False, 1)
    print_stops(trained(cases_of(config.sweeps), config.first))


if __name__ == "__main__":
    cli.run(main)
