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


def ladder(step: float) -> Callable[[int], np.ndarray]:
    """Return settings each of which is worse than the one before by a step."""
    return lambda count: step * np.arange(count)


def one_best(gap: float) -> Callable[[int], np.ndarray]:
    """Return settings of which all but the first are worse by a gap."""
    return lambda count: np.where(np.arange(count) > 0, gap, 0.0)


TRUTHS: dict[str, Callable[[int], np.ndarray]] = {
    "ladder 0.3": ladder(0.3),
    "ladder 0.6": ladder(0.6),
    "one best 0.3": one_best(0.3),
    "one best 0.6": one_best(0.6),
    "ties": np.zeros,
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
    mean_square = (falls**2).mean()
    return np.asarray(rng.normal(size=shape) * falls / np.sqrt(mean_square))


def gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of Student's t with three degrees of freedom."""
    return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))


NOISES: dict[str, Draw] = {
    "Gaussian": gaussian,
    "t3": heavy_tailed,
    "unequal": unequal,
    "skewed": skewed,
    "rounded": gaussian,
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
    unit = 1.0
    images = 0.0
    if noise == "rounded":
        unit = SPREAD
        images = IMAGES
    worse = TRUTHS[truth](settings) * unit
    ended = []
    for first in range(0, config.searches, BATCH):
        count = min(BATCH, config.searches - first)
        decision = Decision(settings, tolerance * unit, images, (count,))
        while len(decision.seeds):
            drawn = NOISES[noise](rng, decision.seeds.shape)
            accuracies = drawn / np.sqrt(2) * unit - worse
            if images:
                accuracies = np.round(accuracies / images) * images
            trials = decision.seeds.sum(-1) + decision.active.sum(-1)
            decision.add(accuracies, decision.active)
            settled = decision.over
            # The next seed would be too many.
            is_last = trials + decision.active.sum(-1) > config.trials
            ends = settled | is_last
            if ends.any():
                figures = judged(part(decision, ends), worse, tolerance * unit)
                ended.append(np.stack([settled[ends], *figures, trials[ends]]))
                decision = part(decision, ~ends)
    settled, within, loses, keeps_best, trials = np.concatenate(ended, 1)
    right = np.where(settled, within, loses)
    right_share = float(right.mean())
    kept_share = float(keeps_best.mean())
    misses_right = is_missed(right_share, config.searches)
    misses_best = is_missed(kept_share, config.searches)
    return Cell(
        truth=truth,
        noise=noise,
        settings=settings,
        tolerance=tolerance,
        settled=float(settled.mean()),
        within=share_among(within, settled),
        may_lose=share_among(loses, 1 - settled),
        right=right_share,
        kept=kept_share,
        trials=float(trials.mean()),
        missed=misses_right or misses_best,
    )


def judged(
    ended: Decision, worse: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each decision whether its leader is within the tolerance, loses no
    more than is said, and whether the best leads or is a rival."""
    lost = worse[ended.leader]
    within = lost <= tolerance + EXACT
    loses = lost <= ended.may_lose + EXACT
    keeps_best = (ended.leader == 0) | ended.rivals[:, 0]
    return within, loses, keeps_best


def share_among(holds: np.ndarray, among: np.ndarray) -> float:
    """Return the share for which something holds; NaN of none."""
    if not among.any():
        return float("nan")
    return float(holds[among > 0].mean())


def part(decision: Decision, rows: np.ndarray) -> Decision:
    """Return some of the decisions that are simulated side by side."""
    some = copy(decision)
    for name, value in vars(decision).items():
        if isinstance(value, np.ndarray):
            setattr(some, name, value[rows])
    return some


def main() -> None:
    config = cli.parse(DecideCoverage)
    cells = product(config.truths, config.noises, config.settings, config.tolerances)
    simulate_all(config, (simulate(*cell, config) for cell in cells))


if __name__ == "__main__":
    cli.run(main)
