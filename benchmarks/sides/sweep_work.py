"""The sweep that every side runs, and the results that it returns.

A side is a module with a function from `SweepWork` to `Outcome`. It runs in a process
and an empty folder of its own: `python -m benchmarks.sides.<module> WORK ...`, with the
work as JSON. It imports only what it needs, because imports are timed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnist_tune import TrialConfig


@dataclass(frozen=True)
class SweepWork:
    """The trials, which are the same for all sides: learning rates from 0.001 to 0.5,
    log-spaced."""

    architecture: str
    trials: int
    epochs: int
    dataset: str

    def configs(self) -> list[TrialConfig]:
        trials = []
        for rate in np.geomspace(0.001, 0.5, self.trials):
            trial = TrialConfig(
                architecture=self.architecture,
                learning_rate=float(rate),
                epochs=self.epochs,
                holdout=0,
                stop_when_diverged=False,
            )
            trials.append(trial)
        return trials


class Epoch(NamedTuple):
    """The result of one epoch of a trial."""

    trial: str
    ended_at: float
    """Unix time."""
    test_accuracy: float


@dataclass(frozen=True)
class Outcome:
    """The results of a sweep, and what each costs the driver between the first and the
    last one."""

    epochs: Sequence[Epoch]
    driver_ms: float
    """CPU milliseconds."""
    driver_bytes: float

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """Return what `run_side` wrote to its folder."""
        values = json.loads((folder / OUTCOME).read_text())
        epochs = [Epoch(*row) for row in values["epochs"]]
        values["epochs"] = sorted(epochs, key=lambda epoch: epoch.ended_at)
        return cls(**values)


OUTCOME = "outcome.json"


def run_side(side: Callable[[SweepWork], Outcome]) -> None:
    """Run a side on the work given on the command line, and write its outcome to the
    current folder."""
    outcome = side(SweepWork(**json.loads(sys.argv[1])))
    Path(OUTCOME).write_text(json.dumps(asdict(outcome)))
