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
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from benchmarks.comparison import Recorded
from mnist_tune import TrialConfig, cli
from mnist_tune.edge.edge_searcher import EdgeSearcher
from mnist_tune.regimes.measured_edge import Learned
from validation.cells import simulate_all

LEARNED, FAILED = 3, 1
"""Epochs that a trial takes."""

EXPECTED = (0.0, -math.log(8), math.log(8))
"""How far from the true edge searches expect it, in ln η."""

Truth = Callable[[np.ndarray, float, np.ndarray], np.ndarray]


def lapses(x: np.ndarray, s: float, draw: np.ndarray) -> np.ndarray:
    """Return a logistic curve below which 5 to 10% of seeds fail, another share in each
    search."""
    share = 0.05 + 0.05 * draw
    return np.asarray((1 - share) * expit(np.log(0.5 / (0.5 - share)) - x / s))


def not_monotone(x: np.ndarray, s: float, _: np.ndarray) -> np.ndarray:
    """Return a logistic curve with a dip of 0.2 below the edge and a bump of 0.2 above
    it."""
    dip, bump = (0.2 * np.exp(-(((x - at) / 0.25) ** 2) / 2) for at in (-0.8, 0.8))
    return np.asarray(np.clip(expit(-x / s) - dip + bump, 0, 1))


TRUTHS: dict[str, Truth] = {
    "logistic": lambda x, s, _: expit(-x / s),
    "lapses of 5 to 10%": lapses,
    "probit": lambda x, s, _: ndtr(-x / (1.6 * s)),
    "complementary log-log": lambda x, s, _: np.exp(
        -math.log(2) * np.exp(np.minimum(x / (1.4 * s), 50))
    ),
    "not monotone": not_monotone,
    "step": lambda x, s, _: (x < 0).astype(float),
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
    rng = np.random.default_rng(
        [config.seed, list(TRUTHS).index(truth), round(1000 * s), workers]
    )
    found = []
    for number in range(config.searches):
        expected = EXPECTED[number % len(EXPECTED)] + rng.uniform(-0.26, 0.26)
        found.append(
            _search(
                lambda x, draw: TRUTHS[truth](x, s, draw),
                expected,
                workers,
                config,
                rng,
            )
        )
    low, median, high, *others = np.transpose(found)
    shares = (
        ((low <= 0) & (high >= 0)).mean(),
        math.expm1(median.mean()),
        math.expm1(((high - low) / 2).mean()),
    )
    return Cell(truth, s, workers, *map(float, (*shares, *np.mean(others, 1))))


def _search(
    chance: Callable[..., Any],
    expected: float,
    workers: int,
    config: EdgeCoverage,
    rng: np.random.Generator,
) -> tuple[Any, ...]:
    """Run the searcher of `mnist-tune edge`, pilot included, with as many workers as
    trials run at a time, and one."""
    searcher = EdgeSearcher(
        [TrialConfig(epochs=LEARNED)],
        [math.exp(expected)],
        workers=workers + 1,
        precision=config.precision,
        trials=config.trials,
        learned=[Learned(guess=1.0)],
        seed=int(rng.integers(2**32)),
    )
    draw, now, running, waiting, ids = (
        rng.random(),
        0.0,
        list[Any](),
        list[Any](),
        itertools.count(),
    )
    while True:
        while len(running) + len(waiting) <= workers:
            asked = searcher.suggest(str(number := next(ids)))
            if not isinstance(asked, dict):
                break
            own = np.random.default_rng(asked["trial"]["seed"])
            share = float(chance(np.log(asked["trial"]["learning_rate"]), draw))
            learned = bool(own.random() < share)
            epochs = LEARNED if learned else FAILED
            row = {"epoch": epochs, "diverged": not learned, "train_accuracy": share}
            row |= {"train_loss": 0.0 if learned else 1.0, "untrained_loss": 1.0}
            waiting.append((float(own.normal(1, 0.1, epochs).sum()), number, row))
        while waiting and len(running) < workers:
            took, number, row = waiting.pop(0)
            heapq.heappush(running, (now + took, number, row))
        if not running:
            break
        now, number, row = heapq.heappop(running)
        searcher.on_trial_complete(str(number), row)
    [search] = searcher._searches
    while search.seen < len(search.trials):
        search.take_up()
    precise = search.posterior.has_settled(config.precision)
    return *search.posterior.interval(), len(search.trials), precise, now


def main() -> None:
    config = cli.parse(EdgeCoverage)
    each = product(config.truths, config.widths, config.workers)
    cells = [cell for cell in each if cell[0] != "step" or cell[1] == config.widths[0]]
    with ProcessPoolExecutor(config.processes) as pool:
        running = [pool.submit(simulate, *cell, config) for cell in cells]
        found = simulate_all(config, (one.result() for one in running))
    print(
        found.groupby("truth", sort=False)[["covers", "bias"]]
        .agg(["min", "mean", "max"])
        .to_string()
    )


if __name__ == "__main__":
    cli.run(main)
