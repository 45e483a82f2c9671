"""The sweep that every side runs, and what it knows of it from inside.

A side is a module with a function from `SweepWork` to `Outcome`, run in a process and an empty folder of its own:
`python -m sides.<module> WORK ...`, the work as JSON. It imports only what it needs, for imports count too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mnist_tune import TrialConfig


@dataclass(frozen=True)
class SweepWork:
    """The same trials for all sides, at learning rates from 0.001 to 0.5, log-spaced."""

    architecture: str
    trials: int
    epochs: int
    dataset: str

    def configs(self) -> list[TrialConfig]:
        return [
            TrialConfig(
                architecture=self.architecture,
                learning_rate=float(rate),
                epochs=self.epochs,
                stop_when_diverged=False,
            )
            for rate in np.geomspace(0.001, 0.5, self.trials)
        ]


@dataclass(frozen=True)
class Epoch:
    """One result of a sweep."""

    busy_s: float
    """Seconds of training and evaluating."""
    ended_at: float
    """Unix time."""
    test_accuracy: float
    trial: str
    fill: float = 1.0
    """Share of its device's lanes that trained in the same round."""


@dataclass(frozen=True)
class Driver:
    """CPU seconds of the sweep's process between its first and its last result."""

    cpu_s: float
    results: int


@dataclass(frozen=True)
class Outcome:
    """The results of a sweep, and what they cost its driver, where it has one."""

    epochs: list[Epoch]
    driver: Driver | None = None

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """What `run_side` left in its folder."""
        values = json.loads((folder / OUTCOME).read_text())
        return cls([Epoch(**epoch) for epoch in values["epochs"]], values["driver"] and Driver(**values["driver"]))


OUTCOME = "outcome.json"


def run_side(side: Callable[[SweepWork], Outcome]) -> None:
    """The main function of a side's module."""
    outcome = side(SweepWork(**json.loads(sys.argv[1])))
    Path(OUTCOME).write_text(json.dumps(asdict(outcome)))
