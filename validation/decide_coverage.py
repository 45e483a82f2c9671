"""Is the best setting within the tolerance, as often as `Decision` says? Simulate
decisions whose truth is known.

    python validation/decide_coverage.py --record

A cell is a truth (how much worse each setting is than the best), a kind of noise, the
number of settings K and a tolerance, all in units of the standard deviation of a paired
difference. Each has 2,000 decisions of up to 200 trials, without any training:
accuracies are drawn.

For each cell: how many decisions settle; of these, in how many the leader is within the
tolerance of the best; of the others, in how many it loses no more than is said; in how
many of all it is so, which is what is claimed; and in how many the best leads or is
said to be a rival of the leader. Of equal settings, the first counts as the best.
"""

from __future__ import annotations

import os

# NumPy reads them once
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks.comparison import Recorded
from mnist_tune import cli
from mnist_tune.regimes.decision import Decision
from validation.cells import generator, is_missed, simulate_all

TRUTHS: dict[str, Callable[[int], np.ndarray]] = {
    "ladder 0.3": lambda k: 0.3 * np.arange(k),
    "ladder 0.6": lambda k: 0.6 * np.arange(k),
    "one best 0.3": lambda k: 0.3 * (np.arange(k) > 0),
    "one best 0.6": lambda k: 0.6 * (np.arange(k) > 0),
    "ties": lambda k: np.zeros(k),
}
"""How much worse than the best each of K settings is, [K]; the first is the best."""

IMAGES = 1 / 1000
SPREAD = 0.01
"""The standard deviation of a paired difference in accuracy where accuracies are
rounded to one of 1,000 images."""

BATCH = 200
"""Decisions that are simulated side by side: their arrays fit into the processor's
cache."""

EXACT = 1e-12
"""The rounding of sums that are equal."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of which the best setting's has a long tail to low accuracies, and
    the others' is Gaussian."""
    drawn = rng.normal(size=shape)
    drawn[..., 0] = 1 - rng.exponential(size=shape[:-1])
    return drawn


def unequal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise that falls from the first setting, the best, to the last one, by a
    factor of four."""
    falls = np.geomspace(2, 0.5, shape[-1])
    return np.asarray(rng.normal(size=shape) * falls / np.sqrt((falls**2).mean()))


NOISES: dict[str, Draw] = {
    "Gaussian": lambda rng, shape: rng.normal(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "unequal": unequal,
    "skewed": skewed,
    "rounded": lambda rng, shape: rng.normal(size=shape),
}
"""The noise of each setting's accuracies, [searches, K], of variance 1 in the mean over
settings."""


@dataclass(frozen=True, kw_only=True)
class DecideCoverage(Recorded):
    """Simulate decisions, and print how often they are right."""

    searches: int = 2000
    """Decisions of a cell."""
    trials: int = 200
    """The most trials of a decision."""
    truths: tuple[str, ...] = tuple(TRUTHS)
    noises: tuple[str, ...] = tuple(NOISES)
    settings: tuple[int, ...] = (2, 4, 8, 12)
    tolerances: tuple[float, ...] = (0.25, 0.5)
    """In units of the standard deviation of a paired difference."""
    seed: int = 0


@dataclass(frozen=True)
class Cell:
    """What came out of the decisions of a cell, as shares of them."""

    truth: str
    noise: str
    settings: int
    tolerance: float
    settled: float
    """Decisions that settled."""
    within: float
    """Settled decisions whose leader is within the tolerance; NaN if none settled."""
    may_lose: float
    """Decisions that did not settle and whose leader loses no more than `may_lose`."""
    right: float
    """Decisions of which what is said of the leader is right: within the tolerance, or
    by how much it loses."""
    kept: float
    """Decisions in which the best setting leads, or is a rival."""
    trials: float
    """Trials used, in the mean."""
    missed: bool
    """Whether fewer than 95% are right, or keep the best, beyond chance."""


def simulate(
    truth: str, noise: str, settings: int, tolerance: float, config: DecideCoverage
) -> Cell:
    """Simulate the decisions of a cell, side by side. Each is read at the seed with
    which it ends."""
    rng = generator(config.seed, truth, noise, settings, tolerance)
    rounded = noise == "rounded"
    unit, images = (SPREAD, IMAGES) if rounded else (1.0, 0.0)
    worse = TRUTHS[truth](settings) * unit
    found = []
    for first in range(0, config.searches, BATCH):
        decision = Decision(
            settings, tolerance * unit, images, (min(BATCH, config.searches - first),)
        )
        while len(decision.seeds):
            values = (
                NOISES[noise](rng, decision.seeds.shape) / np.sqrt(2) * unit - worse
            )
            used = decision.seeds.sum(-1) + decision.active.sum(-1)
            decision.add(
                np.round(values / IMAGES) * IMAGES if rounded else values,
                decision.active,
            )
            over = decision.over
            ends = over | (used + decision.active.sum(-1) > config.trials)
            if ends.any():
                ended = part(decision, ends)
                lost, kept = (
                    worse[ended.leader],
                    (ended.leader == 0) | ended.rivals[:, 0],
                )
                within, loses = (
                    lost <= tolerance * unit + EXACT,
                    lost <= ended.may_lose + EXACT,
                )
                found.append(np.stack([over[ends], within, loses, kept, used[ends]]))
                decision = part(decision, ~ends)
    settled, within, loses, kept, trials = np.concatenate(found, 1)
    right = np.where(settled, within, loses)

    def share(of: np.ndarray, among: np.ndarray) -> float:
        return float(of[among > 0].mean()) if among.any() else float("nan")

    return Cell(
        truth,
        noise,
        settings,
        tolerance,
        float(settled.mean()),
        share(within, settled),
        share(loses, 1 - settled),
        float(right.mean()),
        float(kept.mean()),
        float(trials.mean()),
        any(is_missed(float(of.mean()), config.searches) for of in (right, kept)),
    )


def part(decision: Decision, rows: np.ndarray) -> Decision:
    """Return some of the decisions that are simulated side by side."""
    found = copy(decision)
    for name, value in vars(decision).items():
        if isinstance(value, np.ndarray):
            setattr(found, name, value[rows])
    return found


def main() -> None:
    config = cli.parse(DecideCoverage)
    cells = product(config.truths, config.noises, config.settings, config.tolerances)
    simulate_all(config, (simulate(*cell, config) for cell in cells))


if __name__ == "__main__":
    cli.run(main)
