"""Is the best setting within the tolerance, as often as `Decision` says? Simulate decisions whose truth is known.

    python validation/decide_coverage.py --record

A cell is a truth (how much worse each setting is than the best), a kind of noise, the number of settings K and a
tolerance, all in units of the standard deviation of a paired difference. Each has 2,000 decisions of up to 200 trials,
without any training: accuracies are drawn.

For each cell: how many decisions settle; of these, in how many the leader is within the tolerance of the best; of the
others, in how many it loses no more than is said; in how many of all it is so, which is what is claimed; and in how
many the best leads or is said to be a rival of the leader. Of equal settings, the first counts as the best.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # NumPy reads them once

import time
import zlib
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from mnist_tune import cli
from mnist_tune.regimes.decision import Decision
from mnist_tune.regimes.replicates import clopper_pearson

TRUTHS: dict[str, Callable[[int], np.ndarray]] = {
    "ladder 0.3": lambda k: 0.3 * np.arange(k),
    "ladder 0.6": lambda k: 0.6 * np.arange(k),
    "one best 0.3": lambda k: 0.3 * (np.arange(k) > 0),
    "one best 0.6": lambda k: 0.6 * (np.arange(k) > 0),
    "ties": lambda k: np.zeros(k),
}
"""How much worse than the best each of K settings is, [K]; the first is the best."""

LEAST = 0.95
"""The share of decisions of a cell that are right, and that keep the best."""

IMAGES = 1 / 1000
SPREAD = 0.01
"""The standard deviation of a paired difference in accuracy where accuracies are rounded to one of 1,000 images."""

BATCH = 200
"""Decisions that are simulated side by side: their arrays fit into the processor's cache."""

EXACT = 1e-12
"""The rounding of sums that are equal."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of which the best setting's has a long tail to low accuracies, and the others' is Gaussian."""
    drawn = rng.normal(size=shape)
    drawn[..., 0] = 1 - rng.exponential(size=shape[:-1])
    return drawn


def unequal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise that falls from the first setting, the best, to the last one, by a factor of four."""
    falls = np.geomspace(2, 0.5, shape[-1])
    drawn: np.ndarray = rng.normal(size=shape) * falls / np.sqrt((falls**2).mean())
    return drawn


NOISES: dict[str, Draw] = {
    "Gaussian": lambda rng, shape: rng.normal(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "unequal": unequal,
    "skewed": skewed,
    "rounded": lambda rng, shape: rng.normal(size=shape),
}
"""The noise of each setting's accuracies, [searches, K], of variance 1 in the mean over settings."""


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
    """Decisions of which what is said of the leader is right: within the tolerance, or by how much it loses."""
    kept: float
    """Decisions in which the best setting leads, or is a rival."""
    trials: float
    """Trials used, in the mean."""

    def line(self) -> str:
        shares = (self.settled, self.within, self.may_lose, self.right, self.kept)
        name = f"{self.truth:13} {self.noise:9} {self.settings:3} {self.tolerance:9.2f}"
        return name + "".join("       –" if np.isnan(one) else f"{one:8.1%}" for one in shares) + f"{self.trials:8.0f}"


HEADING = (
    f"{'truth':13} {'noise':9} {'K':>3} {'tolerance':>9}"
    + "".join(f"{name:>8}" for name in ("settled", "within", "loses", "right", "kept", "trials"))
)  # fmt: skip


def simulate(truth: str, noise: str, settings: int, tolerance: float, config: DecideCoverage) -> Cell:
    """Simulate the decisions of a cell, side by side. Each is read at the seed with which it ends."""
    rng = np.random.default_rng([config.seed, zlib.crc32(f"{truth} {noise} {settings} {tolerance}".encode())])
    rounded = noise == "rounded"
    unit, images = (SPREAD, IMAGES) if rounded else (1.0, 0.0)
    worse = TRUTHS[truth](settings) * unit
    settled, within, loses, kept = (np.zeros(config.searches, bool) for _ in range(4))
    trials, waiting = np.zeros(config.searches), np.arange(config.searches)
    rows = waiting[:0]
    while len(rows) or len(waiting):
        if not len(rows):
            rows, waiting = waiting[:BATCH], waiting[BATCH:]
            decision = Decision(settings, tolerance * unit, images, (len(rows),))
        values = NOISES[noise](rng, (len(rows), settings)) / np.sqrt(2) * unit - worse
        used = decision.seeds.sum(-1) + decision.active.sum(-1)
        decision.add(np.round(values / IMAGES) * IMAGES if rounded else values, decision.active)
        over = decision.over
        ends = over | (used + decision.active.sum(-1) > config.trials)
        if not ends.any():
            continue
        now, ended = rows[ends], part(decision, ends)
        lost = worse[ended.leader]
        settled[now], trials[now] = over[ends], used[ends]
        within[now] = lost <= tolerance * unit + EXACT
        loses[now] = lost <= ended.may_lose + EXACT
        kept[now] = (ended.leader == 0) | ended.rivals[:, 0]
        decision, rows = part(decision, ~ends), rows[~ends]

    def share(of: np.ndarray, among: np.ndarray) -> float:
        return float(of[among].mean()) if among.any() else float("nan")

    return Cell(
        truth, noise, settings, tolerance, float(settled.mean()), share(within, settled), share(loses, ~settled),
        float(np.where(settled, within, loses).mean()), float(kept.mean()), float(trials.mean()),
    )  # fmt: skip


def part(decision: Decision, rows: np.ndarray) -> Decision:
    """Return some of the decisions that are simulated side by side."""
    found = copy(decision)
    for name, value in vars(decision).items():
        if isinstance(value, np.ndarray):
            setattr(found, name, value[rows])
    return found


def cells(config: DecideCoverage) -> Iterator[Cell]:
    """Simulate all cells, one after another."""
    for truth, noise, settings, tolerance in product(config.truths, config.noises, config.settings, config.tolerances):
        yield simulate(truth, noise, settings, tolerance, config)


def missed(found: Cell, searches: int) -> list[str]:
    """Return what a cell should show and, beyond chance, does not."""
    return [
        f"{name} {share:.1%} < {LEAST:.0%}"
        for name, share in (("right", found.right), ("kept", found.kept))
        if clopper_pearson(round(share * searches), searches)[1] < LEAST
    ]


def main() -> None:
    config, machine, start = cli.parse(DecideCoverage), describe_machine(), time.perf_counter()
    print(machine_line(machine), HEADING, sep="\n", flush=True)
    done = []
    for cell in cells(config):
        done.append(cell)
        print(cell.line(), *missed(cell, config.searches), flush=True)
    for name in ("right", "kept"):
        shares = [getattr(cell, name) for cell in done]
        print(f"{name}: {min(shares):.1%} to {max(shares):.1%} of a cell's, {np.mean(shares):.1%} in the mean")
    print(f"{time.perf_counter() - start:.0f} s")
    write_record(config, machine, {"decisions": {"rounds": [asdict(cell) for cell in done], "targets": []}})


if __name__ == "__main__":
    cli.run(main)
