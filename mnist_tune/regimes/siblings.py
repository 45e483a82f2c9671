"""The sweep's label: what siblings, trials of the same architecture on the same labels, tell of each other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter

import numpy as np
import pandas as pd

from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.curve_rules import LEVEL_GAIN
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.diverged import since, stuck
from mnist_tune.regimes.noise import SIGMAS, difference_noise
from mnist_tune.regimes.oscillating import early_spike, landed

SIBLINGS = ["architecture", "label_noise"]
"""Trials equal in these judge each other."""

PEERS = ["batch_size", "momentum", "nesterov", "holdout"]
"""Siblings equal in these too learn from as many images an epoch in as many steps: they may be held against each
other epoch by epoch."""

FAR_BEHIND = 2.0
"""Times a sibling's errors after as many epochs."""

NEAR_BEST = 1 / 30
"""Where a data set has no target, a network that is this share of what can be learned below the best sibling learned
it too: MNIST's 0.95 is as far below the 0.98 that its best dense networks reach on test images."""

HALF_LEARNED = 0.5
"""Of what there is above a constant answer: a sibling that learned so much shows that there is something to learn."""


def family_targets(trials: pd.DataFrame, curves: Sequence[Curve], target: float | None) -> list[float | None]:
    """Of each trial: the data set's, or where it has none, near what its best sibling reached, if that learned."""
    if target is not None:
        return [target] * len(curves)
    targets: list[float | None] = [None] * len(curves)
    for family in _families(trials, SIBLINGS):
        reached = [curves[i].settled for i in family if curves[i].epochs]
        best = max(reached, default=0.0)
        data = curves[family[0]].data
        if curves[family[0]].learned(best) < HALF_LEARNED:
            continue
        for i in family:
            targets[i] = best - NEAR_BEST * (1 - data.chance)
    return targets


@dataclass(frozen=True)
class Trial:
    """A trial among its siblings."""

    row: int
    rate: float
    speed: float
    """Learning rate an image, `rate / batch_size / (1 - momentum)`: trials of equal speed go equally far in an epoch
    while steps are small (the linear scaling of Goyal et al. 2017). Among peers it orders as learning rates do."""
    curve: Curve
    label: str
    target: float | None

    @property
    def open(self) -> bool:
        """Whether siblings may know better: of a curve at chance without losses, too, which may be very slow."""
        guesses = self.label == "diverged" and self.curve.train_loss is None
        return bool(self.curve.epochs) and (guesses or self.label in ("slow", "underfit", "undecided"))

    @property
    def reached(self) -> bool:
        return self.target is not None and self.curve.settled >= self.target and self.label != "diverged"

    @property
    def there(self) -> bool:
        """Whether it is at the target, be it not for long: it is not slow."""
        return self.target is not None and self.curve.accuracy[-1] >= self.target

    @property
    def learned(self) -> bool:
        return bool(self.curve.epochs and self.curve.learned(self.curve.accuracy.max()) >= HALF_LEARNED)


class Standings:
    """Who of some trials is best: of all, of those that are faster than a given one, and of those that are slower. Ties
    go to the slower, then to the earlier row."""

    def __init__(self, trials: Iterable[Trial], score: Callable[[Curve], float]) -> None:
        ordered = sorted(trials, key=lambda trial: (-trial.speed, -trial.row))
        scored = [(score(trial.curve), trial) for trial in ordered]
        self._speeds = [-trial.speed for trial in ordered]
        self.largest_rate = max((trial.rate for trial in ordered), default=0.0)
        self._best = list(accumulate(scored, _better_or_later))
        self._best_slower = list(accumulate(reversed(scored), _better))[::-1]

    @property
    def best(self) -> Trial | None:
        return self._best[-1][1] if self._best else None

    @property
    def least_speed(self) -> float:
        return -self._speeds[-1] if self._speeds else np.inf

    def above(self, speed: float) -> Trial | None:
        """The best of those that are faster."""
        count = bisect_left(self._speeds, -speed)
        return self._best[count - 1][1] if count else None

    def below(self, speed: float) -> Trial | None:
        """The best of those that are slower."""
        first = bisect_right(self._speeds, -speed)
        return self._best_slower[first][1] if first < len(self._best_slower) else None


def label_siblings(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts = MNIST) -> pd.DataFrame:
    """`trials` with `regime`, the sweep's label.

    What its own curve left open is judged by siblings: at chance where they learned is diverged (dead), or slow at a
    smaller learning rate than theirs; far behind a larger learning rate, or levelled off where a larger one reached the
    target, is slow; to and fro above the learning rates that did is oscillating; the best of a sweep is never slow.
    """
    regimes, evidence = list(trials["curve_regime"]), list(trials["regime_evidence"])
    curves = list(curves_of(trials, epochs, data))
    targets = family_targets(trials, curves, data.target)
    rates = trials["learning_rate"].to_numpy(dtype=float)
    momentum = trials["momentum"].to_numpy(dtype=float) if "momentum" in trials else np.zeros(len(trials))
    speeds = rates / [curve.batch_size for curve in curves] / (1 - momentum) if len(curves) else rates
    speeds = [float(f"{speed:.12g}") for speed in speeds]  # equal but for rounding is equal
    made = [Trial(i, rates[i], speeds[i], curves[i], regimes[i], targets[i]) for i in range(len(curves))]
    groups = list(_families(trials, SIBLINGS + PEERS))
    for family in _families(trials, SIBLINGS):
        members, siblings = set(family), [made[i] for i in family]
        learned = Standings((one for one in siblings if one.learned), attrgetter("settled"))
        reached = Standings((one for one in siblings if one.reached), attrgetter("settled"))
        for peers in ([made[i] for i in group] for group in groups if group[0] in members):
            judge = _Judge(learned, reached, peers, siblings)
            for trial in peers:
                if trial.open:
                    regimes[trial.row], why = judge.label(trial)
                    evidence[trial.row] = "; ".join(filter(None, (why, evidence[trial.row])))
    return trials.assign(regime=regimes, regime_evidence=evidence)


class _Judge:
    """Labels calm trials below the target by their siblings: those that learned, those that reached the target, and
    their peers."""

    def __init__(
        self, learned: Standings, reached: Standings, peers: Sequence[Trial], siblings: Sequence[Trial]
    ) -> None:
        self._learned, self._reached, self._peers = learned, reached, peers
        self._after: dict[int, Standings] = {}
        self._bests = [
            Standings((one for one in some if one.curve.epochs), attrgetter("settled")).best
            for some in (peers, siblings)
        ]
        self._several = [len({one.speed for one in some}) > 1 for some in (peers, siblings)]

    def label(self, trial: Trial) -> tuple[str, str]:
        """The label, and what to put before the evidence."""
        if self._learned.best and stuck(trial.curve):
            return self._at_chance(trial, self._learned.best)
        if trial.label == "diverged" or trial.there:
            return trial.label, ""
        faster, slower = self._better(trial)
        if faster or slower:
            return _behind(trial, faster, slower)
        bests = [best.speed for best, several in zip(self._bests, self._several, strict=True) if best and several]
        if trial.label == "slow" and any(trial.speed >= best for best in bests):
            return "undecided", "the best learning rate of its siblings, and a larger one, is never slow"
        return trial.label, ""

    def _at_chance(self, trial: Trial, best: Trial) -> tuple[str, str]:
        said = f"at chance where learning rate {best.rate:.4g} reached {best.curve.settled:.4f}"
        if trial.speed < self._learned.least_speed and trial.rate <= self._learned.largest_rate:
            return "slow", f"{said}, and its own is smaller{_by_image(trial, best)} than any that learned"
        return "diverged", f"dead{since(trial.curve)}: {said}"

    def _better(self, trial: Trial) -> tuple[Trial | None, Trial | None]:
        """Of those who are far ahead after as many epochs or, where a trial had its time, reached the target or a
        higher level: the best of the faster ones, and of the slower ones. Other seeds at its own rate tell nothing."""
        epochs = trial.curve.epochs
        if epochs not in self._after:
            there = (peer for peer in self._peers if peer.curve.epochs >= epochs and peer.label != "diverged")
            self._after[epochs] = Standings(there, lambda curve: float(curve.accuracy[epochs - 1]))
        after = self._after[epochs]
        faster, slower = (
            one if one and _far_ahead(one.curve, trial.curve) else None
            for one in (after.above(trial.speed), after.below(trial.speed))
        )
        if trial.label == "undecided":
            return faster, slower
        faster, slower = faster or self._reached.above(trial.speed), slower or self._reached.below(trial.speed)
        level = self._bests[1]
        if faster or slower or trial.label == "slow" or level is None or not _higher(level, trial):
            return faster, slower
        return level if level.speed > trial.speed else None, level if level.speed < trial.speed else None


def _behind(trial: Trial, faster: Trial | None, slower: Trial | None) -> tuple[str, str]:
    best = faster or slower
    assert best
    epochs = min(trial.curve.epochs, best.curve.epochs)
    said = (
        f"the architecture is not too small: {best.curve.settled:.4f} at learning rate {best.rate:.4g}"
        f" ({best.curve.accuracy[epochs - 1]:.4f} after as many epochs, {trial.curve.accuracy[epochs - 1]:.4f} here)"
    )
    falls = int((trial.curve.falls > trial.curve.falls_noise).sum())
    shaken = trial.label == "undecided" and (falls >= 2 or bool(trial.curve.spikes()[1:].any()))
    if faster:
        return ("undecided" if shaken or early_spike(trial.curve) else "slow"), said
    if falls >= 2 and landed(trial.curve):
        return "oscillating", f"{said}; accuracy fell {falls} times at a larger learning rate"
    return "undecided", f"{said}, smaller{_by_image(best, trial)} than its own"


def _by_image(smaller: Trial, larger: Trial) -> str:
    """Where learning rates compare only as what they are for an image, that they do."""
    return "" if smaller.rate < larger.rate else " for an image"


def _higher(other: Trial, trial: Trial) -> bool:
    """Whether another trial ended above the level of one that levelled off, by more than would have been level."""
    theirs, ours = other.curve.settled, trial.curve.settled
    return theirs - ours > max(LEVEL_GAIN, SIGMAS * float(difference_noise(theirs, ours, trial.curve.images)))


def _far_ahead(other: Curve, curve: Curve) -> bool:
    """Whether another curve made half the errors or fewer after as many epochs, by more than noise. Where a curve
    slipped in its last epoch the one before counts: a slip is not being behind."""
    theirs, ours = other.accuracy[curve.epochs - 1], float(curve.accuracy[-2:].max())
    noise = SIGMAS * difference_noise(theirs, ours, curve.images)
    return bool(FAR_BEHIND * (1 - theirs) <= 1 - ours and theirs - ours > noise)


def _families(trials: pd.DataFrame, names: Sequence[str]) -> Iterator[np.ndarray]:
    there = [name for name in names if name in trials]
    if len(trials) and there:
        yield from trials.groupby(there, sort=False).indices.values()
    elif len(trials):
        yield np.arange(len(trials))


Scored = tuple[float, Trial]


def _better_or_later(best: Scored, one: Scored) -> Scored:
    return one if one[0] >= best[0] else best


def _better(best: Scored, one: Scored) -> Scored:
    return one if one[0] > best[0] else best
