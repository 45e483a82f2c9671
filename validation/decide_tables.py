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
        chosen = np.atleast_1d(np.asarray(seeds))
        rows = self.sweeps[self.sweeps["seed"].isin(chosen)]
        return standing(rows, DATA[DATASET])


def values(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies that trials are compared on, [seeds, rates]; NaN where a
    trial diverged."""
    accuracy = trials[f"{held_out(trials)}_accuracy"].astype(float)
    accuracy = accuracy.where(trials["regime"] != "diverged")
    table = trials.assign(value=accuracy)
    return table.pivot(index="seed", columns="learning_rate", values="value")


def trained(config: DecideTables) -> Sweep:
    """Train all trials, or go on with those that an earlier run kept."""
    holdouts = (0, config.holdout)
    seeds = range(config.seeds)
    rates = all_rates([config.rates])
    trials = []
    for holdout, seed, network, rate in product(
        holdouts, seeds, config.networks, rates
    ):
        trial = TrialConfig(
            architecture=network,
            learning_rate=rate,
            seed=seed,
            data_seed=seed,
            epochs=config.epochs,
            holdout=holdout,
        )
        trials.append(trial)
    with TemporaryDirectory() as temporary:
        folder = config.sweep or Path(temporary) / "sweep"
        options = SweepOptions(
            dataset=DATASET, scheduler="fifo", quiet=True, output=folder, resume="auto"
        )
        return run_sweep("decide_tables", trials, options)


def tables(trials: pd.DataFrame) -> Iterator[Table]:
    """Yield each network's table, and parts of it: every second rate, and the four
    about the best one."""
    for network, rows in trials.groupby("architecture"):
        sweeps = rows[rows["holdout"] == 0]
        decisions = rows[rows["holdout"] > 0]
        means = values(decisions).mean()
        rates = list(means.index)
        best = int(np.argmax(means))
        first = min(max(best - 2, 0), len(rates) - 4)
        parts = {
            "all rates": rates,
            "every second rate": rates[1::2],
            "four about the best": rates[first : first + 4],
        }
        for title, part in parts.items():
            is_swept = sweeps["learning_rate"].isin(part)
            is_decided = decisions["learning_rate"].isin(part)
            yield Table(
                name=f"{network}, {title}",
                sweeps=sweeps[is_swept],
                decisions=decisions[is_decided],
            )


def lists(table: Table, size: int, config: DecideTables) -> dict[str, Any]:
    """Simulate sweeps with `size` seeds. With one, each seed of the table is a sweep
    once. Return the share of their lists that hold the best rate, and how many rates
    they have, in the mean."""
    rng = np.random.default_rng([config.seed, size])
    accuracies = values(table.sweeps)
    seeds = list(accuracies.index)
    draws = [[seed] for seed in seeds]
    if size > 1:
        draws = [
            list(rng.choice(seeds, size, replace=False)) for _ in range(config.lists)
        ]
    holds = []
    lengths = []
    for draw in draws:
        rates = table.standing(draw)
        close = list(rates["learning_rate"][rates["close"]])
        # The other seeds say which rate is the best.
        best = accuracies.drop(index=draw).mean().idxmax()
        holds.append(best in close)
        lengths.append(len(close))
    held = float(np.mean(holds))
    return {
        "table": table.name,
        "seeds": size,
        "count": len(draws),
        "held": held,
        "length": float(np.mean(lengths)),
        "missed": is_missed(held, len(draws)),
    }


def answers(table: Table, config: DecideTables) -> dict[str, Any]:
    """Simulate sweeps with one seed, each followed by a decision between the rates of
    its list. Return the share of the answers that are within the tolerance of the best
    rate; of the best of the list, which is all that a decision claims; that name the
    best rate itself; and that are settled. In the mean: by how much they are below the
    best, the tolerance, and the trials of the decision."""
    rng = np.random.default_rng(config.seed)
    accuracies = values(table.decisions)
    truth = accuracies.mean()
    noise = float(accuracy_noise(truth.max(), config.holdout))
    rows = []
    for seed in accuracies.index:
        rates = list(to_decide(table.standing(seed))["learning_rate"])
        for _ in range(config.answers):
            # A list of one rate is an answer.
            rate = rates[0]
            settled = True
            trials = 0
            tolerance = TOLERANCE * noise
            if len(rates) > 1:
                contest = decided(accuracies[rates].to_numpy(), config, rng)
                rate = rates[int(contest.decision.leader)]
                settled = contest.settled
                trials = len(contest.asked)
                tolerance = contest.decision.tolerance
            loss = truth.max() - truth[rate]
            loss_in_list = truth[rates].max() - truth[rate]
            row = {
                "within": loss <= tolerance,
                "of_its_list": loss_in_list <= tolerance,
                "best": loss == 0,
                "settled": settled,
                "loss": loss,
                "tolerance": tolerance,
                "trials": trials,
            }
            rows.append(row)
    means = pd.DataFrame(rows).astype(float).mean().to_dict()
    missed = is_missed(means["within"], len(rows))
    return {"table": table.name, "count": len(rows), **means, "missed": missed}


def decided(
    accuracies: np.ndarray, config: DecideTables, rng: np.random.Generator
) -> Contest:
    """Return a decision between the columns of a table of accuracies, on rows that are
    drawn with replacement."""
    settings = [TrialConfig(holdout=config.holdout)] * accuracies.shape[1]
    contest = Contest(settings, DATA[DATASET], AT_A_TIME, config.trials)
    drawn = rng.integers(len(accuracies), size=config.trials)
    # What the contest asks for grows meanwhile.
    for number, (order, setting) in enumerate(contest.asked):
        accuracy = accuracies[drawn[order], setting]
        reason = "completed"
        if np.isnan(accuracy):
            reason = "diverged"
        contest.tell(number, {"stop_reason": reason, "validation_accuracy": accuracy})
    return contest


def main() -> None:
    config = cli.parse(DecideTables)
    machine = describe_machine()
    start = time.perf_counter()
    print(machine_line(machine), flush=True)
    parts = list(tables(trained(config).trials))
    print(f"trained after {time.perf_counter() - start:.0f} s", flush=True)
    list_rows = [lists(table, size, config) for table in parts for size in config.sizes]
    answer_rows = [answers(table, config) for table in parts]
    for rows in (list_rows, answer_rows):
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4g}".format))
    print(f"{time.perf_counter() - start:.0f} s")
    tables_row = recorded_tables(parts)
    record = {
        "lists": {"rounds": list_rows, "targets": []},
        "answers": {"rounds": answer_rows, "targets": []},
        "tables": {"rounds": [tables_row], "targets": []},
    }
    write_record(config, machine, record)


def recorded_tables(parts: list[Table]) -> dict[str, Any]:
    """Return the accuracies of all trials, by network and kind."""
    record = {}
    # The first of a network's three tables has all rates.
    for table in parts[::3]:
        record[f"{table.name}: sweeps"] = rounded(table.sweeps)
        record[f"{table.name}: decisions"] = rounded(table.decisions)
    return record


def rounded(trials: pd.DataFrame) -> dict[str, Any]:
    table = values(trials).round(5).reset_index()
    return dict(table.to_dict("list"))


if __name__ == "__main__":
    cli.run(main)
