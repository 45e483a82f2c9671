"""Does the list of a sweep hold the best setting, as often as it says? Simulate sweeps
whose truth is known.

    python validation/decide_lists.py --record

A cell is a number of settings K, of seeds n, a truth, how much seeds vary, and what
goes wrong: settings that jump, or seeds that fail. All is in units of the error of one
accuracy (binomial). The truths are equal settings, and one that is better than the
others by 2; the setting that is looked for is the first. Jumping settings, half of the
others, lose an exponential amount of mean 5 in half of their seeds. Near its edge is
the last setting, or the last half of them: its seeds vary ten times as much, about 20
less than the others, and no curve shows it.

For each cell: how often the list holds the best of those that compete (`below_best`),
and how many it names.
"""

from __future__ import annotations

import os

# NumPy reads them once
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks.comparison import Recorded
from mnist_tune import cli
from mnist_tune.regimes.decision import TOO_MANY, below_best
from validation.cells import generator, is_missed, simulate_all

WRONG = ("nothing", "5% fail", "20% fail", "half jump", "edge", "half edge")
"""What goes wrong: seeds fail, settings jump, or rates are near their edge."""

FAILS = {"5% fail": 0.05, "20% fail": 0.2}
"""The share of seeds that fail."""


@dataclass(frozen=True, kw_only=True)
class DecideLists(Recorded):
    """Simulate the lists of sweeps, and print how often they hold the best."""

    sweeps: int = 500
    """Sweeps of a cell."""
    settings: tuple[int, ...] = (2, 4, 8)
    seeds: tuple[int, ...] = (1, 2, 3, 5)
    better: tuple[float, ...] = (0.0, 2.0)
    """By how much the first setting is better than the others, in binomial errors."""
    vary: tuple[float, ...] = (0.0, 1.0, 2.0)
    """How much seeds vary beyond the error of an accuracy, in binomial errors."""
    seed: int = 0


@dataclass(frozen=True)
class Cell:
    """What came out of the sweeps of a cell."""

    settings: int
    seeds: int
    better: float
    vary: float
    wrong: str
    included: bool
    """Whether the line says that the list includes this noise: with one seed, what
    seeds vary by is not in it."""
    sweeps: int
    """Those in which the first setting competes: it has a seed that did not fail, and
    was not set aside."""
    held: float
    named: float
    missed: bool
    """Whether it holds the best in fewer sweeps than it says, beyond chance."""


def simulate(
    settings: int,
    seeds: int,
    better: float,
    vary: float,
    wrong: str,
    config: DecideLists,
) -> Cell:
    """Simulate the sweeps of a cell."""
    rng = generator(config.seed, settings, seeds, better, vary, wrong)
    number = np.arange(settings)
    jumping = (number % 2 == 1) & (wrong == "half jump")
    edges = {"edge": 1, "half edge": settings // 2}.get(wrong, 0)
    near_edge = number >= settings - edges
    shape = (config.sweeps, settings, seeds)
    noise = rng.normal(size=shape) * np.hypot(1, vary)
    is_best = (number == 0)[:, None]
    values = noise + better * is_best
    jumps = jumping[:, None] * (rng.random(shape) < 0.5)
    depths = rng.exponential(5, shape)
    values -= jumps * depths
    values_at_the_edge = 10 * values - 20
    values = np.where(near_edge[:, None], values_at_the_edge, values)
    failed = rng.random(shape) < FAILS.get(wrong, 0.0)
    lists = []
    for value, lost in zip(values, failed, strict=True):
        failures = lost.sum(1)
        fails_too_often = failures >= failures.min() + TOO_MANY
        competes = (failures < seeds) & ~fails_too_often
        # Only sweeps in which the first setting competes count.
        if competes[0]:
            lists.append(listed(value, lost, failures, competes, jumping))
    held, named = map(float, np.mean(lists, axis=0))
    knows_seeds = vary == 0 or seeds > 1
    included = knows_seeds and wrong != "half jump"
    missed = included and is_missed(held, len(lists))
    return Cell(
        settings=settings,
        seeds=seeds,
        better=better,
        vary=vary,
        wrong=wrong,
        included=included,
        sweeps=len(lists),
        held=held,
        named=named,
        missed=missed,
    )


def listed(
    value: np.ndarray,
    lost: np.ndarray,
    failures: np.ndarray,
    competes: np.ndarray,
    jumping: np.ndarray,
) -> tuple[bool, int]:
    """Return whether the list of a sweep holds the first setting, and how many it
    names."""
    setting, seed = np.nonzero(~lost & competes[:, None])
    least = failures[competes].min()
    leads = failures[setting] == least
    # Those that compete are numbered anew.
    numbers = np.cumsum(competes)[setting] - 1
    noise = np.ones(len(setting))
    scores = value[setting, seed]
    is_jumping = jumping[setting]
    _, gap, limit = below_best(numbers, seed, scores, noise, is_jumping, leads)
    close = gap <= limit
    return bool(close[0]), int(close.sum())


def main() -> None:
    config = cli.parse(DecideLists)
    cells = product(config.settings, config.seeds, config.better, config.vary, WRONG)
    table = simulate_all(config, (simulate(*cell, config) for cell in cells))
    missed = table["missed"].sum()
    included = table["included"].sum()
    print(f"{missed} of {included} cells whose noise is included are below 95%")


if __name__ == "__main__":
    cli.run(main)
