"""From a sweep with one seed to the best rate: how often is the answer right? Simulated
from trials that were trained.

    python validation/decide_tables.py --record

Each network is trained on mnist-5k at eight learning rates with many seeds, twice: as a
sweep is by default, and as the command `decide` trains, with a sixth of the images held
out and full batches. Sweeps and decisions are drawn from these trials:

- lists: some seeds stand for a sweep. It lists the rates that it has not told apart
  from its best (`standing`). Does the list hold the rate that is best with the other
  seeds, and how long is it?
- answers: one seed stands for a sweep. Seeds of the other table, drawn with
  replacement, decide between the rates that may be its best (`Contest`). Is the answer
  within the tolerance of the best rate, both by the mean of that table?
"""

from __future__ import annotations

import os

# NumPy reads them once
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from mnist_tune import SweepOptions, TrialConfig, cli, run_sweep
from mnist_tune.regimes.contest import TOLERANCE, Contest
from mnist_tune.regimes.data_facts import DATA
from mnist_tune.regimes.decision import standing, to_decide
from mnist_tune.regimes.families import held_out
from mnist_tune.regimes.noise import accuracy_noise
from mnist_tune.sweep import Sweep
from mnist_tune.tuning.options import all_rates
from validation.cells import is_missed

DATASET = "mnist-5k"
AT_A_TIME = 2
"""Seeds that are trained at a time, as on two cores."""


@dataclass(frozen=True, kw_only=True)
class DecideTables(Recorded):
    """Train tables of seeds and learning rates; simulate sweeps and decisions from
    them; print how many are right."""

    networks: tuple[str, ...] = ("mlp-16-tanh", "mlp-64-relu")
    rates: str = "0.1:2:8"
    seeds: int = 32
    epochs: int = 5
    holdout: int = 672
    """Images that a decision holds out of 4,000: a sixth, and so many more that all
    batches of 128 are full."""
    sweep: Path | None = None
    """Folder in which the trials are kept, for another run; by default they are not."""
    sizes: tuple[int, ...] = (1, 2, 3, 5)
    """Seeds of the sweeps that make lists."""
    lists: int = 150
    """Lists of several seeds, of each table and size."""
    answers: int = 20
    """Answers after each sweep."""
    trials: int = 200
    """The most trials of a decision."""
    seed: int = 0


@dataclass(frozen=True)
class Table:
    """The trials of a network at some of its rates, as rows of the `trials` table."""

    name: str
    sweeps: pd.DataFrame
    decisions: pd.DataFrame
    """The same, as `decide` trains."""

    def standing(self, seeds: object) -> pd.DataFrame:
        """Return what a sweep with these seeds says of the rates."""
        return standing(
            self.sweeps[self.sweeps["seed"].isin(np.atleast_1d(np.asarray(seeds)))],
            DATA[DATASET],
        )


def values(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies that trials are compared on, [seeds, rates]; NaN where a
    trial diverged."""
    accuracy = (
        trials[f"{held_out(trials)}_accuracy"]
        .astype(float)
        .where(trials["regime"] != "diverged")
    )
    return trials.assign(value=accuracy).pivot(
        index="seed", columns="learning_rate", values="value"
    )


def trained(config: DecideTables) -> Sweep:
    """Train all trials, or go on with those that an earlier run kept."""
    trials = [
        TrialConfig(
            architecture=network,
            learning_rate=rate,
            seed=seed,
            data_seed=seed,
            epochs=config.epochs,
            holdout=holdout,
        )
        for holdout, seed, network, rate in product(
            (0, config.holdout),
            range(config.seeds),
            config.networks,
            all_rates([config.rates]),
        )
    ]
    with TemporaryDirectory() as folder:
        where = config.sweep or Path(folder) / "sweep"
        options = SweepOptions(
            dataset=DATASET, scheduler="fifo", quiet=True, output=where, resume="auto"
        )
        return run_sweep("decide_tables", trials, options)


def tables(trials: pd.DataFrame) -> Iterator[Table]:
    """Yield each network's table, and parts of it: every second rate, and the four
    about the best one."""
    for network, rows in trials.groupby("architecture"):
        kinds = [rows[rows["holdout"] == 0], rows[rows["holdout"] > 0]]
        means = values(kinds[1]).mean()
        rates, best = list(means.index), int(np.argmax(means))
        first = min(max(best - 2, 0), len(rates) - 4)
        parts = {
            "all rates": rates,
            "every second rate": rates[1::2],
            "four about the best": rates[first : first + 4],
        }
        for said, some in parts.items():
            yield Table(
                f"{network}, {said}",
                *(of[of["learning_rate"].isin(some)] for of in kinds),
            )


def lists(table: Table, size: int, config: DecideTables) -> dict[str, Any]:
    """Simulate sweeps with `size` seeds. With one, each seed of the table is a sweep
    once. Return the share of their lists that hold the best rate, and how many rates
    they have, in the mean."""
    rng, known = np.random.default_rng([config.seed, size]), values(table.sweeps)
    seeds = list(known.index)
    chosen = [[seed] for seed in seeds]
    if size > 1:
        chosen = [
            list(rng.choice(seeds, size, replace=False)) for _ in range(config.lists)
        ]
    standings = [table.standing(some) for some in chosen]
    found = [list(one["learning_rate"][one["close"]]) for one in standings]
    held = np.mean(
        [
            known.drop(index=some).mean().idxmax() in rates
            for some, rates in zip(chosen, found, strict=True)
        ]
    )
    said = {
        "table": table.name,
        "seeds": size,
        "count": len(found),
        "held": float(held),
    }
    return said | {
        "length": float(np.mean([*map(len, found)])),
        "missed": is_missed(float(held), len(found)),
    }


def answers(table: Table, config: DecideTables) -> dict[str, Any]:
    """Simulate sweeps with one seed, each followed by a decision between the rates of
    its list. Return the share of the answers that are within the tolerance of the best
    rate; of the best of the list, which is all that a decision claims; that name the
    best rate itself; and that are settled. In the mean: by how much they are below the
    best, the tolerance, and the trials of the decision."""
    rng, known = np.random.default_rng(config.seed), values(table.decisions)
    truth, rows = known.mean(), []
    for seed in known.index:
        rates = list(to_decide(table.standing(seed))["learning_rate"])
        for _ in range(config.answers):
            rate, settled, trials = rates[0], True, 0
            tolerance = TOLERANCE * float(accuracy_noise(truth.max(), config.holdout))
            if len(rates) > 1:
                contest = decided(known[rates].to_numpy(), config, rng)
                rate, tolerance = (
                    rates[int(contest.decision.leader)],
                    contest.decision.tolerance,
                )
                settled, trials = contest.settled, len(contest.asked)
            loss = truth.max() - truth[rate]
            row = {
                "within": loss <= tolerance,
                "of_its_list": truth[rates].max() - truth[rate] <= tolerance,
            }
            row |= {
                "best": loss == 0,
                "settled": settled,
                "loss": loss,
                "tolerance": tolerance,
                "trials": trials,
            }
            rows.append(row)
    means = pd.DataFrame(rows).astype(float).mean().to_dict()
    return {
        "table": table.name,
        "count": len(rows),
        **means,
        "missed": is_missed(means["within"], len(rows)),
    }


def decided(
    known: np.ndarray, config: DecideTables, rng: np.random.Generator
) -> Contest:
    """Return a decision between the columns of a table of accuracies, on rows that are
    drawn with replacement."""
    settings = [TrialConfig(holdout=config.holdout)] * known.shape[1]
    contest = Contest(settings, DATA[DATASET], AT_A_TIME, config.trials)
    drawn = rng.integers(len(known), size=config.trials)
    for number, (order, setting) in enumerate(contest.asked):  # which grows meanwhile
        value = known[drawn[order], setting]
        reason = "diverged" if np.isnan(value) else "completed"
        contest.tell(number, {"stop_reason": reason, "validation_accuracy": value})
    return contest


def main() -> None:
    config, machine, start = (
        cli.parse(DecideTables),
        describe_machine(),
        time.perf_counter(),
    )
    print(machine_line(machine), flush=True)
    found = [*tables(trained(config).trials)]
    print(f"trained after {time.perf_counter() - start:.0f} s", flush=True)
    results = {
        "lists": [
            lists(table, size, config) for table in found for size in config.sizes
        ],
        "answers": [answers(table, config) for table in found],
    }
    for rows in results.values():
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4g}".format))
    print(f"{time.perf_counter() - start:.0f} s")
    kinds = {
        f"{one.name}: {kind}": getattr(one, kind)
        for one in found[::3]
        for kind in ("sweeps", "decisions")
    }
    results["tables"] = [
        {
            name: values(of).round(5).reset_index().to_dict("list")
            for name, of in kinds.items()
        }
    ]
    write_record(
        config,
        machine,
        {name: {"rounds": rows, "targets": []} for name, rows in results.items()},
    )


if __name__ == "__main__":
    cli.run(main)
