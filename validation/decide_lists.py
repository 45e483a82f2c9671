"""Does the list of a sweep hold the best setting, as often as it says? Simulate sweeps whose truth is known.

    python validation/decide_lists.py --record

A cell is a number of settings K, of seeds n, a truth, how much seeds vary, and what goes wrong: settings that jump, or
seeds that fail. All is in units of the error of one accuracy (binomial). The truths are equal settings, and one that is
better than the others by 2; the setting that is looked for is the first. Jumping settings, half of the others, lose an
exponential amount of mean 5 in half of their seeds.

For each cell: how often the list holds the best of those that compete (`below_best`), how many it names, and the same
by the rule before (revision 71411f6): the error of an accuracy counted for four seeds, and more failures were out.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # NumPy reads them once

import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from mnist_tune import cli
from mnist_tune.regimes.decision import RISK, TOO_MANY, below_best
from mnist_tune.regimes.replicates import clopper_pearson

LEAST = 0.95
WRONG = {"nothing": (0.0, False), "5% fail": (0.05, False), "20% fail": (0.2, False), "half jump": (0.0, True)}
"""What goes wrong: the share of seeds that fail, and whether settings jump."""


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
    """Whether the line says that the list includes this noise: with one seed, what seeds vary by is not in it."""
    sweeps: int
    """Those in which the first setting competes: it has a seed that did not fail, and was not set aside."""
    held: float
    named: float
    held_before: float
    """By the rule before, of all sweeps in which any setting competed."""
    named_before: float

    @property
    def is_missed(self) -> bool:
        """Whether it holds the best in fewer sweeps than it says, beyond chance."""
        return self.included and bool(clopper_pearson(round(self.held * self.sweeps), self.sweeps)[1] < LEAST)


def simulate(settings: int, seeds: int, better: float, vary: float, wrong: str, config: DecideLists) -> Cell:
    """Simulate the sweeps of a cell."""
    rng = np.random.default_rng([config.seed, zlib.crc32(f"{settings} {seeds} {better} {vary} {wrong}".encode())])
    fails, jump = WRONG[wrong]
    jumping = (np.arange(settings) % 2 == 1) & jump
    shape = (config.sweeps, settings, seeds)
    values = rng.normal(size=shape) * np.hypot(1, vary) + better * (np.arange(settings) == 0)[:, None]
    values -= jumping[:, None] * (rng.random(shape) < 0.5) * rng.exponential(5, shape)
    failed = rng.random(shape) < fails
    new, old = [], []
    for value, lost in zip(values, failed, strict=True):
        if lost.all():
            continue
        old.append(before(value, lost))
        failures = lost.sum(1)
        competes = (failures < seeds) & (failures < failures[failures < seeds].min() + TOO_MANY)
        if competes[0]:
            new.append(listed(value, lost, failures, competes, jumping))
    held, named = np.mean(new, axis=0)
    was = np.mean(old, axis=0)
    included = (vary == 0 or seeds > 1) and not jump
    return Cell(settings, seeds, better, vary, wrong, included, len(new), float(held), float(named), *map(float, was))


def listed(
    value: np.ndarray, lost: np.ndarray, failures: np.ndarray, competes: np.ndarray, jumping: np.ndarray
) -> tuple[bool, int]:
    """Return whether the list of a sweep holds the first setting, and how many it names."""
    setting, seed = np.nonzero(~lost & competes[:, None])
    leads, numbers = failures[setting] == failures[competes].min(), np.cumsum(competes)[setting] - 1
    _, gap, limit = below_best(
        numbers, seed, value[setting, seed], np.ones(len(setting)), jumping[setting], leads
    )  # fmt: skip
    close = gap <= limit
    return bool(close[0]), int(close.sum())


def before(value: np.ndarray, lost: np.ndarray) -> tuple[bool, int]:
    """Return the same by the rule of revision 71411f6, where no curve fell."""
    failures = lost.sum(1)
    competes = failures == failures[failures < lost.shape[1]].min()
    known = np.where(lost, np.nan, value)[competes]
    best = np.nanmean(known, 1).argmax()
    difference = known[best] - known
    count = (~np.isnan(difference)).sum(1)
    gap = np.where(count > 0, np.nansum(difference, 1) / np.maximum(count, 1), np.inf)
    scatter = np.nansum((difference - gap[:, None]) ** 2, 1)
    level, free = 1 - RISK / max(len(known) - 1, 1), count + 3
    several = stdtrit(free, level) * np.sqrt((scatter + 8) / free / np.maximum(count, 1))
    close = gap <= np.where(count > 1, several, NormalDist().inv_cdf(level) * np.sqrt(2))
    return bool(competes[0] and close[0]), int(close.sum())


def cells(config: DecideLists) -> Iterator[Cell]:
    """Simulate all cells, one after another."""
    for of in product(config.settings, config.seeds, config.better, config.vary, WRONG):
        yield simulate(*of, config)


def main() -> None:
    config, machine, start = cli.parse(DecideLists), describe_machine(), time.perf_counter()
    print(machine_line(machine), f"{'K':>2} {'n':>2} better vary wrong      held named   before: held named", sep="\n")
    done = []
    for cell in cells(config):
        done.append(cell)
        said = f"{cell.settings:2} {cell.seeds:2} {cell.better:6} {cell.vary:4} {cell.wrong:9}"
        said += f" {cell.held:6.1%} {cell.named:5.1f}           {cell.held_before:6.1%} {cell.named_before:5.1f}"
        print(said, f"< {LEAST:.0%}" * cell.is_missed or ("" if cell.included else "not in the noise"), flush=True)
    included = [cell for cell in done if cell.included]
    print(f"{sum(cell.is_missed for cell in included)} of {len(included)} cells below {LEAST:.0%} beyond chance; "
          f"the least {min(cell.held for cell in included):.1%}; {time.perf_counter() - start:.0f} s")  # fmt: skip
    write_record(config, machine, {"lists": {"rounds": [asdict(cell) for cell in done], "targets": []}})


if __name__ == "__main__":
    cli.run(main)
