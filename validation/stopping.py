"""What does early stopping save, and what does it cost? Train sweeps with the default scheduler, and again to the end.

    python validation/stopping.py sweeps.py

`sweeps.py` is a file as `blind_set.py` takes it. Each sweep is trained as a user trains it: every second one as lanes,
whose trials advance side by side, the others one trial after the other, with the largest rate first. The second run has
fifo for its scheduler, and goes on after a divergence. The line of a sweep says which trials were stopped, and the best
held-out accuracy of all trials and of those that ran to the end: in the last epoch, and in the median of the last
three. Then follow how many epochs were saved, beside fifo as it is by default, and

- the sweeps all of whose best trials were stopped;
- trials that were stopped as dead or diverged, and learned 30% of what can be learned in the median of three later
  epochs;
- trials that were stopped as slow, and got to the target within the epochs asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from mnist_tune import Sweep, cli
from mnist_tune.regimes.statistics import LEARNED
from mnist_tune.runtime.ray_session import start_ray
from validation.blind_set import Case, cases_of, train
from validation.label_cuts import first_epoch

SETTLED = 3
"""Epochs in the median of a settled accuracy."""


@dataclass(frozen=True)
class Stopping:
    """Train sweeps with and without early stopping."""

    sweeps: Annotated[Path, tyro.conf.Positional]
    """A Python file with SWEEPS, a list of cases."""
    first: int = 0
    """Begin with this sweep of the file."""


@dataclass(frozen=True)
class Compared:
    """A trial of the default scheduler beside the same trial, trained to its end."""

    rate: float
    reason: str
    ran: int
    asked: int
    fifo: int
    """Epochs until it diverged, or all."""
    best: tuple[float, float]
    """The held-out accuracy at the end, and the median of the last three."""
    recovers: bool
    arrives: float
    """The epoch in which it is at the target."""

    @property
    def stopped(self) -> bool:
        return self.ran < self.asked


def compared(stopping: Sweep, whole: Sweep) -> Iterator[Compared]:
    """Yield the trials of both runs of a sweep."""
    for trial, after in zip(stopping.trials.itertuples(), whole.trials.itertuples(), strict=True):
        assert (trial.learning_rate, trial.seed) == (after.learning_rate, after.seed)
        curve = whole.epochs[whole.epochs["trial_id"] == after.trial_id]
        ran = int((stopping.epochs["trial_id"] == trial.trial_id).sum())
        held_out = curve["validation_accuracy" if "validation_accuracy" in curve else "test_accuracy"].fillna(0.0)
        accuracy = curve["train_accuracy"].to_numpy()
        counts = whole.meta["dataset"]["label_counts"]
        chance = max(counts) / sum(counts)
        later = pd.Series(accuracy[ran:]).rolling(SETTLED).median().max()
        yield Compared(
            rate=float(trial.learning_rate),
            reason=str(trial.stop_reason),
            ran=ran,
            asked=len(curve),
            fifo=min(int(np.append(curve["diverged"].to_numpy(bool), True).argmax()) + 1, len(curve)),
            best=(float(held_out.iloc[-1]), float(held_out.iloc[-SETTLED:].median())),
            recovers=bool(later > chance + LEARNED * (1 - chance)),
            arrives=first_epoch(accuracy, float(after.target)) if not pd.isna(after.target) else math.inf,
        )


def run(case: Case, lanes: bool, folder: Path) -> list[Compared]:
    """Train a sweep twice."""
    options: dict[str, Any] = {"execution": "lanes" if lanes else "process"}
    stopping = train(case, folder / "default", case.trials(), **options)
    whole = train(case, folder / "fifo", case.trials(stop_when_diverged=False), scheduler="fifo", **options)
    return list(compared(stopping, whole))


def main() -> None:
    config = cli.parse(Stopping)
    start_ray(None, None, False, 1)
    lost, recovered, arrived, ran, fifo = [], [], [], 0, 0
    for number, case in enumerate(cases_of(config.sweeps)):
        if number < config.first:
            continue
        with TemporaryDirectory(prefix="stopping-") as folder:
            trials = run(case, number % 2 == 0, Path(folder))
        ran, fifo = ran + sum(one.ran for one in trials), fifo + sum(one.fifo for one in trials)
        kept = [one for one in trials if not one.stopped]
        best, left = ([max((one.best[i] for one in some), default=0.0) for i in (0, 1)] for some in (trials, kept))
        stops = ", ".join(f"{one.rate:g} {one.reason} after {one.ran}" for one in trials if one.stopped)
        figures = "best {:.3f} {:.3f}, kept {:.3f} {:.3f}".format(*best, *left)
        print(f"{case.name}: {stops or 'none stopped'}; {figures}", flush=True)
        lost += [case.name] * (left[0] < best[0] or left[1] < best[1])
        for one in trials:
            name = f"{case.name}, {one.rate:g}: {one.reason} after {one.ran}"
            recovered += [name] * (one.reason in ("dead", "diverged") and one.recovers)
            arrived += [f"{name}, there in {one.arrives:.0f}"] * (one.reason == "slow" and one.arrives <= case.epochs)
    print(f"{1 - ran / fifo:.0%} of {fifo} epochs saved")
    for name, some in (("best lost", lost), ("dead, and recovered", recovered), ("slow, and at the target", arrived)):
        print(f"{name}: {len(some)}", *some, sep="\n  ")


if __name__ == "__main__":
    cli.run(main)
