"""How soon does a running sweep name the setting that it names in the end?

    python validation/answer_so_far.py

Recorded sweeps of five rates or more are replayed as by `stopping_orders.py`, under the
default scheduler, two trials at a time.
After a quarter, half and three quarters of the epochs that a sweep trains, its answer is
asked for, as its page shows it. A line says for each order:

- in how many sweeps there was an answer, *Train with ...*, which needs a trial that
  ran all its epochs;
- how many of these named the final setting, and how many that or one that the final
  answer does not tell apart from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import cli
from mnist_tune.columns import EPOCHS
from mnist_tune.judged import judged
from mnist_tune.results.journal import Journal
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.tables import tables_of
from validation.label_cuts import SETS, Sweep, configs_of
from validation.replay import ORDERS, Replay, ours, replay
from validation.stopping_orders import sweeps_of

SHARES = 1 / 4, 1 / 2, 3 / 4

RATES = 5
"""The least number of rates of a sweep: fewer have ended at once."""


@dataclass(frozen=True)
class AnswerSoFar:
    """Compare the answers of running sweeps with their final ones."""

    set: tuple[str, ...] = tuple(str(number) for number in range(1, 12))
    """Names of the sets."""
    folder: Path = SETS
    """Where they are."""
    at_a_time: int = 2
    """How many trials run at a time."""


def meta_of(sweep: Sweep) -> dict[str, Any]:
    """Return a `sweep.json` of a sweep."""
    data = sweep.data
    trial = next(iter(configs_of(sweep).values()))
    described: dict[str, Any] = {
        "name": sweep.name,
        "checksums": {},
        "train_images": data.train_images,
        "test_images": data.test_images,
        "guesses": {trial.architecture: data.guess(trial)},
    }
    if data.by_accuracy:
        described |= {"chance": data.chance, "target": data.target}
    return {
        "name": sweep.name,
        "kind": SweepKind.CURVES,
        "trials": {},
        "ended": None,
        "dataset": described,
        "options": {},
    }


def settings_after(sweep: Sweep, result: Replay, count: int) -> pd.DataFrame:
    """Return the settings that compete after so many rows: the answer names the
    first."""
    names = [column.name for column in EPOCHS]
    epochs = pd.DataFrame(result.rows[:count]).reindex(columns=names)
    numbers = epochs.columns.drop(["trial_id", "diverged"])
    epochs[numbers] = epochs[numbers].apply(pd.to_numeric)
    ends = {}
    for rows, trial_id in result.ends:
        if rows <= count:
            reason, _ = result.stops.get(trial_id, ("completed", 0))
            ends[trial_id] = {"stop_reason": reason}
    configs = {name: trial.holding_out(0) for name, trial in configs_of(sweep).items()}
    journal = Journal(epochs, configs, set(), ends, undecided=False)
    tables = tables_of(Path(sweep.name), meta_of(sweep), journal, running=True)
    return judged(tables).best()


def best_rate(settings: pd.DataFrame) -> float | None:
    """Return the rate that an answer says to train with; None if it names none."""
    if settings.empty:
        return None
    return float(settings["learning_rate"].iloc[0])


def comparisons(
    sweep: Sweep, order: str, at_a_time: int
) -> list[tuple[bool, bool, bool]]:
    """Return for each share of the epochs whether there was an answer, whether it was
    the final one, and whether it was not told apart from that."""
    result = replay(sweep, order, ours(sweep), at_a_time)
    final = settings_after(sweep, result, len(result.rows))
    final_rate = best_rate(final)
    if final_rate is None:
        return []
    close = set(final["learning_rate"][final["close"]])
    outcomes = []
    for share in SHARES:
        so_far = settings_after(sweep, result, round(share * len(result.rows)))
        rate = best_rate(so_far)
        is_final = rate == final_rate
        outcomes.append((rate is not None, is_final, is_final or rate in close))
    return outcomes


def print_shares(sweeps: Sequence[Sweep], order: str, at_a_time: int) -> None:
    """Print how often the answers so far were the final ones."""
    outcomes = [comparisons(sweep, order, at_a_time) for sweep in sweeps]
    counts = np.array([outcome for outcome in outcomes if outcome], float)
    sums = counts.sum(axis=0).astype(int)
    total = len(counts)
    for share, (answered, final, near) in zip(SHARES, sums, strict=True):
        print(
            f"{order:14}  {share:4.0%} of the epochs",
            f"an answer in {answered} of {total} ({answered / total:.0%})",
            f"the final one {final} ({final / max(answered, 1):.0%})",
            f"or not told apart {near} ({near / max(answered, 1):.0%})",
            sep="  ",
            flush=True,
        )


def main() -> None:
    config = cli.parse(AnswerSoFar)
    sweeps = []
    for name in config.set:
        for sweep in sweeps_of(name, config.folder):
            if sweep.trials["learning_rate"].nunique() >= RATES:
                sweeps.append(sweep)
    for order in ORDERS:
        print_shares(sweeps, order, config.at_a_time)


if __name__ == "__main__":
    cli.run(main)
