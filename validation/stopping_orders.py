"""What does early stopping save, and what does it cost, with few trials at a time? A
replay of recorded sweeps, beside ASHA and in several orders.

    python validation/stopping_orders.py

A set is as `label_cuts.py` takes it. Four trials run at a time, an epoch each in turn;
when one ends, the next one of the order starts. A line says for each order and
scheduler:

- which share of the epochs it saves;
- *best lost*: sweeps all of whose best trials, by their last held-out accuracy, were
  stopped, and in how many of these what was left is worse by more than noise (three
  standard errors);
- *arrived*: trials stopped as slow, or by ASHA, that reach the target in the epochs
  asked for;
- *recovered*: trials stopped as dead that learn later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from mnist_tune import cli
from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.noise import SIGMAS
from validation.label_cuts import SETS, Savings, Stops, Sweep, read_set
from validation.replay import asha, ours, replay

SCHEDULERS = {"regimes": ours, "asha": asha}

LONGER = {"7": 3}
"""How many times as long as was asked for the trials of a set were trained."""


@dataclass(frozen=True)
class StoppingOrders:
    """Replay early stopping in several orders."""

    set: tuple[str, ...] = tuple(str(number) for number in range(1, 12))
    """Names of the sets."""
    folder: Path = SETS
    """Where they are."""
    at_a_time: int = 4
    """How many trials run at a time."""
    orders: tuple[str, ...] = ("largest first", "smallest first", "middle out")
    """In which orders they start."""
    named: bool = False
    """Name the sweeps and trials in which a stop was wrong."""


def sweeps_of(name: str, folder: Path) -> list[Sweep]:
    """Return the sweeps of a set, with the epochs that were asked for."""
    sweeps = []
    for sweep in read_set(name, folder):
        last = sweep.asked // LONGER.get(name, 1)
        sweeps.append(sweep.until(last, last, "completed"))
    return sweeps


class Whole(Sweep):
    """A sweep whose labels are asked for several times."""

    @classmethod
    def of(cls, sweep: Sweep) -> Whole:
        return cls(**vars(sweep))

    @cached_property
    def labels(self) -> pd.DataFrame:
        return super().labelled()

    @cached_property
    def curves(self) -> list[Curve]:
        return list(curves_of(self.trials, self.epochs, self.data))

    def labelled(self) -> pd.DataFrame:
        return self.labels

    def loses_clearly(self, stops: Stops) -> bool:
        """Return whether the best of the trials that were not stopped is worse than
        the best of all by more than noise."""
        by_trial = dict(zip(self.trials["trial_id"], self.curves, strict=True))
        best = max(self.curves, key=last_score)
        remaining = [by_trial[name] for name in by_trial if name not in stops]
        if not remaining:
            return True
        left = max(map(last_score, remaining))
        noise = best.noise(last_score(best), left, images=best.held_out_count)
        return last_score(best) - left > SIGMAS * float(noise)


def last_score(curve: Curve) -> float:
    return float(curve.held_out[-1])


def print_savings(
    sweeps: Sequence[Whole], order: str, scheduler: str, config: StoppingOrders
) -> None:
    """Print what a scheduler saves and costs."""
    savings = Savings()
    clearly = 0
    for sweep in sweeps:
        decide = SCHEDULERS[scheduler](sweep)
        stops = replay(sweep, order, decide, config.at_a_time).stops
        savings.add(sweep, stops)
        clearly += sweep.loses_clearly(stops)
    share = savings.saved / savings.total
    compared = [reason for reason in savings.reasons if reason in ("slow", "asha")]
    wrong = len(savings.arrived) / max(len(compared), 1)
    print(
        f"{order:14}  {scheduler:8}",
        f"{share:4.0%} of {savings.total} epochs saved",
        f"best lost in {len(savings.best_lost)} of {savings.sweeps} sweeps ({clearly} clearly)",
        f"arrived {len(savings.arrived)} of {len(compared)} ({wrong:.1%})",
        f"recovered {len(savings.recovered)}",
        sep="  ",
        flush=True,
    )
    if config.named:
        mistakes = savings.best_lost + savings.arrived + savings.recovered
        print("", *mistakes, sep="\n    ")


def main() -> None:
    config = cli.parse(StoppingOrders)
    sweeps = []
    for name in config.set:
        sweeps += [Whole.of(sweep) for sweep in sweeps_of(name, config.folder)]
    for order in config.orders:
        for scheduler in SCHEDULERS:
            print_savings(sweeps, order, scheduler, config)


if __name__ == "__main__":
    cli.run(main)
