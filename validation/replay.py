"""Replay recorded sweeps as if they trained now: in some order, so many trials at a time,
each an epoch in turn, under a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import ASHAScheduler

from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.tuning.early_stopping import ASHA, RegimeStopping
from mnist_tune.tuning.run import Run
from validation.label_cuts import Stops, Sweep, configs_of, grace_period, rows_in_order

Row = dict[str, Any]

Scheduler = Callable[[Row], str]
"""Returns why a trial is stopped after a row; empty if it goes on."""


def largest_first(logs: np.ndarray) -> np.ndarray:
    descending: np.ndarray = -logs
    return descending


def smallest_first(logs: np.ndarray) -> np.ndarray:
    return logs


def middle_out(logs: np.ndarray) -> np.ndarray:
    """Return the distances from the middle, the order of `mnist-tune regimes`."""
    middle = (logs.min() + logs.max()) / 2
    distances: np.ndarray = np.abs(logs - middle)
    return distances


def coarse_to_fine(logs: np.ndarray) -> np.ndarray:
    """Return the places of rates that halve the gaps between those before, from the
    middle: of eight, the fifth, the third, the seventh, ..."""
    distinct = np.unique(logs)
    places = np.empty(len(distinct))
    gaps = [(0, len(distinct))]
    for place in range(len(distinct)):
        first, end = gaps.pop(0)
        middle = (first + end) // 2
        places[middle] = place
        halves = [(first, middle), (middle + 1, end)]
        gaps += [half for half in halves if half[0] < half[1]]
    in_turn: np.ndarray = places[np.searchsorted(distinct, logs)]
    return in_turn


ORDERS = {
    "largest first": largest_first,
    "smallest first": smallest_first,
    "middle out": middle_out,
    "coarse to fine": coarse_to_fine,
}
"""What trials are sorted by, given the logarithms of their rates."""


def in_order(sweep: Sweep, order: str) -> list[str]:
    """Return the trials in the order in which they start."""
    trials = sweep.trials
    # as if all had the same batch size and momentum
    speed = trials["learning_rate"] / trials["batch_size"] / (1 - trials["momentum"])
    logs = np.log(speed.to_numpy(float)).round(9)
    by_rate = ORDERS[order](logs)
    first_to_last = np.lexsort([trials["seed"], np.round(by_rate, 9)])
    return [str(trial_id) for trial_id in trials["trial_id"].iloc[first_to_last]]


def ours(sweep: Sweep) -> Scheduler:
    """Return the default scheduler."""
    scheduler = RegimeStopping(grace_period(sweep), Run(), sweep.data)
    configs = configs_of(sweep)

    def take_up(row: Row) -> str:
        trial_id = str(row["trial_id"])
        return scheduler.take_up(trial_id, configs[trial_id], row)

    return take_up


def asha(sweep: Sweep, reduction: float = 3) -> Scheduler:
    """Return Ray Tune's ASHA."""
    scheduler = ASHAScheduler(
        "epoch",
        "loss",
        "min",
        max_t=sweep.asked,
        grace_period=grace_period(sweep),
        reduction_factor=reduction,
    )
    trials: dict[str, Any] = {}

    def take_up(row: Row) -> str:
        trial_id = str(row["trial_id"])
        if trial_id not in trials:
            trials[trial_id] = SimpleNamespace(trial_id=trial_id)
            scheduler.on_trial_add(None, trials[trial_id])
        result = {"epoch": row["epoch"], "loss": finite_loss(row["train_loss"])}
        verdict = scheduler.on_trial_result(None, trials[trial_id], result)
        if verdict == scheduler.STOP:
            return ASHA
        return ""

    return take_up


@dataclass
class Replay:
    """What happened in a replay."""

    rows: list[Row] = field(default_factory=list)
    """In the order in which they came."""
    ends: list[tuple[int, str]] = field(default_factory=list)
    """After how many rows each trial ended."""
    stops: Stops = field(default_factory=dict)


def replay(sweep: Sweep, order: str, scheduler: Scheduler, at_a_time: int) -> Replay:
    """Return what happens to a sweep if so many trials run at a time."""
    trials = {trial_id: iter(rows) for trial_id, rows in rows_of(sweep).items()}
    lasts = sweep.epochs.groupby("trial_id")["epoch"].max()
    waiting = [name for name in in_order(sweep, order) if name in trials]
    running: list[str] = []
    result = Replay()
    while waiting or running:
        while waiting and len(running) < at_a_time:
            running.append(waiting.pop(0))
        for trial_id in list(running):
            row = next(trials[trial_id])
            result.rows.append(row)
            reason = scheduler(row)
            if not reason and row["diverged"]:
                reason = "diverged"
            is_last = row["epoch"] == lasts[trial_id]
            if reason and not is_last:
                result.stops[trial_id] = reason, int(row["epoch"])
            if reason or is_last:
                running.remove(trial_id)
                result.ends.append((len(result.rows), trial_id))
    return result


def rows_of(sweep: Sweep) -> dict[str, list[Row]]:
    """Return the rows of each trial that has some, epoch by epoch."""
    rows: dict[str, list[Row]] = {}
    for row in rows_in_order(sweep, configs_of(sweep), True):
        rows.setdefault(str(row["trial_id"]), []).append(row)
    return rows
