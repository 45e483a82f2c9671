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
from typing import Annotated, Any

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
    options: dict[str, Any] = {"execution": "lanes" if lanes else "process"}
    stopping = train(case, folder / "default", case.trials(), **options)
    whole = train(
        case,
        folder / "fifo",
        case.trials(stop_when_diverged=False),
        scheduler="fifo",
        **options,
    )
    names = ["trial_id", "learning_rate", "seed"]
    assert stopping.trials[names].equals(whole.trials[names])
    short = stopping.trials[stopping.trials["epochs_run"] < case.epochs]
    stopped = dict(
        zip(
            short["trial_id"],
            zip(short["stop_reason"], short["epochs_run"], strict=True),
            strict=True,
        )
    )
    return Sweep(case.name, whole.trials, whole.epochs, data_facts(whole.meta)), stopped


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
