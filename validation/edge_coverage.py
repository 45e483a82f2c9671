"""Is the edge where a search says it is? Simulate searches whose edge is known, and
count.

    python validation/edge_coverage.py --record

A cell is a truth (how the share of seeds that learn falls with the learning rate), its
width s, and a number of workers. Each has 1,000 searches of up to 100 trials, by the
searcher of `sweeps/edge.py` itself, pilot included, but without any training: trials
draw whether they learn, and how long their epochs take, 1 ± 0.1. Those that fail end
after the first of three epochs. A third of the searches expect the edge where it is, up
to 30%; a third 8 times too low; a third 8 times too high.

For each cell: how many of the 95% intervals of the 50% rate hold the true one, the mean
error of the median, the mean half-width of the interval, trials used, how many searches
reached the precision asked for, and the time that a search takes, in epochs of one
trial.
"""

from __future__ import annotations

import os

# NumPy reads them once; each process has a core
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import heapq
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from benchmarks.comparison import Recorded
from mnist_tune import TrialConfig, cli
from mnist_tune.edge.edge_searcher import EdgeSearcher
from mnist_tune.regimes.measured_edge import Learned
from validation.cells import simulate_all

LEARNED = 3
FAILED = 1
"""Epochs that a trial takes."""

EXPECTED = (0.0, -math.log(8), math.log(8))
"""How far from the true edge searches expect it, in ln η."""

Truth = Callable[[np.ndarray, float, np.ndarray], np.ndarray]


def lapses(x: np.ndarray, s: float, draw: np.ndarray) -> np.ndarray:
    """Return a logistic curve below which 5 to 10% of seeds fail, another share in each
    search."""
    share = 0.05 + 0.05 * draw
    # Half of the seeds learn at 0.
    shift = np.log(0.5 / (0.5 - share))
    return np.asarray((1 - share) * expit(shift - x / s))


def not_monotone(x: np.ndarray, s: float, _: np.ndarray) -> np.ndarray:
    """Return a logistic curve with a dip of 0.2 below the edge and a bump of 0.2 above
    it."""
    dip = 0.2 * _hill(x, -0.8)
    bump = 0.2 * _hill(x, 0.8)
    return np.asarray(np.clip(expit(-x / s) - dip + bump, 0, 1))


def _hill(x: np.ndarray, centre: float) -> np.ndarray:
    distance = (x - centre) / 0.25
    return np.asarray(np.exp(-(distance**2) / 2))


def logistic(x: np.ndarray, s: float, _: np.ndarray) -> np.ndarray:
    return np.asarray(expit(-x / s))


def probit(x: np.ndarray, s: float, _: np.ndarray) -> np.ndarray:
    return np.asarray(ndtr(-x / (1.6 * s)))


def log_log(x: np.ndarray, s: float, _: np.ndarray) -> np.ndarray:
    """Return a complementary log-log curve."""
    # exp of more would overflow
    exponent = np.minimum(x / (1.4 * s), 50)
    return np.asarray(np.exp(-math.log(2) * np.exp(exponent)))


def step(x: np.ndarray, s: float, _: np.ndarray) -> np.ndarray:
    return np.asarray((x < 0).astype(float))


TRUTHS: dict[str, Truth] = {
    "logistic": logistic,
    "lapses of 5 to 10%": lapses,
    "probit": probit,
    "complementary log-log": log_log,
    "not monotone": not_monotone,
    "step": step,
}
"""The share of seeds that learn, by ln of the learning rate, s, and a draw from 0 to 1
of each search; ½ at 0."""


@dataclass(frozen=True, kw_only=True)
class EdgeCoverage(Recorded):
    """Simulate searches for the edge, and print how often their intervals hold it."""

    searches: int = 1000
    """Searches of a cell."""
    trials: int = 100
    """The most trials of a search."""
    precision: float = 0.05
    """The half-width of the 95% interval at which a search ends, as a share of the
    rate."""
    truths: tuple[str, ...] = tuple(TRUTHS)
    widths: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    """Values of s."""
    workers: tuple[int, ...] = (2, 16, 64)
    """Trials that run at the same time. One more is proposed, which waits for the next
    free worker."""
    processes: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Cell:
    """What came out of the searches of a cell, in the mean."""

    truth: str
    s: float
    workers: int
    covers: float
    """The share of intervals that hold the true edge."""
    bias: float
    half_width: float
    trials: float
    precise: float
    """The share of searches that reached the precision."""
    epochs: float


def simulate(truth: str, s: float, workers: int, config: EdgeCoverage) -> Cell:
    """Simulate the searches of a cell."""
    number = list(TRUTHS).index(truth)
    rng = np.random.default_rng([config.seed, number, round(1000 * s), workers])
    chance = partial(_chance, truth, s)
    searches = []
    for search in range(config.searches):
        error = rng.uniform(-0.26, 0.26)
        expected = EXPECTED[search % len(EXPECTED)] + error
        searches.append(_search(chance, expected, workers, config, rng))
    low, median, high, trials, precise, epochs = np.transpose(searches)
    covers = np.mean((low <= 0) & (high >= 0))
    half_width = np.mean(high - low) / 2
    return Cell(
        truth=truth,
        s=s,
        workers=workers,
        covers=float(covers),
        bias=math.expm1(median.mean()),
        half_width=math.expm1(half_width),
        trials=float(np.mean(trials)),
        precise=float(np.mean(precise)),
        epochs=float(np.mean(epochs)),
    )


def _chance(truth: str, s: float, x: np.ndarray, draw: np.ndarray) -> np.ndarray:
    return TRUTHS[truth](x, s, draw)


def _search(
    chance: Callable[..., Any],
    expected: float,
    workers: int,
    config: EdgeCoverage,
    rng: np.random.Generator,
) -> tuple[Any, ...]:
    """Run the searcher of `mnist-tune edge`, pilot included, with as many workers as
    trials run at a time, and one."""
    setting = TrialConfig(epochs=LEARNED)
    seed = int(rng.integers(2**32))
    searcher = EdgeSearcher(
        [setting],
        [math.exp(expected)],
        workers=workers + 1,
        precision=config.precision,
        trials=config.trials,
        learned=[Learned(guess=1.0)],
        seed=seed,
    )
    draw = rng.random()
    now = 0.0
    # Trials that run, the first to end first, and those that wait for a worker.
    running: list[Any] = []
    waiting: list[Any] = []
    numbers = itertools.count()
    while True:
        while len(running) + len(waiting) <= workers:
            number = next(numbers)
            config_of_trial = searcher.suggest(str(number))
            if not isinstance(config_of_trial, dict):
                break
            duration, row = _train(config_of_trial["trial"], chance, draw)
            waiting.append((duration, number, row))
        while waiting and len(running) < workers:
            duration, number, row = waiting.pop(0)
            heapq.heappush(running, (now + duration, number, row))
        if not running:
            break
        now, number, row = heapq.heappop(running)
        searcher.on_trial_complete(str(number), row)
    [search] = searcher._searches
    while search.seen < len(search.trials):
        search.take_up()
    precise = search.posterior.has_settled(config.precision)
    return *search.posterior.interval(), len(search.trials), precise, now


def _train(
    trial: dict[str, Any], chance: Callable[..., Any], draw: float
) -> tuple[float, dict[str, Any]]:
    """Draw how long a trial takes, in epochs, and its last row."""
    rng = np.random.default_rng(trial["seed"])
    share = float(chance(np.log(trial["learning_rate"]), draw))
    learned = bool(rng.random() < share)
    epochs = FAILED
    loss = 1.0
    if learned:
        epochs = LEARNED
        loss = 0.0
    duration = float(rng.normal(1, 0.1, epochs).sum())
    row = {
        "epoch": epochs,
        "diverged": not learned,
        "train_accuracy": share,
        "train_loss": loss,
        "untrained_loss": 1.0,
    }
    return duration, row


def main() -> None:
    config = cli.parse(EdgeCoverage)
    with ProcessPoolExecutor(config.processes) as pool:
        running = []
        for truth, s, workers in product(config.truths, config.widths, config.workers):
            # A step has no width.
            if truth != "step" or s == config.widths[0]:
                running.append(pool.submit(simulate, truth, s, workers, config))
        table = simulate_all(config, (future.result() for future in running))
    by_truth = table.groupby("truth", sort=False)[["covers", "bias"]]
    print(by_truth.agg(["min", "mean", "max"]).to_string())


if __name__ == "__main__":
    cli.run(main)
