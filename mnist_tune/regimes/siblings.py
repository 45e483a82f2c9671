"""The label that uses siblings: trials of the same architecture on the same labels."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.numbers import rate
from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.curve_rules import curve_regime, reached
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.diverged import since, stuck
from mnist_tune.regimes.families import FAMILY
from mnist_tune.regimes.forecast import Forecast
from mnist_tune.regimes.noise import SIGMAS, difference_noise
from mnist_tune.regimes.oscillating import early_spike, landed
from mnist_tune.regimes.tuned import ENOUGH_EPOCHS, FAR, LEARNED, NEAR_BEST, OFTEN, VISIBLE

SIBLINGS = ["architecture", "label_noise", "optimizer", "schedule", "loss", "drop_last"]
"""Trials with equal values in these columns are siblings. If all columns of `FAMILY` are equal, they are peers: their
epochs have as many images and as many steps, so they can be compared epoch by epoch."""


def near_best(best: float, chance: float) -> float | None:
    """Return the target that follows from the best sibling's accuracy; None if that has learned nothing."""
    return best - NEAR_BEST * (1 - chance) if (best - chance) / (1 - chance) >= LEARNED else None


REACHES = {"reaches": "likely", "reaches_from": "earliest", "reaches_to": "latest"}
"""The columns that say when a trial reaches the target."""


@dataclass(frozen=True)
class Trial:
    """A trial among its siblings."""

    row: int
    rate: float
    speed: float
    """Learning rate per image, `rate / batch_size / (1 - momentum)`. Trials of equal speed go equally far in an epoch
    while steps are small (the linear scaling of Goyal et al. 2017). Among peers, it orders as learning rates do."""
    curve: Curve
    label: str
    """What its own curve shows, and the evidence."""
    evidence: str
    target: float | None
    reaches: Forecast | None = None
    """When it reaches the target, if it is calm."""

    @classmethod
    def of(cls, row: int, rate: float, momentum: float, curve: Curve, target: float | None) -> Trial:
        speed = float(f"{rate / curve.batch_size / (1 - momentum):.12g}")  # equal but for rounding is equal
        label, evidence = curve_regime(curve, target)
        return cls(row, rate, speed, curve, label, evidence, target, reached(curve, target, label))

    @property
    def open(self) -> bool:
        """Whether siblings may change the label. A curve at chance without losses may be slow, not diverged."""
        guesses = self.label == "diverged" and self.curve.train_loss is None
        there = self.target is not None and bool(self.curve.epochs) and self.curve.accuracy[-1] >= self.target
        return bool(self.curve.epochs) and not there and (guesses or self.label in ("slow", "underfit", "undecided"))

    @property
    def is_measure(self) -> bool:
        """Whether others are compared with it; what it memorised, they need not reach."""
        return self.label not in ("diverged", "overfit")

    @property
    def there(self) -> bool:
        return self.target is not None and self.curve.settled >= self.target

    @property
    def learned(self) -> bool:
        return bool(self.curve.epochs and self.curve.learned(self.curve.accuracy.max()) >= LEARNED)


class Standings:
    """The best of some trials: of all, of those faster than a given speed, or of those slower. Ties go to the slower
    trial, then to the earlier row."""

    def __init__(self, trials: Iterable[Trial], score: Callable[[Trial], float] = attrgetter("curve.settled")) -> None:
        ordered = sorted(trials, key=attrgetter("speed", "row"))
        ranked = [(score(trial), -trial.speed, -trial.row, trial) for trial in ordered]
        self._speeds = [trial.speed for trial in ordered]
        # At [i]: the best of the i slowest trials, and of all others.
        self._best_slower = [None, *(best[-1] for best in accumulate(ranked, max))]
        self._best_faster = [None, *(best[-1] for best in accumulate(reversed(ranked), max))][::-1]
        self.best = self._best_slower[-1]
        self.least_speed = min(self._speeds, default=np.inf)
        self.largest_rate = max((trial.rate for trial in ordered), default=0.0)

    def above(self, speed: float) -> Trial | None:
        return self._best_faster[bisect_right(self._speeds, speed)]

    def below(self, speed: float) -> Trial | None:
        return self._best_slower[bisect_left(self._speeds, speed)]


def label_trials(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts = MNIST) -> pd.DataFrame:
    """Return `trials` with `curve_regime`, the label that follows from a trial's own curve; with `regime`, the label
    that also uses its siblings, and `regime_evidence`, the numbers that decided it; and with `target` and `REACHES`.

    Siblings change a label that a trial's own curve left open:

    - At chance, while siblings learned: diverged (dead), or slow if its learning rate is smaller than theirs.
    - On its way, but it needs `FAR` times the epochs of a larger rate: slow.
    - Far behind a larger rate after as many epochs, or at the end below what a larger rate reached: slow.
    - Accuracy goes to and fro, while a smaller rate did better: oscillating.
    """
    curves, families = list(curves_of(trials, epochs, data)), _groups(trials, SIBLINGS)
    rates = list(trials["learning_rate"])
    momenta = list(trials["momentum"]) if "momentum" in trials else [0.0] * len(trials)
    family_of = {row: number for number, rows in enumerate(families) for row in rows}
    peers_of: defaultdict[int, list[np.ndarray]] = defaultdict(list)
    for rows in _groups(trials, FAMILY):
        peers_of[family_of[rows[0]]].append(rows)
    found: dict[int, tuple[Trial, str, str]] = {}
    for number, rows in enumerate(families):
        best = max(curves[row].settled for row in rows)
        target = near_best(best, data.chance) if data.target is None else data.target
        siblings = {row: Trial.of(row, rates[row], momenta[row], curves[row], target) for row in rows}
        learned = Standings(one for one in siblings.values() if one.learned)
        everyone = Standings(siblings.values())
        for peers in ([siblings[row] for row in rows] for rows in peers_of[number]):
            judge = _Judge(learned, everyone, peers)
            found |= {one.row: (one, *judge.label(one)) for one in peers}
    return trials.assign(**_columns([found[row] for row in range(len(trials))]))


def _groups(trials: pd.DataFrame, names: Sequence[str]) -> list[np.ndarray]:
    """Return the rows of each group of trials with equal values in these columns, so far as the table has them."""
    known = [name for name in names if name in trials]
    if not known:
        return [np.arange(len(trials))] * (len(trials) > 0)
    return list(trials.groupby(known, sort=False).indices.values())


def _columns(found: Sequence[tuple[Trial, str, str]]) -> dict[str, list[Any]]:
    ahead = [one.reaches if one.label == label else reached(one.curve, one.target, label) for one, label, _ in found]
    return {
        "curve_regime": [one.label for one, _, _ in found],
        "regime": [label for _, label, _ in found],
        "regime_evidence": [evidence for _, _, evidence in found],
        "target": [np.nan if one.target is None else one.target for one, _, _ in found],
        **{name: [getattr(one, part, np.nan) for one in ahead] for name, part in REACHES.items()},
    }


class _Judge:
    """Labels trials by their peers and their siblings: those that learned, and all."""

    def __init__(self, learned: Standings, siblings: Standings, peers: Sequence[Trial]) -> None:
        self._learned, self._siblings, self._peers = learned, siblings, peers
        there = (peer for peer in peers if peer.label == "converged" and peer.reaches)
        self._there = Standings(there, lambda one: -one.reaches.likely if one.reaches else -np.inf)
        self._after: dict[int, Standings] = {}  # by number of epochs

    def label(self, trial: Trial) -> tuple[str, str]:
        """Return the label of a trial, and the evidence."""
        label, evidence = self._label(trial) if trial.open else (trial.label, "")
        return label, evidence if label != trial.label and evidence else trial.evidence

    def _label(self, trial: Trial) -> tuple[str, str]:
        if self._learned.best and stuck(trial.curve):
            return self._at_chance(trial, self._learned.best)
        if trial.label == "undecided" and trial.reaches:
            return self._on_its_way(trial, trial.reaches)
        faster, slower = (self._better(trial, above) for above in (True, False))
        return _behind(trial, faster, slower) if faster or slower else (trial.label, "")

    def _at_chance(self, trial: Trial, best: Trial) -> tuple[str, str]:
        said = f"at chance; {_named(best, trial)} reached {best.curve.accuracy.max():.4f}"
        if trial.speed < self._learned.least_speed and trial.rate <= self._learned.largest_rate:
            return "slow", said
        return "diverged", f"dead{since(trial.curve)}: {said}"

    def _on_its_way(self, trial: Trial, reaches: Forecast) -> tuple[str, str]:
        first = self._there.above(trial.speed)
        if first is None or not first.reaches or reaches.likely <= FAR * first.reaches.likely:
            return trial.label, ""
        if not trial.curve.complete and reaches.likely <= trial.curve.epochs_asked:
            return trial.label, ""
        return "slow", f"{trial.target:.4g} {reaches}; {_named(first, trial)}: {first.reaches}"

    def _better(self, trial: Trial, faster: bool) -> Trial | None:
        """Return the best of the faster trials, or of the slower ones, if it did better: a peer that was far ahead
        after as many epochs or, for a trial that ran all its epochs, a sibling that ended higher."""
        epochs = trial.curve.epochs
        if epochs not in self._after:
            there = (peer for peer in self._peers if peer.curve.epochs >= epochs and peer.is_measure)
            self._after[epochs] = Standings(there, lambda one: float(one.curve.accuracy[epochs - 1]))
        after, siblings = self._after[epochs], self._siblings
        peer, best = (one.above(trial.speed) if faster else one.below(trial.speed) for one in (after, siblings))
        if peer and far_ahead(float(peer.curve.accuracy[epochs - 1]), trial.curve):
            return peer
        decided = trial.label != "undecided" or (trial.curve.complete and epochs >= ENOUGH_EPOCHS)
        counts = best and decided and best.is_measure and (best.there or best is siblings.best)
        return best if best and counts and _higher(best, trial) else None


def _behind(trial: Trial, faster: Trial | None, slower: Trial | None) -> tuple[str, str]:
    best = faster or slower
    assert best
    epochs = min(trial.curve.epochs, best.curve.epochs)
    said = f"at {epochs} epochs {trial.curve.accuracy[epochs - 1]:.4f}; {_named(best, trial)} had "
    said += f"{best.curve.accuracy[epochs - 1]:.4f}"
    falls = int((trial.curve.falls > trial.curve.falls_noise).sum())
    shaken = falls >= 2 or bool(trial.curve.spikes()[1:].any())
    if faster:
        return ("undecided" if shaken or early_spike(trial.curve) else "slow"), said
    often = (trial.curve.falls > 0).sum() >= max(2 * OFTEN * len(trial.curve.falls), 2) and trial.curve.complete
    if (falls >= 2 or often) and landed(trial.curve):
        return "oscillating", said
    return "undecided", said


def _named(best: Trial, trial: Trial) -> str:
    """Return what a message calls a sibling; with its batch size, if it is another."""
    batches = f" with batches of {best.curve.batch_size}" * (best.curve.batch_size != trial.curve.batch_size)
    return f"rate {rate(best.rate)}{batches}"


def _higher(other: Trial, trial: Trial) -> bool:
    """Return whether another trial ended above this one by more than noise, at the target or by `VISIBLE`."""
    theirs, ours = other.curve.settled, trial.curve.settled
    noise = SIGMAS * float(difference_noise(theirs, ours, trial.curve.images))
    return theirs - ours > (noise if other.there else max(VISIBLE, noise))


def far_ahead(accuracy: float, curve: Curve) -> bool:
    """Return whether a trial with this accuracy after as many epochs made at most a `FAR`th of a curve's errors, by
    more than noise. The better of a curve's last two epochs counts: a slip in the last epoch is not being behind."""
    ours = float(curve.accuracy[-2:].max())
    noise = SIGMAS * difference_noise(accuracy, ours, curve.images)
    return bool(FAR * (1 - accuracy) <= 1 - ours and accuracy - ours > noise)
